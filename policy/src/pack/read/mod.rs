//! From the tree to the model: one function for each type of the model, one line for each key.
//!
//! Keys of the documented dialect that this gateway does not enforce are refused by name: a pack never claims a
//! protection that it does not get.

mod kinds;
mod providers;
mod scalars;
mod testing;

use sha2::{Digest, Sha256};

pub(crate) use scalars::{MODEL_NAME, name};
pub use testing::parse_tests;

use super::{
    Answers, AttachmentRule, BlockResponse, Exception, ExceptionScope, Pack, PackMeta, Policies,
    PolicyBlocks, Providers,
};
use crate::{
    codes,
    decode::{
        Cx, Object, Path, SourceMap, boolean, choice, closest, described, head, integer, list, listed, map,
        shown, text, unique_list,
    },
    diag::{self, Diagnostic, Span},
    verdict::{Endpoint, PolicyKind},
    yaml::{self, Node, Value},
};

/// A pack as it was read, with its places.
#[derive(Debug, Clone)]
pub struct ParsedPack {
    /// The model.
    pub pack: Pack,
    /// Where its parts stand in the source.
    pub source_map: SourceMap,
    /// SHA-256 of the exact source bytes.
    pub digest: [u8; 32],
}

/// A pack of which some parts could be read: what lint and the detectors can still judge.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(crate) parsed: ParsedPack,
    /// Lists and mappings that lost an item.
    pub(crate) lost: Vec<String>,
}

/// Reads a pack and gives every finding about its shape, in the order of the source.
///
/// The pack is there exactly when no finding is an error. [`crate::check`] adds lint and compiling.
pub fn parse(source: &[u8]) -> (Option<ParsedPack>, Vec<Diagnostic>) {
    let (partial, mut found) = read(source);
    diag::sort(&mut found);
    let broken = found.iter().any(Diagnostic::is_error);
    (partial.filter(|_| !broken).map(|partial| partial.parsed), found)
}

/// Reads what can be read.
pub(crate) fn read(source: &[u8]) -> (Option<Partial>, Vec<Diagnostic>) {
    let root = match yaml::parse(source) {
        Ok(root) => root,
        Err(refusal) => return (None, vec![refusal]),
    };
    if matches!(root.value, Value::Null) {
        let help = "a pack has at least `pack` and `policies`; `kt init` writes one";
        return (None, vec![Diagnostic::error(codes::EMPTY, "", None, "the file is empty").help(help)]);
    }
    let mut cx = Cx::default();
    let pack = pack(&root, &mut cx);
    let digest = Sha256::digest(source).into();
    let partial = pack.map(|pack| Partial {
        parsed: ParsedPack { pack, source_map: SourceMap::new(root), digest },
        lost: cx.lost,
    });
    (partial, cx.found)
}

fn pack(root: &Node, cx: &mut Cx) -> Option<Pack> {
    let path = &Path::Root;
    let mut o = Object::open(root, path, cx)?;
    o.point_at(Span { start: root.span.start, end: root.span.start });
    let pack = o.required("pack", path, cx, meta);
    let policies = o.required("policies", path, cx, policies);
    let policy = o.or("policy", path, cx, PolicyBlocks::default(), blocks);
    let providers = o.or("providers", path, cx, Providers::default(), providers::providers);
    let exceptions =
        o.or("exceptions", path, cx, Vec::new(), |node, path, cx| list(node, path, cx, exception));
    let testing = o.optional("testing", path, cx, testing::testing);
    for (key, help) in [
        ("provider_routing", "use `providers.routing`"),
        ("provider_fallback", "use `providers.fallback`"),
        ("model_groups", "use `providers.aliases` and `providers.fallback`"),
        ("routes", "run one gateway a pack, or use roles and `endpoints`"),
        ("agents", "name the caller by its gateway key"),
        ("traffic_mirror", "use `mode: observe` to try a policy on live traffic"),
        ("version", "the version of a pack is `pack.version`"),
    ] {
        o.refuse(
            key,
            path,
            cx,
            codes::NOT_ENFORCED,
            &format!("the section `{key}` is not part of a pack here"),
            help,
        );
    }
    o.finish(path, cx);
    Some(Pack {
        // A stand-in that is never used: an error was noted.
        pack: pack.unwrap_or_else(|| PackMeta {
            name: String::new(),
            version: semver::Version::new(0, 0, 0),
            enabled: true,
            description: None,
        }),
        policies: policies.unwrap_or_else(|| Policies {
            chain: Vec::new(),
            block_response: BlockResponse::default(),
            answers: Answers::default(),
            attachments: std::collections::BTreeMap::new(),
        }),
        policy,
        providers,
        exceptions,
        testing,
    })
}

fn meta(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<PackMeta> {
    let mut o = Object::open(node, path, cx)?;
    let name = o.required("name", path, cx, name(scalars::IDENTIFIER));
    let version = o.required("version", path, cx, scalars::version);
    let enabled = o.or("enabled", path, cx, true, boolean);
    let description = o.optional("description", path, cx, text);
    o.finish(path, cx);
    Some(PackMeta { name: name?, version: version?, enabled, description })
}

fn policies(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Policies> {
    if matches!(node.value, Value::List(_)) {
        let message = "expected a mapping with `chain`, found a list".to_owned();
        let help = "the chain is `policies: {chain: […]}` and settings are `policy: {<kind>: …}`";
        cx.error_help(codes::WRONG_TYPE, path, head(node), message, help);
        return None;
    }
    let mut o = Object::open(node, path, cx)?;
    let chain = o.required("chain", path, cx, |node, path, cx| list(node, path, cx, kind));
    let block_response = o.or("block_response", path, cx, BlockResponse::default(), choice(BLOCK_RESPONSES));
    let answers = o.or("answers", path, cx, Answers::default(), answers);
    let attachments = o.or("attachments", path, cx, std::collections::BTreeMap::new(), |node, path, cx| {
        map(node, path, cx, scalars::media_type, choice(ATTACHMENT_RULES))
    });
    o.finish(path, cx);
    Some(Policies { chain: chain?, block_response, answers, attachments })
}

fn answers(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Answers> {
    let mut o = Object::open(node, path, cx)?;
    let default = Answers::default().hold_back;
    let wide: u32 =
        o.or("hold_back", path, cx, u32::try_from(default).unwrap_or(u32::MAX), integer(64..=65_536));
    let hold_back = usize::try_from(wide).unwrap_or(default);
    o.finish(path, cx);
    Some(Answers { hold_back })
}

const BLOCK_RESPONSES: &[(&str, BlockResponse)] = &[
    ("409", BlockResponse::Conflict),
    ("content_filter", BlockResponse::ContentFilter),
    ("refusal", BlockResponse::Refusal),
];

const ATTACHMENT_RULES: &[(&str, AttachmentRule)] =
    &[("allow", AttachmentRule::Allow), ("block", AttachmentRule::Block)];

pub(super) const ENDPOINTS: &[(&str, Endpoint)] = &[
    ("chat_completions", Endpoint::ChatCompletions),
    ("completions", Endpoint::Completions),
    ("embeddings", Endpoint::Embeddings),
    ("responses", Endpoint::Responses),
];

/// Kinds of the documented product that this gateway does not have.
const OTHER_KINDS: &[&str] = &[
    "hipaa-phi-detector",
    "agent-firewall",
    "cjis-mode",
    "safety-filter",
    "student-privacy",
    "case-privacy",
    "itar-ear-filter",
    "entity-list-filter",
    "dual-use-filter",
    "embedding-detector",
    "language-validator",
    "bot-detector",
    "external-moderation",
    "content-extractor",
    "quality-scorer",
    "human-oversight",
    "flagged-review",
    "citation-verifier",
    "financial-compliance",
    "healthcare-compliance",
    "bias-monitor",
];

fn kind(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<PolicyKind> {
    let Value::Text(written) = &node.value else {
        let message = format!("expected the name of a policy kind, found {}", described(node));
        cx.error(codes::WRONG_TYPE, path, head(node), message);
        return None;
    };
    let kind = PolicyKind::ALL.into_iter().find(|kind| kind.as_str() == written);
    if kind.is_none() {
        unknown_kind(written, node.span, path, cx);
    }
    kind
}

pub(super) fn unknown_kind(written: &str, span: Span, path: &Path<'_>, cx: &mut Cx) {
    let kinds = || PolicyKind::ALL.into_iter().map(PolicyKind::as_str);
    let valid = listed(kinds());
    let (message, help) = if OTHER_KINDS.contains(&written) {
        (format!("this gateway does not have the policy kind `{written}`"), format!("kinds: {valid}"))
    } else {
        let help = match closest(written, kinds()) {
            Some(meant) => format!("did you mean `{meant}`? kinds: {valid}"),
            None => format!("kinds: {valid}"),
        };
        (format!("unknown policy kind `{}`", shown(written)), help)
    };
    cx.error_help(codes::UNKNOWN_KIND, path, span, message, help);
}

fn blocks(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<PolicyBlocks> {
    let Value::Map(entries) = &node.value else {
        return Object::open(node, path, cx).and(None);
    };
    for entry in entries {
        let known = PolicyKind::ALL.into_iter().any(|kind| kind.as_str() == entry.key);
        if !known && entry.key != "<<" {
            unknown_kind(&entry.key, entry.key_span, &path.key(&entry.key), cx);
        }
    }
    // The unknown ones are reported above, better than `finish` would.
    let mut o = Object::open(node, path, cx)?;
    Some(PolicyBlocks {
        prompt_injection: o.optional("prompt-injection", path, cx, kinds::prompt_injection),
        pii_detector: o.optional("pii-detector", path, cx, kinds::pii_detector),
        dlp_filter: o.optional("dlp-filter", path, cx, kinds::dlp_filter),
        rbac: o.optional("rbac", path, cx, kinds::rbac),
        audit_logger: o.optional("audit-logger", path, cx, kinds::audit_logger),
        data_routing_policy: o.optional("data-routing-policy", path, cx, kinds::data_routing_policy),
    })
}

fn exception(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Exception> {
    let mut o = Object::open(node, path, cx)?;
    let rule = o.required("rule", path, cx, scalars::exception_rule);
    let scope = o.or("scope", path, cx, ExceptionScope::default(), exception_scope);
    let reason = o.required("reason", path, cx, scalars::sentence);
    let ticket = o.optional("ticket", path, cx, scalars::sentence);
    let expires = o.required("expires", path, cx, scalars::moment);
    o.finish(path, cx);
    Some(Exception { rule: rule?, scope, reason: reason?, ticket, expires: expires? })
}

fn exception_scope(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<ExceptionScope> {
    let mut o = Object::open(node, path, cx)?;
    let names = |node: &Node, path: &Path<'_>, cx: &mut Cx| {
        unique_list(node, path, cx, name(scalars::LABEL), String::clone)
    };
    let scope = ExceptionScope {
        roles: o.or("roles", path, cx, Vec::new(), names),
        teams: o.or("teams", path, cx, Vec::new(), names),
        models: o.or("models", path, cx, Vec::new(), names),
        endpoints: o.or("endpoints", path, cx, Vec::new(), |node, path, cx| {
            unique_list(node, path, cx, choice(ENDPOINTS), |endpoint| endpoint.as_str().to_owned())
        }),
    };
    o.finish(path, cx);
    Some(scope)
}
