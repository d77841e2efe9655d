//! Scripted behaviour: "the next two requests for this endpoint are 503, then all is well".

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::behaviours::{Chosen, UnknownBehaviour};

/// One rule. Rules are tried in order; the first that fits a request and has turns left is used up by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Endpoint name, `*` for all endpoints, `@token` for the token endpoint, `@listing` for the listing.
    pub endpoint: String,
    /// `NAME` or `NAME;ARG` from the table; `ok` lets a request pass unharmed.
    pub behaviour: String,
    /// For how many requests; absent: until the script is cleared.
    #[serde(default)]
    pub times: Option<u64>,
}

impl Rule {
    /// A rule for the next `times` requests.
    pub fn next(endpoint: &str, behaviour: &str, times: u64) -> Self {
        Self { endpoint: endpoint.to_owned(), behaviour: behaviour.to_owned(), times: Some(times) }
    }

    /// A rule that holds until the script is cleared.
    pub fn always(endpoint: &str, behaviour: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), behaviour: behaviour.to_owned(), times: None }
    }

    fn fits(&self, endpoint: &str) -> bool {
        self.endpoint == endpoint || self.endpoint == "*" && !endpoint.starts_with('@')
    }
}

/// The rules in force. A mutex, held for a look and never across an await.
#[derive(Debug, Default)]
pub(crate) struct Script(Mutex<VecDeque<(Rule, Chosen)>>);

impl Script {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Rule, Chosen)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends rules: all of them, or none where one names no behaviour.
    pub(crate) fn extend(&self, rules: Vec<Rule>) -> Result<(), UnknownBehaviour> {
        let checked = rules.into_iter().map(|rule| Ok((Chosen::parse(&rule.behaviour)?, rule)));
        let checked: Vec<(Chosen, Rule)> = checked.collect::<Result<_, _>>()?;
        self.lock().extend(checked.into_iter().map(|(chosen, rule)| (rule, chosen)));
        Ok(())
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.lock().iter().map(|(rule, _)| rule.clone()).collect()
    }

    /// What the script says for the next request of an endpoint.
    pub(crate) fn take(&self, endpoint: &str) -> Option<Chosen> {
        let mut rules = self.lock();
        let at = rules.iter().position(|(rule, _)| rule.fits(endpoint) && rule.times != Some(0))?;
        let (rule, chosen) = rules.get_mut(at)?;
        let chosen = *chosen;
        if let Some(times) = &mut rule.times {
            *times -= 1;
            if *times == 0 {
                rules.remove(at);
            }
        }
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_used_up_in_order() {
        let script = Script::default();
        let rules = vec![Rule::next("a", "ok", 1), Rule::next("a", "503", 2), Rule::next("*", "429", 1)];
        script.extend(rules).unwrap();
        let taken: Vec<Option<String>> =
            ["a", "@token", "a", "a", "b", "a"].map(|name| script.take(name).map(|c| c.to_string())).into();
        let expected = [Some("ok"), None, Some("503"), Some("503"), Some("429"), None];
        assert_eq!(taken, expected.map(|name| name.map(str::to_owned)));
        assert!(script.rules().is_empty());
    }

    #[test]
    fn one_unknown_behaviour_adds_nothing() {
        let script = Script::default();
        assert!(script.extend(vec![Rule::always("a", "503"), Rule::always("a", "typo")]).is_err());
        assert!(script.rules().is_empty());
    }
}
