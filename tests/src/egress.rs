//! What stands between a gateway and its upstream in real networks: certificate authorities, TLS, proxies.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A certificate authority that nobody trusts unasked.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// By its own rules.
    #[error(transparent)]
    Make(#[from] rcgen::Error),
    /// TLS does not take it.
    #[error(transparent)]
    Use(#[from] rustls::Error),
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> Result<Self, CertificateError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its certificate as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn server(&self, host: &str) -> Result<ServerConfig, CertificateError> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?)
    }
}

/// A server that takes TLS off and passes the bytes on to another one. It stops when it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    /// Where it listens.
    pub addr: SocketAddr,
    _stop: DropGuard,
}

impl TlsFront {
    /// Starts one in front of `backend`, with a certificate for `host`.
    ///
    /// # Errors
    /// When the certificate cannot be made, or nothing can be listened on.
    pub async fn start(authority: &Authority, host: &str, backend: SocketAddr) -> io::Result<Self> {
        let config = authority.server(host).map_err(io::Error::other)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (addr, stop) = serve(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut backend = TcpStream::connect(backend).await?;
                copy_bidirectional(&mut stream, &mut backend).await?;
                Ok(())
            }
        })
        .await?;
        Ok(Self { addr, _stop: stop })
    }
}

/// An HTTP proxy that knows `CONNECT` alone, and leads every tunnel to one address. It stops when it is dropped.
#[derive(Debug)]
pub struct ConnectProxy {
    /// Where it listens.
    pub addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _stop: DropGuard,
}

impl ConnectProxy {
    /// Starts one whose tunnels end at `end`, whatever was asked for.
    ///
    /// # Errors
    /// When nothing can be listened on.
    pub async fn start(end: SocketAddr) -> io::Result<Self> {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let (addr, stop) = serve(move |stream| tunnel(stream, end, Arc::clone(&seen))).await?;
        Ok(Self { addr, heads, _stop: stop })
    }

    /// The heads of the requests so far, each as it came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn tunnel(stream: TcpStream, end: SocketAddr, heads: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let is_connect = head.starts_with("CONNECT ");
    heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    if !is_connect {
        return stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n").await;
    }
    let mut end = TcpStream::connect(end).await?;
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut stream, &mut end).await?;
    Ok(())
}

/// Serves each connection until the guard is dropped; how a connection ends concerns nobody.
async fn serve<F, A>(answer: F) -> io::Result<(SocketAddr, DropGuard)>
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    TaskTracker::new().spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => {}
                Ok((stream, _)) = listener.accept() => {
                    connections.spawn(answer(stream));
                }
            }
        }
    });
    Ok((addr, guard))
}
