//! The members of the cluster and the connections to them.
//!
//! One member is used at a time; one that does not answer is left for the next. Calls and watches have connections of
//! their own, so that a watch that is slow to read never holds up a call (flow control is per connection too).

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use etcd_client::{Client, ConnectOptions};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep, timeout},
};

use super::{
    failure::Failure,
    settings::{EtcdSettings, EtcdSettingsError},
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a connection with open calls or watches is probed, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// How long one member may take for a read.
const READ: Duration = Duration::from_secs(3);
/// How long one member may take for a write: an election in between takes a second or two.
const WRITE: Duration = Duration::from_secs(5);
/// How long a call is tried again, where that is safe.
const TRYING: Duration = Duration::from_secs(6);
/// Between two tries: at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It may.
    Read,
    /// Only when it was certainly not done.
    Write,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Calls,
    Watches,
}

/// The members; one of them is current.
pub(super) struct Members {
    has_login: bool,
    options: ConnectOptions,
    members: Vec<Member>,
    current: AtomicUsize,
}

struct Member {
    endpoint: String,
    calls: OnceCell<Client>,
    watches: OnceCell<Client>,
}

// === impl Members ===

impl Members {
    pub(super) fn new(settings: &EtcdSettings) -> Result<Self, EtcdSettingsError> {
        let options = settings
            .options()?
            .with_connect_timeout(CONNECT)
            .with_tcp_keepalive(KEEP_ALIVE.0)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1);
        let members = settings
            .members()
            .iter()
            .map(|member| Member {
                endpoint: settings.endpoint(member),
                calls: OnceCell::new(),
                watches: OnceCell::new(),
            })
            .collect();
        Ok(Self { has_login: settings.has_login(), options, members, current: AtomicUsize::new(0) })
    }

    pub(super) fn has_login(&self) -> bool {
        self.has_login
    }

    /// The number of the member that is used now.
    pub(super) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Leaves a member for the next one, unless somebody else did so already.
    pub(super) fn leave(&self, number: usize) {
        let next = number.wrapping_add(1) % self.members.len().max(1);
        // What happens elsewhere does not depend on it: at worst one more call goes to the old one.
        let _ = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The client of a member. It connects when it is first used, and again by itself when the connection breaks.
    pub(super) async fn client(&self, number: usize, using: Use) -> Result<Client, Failure> {
        let Some(member) = self.members.get(number) else {
            return Err(Failure::Unreachable("there is no such member".to_owned()));
        };
        let cell = match using {
            Use::Calls => &member.calls,
            Use::Watches => &member.watches,
        };
        let connect = cell.get_or_try_init(|| async {
            // Probed only while a call or a watch is open: etcd closes a connection that is probed without one
            // (measured with 3.4: after the third probe).
            let options = self.options.clone().with_keep_alive_while_idle(false);
            Client::connect([&member.endpoint], Some(options)).await.map_err(|error| {
                match Failure::of(error) {
                    // All that is sent here is the login.
                    Failure::Refused(text) => Failure::Denied(text),
                    Failure::Broken(text) => Failure::Unreachable(text),
                    other => other,
                }
            })
        });
        match timeout(READ, Box::pin(connect)).await {
            Ok(client) => client.cloned(),
            Err(_) => Err(Failure::Unreachable("no answer in time".to_owned())),
        }
    }

    /// Makes a call, with another member where the current one fails and that is safe.
    pub(super) async fn call<T, F>(&self, kind: Kind, call: impl Fn(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = match kind {
            Kind::Read => READ,
            Kind::Write => WRITE,
        };
        let until = Instant::now() + TRYING;
        let mut pause = PAUSE.0;
        let mut unreachable = 0;
        let mut renewed = false;
        loop {
            let number = self.current();
            let failure = match self.client(number, Use::Calls).await {
                Err(failure) => failure,
                Ok(client) => match timeout(deadline, Box::pin(call(client.clone()))).await {
                    Ok(Ok(done)) => return Ok(done),
                    Ok(Err(error)) => {
                        let failure = Failure::of(error);
                        if matches!(failure, Failure::Refused(_)) && self.has_login && !renewed {
                            // The token is older than the last change of users and roles.
                            renewed = true;
                            if timeout(READ, client.refresh_token())
                                .await
                                .is_ok_and(|renewed| renewed.is_ok())
                            {
                                continue;
                            }
                        }
                        failure
                    }
                    Err(_) => Failure::Silent,
                },
            };
            match failure {
                Failure::Unreachable(_) => {
                    self.leave(number);
                    unreachable += 1;
                    if unreachable >= self.members.len() {
                        return Err(failure);
                    }
                    continue;
                }
                Failure::Silent | Failure::Broken(_) | Failure::NoLeader => self.leave(number),
                _ => return Err(failure),
            }
            let again = kind == Kind::Read || failure.was_not_done();
            if !again || Instant::now() >= until {
                return Err(failure);
            }
            unreachable = 0;
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }
}
