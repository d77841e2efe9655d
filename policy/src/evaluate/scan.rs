//! Plain text through the content policies of a chain: what `kt policy scan` prints, and what a text that arrives in
//! pieces is judged by.

use std::{fmt, ops::Range, sync::Arc};

use super::{
    Deadline, Effect, Workspace,
    content::{self, Weighing},
    exceptions::Waivers,
    offsets::CodePoints,
    report::{self, InField},
    texts::Source,
};
use crate::{
    compiled::{CompiledPack, CompiledPolicy},
    detect::{Origin, Reason, Text},
    verdict::{PolicyKind, Verdict},
};

/// What the content policies of a chain say of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextScan {
    /// The strongest answer over the chain; what observes does not count.
    pub decision: Verdict,
    /// What was found, sorted by start. A finding inside a stronger one of another type is left out.
    pub findings: Vec<TextFinding>,
    /// The score of each policy that scores, also below its threshold.
    pub scores: Vec<(PolicyKind, f32)>,
}

/// Something found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextFinding {
    /// The policy.
    pub policy: PolicyKind,
    /// The rule.
    pub rule: Arc<str>,
    /// The type of thing found; the rule where it has none.
    pub entity: Arc<str>,
    /// First code point.
    pub start: usize,
    /// One past the last code point.
    pub end: usize,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
    /// What it asks for.
    pub verdict: Verdict,
    /// What becomes of it.
    pub effect: Effect,
}

/// What a finding rests on; places are code points.
#[derive(Debug, Clone, PartialEq)]
pub struct TextReason {
    /// The rule; `injection.model.window` for a window of the trained model.
    pub rule: Arc<str>,
    /// Where it stands.
    pub place: Range<usize>,
    /// What it weighs, 0 to 1.
    pub weight: f32,
    /// The words that weighed most, the heaviest first.
    pub words: Vec<Range<usize>>,
}

impl CompiledPack {
    /// Scans a text as the user's. Every content policy of the chain runs, also behind one that blocks; exceptions and
    /// `endpoints` do not count, as there is no request.
    pub fn scan_text(&self, text: &str, work: &mut Workspace) -> TextScan {
        let source = Source::Plain(text);
        work.texts.fill(source);
        work.found.clear();
        let waivers = Waivers::default();
        let mut scores = Vec::new();
        for (index, entry) in self.chain.iter().enumerate() {
            let CompiledPolicy::Content(detector) = &entry.policy else { continue };
            let Some(weighing) = Weighing::of_text(entry, &waivers) else { continue };
            let task = content::Task {
                index,
                detector: detector.as_ref(),
                weighing,
                source,
                texts: &work.texts,
                deadline: Deadline::NEVER,
            };
            let run = content::run(task, &mut work.detect, &mut work.hits, &mut work.found);
            if let Some(score) = run.score {
                scores.push((entry.kind, score));
            }
        }
        let decision = work
            .found
            .iter()
            .filter(|found| found.effect == Effect::Enforced)
            .map(|found| found.verdict)
            .max()
            .unwrap_or(Verdict::Allow);
        let hits = report::in_fields(source, &work.texts, &work.found);
        work.clear();
        TextScan { decision, findings: self.listed(text, &hits), scores }
    }

    /// The policies that scan texts, by their places in the chain.
    pub fn content_policies(&self) -> impl Iterator<Item = (usize, PolicyKind)> {
        let content = self
            .chain
            .iter()
            .enumerate()
            .filter(|(_, entry)| matches!(entry.policy, CompiledPolicy::Content(_)));
        content.map(|(index, entry)| (index, entry.kind))
    }

    /// What one policy of the chain sees in a text: what its findings rest on, and what alone would not have been one. None
    /// for a policy that scans no texts.
    pub fn explain_text(&self, index: usize, text: &str, work: &mut Workspace) -> Vec<TextReason> {
        let Some(CompiledPolicy::Content(detector)) = self.chain.get(index).map(|entry| &entry.policy) else {
            return Vec::new();
        };
        let points = CodePoints::new(text);
        let place = |span: &Range<usize>| points.before(span.start)..points.before(span.end);
        let reason = |reason: Reason| {
            let rule = detector.rules().get(reason.rule as usize)?;
            Some(TextReason {
                rule: Arc::clone(&rule.id),
                place: place(&reason.span),
                weight: reason.weight,
                words: reason.words.iter().map(place).collect(),
            })
        };
        let input = Text { text, origin: Origin::User, key: None };
        detector.explain(input, &mut work.detect).into_iter().filter_map(reason).collect()
    }

    fn listed(&self, text: &str, hits: &[InField]) -> Vec<TextFinding> {
        let points = CodePoints::new(text);
        let mut findings: Vec<TextFinding> = hits
            .iter()
            .filter_map(|hit| {
                let rule = report::rule(&self.chain, hit.found.policy, hit.found.rule)?;
                Some(TextFinding {
                    policy: self.chain.get(hit.found.policy)?.kind,
                    rule: Arc::clone(&rule.id),
                    entity: Arc::clone(rule.entity.as_ref().unwrap_or(&rule.id)),
                    start: points.before(hit.start),
                    end: points.before(hit.end),
                    score: hit.found.score,
                    verdict: hit.found.verdict,
                    effect: hit.found.effect,
                })
            })
            .collect();
        // Stable: equal spans keep the order of the chain.
        findings.sort_by(|a, b| a.start.cmp(&b.start).then(b.end.cmp(&a.end)));
        without_covered(findings)
    }
}

/// Leaves out what lies inside a stronger finding of another type (an e-mail is not also a URL), and the smaller of two
/// findings of one type. Of equals over the same span the earlier stays; a secret inside a larger one that is no
/// stronger stays too.
fn without_covered(findings: Vec<TextFinding>) -> Vec<TextFinding> {
    let mut kept: Vec<TextFinding> = Vec::with_capacity(findings.len());
    // Those that may still cover something to come, or be covered by it (same start).
    let mut first_open = 0;
    for finding in findings {
        while kept.get(first_open).is_some_and(|open| open.end <= finding.start) {
            first_open += 1;
        }
        let open = kept.get(first_open..).unwrap_or_default();
        if open.iter().any(|other| covers(other, &finding)) {
            continue;
        }
        let mut index = 0;
        kept.retain(|other| {
            index += 1;
            index <= first_open || !covers(&finding, other)
        });
        kept.push(finding);
    }
    kept
}

fn covers(outer: &TextFinding, inner: &TextFinding) -> bool {
    if outer.start > inner.start || outer.end < inner.end {
        return false;
    }
    let same_span = outer.start == inner.start && outer.end == inner.end;
    let strength = |finding: &TextFinding| (finding.effect == Effect::Enforced, finding.verdict);
    let order = strength(outer).cmp(&strength(inner)).then(outer.score.total_cmp(&inner.score));
    if outer.entity == inner.entity {
        return !same_span || order.is_ge();
    }
    order.is_gt() || (order.is_eq() && same_span)
}

/// A text that arrives in pieces. It is held until its end and scanned then, so cuts never hide anything; how much may
/// be let go earlier is decided where answers are enforced while they stream.
#[derive(Default)]
pub struct TextFeed {
    text: String,
}

impl fmt::Debug for TextFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextFeed").field("bytes", &self.text.len()).finish()
    }
}

impl TextFeed {
    /// A text of which nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece.
    pub fn push(&mut self, piece: &str) {
        self.text.push_str(piece);
    }

    /// The end of the text: the same as [`CompiledPack::scan_text`] of the whole.
    pub fn finish(self, pack: &CompiledPack, work: &mut Workspace) -> TextScan {
        pack.scan_text(&self.text, work)
    }
}
