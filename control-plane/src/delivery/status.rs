//! Who is there and what it enforces: derived from the sessions of this replica and from what the others write down.
//!
//! Nothing is stored for each gateway and push. Each replica keeps its own gateways here and writes one compact record
//! of them every few seconds; see [`record`]. A gateway that is shown by several replicas counts once: where it is
//! connected, else where it was heard last.

pub(crate) mod record;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use kt_audit::Digest;
use kt_proto::{store::v1 as store, v1};
use tokio::sync::oneshot;
use v1::gateway_status::State as Standing;

use super::{
    offer::{Document, Wanted},
    session::{Features, Greeting, Held, Report},
};

/// How long a gateway that went away is remembered.
const REMEMBERED_US: i64 = 24 * 3600 * 1_000_000;
/// The most gateways of a fleet that are remembered after they went away.
const MAX_REMEMBERED: usize = 1000;
/// The most exceptions that a status names; the counts tell of the rest.
const MAX_EXCEPTIONS: usize = 200;
/// How many exceptions carry all their reasons.
const MAX_DETAILED: usize = 20;
const FEW_REASONS: usize = 3;
/// By so much later must a gateway have connected to another replica to be taken for the one that replaces ours:
/// clocks differ, and records are some seconds old.
const CLEARLY_LATER_S: u32 = 10;
/// A record that is older than this tells nothing about now.
const RECORD_OLD_US: i64 = 20 * 1_000_000;
/// The most assignments whose packs are known by name.
const MAX_NAMES: usize = 64;

/// The session of a connected gateway.
#[derive(Debug)]
pub(crate) struct Link {
    /// Of this process.
    pub(crate) session: u64,
    /// Ends the session: the same gateway has connected again.
    pub(crate) replace: oneshot::Sender<()>,
    /// When something was last heard; the session writes it.
    pub(crate) contact_us: Arc<AtomicI64>,
    /// Since when it is open.
    pub(crate) since_us: i64,
}

/// The gateways that this replica has heard of.
#[derive(Debug)]
pub(crate) struct Roster {
    replica: Arc<str>,
    /// See [`super::session::Timing::silence`].
    silence_us: i64,
    fleets: BTreeMap<Arc<str>, Members>,
    others: BTreeMap<Arc<str>, Other>,
    /// Told apart by what they can do: there are few builds.
    builds: Vec<Arc<Features>>,
}

#[derive(Debug, Default)]
struct Members {
    gateways: BTreeMap<Arc<str>, Member>,
    /// Shown by replicas that are gone.
    lost: BTreeMap<String, v1::GatewayStatus>,
    /// Assignments by digest, and their packs by name.
    names: VecDeque<(Digest, Arc<str>)>,
}

#[derive(Debug)]
struct Member {
    name: String,
    build: Arc<str>,
    labels: BTreeMap<String, String>,
    process_id: uuid::Uuid,
    report: Report,
    link: Option<Link>,
    /// After it went away; else the link has it.
    last_contact_us: i64,
    last_applied_us: i64,
}

/// What another replica says.
#[derive(Debug)]
struct Other {
    source: Arc<store::ReplicaRecord>,
    fleets: BTreeMap<String, Vec<v1::GatewayStatus>>,
}

/// What a session learns when it joins.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) features: Arc<Features>,
    /// Refused by the same process on an earlier stream.
    pub(crate) rejected: Vec<Digest>,
    /// What is known of its refusals, also those of an earlier process, for the reasons.
    pub(crate) refusals: Vec<Arc<v1::gateway_status::Refusal>>,
}

// === impl Roster ===

impl Roster {
    pub(crate) fn new(replica: Arc<str>, silence_us: i64) -> Self {
        Self { replica, silence_us, fleets: BTreeMap::new(), others: BTreeMap::new(), builds: Vec::new() }
    }

    /// A gateway has said Hello. The session that it had before, if any, is replaced.
    pub(crate) fn join(
        &mut self,
        fleet: &Arc<str>,
        greeting: &Greeting,
        features: Arc<Features>,
        link: Link,
    ) -> Joined {
        let features = self.features(features);
        let members = self.fleets.entry(Arc::clone(fleet)).or_default();
        members.lost.remove(&*greeting.gateway_id);
        let before = members.gateways.remove(&greeting.gateway_id);
        let rejected = before
            .as_ref()
            .filter(|before| before.process_id == greeting.process_id)
            .map(|before| before.refused().collect())
            .unwrap_or_default();
        let refusals = before.as_ref().map(|before| before.refusals().cloned().collect()).unwrap_or_default();
        let report = Report {
            assignment: greeting.assignment,
            key_set: greeting.key_set,
            ..before.as_ref().map(|before| before.report.clone()).unwrap_or_default()
        };
        let last_applied_us = before.as_ref().map_or(0, |before| before.last_applied_us);
        if let Some(old) = before.and_then(|before| before.link) {
            // It may be gone already.
            let _ = old.replace.send(());
        }
        let member = Member {
            name: greeting.name.clone(),
            build: Arc::clone(&greeting.build),
            labels: greeting.labels.clone(),
            process_id: greeting.process_id,
            report,
            last_contact_us: link.contact_us.load(Ordering::Relaxed),
            link: Some(link),
            last_applied_us,
        };
        members.gateways.insert(Arc::clone(&greeting.gateway_id), member);
        Joined { features, rejected, refusals }
    }

    /// The same list, as the gateways that came before have it.
    fn features(&mut self, features: Arc<Features>) -> Arc<Features> {
        if let Some(known) = self.builds.iter().find(|known| **known == features) {
            return Arc::clone(known);
        }
        self.builds.retain(|known| Arc::strong_count(known) > 1);
        self.builds.push(Arc::clone(&features));
        features
    }

    /// What a session has to say; nothing if it was replaced meanwhile.
    pub(crate) fn report(&mut self, fleet: &str, gateway: &str, session: u64, report: Report) {
        if let Some(member) = self.member(fleet, gateway, session) {
            member.last_applied_us = member.last_applied_us.max(report.last_applied_us);
            member.report = report;
        }
    }

    /// A session has ended.
    pub(crate) fn leave(&mut self, fleet: &str, gateway: &str, session: u64) {
        if let Some(member) = self.member(fleet, gateway, session)
            && let Some(link) = member.link.take()
        {
            member.last_contact_us = link.contact_us.load(Ordering::Relaxed);
        }
    }

    fn member(&mut self, fleet: &str, gateway: &str, session: u64) -> Option<&mut Member> {
        let member = self.fleets.get_mut(fleet)?.gateways.get_mut(gateway)?;
        member.link.as_ref().is_some_and(|link| link.session == session).then_some(member)
    }

    /// Remembers the packs of an assignment by name.
    pub(crate) fn name(&mut self, fleet: &Arc<str>, wanted: &Wanted) {
        let Some(offer) = &wanted.assignment else { return };
        let members = self.fleets.entry(Arc::clone(fleet)).or_default();
        if members.names.iter().any(|(digest, _)| *digest == offer.digest) {
            return;
        }
        if members.names.len() >= MAX_NAMES {
            members.names.pop_front();
        }
        members.names.push_back((offer.digest, offer.pack_names().into()));
    }

    /// Takes what the other replicas say. True when anything has changed.
    pub(crate) fn read_others(
        &mut self,
        replicas: &BTreeMap<Arc<str>, Arc<store::ReplicaRecord>>,
        now_us: i64,
    ) -> bool {
        let mut is_changed = false;
        let gone: Vec<_> = self.others.keys().filter(|id| !replicas.contains_key(*id)).cloned().collect();
        for id in gone {
            is_changed = true;
            let Some(other) = self.others.remove(&id) else { continue };
            for (fleet, gateways) in other.fleets {
                let lost = &mut self.fleets.entry(fleet.into()).or_default().lost;
                lost.extend(gateways.into_iter().map(|gateway| (gateway.gateway_id.clone(), gateway)));
            }
        }
        for (id, source) in replicas {
            let is_known = self.others.get(id).is_some_and(|other| Arc::ptr_eq(&other.source, source));
            if *id == self.replica || is_known {
                continue;
            }
            is_changed = true;
            let fleets = record::unpack(source);
            self.leave_to_others(&fleets);
            self.others.insert(Arc::clone(id), Other { source: Arc::clone(source), fleets });
        }
        self.prune(now_us);
        is_changed
    }

    /// Ends sessions of gateways whose place another process has taken at another replica: a copy of a machine, or one
    /// that was made anew while the old connection hangs. A connection of the same process sees to that itself.
    fn leave_to_others(&mut self, fleets: &BTreeMap<String, Vec<v1::GatewayStatus>>) {
        for (fleet, gateways) in fleets {
            let Some(members) = self.fleets.get_mut(&**fleet) else { continue };
            for gateway in gateways.iter().filter(|gateway| gateway.connected_s != 0) {
                let Some(member) = members.gateways.get_mut(&*gateway.gateway_id) else { continue };
                let is_replaced = member.process_tag() != gateway.process_tag
                    && member.link.as_ref().is_some_and(|link| {
                        gateway.connected_s > seconds(link.since_us).saturating_add(CLEARLY_LATER_S)
                    });
                if is_replaced && let Some(link) = member.link.take() {
                    member.last_contact_us = link.contact_us.load(Ordering::Relaxed);
                    tracing::warn!(
                        fleet,
                        gateway = gateway.gateway_id,
                        replica = gateway.replica,
                        "Another process of the same gateway is connected to another replica: the older stream ends."
                    );
                    // It may be gone already.
                    let _ = link.replace.send(());
                }
            }
        }
    }

    /// Forgets gateways that went away long ago, or are too many.
    pub(crate) fn prune(&mut self, now_us: i64) {
        for members in self.fleets.values_mut() {
            let oldest = now_us - REMEMBERED_US;
            members.lost.retain(|_, gateway| gateway.last_contact_us > oldest);
            while members.lost.len() > MAX_REMEMBERED {
                members.lost.pop_first();
            }
            members.gateways.retain(|_, member| member.link.is_some() || member.last_contact_us > oldest);
            let mut away: Vec<(i64, Arc<str>)> = members
                .gateways
                .iter()
                .filter(|(_, member)| member.link.is_none())
                .map(|(id, member)| (member.last_contact_us, Arc::clone(id)))
                .collect();
            if let Some(surplus) = away.len().checked_sub(MAX_REMEMBERED) {
                away.sort_unstable();
                for (_, id) in away.iter().take(surplus) {
                    members.gateways.remove(id);
                }
            }
        }
    }

    /// How many are connected to this replica.
    pub(crate) fn connected(&self) -> usize {
        self.fleets
            .values()
            .flat_map(|members| members.gateways.values())
            .filter(|m| m.link.is_some())
            .count()
    }

    /// The gateways of a fleet that this replica has heard of itself.
    fn own(&self, fleet: &str, wanted: &Wanted, now_us: i64) -> Vec<v1::GatewayStatus> {
        let Some(members) = self.fleets.get(fleet) else { return Vec::new() };
        let show = |(id, member): (&Arc<str>, &Member)| {
            let standing = member.standing(wanted, self.silence_us, now_us);
            member.show(id, standing, &self.replica, members, wanted)
        };
        members.gateways.iter().map(show).collect()
    }

    /// Every gateway of a fleet, by all replicas, in the order of names.
    pub(crate) fn gateways(&self, fleet: &str, wanted: &Wanted, now_us: i64) -> Vec<v1::GatewayStatus> {
        let mut all = self.all(fleet, wanted, now_us);
        all.sort_by(by_name);
        all
    }

    fn all(&self, fleet: &str, wanted: &Wanted, now_us: i64) -> Vec<v1::GatewayStatus> {
        let mut all: BTreeMap<String, v1::GatewayStatus> = BTreeMap::new();
        let mut add = |gateway: v1::GatewayStatus| match all.get_mut(&gateway.gateway_id) {
            Some(known) if !is_better(&gateway, known) => {}
            Some(known) => *known = gateway,
            None => {
                all.insert(gateway.gateway_id.clone(), gateway);
            }
        };
        self.own(fleet, wanted, now_us).into_iter().for_each(&mut add);
        for other in self.others.values() {
            let is_old = other.source.written_us < now_us - RECORD_OLD_US;
            for gateway in other.fleets.get(fleet).into_iter().flatten() {
                let standing = standing_of_other(gateway, wanted, is_old);
                add(v1::GatewayStatus { state: standing.into(), ..gateway.clone() });
            }
        }
        if let Some(members) = self.fleets.get(fleet) {
            for gateway in members.lost.values() {
                add(v1::GatewayStatus { state: Standing::Disconnected.into(), ..gateway.clone() });
            }
        }
        all.into_values().collect()
    }

    /// Wanted against applied, over all replicas.
    pub(crate) fn status(
        &self,
        fleet: &str,
        state: &crate::state::FleetState,
        wanted: &Wanted,
        now_us: i64,
    ) -> v1::FleetStatus {
        let gateways = self.all(fleet, wanted, now_us);
        let mut counts = v1::fleet_status::Counts::default();
        let mut exceptions = Vec::new();
        for gateway in gateways {
            counts.gateways += 1;
            match gateway.state() {
                Standing::Applied => counts.applied += 1,
                Standing::Rejected => counts.rejected += 1,
                Standing::Silent => counts.silent += 1,
                Standing::Disconnected => counts.disconnected += 1,
                Standing::Pending | Standing::Unspecified => counts.pending += 1,
            }
            if gateway.state() != Standing::Applied {
                exceptions.push(gateway);
            }
        }
        exceptions.sort_by(by_state_and_name);
        let more_exceptions = exceptions.len().saturating_sub(MAX_EXCEPTIONS);
        exceptions.truncate(MAX_EXCEPTIONS);
        for gateway in exceptions.iter_mut().skip(MAX_DETAILED) {
            if let Some(refusal) = &mut gateway.refusal {
                refusal.reasons.truncate(FEW_REASONS);
            }
        }
        let silent = |(id, other): (&Arc<str>, &Other)| {
            (other.source.written_us < now_us - RECORD_OLD_US).then(|| id.to_string())
        };
        v1::FleetStatus {
            fleet: fleet.to_owned(),
            wanted: state.head.as_ref().map(|head| head.assignment.clone()),
            key_set_generation: state.key_set.as_ref().map_or(0, |keys| keys.record.generation),
            counts: Some(counts),
            exceptions,
            divergence: state.divergence.clone(),
            silent_replicas: self.others.iter().filter_map(silent).collect(),
            key_set_divergence: state.key_set_divergence.clone(),
            more_exceptions: u32::try_from(more_exceptions).unwrap_or(u32::MAX),
        }
    }

    /// What this replica writes down for the others.
    pub(crate) fn parts(
        &self,
        wanted: impl Fn(&str) -> Arc<Wanted>,
        now_us: i64,
    ) -> Vec<store::replica_record::FleetPart> {
        let part = |fleet: &Arc<str>| {
            let gateways = self.own(fleet, &wanted(fleet), now_us);
            (!gateways.is_empty())
                .then(|| store::replica_record::FleetPart { fleet: fleet.to_string(), gateways })
        };
        self.fleets.keys().filter_map(part).collect()
    }
}

// === impl Member ===

impl Member {
    fn process_tag(&self) -> u32 {
        let [.., a, b, c, d] = *self.process_id.as_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    fn refusals(&self) -> impl Iterator<Item = &Arc<v1::gateway_status::Refusal>> {
        [&self.report.assignment_refusal, &self.report.key_set_refusal].into_iter().flatten()
    }

    /// What it has refused for good; what it could not fetch it may try again.
    fn refused(&self) -> impl Iterator<Item = Digest> + '_ {
        self.refusals()
            .filter(|refusal| !matches!(refusal.stage(), v1::Stage::Fetch | v1::Stage::Unspecified))
            .filter(|refusal| refusal.reasons.iter().all(|reason| reason.code != "feature_missing"))
            .filter_map(|refusal| <[u8; 32]>::try_from(&*refusal.digest).ok())
            .map(Digest)
    }

    fn refusal(&self, wanted: &Wanted) -> Option<&Arc<v1::gateway_status::Refusal>> {
        let report = &self.report;
        [(Document::Assignment, &report.assignment_refusal), (Document::KeySet, &report.key_set_refusal)]
            .into_iter()
            .filter_map(|(document, refusal)| Some((wanted.get(document)?, refusal.as_ref()?)))
            .find(|(offer, refusal)| refusal.digest == offer.digest.0)
            .map(|(_, refusal)| refusal)
    }

    fn standing(&self, wanted: &Wanted, silence_us: i64, now_us: i64) -> Standing {
        let Some(link) = &self.link else { return Standing::Disconnected };
        if link.contact_us.load(Ordering::Relaxed) < now_us - silence_us {
            return Standing::Silent;
        }
        if self.refusal(wanted).is_some() {
            return Standing::Rejected;
        }
        let has = |document, held: Option<Held>| {
            wanted
                .get(document)
                .is_none_or(|offer| held.is_some_and(|held: Held| held.digest == offer.digest))
        };
        if has(Document::Assignment, self.report.assignment) && has(Document::KeySet, self.report.key_set) {
            Standing::Applied
        } else {
            Standing::Pending
        }
    }

    fn show(
        &self,
        id: &str,
        standing: Standing,
        replica: &str,
        members: &Members,
        wanted: &Wanted,
    ) -> v1::GatewayStatus {
        let held = self.report.assignment;
        let pack = held.and_then(|held| members.names.iter().find(|(digest, _)| *digest == held.digest));
        let contact = self.link.as_ref().map(|link| link.contact_us.load(Ordering::Relaxed));
        let mut degraded = self.report.degraded.clone();
        let mut is_conflicting = false;
        for (document, what, held) in [
            (Document::Assignment, "an assignment", held),
            (Document::KeySet, "a key set", self.report.key_set),
        ] {
            let Some(held) = held else { continue };
            let known = wanted.get(document).map(|offer| (offer.generation, offer.digest));
            if known.is_some_and(|known| known.0 == held.generation && known.1 != held.digest) {
                is_conflicting = true;
                degraded.push(format!(
                    "has {what} of generation {} that is another one than the control plane's",
                    held.generation
                ));
            } else if held.generation > known.map_or(0, |known| known.0) {
                degraded.push(format!(
                    "has {what} of generation {}, which is above what the control plane knows",
                    held.generation
                ));
            }
        }
        v1::GatewayStatus {
            gateway_id: id.to_owned(),
            name: self.name.clone(),
            state: standing.into(),
            generation: held.map(|held| held.generation),
            pack: pack.map(|(_, name)| name.to_string()).unwrap_or_default(),
            key_set_generation: self.report.key_set.map_or(0, |held| held.generation),
            last_contact_us: contact.unwrap_or(self.last_contact_us),
            last_applied_us: self.last_applied_us,
            build: self.build.to_string(),
            replica: replica.to_owned(),
            labels: self.labels.clone(),
            refusal: self.refusal(wanted).map(|refusal| (**refusal).clone()),
            degraded,
            is_conflicting,
            process_tag: self.process_tag(),
            connected_s: self.link.as_ref().map_or(0, |link| seconds(link.since_us)),
        }
    }
}

/// How a gateway stands by what another replica wrote, which may have known of another head than this one.
fn standing_of_other(gateway: &v1::GatewayStatus, wanted: &Wanted, is_old: bool) -> Standing {
    match gateway.state() {
        Standing::Disconnected => Standing::Disconnected,
        Standing::Silent => Standing::Silent,
        // Nobody knows.
        _ if is_old => Standing::Silent,
        Standing::Rejected if is_current(gateway, wanted) => Standing::Rejected,
        _ => {
            let has = gateway.generation.unwrap_or_default() == wanted.generation(Document::Assignment)
                && gateway.key_set_generation == wanted.generation(Document::KeySet)
                && !gateway.is_conflicting;
            if has { Standing::Applied } else { Standing::Pending }
        }
    }
}

/// Whether what it has refused is wanted now.
fn is_current(gateway: &v1::GatewayStatus, wanted: &Wanted) -> bool {
    let Some(refusal) = &gateway.refusal else { return false };
    let document = if refusal.is_key_set { Document::KeySet } else { Document::Assignment };
    wanted.get(document).is_some_and(|offer| refusal.digest == offer.digest.0)
}

fn seconds(us: i64) -> u32 {
    u32::try_from(us / 1_000_000).unwrap_or_default()
}

/// What a person has to look at first; then by name, so that the same list is shown every time.
fn by_state_and_name(one: &v1::GatewayStatus, other: &v1::GatewayStatus) -> std::cmp::Ordering {
    let rank = |gateway: &v1::GatewayStatus| match gateway.state() {
        Standing::Rejected => 0,
        Standing::Pending | Standing::Unspecified => 1,
        Standing::Silent => 2,
        Standing::Disconnected => 3,
        Standing::Applied => 4,
    };
    rank(one).cmp(&rank(other)).then_with(|| by_name(one, other))
}

fn by_name(one: &v1::GatewayStatus, other: &v1::GatewayStatus) -> std::cmp::Ordering {
    (&one.name, &one.gateway_id).cmp(&(&other.name, &other.gateway_id))
}

fn is_better(new: &v1::GatewayStatus, known: &v1::GatewayStatus) -> bool {
    let rank =
        |gateway: &v1::GatewayStatus| (gateway.state() != Standing::Disconnected, gateway.last_contact_us);
    rank(new) > rank(known)
}
