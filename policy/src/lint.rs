//! What a person should know of a pack that reads well: mistakes in how its parts fit together, and things that are
//! allowed and rarely meant.
//!
//! Errors here are as deterministic as those of reading. What depends on the day (an expired exception) or on data
//! that can be replaced (the model table) is a warning, so that a pack is valid everywhere or nowhere.

mod base_url;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    codes, compile,
    compiled::{CompiledPack, CompiledPolicy, Serves},
    diag::{Code, Diagnostic},
    models::ModelTable,
    pack::{
        AuditLogger, Durability, Pack, ParsedPack, Target,
        kinds::{BuiltinSelection, Entity},
        providers::SecretKeyRef,
    },
    verdict::PolicyKind,
};

/// What lint is given besides the pack.
#[derive(Debug, Clone, Copy)]
pub struct LintOptions<'a> {
    /// The day by which exceptions are expired.
    pub now: Timestamp,
    /// What is known of models.
    pub models: &'a ModelTable,
}

/// Everything about a pack that reads well. `compiled` is absent when its detectors do not compile.
pub(crate) fn lint(
    parsed: &ParsedPack,
    compiled: Option<&CompiledPack>,
    options: &LintOptions<'_>,
) -> Vec<Diagnostic> {
    let mut lint = Lint { parsed, pack: &parsed.pack, options, found: Vec::new() };
    lint.chain();
    lint.audit();
    lint.rbac();
    lint.no_effect();
    lint.targets();
    lint.aliases();
    lint.fallback();
    lint.exceptions(compiled);
    lint.found
}

struct Lint<'a> {
    parsed: &'a ParsedPack,
    pack: &'a Pack,
    options: &'a LintOptions<'a>,
    found: Vec<Diagnostic>,
}

impl Lint<'_> {
    fn error(&mut self, code: Code, path: &str, message: impl Into<String>, help: &str) {
        let span = self.parsed.source_map.span(path);
        self.found.push(Diagnostic::error(code, path, span, message).help(help));
    }

    fn warning(&mut self, code: Code, path: &str, message: impl Into<String>, help: &str) {
        let span = self.parsed.source_map.span(path);
        self.found.push(Diagnostic::warning(code, path, span, message).help(help));
    }

    fn in_chain(&self, kind: PolicyKind) -> bool {
        self.pack.policies.chain.contains(&kind)
    }

    fn chain(&mut self) {
        let chain = &self.pack.policies.chain;
        if !self.pack.pack.enabled {
            let help = "gateways refuse to serve it; write `enabled: true` to publish it";
            self.warning(codes::DISABLED, "pack.enabled", "the pack is disabled", help);
        }
        if chain.is_empty() {
            let help = "name at least one policy kind under `policies.chain`";
            self.warning(
                codes::EMPTY_CHAIN,
                "policies.chain",
                "the chain is empty: nothing is enforced",
                help,
            );
        }
        let mut seen = BTreeSet::new();
        for (at, kind) in chain.iter().enumerate() {
            if !seen.insert(*kind) {
                let path = format!("policies.chain[{at}]");
                let message = format!("`{kind}` stands in the chain twice");
                self.error(
                    codes::KIND_TWICE,
                    &path,
                    message,
                    "a kind has one place in the chain; remove one",
                );
            }
        }
        let blocks = &self.pack.policy;
        let configured = [
            (PolicyKind::PromptInjection, blocks.prompt_injection.is_some()),
            (PolicyKind::PiiDetector, blocks.pii_detector.is_some()),
            (PolicyKind::DlpFilter, blocks.dlp_filter.is_some()),
            (PolicyKind::Rbac, blocks.rbac.is_some()),
            (PolicyKind::AuditLogger, blocks.audit_logger.is_some()),
            (PolicyKind::DataRoutingPolicy, blocks.data_routing_policy.is_some()),
        ];
        for (kind, is_configured) in configured {
            if is_configured && !self.in_chain(kind) {
                let path = format!("policy.{kind}");
                let message = format!("`{kind}` has settings but no place in the chain: it does not run");
                self.warning(
                    codes::BLOCK_OUTSIDE_CHAIN,
                    &path,
                    message,
                    "add it to `policies.chain`, or remove it",
                );
            }
        }
    }

    fn audit(&mut self) {
        if !self.pack.policies.chain.is_empty() && !self.in_chain(PolicyKind::AuditLogger) {
            let message = "`audit-logger` is not in the chain: requests are not recorded";
            self.warning(codes::NO_AUDIT, "policies.chain", message, "add `audit-logger` to the chain");
        }
        if let Some(AuditLogger { immutable: true, durability: Durability::BestEffort, .. }) =
            self.pack.policy.audit_logger
        {
            let message = "an immutable log can't be `best_effort`: a full queue drops records";
            let help = "write `durability: block`, or `immutable: false`";
            self.error(codes::IMMUTABLE_BEST_EFFORT, "policy.audit-logger.durability", message, help);
        }
    }

    fn rbac(&mut self) {
        if !self.in_chain(PolicyKind::Rbac) {
            return;
        }
        let Some(rbac) = &self.pack.policy.rbac else {
            let help = "add `policy.rbac.roles`, or take `rbac` out of the chain";
            self.warning(
                codes::NO_ROLES,
                "policies.chain",
                "`rbac` has no roles: every caller is refused",
                help,
            );
            return;
        };
        if rbac.roles.is_empty() {
            let message = "`rbac` has no roles: its `action` is the answer to every caller";
            self.warning(codes::NO_ROLES, "policy.rbac", message, "add `roles`");
        }
        if let Some(role) = rbac.default_role.as_ref().filter(|role| !rbac.roles.contains_key(*role)) {
            let message = format!("`default_role` names `{role}`, which is not under `roles`");
            let help = "add the role, or name one that there is";
            self.error(codes::DEFAULT_ROLE_UNKNOWN, "policy.rbac.default_role", message, help);
        }
        let served: BTreeSet<&str> = self.pack.providers.targets.iter().filter_map(model_of).collect();
        let mut found = Vec::new();
        for (name, role) in &rbac.roles {
            let path = format!("policy.rbac.roles{}", key(name));
            match &role.allowed_models {
                None if role.action == crate::pack::kinds::RoleAction::Allow => {
                    let message = format!("the role `{name}` may use every model");
                    found.push((
                        codes::ROLE_WITHOUT_MODELS,
                        path,
                        message,
                        "add `allowed_models` if that is not meant",
                    ));
                }
                Some(models) if !served.is_empty() => {
                    for (at, model) in
                        models.iter().enumerate().filter(|(_, model)| !served.contains(model.as_str()))
                    {
                        let path = format!("{path}.allowed_models[{at}]");
                        let message = format!("the role `{name}` may use `{model}`, which no target serves");
                        found.push((
                            codes::MODEL_NOT_SERVED,
                            path,
                            message,
                            "add a target for it, or remove it",
                        ));
                    }
                }
                _ => {}
            }
        }
        for (code, path, message, help) in found {
            self.warning(code, &path, message, help);
        }
    }

    fn no_effect(&mut self) {
        if self.in_chain(PolicyKind::DlpFilter) {
            let finds_something = self.pack.policy.dlp_filter.as_ref().is_some_and(|dlp| {
                !dlp.patterns.is_empty()
                    || !dlp.detect_patterns.is_empty()
                    || !dlp.blocked_terms.is_empty()
                    || !matches!(&dlp.builtin, BuiltinSelection::Some(names) if names.is_empty())
            });
            if !finds_something {
                let help =
                    "add `patterns` or `blocked_terms`, or `builtin: all` for the built-in secret detectors";
                self.warning(
                    codes::NO_EFFECT,
                    "policies.chain",
                    "`dlp-filter` has nothing to look for",
                    help,
                );
            }
        }
        if self.in_chain(PolicyKind::DataRoutingPolicy) {
            let filters = self.pack.policy.data_routing_policy.as_ref().is_some_and(|policy| {
                policy.require_zero_data_retention
                    || policy.require_no_training
                    || policy.max_retention_days.is_some()
                    || policy.allowed_regions.is_some()
            });
            if !filters {
                let help = "add `require_zero_data_retention: true`, `allowed_regions` or another demand";
                self.warning(
                    codes::NO_EFFECT,
                    "policies.chain",
                    "`data-routing-policy` demands nothing",
                    help,
                );
            }
        }
        let words =
            self.pack.policy.pii_detector.iter().flat_map(|pii| pii.detect_patterns.iter().enumerate());
        let is_entity =
            |word: &str| Entity::ALL.into_iter().any(|entity| entity.as_str().eq_ignore_ascii_case(word));
        let found: Vec<(usize, String)> = words
            .filter(|(_, word)| {
                is_entity(word) || matches!(word.as_str(), "email" | "ssn" | "phone" | "credit_card")
            })
            .map(|(at, word)| (at, word.clone()))
            .collect();
        for (at, word) in found {
            let path = format!("policy.pii-detector.detect_patterns[{at}]");
            let message = format!("`{word}` is read as a regular expression and finds only that word");
            self.warning(codes::WORD_AS_PATTERN, &path, message, "entity types stand under `entities`");
        }
    }

    fn targets(&mut self) {
        if self.pack.providers.targets.is_empty() {
            let help = "add `providers.targets`; without them every request is a 404";
            self.warning(codes::NO_TARGETS, "providers", "the pack has no targets", help);
        }
        for (at, target) in self.pack.providers.targets.iter().enumerate() {
            let path = format!("providers.targets[{at}]");
            if target.secret_key_ref.is_none() {
                let message = format!("the target `{}` has no credential", target.id);
                let help = "add `secret_key_ref: {env: DATABRICKS_TOKEN}`";
                self.warning(codes::NO_CREDENTIAL, &path, message, help);
            }
            base_url::check(self, target, &path);
            self.model(target, &path);
        }
    }

    fn model(&mut self, target: &Target, path: &str) {
        let Some(name) = model_of(target) else { return };
        let key = if target.model.is_some() { "model" } else { "provider" };
        let path = format!("{path}.{key}");
        match self.options.models.lookup(name) {
            None => {
                let message =
                    format!("`{name}` is not in the model table: no prices and no limits are known");
                let help = "fine for an endpoint of your own; a table of yours is `--model-table FILE`";
                self.warning(codes::UNKNOWN_MODEL, &path, message, help);
            }
            Some(model) if model.retired => {
                let when = model.retired_on.map(|day| format!(" since {day}")).unwrap_or_default();
                let message = format!("Databricks no longer serves `{name}` pay per token{when}");
                let help = match &model.successor {
                    Some(successor) => format!("its successor is `{successor}`; requests still go upstream"),
                    None => "requests still go upstream".to_owned(),
                };
                self.warning(codes::RETIRED_MODEL, &path, message, &help);
            }
            Some(_) => {}
        }
    }

    fn aliases(&mut self) {
        let served: BTreeSet<&str> = self.pack.providers.targets.iter().filter_map(model_of).collect();
        let aliases: Vec<(String, String)> =
            self.pack.providers.aliases.iter().map(|(alias, model)| (alias.clone(), model.clone())).collect();
        for (alias, model) in &aliases {
            let path = format!("providers.aliases{}", key(alias));
            if !served.contains(model.as_str()) {
                let message = format!("the alias `{alias}` stands for `{model}`, which no target serves");
                self.error(codes::ALIAS_NOT_SERVED, &path, message, "name the endpoint of a target");
            }
            if served.contains(alias.as_str()) {
                let message = format!("the alias `{alias}` hides the model of that name");
                self.warning(
                    codes::ALIAS_HIDES_MODEL,
                    &path,
                    message,
                    "choose another name if that is not meant",
                );
            }
        }
    }

    fn fallback(&mut self) {
        let Some(fallback) = &self.pack.providers.fallback else { return };
        let targets = &self.pack.providers.targets;
        let chats = targets.iter().any(|target| serves(target) == Some(Serves::Chat));
        let mut unknown = Vec::new();
        let mut other_kind = Vec::new();
        for (at, id) in fallback.order.iter().enumerate() {
            match targets.iter().find(|target| target.id == *id) {
                None => unknown.push((at, id.clone())),
                Some(target) => {
                    let embeds = serves(target) == Some(Serves::Embedding);
                    let alone =
                        targets.iter().all(|other| other.id == *id || serves(other) != serves(target));
                    if embeds && chats && alone {
                        other_kind.push((at, id.clone()));
                    }
                }
            }
        }
        for (at, id) in unknown {
            let path = format!("providers.fallback.order[{at}]");
            let message = format!("`fallback` names `{id}`, and there is no such target");
            self.error(codes::FALLBACK_UNKNOWN_TARGET, &path, message, "name the id of a target");
        }
        for (at, id) in other_kind {
            let path = format!("providers.fallback.order[{at}]");
            let message = format!("`{id}` is the only target of its kind: it stands in for none");
            self.warning(codes::FALLBACK_OTHER_KIND, &path, message, "a chat never falls back to embeddings");
        }
    }

    fn exceptions(&mut self, compiled: Option<&CompiledPack>) {
        for (at, exception) in self.pack.exceptions.iter().enumerate() {
            let path = format!("exceptions[{at}]");
            if exception.expires <= self.options.now {
                let message =
                    format!("the exception for `{}` has expired: the rule acts again", exception.rule);
                self.warning(codes::EXPIRED_EXCEPTION, &format!("{path}.expires"), message, "remove it");
            }
            let (Some((kind, rule)), Some(pack)) = (exception.rule.split_once('/'), compiled) else {
                continue;
            };
            let Some(entry) = pack.chain.iter().find(|entry| entry.kind.as_str() == kind) else { continue };
            if let CompiledPolicy::Content(detector) = &entry.policy
                && !detector.rules().iter().any(|known| *known.id == *rule)
            {
                let message = format!("`{kind}` has no rule `{rule}` in this pack");
                let help = "rules are named as in records and block answers";
                self.error(codes::EXCEPTION_UNKNOWN_RULE, &format!("{path}.rule"), message, help);
            }
        }
    }
}

/// The endpoint name of a target.
fn model_of(target: &Target) -> Option<&str> {
    let (_, named) = compile::provider(&target.provider)?;
    named.or(target.model.as_deref())
}

fn serves(target: &Target) -> Option<Serves> {
    compile::provider(&target.provider).map(|(serves, _)| serves)
}

/// A key behind a path: `.name`, or `["odd name"]`.
fn key(name: &str) -> String {
    crate::decode::Path::Root
        .key(name)
        .to_string()
        .strip_prefix('[')
        .map_or_else(|| format!(".{name}"), |bracketed| format!("[{bracketed}"))
}

/// Names of variables that a `base_url` is filled with.
fn variables(base_url: &str) -> impl Iterator<Item = &str> {
    base_url.split("${").skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Whether any target reads its credential from the variable.
fn is_secret(pack: &Pack, name: &str) -> bool {
    pack.providers
        .targets
        .iter()
        .any(|target| matches!(&target.secret_key_ref, Some(SecretKeyRef::Env(variable)) if variable == name))
}
