//! What a fleet is to have, ready to be sent: made once for each document of a fleet, shared by all its sessions.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use kt_audit::Digest;
use kt_proto::v1;

use super::wire;
use crate::state::{FleetState, Head, KeySet, State};

/// One of the two pushed documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    Assignment,
    KeySet,
}

/// A document as it is sent to every gateway of a fleet.
///
/// Its nonce is a number that this process gives out once, so the encoded message is the same on every stream and no
/// stream sees a nonce twice.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) document: Document,
    pub(crate) nonce: u64,
    pub(crate) generation: u64,
    /// Of the statement.
    pub(crate) digest: Digest,
    /// The whole `ServerMessage`, as it stands on the stream.
    pub(crate) frame: Bytes,
    /// What the packs need; empty for a key set.
    pub(crate) needs: Vec<v1::Feature>,
    /// The packs; empty for a key set.
    pub(crate) packs: Vec<v1::PackRef>,
}

/// What a fleet is to have.
#[derive(Debug, Default, Clone)]
pub(crate) struct Wanted {
    pub(crate) assignment: Option<Arc<Offer>>,
    pub(crate) key_set: Option<Arc<Offer>>,
}

// === impl Document ===

impl Document {
    pub(crate) const BOTH: [Self; 2] = [Self::Assignment, Self::KeySet];

    /// For logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::KeySet => "key_set",
        }
    }

    pub(crate) fn of(document: v1::Document) -> Option<Self> {
        match document {
            v1::Document::Unspecified => None,
            v1::Document::Assignment => Some(Self::Assignment),
            v1::Document::KeySet => Some(Self::KeySet),
        }
    }
}

// === impl Offer ===

impl Offer {
    fn assignment(head: &Head, state: &State) -> Self {
        let nonce = next_nonce();
        let needs = needs(&head.statement.packs, state);
        let assign =
            v1::Assign { nonce, assignment: head.assignment.assignment.clone(), features: needs.clone() };
        Self {
            document: Document::Assignment,
            nonce,
            generation: head.statement.generation,
            digest: head.digest,
            frame: encoded(v1::server_message::Message::Assign(assign)),
            needs,
            packs: head.statement.packs.clone(),
        }
    }

    fn key_set(keys: &KeySet) -> Self {
        let nonce = next_nonce();
        let assign = v1::AssignKeys { nonce, key_set: keys.record.key_set.clone() };
        Self {
            document: Document::KeySet,
            nonce,
            generation: keys.record.generation,
            digest: keys.digest,
            frame: encoded(v1::server_message::Message::AssignKeys(assign)),
            needs: Vec::new(),
            packs: Vec::new(),
        }
    }

    /// name@version of what it assigns, for people.
    pub(crate) fn pack_names(&self) -> String {
        let names: Vec<String> = self.packs.iter().map(ToString::to_string).collect();
        names.join(", ")
    }
}

/// Everything that the packs need, each feature once with its first place.
fn needs(packs: &[v1::PackRef], state: &State) -> Vec<v1::Feature> {
    let mut needs: Vec<v1::Feature> = Vec::new();
    for pack in packs {
        let key = (Arc::from(&*pack.name), Arc::from(&*pack.version));
        let Some(version) = state.packs.get(&key).and_then(|found| found.record.version.as_ref()) else {
            // Its record has not been seen yet: the gateway's own compiler says what it lacks.
            continue;
        };
        for feature in &version.features {
            if needs.iter().all(|known| known.name != feature.name) {
                needs.push(feature.clone());
            }
        }
    }
    needs
}

fn next_nonce() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn encoded(message: v1::server_message::Message) -> Bytes {
    wire::framed(&v1::ServerMessage { message: Some(message) })
}

// === impl Wanted ===

impl Wanted {
    /// What `fleet` is to have by `state`; an offer that still says the same is taken over from `before`.
    pub(crate) fn of(fleet: &FleetState, state: &State, before: &Self) -> Self {
        let assignment = fleet.head.as_ref().map(|head| {
            kept(before.assignment.as_ref(), head.digest)
                .unwrap_or_else(|| Arc::new(Offer::assignment(head, state)))
        });
        let key_set = fleet.key_set.as_ref().map(|keys| {
            kept(before.key_set.as_ref(), keys.digest).unwrap_or_else(|| Arc::new(Offer::key_set(keys)))
        });
        Self { assignment, key_set }
    }

    pub(crate) fn get(&self, document: Document) -> Option<&Arc<Offer>> {
        match document {
            Document::Assignment => self.assignment.as_ref(),
            Document::KeySet => self.key_set.as_ref(),
        }
    }

    /// 0: there is none.
    pub(crate) fn generation(&self, document: Document) -> u64 {
        self.get(document).map_or(0, |offer| offer.generation)
    }

    /// Of the statement; empty: there is none.
    pub(crate) fn digest(&self, document: Document) -> Vec<u8> {
        self.get(document).map(|offer| offer.digest.0.to_vec()).unwrap_or_default()
    }

    /// Whether both say the same, by digest.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Document::BOTH.iter().all(|document| {
            self.get(*document).map(|offer| offer.digest) == other.get(*document).map(|offer| offer.digest)
        })
    }
}

fn kept(before: Option<&Arc<Offer>>, digest: Digest) -> Option<Arc<Offer>> {
    before.filter(|offer| offer.digest == digest).cloned()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// An assignment of `generation`; its digest follows from generation and `salt`.
    pub(crate) fn assignment(generation: u64, salt: &str) -> Arc<Offer> {
        let statement = v1::AssignmentStatement {
            fleet: "default".to_owned(),
            generation,
            packs: vec![v1::PackRef {
                name: "demo".to_owned(),
                version: format!("{generation}.0.0"),
                digest: Digest::of(salt.as_bytes()).0.to_vec(),
                size: 1000,
            }],
            expires_us: 0,
        };
        let signed = kt_proto::signed::seal(&statement, &[]);
        let digest = kt_proto::signed::digest(&signed);
        let assignment = v1::Assignment { assignment: Some(signed), ..Default::default() };
        Arc::new(Offer::assignment(&Head { assignment, statement, digest }, &State::default()))
    }

    /// A key set of `generation`.
    pub(crate) fn key_set(generation: u64) -> Arc<Offer> {
        key_set_of(generation, &[])
    }

    /// A key set of `generation` with these keys.
    pub(crate) fn key_set_of(generation: u64, ids: &[&str]) -> Arc<Offer> {
        let key = |id: &&str| v1::GatewayKey { id: (*id).to_owned(), ..Default::default() };
        let keys = ids.iter().map(key).collect();
        let statement =
            v1::KeySetStatement { fleet: "default".to_owned(), generation, keys, ..Default::default() };
        let signed = kt_proto::signed::seal(&statement, &[]);
        let digest = kt_proto::signed::digest(&signed);
        let record =
            kt_proto::store::v1::KeySetRecord { key_set: Some(signed), generation, ..Default::default() };
        Arc::new(Offer::key_set(&KeySet { record, digest }))
    }

    /// The same offer, as if its pack needed `needs`.
    pub(crate) fn needing(offer: &Offer, needs: Vec<v1::Feature>) -> Arc<Offer> {
        Arc::new(Offer {
            document: offer.document,
            nonce: next_nonce(),
            generation: offer.generation,
            digest: offer.digest,
            frame: offer.frame.clone(),
            needs,
            packs: offer.packs.clone(),
        })
    }

    pub(crate) fn wanted(assignment: Option<&Arc<Offer>>, key_set: Option<&Arc<Offer>>) -> Arc<Wanted> {
        Arc::new(Wanted { assignment: assignment.cloned(), key_set: key_set.cloned() })
    }
}
