//! Targets, routing, fallback, aliases.

use std::collections::{BTreeMap, BTreeSet};

use super::scalars::{IDENTIFIER, LABEL, MODEL_NAME, key, name};
use crate::{
    codes, compile,
    decode::{
        Cx, Object, Path, boolean, choice, head, integer, list, map, non_empty_list, shown, text, unique_list,
    },
    pack::providers::{
        DataPolicy, Fallback, HealthProbe, Providers, Routing, SecretKeyRef, Strategy, Target, Trigger,
    },
    yaml::{Node, Value},
};

pub(super) fn providers(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Providers> {
    let mut o = Object::open(node, path, cx)?;
    let providers = Providers {
        targets: o.or("targets", path, cx, Vec::new(), targets),
        routing: o.or("routing", path, cx, Routing::default(), routing),
        fallback: o.optional("fallback", path, cx, fallback),
        aliases: o.or("aliases", path, cx, BTreeMap::new(), |node, path, cx| {
            map(node, path, cx, key(MODEL_NAME), name(MODEL_NAME))
        }),
    };
    for (key, help) in [
        ("strategy", "use `routing.strategy`; `single` is `ordered` with one target"),
        ("circuit_breaker", "remove it; a failing target is passed over by `fallback` for now"),
        ("model_groups", "use `aliases` and `fallback`"),
    ] {
        let message = format!("`{key}` has no effect here");
        o.refuse(key, path, cx, codes::NOT_ENFORCED, &message, help);
    }
    o.finish(path, cx);
    Some(providers)
}

fn targets(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Vec<Target>> {
    let mut seen = BTreeSet::new();
    list(node, path, cx, |node, path, cx| {
        let target = target(node, path, cx)?;
        if !seen.insert(target.id.clone()) {
            let message = format!("two targets have the id `{}`", shown(&target.id));
            cx.error(codes::DUPLICATE_NAME, &path.key("id"), head(node), message);
        }
        Some(target)
    })
}

fn target(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Target> {
    let seconds = integer::<u64>(1..=86_400);
    let mut o = Object::open(node, path, cx)?;
    let id = o.required("id", path, cx, name(IDENTIFIER));
    let provider = o.required("provider", path, cx, provider);
    let model = o.optional("model", path, cx, name(MODEL_NAME));
    let has_model = o.has("model");
    match provider.as_deref().and_then(compile::provider) {
        Some((_, None)) if !has_model => {
            let span = o.key_span("provider");
            let message = "the target names no model".to_owned();
            let help = "add `model: <endpoint name>`, or write `provider: databricks:chat:<endpoint name>`";
            cx.error_help(codes::MISSING_KEY, &path.key("model"), span, message, help);
        }
        Some((_, Some(named))) if model.as_deref().is_some_and(|model| model != named) => {
            let span = o.key_span("model");
            let message =
                format!("`model` and `provider` name different models, the latter `{}`", shown(named));
            cx.error_help(codes::CONFLICT, &path.key("model"), span, message, "remove `model`");
        }
        _ => {}
    }
    let base_url = o.required("base_url", path, cx, text);
    let secret_key_ref = o.optional("secret_key_ref", path, cx, secret_key_ref);
    let format = o.optional("format", path, cx, format);
    let timeout_seconds = o.or("timeout_seconds", path, cx, 60, &seconds);
    let total_timeout_seconds = o.or("total_timeout_seconds", path, cx, 600, &seconds);
    let stream_idle_seconds = o.or("stream_idle_seconds", path, cx, 120, &seconds);
    let connect_timeout_seconds = o.or("connect_timeout_seconds", path, cx, 5, &seconds);
    let health_probe = o.optional("health_probe", path, cx, health_probe);
    let region = o.optional("region", path, cx, name(LABEL));
    let labels = o.or("labels", path, cx, BTreeMap::new(), |node, path, cx| {
        map(node, path, cx, key(LABEL), name(LABEL))
    });
    let declared = o.optional("data_policy", path, cx, data_policy);
    let zdr = o.optional("zdr", path, cx, boolean);
    let data_policy = with_zdr(declared, zdr, &o, path, cx);
    let client_request_id = o.or("client_request_id", path, cx, false, boolean);
    let include_usage = o.or("include_usage", path, cx, false, boolean);
    refuse_others(&mut o, path, cx);
    o.finish(path, cx);
    Some(Target {
        id: id?,
        provider: provider?,
        model,
        base_url: base_url?,
        secret_key_ref,
        format,
        timeout_seconds,
        total_timeout_seconds,
        stream_idle_seconds,
        connect_timeout_seconds,
        health_probe,
        region,
        labels,
        data_policy,
        client_request_id,
        include_usage,
    })
}

fn refuse_others(o: &mut Object<'_>, path: &Path<'_>, cx: &mut Cx) {
    o.refuse(
        "api_key",
        path,
        cx,
        codes::LITERAL_CREDENTIAL,
        "a credential stands in the pack",
        "revoke it, then name where the new one is: `secret_key_ref: {env: DATABRICKS_TOKEN}`",
    );
    for (key, help) in [
        ("weight", "remove it; targets are tried in their order"),
        ("auth", "use `secret_key_ref` with a token; other logins are not built yet"),
        ("provider_type", "the type is part of `provider`: `databricks:chat:<endpoint name>`"),
        ("api_key_header", "remove it; Databricks reads `Authorization`"),
        ("api_key_prefix", "remove it; Databricks reads `Bearer`"),
        ("path_template", "remove it; paths below `base_url` are those of OpenAI's API"),
        ("azure_api_version", "remove it; it belongs to another provider"),
        ("azure_deployment", "remove it; it belongs to another provider"),
        ("data_collection", "use `data_policy.training_opt_out`"),
    ] {
        let message = format!("`{key}` has no effect here");
        o.refuse(key, path, cx, codes::NOT_ENFORCED, &message, help);
    }
}

fn provider(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let written = text(node, path, cx)?;
    let valid_name = |model: &str| super::scalars::checked_name(model, MODEL_NAME).is_ok();
    match compile::provider(&written) {
        Some((_, model)) if model.is_none_or(valid_name) => Some(written),
        _ => {
            let first = written.split(':').next().unwrap_or_default();
            let help = "write `databricks` with `model`, or `databricks:<chat|completion|embedding|responses>:<endpoint name>`";
            if first == "databricks" {
                let message = format!("`{}` is not a provider", shown(&written));
                cx.error_help(codes::BAD_FORMAT, path, node.span, message, help);
            } else {
                let message = format!("this gateway does not have the provider `{}`", shown(first));
                cx.error_help(codes::OTHER_PROVIDER, path, node.span, message, help);
            }
            None
        }
    }
}

fn format(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let written = text(node, path, cx)?;
    if written == "openai" {
        return Some(written);
    }
    let message = format!("the upstream format `{}` is not built", shown(&written));
    cx.error_help(codes::OTHER_FORMAT, path, node.span, message, "write `openai`, or remove the key");
    None
}

/// Where the credential is. What stands here instead may be the credential itself: it is never shown.
fn secret_key_ref(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<SecretKeyRef> {
    if !matches!(node.value, Value::Map(_)) {
        cx.lost.push(path.to_string());
        let message = "expected a mapping that says where the credential is".to_owned();
        let help = "write `secret_key_ref: {env: DATABRICKS_TOKEN}`";
        cx.error_help(codes::WRONG_TYPE, path, head(node), message, help);
        return None;
    }
    let mut o = Object::open(node, path, cx)?;
    let env = o.optional("env", path, cx, variable);
    let file = o.optional("file", path, cx, secret_file);
    let (has_env, has_file) = (o.has("env"), o.has("file"));
    let has_store = o.has("store");
    o.refuse(
        "store",
        path,
        cx,
        codes::SECRET_STORE,
        "secrets from a store are not read here",
        "use `env`, or `file` below the gateway's `secrets_dir`",
    );
    o.finish(path, cx);
    if has_env && has_file {
        let message = "`env` and `file` both say where the credential is".to_owned();
        cx.error_help(codes::CONFLICT, path, head(node), message, "keep one of them");
        return None;
    }
    if !has_env && !has_file && !has_store {
        let message = "`secret_key_ref` does not say where the credential is".to_owned();
        cx.error_help(codes::MISSING_KEY, path, head(node), message, "add `env: DATABRICKS_TOKEN`");
    }
    let place = env.map(SecretKeyRef::Env).or_else(|| file.map(SecretKeyRef::File));
    if place.is_none() {
        cx.lost.push(path.to_string());
    }
    place
}

/// A text that may be a credential by mistake, and so is not shown when it is something else.
fn unshown_text<'n>(node: &'n Node, path: &Path<'_>, cx: &mut Cx, expected: &str) -> Option<&'n str> {
    let Value::Text(written) = &node.value else {
        cx.error(codes::WRONG_TYPE, path, head(node), format!("expected {expected}"));
        return None;
    };
    if is_token(written) {
        let message = "a credential stands in the pack".to_owned();
        let help = "revoke it, and write the name of the variable or file that holds the new one";
        cx.error_help(codes::LITERAL_CREDENTIAL, path, node.span, message, help);
        return None;
    }
    Some(written)
}

/// Whether a text looks like a Databricks token (`dapi`) or OAuth secret (`dose`).
fn is_token(text: &str) -> bool {
    let rest = text.strip_prefix("dapi").or_else(|| text.strip_prefix("dose"));
    rest.and_then(|rest| rest.get(..32)).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The name of an environment variable.
fn variable(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let written = unshown_text(node, path, cx, "the name of an environment variable")?;
    let valid = written.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && written.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        && written.len() <= 128;
    if valid {
        return Some(written.to_owned());
    }
    let message = "this is not the name of an environment variable".to_owned();
    let help = "write a name, such as `DATABRICKS_TOKEN`, not a value";
    cx.error_help(codes::BAD_FORMAT, path, node.span, message, help);
    None
}

/// A path below `secrets_dir`.
fn secret_file(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let written = unshown_text(node, path, cx, "the path of a file")?;
    let parts_are_plain = written.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if parts_are_plain && !written.contains(['\\', ':']) && !written.contains(char::is_control) {
        return Some(written.to_owned());
    }
    let message = "this is not a path below the gateway's `secrets_dir`".to_owned();
    let help = "no `..`, no `:` and no leading `/`: `databricks/token`";
    cx.error_help(codes::BAD_FORMAT, path, node.span, message, help);
    None
}

fn health_probe(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<HealthProbe> {
    let mut o = Object::open(node, path, cx)?;
    let probe = HealthProbe {
        path: o.or("path", path, cx, "/api/2.0/serving-endpoints".to_owned(), probe_path),
        interval_seconds: o.or("interval_seconds", path, cx, 30, integer(1..=86_400)),
        timeout_seconds: o.or("timeout_seconds", path, cx, 5, integer(1..=600)),
    };
    o.finish(path, cx);
    Some(probe)
}

fn probe_path(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let written = text(node, path, cx)?;
    let plain = written.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if written.starts_with('/') && !written.starts_with("//") && plain {
        return Some(written);
    }
    let message = format!("`{}` is not a path on the target's host", shown(&written));
    cx.error_help(codes::BAD_FORMAT, path, node.span, message, "begin it with one `/`");
    None
}

fn data_policy(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<DataPolicy> {
    let mut o = Object::open(node, path, cx)?;
    let policy = DataPolicy {
        zero_data_retention: o.optional("zero_data_retention", path, cx, boolean),
        training_opt_out: o.optional("training_opt_out", path, cx, boolean),
        retention_days: o.optional("retention_days", path, cx, integer(0..=36_500)),
    };
    o.finish(path, cx);
    if policy.zero_data_retention == Some(true) && policy.retention_days.is_some_and(|days| days > 0) {
        let message = "`zero_data_retention` and `retention_days` contradict each other".to_owned();
        cx.error_help(codes::CONFLICT, path, head(node), message, "keep what the provider really promises");
    }
    Some(policy)
}

/// `zdr: true` is the documented dialect's short form of `data_policy.zero_data_retention`.
fn with_zdr(
    declared: Option<DataPolicy>,
    zdr: Option<bool>,
    o: &Object<'_>,
    path: &Path<'_>,
    cx: &mut Cx,
) -> Option<DataPolicy> {
    let Some(zdr) = zdr else { return declared };
    let mut policy = declared.unwrap_or_default();
    if policy.zero_data_retention.is_some_and(|declared| declared != zdr) {
        let message = "`zdr` and `data_policy.zero_data_retention` contradict each other".to_owned();
        cx.error_help(codes::CONFLICT, &path.key("zdr"), o.key_span("zdr"), message, "remove `zdr`");
    }
    policy.zero_data_retention = Some(zdr);
    Some(policy)
}

fn routing(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Routing> {
    const STRATEGIES: &[(&str, Strategy)] = &[("ordered", Strategy::Ordered)];
    let mut o = Object::open(node, path, cx)?;
    let routing = Routing { strategy: o.or("strategy", path, cx, Strategy::Ordered, choice(STRATEGIES)) };
    o.finish(path, cx);
    Some(routing)
}

fn fallback(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Fallback> {
    const TRIGGERS: &[(&str, Trigger)] = &[
        ("rate_limit", Trigger::RateLimit),
        ("server_error", Trigger::ServerError),
        ("timeout", Trigger::Timeout),
    ];
    let mut o = Object::open(node, path, cx)?;
    let default = Fallback::default();
    let fallback = Fallback {
        order: o.or("order", path, cx, default.order, |node, path, cx| {
            unique_list(node, path, cx, name(IDENTIFIER), String::clone)
        }),
        triggers: o.or("triggers", path, cx, default.triggers, |node, path, cx| {
            non_empty_list(node, path, cx, choice(TRIGGERS))
        }),
        max_fallback_attempts: o.or(
            "max_fallback_attempts",
            path,
            cx,
            default.max_fallback_attempts,
            integer(0..=16),
        ),
    };
    o.finish(path, cx);
    Some(fallback)
}
