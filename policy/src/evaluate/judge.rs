//! The judgement of one request.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    BypassReason, Candidate, Effect, Env, Exclusion, FailMode, Judgement, Outcome, Phase, PolicyOutcome,
    Refusal, RefusalKind, Workspace, attachments, candidates,
    content::{self, Found, Weighing},
    exceptions::Waivers,
    merge,
    prepared::Prepared,
    rbac::{self, Denial, Subject},
    report::{self, Places},
    routing,
    texts::{Source, Texts},
};
use crate::{
    caller::Caller,
    compiled::{ChainEntry, CompiledPack, CompiledPolicy},
    detect::Detector,
    edit::EditNote,
    pack::{DataRoutingPolicy, Rbac, kinds::EndpointAction, kinds::OnNoCompliantProvider},
    request::Request,
    verdict::{Mode, PolicyKind, Verdict},
};

impl CompiledPack {
    /// Judges a request of a caller. `work` is memory that is used again.
    pub fn judge(
        &self,
        request: &Request<'_>,
        caller: &Caller,
        env: &Env<'_>,
        work: &mut Workspace,
    ) -> Judgement {
        let resolved = candidates::resolve(self, request.model());
        let waivers =
            Waivers::new(&self.exceptions, env.now, caller, request.endpoint(), &[request.model(), resolved]);
        let prepared = Prepared::new(request, Subject::new(caller), &waivers);
        let mut judge = Judge {
            pack: self,
            request,
            env,
            waivers,
            prepared,
            texts_filled: false,
            model: None,
            candidates: Vec::new(),
            refusal: None,
            outcomes: Vec::with_capacity(self.chain.len()),
            routing: BTreeMap::new(),
        };
        work.found.clear();
        judge.before_the_chain();
        for (index, entry) in self.chain.iter().enumerate() {
            let (mut outcome, took) = env.timer.time(|| judge.entry(index, entry, work));
            let did_run = !matches!(outcome.outcome, Outcome::Skipped | Outcome::NotApplicable);
            // `data-routing-policy` has done its work before the chain.
            outcome.took = outcome.took.or(took).filter(|_| did_run);
            if outcome.outcome == Outcome::Waived {
                outcome.ticket =
                    outcome.rule.as_deref().and_then(|rule| judge.waivers.ticket(entry.kind, rule));
            }
            judge.outcomes.push(outcome);
        }
        let judgement = judge.finish(work);
        work.clear();
        judgement
    }
}

struct Judge<'a> {
    pack: &'a CompiledPack,
    request: &'a Request<'a>,
    env: &'a Env<'a>,
    waivers: Waivers<'a>,
    prepared: Prepared,
    texts_filled: bool,
    model: Option<Arc<str>>,
    candidates: Vec<Candidate>,
    refusal: Option<Refusal>,
    outcomes: Vec<PolicyOutcome>,
    /// What `data-routing-policy` said while candidates were resolved, by place in the chain.
    routing: BTreeMap<usize, Routed>,
}

/// What `data-routing-policy` said, by which rule, and how long it took.
struct Routed {
    outcome: Outcome,
    rule: Option<Arc<str>>,
    took: Option<Duration>,
}

impl Judge<'_> {
    /// What is decided before any policy has its turn. `data-routing-policy` is part of resolving candidates, wherever
    /// it stands in the chain.
    fn before_the_chain(&mut self) {
        let prepared = self
            .token_ids()
            .and_then(|()| attachments::check(&self.pack.attachments, self.request))
            .and_then(|()| candidates::candidates(self.pack, self.request));
        match prepared {
            Ok((model, candidates)) => {
                self.model = Some(model);
                self.candidates = candidates;
            }
            Err(refusal) => {
                self.refusal = Some(refusal);
                return;
            }
        }
        for (index, entry) in self.pack.chain.iter().enumerate() {
            if let CompiledPolicy::DataRouting(policy) = &entry.policy
                && self.refusal.is_none()
            {
                let timer = self.env.timer;
                let ((outcome, rule), took) = timer.time(|| self.route(entry, policy));
                self.routing.insert(index, Routed { outcome, rule, took });
            }
        }
    }

    fn token_ids(&self) -> Result<(), Refusal> {
        let Some(node) = self.request.token_ids() else { return Ok(()) };
        let endpoint = self.request.endpoint();
        let reads = |entry: &ChainEntry| {
            entry.kind.reads_content()
                && entry.phases.contains(&Phase::Input)
                && entry.endpoints.get(&endpoint) != Some(&EndpointAction::Off)
        };
        let Some(reader) = self.pack.chain.iter().find(|entry| reads(entry)) else { return Ok(()) };
        let message = format!("token ids can't be inspected by `{}`; send text instead", reader.kind);
        let param = self.request.place(node, |_| false).param.to_string();
        Err(Refusal::new(RefusalKind::InvalidRequest, "token_ids_not_inspectable", message)
            .by(reader.kind, "token_ids_not_inspectable")
            .at(param))
    }

    /// Excludes the candidates that do not comply.
    fn route(&mut self, entry: &ChainEntry, policy: &DataRoutingPolicy) -> (Outcome, Option<Arc<str>>) {
        const RULE: &str = "no_compliant_target";
        let allow = Outcome::Evaluated { verdict: Verdict::Allow };
        let mut waived = false;
        let mut excluded = Vec::new();
        for (at, candidate) in self.candidates.iter().enumerate() {
            let Some(target) = self.pack.targets.get(candidate.target) else { continue };
            if let Err(what) = routing::comply(policy, target) {
                if self.waivers.covers(PolicyKind::DataRoutingPolicy, what.as_str()) {
                    waived = true;
                } else {
                    excluded.push((at, Exclusion::NotCompliant(what)));
                }
            }
        }
        let none_left = excluded.len() == self.candidates.len();
        let would_block = (Outcome::Observed { would: Verdict::Block }, Some(Arc::from(RULE)));
        if entry.mode == Mode::Observe {
            return if none_left { would_block } else { (allow, None) };
        }
        if none_left && self.waivers.covers(PolicyKind::DataRoutingPolicy, RULE) {
            self.prepared.all_comply = true;
            return (Outcome::Waived, Some(Arc::from(RULE)));
        }
        if none_left && policy.on_no_compliant_provider == OnNoCompliantProvider::Warn {
            self.prepared.all_comply = true;
            return would_block;
        }
        for (at, why) in excluded {
            if let Some(candidate) = self.candidates.get_mut(at) {
                candidate.excluded.get_or_insert(why);
            }
        }
        if none_left {
            self.refusal = Some(
                Refusal::new(
                    RefusalKind::PermissionDenied,
                    RULE,
                    "no target for this model declares what `data-routing-policy` asks for",
                )
                .by(entry.kind, RULE)
                .at("model"),
            );
            return (Outcome::Evaluated { verdict: Verdict::Block }, Some(Arc::from(RULE)));
        }
        (if waived { Outcome::Waived } else { allow }, None)
    }

    fn entry(&mut self, index: usize, entry: &ChainEntry, work: &mut Workspace) -> PolicyOutcome {
        let said = |outcome, rule| PolicyOutcome {
            policy: entry.kind,
            mode: entry.mode,
            phase: Phase::Input,
            outcome,
            rule,
            ticket: None,
            score: None,
            findings: 0,
            took: None,
        };
        match &entry.policy {
            // Sees the whole request, wherever it stands.
            CompiledPolicy::Audit => said(Outcome::Evaluated { verdict: Verdict::Allow }, None),
            CompiledPolicy::DataRouting(_) => match self.routing.remove(&index) {
                Some(Routed { outcome, rule, took }) => PolicyOutcome { took, ..said(outcome, rule) },
                None => said(Outcome::Skipped, None),
            },
            _ if self.refusal.is_some() => said(Outcome::Skipped, None),
            CompiledPolicy::Rbac(policy) => {
                let (outcome, rule) = self.rbac(entry, policy);
                said(outcome, rule)
            }
            CompiledPolicy::Content(detector) => {
                let waivers = std::mem::take(&mut self.waivers);
                let outcome =
                    match Weighing::new(entry, Phase::Input, Some(self.request.endpoint()), &waivers) {
                        None => said(Outcome::NotApplicable, None),
                        Some(weighing) => self.content(index, entry, detector.as_ref(), weighing, work),
                    };
                self.waivers = waivers;
                outcome
            }
        }
    }

    fn rbac(&mut self, entry: &ChainEntry, policy: &Rbac) -> (Outcome, Option<Arc<str>>) {
        let observe = entry.mode == Mode::Observe;
        let Some(model) = self.model.clone() else { return (Outcome::Skipped, None) };
        let check = |model: &str| {
            rbac::check(policy, &self.prepared.subject, &self.prepared.demand, model, |denial| {
                observe || self.waivers.covers(PolicyKind::Rbac, denial.code())
            })
        };
        let passed = match check(&model) {
            Ok(passed) => passed,
            Err(denial) => {
                let code = denial.code();
                self.refusal = Some(self.denied(&denial, &model));
                return (Outcome::Evaluated { verdict: Verdict::Block }, Some(Arc::from(code)));
            }
        };
        let mut excluded = Vec::new();
        for (at, candidate) in self.candidates.iter().enumerate().filter(|(_, at)| at.excluded.is_none()) {
            let Some(target) = self.pack.targets.get(candidate.target) else { continue };
            if let Err(denial) = check(&target.model) {
                excluded.push((at, Exclusion::Rbac(denial.code())));
            }
        }
        for (at, why) in excluded {
            if let Some(candidate) = self.candidates.get_mut(at) {
                candidate.excluded = Some(why);
            }
        }
        if self.candidates.iter().all(|candidate| candidate.excluded.is_some()) {
            let denial = Denial::ModelNotAllowed;
            self.refusal = Some(self.denied(&denial, &model));
            return (Outcome::Evaluated { verdict: Verdict::Block }, Some(Arc::from(denial.code())));
        }
        match passed.let_pass.first() {
            None => (Outcome::Evaluated { verdict: Verdict::Allow }, None),
            Some(denial) if observe => {
                (Outcome::Observed { would: Verdict::Block }, Some(Arc::from(denial.code())))
            }
            Some(denial) => (Outcome::Waived, Some(Arc::from(denial.code()))),
        }
    }

    fn denied(&self, denial: &Denial, model: &str) -> Refusal {
        let code = denial.code();
        let forbidden = |message: String| {
            Refusal::new(RefusalKind::PermissionDenied, code, message).by(PolicyKind::Rbac, code)
        };
        match denial {
            Denial::IdentityRequired => Refusal::new(
                RefusalKind::Authentication,
                code,
                "this gateway asks for a proven identity; send a gateway key",
            )
            .by(PolicyKind::Rbac, code),
            Denial::RoleRequired => {
                forbidden("the caller has no role, and the pack has no default role".to_owned())
            }
            Denial::RoleBlocked { role } => forbidden(format!("role `{role}` is blocked")),
            Denial::RoleUnlisted => forbidden("none of the caller's roles is known to the pack".to_owned()),
            Denial::ModelNotAllowed => {
                forbidden(format!("model `{model}` is not allowed for the caller's roles")).at("model")
            }
            Denial::ToolNotAllowed { tool } => {
                let tool = self.request.tools().get(*tool);
                let name = tool.map(|tool| candidates::name(&tool.name)).unwrap_or_default();
                let param = tool.map(|tool| self.request.place(tool.node, |_| false).param.to_string());
                let refusal = forbidden(format!("tool {name} is not allowed for the caller's roles"));
                match param {
                    Some(param) => refusal.at(param),
                    None => refusal,
                }
            }
            Denial::MaxTokensExceeded { limit, answers } => {
                let named = self.request.token_limits().iter().max_by_key(|limit| limit.value);
                let name = named.map_or("n", |limit| limit.name);
                let place = named.filter(|limit| !limit.top_level).map(|limit| limit.node);
                let param = match place {
                    Some(node) => Cow::Owned(self.request.place(node, |_| false).param.to_string()),
                    None => Cow::Borrowed(name),
                };
                let times = if *answers > 1 { format!(" times {answers} answers") } else { String::new() };
                let mut refusal = forbidden(format!(
                    "`{param}`{times} is above {limit}, the bound of the caller's roles for model `{model}`"
                ))
                .at(param);
                refusal.limit = Some(*limit);
                refusal
            }
        }
    }

    fn content(
        &mut self,
        index: usize,
        entry: &ChainEntry,
        detector: &dyn Detector,
        weighing: Weighing<'_>,
        work: &mut Workspace,
    ) -> PolicyOutcome {
        let source = Source::Body(self.request.inspected());
        if !self.texts_filled {
            work.texts.fill(source);
            self.texts_filled = true;
        }
        let before = work.found.len();
        let run = content::run(
            content::Task {
                index,
                detector,
                weighing,
                source,
                texts: &work.texts,
                deadline: self.env.deadline,
            },
            &mut work.detect,
            &mut work.hits,
            &mut work.found,
        );
        let found = work.found.get(before..).unwrap_or_default();
        let strongest = |effect| found.iter().filter(|hit| hit.effect == effect).map(|hit| hit.verdict).max();
        let first = |effect, verdict| {
            found.iter().filter(|hit| hit.effect == effect && hit.verdict == verdict).min_by_key(|hit| {
                (work.texts.entry(hit.entry).map(|entry| entry.field), hit.entry, hit.start)
            })
        };
        let rule = |effect, verdict| {
            let hit = first(effect, verdict)?;
            detector.rules().get(hit.rule as usize).map(|rule| Arc::clone(&rule.id))
        };
        let enforced = strongest(Effect::Enforced);
        let (outcome, rule) = match (enforced, run.failed) {
            (Some(Verdict::Block), _) => {
                if let Some(hit) = first(Effect::Enforced, Verdict::Block) {
                    self.refusal = Some(self.blocked(entry, detector, &work.texts, found, *hit));
                }
                (Outcome::Evaluated { verdict: Verdict::Block }, rule(Effect::Enforced, Verdict::Block))
            }
            (_, Some(why)) if self.env.fail_mode == FailMode::Allow || weighing.observes() => {
                (Outcome::Bypassed { why }, None)
            }
            (_, Some(why)) => {
                self.refusal = Some(failed(entry.kind, why));
                (Outcome::Evaluated { verdict: Verdict::Block }, Some(Arc::from(why.as_str())))
            }
            (Some(verdict), None) => (Outcome::Evaluated { verdict }, rule(Effect::Enforced, verdict)),
            (None, None) => match (strongest(Effect::Observed), strongest(Effect::Waived)) {
                (Some(would), _) => (Outcome::Observed { would }, rule(Effect::Observed, would)),
                (None, Some(verdict)) => (Outcome::Waived, rule(Effect::Waived, verdict)),
                (None, None) => (Outcome::Evaluated { verdict: Verdict::Allow }, None),
            },
        };
        PolicyOutcome {
            policy: entry.kind,
            mode: entry.mode,
            phase: Phase::Input,
            outcome,
            rule,
            ticket: None,
            score: run.score,
            findings: found.len(),
            took: None,
        }
    }

    fn blocked(
        &self,
        entry: &ChainEntry,
        detector: &dyn Detector,
        texts: &Texts,
        found: &[Found],
        hit: Found,
    ) -> Refusal {
        let fields = found.iter().filter_map(|hit| texts.entry(hit.entry)).map(|entry| entry.field);
        let mut places = Places::new(self.request.inspected(), fields);
        let place = texts.entry(hit.entry).and_then(|entry| places.of(entry.field));
        let rule = detector
            .rules()
            .get(hit.rule as usize)
            .map_or_else(|| Arc::from(""), |rule| Arc::clone(&rule.id));
        let param = place.map(|place| place.param.to_string()).unwrap_or_default();
        let message = match &entry.message {
            Some(message) => message.to_string(),
            None => format!("request blocked by `{}`: rule `{rule}` at `{param}`", entry.kind),
        };
        violation("input_blocked", message).by(entry.kind, rule).at(param)
    }

    fn finish(mut self, work: &mut Workspace) -> Judgement {
        let chain = &self.pack.chain;
        let (findings, findings_omitted) =
            report::findings(chain, self.request.inspected(), Phase::Input, &work.texts, &work.found);
        let mut counts = BTreeMap::new();
        if self.refusal.is_none() {
            let redactions =
                merge::redactions(chain, Source::Body(self.request.inspected()), &work.texts, &work.found);
            let fields =
                work.found.iter().filter_map(|hit| work.texts.entry(hit.entry)).map(|entry| entry.field);
            let places = Places::new(self.request.inspected(), fields);
            for redaction in redactions {
                let (Some(entry), Some(rule), Some(node)) = (
                    chain.get(redaction.policy),
                    report::rule(chain, redaction.policy, redaction.rule),
                    redaction.node,
                ) else {
                    continue;
                };
                if !redaction.goes_on {
                    *counts.entry(Arc::clone(rule.entity.as_ref().unwrap_or(&rule.id))).or_insert(0) += 1;
                }
                let note = EditNote::Redaction {
                    policy: entry.kind,
                    rule: Arc::clone(&rule.id),
                    place: places.of_node(node),
                };
                self.prepared.redactions.push((redaction.splice, note));
            }
            self.prepared.estimated_input = self.request.estimated_input_tokens();
        }
        let verdict = match (&self.refusal, self.prepared.redactions.is_empty()) {
            (Some(_), _) => Verdict::Block,
            (None, false) => Verdict::Redact,
            (None, true) => Verdict::Allow,
        };
        Judgement {
            verdict,
            refusal: self.refusal,
            outcomes: self.outcomes,
            findings,
            findings_omitted,
            candidates: self.candidates,
            model: self.model,
            not_inspected: attachments::counts(self.request),
            redactions: counts,
            prepared: Arc::new(self.prepared),
        }
    }
}

/// A content policy objects.
pub(super) fn violation(code: &'static str, message: String) -> Refusal {
    Refusal::new(RefusalKind::PolicyViolation, code, message)
}

/// A content policy could not do its work, and the fail mode is `block`.
pub(super) fn failed(policy: PolicyKind, why: BypassReason) -> Refusal {
    let (kind, code, message) = match why {
        BypassReason::Deadline => (
            RefusalKind::Unavailable,
            "policy_deadline_exceeded",
            format!("`{policy}` did not finish in time"),
        ),
        BypassReason::Error => (RefusalKind::Unavailable, "policy_failed", format!("`{policy}` failed")),
        BypassReason::TooNested => (
            RefusalKind::InvalidRequest,
            "json_nested_too_deep",
            format!("a text holds JSON inside JSON deeper or larger than `{policy}` takes apart"),
        ),
    };
    Refusal::new(kind, code, message).by(policy, why.as_str())
}
