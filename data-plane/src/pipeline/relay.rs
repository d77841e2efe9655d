//! A stream on its way from the upstream to the client.
//!
//! The client's connection pulls: a chunk is read from the upstream when the one before was taken, so a slow client
//! slows the upstream down and nothing is buffered. The bytes pass unchanged. The piece that completes the answer
//! (`[DONE]`, or the end of the body) waits until the request is recorded as closed. A stream that fails ends with an
//! error event, and never looks complete. A stream whose target took no bound on its output passes event by event, and
//! is ended where its output comes to the bound.

use std::{ops::ControlFlow, time::Duration};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::time::Instant;

use super::{Closing, Exchange, bound::OutputBound};
use crate::{
    error::{GatewayError, UpstreamFault},
    respond::{self, Body, BodyError},
    sse::{Meter, Splitter},
};

/// A line that every reader of events passes over (WHATWG HTML, 9.2.6). It ends no event: one `event:` line may stand
/// before it.
const HEARTBEAT: &[u8] = b": keep-alive\n";

/// How long the end of an upstream's body is waited for once its answer is complete, so that the connection can be
/// used again.
const TAIL: Duration = Duration::from_secs(1);

struct Relay {
    exchange: Exchange,
    first: Option<Bytes>,
    upstream: reqwest::Body,
    splitter: Splitter,
    meter: Meter,
    bound: Option<Box<OutputBound>>,
    idle: Duration,
    heartbeat: Option<Duration>,
    /// Since when the upstream is waited for.
    waiting: Option<Waiting>,
    phase: Phase,
}

#[derive(Clone, Copy)]
struct Waiting {
    since: Instant,
    /// When the client was last told.
    told: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Relaying,
    Over,
}

enum Step {
    Data(Bytes),
    /// The upstream is silent.
    Heartbeat,
    /// What is left before the bound on the output.
    Bounded(Bytes),
    End,
    Failed(UpstreamFault),
}

enum Received {
    Data(Bytes),
    Silence,
    End,
}

/// The body of the answer.
pub(super) fn body(
    exchange: Exchange,
    first: Bytes,
    upstream: reqwest::Body,
    idle: Duration,
    bound: Option<Box<OutputBound>>,
) -> Body {
    let splitter = Splitter::new(exchange.shared().settings.limits.event_bytes);
    let heartbeat = exchange.shared().settings.heartbeat;
    let relay = Relay {
        exchange,
        first: Some(first),
        upstream,
        splitter,
        meter: Meter::default(),
        bound,
        idle,
        heartbeat,
        waiting: None,
        phase: Phase::Relaying,
    };
    let stream = futures_util::stream::unfold(relay, Relay::next);
    StreamBody::new(stream).boxed_unsync()
}

impl Relay {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, BodyError>, Self)> {
        if self.phase == Phase::Over {
            return None;
        }
        match self.step().await {
            Step::Data(data) if self.meter.is_done() => self.complete(data).await,
            Step::Data(data) => {
                let state = self.exchange.state_mut();
                state.bytes_out += data.len() as u64;
                // As far as it is known: the client may go away at any time.
                state.usage = self.meter.usage();
                Some((Ok(Frame::data(data)), self))
            }
            Step::Heartbeat => {
                self.exchange.state_mut().bytes_out += HEARTBEAT.len() as u64;
                Some((Ok(Frame::data(Bytes::from_static(HEARTBEAT))), self))
            }
            Step::Bounded(data) => self.end_at_bound(data).await,
            Step::End if self.meter.is_complete() => self.complete(Bytes::new()).await,
            Step::End if self.meter.has_failed() => self.end_failed().await,
            Step::End => self.fail(UpstreamFault::StreamCut.into()).await,
            Step::Failed(fault) => self.fail(fault.into()).await,
        }
    }

    async fn step(&mut self) -> Step {
        let data = loop {
            let received = match self.first.take() {
                Some(first) => Ok(Received::Data(first)),
                None => self.receive().await,
            };
            match (received, &mut self.bound) {
                (Ok(Received::Silence), _) => return Step::Heartbeat,
                (Ok(Received::Data(data)), None) => break data,
                (Ok(Received::End), None) => return Step::End,
                (Ok(received), Some(bound)) => {
                    let is_end = matches!(received, Received::End);
                    let within = match received {
                        Received::Data(data) => bound.push(&data),
                        Received::End | Received::Silence => bound.rest(),
                    };
                    match within {
                        Ok(within) if !within.is_empty() || bound.is_reached() => break within,
                        Ok(_) if is_end => return Step::End,
                        Ok(_) => {}
                        Err(_) => return Step::Failed(UpstreamFault::TooLarge),
                    }
                }
                // The answer was complete; how the connection ended does not matter any more.
                (Err(_), _) if self.meter.is_complete() => return Step::End,
                (Err(fault), _) => return Step::Failed(fault),
            }
        };
        let meter = &mut self.meter;
        let result = self.splitter.push(&data, |event| {
            meter.event(event);
            if meter.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match &self.bound {
            _ if result.is_err() => Step::Failed(UpstreamFault::TooLarge),
            Some(bound) if bound.is_reached() => Step::Bounded(data),
            _ => Step::Data(data),
        }
    }

    async fn receive(&mut self) -> Result<Received, UpstreamFault> {
        let now = Instant::now();
        let mut waiting = self.waiting.take().unwrap_or(Waiting { since: now, told: now });
        loop {
            let gives_up = waiting.since + self.idle;
            let heartbeat = self.heartbeat.filter(|_| self.splitter.is_between_events());
            let until = heartbeat.map_or(gives_up, |after| gives_up.min(waiting.told + after));
            match tokio::time::timeout_at(until, self.upstream.frame()).await {
                Err(_) if until < gives_up => {
                    waiting.told = Instant::now();
                    self.waiting = Some(waiting);
                    return Ok(Received::Silence);
                }
                Err(_) => return Err(UpstreamFault::IdleTimeout),
                Ok(None) => return Ok(Received::End),
                Ok(Some(Err(_))) => return Err(UpstreamFault::BrokeOff),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Received::Data(data));
                    }
                    waiting.since = Instant::now();
                }
            }
        }
    }

    /// Records the end, then lets go of the last bytes.
    async fn complete(mut self, last: Bytes) -> Option<(Result<Frame<Bytes>, BodyError>, Self)> {
        self.exchange.state_mut().usage = self.meter.usage();
        let closing = if self.meter.has_failed() {
            let error = GatewayError::from(UpstreamFault::StreamError);
            Closing::refused(&error, http::StatusCode::OK)
        } else {
            Closing::completed(200)
        };
        if let Err(error) = self.exchange.close(closing).await {
            return Some(self.error_event(&error));
        }
        self.phase = Phase::Over;
        let upstream = std::mem::replace(&mut self.upstream, reqwest::Body::from(Bytes::new()));
        self.exchange.shared().tasks.spawn(drain(upstream));
        if last.is_empty() { None } else { Some((Ok(Frame::data(last)), self)) }
    }

    /// Ends an answer whose output has come to its bound, as the model would have ended it; the upstream is let go.
    async fn end_at_bound(mut self, data: Bytes) -> Option<(Result<Frame<Bytes>, BodyError>, Self)> {
        let bound = self.bound.take()?;
        let (last, usage) = bound.end(data, self.meter.usage());
        self.upstream = reqwest::Body::from(Bytes::new());
        let state = self.exchange.state_mut();
        state.usage = usage;
        if let Some(counted) = &mut state.counted_bound {
            counted.reached = true;
        }
        if let Err(error) = self.exchange.close(Closing::completed(200)).await {
            return Some(self.error_event(&error));
        }
        self.phase = Phase::Over;
        Some((Ok(Frame::data(last)), self))
    }

    /// The upstream itself has said that it failed; its event has passed.
    async fn end_failed(mut self) -> Option<(Result<Frame<Bytes>, BodyError>, Self)> {
        self.exchange.state_mut().usage = self.meter.usage();
        let error = GatewayError::from(UpstreamFault::StreamError);
        // What could not be recorded cannot be unsaid either.
        let _ = self.exchange.close(Closing::refused(&error, http::StatusCode::OK)).await;
        None
    }

    async fn fail(mut self, error: GatewayError) -> Option<(Result<Frame<Bytes>, BodyError>, Self)> {
        self.exchange.state_mut().usage = self.meter.usage();
        let _ = self.exchange.close(Closing::refused(&error, http::StatusCode::OK)).await;
        Some(self.error_event(&error))
    }

    /// An event that OpenAI's clients raise as an error. An event that was cut is ended first.
    fn error_event(mut self, error: &GatewayError) -> (Result<Frame<Bytes>, BodyError>, Self) {
        self.phase = Phase::Over;
        let mut event = Vec::with_capacity(256);
        if self.splitter.is_inside_event() {
            event.extend_from_slice(b"\n\n");
        }
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(&respond::error_json(error, self.exchange.request_id()));
        event.extend_from_slice(b"\n\n");
        (Ok(Frame::data(Bytes::from(event))), self)
    }
}

async fn drain(mut upstream: reqwest::Body) {
    let to_the_end = async { while let Some(Ok(_)) = upstream.frame().await {} };
    // Whatever an upstream sends behind its answer is not waited for.
    let _ = tokio::time::timeout(TAIL, to_the_end).await;
}
