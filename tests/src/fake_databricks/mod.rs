//! A faithful fake of Databricks Model Serving, for tests and for the demo.
//!
//! What it knows comes from `reference/databricks-serving.md`; its §9 is the list that this module answers. It is a
//! real server on a real port, and everything odd that it does is chosen by name, so that a test is deterministic:
//!
//! - by **endpoint name**, `fake-NAME` or `fake-NAME-ARG` (`fake-429`, `fake-slow-first-byte-250`): works through
//!   any gateway, because the name is what a gateway passes on;
//! - by the **control header** `x-fake-behaviour: NAME[;ARG]`, for any endpoint;
//! - by a **script** ([`FakeDatabricks::script`], `POST /__fake/script`): "the next two requests for this endpoint
//!   are 503". It wins over the header, the header over the name.
//!
//! The names are in [`TABLE`] and in `tests/README.md`. Credentials are judged before a behaviour applies.
//!
//! Requests are refused as strictly as the real endpoints refuse them, by family: ordinary Llama-type endpoints take
//! the documented fields and the harmless ones that OpenAI's clients send (`tools`, `stream_options`, `user`,
//! `seed`, penalties), but neither `max_completion_tokens`, `metadata` nor `store`, which are not documented for
//! them; models of OpenAI's making take those too. `fake-lenient` takes anything. Where the reference does not know,
//! the fake says *invented* in the table or in a comment.
//!
//! The log ([`FakeDatabricks::requests`]) shows each request as it arrived, credentials included, and how it ended:
//! a client that went away mid-stream is [`Outcome::Disconnected`].

mod answer;
mod anthropic;
mod auth;
mod behaviours;
mod catalogue;
mod chat;
mod completions;
mod control;
mod custom;
mod dispatch;
mod echo;
mod embeddings;
mod errors;
mod listing;
mod persona;
mod reply;
mod responses;
mod routes;
mod script;
mod server;
mod sse;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::auth::Credentials;
pub use self::behaviours::{Behaviour, Chosen, TABLE, UnknownBehaviour, markdown};
use self::echo::Journal;
pub use self::echo::{Ended, Outcome, Recorded, RecordedBody};
pub use self::script::Rule;
use self::script::Script;
use self::server::{Ids, Shared};

/// The token that a fake accepts where none is configured. It has the shape of a real one and opens nothing.
pub const DEFAULT_TOKEN: &str = "dapi00000000000000000000000000fa4e";

/// Why a fake does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on `{addr}`: {source}")]
    Listen {
        /// Address that was asked for.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The echo log cannot be opened.
    #[error("cannot append to the echo log `{}`: {source}", path.display())]
    EchoLog {
        /// File that was asked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Settings of a fake; see [`FakeDatabricks::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    listen: SocketAddr,
    tokens: BTreeMap<String, BTreeSet<String>>,
    clients: BTreeMap<String, String>,
    oauth_ttl: Duration,
    with_retired: bool,
    pace: Duration,
    echo_log: Option<PathBuf>,
    keep: usize,
    counted_ids: bool,
}

impl Builder {
    /// Address to listen on; a free loopback port where not set.
    #[must_use]
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Accepts a personal access token. With none, [`DEFAULT_TOKEN`] is accepted.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.tokens.entry(token.to_owned()).or_default();
        self
    }

    /// Accepts a token, but not for an endpoint: that is 403 `PERMISSION_DENIED`.
    #[must_use]
    pub fn token_denied(mut self, token: &str, endpoint: &str) -> Self {
        self.tokens.entry(token.to_owned()).or_default().insert(endpoint.to_owned());
        self
    }

    /// An OAuth M2M client.
    #[must_use]
    pub fn oauth_client(mut self, id: &str, secret: &str) -> Self {
        self.clients.insert(id.to_owned(), secret.to_owned());
        self
    }

    /// Life of an OAuth token; an hour where not set.
    #[must_use]
    pub fn oauth_ttl(mut self, ttl: Duration) -> Self {
        self.oauth_ttl = ttl;
        self
    }

    /// Whether models that Databricks has retired still answer (default: yes, the seed's page uses them).
    #[must_use]
    pub fn retired_models(mut self, answer: bool) -> Self {
        self.with_retired = answer;
        self
    }

    /// Pause between the frames of every stream.
    #[must_use]
    pub fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// Appends every request to a JSON Lines file, before the first byte of its reply.
    #[must_use]
    pub fn echo_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.echo_log = Some(path.into());
        self
    }

    /// How many requests the log keeps in memory (default 10,000).
    #[must_use]
    pub fn keep(mut self, requests: usize) -> Self {
        self.keep = requests;
        self
    }

    /// Counted ids and a fixed time in replies, for snapshots.
    #[must_use]
    pub fn counted_ids(mut self) -> Self {
        self.counted_ids = true;
        self
    }

    /// Starts the fake.
    pub async fn start(mut self) -> Result<FakeDatabricks, StartError> {
        if self.tokens.is_empty() {
            self = self.token(DEFAULT_TOKEN);
        }
        let journal = Journal::open(self.keep, self.echo_log.as_deref()).map_err(|source| {
            StartError::EchoLog { path: self.echo_log.clone().unwrap_or_default(), source }
        })?;
        let (listener, addr) = server::listen(self.listen)
            .await
            .map_err(|source| StartError::Listen { addr: self.listen, source })?;
        let token = self.tokens.keys().next().cloned().unwrap_or_default();
        let credentials = Credentials {
            tokens: self.tokens,
            clients: self.clients,
            ttl: self.oauth_ttl,
            minted: Mutex::default(),
        };
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            credentials,
            journal,
            script: Script::default(),
            pace: self.pace,
            with_retired: self.with_retired,
            ids: if self.counted_ids { Ids::Counted(AtomicU64::new(0)) } else { Ids::Real },
            stop: stop.clone(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(server::accept(Arc::clone(&shared), listener));
        Ok(FakeDatabricks { shared, addr, token, _stop: stop.drop_guard() })
    }
}

/// A running fake. Dropping it stops it; [`FakeDatabricks::shutdown`] waits until it has.
#[derive(Debug)]
pub struct FakeDatabricks {
    shared: Arc<Shared>,
    addr: SocketAddr,
    token: String,
    _stop: DropGuard,
}

impl FakeDatabricks {
    /// Settings, all at their defaults.
    pub fn builder() -> Builder {
        Builder {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tokens: BTreeMap::new(),
            clients: BTreeMap::new(),
            oauth_ttl: Duration::from_hours(1),
            with_retired: true,
            pace: Duration::ZERO,
            echo_log: None,
            keep: 10_000,
            counted_ids: false,
        }
    }

    /// A fake with all defaults on a free port.
    pub async fn start() -> Result<Self, StartError> {
        Self::builder().start().await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The workspace's root, `http://ADDR`: what `--upstream '*=…'` takes.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `base_url` of its classic endpoints.
    pub fn base_url(&self) -> String {
        format!("http://{}/serving-endpoints", self.addr)
    }

    /// A token that it accepts: the first one, in order of the alphabet.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Appends rules to the script: all, or none where one names no behaviour.
    pub fn script(&self, rules: impl IntoIterator<Item = Rule>) -> Result<(), UnknownBehaviour> {
        self.shared.script.extend(rules.into_iter().collect())
    }

    /// Ends the script.
    pub fn clear_script(&self) {
        self.shared.script.clear();
    }

    /// Every OAuth token handed out so far is refused from now on, as if it had expired.
    pub fn expire_oauth_tokens(&self) {
        self.shared.credentials.expire_minted();
    }

    /// The requests that the log keeps, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.journal.recent()
    }

    /// Those for one endpoint.
    pub fn requests_to(&self, endpoint: &str) -> Vec<Recorded> {
        let mut requests = self.requests();
        requests.retain(|recorded| recorded.endpoint.as_deref() == Some(endpoint));
        requests
    }

    /// Requests since the start, those that memory no longer keeps included.
    pub fn count(&self) -> u64 {
        self.shared.journal.count()
    }

    /// Forgets the requests kept in memory.
    pub fn clear_requests(&self) {
        self.shared.journal.clear();
    }

    /// Waits until the log satisfies a condition; put it under a time limit.
    pub async fn wait_until(&self, mut condition: impl FnMut(&[Recorded]) -> bool) -> Vec<Recorded> {
        let mut changes = self.shared.journal.changes();
        loop {
            changes.mark_unchanged();
            let requests = self.requests();
            if condition(&requests) {
                return requests;
            }
            // The sender lives in the journal that `self` holds.
            let _ = changes.changed().await;
        }
    }

    /// Waits until every request in the log has ended.
    pub async fn idle(&self) -> Vec<Recorded> {
        self.wait_until(|requests| requests.iter().all(|recorded| recorded.end.is_some())).await
    }

    /// Stops at once, as a workspace that goes down: connections break, the port is free afterwards.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
