//! Finding things in texts. Detectors are compiled once with a pack and shared by all requests.
//!
//! What must hold of each of them:
//! - the same text gives the same hits on every machine: no clock, no random order;
//! - time is linear in the length of the text and does not grow with the number of rules;
//! - no heap allocation per rule; what is reused between texts lives in [`Scratch`];
//! - offsets are byte offsets into the given text, always on character borders, also when a normalised or decoded
//!   form was what matched (a hit inside an encoded run covers the run).

pub mod dlp;
pub mod injection;
pub mod marker;
pub mod patterns;
pub mod pii;

use std::{fmt, ops::Range, sync::Arc};

use crate::verdict::{Mode, PolicyKind, Verdict};

/// SHA-256 of a detector: of its rules and word lists, and of the code that reads texts by them. It changes when what it
/// finds can have changed. `None`: the policy has no detector.
pub const fn digest(kind: PolicyKind) -> Option<&'static [u8; 32]> {
    match kind {
        PolicyKind::PromptInjection => Some(&digests::INJECTION),
        PolicyKind::PiiDetector => Some(&digests::PII),
        PolicyKind::DlpFilter => Some(&digests::DLP),
        _ => None,
    }
}

/// Made by `build.rs`.
mod digests {
    include!(concat!(env!("OUT_DIR"), "/digests.rs"));
}

/// A rule of a detector as the rest of the house sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Stable within the policy, named in records, metrics and block answers (`databricks-pat`, `PERSON`,
    /// `injection.override.ignore-previous`).
    pub id: Arc<str>,
    /// The type of thing found, when it has one (`EMAIL_ADDRESS`); otherwise the id stands for it.
    pub entity: Option<Arc<str>>,
    /// What a hit asks for.
    pub verdict: Verdict,
    /// Whether a hit acts. The mode of the policy is applied on top of it.
    pub mode: Mode,
}

/// Where a text comes from; detectors may weigh it (instructions inside a tool result are suspicious, a system
/// prompt is the operator's own).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Written by whoever builds the application (system and developer messages, tool definitions).
    Operator,
    /// Written by the user.
    User,
    /// Written by the model in an earlier turn.
    Assistant,
    /// Data that came from elsewhere: tool results, retrieved documents, file contents.
    Data,
    /// A name, an identifier, a metadata value, or a field that the gateway does not know.
    Other,
}

/// One text to scan.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The decoded text.
    pub text: &'a str,
    /// Where it comes from.
    pub origin: Origin,
    /// The key that it stands under when it is a leaf of JSON (`"ssn": "…"`): context for a detector.
    pub key: Option<&'a str>,
}

/// A place that a detector objects to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// First byte in the text.
    pub start: usize,
    /// One past the last byte in the text; greater than `start`.
    pub end: usize,
    /// Index into [`Detector::rules`].
    pub rule: u32,
    /// How sure the detector is, 0 to 1.
    pub score: f32,
}

/// Why a detector objects to a place, or what it saw there that was not enough. For people who try a pack on texts of
/// their own: the places of words are never in a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Index into [`Detector::rules`].
    pub rule: u32,
    /// The bytes of the text that it stands on.
    pub span: Range<usize>,
    /// What it weighs, 0 to 1.
    pub weight: f32,
    /// The words that weighed most, as bytes of the text, the heaviest first; a rule has none.
    pub words: Vec<Range<usize>>,
}

impl From<Hit> for Reason {
    /// A hit that rests on nothing else.
    fn from(hit: Hit) -> Self {
        Self { rule: hit.rule, span: hit.start..hit.end, weight: hit.score, words: Vec::new() }
    }
}

/// A detector compiled from one block of a pack.
pub trait Detector: Send + Sync + fmt::Debug {
    /// The policy that it belongs to.
    fn kind(&self) -> PolicyKind;

    /// Its rules; [`Hit::rule`] points into them.
    fn rules(&self) -> &[Rule];

    /// Appends the hits in `text` to `hits`, sorted by start, and returns the score of the text (0 to 1, also below
    /// the threshold) when the policy is a scored one.
    ///
    /// Hits of one detector may overlap; merging is the caller's. A hit is only reported when it is to count: a
    /// score below the pack's threshold gives none.
    fn scan(&self, text: Text<'_>, scratch: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32>;

    /// What the hits in `text` rest on, in the order of the text.
    fn explain(&self, text: Text<'_>, scratch: &mut Scratch) -> Vec<Reason> {
        let mut hits = Vec::new();
        self.scan(text, scratch, &mut hits);
        hits.into_iter().map(Reason::from).collect()
    }

    /// Appends to `out` what stands in the place of `matched`, a hit of `rule`. Never appends nothing.
    fn replace(&self, rule: u32, matched: &str, out: &mut String);
}

/// Working memory of one request, so that scanning many texts allocates once. Each detector that needs some has a
/// field of its own here.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Scratch {
    dlp: dlp::DlpScratch,
    pii: pii::PiiScratch,
    injection: injection::Memory,
}

/// Something wrong in a detector's settings, found when compiling it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Place below the policy's block (`patterns[2].regex`).
    pub path: String,
    /// Whether the pack is refused for it.
    pub severity: crate::diag::Severity,
    /// What kind of mistake it is.
    pub kind: ProblemKind,
    /// Lower case, one line, user input in backticks.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// The kinds of mistakes in a detector's settings; each has a code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The expression does not parse, or uses look-around or back references.
    PatternSyntax,
    /// The expression, or all of them together, would compile to too much, or can match too long a text.
    PatternTooLarge,
    /// The expression matches the empty text, or everything.
    PatternMatchesEverything,
    /// The expression has no literal to look for, so each text is searched in full (warning).
    PatternWithoutLiteral,
    /// A name that the detector does not know (an entity, a built-in, a rule).
    UnknownName,
    /// A value outside its range.
    OutOfRange,
    /// The same name or term twice.
    Duplicate,
}

/// Processor time that this thread has used: what other work on the machine doesn't change.
#[cfg(test)]
pub(crate) fn processor_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_detector_has_a_digest_of_its_own() {
        let kinds = [PolicyKind::PromptInjection, PolicyKind::PiiDetector, PolicyKind::DlpFilter];
        let mut digests: Vec<_> = kinds.into_iter().filter_map(digest).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 3);
        assert!(!digests.contains(&&[0; 32]));
        let others = [PolicyKind::Rbac, PolicyKind::AuditLogger, PolicyKind::DataRoutingPolicy];
        assert!(others.into_iter().all(|kind| digest(kind).is_none()));
    }
}
