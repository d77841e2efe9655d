//! A reply's body as a plan of steps, so that a test can say to the byte and to the write what goes out.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::super::echo::Exchange;
use super::socket::Fate;

/// One step of a reply.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Hand these bytes to the connection.
    Send(Bytes),
    /// Let the connection flush, so that what follows is a TCP write of its own.
    Flush,
    /// Send nothing for a while.
    Pause(Duration),
    /// Never send anything again, but keep the connection open.
    Hang,
    /// Close the connection without the end of the message (FIN).
    Close,
    /// Reset the connection (RST).
    Reset,
}

/// The whole of a body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    steps: VecDeque<Step>,
    /// Repeated without end once `steps` are done.
    forever: Vec<Step>,
    /// Announced as `content-length`; without it the body is chunked.
    length: Option<u64>,
}

impl Plan {
    /// One body, its length announced.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        // hyper never asks a body of no length for a frame, so an empty one must be finished from the start.
        let steps = (!bytes.is_empty()).then_some(Step::Send(bytes)).into_iter().collect();
        Self { steps, forever: Vec::new(), length }
    }

    /// Steps of unknown total length.
    pub(crate) fn steps(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }

    /// The same with a tail that repeats without end.
    pub(crate) fn then_forever(mut self, tail: Vec<Step>) -> Self {
        self.forever = tail;
        self
    }

    /// Announces a length whether or not the steps keep the promise.
    pub(crate) fn announcing(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// Everything that the finite steps would send, as one piece.
    pub(crate) fn concat(&self) -> Vec<u8> {
        self.steps
            .iter()
            .filter_map(|step| match step {
                Step::Send(bytes) => Some(bytes.as_ref()),
                _ => None,
            })
            .collect::<Vec<_>>()
            .concat()
    }

    fn is_finished(&self) -> bool {
        self.steps.is_empty() && self.forever.is_empty()
    }

    fn next(&mut self) -> Option<Step> {
        if self.steps.is_empty() {
            self.steps.extend(self.forever.iter().cloned());
        }
        self.steps.pop_front()
    }
}

/// The fake ended the connection on purpose; hyper closes it when a body fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Severed;

impl fmt::Display for Severed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fake ends this connection here")
    }
}

impl std::error::Error for Severed {}

/// A [`Plan`] on its way out. Reports to the echo log how it ended.
pub(crate) struct PlanBody {
    plan: Plan,
    pause: Option<Pin<Box<Sleep>>>,
    /// Gone for bodies that are not logged (the admin paths).
    exchange: Option<Exchange>,
    fate: Fate,
}

impl PlanBody {
    pub(crate) fn new(plan: Plan, exchange: Option<Exchange>, fate: Fate) -> Self {
        let mut body = Self { plan, pause: None, exchange, fate };
        body.settle();
        body
    }

    /// hyper does not ask again after the last frame of an announced length, so the end is noted here.
    fn settle(&mut self) {
        if self.plan.is_finished()
            && let Some(exchange) = self.exchange.take()
        {
            exchange.completed();
        }
    }

    fn sever(&mut self) -> Poll<Option<Result<Frame<Bytes>, Severed>>> {
        if let Some(exchange) = self.exchange.take() {
            exchange.severed();
        }
        Poll::Ready(Some(Err(Severed)))
    }
}

impl Body for PlanBody {
    type Data = Bytes;
    type Error = Severed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Severed>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.plan.next() {
                Some(Step::Send(bytes)) => {
                    if let Some(exchange) = &mut self.exchange {
                        exchange.sent(bytes.len() as u64);
                    }
                    if let Some(left) = &mut self.plan.length {
                        *left = left.saturating_sub(bytes.len() as u64);
                    }
                    self.settle();
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Flush) => {
                    // hyper writes out what it holds whenever a body has nothing ready.
                    self.settle();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Pause(time)) => self.pause = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Hang) => {
                    self.plan.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                Some(Step::Close) => return self.sever(),
                Some(Step::Reset) => {
                    self.fate.reset_on_drop();
                    return self.sever();
                }
                None => {
                    self.settle();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.plan.is_finished() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.plan.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
