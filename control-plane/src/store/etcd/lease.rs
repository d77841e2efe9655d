//! The lease of this process: what carries its ephemeral values, kept alive by one task.

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, LeaseKeepAliveStream, LeaseKeeper};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    failure::Failure,
    members::{Kind, Members, Use},
};
use crate::store::EPHEMERAL_SECONDS;

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(4);
/// How long the answer to one may take.
const ANSWER: Duration = Duration::from_secs(3);
/// Between two tries after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a commit waits for a lease.
const WAIT: Duration = Duration::from_secs(4);

/// The lease, for those who commit.
#[derive(Debug)]
pub(super) struct Lease {
    held: watch::Receiver<Option<i64>>,
    asked: mpsc::Sender<Asked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Somebody needs a lease.
    Needed,
    /// etcd does not know this one any more.
    Gone(i64),
}

/// The task behind it.
pub(super) struct Keeper {
    members: Arc<Members>,
    held: watch::Sender<Option<i64>>,
    asked: mpsc::Receiver<Asked>,
    stop: CancellationToken,
}

enum Held {
    Lost,
    Stopped,
}

// === impl Lease ===

impl Lease {
    pub(super) fn new(members: Arc<Members>, stop: CancellationToken) -> (Self, Keeper) {
        let (held_sender, held) = watch::channel(None);
        let (asked, asked_receiver) = mpsc::channel(8);
        (Self { held, asked }, Keeper { members, held: held_sender, asked: asked_receiver, stop })
    }

    /// A lease that is alive as far as is known; absent when there is none in time.
    pub(super) async fn id(&self) -> Option<i64> {
        let mut held = self.held.clone();
        if let Some(id) = *held.borrow() {
            return Some(id);
        }
        let _ = self.asked.try_send(Asked::Needed);
        let id = timeout(WAIT, held.wait_for(Option::is_some)).await.ok()?.ok()?;
        *id
    }

    /// Says that a lease is not known to etcd; returns when another is held or there is none.
    pub(super) async fn is_gone(&self, id: i64) {
        let _ = self.asked.try_send(Asked::Gone(id));
        let mut held = self.held.clone();
        let _ = timeout(WAIT, held.wait_for(|held| *held != Some(id))).await;
    }
}

// === impl Keeper ===

impl Keeper {
    /// Runs until it is told to stop; then gives the lease back, and its values go at once.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                asked = self.asked.recv() => if asked.is_none() { return },
            }
            // Once needed, a lease is kept for good.
            while !self.stop.is_cancelled() {
                let ttl = i64::try_from(EPHEMERAL_SECONDS).unwrap_or(i64::MAX);
                let began = Instant::now();
                let granted = self
                    .members
                    .call(Kind::Write, async |mut client: Client| client.lease_grant(ttl, None).await)
                    .await;
                let Ok(granted) = granted else {
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = sleep(PAUSE) => continue,
                    }
                };
                let id = granted.id();
                self.held.send_replace(Some(id));
                let held = self.hold(id, began).await;
                self.held.send_replace(None);
                if let Held::Stopped = held {
                    let revoke = self
                        .members
                        .call(Kind::Read, async |mut client: Client| client.lease_revoke(id).await);
                    let _ = timeout(ANSWER, revoke).await;
                    return;
                }
                tracing::warn!("the lease of ephemeral values was lost");
            }
        }
    }

    /// Keeps one lease alive. It counts as lost, by the clock of this process, when nothing was heard of it for as
    /// long as it lives.
    async fn hold(&mut self, id: i64, began: Instant) -> Held {
        let mut alive = began;
        let mut stream = None;
        let mut next = began + BEAT;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Held::Stopped,
                asked = self.asked.recv() => match asked {
                    Some(Asked::Gone(gone)) if gone == id => return Held::Lost,
                    Some(_) => continue,
                    None => return Held::Stopped,
                },
                () = sleep_until(next) => next = Instant::now() + BEAT,
            }
            let (beaten, number) = (Instant::now(), self.members.current());
            match timeout(ANSWER, beat(&self.members, number, id, &mut stream)).await {
                Ok(Ok(true)) => alive = beaten,
                Ok(Ok(false)) => return Held::Lost,
                Ok(Err(_)) | Err(_) => {
                    stream = None;
                    self.members.leave(number);
                }
            }
            if alive.elapsed().as_secs() >= EPHEMERAL_SECONDS {
                return Held::Lost;
            }
        }
    }
}

type Beats = (LeaseKeeper, LeaseKeepAliveStream);

/// One sign of life; false when etcd does not know the lease.
async fn beat(
    members: &Members,
    number: usize,
    id: i64,
    stream: &mut Option<Beats>,
) -> Result<bool, Failure> {
    let Some((keeper, answers)) = stream else {
        let mut client = members.client(number, Use::Calls).await?;
        // Opening it is a sign of life too.
        return match client.lease_keep_alive(id).await {
            Ok(opened) => {
                *stream = Some(opened);
                Ok(true)
            }
            // The client's word for a time to live of zero.
            Err(etcd_client::Error::LeaseKeepAliveError(_)) => Ok(false),
            Err(error) => Err(Failure::of(error)),
        };
    };
    keeper.keep_alive().await.map_err(Failure::of)?;
    match answers.message().await.map_err(Failure::of)? {
        Some(answer) => Ok(answer.ttl() > 0),
        None => Err(Failure::Broken("the stream has ended".to_owned())),
    }
}
