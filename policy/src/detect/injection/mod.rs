//! Attempts to override the instructions of a model.
//!
//! A text is made canonical, read as a row of words, and searched for ideas (`concept`) by the words of many
//! languages (`lexicon`). Rules (`rules`) name ideas that stand near each other; the context weakens them
//! (`engine`); what neighbouring sentences say together is the score of a window (`score`). The score of a text is
//! that of its best window. What is encoded or disguised is read a second time in a form that undoes it (`views`).
//!
//! A trained model (`model`) judges beside them: it sees the words, the ideas and what the rules found, and with it on
//! its score is the score; only what is certain counts beside it. Each can be turned off.
//!
//! Hits cover whole sentences, so that a redaction leaves no half of a command behind. A rule that is only observed
//! never makes a hit act: a window acts when it passes the threshold on the rules that act alone.

mod concept;
mod engine;
mod lexicon;
pub mod model;
mod rules;
mod score;
mod spelling;
mod tokens;
mod user;
mod views;

use std::{collections::BTreeMap, sync::Arc};

pub use self::views::Memory;
use self::{
    lexicon::LEXICON,
    model::ViewFeatures,
    rules::{HIDDEN_TEXT, MODEL, RULES},
    user::UserPatterns,
    views::Reader,
};
use super::{Detector, Hit, Origin, Problem, ProblemKind, Reason, Rule, Scratch, Text};
use crate::{
    diag::Severity,
    pack::kinds::{DetectorSwitch, PromptInjection, RuleSwitch},
    verdict::{Mode, PolicyKind},
};

/// What stands in the place of a redacted window.
const MARKER: &str = "<PROMPT_INJECTION>";

/// `prompt-injection` compiled from a pack.
#[derive(Debug)]
pub struct InjectionDetector {
    rules: Vec<Rule>,
    /// For each entry of the rule table: its place in `rules`, and what becomes of it.
    entries: Vec<Entry>,
    threshold: f32,
    reader: Reader,
    patterns: UserPatterns,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    rule: u32,
    switch: RuleSwitch,
}

impl InjectionDetector {
    /// The ids of the built-in rules, sorted.
    pub fn rule_ids() -> Vec<&'static str> {
        let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).chain([HIDDEN_TEXT, MODEL]).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Compiles the settings. All mistakes are given at once; with one that is an error there is no detector.
    pub fn compile(settings: &PromptInjection) -> (Option<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&settings.threshold) {
            problems.push(Problem {
                path: "threshold".to_owned(),
                severity: Severity::Error,
                kind: ProblemKind::OutOfRange,
                message: format!("threshold `{}` is not between 0 and 1", settings.threshold),
                help: Some("the default is a good start; a lower value finds more and errs more".to_owned()),
            });
        }
        let ids = Self::rule_ids();
        for name in settings.detection.rules.keys() {
            if !ids.contains(&name.as_str()) {
                problems.push(unknown_rule(name, &ids));
            }
        }
        if LEXICON.is_none() || model::MODEL.is_none() {
            problems.push(Problem {
                path: String::new(),
                severity: Severity::Error,
                kind: ProblemKind::PatternTooLarge,
                message: "the built-in rules or the model could not be read".to_owned(),
                help: None,
            });
        }
        let nobody = settings.detectors.rules == DetectorSwitch::Off
            && settings.detectors.model == DetectorSwitch::Off;
        if nobody && settings.detection.attack_patterns.is_empty() {
            problems.push(Problem {
                path: "detectors".to_owned(),
                severity: Severity::Error,
                kind: ProblemKind::OutOfRange,
                message: "rules and model are both off and there is no pattern: nothing would be found"
                    .to_owned(),
                help: Some("turn one of them on, or take the policy out of the chain".to_owned()),
            });
        }
        let patterns = UserPatterns::compile(&settings.detection.attack_patterns, &mut problems);
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return (None, problems);
        }
        let verdict = settings.action.into();
        let switch = |id: &str| {
            let detector = if id == MODEL { settings.detectors.model } else { settings.detectors.rules };
            let own = settings.detection.rules.get(id).copied().unwrap_or(RuleSwitch::Enforce);
            match (detector, own) {
                (DetectorSwitch::Off, _) | (_, RuleSwitch::Off) => RuleSwitch::Off,
                (DetectorSwitch::Observe, _) | (_, RuleSwitch::Observe) => RuleSwitch::Observe,
                (DetectorSwitch::On, RuleSwitch::Enforce) => RuleSwitch::Enforce,
            }
        };
        let mut rules: Vec<Rule> = ids
            .iter()
            .map(|id| Rule {
                id: Arc::from(*id),
                entity: None,
                verdict,
                mode: if switch(id) == RuleSwitch::Observe { Mode::Observe } else { Mode::Enforce },
            })
            .collect();
        let places: BTreeMap<&str, u32> = ids.iter().copied().zip(0..).collect();
        let entries = RULES
            .iter()
            .map(|rule| rule.id)
            .chain([HIDDEN_TEXT, MODEL])
            .map(|id| Entry { rule: places.get(id).copied().unwrap_or(0), switch: switch(id) })
            .collect();
        rules.extend((0..settings.detection.attack_patterns.len()).map(|at| Rule {
            id: Arc::from(format!("attack_patterns[{at}]")),
            entity: None,
            verdict,
            mode: Mode::Enforce,
        }));
        #[expect(clippy::cast_possible_truncation, reason = "a number between 0 and 1")]
        let threshold = settings.threshold as f32;
        let reader = Reader::new(&settings.encoding);
        (Some(Self { rules, entries, threshold, reader, patterns }), problems)
    }

    /// The features of each way in which `text` is read, for training.
    pub fn features(&self, text: &str, scratch: &mut Scratch) -> Vec<ViewFeatures> {
        let memory = &mut scratch.injection;
        memory.keep_features();
        let text = Text { text, origin: Origin::User, key: None };
        self.reader.read(text, self.threshold, |entry| self.switch(entry), memory);
        memory.take_features()
    }

    fn switch(&self, entry: usize) -> RuleSwitch {
        self.entries.get(entry).map_or(RuleSwitch::Off, |entry| entry.switch)
    }
}

impl Detector for InjectionDetector {
    fn kind(&self) -> PolicyKind {
        PolicyKind::PromptInjection
    }

    fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn scan(&self, text: Text<'_>, scratch: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32> {
        let memory = &mut scratch.injection;
        let from = hits.len();
        let mut score = self.reader.read(text, self.threshold, |entry| self.switch(entry), memory);
        for window in memory.windows() {
            let rule = self.entries.get(window.rule).map_or(0, |entry| entry.rule);
            hits.push(Hit { start: window.span.start, end: window.span.end, rule, score: window.score });
        }
        let built_in = self.rules.len() - self.patterns.len();
        let (canonical, patterns) = memory.for_patterns();
        self.patterns.find(text.text, canonical, patterns, |pattern, span| {
            let rule = u32::try_from(built_in + pattern).unwrap_or(0);
            hits.push(Hit { start: span.start, end: span.end, rule, score: 1.0 });
            score = 1.0;
        });
        let mut new = hits.split_off(from);
        new.sort_by_key(|hit| (hit.start, hit.end, hit.rule));
        new.dedup_by_key(|hit| (hit.start, hit.end, hit.rule));
        hits.append(&mut new);
        Some(score)
    }

    fn explain(&self, text: Text<'_>, scratch: &mut Scratch) -> Vec<Reason> {
        let mut hits = Vec::new();
        scratch.injection.keep_grounds();
        self.scan(text, scratch, &mut hits);
        let built_in = self.rules.len() - self.patterns.len();
        hits.retain(|hit| hit.rule as usize >= built_in);
        let mut reasons: Vec<Reason> = hits.into_iter().map(Reason::from).collect();
        for ground in scratch.injection.take_grounds() {
            let rule = self.entries.get(ground.rule).map_or(0, |entry| entry.rule);
            reasons.push(Reason { rule, span: ground.span, weight: ground.weight, words: ground.words });
        }
        reasons.sort_by(|one, other| {
            (one.span.start, one.span.end, one.rule)
                .cmp(&(other.span.start, other.span.end, other.rule))
                .then(other.weight.total_cmp(&one.weight))
        });
        reasons.dedup_by_key(|reason| (reason.span.clone(), reason.rule));
        reasons
    }

    fn replace(&self, _rule: u32, _matched: &str, out: &mut String) {
        out.push_str(MARKER);
    }
}

fn unknown_rule(name: &str, ids: &[&str]) -> Problem {
    let nearest =
        ids.iter().map(|id| (strsim::jaro_winkler(name, id), *id)).max_by(|a, b| a.0.total_cmp(&b.0));
    Problem {
        path: format!("detection.rules.{name}"),
        severity: Severity::Error,
        kind: ProblemKind::UnknownName,
        message: format!("there is no rule `{name}`"),
        help: Some(match nearest {
            Some((likeness, id)) if likeness > 0.85 => format!("did you mean `{id}`?"),
            _ => format!("the rules are {}", ids.join(", ")),
        }),
    }
}

#[cfg(test)]
mod tests;
