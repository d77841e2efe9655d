//! The echo log: what arrived, word for word, and how each exchange ended.
//!
//! Tests read it to prove what left the gateway (no client credential, redacted text, injected ids), how many
//! attempts there were, and that a client's disconnect reached the upstream. A request is logged before the first
//! byte of its reply, in memory and, where asked, in a JSON Lines file of two kinds of line:
//! `{"event":"request",…}` and `{"event":"end",…}`, joined by `seq`.
//!
//! Credentials stand in it as they came: seeing them is its purpose. Give it no real ones.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// One request as it arrived, and its end as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// Position in order of arrival, from 1.
    pub seq: u64,
    /// When the whole request had been read, RFC 3339.
    pub time: Timestamp,
    /// Request method.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// Headers in order of arrival; names in lower case, repeated ones repeated.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: RecordedBody,
    /// `X-Request-Id` of the reply.
    pub request_id: String,
    /// Endpoint that was meant, from path or body.
    pub endpoint: Option<String>,
    /// Behaviour that was applied, as `NAME` or `NAME;ARG`; absent for an ordinary answer.
    pub behaviour: Option<String>,
    /// How it ended; absent while it runs.
    pub end: Option<Ended>,
}

impl Recorded {
    /// First value of a header, its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text; empty where it was not UTF-8 or was not kept.
    pub fn text(&self) -> &str {
        match &self.body {
            RecordedBody::Text(text) => text,
            RecordedBody::Base64(_) | RecordedBody::Unread { .. } => "",
        }
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_default()
    }
}

/// A body in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedBody {
    /// UTF-8, as it came.
    Text(String),
    /// Anything else, in standard base64.
    Base64(String),
    /// Not kept: over the limit, or the client left while sending it.
    Unread {
        /// Bytes that arrived.
        bytes: u64,
    },
}

impl From<&[u8]> for RecordedBody {
    fn from(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(STANDARD.encode(bytes)),
        }
    }
}

/// How an exchange ended, seen from the fake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What happened.
    pub outcome: Outcome,
    /// Status sent; absent where no head went out.
    pub status: Option<u16>,
    /// Body bytes handed to the connection.
    pub bytes: u64,
}

/// The three ways in which an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole reply was handed to the connection.
    Completed,
    /// The peer went away first.
    Disconnected,
    /// The fake broke the connection, as the behaviour asked.
    Severed,
}

/// What a request was, before the log gives it a number.
pub(crate) struct Arrival {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: RecordedBody,
    pub(crate) request_id: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) behaviour: Option<String>,
}

/// The log. A mutex, held for an append and never across an await: the end of an exchange is noted in a `Drop`,
/// which can neither wait for a channel nor afford that the channel is full.
#[derive(Debug)]
pub(crate) struct Journal {
    state: Mutex<State>,
    /// Counts changes, so that a test can wait for one.
    changes: watch::Sender<u64>,
    keep: usize,
}

#[derive(Debug, Default)]
struct State {
    last_seq: u64,
    recent: VecDeque<Recorded>,
    file: Option<File>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Request(&'a Recorded),
    End {
        seq: u64,
        #[serde(flatten)]
        ended: &'a Ended,
    },
}

impl Journal {
    /// Keeps the last `keep` requests in memory and appends all of them to `file`.
    pub(crate) fn open(keep: usize, file: Option<&Path>) -> io::Result<Arc<Self>> {
        let file = file.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        let state = Mutex::new(State { file, ..State::default() });
        Ok(Arc::new(Self { state, changes: watch::Sender::new(0), keep }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a request; what it returns notes the end.
    pub(crate) fn arrived(self: &Arc<Self>, arrival: Arrival) -> io::Result<Exchange> {
        let mut state = self.lock();
        state.last_seq += 1;
        let seq = state.last_seq;
        let recorded = Recorded {
            seq,
            time: Timestamp::now(),
            method: arrival.method,
            path: arrival.path,
            version: arrival.version,
            headers: arrival.headers,
            body: arrival.body,
            request_id: arrival.request_id,
            endpoint: arrival.endpoint,
            behaviour: arrival.behaviour,
            end: None,
        };
        state.append(&Line::Request(&recorded))?;
        if self.keep > 0 {
            if state.recent.len() >= self.keep {
                state.recent.pop_front();
            }
            state.recent.push_back(recorded);
        }
        drop(state);
        self.changes.send_modify(|count| *count += 1);
        Ok(Exchange { journal: Arc::clone(self), seq, ended: Ended::open() })
    }

    fn ended(&self, seq: u64, ended: Ended) {
        let mut state = self.lock();
        // The request was logged; an end that cannot be written shows as a request without one.
        let _ = state.append(&Line::End { seq, ended: &ended });
        let found = state.recent.binary_search_by_key(&seq, |recorded| recorded.seq);
        if let Some(recorded) = found.ok().and_then(|at| state.recent.get_mut(at)) {
            recorded.end = Some(ended);
        }
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    /// What is kept in memory, oldest first.
    pub(crate) fn recent(&self) -> Vec<Recorded> {
        self.lock().recent.iter().cloned().collect()
    }

    /// Forgets what is kept in memory; the file stays.
    pub(crate) fn clear(&self) {
        self.lock().recent.clear();
        self.changes.send_modify(|count| *count += 1);
    }

    /// Requests logged since the start.
    pub(crate) fn count(&self) -> u64 {
        self.lock().last_seq
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl State {
    fn append(&mut self, line: &Line<'_>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        // One write a line: a reader of the file never sees half of one.
        file.write_all(&bytes)
    }
}

/// A logged request whose end is still open. Dropping it says that the peer went away.
#[derive(Debug)]
pub(crate) struct Exchange {
    journal: Arc<Journal>,
    seq: u64,
    ended: Ended,
}

impl Exchange {
    pub(crate) fn status(&mut self, status: u16) {
        self.ended.status = Some(status);
    }

    pub(crate) fn sent(&mut self, bytes: u64) {
        self.ended.bytes += bytes;
    }

    pub(crate) fn completed(mut self) {
        self.ended.outcome = Outcome::Completed;
    }

    pub(crate) fn severed(mut self) {
        self.ended.outcome = Outcome::Severed;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.journal.ended(self.seq, self.ended.clone());
    }
}

impl Ended {
    fn open() -> Self {
        Self { outcome: Outcome::Disconnected, status: None, bytes: 0 }
    }
}
