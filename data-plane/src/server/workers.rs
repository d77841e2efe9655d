//! The threads that serve connections: one a processor, each with a runtime of its own.
//!
//! A request is a chain of short steps between two sockets. On a shared runtime nearly every step wakes another thread
//! that might take over, which costs more than the step; here a connection, its requests and their connections to
//! upstreams stay on one thread. What is lost is that an idle processor takes work from a busy one. So a connection
//! goes to the thread that has the fewest, each stream of an HTTP/2 connection is a task that goes to the next thread,
//! and whatever computes for long goes to the blocking pool.

use std::{
    cell::Cell,
    io,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::runtime::{Builder, Handle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

thread_local! {
    /// The number of the worker that this thread is, from 1.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// How many workers there are: one a processor that this process may use.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// The number of the worker that this thread is, from 1; 0 on any other thread.
pub(crate) fn number() -> usize {
    NUMBER.get()
}

/// The workers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    shared: Arc<Inner>,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Inner {
    workers: Vec<Worker>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    connections: AtomicUsize,
}

impl Workers {
    /// Starts the workers. They run until `stop`, and drop then whatever they still have; `tasks` tracks what runs.
    pub(crate) fn start(tasks: &TaskTracker, stop: &CancellationToken) -> io::Result<Self> {
        let workers = (1..=count()).map(|number| Worker::start(number, stop)).collect::<io::Result<_>>()?;
        let shared = Arc::new(Inner { workers, next: AtomicUsize::new(0) });
        Ok(Self { shared, tasks: tasks.clone() })
    }

    /// Runs a connection on the worker that has the fewest.
    pub(crate) fn spawn_connection(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let workers = self.shared.workers.iter().enumerate();
        let fewest = workers.min_by_key(|(_, worker)| worker.connections.load(Ordering::Relaxed));
        let Some((index, worker)) = fewest else { return };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted { shared: Arc::clone(&self.shared), index };
        let connection = async move {
            let _counted = counted;
            connection.await;
        };
        self.tasks.spawn_on(connection, &worker.handle);
    }

    /// Runs a part of a connection on the next worker.
    pub(crate) fn spawn_part(&self, part: impl Future<Output: Send + 'static> + Send + 'static) {
        let next = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let index = next % self.shared.workers.len().max(1);
        let Some(worker) = self.shared.workers.get(index) else { return };
        self.tasks.spawn_on(part, &worker.handle);
    }
}

impl Worker {
    fn start(number: usize, stop: &CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = stop.clone();
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            NUMBER.set(number);
            runtime.block_on(stop.cancelled());
        })?;
        Ok(Self { handle, connections: AtomicUsize::new(0) })
    }
}

/// A connection of a worker, counted until it is dropped.
struct Counted {
    shared: Arc<Inner>,
    index: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(worker) = self.shared.workers.get(self.index) {
            worker.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn connections_are_spread_and_what_they_start_stays_on_their_thread() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let workers = Workers::start(&tasks, &stop).unwrap();
        let (told, mut numbers) = mpsc::channel(64);
        let hold = CancellationToken::new();
        for _ in 0..2 * count() {
            let (told, hold, tasks) = (told.clone(), hold.clone(), tasks.clone());
            workers.spawn_connection(async move {
                let below = tasks.spawn(async { number() }).await.unwrap();
                told.send((number(), below)).await.unwrap();
                hold.cancelled().await;
            });
        }
        let mut of_each = vec![0; count() + 1];
        for _ in 0..2 * count() {
            let (number, below) = numbers.recv().await.unwrap();
            assert_eq!(number, below);
            of_each[number] += 1;
        }
        assert_eq!(of_each[0], 0, "nothing runs on the caller's thread");
        assert!(of_each[1..].iter().all(|connections| *connections == 2), "{of_each:?}");
        hold.cancel();
        tasks.close();
        tasks.wait().await;
        assert!(workers.shared.workers.iter().all(|worker| worker.connections.load(Ordering::Relaxed) == 0));
        stop.cancel();
    }

    #[tokio::test]
    async fn workers_that_stop_drop_what_they_have() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let workers = Workers::start(&tasks, &stop).unwrap();
        let (held, mut gone) = mpsc::channel::<()>(1);
        workers.spawn_connection(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        stop.cancel();
        assert_eq!(gone.recv().await, None);
    }
}
