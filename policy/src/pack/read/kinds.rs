//! The settings of each policy kind.

use std::collections::BTreeMap;

use super::{
    ENDPOINTS,
    scalars::{self, LABEL, MODEL_NAME, TOOL, key, name},
};
use crate::{
    codes,
    decode::{
        Cx, Object, Path, boolean, choice, fraction, integer, list, map, non_empty_list, shown, text,
        unique_list, unknown_value,
    },
    pack::kinds::{
        AuditLogger, BuiltinSelection, DataRoutingPolicy, DetectorSwitch, DlpFilter, DlpPattern, Durability,
        EndpointAction, Entity, EntitySelection, InjectionDetection, InjectionDetectors, InjectionEncoding,
        InjectionResponse, InjectionResponseAction, MarkerFormat, OnExcess, OnNoCompliantProvider,
        PiiDetector, PromptInjection, Rbac, RbacAction, RbacRole, Redaction, RoleAction, RuleSwitch,
    },
    verdict::{Action, Endpoint, Mode, Phase},
    yaml::{Node, Value},
};

const MODES: &[(&str, Mode)] = &[("enforce", Mode::Enforce), ("observe", Mode::Observe)];
const ACTIONS: &[(&str, Action)] = &[("redact", Action::Redact), ("block", Action::Block)];
const PHASES: &[(&str, Phase)] = &[("input", Phase::Input), ("output", Phase::Output)];
const ON_EXCESS: &[(&str, OnExcess)] = &[("reject", OnExcess::Reject), ("clamp", OnExcess::Clamp)];
const ENDPOINT_ACTIONS: &[(&str, EndpointAction)] = &[
    ("off", EndpointAction::Off),
    ("observe", EndpointAction::Observe),
    ("redact", EndpointAction::Redact),
    ("block", EndpointAction::Block),
];

fn mode(o: &mut Object<'_>, path: &Path<'_>, cx: &mut Cx) -> Mode {
    o.or("mode", path, cx, Mode::Enforce, choice(MODES))
}

fn endpoints(o: &mut Object<'_>, path: &Path<'_>, cx: &mut Cx) -> BTreeMap<Endpoint, EndpointAction> {
    o.or("endpoints", path, cx, BTreeMap::new(), |node, path, cx| {
        map(
            node,
            path,
            cx,
            |written, span, path, cx| {
                let endpoint =
                    ENDPOINTS.iter().find(|(name, _)| *name == written).map(|(_, endpoint)| *endpoint);
                if endpoint.is_none() {
                    let place = Node { value: Value::Text(written.to_owned()), span };
                    unknown_value(written, ENDPOINTS.iter().map(|(name, _)| *name), &place, path, cx);
                }
                endpoint
            },
            choice(ENDPOINT_ACTIONS),
        )
    })
}

fn phases(o: &mut Object<'_>, path: &Path<'_>, cx: &mut Cx, default: Vec<Phase>) -> Vec<Phase> {
    o.or("phases", path, cx, default, |node, path, cx| non_empty_list(node, path, cx, choice(PHASES)))
}

/// Regular expressions: their syntax is the detector's to judge.
fn patterns(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Vec<String>> {
    unique_list(node, path, cx, text, String::clone)
}

pub(super) fn prompt_injection(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<PromptInjection> {
    let mut o = Object::open(node, path, cx)?;
    let default = PromptInjection::default();
    let block = PromptInjection {
        mode: mode(&mut o, path, cx),
        action: o.or("action", path, cx, default.action, choice(ACTIONS)),
        threshold: o.or("threshold", path, cx, default.threshold, fraction),
        detectors: o.or("detectors", path, cx, default.detectors, injection_detectors),
        detection: o.or("detection", path, cx, default.detection, injection_detection),
        encoding: o.or("encoding", path, cx, default.encoding, injection_encoding),
        response: o.or("response", path, cx, default.response, injection_response),
        endpoints: endpoints(&mut o, path, cx),
        phases: phases(&mut o, path, cx, default.phases),
    };
    o.refuse(
        "embedding_threshold",
        path,
        cx,
        codes::NOT_ENFORCED,
        "`embedding_threshold` has no effect here: there is no embedding detector",
        "remove it; `threshold` is the score from which a text is a finding",
    );
    o.refuse(
        "attack_patterns",
        path,
        cx,
        codes::UNKNOWN_KEY,
        "`attack_patterns` stands in the wrong place",
        "move it to `detection.attack_patterns`",
    );
    o.finish(path, cx);
    Some(block)
}

fn injection_detectors(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<InjectionDetectors> {
    const SWITCHES: &[(&str, DetectorSwitch)] =
        &[("on", DetectorSwitch::On), ("observe", DetectorSwitch::Observe), ("off", DetectorSwitch::Off)];
    let mut o = Object::open(node, path, cx)?;
    let default = InjectionDetectors::default();
    let detectors = InjectionDetectors {
        rules: o.or("rules", path, cx, default.rules, choice(SWITCHES)),
        model: o.or("model", path, cx, default.model, choice(SWITCHES)),
    };
    o.finish(path, cx);
    Some(detectors)
}

fn injection_detection(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<InjectionDetection> {
    const SWITCHES: &[(&str, RuleSwitch)] =
        &[("enforce", RuleSwitch::Enforce), ("observe", RuleSwitch::Observe), ("off", RuleSwitch::Off)];
    let mut o = Object::open(node, path, cx)?;
    let detection = InjectionDetection {
        attack_patterns: o.or("attack_patterns", path, cx, Vec::new(), patterns),
        rules: o.or("rules", path, cx, BTreeMap::new(), |node, path, cx| {
            map(node, path, cx, key(LABEL), choice(SWITCHES))
        }),
    };
    o.finish(path, cx);
    Some(detection)
}

fn injection_encoding(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<InjectionEncoding> {
    let mut o = Object::open(node, path, cx)?;
    let encoding = InjectionEncoding {
        normalize_unicode: o.or("normalize_unicode", path, cx, true, boolean),
        detect_homoglyphs: o.or("detect_homoglyphs", path, cx, true, boolean),
        decode_base64: o.or("decode_base64", path, cx, true, boolean),
        decode_percent: o.or("decode_percent", path, cx, true, boolean),
        decode_hex: o.or("decode_hex", path, cx, true, boolean),
    };
    o.finish(path, cx);
    Some(encoding)
}

fn injection_response(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<InjectionResponse> {
    const RESPONSE_ACTIONS: &[(&str, InjectionResponseAction)] =
        &[("block", InjectionResponseAction::Block), ("log", InjectionResponseAction::Log)];
    let mut o = Object::open(node, path, cx)?;
    let default = InjectionResponse::default();
    let response = InjectionResponse {
        action: o.or("action", path, cx, default.action, choice(RESPONSE_ACTIONS)),
        message: o.or("message", path, cx, default.message, scalars::sentence),
    };
    o.finish(path, cx);
    Some(response)
}

pub(super) fn pii_detector(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<PiiDetector> {
    let mut o = Object::open(node, path, cx)?;
    let default = PiiDetector::default();
    let block = PiiDetector {
        mode: mode(&mut o, path, cx),
        action: o.or("action", path, cx, default.action, choice(ACTIONS)),
        entities: o.or("entities", path, cx, default.entities, entities),
        threshold: o.or("threshold", path, cx, default.threshold, fraction),
        redaction: o.or("redaction", path, cx, default.redaction, redaction),
        detect_patterns: o.or("detect_patterns", path, cx, Vec::new(), patterns),
        pci_mode: o.or("pci_mode", path, cx, default.pci_mode, boolean),
        healthcare_mode: o.or("healthcare_mode", path, cx, default.healthcare_mode, boolean),
        endpoints: endpoints(&mut o, path, cx),
        phases: phases(&mut o, path, cx, default.phases),
    };
    o.finish(path, cx);
    Some(block)
}

fn entities(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<EntitySelection> {
    if is_all(node) {
        return Some(EntitySelection::All);
    }
    let entity = |node: &Node, path: &Path<'_>, cx: &mut Cx| {
        let written = text(node, path, cx)?;
        let entity = Entity::ALL.into_iter().find(|entity| entity.as_str() == written);
        if entity.is_none() {
            unknown_value(&written, Entity::ALL.into_iter().map(Entity::as_str), node, path, cx);
        }
        entity
    };
    if matches!(&node.value, Value::List(items) if items.is_empty()) {
        return non_empty_list(node, path, cx, entity).map(EntitySelection::Some);
    }
    unique_list(node, path, cx, entity, |entity| entity.as_str().to_owned()).map(EntitySelection::Some)
}

fn is_all(node: &Node) -> bool {
    matches!(&node.value, Value::Text(text) if text == "all")
}

fn redaction(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Redaction> {
    let mut o = Object::open(node, path, cx)?;
    let redaction = Redaction {
        marker_format: o.or("marker_format", path, cx, MarkerFormat::Label, marker_format),
        custom_markers: o.or("custom_markers", path, cx, BTreeMap::new(), |node, path, cx| {
            map(node, path, cx, key(LABEL), scalars::sentence)
        }),
        preserve_length: o.or("preserve_length", path, cx, false, boolean),
        include_metadata: o.or("include_metadata", path, cx, false, boolean),
    };
    o.finish(path, cx);
    Some(redaction)
}

fn marker_format(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<MarkerFormat> {
    let written = text(node, path, cx)?;
    match written.as_str() {
        "label" => Some(MarkerFormat::Label),
        "asterisks" => Some(MarkerFormat::Asterisks),
        "partial" => Some(MarkerFormat::Partial),
        _ if written.contains("{entity}") => Some(MarkerFormat::Template(written)),
        _ => {
            let message = format!("unknown marker format `{}`", shown(&written));
            let help = "write `label`, `asterisks`, `partial`, or a text of your own that holds `{entity}`";
            cx.error_help(codes::UNKNOWN_VALUE, path, node.span, message, help);
            None
        }
    }
}

pub(super) fn dlp_filter(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<DlpFilter> {
    let mut o = Object::open(node, path, cx)?;
    let default = DlpFilter::default();
    let block = DlpFilter {
        mode: mode(&mut o, path, cx),
        action: o.or("action", path, cx, default.action, choice(ACTIONS)),
        patterns: o.or("patterns", path, cx, Vec::new(), dlp_patterns),
        detect_patterns: o.or("detect_patterns", path, cx, Vec::new(), patterns),
        blocked_terms: o.or("blocked_terms", path, cx, Vec::new(), |node, path, cx| {
            unique_list(node, path, cx, scalars::sentence, String::clone)
        }),
        fuzzy_matching: o.or("fuzzy_matching", path, cx, default.fuzzy_matching, boolean),
        max_distance: max_distance(&mut o, path, cx, default.max_distance),
        builtin: o.or("builtin", path, cx, default.builtin, builtin),
        endpoints: endpoints(&mut o, path, cx),
        phases: phases(&mut o, path, cx, default.phases),
    };
    o.refuse(
        "sensitivity_level",
        path,
        cx,
        codes::NOT_ENFORCED,
        "`sensitivity_level` has no effect here",
        "list the classification marks under `blocked_terms`",
    );
    o.finish(path, cx);
    Some(block)
}

fn max_distance(o: &mut Object<'_>, path: &Path<'_>, cx: &mut Cx, default: u8) -> u8 {
    let wide: u32 = o.or("max_distance", path, cx, u32::from(default), integer(0..=8));
    u8::try_from(wide).unwrap_or(default)
}

/// Items keep their places: what is missing gets a stand-in, so that the detector's findings name the right item.
fn dlp_patterns(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Vec<DlpPattern>> {
    let mut seen = std::collections::BTreeSet::new();
    list(node, path, cx, |node, path, cx| {
        let mut o = Object::open(node, path, cx)?;
        let label = o.required("name", path, cx, |node, path, cx| {
            let label = name(LABEL)(node, path, cx)?;
            if !seen.insert(label.clone()) {
                let message = format!("two patterns are named `{}`", shown(&label));
                let help = "give each its own name, so that a record tells which one it was";
                cx.error_help(codes::DUPLICATE_NAME, path, node.span, message, help);
            }
            Some(label)
        });
        let regex = o.required("regex", path, cx, text);
        let action = o.optional("action", path, cx, choice(ACTIONS));
        let mode = mode(&mut o, path, cx);
        o.finish(path, cx);
        Some(DlpPattern {
            name: label.unwrap_or_else(|| path.to_string()),
            regex: regex.unwrap_or_else(|| "stand-in".to_owned()),
            action,
            mode,
        })
    })
}

/// The names are the detector's to judge.
fn builtin(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<BuiltinSelection> {
    if is_all(node) {
        return Some(BuiltinSelection::All);
    }
    unique_list(node, path, cx, name(LABEL), String::clone).map(BuiltinSelection::Some)
}

pub(super) fn rbac(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<Rbac> {
    const RBAC_ACTIONS: &[(&str, RbacAction)] = &[("block", RbacAction::Block), ("allow", RbacAction::Allow)];
    let mut o = Object::open(node, path, cx)?;
    let block = Rbac {
        mode: mode(&mut o, path, cx),
        roles: o
            .or("roles", path, cx, BTreeMap::new(), |node, path, cx| map(node, path, cx, key(LABEL), role)),
        default_role: o.optional("default_role", path, cx, name(LABEL)),
        action: o.or("action", path, cx, RbacAction::Block, choice(RBAC_ACTIONS)),
        deny_if_missing: o.or("deny_if_missing", path, cx, Vec::new(), |node, path, cx| {
            unique_list(node, path, cx, identity_header, |header| header.to_ascii_lowercase())
        }),
        require_auth: o.or("require_auth", path, cx, false, boolean),
        on_excess: o.or("on_excess", path, cx, OnExcess::Reject, choice(ON_EXCESS)),
    };
    for (key, help) in [
        ("data_access", "remove it; say what a role may see with roles and exceptions"),
        ("minimum_necessary", "remove it; use `pii-detector` with `healthcare_mode: true`"),
    ] {
        let message = format!("`{key}` has no effect here");
        o.refuse(key, path, cx, codes::NOT_ENFORCED, &message, help);
    }
    o.finish(path, cx);
    Some(block)
}

fn role(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<RbacRole> {
    const ROLE_ACTIONS: &[(&str, RoleAction)] = &[("allow", RoleAction::Allow), ("block", RoleAction::Block)];
    let mut o = Object::open(node, path, cx)?;
    let tools =
        |node: &Node, path: &Path<'_>, cx: &mut Cx| unique_list(node, path, cx, name(TOOL), String::clone);
    let role = RbacRole {
        allowed_models: o.optional("allowed_models", path, cx, |node, path, cx| {
            unique_list(node, path, cx, name(MODEL_NAME), String::clone)
        }),
        max_tokens_per_request: o.optional("max_tokens_per_request", path, cx, integer(1..=100_000_000)),
        action: o.or("action", path, cx, RoleAction::Allow, choice(ROLE_ACTIONS)),
        allowed_tools: o.optional("allowed_tools", path, cx, tools),
        denied_tools: o.or("denied_tools", path, cx, Vec::new(), tools),
        on_excess: o.optional("on_excess", path, cx, choice(ON_EXCESS)),
    };
    o.finish(path, cx);
    Some(role)
}

/// A header of the documented dialect that a proven identity stands for.
fn identity_header(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<String> {
    let written = text(node, path, cx)?;
    if ["x-user-id", "x-user-role"].contains(&written.to_ascii_lowercase().as_str()) {
        return Some(written);
    }
    let message = format!("the header `{}` proves no identity here", shown(&written));
    let help = "`X-User-ID` and `X-User-Role` are met by a proven identity; other headers are not looked at";
    cx.error_help(codes::NOT_ENFORCED, path, node.span, message, help);
    None
}

pub(super) fn audit_logger(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<AuditLogger> {
    const DURABILITIES: &[(&str, Durability)] =
        &[("sync", Durability::Sync), ("block", Durability::Block), ("best_effort", Durability::BestEffort)];
    let mut o = Object::open(node, path, cx)?;
    let default = AuditLogger::default();
    if let Some(mode) = o.optional("mode", path, cx, choice(MODES))
        && mode == Mode::Observe
    {
        let message =
            "`audit-logger` can't only observe: it records, or it does not stand in the chain".to_owned();
        let span = o.key_span("mode");
        cx.error_help(codes::AUDIT_OBSERVE, &path.key("mode"), span, message, "remove the key");
    }
    let block = AuditLogger {
        immutable: o.or("immutable", path, cx, default.immutable, boolean),
        retention_days: o.or("retention_days", path, cx, default.retention_days, integer(1..=36_500)),
        log_all_access: o.or("log_all_access", path, cx, default.log_all_access, boolean),
        durability: o.or("durability", path, cx, default.durability, choice(DURABILITIES)),
    };
    o.refuse(
        "hipaa_audit_controls",
        path,
        cx,
        codes::NOT_ENFORCED,
        "`hipaa_audit_controls` has no effect here",
        "remove it; the log is chained, signed and complete for every pack",
    );
    o.finish(path, cx);
    Some(block)
}

pub(super) fn data_routing_policy(node: &Node, path: &Path<'_>, cx: &mut Cx) -> Option<DataRoutingPolicy> {
    const ON_NONE: &[(&str, OnNoCompliantProvider)] =
        &[("block", OnNoCompliantProvider::Block), ("warn", OnNoCompliantProvider::Warn)];
    let mut o = Object::open(node, path, cx)?;
    let block = DataRoutingPolicy {
        mode: mode(&mut o, path, cx),
        require_zero_data_retention: o.or("require_zero_data_retention", path, cx, false, boolean),
        require_no_training: o.or("require_no_training", path, cx, false, boolean),
        max_retention_days: o.optional("max_retention_days", path, cx, integer(0..=36_500)),
        allowed_regions: o.optional("allowed_regions", path, cx, |node, path, cx| {
            unique_list(node, path, cx, name(LABEL), String::clone)
        }),
        on_no_compliant_provider: o.or(
            "on_no_compliant_provider",
            path,
            cx,
            OnNoCompliantProvider::Block,
            choice(ON_NONE),
        ),
    };
    o.refuse(
        "log_provider_selection",
        path,
        cx,
        codes::NOT_ENFORCED,
        "`log_provider_selection` has no effect here",
        "remove it; every record names the target and why others were left out",
    );
    o.finish(path, cx);
    Some(block)
}
