//! Running content policies over texts.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    BypassReason, Effect,
    env::Deadline,
    exceptions::Waivers,
    joined::{Alone, Crossing, Reached},
    texts::{Leaf, Source, Texts},
};
use crate::{
    compiled::ChainEntry,
    detect::{Detector, Hit, Scratch, Text},
    pack::kinds::EndpointAction,
    verdict::{Endpoint, Mode, Phase, Verdict},
};

/// The deadline is asked for after so many bytes of text.
const BYTES_BETWEEN_CHECKS: usize = 16 * 1024;
/// And after so many texts, however short.
const TEXTS_BETWEEN_CHECKS: usize = 256;

/// A hit with what becomes of it. Offsets are bytes of the text of the entry (of a joined text
/// until it is split).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    /// Index in the chain.
    pub(super) policy: usize,
    pub(super) entry: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rule: u32,
    pub(super) score: f32,
    pub(super) verdict: Verdict,
    pub(super) effect: Effect,
    /// It is a piece of a hit that lies over the border of two parts.
    pub(super) crossing: Option<Crossing>,
}

impl Found {
    /// Whether it ends the request or the answer.
    pub(super) fn blocks(&self) -> bool {
        self.effect == Effect::Enforced && self.verdict == Verdict::Block
    }
}

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) score: Option<f32>,
    pub(super) failed: Option<BypassReason>,
}

/// How the findings of one policy are to be weighed on one endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weighing<'a> {
    observe: bool,
    verdict: Option<Verdict>,
    waivers: &'a Waivers<'a>,
}

impl<'a> Weighing<'a> {
    /// `None` when the policy does not run in the phase or on the endpoint.
    pub(super) fn new(
        entry: &ChainEntry,
        phase: Phase,
        endpoint: Option<Endpoint>,
        waivers: &'a Waivers<'a>,
    ) -> Option<Self> {
        if !entry.phases.contains(&phase) {
            return None;
        }
        let mut observe = entry.mode == Mode::Observe;
        let verdict = match endpoint.and_then(|endpoint| entry.endpoints.get(&endpoint)) {
            None => None,
            Some(EndpointAction::Off) => return None,
            Some(EndpointAction::Observe) => {
                observe = true;
                None
            }
            Some(EndpointAction::Redact) => Some(Verdict::Redact),
            Some(EndpointAction::Block) => Some(Verdict::Block),
        };
        Some(Self { observe, verdict, waivers })
    }

    /// For a text by itself, which belongs to no request.
    pub(super) fn of_text(entry: &ChainEntry, waivers: &'a Waivers<'a>) -> Option<Self> {
        let phase = entry.phases.first().copied()?;
        Self::new(entry, phase, None, waivers)
    }

    /// Whether nothing that the policy finds can act.
    pub(super) const fn observes(&self) -> bool {
        self.observe
    }
}

/// One detector over every text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    /// The place of the policy in the chain.
    pub(super) index: usize,
    pub(super) detector: &'a dyn Detector,
    pub(super) weighing: Weighing<'a>,
    pub(super) source: Source<'a>,
    pub(super) texts: &'a Texts,
    pub(super) deadline: Deadline<'a>,
}

/// Runs the task and appends what it finds. What was found before a failure is kept: a block that is found stands.
pub(super) fn run(task: Task<'_>, scratch: &mut Scratch, hits: &mut Vec<Hit>, found: &mut Vec<Found>) -> Run {
    // Detectors do not panic; should one do so, it is an error of that policy and not the end of the service.
    let mut run = catch_unwind(AssertUnwindSafe(|| scan(task, scratch, hits, found))).unwrap_or_else(|_| {
        *scratch = Scratch::default();
        hits.clear();
        Run { score: None, failed: Some(BypassReason::Error) }
    });
    if task.texts.too_nested() {
        run.failed = run.failed.or(Some(BypassReason::TooNested));
    }
    run
}

fn scan(task: Task<'_>, scratch: &mut Scratch, hits: &mut Vec<Hit>, found: &mut Vec<Found>) -> Run {
    let Task { detector, source, texts, deadline, .. } = task;
    let before = found.len();
    let mut best: Option<f32> = None;
    let mut pace = Pace::new(deadline);
    for at in 0..texts.len() {
        let Some(entry) = texts.entry(at) else { break };
        if entry.leaf == Leaf::Literal {
            continue;
        }
        let text = texts.text(source, at);
        if pace.is_over(text) {
            return Run { score: best, failed: Some(BypassReason::Deadline) };
        }
        let key = texts.key(source, entry);
        let origin = source.origin(entry.field as usize);
        hits.clear();
        let score = detector.scan(Text { text, origin, key: key.as_deref() }, scratch, hits);
        best = higher(best, score);
        found.extend(hits.drain(..).filter_map(|hit| weigh(task, at, text, hit)));
    }
    let joined = texts.joined();
    let mut alone = None;
    for group in 0..joined.len() {
        let text = joined.text(group);
        if pace.is_over(text) {
            return Run { score: best, failed: Some(BypassReason::Deadline) };
        }
        let origin = source.origin(joined.first_field(group));
        let mut reached = Reached::default();
        hits.clear();
        let score = detector.scan(Text { text, origin, key: None }, scratch, hits);
        best = higher(best, score);
        for hit in hits.drain(..).filter_map(|hit| weigh(task, group, text, hit)) {
            let alone = alone.get_or_insert_with(|| Alone::new(found.get(before..).unwrap_or_default()));
            joined.split(group, hit, detector.kind(), alone, &mut reached, found);
        }
    }
    Run { score: best, failed: None }
}

fn higher(best: Option<f32>, score: Option<f32>) -> Option<f32> {
    match (best, score) {
        (Some(best), Some(score)) => Some(best.max(score)),
        (best, score) => best.or(score),
    }
}

/// When the deadline is asked for.
#[derive(Debug)]
struct Pace<'a> {
    deadline: Deadline<'a>,
    bytes: usize,
    texts: usize,
}

impl<'a> Pace<'a> {
    const fn new(deadline: Deadline<'a>) -> Self {
        // The time may be up before the first text: the policies before this one took it.
        Self { deadline, bytes: BYTES_BETWEEN_CHECKS, texts: 0 }
    }

    /// Whether the time is up before `text`, where it is asked for again.
    fn is_over(&mut self, text: &str) -> bool {
        if self.bytes >= BYTES_BETWEEN_CHECKS || self.texts >= TEXTS_BETWEEN_CHECKS {
            (self.bytes, self.texts) = (0, 0);
            if self.deadline.is_over() {
                return true;
            }
        }
        self.bytes += text.len();
        self.texts += 1;
        false
    }
}

fn weigh(task: Task<'_>, entry: usize, text: &str, hit: Hit) -> Option<Found> {
    let Task { index, detector, weighing, .. } = task;
    let rule = detector.rules().get(hit.rule as usize)?;
    // Detectors give borders of characters inside the text; whatever else one gives is widened to that.
    let start = text.floor_char_boundary(hit.start);
    let end = text.ceil_char_boundary(hit.end);
    if start >= end {
        return None;
    }
    let effect = if weighing.observe || rule.mode == Mode::Observe {
        Effect::Observed
    } else if weighing.waivers.covers(detector.kind(), &rule.id) {
        Effect::Waived
    } else {
        Effect::Enforced
    };
    let verdict = weighing.verdict.unwrap_or(rule.verdict);
    let Hit { rule, score, .. } = hit;
    Some(Found { policy: index, entry, start, end, rule, score, verdict, effect, crossing: None })
}
