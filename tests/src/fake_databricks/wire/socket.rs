//! A TCP socket that a reply can order to die with a reset, or to hand over below HTTP.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::super::echo::Exchange;

/// Says how a connection shall end; shared between the socket and the replies that travel over it.
///
/// A mutex, because the socket is dropped inside hyper, where nothing can be awaited.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate(Arc<Mutex<End>>);

#[derive(Debug, Default)]
enum End {
    /// An orderly close, as hyper does it.
    #[default]
    Orderly,
    /// RST: unsent bytes are lost and the peer sees `ECONNRESET`.
    Reset,
    /// hyper lets go of the socket, and these bytes are written to it as they are.
    HandOver(Raw, Exchange),
    /// The same, after hyper has let go.
    HandedOver(TcpStream, Raw, Exchange),
}

/// Bytes below HTTP, and what follows them.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// What follows raw bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The connection closes in order.
    Close,
    /// Whatever arrives is sent back, as the far end of a tunnel would.
    Echo,
}

impl Fate {
    fn set(&self, end: End) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    fn take(&self) -> End {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_orderly(&self) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), End::Orderly)
    }

    /// From now on, dropping the socket resets the connection.
    pub(crate) fn reset_on_drop(&self) {
        self.set(End::Reset);
    }

    /// From now on, dropping the socket leaves it to [`Fate::finish`].
    pub(crate) fn hand_over(&self, raw: Raw, exchange: Exchange) {
        self.set(End::HandOver(raw, exchange));
    }

    /// Plays the rest of a connection that hyper has let go of, if there is one.
    pub(crate) async fn finish(&self) {
        let End::HandedOver(mut stream, raw, mut exchange) = self.take() else { return };
        if stream.write_all(&raw.bytes).await.is_err() {
            return;
        }
        exchange.sent(raw.bytes.len() as u64);
        if raw.then == Then::Echo {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                let piece = buffer.get(..read).unwrap_or_default();
                if stream.write_all(piece).await.is_err() {
                    return;
                }
                exchange.sent(read as u64);
            }
        }
        exchange.completed();
    }
}

/// The socket that hyper owns. Dropping it ends the connection in the way that its [`Fate`] says.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Option<TcpStream>,
    fate: Fate,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, fate: Fate) -> Self {
        Self { stream: Some(stream), fate }
    }

    /// The stream leaves in `drop` only.
    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        self.get_mut().stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        match self.fate.take() {
            End::Orderly | End::HandedOver(..) => {}
            // A socket that is gone already cannot be reset; either way the peer sees it closed.
            End::Reset => drop(stream.set_zero_linger()),
            End::HandOver(raw, exchange) => self.fate.set(End::HandedOver(stream, raw, exchange)),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.fate.is_orderly() {
            // An orderly shutdown would send FIN first, and the peer would see a clean end.
            return Poll::Ready(Ok(()));
        }
        self.stream()?.poll_shutdown(cx)
    }
}
