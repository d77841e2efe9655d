//! A stream on its way from the upstream to the client.
//!
//! The client's connection pulls: chunks are read from the upstream when those before were taken, so a slow client
//! slows the upstream down and next to nothing is buffered. Chunks that are there already are gathered, so that they
//! leave in one write; no chunk waits for one that has yet to come. The bytes pass unchanged. The piece that completes the answer
//! (`[DONE]`, or the end of the body) waits until the request is recorded as closed. A stream that fails ends with an
//! error event, and never looks complete. A stream whose target took no bound on its output passes event by event, and
//! is ended where its output comes to the bound. Where policies read answers, events leave once these have let them go
//! ([`super::answer`]).

use std::{collections::VecDeque, future::poll_fn, ops::ControlFlow, pin::Pin, task::Poll, time::Duration};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use tokio::time::Instant;

use super::{
    Closing, Exchange,
    answer::{Behind, Ended, StreamJudge},
    bound::OutputBound,
};
use crate::{
    error::{GatewayError, UpstreamFault},
    respond::{self, Body, BodyError},
    sse::{Meter, Splitter, is_ended},
};

/// A line that every reader of events passes over (WHATWG HTML, 9.2.6). It ends no event: one `event:` line may stand
/// before it.
const HEARTBEAT: &[u8] = b": keep-alive\n";

/// How long the end of an upstream's body is waited for once its answer is complete, so that the connection can be
/// used again.
const TAIL: Duration = Duration::from_secs(1);

/// The most chunks that are gathered, and the bytes after which no more are.
const GATHER_CHUNKS: usize = 16;
const GATHER_BYTES: usize = 16 * 1024;

/// How often hyper's HTTP/1 polls a body that is not ready before it leaves the turn to others: once before it flushes,
/// once after.
const POLLS_IN_A_TURN: u8 = 2;

struct Relay {
    exchange: Exchange,
    /// What has come and was not passed on yet, and how it ends where that is known.
    gathered: VecDeque<Bytes>,
    ended: Option<Result<(), UpstreamFault>>,
    upstream: reqwest::Body,
    splitter: Splitter,
    meter: Meter,
    bound: Option<Box<OutputBound>>,
    /// The policies that read answers; gone while they are at work.
    judge: Option<Box<StreamJudge>>,
    idle: Duration,
    heartbeat: Option<Duration>,
    /// Since when the upstream is waited for.
    waiting: Option<Instant>,
    /// When the client was last given something.
    told: Instant,
    is_judged: bool,
    phase: Phase,
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
    /// The end, and what was held back before it.
    Rest(Bytes),
    Failed(UpstreamFault),
    /// The same with what was held back before it.
    FailedBehind(Bytes, UpstreamFault),
    /// A policy ends the answer.
    Stopped(Ended),
}

impl Step {
    /// The same with other bytes.
    fn with(self, bytes: Bytes) -> Self {
        match self {
            Self::Data(_) => Self::Data(bytes),
            Self::Bounded(_) => Self::Bounded(bytes),
            Self::Rest(_) => Self::Rest(bytes),
            Self::FailedBehind(_, fault) => Self::FailedBehind(bytes, fault),
            other @ (Self::Heartbeat | Self::End | Self::Failed(_) | Self::Stopped(_)) => other,
        }
    }
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
    let judge = StreamJudge::new(&exchange);
    let is_judged = judge.is_some();
    let relay = Relay {
        exchange,
        gathered: VecDeque::from([first]),
        ended: None,
        upstream,
        splitter,
        meter: Meter::default(),
        bound,
        judge,
        idle,
        heartbeat,
        waiting: None,
        told: Instant::now(),
        is_judged,
        phase: Phase::Relaying,
    };
    let stream = futures_util::stream::unfold(Box::new(relay), Relay::next);
    StreamBody::new(stream).boxed_unsync()
}

/// What the connection is given, and the state from which it goes on.
type Given = (Result<Frame<Bytes>, BodyError>, Box<Relay>);

impl Relay {
    async fn next(mut self: Box<Self>) -> Option<Given> {
        if self.phase == Phase::Over {
            return None;
        }
        loop {
            let step = match self.step().await {
                Step::Data(data) => self.judged(data, Step::Data).await,
                Step::Bounded(data) => {
                    let data = self.at_bound(data);
                    self.judged(data, Step::Bounded).await
                }
                Step::End if self.judge.is_some() => self.judged(Bytes::new(), Step::Rest).await,
                Step::Failed(fault) if self.judge.is_some() => {
                    self.judged(Bytes::new(), |rest| Step::FailedBehind(rest, fault)).await
                }
                step => step,
            };
            return match step {
                Step::Data(data) if self.meter.is_done() => self.complete(data).await,
                // All of it is held back.
                Step::Data(data) if data.is_empty() => continue,
                Step::Data(data) => {
                    self.told = Instant::now();
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
                Step::End => self.end(Bytes::new()).await,
                Step::Rest(rest) => self.end(rest).await,
                Step::Failed(fault) => self.fail(Bytes::new(), fault.into()).await,
                Step::FailedBehind(rest, fault) => self.fail(rest, fault.into()).await,
                Step::Stopped(ended) => {
                    self.upstream = reqwest::Body::from(Bytes::new());
                    self.fail(ended.before, ended.error).await
                }
            };
        }
    }

    /// Has the policies read what is about to leave; `then` goes on with what they let go.
    async fn judged(&mut self, data: Bytes, then: impl FnOnce(Bytes) -> Step) -> Step {
        let Some(judge) = self.judge.take() else { return then(data) };
        let step = then(data.clone());
        let behind = match step {
            Step::FailedBehind(..) => Behind::Broken,
            Step::Data(_) if !self.meter.is_done() => Behind::More,
            _ => Behind::Nothing,
        };
        match judge.pass(data, behind).await {
            Ok((judge, passed)) => {
                self.judge = Some(judge);
                match passed {
                    Ok(passed) => step.with(passed),
                    Err(ended) => Step::Stopped(ended),
                }
            }
            Err(error) => Step::Stopped(Ended { before: Bytes::new(), error }),
        }
    }

    /// The upstream has ended its answer.
    async fn end(self: Box<Self>, rest: Bytes) -> Option<Given> {
        if self.meter.is_complete() {
            self.complete(rest).await
        } else if self.meter.has_failed() {
            self.end_failed(rest).await
        } else {
            self.fail(rest, UpstreamFault::StreamCut.into()).await
        }
    }

    async fn step(&mut self) -> Step {
        let data = loop {
            if self.gathered.is_empty() && self.ended.is_none() && !self.gather().await {
                return Step::Heartbeat;
            }
            let received = self.gathered.pop_front();
            let is_end = received.is_none();
            let within = match (&mut self.bound, received) {
                (None, Some(data)) => break data,
                (Some(bound), Some(data)) => bound.push(&data),
                (Some(bound), None) if self.ended == Some(Ok(())) => bound.rest(),
                (_, None) => Ok(Bytes::new()),
            };
            match within {
                Err(_) => return Step::Failed(UpstreamFault::TooLarge),
                Ok(within) if !within.is_empty() || self.has_come_to_its_bound() => break within,
                Ok(_) if !is_end => {}
                Ok(_) => {
                    return match self.ended {
                        Some(Err(fault)) if !self.meter.is_complete() => Step::Failed(fault),
                        // Where the answer was complete it does not matter how the connection ended.
                        _ => Step::End,
                    };
                }
            }
        };
        let meter = &mut self.meter;
        let result = self.splitter.push(&data, |event| {
            meter.event(event);
            if meter.is_done() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match result {
            Err(_) => Step::Failed(UpstreamFault::TooLarge),
            Ok(()) if self.has_come_to_its_bound() => Step::Bounded(data),
            Ok(()) => Step::Data(data),
        }
    }

    fn has_come_to_its_bound(&self) -> bool {
        self.bound.as_ref().is_some_and(|bound| bound.is_reached())
    }

    /// Waits for a chunk, and takes those that are there behind it. `false`: the upstream is silent, and the client is
    /// to be told that it is waited for.
    async fn gather(&mut self) -> bool {
        let since = self.waiting.take().unwrap_or_else(Instant::now);
        let gives_up = since + self.idle;
        let heartbeat = self.heartbeat.filter(|_| self.is_judged || self.splitter.is_between_events());
        let until = heartbeat.map_or(gives_up, |after| gives_up.min(self.told + after));
        let first = match tokio::time::timeout_at(until, chunk(&mut self.upstream)).await {
            Err(_) if until < gives_up => {
                self.waiting = Some(since);
                self.told = Instant::now();
                return false;
            }
            Err(_) => Err(UpstreamFault::IdleTimeout),
            Ok(received) => received,
        };
        self.keep(first);
        let mut bytes = self.gathered.front().map_or(0, Bytes::len);
        while self.ended.is_none() && self.gathered.len() < GATHER_CHUNKS && bytes < GATHER_BYTES {
            let Some(next) = at_hand(&mut self.upstream).await else { return true };
            bytes += next.as_ref().ok().and_then(Option::as_ref).map_or(0, Bytes::len);
            self.keep(next);
        }
        true
    }

    fn keep(&mut self, received: Result<Option<Bytes>, UpstreamFault>) {
        match received {
            Ok(Some(data)) => self.gathered.push_back(data),
            Ok(None) => self.ended = Some(Ok(())),
            Err(fault) => self.ended = Some(Err(fault)),
        }
    }

    /// Records the end, then lets go of the last bytes.
    async fn complete(mut self: Box<Self>, last: Bytes) -> Option<Given> {
        self.note(&last);
        let closing = if self.meter.has_failed() {
            let error = GatewayError::from(UpstreamFault::StreamError);
            Closing::refused(&error, http::StatusCode::OK)
        } else {
            Closing::completed(200)
        };
        if let Err(error) = self.exchange.close(closing).await {
            return Some(self.error_event(&[], &error));
        }
        self.phase = Phase::Over;
        let upstream = std::mem::replace(&mut self.upstream, reqwest::Body::from(Bytes::new()));
        self.exchange.shared().tasks.spawn(drain(upstream));
        if last.is_empty() { None } else { Some((Ok(Frame::data(last)), self)) }
    }

    /// What is left of an answer whose output has come to its bound, and its end as the model would have written it.
    fn at_bound(&mut self, data: Bytes) -> Bytes {
        let Some(bound) = self.bound.take() else { return data };
        let (last, usage) = bound.end(data, self.meter.usage());
        self.meter.tell(usage);
        last
    }

    /// Ends an answer whose output has come to its bound; the upstream is let go.
    async fn end_at_bound(mut self: Box<Self>, last: Bytes) -> Option<Given> {
        self.note(&last);
        self.upstream = reqwest::Body::from(Bytes::new());
        if let Some(counted) = &mut self.exchange.state_mut().counted_bound {
            counted.reached = true;
        }
        if let Err(error) = self.exchange.close(Closing::completed(200)).await {
            return Some(self.error_event(&[], &error));
        }
        self.phase = Phase::Over;
        Some((Ok(Frame::data(last)), self))
    }

    /// The upstream itself has said that it failed; its event has passed, or is in `rest`.
    async fn end_failed(mut self: Box<Self>, rest: Bytes) -> Option<Given> {
        self.note(&rest);
        let error = GatewayError::from(UpstreamFault::StreamError);
        // What could not be recorded cannot be unsaid either.
        let _ = self.exchange.close(Closing::refused(&error, http::StatusCode::OK)).await;
        self.phase = Phase::Over;
        if rest.is_empty() { None } else { Some((Ok(Frame::data(rest)), self)) }
    }

    async fn fail(mut self: Box<Self>, before: Bytes, error: GatewayError) -> Option<Given> {
        self.note(&before);
        let _ = self.exchange.close(Closing::refused(&error, http::StatusCode::OK)).await;
        Some(self.error_event(&before, &error))
    }

    /// Takes over into the record what the stream has come to; `last` is still to leave.
    fn note(&mut self, last: &[u8]) {
        let state = self.exchange.state_mut();
        state.bytes_out += last.len() as u64;
        state.usage = self.meter.usage();
        if let Some(judge) = self.judge.take() {
            let (report, took) = judge.report();
            self.exchange.has_judged_answer(took);
            self.exchange.has_reported(report);
        }
    }

    /// An event that OpenAI's clients raise as an error, behind what may still leave. An event that was cut is ended
    /// first.
    fn error_event(mut self: Box<Self>, before: &[u8], error: &GatewayError) -> Given {
        self.phase = Phase::Over;
        let mut event = Vec::with_capacity(256 + before.len());
        event.extend_from_slice(before);
        // Where the policies read along, only whole events have left, the last of an upstream's perhaps without its end.
        let is_inside = if self.is_judged { !is_ended(before) } else { self.splitter.is_inside_event() };
        if is_inside {
            event.extend_from_slice(b"\n\n");
        }
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(&respond::error_json(error, self.exchange.request_id()));
        event.extend_from_slice(b"\n\n");
        (Ok(Frame::data(Bytes::from(event))), self)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The client went away: its record says what had been seen until then.
        if self.phase == Phase::Relaying {
            self.note(&[]);
        }
    }
}

/// The next chunk that is not empty; `None`: the body has ended.
async fn chunk(upstream: &mut reqwest::Body) -> Result<Option<Bytes>, UpstreamFault> {
    loop {
        match upstream.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(UpstreamFault::BrokeOff),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            },
        }
    }
}

/// The next chunk if it has come already. The upstream's connection is a task of this thread that was woken when the
/// chunk before was taken: it has its turn, to pass on what it holds, before this has its next.
async fn at_hand(upstream: &mut reqwest::Body) -> Option<Result<Option<Bytes>, UpstreamFault>> {
    let mut asked = 0;
    poll_fn(|cx| {
        loop {
            return match Pin::new(&mut *upstream).poll_frame(cx) {
                Poll::Ready(None) => Poll::Ready(Some(Ok(None))),
                Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(UpstreamFault::BrokeOff))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => Poll::Ready(Some(Ok(Some(data)))),
                    _ => continue,
                },
                Poll::Pending if asked == POLLS_IN_A_TURN => Poll::Ready(None),
                Poll::Pending => {
                    asked += 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            };
        }
    })
    .await
}

async fn drain(mut upstream: reqwest::Body) {
    let to_the_end = async { while let Some(Ok(_)) = upstream.frame().await {} };
    // Whatever an upstream sends behind its answer is not waited for.
    let _ = tokio::time::timeout(TAIL, to_the_end).await;
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use tokio::sync::mpsc;

    use super::*;

    type Given = Result<Bytes, std::io::Error>;

    const A: Given = Ok(Bytes::from_static(b"a"));
    const B: Given = Ok(Bytes::from_static(b"b"));
    const C: Given = Ok(Bytes::from_static(b"c"));

    #[tokio::test]
    async fn chunks_that_are_there_are_taken_and_none_is_waited_for() {
        let held = stream::iter([A, B]).chain(stream::pending());
        let mut upstream = reqwest::Body::wrap_stream(held);
        for expected in ["a", "b"] {
            assert_eq!(at_hand(&mut upstream).await.unwrap().unwrap().unwrap(), expected);
        }
        assert!(at_hand(&mut upstream).await.is_none());
    }

    #[tokio::test]
    async fn the_end_that_is_there_is_seen() {
        let mut upstream = reqwest::Body::wrap_stream(stream::iter([A]));
        assert_eq!(at_hand(&mut upstream).await.unwrap().unwrap().unwrap(), "a");
        assert_eq!(at_hand(&mut upstream).await.unwrap().unwrap(), None);
    }

    #[tokio::test]
    async fn a_task_that_has_more_when_it_has_its_turn_is_heard() {
        let (sender, receiver) = mpsc::channel(1);
        let feeding = tokio_util::task::TaskTracker::new().spawn(async move {
            for chunk in [A, B, C] {
                sender.send(chunk).await.unwrap();
            }
            sender.closed().await;
        });
        let receiving =
            stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
        let mut upstream = reqwest::Body::wrap_stream(Box::pin(receiving));
        assert_eq!(chunk(&mut upstream).await.unwrap().unwrap(), "a");
        for expected in ["b", "c"] {
            assert_eq!(at_hand(&mut upstream).await.unwrap().unwrap().unwrap(), expected);
        }
        assert!(at_hand(&mut upstream).await.is_none());
        drop(upstream);
        feeding.await.unwrap();
    }
}
