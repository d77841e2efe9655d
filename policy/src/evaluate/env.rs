//! What an evaluation is given besides pack, request and caller.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::texts::Texts;
use crate::detect::{Hit, Scratch};

/// What an evaluation is given besides pack, request and caller.
#[derive(Debug, Clone, Copy)]
pub struct Env<'a> {
    /// The time of the request; exceptions expire by it.
    pub now: Timestamp,
    /// When content policies must be done.
    pub deadline: Deadline<'a>,
    /// What an error or the deadline inside a content policy gives.
    pub fail_mode: FailMode,
    /// What tells how long each policy took.
    pub timer: Timer<'a>,
}

/// What an error or the deadline inside a content policy gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FailMode {
    /// The request is refused.
    #[default]
    Block,
    /// The request goes on without that policy, and the record says so.
    Allow,
}

impl FailMode {
    /// The name as written on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Allow => "allow",
        }
    }
}

/// When an evaluation must be done. It has no clock of its own: whoever starts the evaluation tells whether the time is
/// up.
#[derive(Clone, Copy, Default)]
pub struct Deadline<'a>(Option<&'a dyn Fn() -> bool>);

impl<'a> Deadline<'a> {
    /// No deadline.
    pub const NEVER: Self = Self(None);

    /// The time is up as soon as `expired` says so. It is asked between texts, at most every few KiB.
    pub const fn when(expired: &'a dyn Fn() -> bool) -> Self {
        Self(Some(expired))
    }

    pub(super) fn is_over(self) -> bool {
        self.0.is_some_and(|expired| expired())
    }
}

impl fmt::Debug for Deadline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Deadline(set)" } else { "Deadline(never)" })
    }
}

/// Tells how long things take. It has no clock of its own: whoever starts the evaluation gives the time that has passed
/// since some moment.
#[derive(Clone, Copy, Default)]
pub struct Timer<'a>(Option<&'a dyn Fn() -> Duration>);

impl<'a> Timer<'a> {
    /// Nothing is measured.
    pub const NONE: Self = Self(None);

    /// Measures with `elapsed`, which never goes back. It is asked twice for each policy.
    pub const fn with(elapsed: &'a dyn Fn() -> Duration) -> Self {
        Self(Some(elapsed))
    }

    /// Does `work` and tells how long it took.
    pub(super) fn time<T>(self, work: impl FnOnce() -> T) -> (T, Option<Duration>) {
        let Some(elapsed) = self.0 else { return (work(), None) };
        let started = elapsed();
        let done = work();
        (done, Some(elapsed().saturating_sub(started)))
    }
}

impl fmt::Debug for Timer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Timer(set)" } else { "Timer(none)" })
    }
}

/// What is known of models, by concrete endpoint name: the model table of the gateway.
pub trait ModelLimits: fmt::Debug {
    /// The most output tokens.
    fn output_limit(&self, model: &str) -> Option<u64>;

    /// Input and output tokens together.
    fn window(&self, model: &str) -> Option<u64>;

    /// The parameter that bounds output tokens on chat completions and completions (`max_tokens`).
    fn token_parameter(&self, model: &str) -> Option<&str>;

    /// Whether the model is known to refuse any such parameter.
    fn refuses_token_parameter(&self, _model: &str) -> bool {
        false
    }
}

/// A table that knows no model.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoModels;

impl ModelLimits for NoModels {
    fn output_limit(&self, _model: &str) -> Option<u64> {
        None
    }

    fn window(&self, _model: &str) -> Option<u64> {
        None
    }

    fn token_parameter(&self, _model: &str) -> Option<&str> {
        None
    }
}

/// Memory that evaluations use one after the other. One a worker is enough; a new one is always right. Its debug form
/// is empty: detectors leave texts in theirs.
#[derive(Default)]
pub struct Workspace {
    /// The detectors' own.
    pub detect: Scratch,
    pub(super) texts: Texts,
    pub(super) hits: Vec<Hit>,
    pub(super) found: Vec<super::content::Found>,
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").finish_non_exhaustive()
    }
}

/// Hits that are kept room for between evaluations.
const KEPT_HITS: usize = 16 * 1024;

impl Workspace {
    /// Forgets what was evaluated, and gives memory back that one large request took.
    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.hits.clear();
        self.hits.shrink_to(KEPT_HITS);
        self.found.clear();
        self.found.shrink_to(KEPT_HITS);
    }
}
