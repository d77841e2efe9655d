//! Exceptions: rules that do not act, for some requests, until a day.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    caller::Caller,
    compiled::CompiledException,
    verdict::{Endpoint, PolicyKind},
};

/// The exceptions that hold for one request.
#[derive(Debug, Default)]
pub(super) struct Waivers<'p>(Vec<&'p CompiledException>);

impl<'p> Waivers<'p> {
    /// `models` are the requested name and what it resolves to.
    pub(super) fn new(
        exceptions: &'p [CompiledException],
        now: Timestamp,
        caller: &Caller,
        endpoint: Endpoint,
        models: &[&str],
    ) -> Self {
        let holds = |exception: &&CompiledException| {
            let scope = &exception.scope;
            let named = |list: &[String], values: &[&str]| {
                list.is_empty() || list.iter().any(|name| values.contains(&name.as_str()))
            };
            now < exception.expires
                && (scope.roles.is_empty()
                    || scope.roles.iter().any(|role| caller.roles.iter().any(|own| **own == **role)))
                && named(&scope.teams, caller.team.as_deref().as_slice())
                && named(&scope.models, models)
                && (scope.endpoints.is_empty() || scope.endpoints.contains(&endpoint))
        };
        Self(exceptions.iter().filter(holds).collect())
    }

    /// Whether a rule of a policy does not act.
    pub(super) fn covers(&self, policy: PolicyKind, rule: &str) -> bool {
        self.0.iter().any(|exception| {
            exception.policy == policy && exception.rule.as_deref().is_none_or(|only| only == rule)
        })
    }

    /// Where it was decided that a rule does not act.
    pub(super) fn ticket(&self, policy: PolicyKind, rule: &str) -> Option<Arc<str>> {
        let holds = |exception: &&&CompiledException| {
            exception.policy == policy && exception.rule.as_deref().is_none_or(|only| only == rule)
        };
        self.0.iter().find(holds)?.ticket.clone()
    }

    /// Those of one policy, to be asked again later: `None` stands for every rule.
    pub(super) fn of(&self, policy: PolicyKind) -> Vec<Option<Arc<str>>> {
        self.0
            .iter()
            .filter(|exception| exception.policy == policy)
            .map(|exception| exception.rule.clone())
            .collect()
    }
}
