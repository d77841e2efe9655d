//! The task that speaks with the control plane: it drives [`Session`], sends what the other tasks answer, and hands
//! them what is offered.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kt_proto::{
    signed,
    v1::{self, gateway_message::Message as Out, server_message::Message as In},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout_at},
};
use uuid::Uuid;

use super::{
    Answer, Held, Offer, Outcome,
    apply::{MAX_PACK, Memory, Rejection},
    client::{Client, ended},
    lkg::{Lkg, RejectedEntry},
    session::{Ended, Known, Session, Step},
    status::{ControlStatus, InForce},
};
use crate::{health, identity::keys::KeySet, settings::ControlSettings, shared::Shared, waits};

/// Messages that the server has not taken yet; one more, and it is taken for dead.
const OUTGOING: usize = 16;
/// How often the moment of the last contact is written down.
const CONTACT: Duration = Duration::from_mins(1);
/// A use of a key is reported again when it may have been noted late.
const OVERLAP_US: i64 = 5_000_000;
/// What a heartbeat says of a degraded gateway.
const MAX_DEGRADED: usize = 16;
const MAX_DEGRADED_CHARS: usize = 300;
/// A larger key set is not told key by key.
const MAX_HELD_KEYS: usize = 20_000;

/// Where offers go, and where their answers come from.
pub(crate) struct Ends {
    pub(crate) packs: watch::Sender<Option<Offer>>,
    pub(crate) keys: watch::Sender<Option<Offer>>,
    pub(crate) answers: mpsc::Receiver<Answer>,
}

/// A statement that was refused.
struct Remembered {
    entry: RejectedEntry,
    /// Absent when an earlier process refused it.
    rejection: Option<Rejection>,
    memory: Memory,
}

pub(crate) struct Link {
    shared: Arc<Shared>,
    settings: ControlSettings,
    lkg: Arc<Lkg>,
    status: Arc<ControlStatus>,
    gateway_id: Uuid,
    process_id: Uuid,
    keys: Arc<ArcSwapOption<KeySet>>,
    ends: Ends,
    rejected: Vec<Remembered>,
    /// The number of the connection; answers to offers of others are not sent.
    connection: u64,
    /// Uses of keys up to here were reported; microseconds since 1970 UTC.
    reported: i64,
    /// The generation of the key set that the server does not know, as far as it was not told of its keys.
    unknown_keys: Option<u64>,
    /// The one whose keys were told on this connection.
    told_keys: Option<u64>,
    noted: Option<Instant>,
}

type Outgoing = mpsc::Sender<v1::GatewayMessage>;

impl Link {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: ControlSettings,
        lkg: Arc<Lkg>,
        status: Arc<ControlStatus>,
        gateway_id: Uuid,
        keys: Arc<ArcSwapOption<KeySet>>,
        ends: Ends,
    ) -> Self {
        let rejected = lkg
            .rejected()
            .into_iter()
            .map(|entry| Remembered { entry, rejection: None, memory: Memory::Build })
            .collect();
        Self {
            shared,
            settings,
            lkg,
            status,
            gateway_id,
            process_id: Uuid::now_v7(),
            keys,
            ends,
            rejected,
            connection: 0,
            reported: 0,
            unknown_keys: None,
            told_keys: None,
            noted: None,
        }
    }

    pub(crate) async fn run(mut self) {
        if self.settings.allow_clear_text && self.settings.url.starts_with("http:") {
            tracing::warn!(
                url = self.settings.url,
                "Control plane is spoken to in clear text: whoever is in between can read the token."
            );
        }
        let mut session = Session::new(Instant::now(), waits::random());
        loop {
            match session.step(Instant::now()) {
                Step::Connect => {}
                Step::Wait(until) => {
                    tokio::select! {
                        () = sleep_until(until) => {}
                        answer = self.ends.answers.recv() => match answer {
                            // There is nobody to tell; the next `Hello` says what is held.
                            Some(answer) => { self.note(answer, &mut session).await; }
                            None => return,
                        },
                    }
                    continue;
                }
                Step::Beat | Step::Leave => {
                    session.ended(Instant::now(), &Ended::Closed);
                    continue;
                }
            }
            self.connection += 1;
            (self.unknown_keys, self.told_keys) = (None, None);
            let end = match self.connection(&mut session).await {
                Ok(end) => end,
                Err(Gone) => return,
            };
            let message = end.message();
            self.status.set_connected(false);
            let is_new = session.ended(Instant::now(), &end);
            if end != Ended::Drained {
                self.status.link_fault.store(Some(Arc::new(message.clone())));
            }
            let (url, fleet) = (self.settings.url.as_str(), self.settings.fleet.as_str());
            if !is_new {
                tracing::debug!(url, fleet, why = message, "Connection to the control plane has ended.");
            } else if end.needs_a_person() {
                tracing::error!(
                    url,
                    fleet,
                    why = message,
                    "Control plane can't be used; what is in force stays, and it is tried again."
                );
            } else {
                tracing::warn!(
                    url,
                    fleet,
                    why = message,
                    "Connection to the control plane has ended; it is tried again."
                );
            }
        }
    }

    /// One connection, from its first byte to its end.
    async fn connection(&mut self, session: &mut Session) -> Result<Ended, Gone> {
        let Step::Wait(until) = session.step(Instant::now()) else { return Ok(Ended::Silent) };
        let mut client = match timeout_at(until, Client::connect(&self.settings)).await {
            Ok(Ok(client)) => client,
            Ok(Err(end)) => return Ok(end),
            Err(_) => return Ok(Ended::Silent),
        };
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let (hello, known) = self.hello();
        if send(&outgoing, Out::Hello(hello)).is_err() {
            return Ok(Ended::Stuck);
        }
        session.greeting(known);
        let mut stream = match timeout_at(until, client.subscribe(messages)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(end)) => return Ok(end),
            Err(_) => return Ok(Ended::Silent),
        };
        loop {
            let now = Instant::now();
            match session.step(now) {
                Step::Wait(until) => {
                    tokio::select! {
                        message = stream.message() => {
                            let message = match message {
                                Ok(Some(v1::ServerMessage { message: Some(message) })) => message,
                                // A kind of message that a later version has.
                                Ok(Some(v1::ServerMessage { message: None })) => continue,
                                Ok(None) => return Ok(Ended::Closed),
                                Err(status) => return Ok(ended(&status)),
                            };
                            if let Some(end) = session.heard(Instant::now(), &message) {
                                return Ok(end);
                            }
                            self.heard();
                            if let Err(end) = self.take(message, session, &client, &outgoing) {
                                return Ok(end);
                            }
                        }
                        answer = self.ends.answers.recv() => {
                            let Some(answer) = answer else { return Err(Gone) };
                            let is_ours = answer.connection == self.connection;
                            let (nonce, no_body) = (answer.nonce, match &answer.outcome {
                                Outcome::NoBody(error) => Some(error.clone()),
                                _ => None,
                            });
                            let message = self.note(answer, session).await;
                            if !is_ours {
                                continue;
                            }
                            if let Some(error) = no_body {
                                return Ok(Ended::NoBody(error));
                            }
                            if let Some(message) = message.map(|message| with_nonce(message, nonce))
                                && let Err(end) = send(&outgoing, message)
                            {
                                return Ok(end);
                            }
                        }
                        () = sleep_until(until) => {}
                    }
                }
                Step::Beat => {
                    let beat = self.beat();
                    if let Err(end) = send(&outgoing, Out::Heartbeat(beat)) {
                        return Ok(end);
                    }
                }
                Step::Leave => return Ok(session.reason(now)),
                Step::Connect => return Ok(Ended::Closed),
            }
        }
    }

    /// The other side lives.
    fn heard(&mut self) {
        self.status.heard();
        if !self.status.is_connected() {
            self.status.set_connected(true);
            self.status.link_fault.store(None);
            let (url, fleet) = (self.settings.url.as_str(), self.settings.fleet.as_str());
            tracing::info!(url, fleet, "Connected to the control plane.");
        }
        let now = Instant::now();
        if self.noted.is_none_or(|noted| now >= noted + CONTACT) {
            self.noted = Some(now);
            let lkg = Arc::clone(&self.lkg);
            self.shared.tasks.spawn_blocking(move || {
                if let Err(error) = lkg.put_contact(Timestamp::now()) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "Moment of the last contact can't be written down.");
                }
            });
        }
    }

    /// Acts on a message of the server.
    fn take(
        &mut self,
        message: In,
        session: &mut Session,
        client: &Client,
        outgoing: &Outgoing,
    ) -> Result<(), Ended> {
        let (document, nonce, signed, features) = match message {
            In::Assign(assign) => {
                (v1::Document::Assignment, assign.nonce, assign.assignment, assign.features)
            }
            In::AssignKeys(assign) => (v1::Document::KeySet, assign.nonce, assign.key_set, Vec::new()),
            In::Welcome(welcome) => {
                tracing::debug!(replica = welcome.replica, store = welcome.store_epoch, "Welcome.");
                return Ok(());
            }
            In::Heartbeat(beat) => {
                self.compare(&beat);
                return Ok(());
            }
            In::Refused(_) => return Ok(()),
            In::Drain(drain) => {
                tracing::info!(
                    within_ms = drain.within_ms,
                    reason = drain.reason,
                    "Control plane asks to connect again."
                );
                return Ok(());
            }
        };
        // Without a statement: one that can't be read, which is refused as such.
        let signed = signed.unwrap_or_default();
        let generation = match document {
            v1::Document::KeySet => signed::read(&signed).map(|s: v1::KeySetStatement| s.generation),
            _ => signed::read(&signed).map(|s: v1::AssignmentStatement| s.generation),
        };
        let claimed = Held { generation: generation.unwrap_or(0), digest: signed::digest(&signed) };
        session.knows(document, claimed.generation);
        let is_key_set = document == v1::Document::KeySet;
        let before = self
            .rejected
            .iter()
            .find(|seen| seen.entry.digest == claimed.digest && seen.entry.is_key_set == is_key_set);
        if let Some(rejection) = before.and_then(|seen| seen.rejection.as_ref()) {
            return send(outgoing, with_nonce(rejected(document, claimed, rejection), nonce));
        }
        let offer =
            Offer { connection: self.connection, nonce, claimed, signed, features, client: client.clone() };
        let to = if is_key_set { &self.ends.keys } else { &self.ends.packs };
        to.send_replace(Some(offer));
        Ok(())
    }

    /// Whether the server has the same documents under the same generations.
    fn compare(&mut self, beat: &v1::ServerHeartbeat) {
        let held = |document| self.status.in_force(document).load().as_deref().map(|in_force| in_force.held);
        let documents = [v1::Document::Assignment, v1::Document::KeySet];
        let keys = held(documents[1]);
        let conflicts = Session::conflicts(beat, held(documents[0]), keys);
        let is_unknown =
            |keys: &Held| beat.key_set_generation < keys.generation || conflicts[1] == Some(keys.generation);
        let unknown = keys.filter(is_unknown).map(|keys| keys.generation);
        self.unknown_keys = unknown.filter(|generation| self.told_keys != Some(*generation));
        for (document, generation) in documents.into_iter().zip(conflicts) {
            if self.status.set_conflict(document, generation) {
                let name = super::name(document);
                self.shared.metrics.rejection(name, v1::Stage::Signature.word());
                tracing::error!(
                    document = name,
                    generation,
                    code = "generation_conflict",
                    "Control plane has another document of the generation that is in force; it stays."
                );
            }
        }
    }

    /// Takes note of an answer, and makes it into a message.
    async fn note(&mut self, answer: Answer, session: &mut Session) -> Option<Out> {
        let Answer { document, claimed, outcome, .. } = answer;
        session.knows(document, claimed.generation);
        match outcome {
            Outcome::NoBody(_) => None,
            Outcome::Applied => Some(Out::Applied(v1::Applied {
                document: document.into(),
                nonce: 0,
                generation: claimed.generation,
                digest: claimed.digest.0.to_vec(),
                applied_us: Timestamp::now().as_microsecond(),
            })),
            Outcome::Rejected(rejection) => {
                let message = rejected(document, claimed, &rejection);
                self.remember(document, claimed, rejection).await;
                Some(message)
            }
        }
    }

    async fn remember(&mut self, document: v1::Document, claimed: Held, rejection: Rejection) {
        let memory = rejection.memory;
        if memory == Memory::None {
            return;
        }
        let is_key_set = document == v1::Document::KeySet;
        let entry = RejectedEntry { digest: claimed.digest, generation: claimed.generation, is_key_set };
        self.rejected.retain(|seen| seen.entry != entry);
        self.rejected.push(Remembered { entry, rejection: Some(rejection), memory });
        if memory == Memory::Build {
            let lasting = self.rejected.iter().filter(|seen| seen.memory == Memory::Build);
            let entries: Vec<RejectedEntry> = lasting.map(|seen| seen.entry.clone()).collect();
            let lkg = Arc::clone(&self.lkg);
            let written = tokio::task::spawn_blocking(move || lkg.put_rejected(&entries)).await;
            if let Ok(Err(error)) = written {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "Refused statement can't be written down.");
            }
        }
    }

    /// Who this is and what it holds; and the generations that it need not be sent.
    fn hello(&self) -> (v1::Hello, Known) {
        let (assignment, key_set) = (self.status.assignment.load_full(), self.status.key_set.load_full());
        let highest = |held: Option<&InForce>, is_key_set: bool| {
            let refused = self.rejected.iter().filter(|seen| seen.entry.is_key_set == is_key_set);
            let refused = refused.map(|seen| seen.entry.generation);
            refused.chain(held.map(|in_force| in_force.held.generation)).max().unwrap_or(0)
        };
        let known = Known {
            assignment: highest(assignment.as_deref(), false),
            key_set: highest(key_set.as_deref(), true),
        };
        let hello = v1::Hello {
            fleet: self.settings.fleet.clone(),
            gateway_id: self.gateway_id.to_string(),
            name: self.settings.name.clone(),
            process_id: self.process_id.to_string(),
            build: super::build().to_owned(),
            features: kt_policy::features::supported().to_vec(),
            max_pack_bytes: MAX_PACK as u64,
            labels: self.settings.labels.clone(),
            assignment: assignment.as_deref().map(InForce::message),
            key_set: key_set.as_deref().map(InForce::message),
            rejected: self.rejected.iter().map(|seen| seen.entry.digest.0.to_vec()).collect(),
        };
        (hello, known)
    }

    /// What it does now.
    fn beat(&mut self) -> v1::GatewayHeartbeat {
        let since = self.reported.saturating_sub(OVERLAP_US);
        self.reported = Timestamp::now().as_microsecond();
        let keys = self.keys.load();
        let used = keys.iter().flat_map(|keys| keys.used_since(since));
        let held_keys = self.unknown_keys.take().and_then(|generation| {
            self.told_keys = Some(generation);
            let keys = keys.as_deref().filter(|keys| keys.len() <= MAX_HELD_KEYS)?;
            Some(v1::HeldKeys { generation, ids: keys.ids().map(str::to_owned).collect() })
        });
        let short = |reason: String| reason.chars().take(MAX_DEGRADED_CHARS).collect();
        v1::GatewayHeartbeat {
            assignment: self.status.assignment.load().as_deref().map(InForce::message),
            key_set: self.status.key_set.load().as_deref().map(InForce::message),
            key_use: used
                .map(|(id, last)| v1::KeyUse { key_id: id.to_owned(), last_used_us: last })
                .collect(),
            degraded: health::reasons(&self.shared).into_iter().take(MAX_DEGRADED).map(short).collect(),
            held_keys,
        }
    }
}

/// The other tasks are gone: the gateway ends.
struct Gone;

fn send(outgoing: &Outgoing, message: Out) -> Result<(), Ended> {
    outgoing.try_send(v1::GatewayMessage { message: Some(message) }).map_err(|_| Ended::Stuck)
}

fn rejected(document: v1::Document, claimed: Held, rejection: &Rejection) -> Out {
    Out::Rejected(v1::Rejected {
        document: document.into(),
        nonce: 0,
        generation: claimed.generation,
        digest: claimed.digest.0.to_vec(),
        stage: rejection.stage.into(),
        reasons: rejection.reasons.clone(),
    })
}

fn with_nonce(message: Out, nonce: u64) -> Out {
    match message {
        Out::Applied(applied) => Out::Applied(v1::Applied { nonce, ..applied }),
        Out::Rejected(rejected) => Out::Rejected(v1::Rejected { nonce, ..rejected }),
        Out::Hello(_) | Out::Heartbeat(_) => message,
    }
}
