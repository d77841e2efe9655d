//! Tests of the evaluation, with detectors that find plain words.

mod chain;
mod coverage;
mod edits;
mod joined;
mod nested;
mod rbac;
mod routing;
mod scan;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::*;
use crate::{
    caller::{Caller, Proof},
    compiled::{ChainEntry, CompiledFallback, CompiledPack, CompiledPolicy, CompiledTarget, PackId, Serves},
    detect::{Detector, Hit, Rule, Scratch, Text},
    json::Limits,
    pack::{BlockResponse, Rbac, RbacRole, providers::DataPolicy},
    request::Request,
    verdict::{Endpoint, Mode, PolicyKind, Verdict},
};

/// Finds words, wherever they stand. A word found gives `<RULE>`; the score of a text is 1 with a hit, else 0.25.
#[derive(Debug, Clone)]
pub(super) struct Words {
    kind: PolicyKind,
    rules: Vec<Rule>,
    needles: Vec<(String, f32)>,
    scored: bool,
}

impl Words {
    pub(super) fn new(kind: PolicyKind) -> Self {
        Self { kind, rules: Vec::new(), needles: Vec::new(), scored: false }
    }

    pub(super) fn word(self, id: &str, word: &str, verdict: Verdict) -> Self {
        self.rule(id, word, verdict, Mode::Enforce, 1.0)
    }

    pub(super) fn rule(mut self, id: &str, word: &str, verdict: Verdict, mode: Mode, score: f32) -> Self {
        let entity = id.chars().next().is_some_and(char::is_uppercase).then(|| Arc::from(id));
        self.rules.push(Rule { id: Arc::from(id), entity, verdict, mode });
        self.needles.push((word.to_owned(), score));
        self
    }

    pub(super) fn scored(mut self) -> Self {
        self.scored = true;
        self
    }

    pub(super) fn entry(self) -> ChainEntry {
        ChainEntry {
            kind: self.kind,
            mode: Mode::Enforce,
            endpoints: BTreeMap::new(),
            phases: vec![Phase::Input, Phase::Output],
            message: None,
            policy: CompiledPolicy::Content(Box::new(self)),
        }
    }
}

impl Detector for Words {
    fn kind(&self) -> PolicyKind {
        self.kind
    }

    fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn scan(&self, text: Text<'_>, _scratch: &mut Scratch, hits: &mut Vec<Hit>) -> Option<f32> {
        for (rule, (word, score)) in (0..).zip(&self.needles) {
            // A word with `=` is found only under that key.
            let (key, word) =
                word.split_once('=').map_or((None, word.as_str()), |(key, word)| (Some(key), word));
            if key.is_some() && key != text.key {
                continue;
            }
            hits.extend(text.text.match_indices(word).map(|(start, word)| Hit {
                start,
                end: start + word.len(),
                rule,
                score: *score,
            }));
        }
        hits.sort_by_key(|hit| (hit.start, hit.end));
        self.scored.then_some(if hits.is_empty() { 0.25 } else { 1.0 })
    }

    fn replace(&self, rule: u32, _matched: &str, out: &mut String) {
        out.push('<');
        out.push_str(&self.rules[rule as usize].id);
        out.push('>');
    }
}

pub(super) fn target(id: &str, model: &str, serves: Serves) -> CompiledTarget {
    CompiledTarget {
        id: Arc::from(id),
        model: Arc::from(model),
        serves,
        base_url: "https://example.cloud.databricks.com/serving-endpoints".to_owned(),
        secret: None,
        first_byte_timeout: Duration::from_mins(1),
        total_timeout: Duration::from_mins(10),
        stream_idle_timeout: Duration::from_mins(2),
        connect_timeout: Duration::from_secs(5),
        health_probe: None,
        region: None,
        data_policy: DataPolicy::default(),
        client_request_id: false,
        include_usage: false,
    }
}

pub(super) fn entry(kind: PolicyKind, policy: CompiledPolicy) -> ChainEntry {
    let phases = vec![Phase::Input];
    ChainEntry { kind, mode: Mode::Enforce, endpoints: BTreeMap::new(), phases, message: None, policy }
}

pub(super) fn audit() -> ChainEntry {
    entry(PolicyKind::AuditLogger, CompiledPolicy::Audit)
}

/// Targets `70b`, `405b`, `mixtral` (chat), `complete` (completion), `embed` (any); alias `big` → `405b`.
pub(super) fn pack(chain: Vec<ChainEntry>) -> CompiledPack {
    CompiledPack {
        id: PackId { name: Arc::from("test"), version: semver::Version::new(1, 0, 0), digest: [0; 32] },
        enabled: true,
        chain,
        audit: None,
        targets: vec![
            target("t-70b", "70b", Serves::Chat),
            target("t-405b", "405b", Serves::Chat),
            target("t-mixtral", "mixtral", Serves::Chat),
            target("t-complete", "complete", Serves::Completion),
            target("t-embed", "embed", Serves::Any),
        ],
        fallback: None,
        aliases: BTreeMap::from([("big".to_owned(), Arc::from("405b"))]),
        block_response: BlockResponse::Conflict,
        hold_back: 256,
        attachments: BTreeMap::new(),
        exceptions: Vec::new(),
        redaction_metadata: false,
    }
}

pub(super) fn falls_back_to(mut pack: CompiledPack, order: &[usize]) -> CompiledPack {
    pack.fallback = Some(CompiledFallback { order: order.to_vec(), triggers: Vec::new(), max_attempts: 3 });
    pack
}

pub(super) fn caller(roles: &[&str]) -> Caller {
    Caller {
        roles: roles.iter().map(|role| Arc::from(*role)).collect(),
        proof: Proof::GatewayKey { key_id: Arc::from("k1") },
        ..Caller::anonymous()
    }
}

/// 70b: 4096 out, 8192 in all; mixtral: `max_completion_tokens`.
#[derive(Debug)]
pub(super) struct Table;

impl ModelLimits for Table {
    fn output_limit(&self, model: &str) -> Option<u64> {
        (model == "70b").then_some(4096)
    }

    fn window(&self, model: &str) -> Option<u64> {
        (model == "70b").then_some(8192)
    }

    fn token_parameter(&self, model: &str) -> Option<&str> {
        (model == "mixtral").then_some("max_completion_tokens")
    }
}

pub(super) fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a time")
}

pub(super) fn env() -> Env<'static> {
    Env { now: now(), deadline: Deadline::NEVER, fail_mode: FailMode::Block, timer: Timer::NONE }
}

pub(super) fn judge(pack: &CompiledPack, endpoint: Endpoint, body: &str, caller: &Caller) -> Judgement {
    judge_in(pack, endpoint, body, caller, &env())
}

pub(super) fn judge_in(
    pack: &CompiledPack,
    endpoint: Endpoint,
    body: &str,
    caller: &Caller,
    env: &Env<'_>,
) -> Judgement {
    let request = Request::parse(endpoint, body.as_bytes(), &Limits::default()).expect("a request");
    pack.judge(&request, caller, env, &mut Workspace::default())
}

pub(super) fn chat(pack: &CompiledPack, body: &str, caller: &Caller) -> Judgement {
    judge(pack, Endpoint::ChatCompletions, body, caller)
}

/// A chat for `model` with more members.
pub(super) fn body(model: &str, more: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]{more}}}"#)
}

/// The body as the first target would get it.
pub(super) fn sent(pack: &CompiledPack, judgement: &Judgement, body: &str) -> String {
    let target = judgement.targets().next().expect("a target");
    let authorised = pack.authorise(judgement, target, &Table).expect("authorised");
    authorised.render(body.as_bytes(), &RenderOptions::default()).expect("the judged body").body.into_owned()
}

pub(super) fn code(judgement: &Judgement) -> Option<&'static str> {
    judgement.refusal.as_ref().map(|refusal| refusal.code)
}

pub(super) fn outcomes(judgement: &Judgement) -> Vec<Outcome> {
    judgement.outcomes.iter().map(|outcome| outcome.outcome).collect()
}

pub(super) const fn said(verdict: Verdict) -> Outcome {
    Outcome::Evaluated { verdict }
}

pub(super) fn rbac(roles: &[(&str, RbacRole)]) -> Rbac {
    Rbac {
        roles: roles.iter().map(|(name, role)| ((*name).to_owned(), role.clone())).collect(),
        ..Rbac::default()
    }
}

pub(super) fn models(models: &[&str]) -> RbacRole {
    RbacRole {
        allowed_models: Some(models.iter().map(|model| (*model).to_owned()).collect()),
        ..RbacRole::default()
    }
}
