//! What is asked of the store.

use kt_audit::{
    InstanceId, Pseudonym,
    record::{Kind, Verdict},
};

/// Which records. What is empty does not restrict; several values of one field are alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this fleet.
    pub fleet: Option<String>,
    /// Of these instances.
    pub instances: Vec<InstanceId>,
    /// Not before this time, microseconds since 1970 UTC.
    pub from_us: Option<i64>,
    /// Before this time.
    pub to_us: Option<i64>,
    /// Of these types; none: `closed`.
    pub kinds: Vec<Kind>,
    /// With one of these verdicts.
    pub verdicts: Vec<Verdict>,
    /// In which one of these policies did something.
    pub policies: Vec<String>,
    /// In which one of these rules did.
    pub rules: Vec<String>,
    /// Of callers with one of these roles.
    pub roles: Vec<String>,
    /// Of these teams.
    pub teams: Vec<String>,
    /// Charged there.
    pub cost_centres: Vec<String>,
    /// For these models, as asked for or as resolved.
    pub models: Vec<String>,
    /// Of these persons.
    pub subjects: Vec<Pseudonym>,
    /// Only those in which a policy would have done something, if it enforced.
    pub would: bool,
}

/// Where a page begins: behind the record of this place in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageToken(pub u64);

/// What requests are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// The policy that did something.
    Policy,
    /// Policy and rule.
    Rule,
    /// The caller's roles.
    Role,
    /// The caller's team.
    Team,
    /// Where it is charged.
    CostCentre,
    /// The requested model.
    Model,
    /// The target that answered.
    Target,
    /// The verdict.
    Verdict,
    /// The fleet.
    Fleet,
    /// The hour, UTC.
    Hour,
    /// The day, UTC.
    Day,
}

impl Dimension {
    /// All of them, by name.
    pub const ALL: [(&'static str, Self); 11] = [
        ("policy", Self::Policy),
        ("rule", Self::Rule),
        ("role", Self::Role),
        ("team", Self::Team),
        ("cost_center", Self::CostCentre),
        ("model", Self::Model),
        ("target", Self::Target),
        ("verdict", Self::Verdict),
        ("fleet", Self::Fleet),
        ("hour", Self::Hour),
        ("day", Self::Day),
    ];

    /// The dimension of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, dimension)| *dimension)
    }
}

/// What is to be counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsQuery {
    /// Which requests.
    pub filter: EventFilter,
    /// By what; none: the total.
    pub by: Vec<Dimension>,
    /// Rows at most, the largest first.
    pub limit: u32,
}

/// One row of counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatRow {
    /// The values of the dimensions; `-` where there is none.
    pub key: Vec<String>,
    /// Requests.
    pub requests: u64,
    /// Stopped: blocked or refused.
    pub blocked: u64,
    /// Masked.
    pub redacted: u64,
    /// Would have been stopped.
    pub would_block: u64,
    /// Would have been masked.
    pub would_redact: u64,
    /// Failed.
    pub failed: u64,
    /// Tokens of prompts.
    pub input_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// Millionths of a US dollar, where a price is known.
    pub micro_usd: u64,
    /// Answered requests without a known price.
    pub unpriced: u64,
}
