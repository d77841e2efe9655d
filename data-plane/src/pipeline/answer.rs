//! The content policies on answers: whole ones, and streams while they pass.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use bytes::Bytes;
use kt_policy::{
    caller::Caller,
    evaluate::{
        AnswerContext, AnswerReport, AnswerStream, Deadline, FailMode, Stopped, StreamSettings, Timer,
        Workspace,
    },
    json,
    verdict::Endpoint,
};
use tokio::time::Instant;

use super::{Exchange, decide};
use crate::{
    active::Active,
    error::{GatewayError, PolicyRefusal, UpstreamFault},
    sse::{Frames, with_data, without_texts},
};

/// Larger answers are judged on the blocking pool.
const INLINE_BYTES: usize = 32 * 1024;
/// The same of what comes at once in a stream, whose texts are read many times over.
const INLINE_PIECE: usize = 8 * 1024;

/// What the policies need to know of the request.
#[derive(Debug, Clone)]
struct About {
    active: Arc<Active>,
    caller: Caller,
    endpoint: Endpoint,
    models: Vec<String>,
    now: jiff::Timestamp,
    limits: json::Limits,
    fail_mode: FailMode,
    timeout: Duration,
}

impl About {
    /// `None`: no policy reads answers of this request.
    fn of(exchange: &Exchange) -> Option<Self> {
        let (endpoint, _, model) = exchange.asked()?;
        let active = exchange.active();
        if !active.pack.judges_answers(endpoint) {
            return None;
        }
        let mut models = vec![model.to_owned()];
        models.extend(exchange.resolved_model().map(str::to_owned));
        let settings = &exchange.shared().settings;
        Some(Self {
            active: Arc::clone(active),
            caller: exchange.caller().into_owned(),
            endpoint,
            models,
            now: exchange.accepted(),
            limits: settings.limits.json(),
            fail_mode: settings.fail_mode,
            timeout: settings.timeouts.policy,
        })
    }

    fn with<T>(&self, work: impl FnOnce(&AnswerContext<'_>, &mut Workspace) -> T) -> T {
        let started = Instant::now();
        let is_over = || started.elapsed() > self.timeout;
        let elapsed = || started.elapsed();
        let models: Vec<&str> = self.models.iter().map(String::as_str).collect();
        let context = AnswerContext {
            endpoint: self.endpoint,
            caller: &self.caller,
            models: &models,
            now: self.now,
            deadline: Deadline::when(&is_over),
            fail_mode: self.fail_mode,
            timer: Timer::with(&elapsed),
            limits: self.limits,
        };
        decide::with_workspace(|workspace| work(&context, workspace))
    }
}

/// Judges a whole answer and gives what the client gets of it.
pub(super) async fn whole(exchange: &mut Exchange, bytes: Bytes) -> Result<Bytes, GatewayError> {
    let Some(about) = About::of(exchange) else { return Ok(bytes) };
    let started = Instant::now();
    let judged = if bytes.len() <= INLINE_BYTES {
        judge_whole(&about, &bytes)
    } else {
        let internal = |_| GatewayError::Internal { stage: "answer" };
        let judging = bytes.clone();
        tokio::task::spawn_blocking(move || judge_whole(&about, &judging)).await.map_err(internal)?
    };
    exchange.has_judged_answer(started.elapsed());
    let (body, report) = judged?;
    exchange.has_reported(report);
    Ok(body?.unwrap_or(bytes))
}

type Judged = (Result<Option<Bytes>, GatewayError>, AnswerReport);

/// The body where something was replaced in it.
fn judge_whole(about: &About, bytes: &Bytes) -> Result<Judged, GatewayError> {
    let not_inspectable = GatewayError::from(UpstreamFault::NotInspectable);
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(not_inspectable) };
    let judged = about.with(|context, work| about.active.pack.judge_answer(text, context, work));
    let Ok(answered) = judged else { return Err(not_inspectable) };
    let body = match answered.body {
        Ok(std::borrow::Cow::Borrowed(_)) => Ok(None),
        Ok(std::borrow::Cow::Owned(edited)) => Ok(Some(Bytes::from(edited))),
        Err(refusal) => Err(GatewayError::Refused(Box::new(PolicyRefusal::from(&refusal)))),
    };
    Ok((body, answered.report))
}

/// What comes behind the bytes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    More,
    /// Nothing: the answer has come to its end.
    Nothing,
    /// Nothing: the upstream broke off, perhaps inside of an event.
    Broken,
}

/// Why a stream is ended, with what may still leave before.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) before: Bytes,
    pub(super) error: GatewayError,
}

/// A stream that is judged while it passes.
#[derive(Debug)]
pub(super) struct StreamJudge {
    about: About,
    frames: Frames,
    is_first: bool,
    stream: AnswerStream<Bytes>,
    is_refused: bool,
    took: Duration,
}

impl StreamJudge {
    /// `None`: no policy reads answers of this request.
    pub(super) fn new(exchange: &Exchange) -> Option<Box<Self>> {
        let about = About::of(exchange)?;
        let limits = &exchange.shared().settings.limits;
        let settings = StreamSettings { held_bytes: limits.answer_bytes };
        let stream = AnswerStream::new(&about.active.pack, about.endpoint, settings);
        let frames = Frames::new(limits.event_bytes);
        Some(Box::new(Self {
            about,
            frames,
            is_first: true,
            stream,
            is_refused: false,
            took: Duration::ZERO,
        }))
    }

    /// Takes the next bytes, and all that is left where nothing comes behind; gives what may leave.
    pub(super) async fn pass(
        mut self: Box<Self>,
        data: Bytes,
        behind: Behind,
    ) -> Result<(Box<Self>, Result<Bytes, Ended>), GatewayError> {
        if data.len() <= INLINE_PIECE && self.stream.unsettled_bytes() <= INLINE_BYTES {
            let passed = self.judge(&data, behind);
            return Ok((self, passed));
        }
        let judging = tokio::task::spawn_blocking(move || {
            let passed = self.judge(&data, behind);
            (self, passed)
        });
        judging.await.map_err(|_| GatewayError::Internal { stage: "answer" })
    }

    /// What the policies have said so far, and how long they took.
    pub(super) fn report(&self) -> (AnswerReport, Duration) {
        (self.stream.report(&self.about.active.pack, self.is_refused), self.took)
    }

    fn judge(&mut self, data: &[u8], behind: Behind) -> Result<Bytes, Ended> {
        let started = Instant::now();
        let mut out = Vec::new();
        let result = self.take(data, behind, &mut out);
        while let Some(released) = self.stream.pop() {
            match released.data {
                None => out.extend_from_slice(&released.frame),
                Some(data) => with_data(&released.frame, &data, &mut out),
            }
        }
        self.took += started.elapsed();
        let before = Bytes::from(out);
        match result {
            Ok(()) => Ok(before),
            Err(error) => {
                self.is_refused = matches!(error, GatewayError::Refused(_));
                Err(Ended { before, error })
            }
        }
    }

    /// `out`: what no text waits for.
    fn take(&mut self, data: &[u8], behind: Behind, out: &mut Vec<u8>) -> Result<(), GatewayError> {
        let Self { about, frames, is_first, stream, .. } = self;
        let pack = &about.active.pack;
        let too_large = |_| GatewayError::from(UpstreamFault::TooLarge);
        about.with(|context, work| {
            let mut push = |frame: Bytes, data: Option<&[u8]>| {
                let frame = without_texts(frame, std::mem::take(is_first));
                let Some(data) = data else {
                    if frame.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                        // What is left of the end of the event before.
                        stream.push_blank(frame);
                    } else {
                        // Signs of life are not held back.
                        out.extend_from_slice(&frame);
                    }
                    return Ok(());
                };
                let data = std::str::from_utf8(data).map_err(|_| UpstreamFault::NotInspectable)?;
                stream.push(frame, data, pack, context, work).map_err(ended)
            };
            let mut pushed = Ok(());
            let cut = frames.push(data, |frame, data| {
                pushed = push(frame, data);
                if pushed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            cut.map_err(too_large)?;
            pushed?;
            if behind == Behind::Nothing
                && let Some((frame, data)) = frames.rest().map_err(too_large)?
            {
                match push(frame, data.as_deref()) {
                    // It was cut; what that means for the answer is not for the policies to say.
                    Err(GatewayError::UpstreamFailed(UpstreamFault::NotInspectable)) => {}
                    pushed => pushed?,
                }
            }
            if behind == Behind::More { Ok(()) } else { stream.end(pack, context, work).map_err(ended) }
        })
    }
}

fn ended(stopped: Stopped) -> GatewayError {
    match stopped {
        Stopped::Refused(refusal) => GatewayError::Refused(Box::new(PolicyRefusal::from(&*refusal))),
        Stopped::NotInspectable(_) => UpstreamFault::NotInspectable.into(),
        Stopped::TooLarge => UpstreamFault::TooLarge.into(),
    }
}
