//! One connection: sends, receives whole, counts, sends again.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::http1::{Reader, Received};
use super::request::Template;
use super::stats::Tally;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    /// Time between two requests of all connections together; none: as fast as they are answered.
    pub(crate) interval: Option<Duration>,
    pub(crate) started: Instant,
    /// Requests begun before are warm-up.
    pub(crate) measured_from: Instant,
    pub(crate) deadline: Instant,
    pub(crate) request_timeout: Duration,
    /// Numbers of requests; also the places in the fixed-rate schedule.
    pub(crate) tickets: AtomicU64,
    /// No ticket at or above is sent.
    pub(crate) last_ticket: u64,
    pub(crate) ids: Option<File>,
    pub(crate) run: u32,
    pub(crate) stop: CancellationToken,
}

/// Why a request was not completed.
enum Failure {
    Connect,
    Closed,
    Timeout,
    Malformed,
}

impl Failure {
    fn name(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
        }
    }
}

/// After a failed connect, so that a server that is down is not hammered by a spinning client.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Runs until the deadline, the last ticket or the stop.
pub(crate) async fn run(plan: Arc<Plan>, mut template: Template) -> Result<Tally, std::io::Error> {
    let mut tally = Tally::default();
    let mut connection = None;
    loop {
        let number = plan.tickets.fetch_add(1, Ordering::Relaxed);
        if number >= plan.last_ticket {
            return Ok(tally);
        }
        let Some(due) = plan.wait_for_turn(number, &mut tally).await else { return Ok(tally) };
        let (bytes, mark) = template.next(plan.run, number);
        let sent = Instant::now();
        let limit = sent + plan.request_timeout;
        let exchanged = tokio::select! {
            exchanged = timeout_at(limit, exchange(&plan, &mut connection, bytes, &mut tally)) => exchanged,
            // What is in flight at a stop was neither completed nor refused.
            () = plan.stop.cancelled() => return Ok(tally),
        };
        let ended = Instant::now();
        match exchanged.unwrap_or(Err(Failure::Timeout)) {
            Ok((received, first_byte)) if received.status.get() == 200 => {
                plan.note_id(&received, mark.as_deref())?;
                if sent < plan.measured_from {
                    tally.warm_up += 1;
                } else {
                    tally.latency_us.push(micros(ended - due));
                    tally.first_byte_us.push(micros(first_byte - sent));
                    tally.body_bytes += received.body_bytes;
                }
            }
            Ok((received, _)) => tally.error(received.status.to_string()),
            Err(failure) => {
                connection = None;
                tally.error(failure.name());
                if matches!(failure, Failure::Connect) {
                    sleep_until(ended + RECONNECT_PAUSE).await;
                }
            }
        }
    }
}

impl Plan {
    /// Waits until a request may be sent; returns the moment from which its latency counts.
    async fn wait_for_turn(&self, number: u64, tally: &mut Tally) -> Option<Instant> {
        let now = Instant::now();
        if now >= self.deadline || self.stop.is_cancelled() {
            return None;
        }
        let Some(interval) = self.interval else { return Some(now) };
        let due = self.started + interval.mul_f64(precise(number));
        if due >= self.deadline {
            return None;
        }
        if due <= now {
            // The connection was busy when the request was due: waiting for it is part of its latency.
            if now - due > Duration::from_millis(1) && due >= self.measured_from {
                tally.late += 1;
            }
            return Some(due);
        }
        tokio::select! {
            () = sleep_until(due) => {}
            () = self.stop.cancelled() => return None,
        }
        // The timer's own lateness (a millisecond) is the generator's, not the server's.
        Some(Instant::now())
    }

    /// Appends the id of a completed response; a line is one write, so that no reader sees half of one.
    fn note_id(&self, received: &Received, mark: Option<&str>) -> Result<(), std::io::Error> {
        let Some(mut file) = self.ids.as_ref() else { return Ok(()) };
        let id = received.request_id.as_deref().unwrap_or("-");
        let line = mark.map_or_else(|| format!("{id}\n"), |mark| format!("{id} {mark}\n"));
        file.write_all(line.as_bytes())
    }
}

async fn exchange(
    plan: &Plan,
    connection: &mut Option<Connection>,
    request: &[u8],
    tally: &mut Tally,
) -> Result<(Received, Instant), Failure> {
    if connection.is_none() {
        tally.connects += 1;
        *connection = Some(connect(plan.addr).await?);
    }
    let Some(Connection { stream, buffer }) = connection.as_mut() else { return Err(Failure::Connect) };
    stream.write_all(request).await.map_err(|_| Failure::Closed)?;
    let mut reader = Reader::default();
    let mut first_byte = None;
    let received = loop {
        buffer.clear();
        let read = stream.read_buf(buffer).await.map_err(|_| Failure::Closed)?;
        if read == 0 {
            break reader.closed().ok_or(Failure::Closed)?;
        }
        first_byte.get_or_insert_with(Instant::now);
        if let Some(received) = reader.feed(buffer).map_err(|_| Failure::Malformed)? {
            break received;
        }
    };
    if !received.keep_alive {
        *connection = None;
    }
    Ok((received, first_byte.unwrap_or_else(Instant::now)))
}

async fn connect(addr: SocketAddr) -> Result<Connection, Failure> {
    let stream = TcpStream::connect(addr).await.map_err(|_| Failure::Connect)?;
    stream.set_nodelay(true).map_err(|_| Failure::Connect)?;
    Ok(Connection { stream, buffer: Vec::with_capacity(16 * 1024) })
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "tickets stay far below 2^52")]
fn precise(number: u64) -> f64 {
    number as f64
}
