//! Which records somebody wants to see.

use uuid::Uuid;

use super::Entry;
use crate::identity::Pseudonym;
use crate::record::{Body, End, Finding, Kind, PolicyOutcome, Record, RequestFacts, Target, Verdict};

/// Conditions on a record; all that are set must hold. An empty filter lets everything pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of these types.
    pub kinds: Vec<Kind>,
    /// Appended at this time or later, microseconds since 1970 UTC.
    pub since_us: Option<i64>,
    /// Appended before this time.
    pub until_us: Option<i64>,
    /// With this verdict.
    pub verdict: Option<Verdict>,
    /// Ended like this.
    pub end: Option<End>,
    /// Of this request.
    pub id: Option<Uuid>,
    /// Of this person.
    pub subject: Option<Pseudonym>,
    /// This policy refused, found something or would have.
    pub policy: Option<String>,
    /// This rule did.
    pub rule: Option<String>,
    /// Under this role.
    pub role: Option<String>,
    /// Of this team.
    pub team: Option<String>,
    /// The requested model, the target's id or its concrete model.
    pub model: Option<String>,
}

/// What the filter looks at in `opened` and `closed` alike.
struct View<'a> {
    id: Uuid,
    request: &'a RequestFacts,
    verdict: Verdict,
    end: Option<End>,
    target: Option<&'a Target>,
    refused_by: Option<(&'a str, &'a str)>,
    findings: &'a [Finding],
    outcomes: &'a [PolicyOutcome],
}

impl Filter {
    /// Whether `entry` passes, judged by its time before its payload is read.
    pub fn matches(&self, entry: &Entry) -> bool {
        if self.since_us.is_some_and(|since| entry.time_us < since)
            || self.until_us.is_some_and(|until| entry.time_us >= until)
        {
            return false;
        }
        if self.is_by_time_only() {
            return true;
        }
        entry.record().is_ok_and(|record| self.matches_record(&record))
    }

    fn is_by_time_only(&self) -> bool {
        *self == Self { since_us: self.since_us, until_us: self.until_us, ..Self::default() }
    }

    /// Whether `record` passes, its time apart.
    pub fn matches_record(&self, record: &Record) -> bool {
        if !(self.kinds.is_empty() || self.kinds.contains(&record.body.kind())) {
            return false;
        }
        let rest = Self { kinds: Vec::new(), ..self.clone() };
        if rest.is_by_time_only() {
            return true;
        }
        View::of(&record.body).is_some_and(|view| self.matches_view(&view))
    }

    fn matches_view(&self, view: &View<'_>) -> bool {
        let named = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(test);
        let request = view.request;
        self.id.is_none_or(|id| view.id == id)
            && self.verdict.is_none_or(|verdict| view.verdict == verdict)
            && self.end.is_none_or(|end| view.end == Some(end))
            && self.subject.is_none_or(|subject| request.caller.subject == Some(subject))
            && named(&self.role, &|role| request.caller.roles.iter().any(|each| *each == *role))
            && named(&self.team, &|team| request.caller.team.as_ref().is_some_and(|each| *each == *team))
            && named(&self.model, &|model| {
                request.requested_model.as_ref().is_some_and(|each| *each == *model)
                    || view.target.is_some_and(|target| target.id == *model || target.model == *model)
            })
            && named(&self.policy, &|policy| {
                view.refused_by.is_some_and(|(each, _)| each == policy)
                    || view.findings.iter().any(|finding| finding.policy == *policy)
                    || view.outcomes.iter().any(|outcome| {
                        outcome.policy == *policy && outcome.verdict.is_some_and(|v| v != Verdict::Allow)
                    })
            })
            && named(&self.rule, &|rule| {
                view.refused_by.is_some_and(|(_, each)| each == rule)
                    || view.findings.iter().any(|finding| finding.rule == *rule)
            })
    }
}

impl<'a> View<'a> {
    fn of(body: &'a Body) -> Option<Self> {
        Some(match body {
            Body::Opened(opened) => Self {
                id: opened.id,
                request: &opened.request,
                verdict: opened.verdict,
                end: None,
                target: opened.target.as_ref(),
                refused_by: None,
                findings: &opened.findings,
                outcomes: &opened.outcomes,
            },
            Body::Closed(closed) => Self {
                id: closed.id,
                request: &closed.request,
                verdict: closed.verdict,
                end: Some(closed.end),
                target: closed.target.as_ref(),
                refused_by: closed.refusal.as_ref().map(|refusal| {
                    (
                        refusal.policy.as_deref().unwrap_or_default(),
                        refusal.rule.as_deref().unwrap_or_default(),
                    )
                }),
                findings: &closed.findings,
                outcomes: &closed.outcomes,
            },
            _ => return None,
        })
    }
}
