//! What the attempts of one request need: the edits that hold for every target, and the places in the body that an
//! attempt may still edit. Owned, so that the parsed request need not live as long as the attempts.

use std::{fmt, ops::Range, sync::Arc};

use super::{
    exceptions::Waivers,
    rbac::{Demand, Subject},
};
use crate::{
    edit::{EditNote, Splice},
    json::Kind,
    request::Request,
    verdict::{Endpoint, PolicyKind},
};

#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) endpoint: Endpoint,
    pub(super) body_length: usize,
    pub(super) redactions: Vec<(Splice, EditNote)>,
    /// The requested name and where it stands.
    pub(super) model: (Box<str>, Range<usize>),
    /// Right behind the brace that opens the body.
    pub(super) insert_at: usize,
    pub(super) limits: Vec<NamedLimit>,
    pub(super) usage: UsageAnchor,
    pub(super) wants_usage: bool,
    pub(super) names_client_request_id: bool,
    pub(super) estimated_input: u64,
    pub(super) subject: Subject,
    pub(super) demand: Demand,
    /// The exceptions of `rbac` and `data-routing-policy` that hold; `None` stands for every rule.
    pub(super) waived: Vec<(PolicyKind, Option<Arc<str>>)>,
    /// No target complies, and `on_no_compliant_provider: warn` goes on with all.
    pub(super) all_comply: bool,
}

/// Names of models and tools are texts of the request.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("endpoint", &self.endpoint)
            .field("body_length", &self.body_length)
            .field("redactions", &self.redactions.len())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub(super) struct NamedLimit {
    pub(super) name: &'static str,
    pub(super) range: Range<usize>,
    pub(super) value: Option<u64>,
    pub(super) top_level: bool,
}

/// How usage can be asked for in a stream.
#[derive(Debug, Clone)]
pub(super) enum UsageAnchor {
    /// It cannot, or the client said what it wants.
    Settled,
    /// There are no `stream_options`.
    Absent,
    /// They are `null`.
    Null(Range<usize>),
    /// They have no `include_usage`: it goes right behind their brace.
    Object { at: usize, empty: bool },
    /// Their `include_usage` is `null`.
    Value(Range<usize>),
}

impl Prepared {
    pub(super) fn new(request: &Request<'_>, subject: Subject, waivers: &Waivers<'_>) -> Self {
        let document = request.document();
        let limits: Vec<NamedLimit> = request
            .token_limits()
            .iter()
            .filter(|limit| !limit.is_other)
            .map(|limit| NamedLimit {
                name: limit.name,
                range: document.span(limit.node),
                value: limit.value,
                top_level: limit.top_level,
            })
            .collect();
        let demand = Demand {
            tools: request.tools().iter().map(|tool| Box::from(&*tool.name)).collect(),
            token_values: request
                .token_limits()
                .iter()
                .filter_map(|limit| limit.value.map(|value| (value, limit.top_level)))
                .collect(),
            answers: request.answers(),
        };
        let waived = [PolicyKind::Rbac, PolicyKind::DataRoutingPolicy]
            .into_iter()
            .flat_map(|policy| waivers.of(policy).into_iter().map(move |rule| (policy, rule)))
            .collect();
        Self {
            endpoint: request.endpoint(),
            body_length: request.body().len(),
            redactions: Vec::new(),
            model: (Box::from(request.model()), document.span(request.model_node())),
            insert_at: document.span(document.root()).start + 1,
            limits,
            usage: usage_anchor(request),
            wants_usage: request.wants_usage(),
            names_client_request_id: request.names_client_request_id(),
            estimated_input: 0,
            subject,
            demand,
            waived,
            all_comply: false,
        }
    }

    /// Whether an exception lets a rule of `rbac` or `data-routing-policy` pass.
    pub(super) fn waives(&self, policy: PolicyKind, rule: &str) -> bool {
        self.waived
            .iter()
            .any(|(waived, only)| *waived == policy && only.as_deref().is_none_or(|only| only == rule))
    }
}

fn usage_anchor(request: &Request<'_>) -> UsageAnchor {
    let document = request.document();
    let streams = matches!(request.endpoint(), Endpoint::ChatCompletions | Endpoint::Completions);
    if !streams || !request.stream() {
        return UsageAnchor::Settled;
    }
    let Some(options) = request.stream_options() else { return UsageAnchor::Absent };
    if document.kind(options) == Kind::Null {
        return UsageAnchor::Null(document.span(options));
    }
    match document.get(options, "include_usage") {
        Some(value) if document.kind(value) == Kind::Null => UsageAnchor::Value(document.span(value)),
        Some(_) => UsageAnchor::Settled,
        None => UsageAnchor::Object {
            at: document.span(options).start + 1,
            empty: document.members(options).next().is_none(),
        },
    }
}
