//! What people filter and count by, taken from the payload of a record. All of it can be derived again.

use uuid::Uuid;

use crate::{
    identity::Pseudonym,
    record::{
        Body, Closed, Disposition, Effect, End, Kind, Outcome, Record, RequestFacts, Retention, Verdict,
        Would,
    },
    value::Label,
};

/// What a policy did to a request, once for each rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deed {
    /// The policy.
    pub policy: String,
    /// Its rule; empty where it is not known.
    pub rule: String,
    /// What came of it.
    pub what: What,
}

/// What came of a finding or a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The request or the answer was stopped.
    Block,
    /// Something was masked.
    Redact,
    /// It would have been stopped, if the policy enforced.
    WouldBlock,
    /// Something would have been masked.
    WouldRedact,
    /// An exception let it pass.
    Waive,
}

impl What {
    /// As it is stored.
    pub const fn code(self) -> i64 {
        match self {
            Self::Block => 0,
            Self::Redact => 1,
            Self::WouldBlock => 2,
            Self::WouldRedact => 3,
            Self::Waive => 4,
        }
    }
}

/// The columns of one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its type; none where this build does not know it.
    pub kind: Option<Kind>,
    /// The request's id.
    pub request: Option<Uuid>,
    /// The final verdict of `closed`, of the input policies of `opened`.
    pub verdict: Option<Verdict>,
    /// How a request ended.
    pub end: Option<End>,
    /// The status that the client saw.
    pub status: Option<u16>,
    /// The requested model.
    pub model: Option<String>,
    /// The target that answered.
    pub target: Option<String>,
    /// Its model.
    pub target_model: Option<String>,
    /// The roles that counted, sorted, with commas between.
    pub roles: Option<String>,
    /// The caller's team.
    pub team: Option<String>,
    /// Where it is charged.
    pub cost_centre: Option<String>,
    /// Who asked.
    pub subject: Option<Pseudonym>,
    /// Tokens of the prompt.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer.
    pub output_tokens: Option<u64>,
    /// Millionths of a US dollar.
    pub micro_usd: Option<u64>,
    /// Whether the request reached a target, so that a price is to be expected.
    pub is_priced: bool,
    /// What policies did, each once, sorted; of `closed` alone.
    pub deeds: Vec<Deed>,
    /// How long the record asks to be kept; none where it leaves that to those around it.
    pub retention: Option<Retention>,
}

impl Facts {
    /// The columns of a payload. What can't be read has none: it is kept all the same.
    pub fn of(payload: &[u8]) -> Self {
        Record::parse(payload).map_or_else(|_| Self::default(), |record| Self::of_record(&record))
    }

    /// The columns of a record.
    pub fn of_record(record: &Record) -> Self {
        let mut facts =
            Self { kind: Some(record.body.kind()), retention: record.body.retention(), ..Self::default() };
        match &record.body {
            Body::Opened(opened) => {
                facts.request = Some(opened.id);
                facts.verdict = Some(opened.verdict);
                facts.asked(&opened.request);
            }
            Body::Closed(closed) => facts.closed(closed),
            _ => {}
        }
        facts
    }

    fn asked(&mut self, request: &RequestFacts) {
        let caller = &request.caller;
        self.model = request.requested_model.as_ref().map(ToString::to_string);
        let mut roles: Vec<&str> = caller.roles.iter().map(Label::as_str).collect();
        roles.sort_unstable();
        self.roles = (!roles.is_empty()).then(|| roles.join(","));
        self.team = caller.team.as_ref().map(ToString::to_string);
        self.cost_centre = caller.cost_centre.as_ref().map(ToString::to_string);
        self.subject = caller.subject;
    }

    fn closed(&mut self, closed: &Closed) {
        self.request = Some(closed.id);
        self.verdict = Some(closed.verdict);
        self.end = Some(closed.end);
        self.status = closed.status;
        self.asked(&closed.request);
        if let Some(target) = &closed.target {
            self.target = Some(target.id.to_string());
            self.target_model = Some(target.model.to_string());
        }
        if let Some(tokens) = &closed.tokens {
            self.input_tokens = tokens.prompt;
            self.output_tokens = tokens.completion;
        }
        self.is_priced = closed.tokens.is_some();
        self.micro_usd = closed.cost.as_ref().and_then(|cost| cost.micro_usd);
        self.deeds = deeds(closed);
    }
}

fn deeds(closed: &Closed) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let mut add = |policy: &str, rule: &str, what| {
        deeds.push(Deed { policy: policy.to_owned(), rule: rule.to_owned(), what });
    };
    if let Some(refusal) = &closed.refusal
        && let Some(policy) = &refusal.policy
    {
        add(policy.as_str(), refusal.rule.as_ref().map_or("", Label::as_str), What::Block);
    }
    for finding in &closed.findings {
        let what = match (finding.effect, finding.disposition) {
            (Effect::Note, _) | (_, Disposition::Superseded) => continue,
            (_, Disposition::Waived) => What::Waive,
            (Effect::Block, Disposition::Observed) => What::WouldBlock,
            (Effect::Redact, Disposition::Observed) => What::WouldRedact,
            (Effect::Block, Disposition::Enforced) => What::Block,
            (Effect::Redact, Disposition::Enforced) => What::Redact,
        };
        add(finding.policy.as_str(), finding.rule.as_str(), what);
    }
    for outcome in &closed.outcomes {
        // Findings tell the rule; a denial by `rbac` that only observes has none.
        let is_told = closed.findings.iter().any(|finding| finding.policy == outcome.policy);
        let what = match &outcome.outcome {
            Outcome::Observed { would: Some(Would::Block) } => What::WouldBlock,
            Outcome::Observed { would: Some(Would::Redact) } => What::WouldRedact,
            _ => continue,
        };
        if !is_told {
            add(outcome.policy.as_str(), "", what);
        }
    }
    deeds.sort_unstable();
    deeds.dedup();
    deeds
}
