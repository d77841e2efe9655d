//! `dlp-filter`: patterns and terms of the pack, and built-in detectors for 52 kinds of secrets.
//!
//! Everything that the pack brings is found in the text as it stands. Built-in secrets are also found where invisible
//! characters, escapes, line breaks or an encoding hide them; such a finding covers the whole encoded run.

mod builtin;
mod chars;
mod scan;
mod shapes;
mod special;
mod terms;
#[cfg(test)]
mod tests;
mod views;

use std::{collections::BTreeSet, sync::Arc};

pub use self::builtin::Builtin;
use self::{
    scan::{Found, SecretScanner},
    terms::{TermScratch, Terms},
};
use super::{
    Detector, Hit, Problem, ProblemKind, Rule, Scratch, Text,
    patterns::{PatternScratch, PatternSet, PatternSource},
};
use crate::{
    diag::Severity,
    pack::kinds::{BuiltinSelection, DlpFilter},
    verdict::{Mode, PolicyKind, Verdict},
};

/// Most blocked terms.
pub const MAX_TERMS: usize = 10_000;
/// Longest blocked term, in characters.
pub const MAX_TERM_LEN: usize = 256;
/// Largest `max_distance`.
pub const MAX_DISTANCE: u8 = 8;

/// A compiled `dlp-filter`.
#[derive(Debug)]
pub struct DlpScanner {
    rules: Vec<Rule>,
    /// By rule: what stands in the place of a hit.
    markers: Vec<Box<str>>,
    patterns: PatternSet,
    terms: Option<Terms>,
    /// Index of the rule of the first term.
    first_term: u32,
    secrets: Option<SecretScanner>,
    /// By [`Builtin`]: its rule.
    builtin_rules: Vec<(Builtin, u32)>,
}

/// Working memory of [`DlpScanner`].
#[derive(Debug, Default)]
pub(super) struct DlpScratch {
    patterns: PatternScratch,
    terms: TermScratch,
    found: Vec<Found>,
}

impl DlpScanner {
    /// Compiles the settings. The scanner is absent when one of the problems is an error.
    pub fn compile(settings: &DlpFilter) -> (Option<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        let mut markers: Vec<Box<str>> = Vec::new();
        let action = Verdict::from(settings.action);

        let mut names = BTreeSet::new();
        for (index, pattern) in settings.patterns.iter().enumerate() {
            let path = || format!("patterns[{index}].name");
            let name = pattern.name.as_str();
            if name.trim().is_empty() || name.chars().any(char::is_control) {
                problems.push(problem(
                    path(),
                    ProblemKind::OutOfRange,
                    format!("pattern {index} has no usable name"),
                    Some("name what it finds; the name stands in records, block answers and markers"),
                ));
            } else if !names.insert(name) {
                problems.push(problem(
                    path(),
                    ProblemKind::Duplicate,
                    format!("two patterns are named `{name}`"),
                    Some("give each its own name, so that a record tells which one it was"),
                ));
            }
            rules.push(Rule {
                id: Arc::from(name),
                entity: None,
                verdict: pattern.action.map_or(action, Verdict::from),
                mode: pattern.mode,
            });
            markers.push(format!("<{name}>").into());
        }
        let detect_ids: Vec<String> =
            (0..settings.detect_patterns.len()).map(|index| format!("detect_patterns[{index}]")).collect();
        let rule = |id: &str, entity: &str| Rule {
            id: Arc::from(id),
            entity: Some(Arc::from(entity)),
            verdict: action,
            mode: Mode::Enforce,
        };
        for id in &detect_ids {
            rules.push(rule(id, "DETECT_PATTERN"));
            markers.push("<DETECT_PATTERN>".into());
        }
        let patterns = compile_patterns(settings, &detect_ids, &mut problems);

        let first_term = u32::try_from(rules.len()).unwrap_or(u32::MAX);
        for index in 0..settings.blocked_terms.len() {
            rules.push(rule(&format!("blocked_terms[{index}]"), "BLOCKED_TERM"));
            markers.push("<BLOCKED_TERM>".into());
        }
        let terms = compile_terms(settings, &mut problems);

        let wanted = select(&settings.builtin, &mut problems);
        let mut builtin_rules = Vec::new();
        for builtin in &wanted {
            builtin_rules.push((*builtin, u32::try_from(rules.len()).unwrap_or(u32::MAX)));
            rules.push(rule(builtin.as_str(), builtin.as_str()));
            markers.push(format!("<{}>", builtin.as_str()).into());
        }
        let secrets = SecretScanner::new(wanted);

        let broken = problems.iter().any(|problem| problem.severity == Severity::Error);
        let scanner = patterns.filter(|_| !broken).map(|patterns| Self {
            rules,
            markers,
            patterns,
            terms,
            first_term,
            secrets,
            builtin_rules,
        });
        (scanner, problems)
    }
}

impl Detector for DlpScanner {
    fn kind(&self) -> PolicyKind {
        PolicyKind::DlpFilter
    }

    fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn scan(&self, text: Text<'_>, scratch: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32> {
        let DlpScratch { patterns, terms, found } = &mut scratch.dlp;
        let first = hits.len();
        if !self.patterns.is_empty() {
            self.patterns.find_all(text.text, patterns, &mut |index, start, end| {
                hits.push(Hit { start, end, rule: u32::try_from(index).unwrap_or(u32::MAX), score: 1.0 });
            });
        }
        if let Some(blocked) = &self.terms {
            blocked.find(text.text, terms, &mut |term, start, end, score| {
                let rule = u32::try_from(term).unwrap_or(u32::MAX).saturating_add(self.first_term);
                hits.push(Hit { start, end, rule, score });
            });
        }
        if let Some(secrets) = &self.secrets {
            secrets.scan(text.text, text.key, found);
            for secret in found.iter() {
                if let Some((_, rule)) = self.builtin_rules.iter().find(|(kind, _)| *kind == secret.kind) {
                    hits.push(Hit { start: secret.start, end: secret.end, rule: *rule, score: 1.0 });
                }
            }
        }
        if let Some(new) = hits.get_mut(first..) {
            new.sort_unstable_by_key(|hit| (hit.start, hit.rule, hit.end));
        }
        None
    }

    fn replace(&self, rule: u32, _matched: &str, out: &mut String) {
        out.push_str(self.markers.get(rule as usize).map_or("<REDACTED>", |marker| marker));
    }
}

fn compile_patterns(
    settings: &DlpFilter,
    detect_ids: &[String],
    problems: &mut Vec<Problem>,
) -> Option<PatternSet> {
    let named = settings.patterns.iter().map(|pattern| (pattern.name.as_str(), pattern.regex.as_str()));
    let unnamed =
        detect_ids.iter().map(String::as_str).zip(settings.detect_patterns.iter().map(String::as_str));
    let sources: Vec<PatternSource<'_>> = named
        .chain(unnamed)
        .map(|(id, regex)| PatternSource { id, regex, case_insensitive: false })
        .collect();
    let (set, found) = PatternSet::compile(&sources);
    let named = settings.patterns.len();
    problems.extend(found.into_iter().map(|(index, problem)| {
        let path = match index.checked_sub(named) {
            None => format!("patterns[{index}].regex"),
            Some(index) => format!("detect_patterns[{index}]"),
        };
        Problem { path, ..problem }
    }));
    set
}

fn compile_terms(settings: &DlpFilter, problems: &mut Vec<Problem>) -> Option<Terms> {
    let distance = if settings.fuzzy_matching { settings.max_distance } else { 0 };
    if settings.max_distance > MAX_DISTANCE {
        problems.push(problem(
            "max_distance".to_owned(),
            ProblemKind::OutOfRange,
            format!("`max_distance` is {}, the limit is {MAX_DISTANCE}", settings.max_distance),
            None,
        ));
        return None;
    }
    if settings.blocked_terms.len() > MAX_TERMS {
        problems.push(problem(
            "blocked_terms".to_owned(),
            ProblemKind::OutOfRange,
            format!("there are {} blocked terms, the limit is {MAX_TERMS}", settings.blocked_terms.len()),
            None,
        ));
        return None;
    }
    let mut seen = BTreeSet::new();
    let mut usable = true;
    for (index, term) in settings.blocked_terms.iter().enumerate() {
        let path = format!("blocked_terms[{index}]");
        let folded = terms::fold_term(term);
        let len = terms::folded_len(term);
        let least = 2 * usize::from(distance);
        let wrong = if len == 0 {
            Some(("a blocked term is empty".to_owned(), "remove it, it would block everything"))
        } else if len > MAX_TERM_LEN {
            Some((
                format!("blocked term {index} has {len} characters, the limit is {MAX_TERM_LEN}"),
                "block a shorter part of it",
            ))
        } else if len <= least {
            Some((
                format!("`{}` is too short to be found with {distance} mistakes", term.trim()),
                "a term must have more than twice as many characters as `max_distance`",
            ))
        } else {
            None
        };
        if let Some((message, help)) = wrong {
            usable = false;
            problems.push(problem(path, ProblemKind::OutOfRange, message, Some(help)));
        } else if !seen.insert(folded) {
            problems.push(Problem {
                severity: Severity::Warning,
                ..problem(
                    path,
                    ProblemKind::Duplicate,
                    format!("`{}` is blocked twice", term.trim()),
                    Some("terms are found in any case: one of them is enough"),
                )
            });
        }
    }
    if !usable || settings.blocked_terms.is_empty() {
        return None;
    }
    let terms = Terms::new(&settings.blocked_terms, usize::from(distance));
    if terms.is_none() {
        problems.push(problem(
            "blocked_terms".to_owned(),
            ProblemKind::PatternTooLarge,
            "the blocked terms are too many for one automaton".to_owned(),
            None,
        ));
    }
    terms
}

fn select(selection: &BuiltinSelection, problems: &mut Vec<Problem>) -> Vec<Builtin> {
    let names = match selection {
        BuiltinSelection::All => return Builtin::ALL.to_vec(),
        BuiltinSelection::Some(names) => names,
    };
    let mut wanted = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let path = format!("builtin[{index}]");
        match Builtin::from_name(name) {
            Some(builtin) if wanted.contains(&builtin) => problems.push(Problem {
                severity: Severity::Warning,
                ..problem(path, ProblemKind::Duplicate, format!("`{name}` is listed twice"), None)
            }),
            Some(builtin) => wanted.push(builtin),
            None => {
                let help = Builtin::nearest(name).map_or_else(
                    || "write `all`, or names of the reference page such as `DATABRICKS_TOKEN`".to_owned(),
                    |near| format!("did you mean `{}`?", near.as_str()),
                );
                problems.push(problem(
                    path,
                    ProblemKind::UnknownName,
                    format!("there is no built-in detector `{name}`"),
                    Some(&help),
                ));
            }
        }
    }
    wanted
}

fn problem(path: String, kind: ProblemKind, message: String, help: Option<&str>) -> Problem {
    Problem { path, severity: Severity::Error, kind, message, help: help.map(str::to_owned) }
}
