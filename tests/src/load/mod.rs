//! A load generator for HTTP/1.1 that counts a request only when its whole 200 response has been received.
//!
//! Closed loop (each connection sends the next request when it has the answer to the last) or at a fixed rate, where
//! a request that had to wait for a free connection is timed from the moment when it was due, so that a stall of the
//! server shows in the figures instead of slowing the generator down with it.
//!
//! The ids of completed requests (`x-request-id` of the response) can be written to a file as they complete: a store
//! that lacks one of them after a crash has lost a record. A keep-alive connection that the server closes between
//! two requests counts as an error `closed`; nothing is retried, so that no request is ever counted twice.

mod http1;
mod request;
mod stats;
mod worker;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub use self::request::MARK;
use self::request::Template;
use self::stats::Tally;
pub use self::stats::{Quantiles, Report};
use self::worker::Plan;

/// What to send, how, and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// `http://HOST:PORT/PATH`.
    pub url: String,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// Requests a second of all connections together; none: closed loop.
    pub rate: Option<f64>,
    /// Time before anything is measured.
    pub warm_up: Duration,
    /// Time that is measured.
    pub duration: Duration,
    /// Ends earlier, after so many requests (warm-up included).
    pub requests: Option<u64>,
    /// After this a request counts as an error `timeout`.
    pub request_timeout: Duration,
    /// Further request headers.
    pub headers: Vec<(String, String)>,
    /// Request body; none: a chat with a prompt of 1 KB.
    pub body: Option<String>,
    /// `model` of the default body.
    pub model: String,
    /// Whether the default body asks for a stream.
    pub stream: bool,
    /// Puts a marker that no other request has where the body says [`MARK`].
    pub mark: bool,
    /// File to append the ids of completed requests to: `ID`, or `ID MARK` with marks.
    pub ids: Option<PathBuf>,
}

impl Options {
    /// A closed loop of one connection for ten seconds, without warm-up.
    pub fn to(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            connections: 1,
            rate: None,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(10),
            requests: None,
            request_timeout: Duration::from_mins(1),
            headers: Vec::new(),
            body: None,
            model: "databricks-meta-llama-3-3-70b-instruct".to_owned(),
            stream: false,
            mark: false,
            ids: None,
        }
    }
}

/// Why a run does not start, or has to end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not of the form that is understood.
    #[error("`{0}` is not of the form `http://HOST:PORT/PATH`")]
    Url(String),
    /// The host has no address.
    #[error("cannot resolve `{host}`: {source}")]
    Resolve {
        /// Host and port.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// The rate is zero, negative or not a number.
    #[error("the rate must be a positive number")]
    Rate,
    /// A header would break the request.
    #[error("the header `{0}` is malformed")]
    Header(String),
    /// Marks are asked for and the body has no place for them.
    #[error("the body has no `{MARK}` to replace")]
    NoMark,
    /// The file of ids.
    #[error("cannot write the file of ids: {0}")]
    Ids(io::Error),
    /// A connection's task failed.
    #[error("a connection of the generator failed: {0}")]
    Worker(#[from] tokio::task::JoinError),
}

/// Runs until the time is over, the requests are sent, or `stop` is cancelled, and reports.
pub async fn run(options: &Options, stop: CancellationToken) -> Result<Report, LoadError> {
    let (authority, path) = split_url(&options.url)?;
    let addr = resolve(authority).await?;
    let interval = match options.rate {
        None => None,
        Some(rate) if rate.is_finite() && rate > 0.0 => Some(Duration::from_secs_f64(1.0 / rate)),
        Some(_) => return Err(LoadError::Rate),
    };
    let template = Template::new(options, authority, path)?;
    let ids = options.ids.as_ref().map(|path| File::options().create(true).append(true).open(path));
    let started = Instant::now();
    let measured_from = started + options.warm_up;
    let deadline = measured_from + options.duration;
    let plan = Arc::new(Plan {
        addr,
        interval,
        started,
        measured_from,
        deadline,
        request_timeout: options.request_timeout,
        tickets: AtomicU64::new(0),
        last_ticket: options.requests.unwrap_or(u64::MAX),
        ids: ids.transpose().map_err(LoadError::Ids)?,
        run: run_number(),
        stop: stop.clone(),
    });
    let mut workers = JoinSet::new();
    for _ in 0..options.connections.max(1) {
        workers.spawn(worker::run(Arc::clone(&plan), template.clone()));
    }
    let mut tally = Tally::default();
    let mut cpu_before = processor_time();
    let mut warming = options.warm_up > Duration::ZERO;
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(ended) => tally.add(ended?.map_err(LoadError::Ids)?),
                None => break,
            },
            () = sleep_until(measured_from), if warming => {
                cpu_before = processor_time();
                warming = false;
            }
        }
    }
    let seconds = Instant::now().saturating_duration_since(measured_from).as_secs_f64();
    let cpu = processor_time().saturating_sub(cpu_before);
    Ok(tally.report(seconds, cpu.as_secs_f64() * 1e6))
}

fn split_url(url: &str) -> Result<(&str, &str), LoadError> {
    let rest = url.strip_prefix("http://").ok_or_else(|| LoadError::Url(url.to_owned()))?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let unusable = authority.is_empty() || url.contains([' ', '\r', '\n', '#', '@']);
    if unusable {
        Err(LoadError::Url(url.to_owned()))
    } else {
        Ok((authority, if path.is_empty() { "/" } else { path }))
    }
}

async fn resolve(authority: &str) -> Result<SocketAddr, LoadError> {
    let with_port = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let failed = |source| LoadError::Resolve { host: with_port.clone(), source };
    let mut found = tokio::net::lookup_host(&with_port).await.map_err(failed)?;
    found.next().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// Tells the markers of two runs apart.
fn run_number() -> u32 {
    let (_, low) = uuid::Uuid::now_v7().as_u64_pair();
    (low & 0xffff_ffff) as u32
}

/// Processor time of this process, user and system.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split_or_refused() {
        assert_eq!(split_url("http://h:1/a?b").unwrap(), ("h:1", "/a?b"));
        assert_eq!(split_url("http://h").unwrap(), ("h", "/"));
        for url in ["https://h/", "h:1", "http://", "http:///a", "http://u@h/", "http://h/a b"] {
            assert!(split_url(url).is_err(), "{url}");
        }
    }
}
