//! `pii-detector`: personal data, by check digits and structure where a type has them, by the words around where it
//! has not.
//!
//! A text is read in the form that [`view`] gives it, so that disguises are undone. Every matcher is anchored at
//! something rare (`@`, a digit, `://`, a capital letter) and looks a bounded way around it: time is linear on any
//! input. Matchers claim pieces; [`found`] decides who gets them.

mod context;
mod crypto;
mod domain;
mod email;
mod found;
mod iban;
mod ids;
mod keccak;
mod net;
mod number;
mod person;
mod view;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use self::{
    context::Context,
    found::{Claims, Found, Kind},
    view::View,
};
use super::{
    Detector, Hit, Problem, ProblemKind, Rule, Scratch, Text,
    marker::Marker,
    patterns::{PatternScratch, PatternSet, PatternSource},
};
use crate::{
    diag::Severity,
    pack::kinds::{Entity, EntitySelection, MarkerFormat, PiiDetector, Redaction},
    verdict::{Mode, PolicyKind, Verdict},
};

/// What stands for the entity type of the pack's own patterns.
const CUSTOM: &str = "CUSTOM";

/// How near to card data, in bytes, a name is that of its holder.
const HOLDER_REACH: usize = 120;

/// A compiled `pii-detector`.
#[derive(Debug)]
pub struct PiiScanner {
    rules: Vec<Rule>,
    markers: Vec<Marker>,
    /// By [`Kind`]: its rule.
    by_kind: [Option<u32>; Kind::COUNT],
    /// Names count only beside card data.
    holders_only: bool,
    threshold: f32,
    patterns: PatternSet,
    /// The rule of the first of the pack's own patterns.
    first_pattern: u32,
}

/// Working memory of [`PiiScanner`].
#[derive(Debug, Default)]
pub(super) struct PiiScratch {
    view: view::Buffers,
    context: Context,
    claims: Claims,
    person: person::Buffers,
    patterns: PatternScratch,
}

impl PiiScanner {
    /// Compiles the settings. The scanner is absent when one of the problems is an error.
    pub fn compile(settings: &PiiDetector) -> (Option<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        check(settings, &mut problems);
        let mut kinds: BTreeSet<Kind> = match &settings.entities {
            EntitySelection::All => Entity::ALL.into_iter().map(Kind::of).collect(),
            EntitySelection::Some(entities) => entities.iter().copied().map(Kind::of).collect(),
        };
        let holders_only = settings.pci_mode && !kinds.contains(&Kind::Person);
        if settings.pci_mode {
            kinds.extend([Kind::Card, Kind::Cvv, Kind::Person]);
        }
        if settings.healthcare_mode {
            kinds.extend([Kind::MedicalRecord, Kind::HealthInsurance, Kind::Npi]);
        }
        if kinds.contains(&Kind::Person) {
            person::warm();
        }
        let mut rules = Vec::new();
        let mut markers = Vec::new();
        let mut by_kind = [None; Kind::COUNT];
        let mut rule = |id: &str, entity: &str| {
            rules.push(Rule {
                id: Arc::from(id),
                entity: Some(Arc::from(entity)),
                verdict: Verdict::from(settings.action),
                mode: Mode::Enforce,
            });
            markers.push(Marker::new(entity, &settings.redaction));
            u32::try_from(rules.len() - 1).unwrap_or(u32::MAX)
        };
        for kind in kinds {
            let index = rule(kind.name(), kind.name());
            if let Some(slot) = by_kind.get_mut(kind as usize) {
                *slot = Some(index);
            }
        }
        let ids: Vec<String> =
            (0..settings.detect_patterns.len()).map(|index| format!("detect_patterns[{index}]")).collect();
        let mut first_pattern = None;
        for id in &ids {
            let index = rule(id, CUSTOM);
            first_pattern.get_or_insert(index);
        }
        let sources: Vec<PatternSource<'_>> = ids
            .iter()
            .zip(&settings.detect_patterns)
            .map(|(id, regex)| PatternSource { id, regex, case_insensitive: false })
            .collect();
        let (patterns, found) = PatternSet::compile(&sources);
        problems.extend(
            found
                .into_iter()
                .map(|(index, problem)| Problem { path: format!("detect_patterns[{index}]"), ..problem }),
        );
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a threshold needs no more digits than a score has"
        )]
        let threshold = settings.threshold as f32;
        let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
        let scanner = patterns.filter(|_| !failed).map(|patterns| Self {
            rules,
            markers,
            by_kind,
            holders_only,
            threshold,
            patterns,
            first_pattern: first_pattern.unwrap_or(0),
        });
        (scanner, problems)
    }

    fn rule_of(&self, kind: Kind) -> Option<u32> {
        self.by_kind.get(kind as usize).copied().flatten()
    }

    /// Claims whatever is in the text. Kinds that nobody asked for are claimed too: a card number is no phone number,
    /// also for those who look for phone numbers only.
    fn claim(&self, view: &View<'_>, key: Option<&str>, scratch: &mut Parts<'_>) {
        let Parts { context, claims, person } = scratch;
        let seen = Seen::of(view.bytes());
        context.read(view.text, key);
        net::find_urls(view, claims);
        email::find(view, context, claims);
        if seen.colons > 1 || (seen.hyphens > 4 || seen.dots > 1) && seen.digits > 0 {
            net::find_colons(view, claims);
        }
        if seen.digits > 0 {
            iban::find(view, claims);
            crypto::find(view, context, claims);
            number::find(view, context, claims);
            ids::find(view, context, claims);
        }
        claims.drop_below(self.threshold);
        let cards = claims.all().iter().any(|claim| matches!(claim.kind, Kind::Card | Kind::Cvv));
        if self.rule_of(Kind::Person).is_some() && (!self.holders_only || cards) {
            person::find(view, key, claims, person);
            claims.drop_below(self.threshold);
        }
    }

    /// Whether a settled claim counts: names that are only asked for as those of card holders need a card.
    fn counts(&self, claim: Found, all: &[Found]) -> bool {
        claim.kind != Kind::Person
            || !self.holders_only
            || all.iter().any(|other| {
                matches!(other.kind, Kind::Card | Kind::Cvv)
                    && other.overlaps(claim.start.saturating_sub(HOLDER_REACH), claim.end + HOLDER_REACH)
            })
    }
}

/// The working memory that a view leaves free.
struct Parts<'a> {
    context: &'a mut Context,
    claims: &'a mut Claims,
    person: &'a mut person::Buffers,
}

/// How often the text holds what matchers are anchored at.
#[derive(Default)]
struct Seen {
    digits: usize,
    colons: usize,
    hyphens: usize,
    dots: usize,
}

impl Seen {
    fn of(bytes: &[u8]) -> Self {
        let mut seen = Self::default();
        for byte in bytes {
            seen.digits += usize::from(byte.is_ascii_digit());
            seen.colons += usize::from(*byte == b':');
            seen.hyphens += usize::from(*byte == b'-');
            seen.dots += usize::from(*byte == b'.');
        }
        seen
    }
}

// === impl Detector ===

impl Detector for PiiScanner {
    fn kind(&self) -> PolicyKind {
        PolicyKind::PiiDetector
    }

    fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn scan(&self, text: Text<'_>, scratch: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32> {
        let first = hits.len();
        let PiiScratch { view, context, claims, person, patterns } = &mut scratch.pii;
        let view = View::new(text.text, view);
        claims.clear();
        self.claim(&view, text.key, &mut Parts { context, claims: &mut *claims, person });
        let settled = claims.settle(|kind| self.rule_of(kind).is_some());
        for &claim in settled {
            let Some(rule) = self.rule_of(claim.kind).filter(|_| self.counts(claim, settled)) else {
                continue;
            };
            let (start, end) = view.original(claim.start, claim.end);
            if start < end {
                hits.push(Hit { start, end, rule, score: claim.score.clamp(0.0, 1.0) });
            }
        }
        if !self.patterns.is_empty() {
            self.patterns.find_all(text.text, patterns, &mut |pattern, start, end| {
                let rule = self.first_pattern + u32::try_from(pattern).unwrap_or(0);
                hits.push(Hit { start, end, rule, score: 1.0 });
            });
        }
        if let Some(new) = hits.get_mut(first..) {
            new.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end), hit.rule));
        }
        None
    }

    fn replace(&self, rule: u32, matched: &str, out: &mut String) {
        match self.markers.get(rule as usize) {
            Some(marker) => marker.render(matched, out),
            None => out.push('*'),
        }
    }
}

/// What can be wrong in the settings although each value has the right type.
fn check(settings: &PiiDetector, problems: &mut Vec<Problem>) {
    let mut problem = |path: String, severity, kind, message: String, help: &str| {
        problems.push(Problem { path, severity, kind, message, help: Some(help.to_owned()) });
    };
    if !(0.0..=1.0).contains(&settings.threshold) {
        problem(
            "threshold".to_owned(),
            Severity::Error,
            ProblemKind::OutOfRange,
            format!("threshold `{}` is not between 0 and 1", settings.threshold),
            "leave it out for 0.5; a lower one finds more, also of what is no personal data",
        );
    }
    if let EntitySelection::Some(entities) = &settings.entities {
        let mut seen = BTreeSet::new();
        for (index, entity) in entities.iter().enumerate() {
            if !seen.insert(*entity) {
                problem(
                    format!("entities[{index}]"),
                    Severity::Warning,
                    ProblemKind::Duplicate,
                    format!("entity `{}` is listed twice", entity.as_str()),
                    "remove one of them",
                );
            }
        }
    }
    let Redaction { marker_format, custom_markers, .. } = &settings.redaction;
    if let MarkerFormat::Template(text) = marker_format
        && !text.contains("{entity}")
    {
        problem(
            "redaction.marker_format".to_owned(),
            Severity::Error,
            ProblemKind::UnknownName,
            format!("marker format `{text}` is not known"),
            "use `label`, `asterisks`, `partial`, or a text that holds `{entity}`",
        );
    }
    for (entity, marker) in custom_markers {
        let path = || format!("redaction.custom_markers.{entity}");
        if entity != CUSTOM && !Kind::NAMED.iter().any(|kind| kind.name() == entity) {
            problem(
                path(),
                Severity::Error,
                ProblemKind::UnknownName,
                format!("custom marker is for an unknown entity type `{entity}`"),
                "use one of the types of `entities`, `CVV`, `MEDICAL_RECORD_NUMBER`, `HEALTH_INSURANCE_ID`, `US_NPI` or `CUSTOM`",
            );
        }
        if marker.is_empty() {
            problem(
                path(),
                Severity::Error,
                ProblemKind::OutOfRange,
                format!("custom marker of `{entity}` is empty"),
                "a redacted field is never empty: give a text, or leave it out for the default",
            );
        }
    }
}
