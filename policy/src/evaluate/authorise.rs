//! One attempt: may this request go to this target, and with which body.
//!
//! [`Authorised`] is the proof that the dispatcher must hold to send anything. It is made here alone, for one target at a
//! time, and `rbac` and `data-routing-policy` are judged again on the concrete endpoint name, never on an alias.

use std::{borrow::Cow, sync::Arc};

use super::{
    Judgement, ModelLimits, NonCompliance,
    prepared::{Prepared, UsageAnchor},
    rbac, routing,
};
use crate::{
    compiled::{CompiledPack, CompiledPolicy},
    edit::{self, EditNote, Splice},
    json::escape_into,
    verdict::{Endpoint, Mode, PolicyKind},
};

/// The bound's name where the model table does not know the model.
const DEFAULT_TOKEN_PARAMETER: &str = "max_tokens";
/// Its name on responses, whatever the model.
const RESPONSES_TOKEN_PARAMETER: &str = "max_output_tokens";

/// Why a request may not go to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The request was refused; it goes nowhere.
    #[error("the request was refused")]
    Refused,
    /// The target was never a candidate for it.
    #[error("the target is no candidate for the request")]
    NotACandidate,
    /// The target does not declare what `data-routing-policy` asks for.
    #[error("the target does not comply with `data-routing-policy`: {}", .0.as_str())]
    NotCompliant(NonCompliance),
    /// `rbac` forbids it: the code of the refusal that it would be.
    #[error("`rbac` forbids the target: {0}")]
    Rbac(&'static str),
}

/// The proof that one request may go to one target.
#[derive(Debug, Clone)]
pub struct Authorised {
    target: usize,
    model: Arc<str>,
    prepared: Arc<Prepared>,
    tokens: Vec<(Splice, EditNote)>,
    token_bound: Option<u64>,
}

/// What an attempt adds to a body, if the target is to get it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RenderOptions<'a> {
    /// The value of `client_request_id`; the client's own stays.
    pub client_request_id: Option<&'a str>,
    /// Asks for usage in the stream, when the client says nothing about it.
    pub include_usage: bool,
    /// Leaves out the bound that the gateway would set, for a target that refuses the parameter. Lowering a value that
    /// the client named is not left out.
    pub omit_token_bound: bool,
}

/// A body for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered<'b> {
    /// The bytes; the client's own when nothing was edited.
    pub body: Cow<'b, str>,
    /// What was edited.
    pub edits: Vec<EditNote>,
}

/// The body is not the one that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not the one that was judged")]
pub struct NotTheJudgedBody;

impl CompiledPack {
    /// Proves that the judged request may go to a target (an index into [`CompiledPack::targets`]).
    ///
    /// # Errors
    /// [`Denied`]: the target is to be skipped, and the record says why.
    pub fn authorise(
        &self,
        judgement: &Judgement,
        target: usize,
        models: &dyn ModelLimits,
    ) -> Result<Authorised, Denied> {
        if judgement.refusal.is_some() {
            return Err(Denied::Refused);
        }
        let known = judgement.candidates.iter().any(|candidate| candidate.target == target);
        let (true, Some(to)) = (known, self.targets.get(target)) else {
            return Err(Denied::NotACandidate);
        };
        let prepared = &judgement.prepared;
        let mut bound = rbac::Bound::default();
        for entry in &self.chain {
            let enforced = entry.mode == Mode::Enforce;
            match &entry.policy {
                CompiledPolicy::DataRouting(policy) if enforced && !prepared.all_comply => {
                    if let Err(what) = routing::comply(policy, to)
                        && !prepared.waives(PolicyKind::DataRoutingPolicy, what.as_str())
                    {
                        return Err(Denied::NotCompliant(what));
                    }
                }
                CompiledPolicy::Rbac(policy) if enforced => {
                    let lenient = |denial: &rbac::Denial| prepared.waives(PolicyKind::Rbac, denial.code());
                    let passed = rbac::check(policy, &prepared.subject, &prepared.demand, &to.model, lenient)
                        .map_err(|denial| Denied::Rbac(denial.code()))?;
                    bound = tighter(bound, passed.bound);
                }
                _ => {}
            }
        }
        let mut authorised = Authorised {
            target,
            model: Arc::clone(&to.model),
            prepared: Arc::clone(prepared),
            tokens: Vec::new(),
            token_bound: None,
        };
        if let Some(each) = bound.each.filter(|_| prepared.endpoint != Endpoint::Embeddings) {
            authorised.bound_tokens(each, models);
        }
        Ok(authorised)
    }
}

fn tighter(a: rbac::Bound, b: rbac::Bound) -> rbac::Bound {
    match (a.each, b.each) {
        (Some(one), Some(other)) if other < one => b,
        (None, Some(_)) => b,
        _ => a,
    }
}

impl Authorised {
    /// Index of the target in the pack.
    pub const fn target(&self) -> usize {
        self.target
    }

    /// The concrete endpoint name.
    pub const fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// The most output tokens of one answer that the caller's roles allow here: what a stream is ended at when the
    /// target refuses the parameter. Absent: no bound.
    pub const fn token_bound(&self) -> Option<u64> {
        self.token_bound
    }

    /// The same for all the answers that the request asks for together.
    pub fn total_token_bound(&self) -> Option<u64> {
        Some(self.token_bound?.saturating_mul(self.prepared.demand.answers.max(1)))
    }

    /// The parameter that the gateway itself adds to bound the answer; absent where the client named a value, or where
    /// nothing is bounded.
    pub fn added_parameter(&self) -> Option<&str> {
        self.tokens.iter().find_map(|(_, note)| match note {
            EditNote::TokenBound { parameter, clamped: false, .. } => Some(&**parameter),
            _ => None,
        })
    }

    /// A rough upper estimate of the input, in tokens.
    pub fn estimated_input(&self) -> u64 {
        self.prepared.estimated_input
    }

    /// Whether the client asked for usage in the stream.
    pub fn wants_usage(&self) -> bool {
        self.prepared.wants_usage
    }

    /// Lowers what the client named, or sets a bound where it named none.
    fn bound_tokens(&mut self, each: u64, models: &dyn ModelLimits) {
        let prepared = Arc::clone(&self.prepared);
        let named = || prepared.limits.iter().filter_map(|limit| limit.value);
        if named().next().is_some() {
            self.token_bound = Some(named().max().map_or(each, |value| value.min(each)));
            for limit in prepared.limits.iter().filter(|limit| limit.top_level) {
                if limit.value.is_some_and(|value| value > each) {
                    let splice = Splice { range: limit.range.clone(), text: each.to_string() };
                    let parameter = Cow::Borrowed(limit.name);
                    self.tokens
                        .push((splice, EditNote::TokenBound { parameter, value: each, clamped: true }));
                }
            }
            return;
        }
        let room =
            models.window(&self.model).map(|window| window.saturating_sub(prepared.estimated_input).max(1));
        let value = [models.output_limit(&self.model), room].into_iter().flatten().fold(each, u64::min);
        self.token_bound = Some(value);
        let parameter: Cow<'static, str> = match prepared.endpoint {
            Endpoint::Responses => Cow::Borrowed(RESPONSES_TOKEN_PARAMETER),
            _ => match models.token_parameter(&self.model) {
                Some(name) => Cow::Owned(name.to_owned()),
                None => Cow::Borrowed(DEFAULT_TOKEN_PARAMETER),
            },
        };
        let null = prepared.limits.iter().find(|limit| limit.top_level && limit.name == parameter);
        let splice = match null {
            Some(limit) => Splice { range: limit.range.clone(), text: value.to_string() },
            None => self.member(&parameter, &value.to_string()),
        };
        self.tokens.push((splice, EditNote::TokenBound { parameter, value, clamped: false }));
    }

    /// A new first member of the body, which always has others behind it (`model`).
    fn member(&self, key: &str, value: &str) -> Splice {
        let mut text = String::from("\"");
        escape_into(key, &mut text);
        text.push_str("\":");
        text.push_str(value);
        text.push(',');
        Splice { range: self.prepared.insert_at..self.prepared.insert_at, text }
    }

    /// The body for the target: all edits applied, all other bytes as they came.
    ///
    /// # Errors
    /// [`NotTheJudgedBody`] when `body` is another one than was judged.
    pub fn render<'b>(
        &self,
        body: &'b [u8],
        options: &RenderOptions<'_>,
    ) -> Result<Rendered<'b>, NotTheJudgedBody> {
        let body = std::str::from_utf8(body).map_err(|_| NotTheJudgedBody)?;
        if body.len() != self.prepared.body_length {
            return Err(NotTheJudgedBody);
        }
        let mut edits = self.prepared.redactions.clone();
        let tokens = self.tokens.iter().filter(|(_, note)| {
            !(options.omit_token_bound && matches!(note, EditNote::TokenBound { clamped: false, .. }))
        });
        edits.extend(tokens.cloned());
        if *self.prepared.model.0 != *self.model {
            let mut text = String::from("\"");
            escape_into(&self.model, &mut text);
            text.push('"');
            let splice = Splice { range: self.prepared.model.1.clone(), text };
            edits.push((splice, EditNote::Model { to: Arc::clone(&self.model) }));
        }
        if let Some(id) = options.client_request_id.filter(|_| !self.prepared.names_client_request_id) {
            let mut value = String::from("\"");
            escape_into(id, &mut value);
            value.push('"');
            edits.push((self.member("client_request_id", &value), EditNote::ClientRequestId));
        }
        if let Some(splice) = self.usage().filter(|_| options.include_usage) {
            edits.push((splice, EditNote::IncludeUsage));
        }
        let (splices, edits): (Vec<_>, Vec<_>) = edits.into_iter().unzip();
        Ok(Rendered { body: edit::apply(body, &splices), edits })
    }

    fn usage(&self) -> Option<Splice> {
        const OPTIONS: &str = "{\"include_usage\":true}";
        let splice = |range, text: &str| Some(Splice { range, text: text.to_owned() });
        match &self.prepared.usage {
            UsageAnchor::Settled => None,
            UsageAnchor::Absent => Some(self.member("stream_options", OPTIONS)),
            UsageAnchor::Null(range) => splice(range.clone(), OPTIONS),
            UsageAnchor::Object { at, empty: true } => splice(*at..*at, "\"include_usage\":true"),
            UsageAnchor::Object { at, empty: false } => splice(*at..*at, "\"include_usage\":true,"),
            UsageAnchor::Value(range) => splice(range.clone(), "true"),
        }
    }
}
