//! What is known of the control plane: for health, metrics and the configuration that is shown.
//!
//! Written by the tasks of [`crate::control`]; requests only ask whether the policy is too old.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kt_audit::sign::PublicKey;
use kt_proto::{signed::Trust, v1};
use tokio::time::Instant;

use super::Held;
use crate::settings::ControlSettings;

/// A connection that says nothing for so long is worth a word in `/readyz`.
const WORTH_A_WORD: Duration = Duration::from_secs(30);

/// Where a document was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// From a control plane, by this process.
    Live,
    /// From disk, at the start.
    Disk,
}

impl Source {
    /// The name as shown.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Disk => "disk",
        }
    }
}

/// A document in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) held: Held,
    pub(crate) source: Source,
    pub(crate) since: Timestamp,
    /// The keys that have signed it.
    pub(crate) signers: Vec<String>,
}

impl InForce {
    /// As the protocol says it.
    pub(crate) fn message(&self) -> v1::Held {
        let source = match self.source {
            Source::Live => v1::held::Source::Live,
            Source::Disk => v1::held::Source::Disk,
        };
        v1::Held {
            generation: self.held.generation,
            digest: self.held.digest.0.to_vec(),
            source: source.into(),
        }
    }
}

/// What is known of the control plane.
#[derive(Debug)]
pub(crate) struct ControlStatus {
    pub(crate) url: String,
    pub(crate) fleet: String,
    pub(crate) trust: Trust,
    max_age: Option<Duration>,
    started: Instant,
    /// Milliseconds after `started` of the last message, negative before it; `i64::MIN`: none that is known.
    contact: AtomicI64,
    is_connected: AtomicBool,
    pub(crate) assignment: ArcSwapOption<InForce>,
    pub(crate) key_set: ArcSwapOption<InForce>,
    /// The generation of which the control plane has another document: assignment and key set.
    assignment_conflict: ArcSwapOption<u64>,
    key_set_conflict: ArcSwapOption<u64>,
    /// Why there is no connection.
    pub(crate) link_fault: ArcSwapOption<String>,
    /// What could not be kept on disk, or was bad there: assignment and key set.
    assignment_disk_fault: ArcSwapOption<String>,
    key_set_disk_fault: ArcSwapOption<String>,
}

impl ControlStatus {
    pub(crate) fn new(settings: &ControlSettings) -> Self {
        Self {
            url: settings.url.clone(),
            fleet: settings.fleet.clone(),
            trust: settings.trust.clone(),
            max_age: settings.max_policy_age,
            started: Instant::now(),
            contact: AtomicI64::new(i64::MIN),
            is_connected: AtomicBool::new(false),
            assignment: ArcSwapOption::empty(),
            key_set: ArcSwapOption::empty(),
            assignment_conflict: ArcSwapOption::empty(),
            key_set_conflict: ArcSwapOption::empty(),
            link_fault: ArcSwapOption::empty(),
            assignment_disk_fault: ArcSwapOption::empty(),
            key_set_disk_fault: ArcSwapOption::empty(),
        }
    }

    /// The document of this kind that is in force.
    pub(crate) const fn in_force(&self, document: v1::Document) -> &ArcSwapOption<InForce> {
        match document {
            v1::Document::KeySet => &self.key_set,
            v1::Document::Assignment | v1::Document::Unspecified => &self.assignment,
        }
    }

    /// A message came just now.
    pub(crate) fn heard(&self) {
        self.contact.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    /// A process before this one was told something so long ago.
    pub(crate) fn heard_before_start(&self, ago: Duration) {
        self.contact.fetch_max(-millis(ago), Ordering::Relaxed);
    }

    /// How long nothing was heard; `None`: nothing ever was.
    pub(crate) fn contact_age(&self) -> Option<Duration> {
        match self.contact.load(Ordering::Relaxed) {
            i64::MIN => None,
            at => {
                let age = millis(self.started.elapsed()).saturating_sub(at);
                Some(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
            }
        }
    }

    /// Whether nothing was heard for longer than the operator allows.
    pub(crate) fn is_too_old(&self) -> bool {
        self.max_age.is_some_and(|max| self.contact_age().is_some_and(|age| age > max))
    }

    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    const fn disk_fault(&self, document: v1::Document) -> &ArcSwapOption<String> {
        match document {
            v1::Document::KeySet => &self.key_set_disk_fault,
            v1::Document::Assignment | v1::Document::Unspecified => &self.assignment_disk_fault,
        }
    }

    pub(crate) fn set_disk_fault(&self, document: v1::Document, fault: Option<String>) {
        self.disk_fault(document).store(fault.map(Arc::new));
    }

    /// A document in force could not be written. Said once, not at each attempt.
    pub(crate) fn cannot_keep(&self, document: v1::Document, error: &std::io::Error) {
        let name = super::name(document);
        let fault = format!("the {name} can't be kept: {error}");
        if self.disk_fault(document).load().as_deref() != Some(&fault) {
            tracing::error!(fault, "Last known good can't be written; a restart would serve an older one.");
            self.set_disk_fault(document, Some(fault));
        }
    }

    /// What could not be kept on disk, or was bad there.
    pub(crate) fn disk_faults(&self) -> impl Iterator<Item = Arc<String>> {
        [&self.assignment_disk_fault, &self.key_set_disk_fault]
            .into_iter()
            .filter_map(ArcSwapOption::load_full)
    }

    const fn conflict(&self, document: v1::Document) -> &ArcSwapOption<u64> {
        match document {
            v1::Document::KeySet => &self.key_set_conflict,
            v1::Document::Assignment | v1::Document::Unspecified => &self.assignment_conflict,
        }
    }

    /// The control plane has another document of this generation than the one in force, or none any more. True when
    /// that is news, and bad.
    pub(crate) fn set_conflict(&self, document: v1::Document, generation: Option<u64>) -> bool {
        let before = self.conflict(document).swap(generation.map(Arc::new));
        generation.is_some() && before.as_deref() != generation.as_ref()
    }

    /// Why the gateway serves with less than it should, as far as the control plane is concerned.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let silent_for = self.contact_age().filter(|age| *age > WORTH_A_WORD);
        if !self.is_connected() && (silent_for.is_some() || self.contact_age().is_none()) {
            let since = match silent_for {
                Some(age) => format!("last contact {} s ago", age.as_secs()),
                None => "no contact yet".to_owned(),
            };
            match &*self.link_fault.load() {
                Some(fault) => reasons.push(format!("control plane: {since}: {fault}")),
                None => reasons.push(format!("control plane: {since}")),
            }
        }
        for document in [v1::Document::Assignment, v1::Document::KeySet] {
            if let Some(generation) = &*self.conflict(document).load() {
                let name = super::name(document);
                reasons.push(format!(
                    "control plane: has another {name} of generation {generation} than the one in force here: \
                     `kt fleet recover`"
                ));
            }
        }
        if self.is_too_old() {
            reasons.push("policy: older than allowed, requests are refused".to_owned());
        }
        reasons.extend(self.disk_faults().map(|fault| format!("state: {fault}")));
        reasons
    }
}

/// The keys that a statement carries signatures of and that are trusted.
pub(crate) fn signers(trust: &Trust, signed: &v1::SignedStatement) -> Vec<String> {
    let is_there = |id: &[u8]| signed.signatures.iter().any(|signature| signature.key_id == id);
    trust.keys.iter().map(PublicKey::id).filter(|id| is_there(&id.0)).map(|id| id.to_string()).collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_policy_is_too_old_after_a_silence_that_lasts_over_restarts() {
        let settings = ControlSettings {
            max_policy_age: Some(Duration::from_hours(1)),
            ..ControlSettings::new("https://cp", "token")
        };
        let status = ControlStatus::new(&settings);
        assert!(!status.is_too_old());
        status.heard_before_start(Duration::from_mins(50));
        tokio::time::advance(Duration::from_secs(590)).await;
        assert!(!status.is_too_old());
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(status.is_too_old());
        status.heard();
        assert!(!status.is_too_old());
        assert_eq!(status.contact_age(), Some(Duration::ZERO));
    }
}
