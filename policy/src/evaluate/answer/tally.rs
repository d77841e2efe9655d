//! What the policies have said of an answer so far.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{AnswerReport, readers};
use crate::{
    compiled::{ChainEntry, CompiledPack},
    evaluate::{
        BypassReason, Effect, Finding, MAX_FINDINGS, Outcome, PolicyOutcome,
        content::{Found, Run},
        exceptions::Waivers,
        report,
    },
    verdict::{Endpoint, Phase, Verdict},
};

/// The strongest of its kind, and the rule that gave it first.
type Strongest = Option<(Verdict, Arc<str>)>;

/// One policy.
#[derive(Debug, Default)]
struct Said {
    has_run: bool,
    enforced: Strongest,
    observed: Strongest,
    waived: Strongest,
    ticket: Option<Arc<str>>,
    /// It failed, and was let pass.
    bypassed: Option<BypassReason>,
    /// It failed, and that ended the answer.
    failed: Option<BypassReason>,
    score: Option<f32>,
    findings: usize,
    took: Option<Duration>,
}

/// What the policies have said of an answer so far.
#[derive(Debug)]
pub(super) struct Tally {
    /// By place in the chain; those that read answers.
    policies: BTreeMap<usize, Said>,
    findings: Vec<Finding>,
    omitted: usize,
    redactions: BTreeMap<Arc<str>, u32>,
}

impl Tally {
    pub(super) fn new(pack: &CompiledPack, endpoint: Endpoint) -> Self {
        let waivers = Waivers::default();
        let readers = readers(pack, endpoint, &waivers);
        Self {
            policies: readers.map(|reader| (reader.index, Said::default())).collect(),
            findings: Vec::new(),
            omitted: 0,
            redactions: BTreeMap::new(),
        }
    }

    pub(super) fn ran(&mut self, policy: usize, run: Run, took: Option<Duration>) {
        let Some(said) = self.policies.get_mut(&policy) else { return };
        said.has_run = true;
        said.bypassed = said.bypassed.or(run.failed);
        said.score = match (said.score, run.score) {
            (Some(before), Some(now)) => Some(before.max(now)),
            (before, now) => before.or(now),
        };
        if let Some(took) = took {
            said.took = Some(said.took.unwrap_or_default() + took);
        }
    }

    pub(super) fn failed(&mut self, policy: usize, why: BypassReason) {
        if let Some(said) = self.policies.get_mut(&policy) {
            said.failed = Some(why);
        }
    }

    /// Counts what was found for good.
    pub(super) fn found<'f>(
        &mut self,
        chain: &[ChainEntry],
        waivers: &Waivers<'_>,
        found: impl IntoIterator<Item = &'f Found>,
    ) {
        for found in found {
            let Some(said) = self.policies.get_mut(&found.policy) else { continue };
            let Some(rule) = report::rule(chain, found.policy, found.rule) else { continue };
            said.findings += 1;
            if found.effect == Effect::Waived && said.ticket.is_none() {
                said.ticket = chain.get(found.policy).and_then(|entry| waivers.ticket(entry.kind, &rule.id));
            }
            let strongest = match found.effect {
                Effect::Enforced => &mut said.enforced,
                Effect::Observed => &mut said.observed,
                Effect::Waived => &mut said.waived,
            };
            if strongest.as_ref().is_none_or(|(verdict, _)| *verdict < found.verdict) {
                *strongest = Some((found.verdict, Arc::clone(&rule.id)));
            }
        }
    }

    pub(super) fn list(&mut self, findings: Vec<Finding>, omitted: usize) {
        self.omitted += omitted;
        for finding in findings {
            if self.findings.len() < MAX_FINDINGS {
                self.findings.push(finding);
            } else {
                self.omitted += 1;
            }
        }
    }

    pub(super) fn redacted(&mut self, chain: &[ChainEntry], policy: usize, rule: u32) {
        if let Some(rule) = report::rule(chain, policy, rule) {
            *self.redactions.entry(Arc::clone(rule.entity.as_ref().unwrap_or(&rule.id))).or_insert(0) += 1;
        }
    }

    /// The report as of now; policies that have not run yet are left out of none.
    pub(super) fn report(&self, pack: &CompiledPack, is_refused: bool) -> AnswerReport {
        let outcomes = self.policies.iter().filter_map(|(index, said)| {
            let entry = pack.chain.get(*index)?;
            let (outcome, rule) = said.outcome(is_refused);
            Some(PolicyOutcome {
                policy: entry.kind,
                mode: entry.mode,
                phase: Phase::Output,
                outcome,
                rule,
                ticket: said.ticket.clone().filter(|_| outcome == Outcome::Waived),
                score: said.score,
                findings: said.findings,
                took: said.took,
            })
        });
        AnswerReport {
            outcomes: outcomes.collect(),
            findings: self.findings.clone(),
            findings_omitted: self.omitted,
            redactions: self.redactions.clone(),
            verdict: match (is_refused, self.redactions.is_empty()) {
                (true, _) => Verdict::Block,
                (false, false) => Verdict::Redact,
                (false, true) => Verdict::Allow,
            },
        }
    }
}

impl Said {
    fn outcome(&self, is_refused: bool) -> (Outcome, Option<Arc<str>>) {
        let rule = |strongest: &Strongest| strongest.as_ref().map(|(_, rule)| Arc::clone(rule));
        match (&self.enforced, self.failed, self.bypassed) {
            (Some((Verdict::Block, _)), ..) => {
                (Outcome::Evaluated { verdict: Verdict::Block }, rule(&self.enforced))
            }
            (_, Some(why), _) => {
                (Outcome::Evaluated { verdict: Verdict::Block }, Some(Arc::from(why.as_str())))
            }
            (.., Some(why)) => (Outcome::Bypassed { why }, None),
            (Some((verdict, _)), ..) => (Outcome::Evaluated { verdict: *verdict }, rule(&self.enforced)),
            (None, ..) => match (&self.observed, &self.waived) {
                (Some((would, _)), _) => (Outcome::Observed { would: *would }, rule(&self.observed)),
                (None, Some(_)) => (Outcome::Waived, rule(&self.waived)),
                // An answer that was refused before anything of it was read.
                (None, None) if is_refused && !self.has_run => (Outcome::Skipped, None),
                (None, None) => (Outcome::Evaluated { verdict: Verdict::Allow }, None),
            },
        }
    }
}
