//! From the model to a [`CompiledPack`]: detectors are built, targets and fallbacks resolved.
//!
//! The same pack compiles everywhere or nowhere: nothing here looks at a clock, a machine or a file.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    codes,
    compiled::{
        ChainEntry, CompiledException, CompiledFallback, CompiledPack, CompiledPolicy, CompiledTarget,
        PackId, Serves,
    },
    detect::{
        Detector, Problem, ProblemKind, dlp::DlpScanner, injection::InjectionDetector, pii::PiiScanner,
    },
    diag::{Code, Diagnostic},
    pack::{
        Exception, Pack, ParsedPack, Target,
        kinds::{InjectionResponseAction, PromptInjection},
    },
    verdict::{Mode, Phase, PolicyKind},
};

/// The most rules of all detectors of a pack together.
pub const MAX_RULES: usize = 10_000;

/// Compiles a pack. The findings may hold warnings also when there is a pack.
pub fn compile(parsed: &ParsedPack) -> (Option<CompiledPack>, Vec<Diagnostic>) {
    let pack = &parsed.pack;
    let mut found = Vec::new();
    let mut rules = 0;
    let mut chain = Vec::with_capacity(pack.policies.chain.len());
    for &kind in &pack.policies.chain {
        let (entry, problems) = chain_entry(pack, kind);
        found.extend(problems.into_iter().map(|problem| diagnostic(parsed, kind, problem)));
        if let Some(entry) = entry {
            if let CompiledPolicy::Content(detector) = &entry.policy {
                rules += detector.rules().len();
            }
            chain.push(entry);
        }
    }
    // What does not run yet is to be right all the same: who adds it to the chain changes nothing else.
    for kind in configured_outside(pack) {
        let (_, problems) = chain_entry(pack, kind);
        found.extend(problems.into_iter().map(|problem| diagnostic(parsed, kind, problem)));
    }
    if rules > MAX_RULES {
        let message = format!("the detectors have {rules} rules together, more than {MAX_RULES}");
        found.push(Diagnostic::error(
            codes::TOO_MANY_RULES,
            "policy",
            parsed.source_map.span("policy"),
            message,
        ));
    }
    let targets: Vec<CompiledTarget> = pack.providers.targets.iter().filter_map(target).collect();
    let broken = found.iter().any(Diagnostic::is_error)
        || chain.len() != pack.policies.chain.len()
        || targets.len() != pack.providers.targets.len();
    let compiled = (!broken).then(|| CompiledPack {
        id: PackId {
            name: Arc::from(pack.pack.name.as_str()),
            version: pack.pack.version.clone(),
            digest: parsed.digest,
        },
        enabled: pack.pack.enabled,
        audit: audit(pack),
        chain,
        fallback: fallback(pack, &targets),
        targets,
        aliases: pack
            .providers
            .aliases
            .iter()
            .map(|(alias, model)| (alias.clone(), Arc::from(model.as_str())))
            .collect(),
        block_response: pack.policies.block_response,
        hold_back: pack.policies.answers.hold_back,
        attachments: pack.policies.attachments.clone(),
        exceptions: pack.exceptions.iter().filter_map(exception).collect(),
        redaction_metadata: pack.policies.chain.contains(&PolicyKind::PiiDetector)
            && pack.policy.pii_detector.as_ref().is_some_and(|pii| pii.redaction.include_metadata),
    });
    (compiled, found)
}

/// The content policies that have a block and no place in the chain.
fn configured_outside(pack: &Pack) -> impl Iterator<Item = PolicyKind> + '_ {
    let blocks = &pack.policy;
    [
        (PolicyKind::PromptInjection, blocks.prompt_injection.is_some()),
        (PolicyKind::PiiDetector, blocks.pii_detector.is_some()),
        (PolicyKind::DlpFilter, blocks.dlp_filter.is_some()),
    ]
    .into_iter()
    .filter(|(kind, is_configured)| *is_configured && !pack.policies.chain.contains(kind))
    .map(|(kind, _)| kind)
}

fn audit(pack: &Pack) -> Option<crate::pack::AuditLogger> {
    let listed = pack.policies.chain.contains(&PolicyKind::AuditLogger);
    listed.then(|| pack.policy.audit_logger.clone().unwrap_or_default())
}

/// A policy of the chain, with its defaults where the pack has no block for it.
fn chain_entry(pack: &Pack, kind: PolicyKind) -> (Option<ChainEntry>, Vec<Problem>) {
    let blocks = &pack.policy;
    let plain = |mode, policy| {
        (
            Some(ChainEntry {
                kind,
                mode,
                endpoints: std::collections::BTreeMap::new(),
                phases: vec![Phase::Input],
                message: None,
                policy,
            }),
            Vec::new(),
        )
    };
    match kind {
        PolicyKind::PromptInjection => {
            let block = blocks.prompt_injection.clone().unwrap_or_default();
            let (detector, problems) = InjectionDetector::compile(&block);
            let message = Arc::from(block.response.message.as_str());
            let entry = content(kind, injection_mode(&block), block.endpoints, block.phases, detector);
            (entry.map(|entry| ChainEntry { message: Some(message), ..entry }), problems)
        }
        PolicyKind::PiiDetector => {
            let block = blocks.pii_detector.clone().unwrap_or_default();
            let (detector, problems) = PiiScanner::compile(&block);
            (content(kind, block.mode, block.endpoints, block.phases, detector), problems)
        }
        PolicyKind::DlpFilter => {
            let block = blocks.dlp_filter.clone().unwrap_or_default();
            let (detector, problems) = DlpScanner::compile(&block);
            (content(kind, block.mode, block.endpoints, block.phases, detector), problems)
        }
        PolicyKind::Rbac => {
            let block = blocks.rbac.clone().unwrap_or_default();
            plain(block.mode, CompiledPolicy::Rbac(block))
        }
        PolicyKind::DataRoutingPolicy => {
            let block = blocks.data_routing_policy.clone().unwrap_or_default();
            plain(block.mode, CompiledPolicy::DataRouting(block))
        }
        PolicyKind::AuditLogger => plain(Mode::Enforce, CompiledPolicy::Audit),
    }
}

/// `response.action: log` is the documented dialect's word for observing.
fn injection_mode(block: &PromptInjection) -> Mode {
    match block.response.action {
        InjectionResponseAction::Log => Mode::Observe,
        InjectionResponseAction::Block => block.mode,
    }
}

fn content(
    kind: PolicyKind,
    mode: Mode,
    endpoints: std::collections::BTreeMap<crate::verdict::Endpoint, crate::pack::kinds::EndpointAction>,
    phases: Vec<Phase>,
    detector: Option<impl Detector + 'static>,
) -> Option<ChainEntry> {
    let detector: Box<dyn Detector> = Box::new(detector?);
    let policy = CompiledPolicy::Content(detector);
    Some(ChainEntry { kind, mode, endpoints, phases, message: None, policy })
}

fn diagnostic(parsed: &ParsedPack, kind: PolicyKind, problem: Problem) -> Diagnostic {
    let path = match problem.path.as_str() {
        "" => format!("policy.{kind}"),
        below => format!("policy.{kind}.{below}"),
    };
    Diagnostic {
        code: problem_code(problem.kind),
        severity: problem.severity,
        message: problem.message,
        span: parsed.source_map.span(&path),
        path,
        help: problem.help,
    }
}

const fn problem_code(kind: ProblemKind) -> Code {
    match kind {
        ProblemKind::PatternSyntax => codes::PATTERN_SYNTAX,
        ProblemKind::PatternTooLarge => codes::PATTERN_TOO_LARGE,
        ProblemKind::PatternMatchesEverything => codes::PATTERN_MATCHES_EVERYTHING,
        ProblemKind::PatternWithoutLiteral => codes::PATTERN_WITHOUT_LITERAL,
        ProblemKind::UnknownName => codes::UNKNOWN_RULE_NAME,
        ProblemKind::OutOfRange => codes::OUT_OF_RANGE,
        ProblemKind::Duplicate => codes::DUPLICATE_NAME,
    }
}

/// `databricks`, or `databricks:<kind>:<endpoint name>`: what the target serves, and the name when it is in there.
pub(crate) fn provider(written: &str) -> Option<(Serves, Option<&str>)> {
    let mut parts = written.splitn(3, ':');
    if parts.next()? != "databricks" {
        return None;
    }
    let Some(kind) = parts.next() else { return Some((Serves::Any, None)) };
    let serves = match kind {
        "chat" => Serves::Chat,
        "completion" => Serves::Completion,
        "embedding" => Serves::Embedding,
        "responses" => Serves::Responses,
        _ => return None,
    };
    let model = parts.next().filter(|model| !model.is_empty())?;
    Some((serves, Some(model)))
}

fn target(target: &Target) -> Option<CompiledTarget> {
    let (serves, named) = provider(&target.provider)?;
    let model = named.or(target.model.as_deref())?;
    Some(CompiledTarget {
        id: Arc::from(target.id.as_str()),
        model: Arc::from(model),
        serves,
        base_url: target.base_url.clone(),
        secret: target.secret_key_ref.clone(),
        first_byte_timeout: Duration::from_secs(target.timeout_seconds),
        total_timeout: Duration::from_secs(target.total_timeout_seconds),
        stream_idle_timeout: Duration::from_secs(target.stream_idle_seconds),
        connect_timeout: Duration::from_secs(target.connect_timeout_seconds),
        health_probe: target.health_probe.clone(),
        region: target.region.as_deref().map(Arc::from),
        data_policy: target.data_policy.clone().unwrap_or_default(),
        client_request_id: target.client_request_id,
        include_usage: target.include_usage,
    })
}

fn fallback(pack: &Pack, targets: &[CompiledTarget]) -> Option<CompiledFallback> {
    let fallback = pack.providers.fallback.as_ref()?;
    let index = |id: &String| targets.iter().position(|target| *target.id == **id);
    Some(CompiledFallback {
        order: fallback.order.iter().filter_map(index).collect(),
        triggers: fallback.triggers.clone(),
        max_attempts: fallback.max_fallback_attempts,
    })
}

fn exception(exception: &Exception) -> Option<CompiledException> {
    let (kind, rule) = match exception.rule.split_once('/') {
        Some((kind, rule)) => (kind, Some(rule)),
        None => (exception.rule.as_str(), None),
    };
    let policy = PolicyKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    Some(CompiledException {
        policy,
        rule: rule.map(Arc::from),
        scope: exception.scope.clone(),
        ticket: exception.ticket.as_deref().map(Arc::from),
        expires: exception.expires,
    })
}
