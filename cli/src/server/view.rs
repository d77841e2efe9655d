//! Messages of the control plane as data for `-o json` and as words for tables: moments as RFC 3339, digests as
//! `sha256:…`, enums as words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kt_proto::{
    signed::{self, Statement},
    v1,
};
use serde::Serialize;

/// A moment; absent for 0, which stands for "never" and "not".
pub(crate) fn moment(microseconds: i64) -> Option<Timestamp> {
    if microseconds == 0 { None } else { Timestamp::from_microsecond(microseconds).ok() }
}

/// A moment in a table: to the second.
pub(crate) fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"))
}

/// The end of something in a table.
pub(crate) fn expiry(at: Option<Timestamp>) -> String {
    match at {
        None => "never".to_owned(),
        Some(at) if at <= Timestamp::now() => format!("{at:.0} (expired)"),
        Some(at) => format!("{at:.0}"),
    }
}

/// How long ago, in one unit.
pub(crate) fn age(at: Option<Timestamp>) -> String {
    let Some(at) = at else { return "never".to_owned() };
    let seconds = Timestamp::now().duration_since(at).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s ago"),
        120..=7_199 => format!("{}m ago", seconds / 60),
        7_200..=172_799 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// A text in a table; a dash for none.
pub(crate) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// The name of an enum's value without its prefix: `STATE_APPLIED` is `applied`.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

/// A version of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PackRef {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

impl From<&v1::PackRef> for PackRef {
    fn from(pack: &v1::PackRef) -> Self {
        Self {
            name: pack.name.clone(),
            version: pack.version.clone(),
            digest: format!("sha256:{}", hex::encode(&pack.digest)),
            size: pack.size,
        }
    }
}

impl std::fmt::Display for PackRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// Versions in a table.
pub(crate) fn packs(packs: &[PackRef]) -> String {
    let names: Vec<String> = packs.iter().map(ToString::to_string).collect();
    or_dash(&names.join(","))
}

/// A stored version of a pack.
#[derive(Debug, Serialize)]
pub(crate) struct PackVersion {
    #[serde(flatten)]
    pub(crate) pack: PackRef,
    pub(crate) message: String,
    pub(crate) uploaded_by: String,
    pub(crate) uploaded: Option<Timestamp>,
    pub(crate) features: Vec<String>,
    pub(crate) warnings: Vec<Finding>,
}

impl From<&v1::PackVersion> for PackVersion {
    fn from(version: &v1::PackVersion) -> Self {
        Self {
            pack: version.pack.as_ref().unwrap_or(&v1::PackRef::default()).into(),
            message: version.message.clone(),
            uploaded_by: version.uploaded_by.clone(),
            uploaded: moment(version.uploaded_us),
            features: version.features.iter().map(|feature| feature.name.clone()).collect(),
            warnings: version.warnings.iter().map(Finding::from).collect(),
        }
    }
}

/// A finding about a pack.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) severity: &'static str,
    pub(crate) message: String,
    pub(crate) path: String,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
    pub(crate) help: Option<String>,
}

impl From<&v1::Finding> for Finding {
    fn from(finding: &v1::Finding) -> Self {
        let place = |number: u32| (number != 0).then_some(number);
        Self {
            code: finding.code.clone(),
            severity: if finding.is_error { "error" } else { "warning" },
            message: finding.message.clone(),
            path: finding.path.clone(),
            line: place(finding.line),
            column: place(finding.column),
            help: finding.help.clone(),
        }
    }
}

/// What a fleet is, or was, to enforce.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Assignment {
    pub(crate) fleet: String,
    pub(crate) generation: u64,
    pub(crate) kind: String,
    pub(crate) packs: Vec<PackRef>,
    pub(crate) reason: String,
    pub(crate) assigned_by: String,
    pub(crate) assigned: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    /// SHA-256 of the signed statement.
    pub(crate) digest: String,
    /// Ids of the keys that signed it.
    pub(crate) signed_by: Vec<String>,
    pub(crate) request_id: String,
}

impl From<&v1::Assignment> for Assignment {
    fn from(assignment: &v1::Assignment) -> Self {
        let signed = assignment.assignment.clone().unwrap_or_default();
        let statement: v1::AssignmentStatement = signed::read(&signed).unwrap_or_default();
        Self {
            fleet: statement.fleet().to_owned(),
            generation: statement.generation(),
            kind: word(assignment.kind().as_str_name(), "ASSIGNMENT_KIND_"),
            packs: statement.packs.iter().map(PackRef::from).collect(),
            reason: assignment.reason.clone(),
            assigned_by: assignment.assigned_by.clone(),
            assigned: moment(assignment.assigned_us),
            expires: moment(statement.expires_us()),
            digest: format!("sha256:{}", signed::digest(&signed)),
            signed_by: signers(&signed),
            request_id: assignment.request_id.clone(),
        }
    }
}

/// The ids of the keys that signed a statement.
pub(crate) fn signers(signed: &v1::SignedStatement) -> Vec<String> {
    signed.signatures.iter().map(|signature| hex::encode(&signature.key_id)).collect()
}

/// A fleet.
#[derive(Debug, Serialize)]
pub(crate) struct Fleet {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) head: Option<Assignment>,
    pub(crate) key_set_generation: u64,
    pub(crate) divergence: Option<Divergence>,
    pub(crate) key_set_divergence: Option<Divergence>,
    pub(crate) created_by: String,
    pub(crate) created: Option<Timestamp>,
}

impl From<&v1::Fleet> for Fleet {
    fn from(fleet: &v1::Fleet) -> Self {
        Self {
            name: fleet.name.clone(),
            description: fleet.description.clone(),
            head: fleet.head.as_ref().map(Assignment::from),
            key_set_generation: fleet.key_set_generation,
            divergence: fleet.divergence.as_ref().map(Divergence::from),
            key_set_divergence: fleet.key_set_divergence.as_ref().map(Divergence::from),
            created_by: fleet.created_by.clone(),
            created: moment(fleet.created_us),
        }
    }
}

/// A gateway has shown a newer generation than the store has.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Divergence {
    pub(crate) seen_generation: u64,
    pub(crate) gateway_id: String,
    pub(crate) seen: Option<Timestamp>,
    /// The store has this very generation, with another content.
    pub(crate) is_conflict: bool,
}

impl From<&v1::Divergence> for Divergence {
    fn from(divergence: &v1::Divergence) -> Self {
        Self {
            seen_generation: divergence.seen_generation,
            gateway_id: divergence.gateway_id.clone(),
            seen: moment(divergence.seen_us),
            is_conflict: divergence.is_conflict,
        }
    }
}

/// Wanted against applied.
#[derive(Debug, Serialize)]
pub(crate) struct FleetStatus {
    pub(crate) fleet: String,
    pub(crate) wanted: Option<Assignment>,
    pub(crate) key_set_generation: u64,
    pub(crate) counts: Counts,
    pub(crate) exceptions: Vec<Gateway>,
    /// How many more exceptions there are than are listed.
    pub(crate) more_exceptions: u32,
    pub(crate) divergence: Option<Divergence>,
    pub(crate) key_set_divergence: Option<Divergence>,
    pub(crate) silent_replicas: Vec<String>,
}

/// How many gateways do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) gateways: u32,
    pub(crate) applied: u32,
    pub(crate) pending: u32,
    pub(crate) rejected: u32,
    pub(crate) silent: u32,
    pub(crate) disconnected: u32,
}

impl Counts {
    /// Those that have a stream.
    pub(crate) fn connected(&self) -> u32 {
        self.applied + self.pending + self.rejected + self.silent
    }

    /// Those that are connected and do not enforce what is wanted, in words that follow others.
    pub(crate) fn exceptions(&self) -> String {
        [(self.pending, "pending"), (self.rejected, "refused"), (self.silent, "silent")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!(", {count} {what}"))
            .collect::<Vec<_>>()
            .concat()
    }
}

impl From<&v1::FleetStatus> for FleetStatus {
    fn from(status: &v1::FleetStatus) -> Self {
        let counts = status.counts.unwrap_or_default();
        Self {
            fleet: status.fleet.clone(),
            wanted: status.wanted.as_ref().map(Assignment::from),
            key_set_generation: status.key_set_generation,
            counts: Counts {
                gateways: counts.gateways,
                applied: counts.applied,
                pending: counts.pending,
                rejected: counts.rejected,
                silent: counts.silent,
                disconnected: counts.disconnected,
            },
            exceptions: status.exceptions.iter().map(Gateway::from).collect(),
            more_exceptions: status.more_exceptions,
            divergence: status.divergence.as_ref().map(Divergence::from),
            key_set_divergence: status.key_set_divergence.as_ref().map(Divergence::from),
            silent_replicas: status.silent_replicas.clone(),
        }
    }
}

/// A gateway.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Gateway {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) generation: Option<u64>,
    pub(crate) pack: String,
    pub(crate) key_set_generation: u64,
    pub(crate) last_contact: Option<Timestamp>,
    pub(crate) last_applied: Option<Timestamp>,
    pub(crate) build: String,
    pub(crate) replica: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) degraded: Vec<String>,
}

impl From<&v1::GatewayStatus> for Gateway {
    fn from(gateway: &v1::GatewayStatus) -> Self {
        Self {
            id: gateway.gateway_id.clone(),
            name: gateway.name.clone(),
            state: word(gateway.state().as_str_name(), "STATE_"),
            generation: gateway.generation,
            pack: gateway.pack.clone(),
            key_set_generation: gateway.key_set_generation,
            last_contact: moment(gateway.last_contact_us),
            last_applied: moment(gateway.last_applied_us),
            build: gateway.build.clone(),
            replica: gateway.replica.clone(),
            labels: gateway.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            refusal: gateway.refusal.as_ref().map(Refusal::from),
            degraded: gateway.degraded.clone(),
        }
    }
}

impl Gateway {
    /// How people call it: its name, or its id where it has none.
    pub(crate) fn called(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }
}

/// Why a gateway does not enforce what is wanted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Refusal {
    pub(crate) document: &'static str,
    pub(crate) generation: u64,
    pub(crate) digest: String,
    pub(crate) stage: String,
    pub(crate) reasons: Vec<Reason>,
}

/// One reason of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) message: String,
    /// The rule in the pack.
    pub(crate) path: String,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
    pub(crate) help: Option<String>,
}

impl From<&v1::gateway_status::Refusal> for Refusal {
    fn from(refusal: &v1::gateway_status::Refusal) -> Self {
        let place = |number: u32| (number != 0).then_some(number);
        Self {
            document: if refusal.is_key_set { "key-set" } else { "assignment" },
            generation: refusal.generation,
            digest: format!("sha256:{}", hex::encode(&refusal.digest)),
            stage: refusal.stage().word().to_owned(),
            reasons: refusal
                .reasons
                .iter()
                .map(|reason| Reason {
                    code: reason.code.clone(),
                    message: reason.message.clone(),
                    path: reason.path.clone(),
                    line: place(reason.line),
                    column: place(reason.column),
                    help: reason.help.clone(),
                })
                .collect(),
        }
    }
}

impl Refusal {
    /// A line for each reason: stage, rule, line, code, message.
    pub(crate) fn lines(&self) -> Vec<String> {
        let stage = match self.document {
            "key-set" => format!("key set {}", self.stage),
            _ => self.stage.clone(),
        };
        let line = |reason: &Reason| {
            let path = if reason.path.is_empty() { String::new() } else { format!(" {}", reason.path) };
            let line = reason.line.map(|line| format!(" line {line}")).unwrap_or_default();
            let help = reason.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{stage}{path}{line}: {} {}{help}", reason.code, reason.message)
        };
        if self.reasons.is_empty() { vec![stage] } else { self.reasons.iter().map(line).collect() }
    }
}

/// A token of a person or of a gateway, without its secret.
#[derive(Debug, Serialize)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) fleet: String,
    pub(crate) created_by: String,
    pub(crate) created: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) revoked: Option<Timestamp>,
    pub(crate) is_bootstrap: bool,
}

impl From<&v1::Token> for Token {
    fn from(token: &v1::Token) -> Self {
        Self {
            id: token.id.clone(),
            name: token.name.clone(),
            roles: token.roles().map(|role| word(role.as_str_name(), "ROLE_")).collect(),
            fleet: token.fleet.clone(),
            created_by: token.created_by.clone(),
            created: moment(token.created_us),
            expires: moment(token.expires_us),
            revoked: moment(token.revoked_us),
            is_bootstrap: token.is_bootstrap,
        }
    }
}

impl Token {
    /// Whether it opens anything, in a table.
    pub(crate) fn validity(&self) -> String {
        match self.revoked {
            Some(at) => format!("revoked {at:.0}"),
            None => expiry(self.expires),
        }
    }
}

/// A line of the admin history.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) at: Option<Timestamp>,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) reason: String,
}

impl From<&v1::Change> for Change {
    fn from(change: &v1::Change) -> Self {
        Self {
            id: change.id.clone(),
            at: moment(change.at_us),
            actor: change.actor.clone(),
            action: change.action.clone(),
            subject: change.subject.clone(),
            reason: change.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_line_a_reason_with_stage_rule_and_line() {
        let refusal = v1::gateway_status::Refusal {
            generation: 8,
            stage: v1::Stage::Compile.into(),
            reasons: vec![v1::Reason {
                code: "KT0401".to_owned(),
                message: "too large".to_owned(),
                path: "policy.dlp-filter.patterns[2].regex".to_owned(),
                line: 14,
                column: 9,
                help: Some("make it smaller".to_owned()),
            }],
            ..Default::default()
        };
        assert_eq!(
            Refusal::from(&refusal).lines(),
            ["compile policy.dlp-filter.patterns[2].regex line 14: KT0401 too large (make it smaller)"]
        );
    }

    #[test]
    fn a_message_that_a_newer_server_may_send_still_has_words() {
        let token = v1::Token { roles: vec![1, 99], ..Default::default() };
        assert_eq!(Token::from(&token).roles[0], "admin");
        let gateway = v1::GatewayStatus { state: 99, ..Default::default() };
        assert_eq!(Gateway::from(&gateway).state, "unspecified");
        let assignment = Assignment::from(&v1::Assignment::default());
        assert_eq!((assignment.generation, assignment.packs.len()), (0, 0));
    }
}
