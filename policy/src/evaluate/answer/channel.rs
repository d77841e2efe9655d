//! One text of an answer that comes in pieces.
//!
//! Prose is judged in windows: at every [`STEP`] bytes of the text, what has come is scanned together with some of what
//! was let go before, and all but the last bytes is settled. A border never lies inside a finding that acts, nor inside a
//! run of printable ASCII, so that a token is let go as a whole or not at all. Where the borders lie depends on the text
//! alone, never on how it was cut.
//!
//! Arguments of calls, and texts that are JSON, are of use to nobody before they are whole: they are held to their end and
//! judged as such, key by key and leaf by leaf.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use super::{Judge, Tally, blocked, content_policy};
use crate::{
    answer,
    evaluate::{
        Effect, Finding, Refusal, Workspace, merge,
        offsets::CodePoints,
        report::{self, InField},
        texts::{Source, looks_like_json},
    },
    json::{Document, JsonErrorKind, Limits, Reading},
    request::{FieldKind, Place},
    verdict::Phase,
};

/// Bytes between two windows.
const STEP: usize = 64;
/// Bytes before what is to be settled that are scanned once more, for what they say of it.
const CONTEXT: usize = 1024;
/// The longest run of printable ASCII that no border lies in.
const LONGEST_RUN: usize = 4096;
/// Whether a text is JSON is asked after so many bytes, then after twice as many each time.
const FIRST_QUESTION: usize = 64;

/// How a text is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Nothing but white space so far, in the bytes that were read.
    Blank { read: usize },
    /// In windows.
    Prose,
    /// It began like JSON and is so still; asked again at this length.
    Json { asked_at: usize },
    /// As a whole.
    Whole,
}

/// A span of the text and what stands in its place.
struct Edit {
    range: Range<usize>,
    marker: String,
}

/// One text. Offsets are bytes of all of it.
pub(super) struct Channel {
    /// Where it stands in the answer, fit for records.
    pointer: String,
    group: u64,
    /// The text from `base` on, behind `gone` bytes that no window needs.
    kept: String,
    gone: usize,
    base: usize,
    /// Code points before `base`.
    points: usize,
    /// Everything before is judged for good.
    settled: usize,
    /// Where the next window ends.
    next: usize,
    shape: Shape,
    edits: VecDeque<Edit>,
}

/// Its debug form tells sizes, never the text.
impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("pointer", &self.pointer)
            .field("bytes", &self.len())
            .field("settled", &self.settled)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Channel {
    pub(super) fn new(name: &answer::Channel, hold_back: usize) -> Self {
        let shape =
            if name.kind == FieldKind::ToolArguments { Shape::Whole } else { Shape::Blank { read: 0 } };
        Self {
            pointer: answer::recorded(&name.pointer),
            group: name.group,
            kept: String::new(),
            gone: 0,
            base: 0,
            points: 0,
            settled: 0,
            next: hold_back + STEP,
            shape,
            edits: VecDeque::new(),
        }
    }

    pub(super) const fn group(&self) -> u64 {
        self.group
    }

    fn text(&self) -> &str {
        self.kept.get(self.gone..).unwrap_or_default()
    }

    const fn len(&self) -> usize {
        self.base + self.kept.len() - self.gone
    }

    pub(super) const fn unsettled(&self) -> usize {
        self.len() - self.settled
    }

    pub(super) const fn is_settled(&self, end: usize) -> bool {
        self.settled >= end
    }

    /// Adds a piece, and tells where it stands.
    pub(super) fn push(&mut self, piece: &str) -> Range<usize> {
        let start = self.len();
        self.kept.push_str(piece);
        start..self.len()
    }

    /// Judges what is due.
    pub(super) fn advance(
        &mut self,
        judge: &Judge<'_>,
        tally: &mut Tally,
        work: &mut Workspace,
    ) -> Result<(), Refusal> {
        loop {
            match self.shape {
                Shape::Whole => return Ok(()),
                Shape::Blank { read } => {
                    let behind = self.text().get(read..).unwrap_or_default();
                    let blank = behind.len() - behind.trim_start().len();
                    self.shape = if blank == behind.len() {
                        Shape::Blank { read: read + blank }
                    } else if looks_like_json(self.text()) {
                        Shape::Json { asked_at: FIRST_QUESTION }
                    } else {
                        Shape::Prose
                    };
                    if matches!(self.shape, Shape::Blank { .. }) {
                        return Ok(());
                    }
                }
                Shape::Json { asked_at } => {
                    let text = self.text();
                    if text.len() < asked_at {
                        return Ok(());
                    }
                    let begun = text.get(..text.floor_char_boundary(asked_at)).unwrap_or_default();
                    let next = Shape::Json { asked_at: asked_at.saturating_mul(2) };
                    self.shape = if may_become_json(begun) { next } else { Shape::Prose };
                }
                Shape::Prose => {
                    if self.len() < self.next {
                        return Ok(());
                    }
                    let end = self.text().floor_char_boundary(self.next - self.base);
                    self.window(end, false, judge, tally, work)?;
                    // What is held for long is not scanned again for every few bytes that come.
                    let held = self.next.saturating_sub(self.settled + judge.pack.hold_back);
                    self.next += STEP.max(held / 2);
                    self.forget();
                }
            }
        }
    }

    /// Judges the rest: the upstream says that nothing more comes. Where something does all the same, it is read with
    /// what was let go before it.
    pub(super) fn end(
        &mut self,
        judge: &Judge<'_>,
        tally: &mut Tally,
        work: &mut Workspace,
    ) -> Result<(), Refusal> {
        if self.settled < self.len() {
            self.window(self.text().len(), true, judge, tally, work)?;
            let is_json = work.texts.entry(0).is_some_and(|entry| entry.json);
            self.forget_all_but(if is_json { 0 } else { CONTEXT });
            self.shape = match self.shape {
                Shape::Json { .. } if !is_json => Shape::Prose,
                Shape::Whole => Shape::Whole,
                _ if is_json => Shape::Blank { read: 0 },
                other => other,
            };
            self.next = self.next.max(self.settled + judge.pack.hold_back + STEP);
        }
        Ok(())
    }

    /// Judges the text that is there up to `end`, and settles what can be.
    fn window(
        &mut self,
        end: usize,
        is_last: bool,
        judge: &Judge<'_>,
        tally: &mut Tally,
        work: &mut Workspace,
    ) -> Result<(), Refusal> {
        let chain = &judge.pack.chain;
        let text = self.text().get(..end).unwrap_or_default();
        let settled = self.settled - self.base;
        let source = Source::Streamed { text, json: self.shape != Shape::Prose };
        judge.run(source, tally, work, false)?;
        let redactions = merge::redactions(chain, source, &work.texts, &work.found);
        let spans = redactions.iter().map(|redaction| &redaction.splice.range);
        let border = if is_last {
            end
        } else {
            let border = end.saturating_sub(judge.pack.hold_back).max(settled);
            let border = start_of_run(text, text.floor_char_boundary(border)).max(settled);
            spans
                .clone()
                .find(|span| span.start < border && border < span.end)
                .map_or(border, |span| span.start)
        }
        .max(settled);

        let begins_here = |start: usize| (settled..border).contains(&start);
        // What was let go before it could be known for one: the rest of it is not.
        let was_begun = |start: usize, end: usize| start < settled && settled < end;
        let mut hits = report::in_fields(source, &work.texts, &work.found);
        hits.retain(|hit| {
            begins_here(hit.start) || hit.found.effect == Effect::Enforced && was_begun(hit.start, hit.end)
        });
        tally.found(chain, &judge.waivers, hits.iter().map(|hit| &hit.found));
        tally.list(self.findings(judge, text, &hits), 0);
        let first = hits
            .iter()
            .filter(|hit| hit.found.blocks())
            .min_by_key(|hit| (hit.found.policy, hit.start, hit.found.rule));
        if let Some((hit, (entry, detector))) =
            first.and_then(|hit| Some((hit, content_policy(chain, hit.found.policy)?)))
        {
            return Err(blocked(entry, detector, hit.found.rule, self.param()));
        }
        for redaction in redactions {
            let range = redaction.splice.range;
            if begins_here(range.start) || was_begun(range.start, range.end) {
                tally.redacted(chain, redaction.policy, redaction.rule);
                let range = self.base + range.start.max(settled)..self.base + range.end;
                self.edits.push_back(Edit { range, marker: redaction.splice.text });
            }
        }
        self.settled = self.base + border;
        Ok(())
    }

    fn findings(&self, judge: &Judge<'_>, text: &str, hits: &[InField]) -> Vec<Finding> {
        if hits.is_empty() {
            return Vec::new();
        }
        let points = CodePoints::new(text);
        let place = Place {
            pointer: Arc::from(self.pointer.as_str()),
            param: Arc::from(self.param()),
            in_key: false,
        };
        let listed = hits.iter().filter_map(|hit| {
            let rule = report::rule(&judge.pack.chain, hit.found.policy, hit.found.rule)?;
            Some(Finding {
                policy: judge.pack.chain.get(hit.found.policy)?.kind,
                phase: Phase::Output,
                rule: Arc::clone(&rule.id),
                entity: rule.entity.clone(),
                place: place.clone(),
                start: self.points + points.before(hit.start),
                end: self.points + points.before(hit.end),
                score: hit.found.score,
                verdict: hit.found.verdict,
                effect: hit.found.effect,
            })
        });
        listed.collect()
    }

    fn param(&self) -> String {
        let mut param = String::with_capacity(self.pointer.len() + 4);
        for step in self.pointer.split('/').skip(1) {
            match step.parse() {
                Ok(index) => crate::json::push_param_index(index, &mut param),
                Err(_) => crate::json::push_param(step, &mut param),
            }
        }
        param
    }

    /// Lets go of what no window needs any more.
    fn forget(&mut self) {
        if self.settled - self.base >= 2 * CONTEXT {
            self.forget_all_but(CONTEXT);
        }
    }

    /// Lets go of what is settled but for the last bytes.
    fn forget_all_but(&mut self, context: usize) {
        let settled = self.settled - self.base;
        let text = self.text();
        let cut = text.floor_char_boundary(settled.saturating_sub(context));
        self.points += text.get(..cut).unwrap_or_default().chars().count();
        self.gone += cut;
        self.base += cut;
        // Not at every step: a long piece would be moved as often.
        if self.gone > self.kept.len() / 2 {
            self.kept.drain(..self.gone);
            self.gone = 0;
        }
    }

    /// What becomes of a settled piece, given in the order of the text: ranges of it, and what stands there. A marker
    /// stands in the piece in which its span begins.
    pub(super) fn edits(&mut self, piece: &Range<usize>) -> Vec<(Range<usize>, String)> {
        let mut edits = Vec::new();
        for edit in &mut self.edits {
            if edit.range.start >= piece.end {
                break;
            }
            let range = edit.range.start.max(piece.start)..edit.range.end.min(piece.end);
            if !range.is_empty() {
                let range = range.start - piece.start..range.end - piece.start;
                edits.push((range, std::mem::take(&mut edit.marker)));
            }
        }
        while self.edits.front().is_some_and(|edit| edit.range.end <= piece.end) {
            self.edits.pop_front();
        }
        edits
    }
}

/// Where the run of printable ASCII that `at` lies in begins; `at` itself when it lies in none, or in too long a one.
fn start_of_run(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    if !bytes.get(at).is_some_and(u8::is_ascii_graphic) {
        return at;
    }
    let before = bytes.get(..at).unwrap_or_default();
    let run = before.iter().rev().take(LONGEST_RUN).take_while(|byte| byte.is_ascii_graphic()).count();
    if run == LONGEST_RUN { at } else { at - run }
}

/// Whether a text that began like JSON may still turn out to be.
fn may_become_json(begun: &str) -> bool {
    let limits = Limits { depth: 4096, nodes: 500_000 };
    match Document::parse_text(begun, limits, Reading::Lenient, Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind == JsonErrorKind::UnexpectedEnd,
    }
}
