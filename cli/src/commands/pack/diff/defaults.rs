//! What a new thing would say if nobody had said it: left out of a comparison, where it would hide what somebody did.

use kt_policy::{pack::Pack, verdict::PolicyKind};
use serde_json::Value;

use super::tree::{Change, NAMES, What};

/// One of each thing that lists and mappings hold, with no more than it must have. The texts are nobody's.
const LEAST: &str = r"
pack: {name: kt-default, version: 0.0.0}
policies: {chain: []}
policy:
  dlp-filter: {patterns: [{name: kt-default, regex: kt-default}]}
  rbac: {roles: {kt-default: {}}}
providers:
  targets:
    - id: kt-default
      provider: databricks:chat:kt-default
      base_url: https://kt-default.azuredatabricks.net/serving-endpoints
exceptions:
  - {rule: dlp-filter/kt-default, reason: kt-default, expires: 1970-01-01T00:00:00Z}
";

/// Every kind without a block.
const KINDS: &str = "
pack: {name: kt-default, version: 0.0.0}
policies:
  chain: [prompt-injection, pii-detector, dlp-filter, rbac, audit-logger, data-routing-policy]
";

/// What things say by themselves.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    least: Value,
    kinds: Value,
}

// === impl Defaults ===

impl Defaults {
    pub(super) fn load() -> Self {
        let model = |source: &str| {
            let pack = kt_policy::pack::parse(source.as_bytes()).0.map(|parsed| filled(parsed.pack));
            pack.and_then(|pack| serde_json::to_value(pack).ok()).unwrap_or_default()
        };
        Self { least: model(LEAST), kinds: model(KINDS) }
    }

    /// Takes what goes without saying out of things that are only on one side.
    pub(super) fn strip(&self, change: &mut Change) {
        let default = self.of(&change.path);
        if let (What::Added { to: value } | What::Removed { from: value }, Some(default)) =
            (&mut change.what, default)
        {
            strip(value, default);
        }
    }

    fn of(&self, path: &str) -> Option<&Value> {
        let (parent, is_item) = match path.strip_suffix(']').and_then(|path| path.rsplit_once('[')) {
            Some((parent, _)) => (parent, true),
            None => (path, false),
        };
        match (parent, is_item) {
            ("policy.dlp-filter.patterns", true) => self.least.pointer("/policy/dlp-filter/patterns/0"),
            ("providers.targets", true) => self.least.pointer("/providers/targets/0"),
            ("exceptions", true) => self.least.pointer("/exceptions/0"),
            _ if parent.starts_with("policy.rbac.roles") => {
                self.least.pointer("/policy/rbac/roles/kt-default")
            }
            _ => {
                let kind = parent.strip_prefix("policy.").filter(|kind| !kind.contains('.'))?;
                self.kinds.pointer(&format!("/policy/{kind}"))
            }
        }
    }
}

fn strip(value: &mut Value, default: &Value) {
    let (Value::Object(fields), Value::Object(defaults)) = (value, default) else { return };
    fields.retain(|key, value| match defaults.get(key) {
        Some(default) if !NAMES.contains(&&**key) => {
            let is_default = value == default;
            strip(value, default);
            !is_default
        }
        _ => true,
    });
}

/// The pack with the settings that kinds in its chain have without a block.
pub(super) fn filled(mut pack: Pack) -> Pack {
    let blocks = &mut pack.policy;
    for kind in &pack.policies.chain {
        match kind {
            PolicyKind::PromptInjection => drop(blocks.prompt_injection.get_or_insert_default()),
            PolicyKind::PiiDetector => drop(blocks.pii_detector.get_or_insert_default()),
            PolicyKind::DlpFilter => drop(blocks.dlp_filter.get_or_insert_default()),
            PolicyKind::Rbac => drop(blocks.rbac.get_or_insert_default()),
            PolicyKind::AuditLogger => drop(blocks.audit_logger.get_or_insert_default()),
            PolicyKind::DataRoutingPolicy => drop(blocks.data_routing_policy.get_or_insert_default()),
        }
    }
    pack
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stripped(path: &str, value: Value) -> Value {
        let mut change = Change { path: path.to_owned(), what: What::Added { to: value } };
        Defaults::load().strip(&mut change);
        match change.what {
            What::Added { to } => to,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_place_that_is_meant_is_in_the_model() {
        let defaults = Defaults::load();
        for path in [
            "policy.dlp-filter.patterns[a]",
            "policy.rbac.roles.analyst",
            "policy.rbac.roles[a b]",
            "providers.targets[a]",
            "exceptions[a]",
            "policy.prompt-injection",
            "policy.pii-detector",
            "policy.dlp-filter",
            "policy.rbac",
            "policy.audit-logger",
            "policy.data-routing-policy",
        ] {
            assert!(defaults.of(path).is_some_and(Value::is_object), "{path}");
        }
        assert!(defaults.of("providers").is_none() && defaults.of("policies.chain").is_none());
    }

    #[test]
    fn what_somebody_said_stays_and_what_goes_without_saying_does_not() {
        let target = json!({"id": "a", "provider": "databricks", "timeout_seconds": 60, "region": "eu"});
        let expected = json!({"id": "a", "provider": "databricks", "region": "eu"});
        assert_eq!(stripped("providers.targets[a]", target), expected);
        let block = json!({"threshold": 0.5, "action": "redact", "encoding": {"decode_base64": false, "decode_hex": true}});
        let expected = json!({"action": "redact", "encoding": {"decode_base64": false}});
        assert_eq!(stripped("policy.prompt-injection", block), expected);
    }
}
