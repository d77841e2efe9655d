//! The framer around a connection.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use super::{FAULT_HEADER, Fault, Framer, HeadLimits};

/// How long bytes that nobody will read are taken in, so that the peer reads our answer before a reset.
const LINGER: Duration = Duration::from_secs(2);

/// What the guard and the service of one connection know of each other.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    /// Requests that are being answered.
    in_flight: AtomicUsize,
}

impl ConnectionState {
    /// Counts a request until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<ConnectionState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// For a head, from its first byte.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// To take anything of what is written to it.
    pub(crate) stall: Duration,
}

/// A connection whose requests are framed before anyone reads them.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    framer: Framer,
    /// Bytes that were received and are not cleared yet.
    held: BytesMut,
    /// Bytes that are cleared and not handed on yet.
    cleared: BytesMut,
    deadline: Pin<Box<Sleep>>,
    head_timeout: Duration,
    idle_timeout: Duration,
    connection: Arc<ConnectionState>,
    is_at_end: bool,
    /// The body that is being read is broken; told once, when the bytes before are handed on.
    failure: Option<Fault>,
    linger: Linger,
    /// Runs while the peer takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    stall_timeout: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Linger {
    /// The write side is open.
    No,
    /// The write side is closed; the peer may still be sending.
    Reading,
}

impl<S> Guarded<S> {
    /// Guards `inner`. The first head has its time from now.
    pub(crate) fn new(inner: S, limits: HeadLimits, times: Times, connection: Arc<ConnectionState>) -> Self {
        Self {
            inner,
            framer: Framer::new(limits),
            held: BytesMut::new(),
            cleared: BytesMut::new(),
            deadline: Box::pin(tokio::time::sleep(times.head)),
            head_timeout: times.head,
            idle_timeout: times.idle,
            connection,
            is_at_end: false,
            failure: None,
            linger: Linger::No,
            stall: None,
            stall_timeout: times.stall,
        }
    }

    fn refuse(&mut self, fault: Fault) {
        self.framer.refuse();
        self.held.clear();
        let request = format!(
            "GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n{FAULT_HEADER}: {}\r\n\r\n",
            fault.code()
        );
        self.cleared.extend_from_slice(request.as_bytes());
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads once from the connection, through `buf`: what is cleared at once stays in it, the rest is kept here.
    fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let received = buf.filled().get(before..).unwrap_or_default();
        if received.is_empty() {
            // A head cut short is not a request; whoever waits for one sees the end of the connection.
            self.is_at_end = true;
            return Poll::Ready(Ok(()));
        }
        let was_between = self.framer.in_head() && self.held.is_empty();
        let cleared = if self.held.is_empty() {
            let cleared = self.framer.clear(received);
            self.held.extend_from_slice(received.get(cleared.bytes..).unwrap_or_default());
            buf.set_filled(before + cleared.bytes);
            cleared
        } else {
            self.held.extend_from_slice(received);
            buf.set_filled(before);
            let cleared = self.framer.clear(&self.held);
            self.cleared = self.held.split_to(cleared.bytes);
            cleared
        };
        match cleared.fault {
            // What stands before it is handed on first: the head of the request, at least.
            Some(Fault::MalformedChunk) => self.failure = Some(Fault::MalformedChunk),
            Some(fault) => self.refuse(fault),
            None if self.framer.in_head() && self.held.is_empty() => {
                self.deadline.as_mut().reset(Instant::now() + self.idle_timeout);
            }
            None if self.framer.in_head() && (was_between || cleared.bytes > 0) => {
                self.deadline.as_mut().reset(Instant::now() + self.head_timeout);
            }
            None => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has taken too long with a head, or has rested too long between two.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.framer.in_head() {
            return Poll::Pending;
        }
        loop {
            ready!(self.deadline.as_mut().poll(cx));
            if !self.connection.is_busy() {
                return Poll::Ready(());
            }
            // The answer to an earlier request is under way: nobody waits for the peer.
            let patience = if self.held.is_empty() { self.idle_timeout } else { self.head_timeout };
            self.deadline.as_mut().reset(Instant::now() + patience);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            if buf.remaining() == 0 || buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if !this.cleared.is_empty() {
                let length = this.cleared.len().min(buf.remaining());
                buf.put_slice(this.cleared.get(..length).unwrap_or_default());
                this.cleared.advance(length);
                return Poll::Ready(Ok(()));
            }
            if this.is_at_end {
                return Poll::Ready(Ok(()));
            }
            if let Some(fault) = this.failure.take() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
            }
            if this.framer.is_refused() {
                // Nothing more is read. This is not the end of the connection: hyper would take that for a client
                // that went away, and give up the answer. That answer says `connection: close`, and ends it.
                return Poll::Pending;
            }
            match this.poll_receive(cx, buf) {
                Poll::Ready(result) => result?,
                Poll::Pending => {
                    ready!(this.poll_deadline(cx));
                    if this.held.is_empty() {
                        this.is_at_end = true;
                    } else {
                        this.refuse(Fault::HeadTimeout);
                    }
                }
            }
        }
    }
}

impl<S> Guarded<S> {
    /// Gives up on a peer that takes nothing for too long: an answer that nobody reads holds an upstream.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let timeout = self.stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Closes the write side. When bytes may be on their way that nobody will read, they are taken in for a moment:
    /// closing with unread bytes resets the connection, and the peer would lose the answer that says why.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger == Linger::No {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if this.is_at_end || !this.framer.is_unfinished() {
                return Poll::Ready(Ok(()));
            }
            this.linger = Linger::Reading;
            this.deadline.as_mut().reset(Instant::now() + LINGER);
        }
        let mut discarded = [0_u8; 4096];
        loop {
            if this.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                // The answer is out; how the peer goes away does not matter any more.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
