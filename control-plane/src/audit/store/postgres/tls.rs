//! TLS to the server: rustls over the client's socket.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Socket,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_rustls::{TlsConnector, client};

use super::settings::{PostgresSettings, PostgresSettingsError};
use crate::causes::chained;

/// Makes connections secure, with the server's name and authority checked.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

/// One handshake.
pub(super) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// A secured socket.
pub(super) struct Secured(client::TlsStream<Socket>);

// === impl Tls ===

impl Tls {
    /// With the system's authorities and those of the settings.
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, PostgresSettingsError> {
        let mut roots = RootCertStore::empty();
        // What the system has and can't be read is left out, as others do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = settings.ca_file() {
            let not_pem = || PostgresSettingsError::NotPem { path: path.to_owned() };
            let pem = std::fs::read(path)
                .map_err(|source| PostgresSettingsError::File { path: path.to_owned(), source })?;
            let mut found = CertificateDer::pem_slice_iter(&pem).peekable();
            if found.peek().is_none() {
                return Err(not_pem());
            }
            for authority in found {
                roots.add(authority.map_err(|_| not_pem())?).map_err(|_| not_pem())?;
            }
        }
        if roots.is_empty() {
            return Err(PostgresSettingsError::NoAuthority);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PostgresSettingsError::Tls(chained(&error)))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Asked for by servers that take TLS without negotiation.
        config.alpn_protocols.push(b"postgresql".to_vec());
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Secured;
    type TlsConnect = Handshake;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, InvalidDnsNameError> {
        let name = ServerName::try_from(domain.to_owned())?;
        Ok(Handshake { connector: self.0.clone(), name })
    }
}

// === impl Handshake ===

impl TlsConnect<Socket> for Handshake {
    type Stream = Secured;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Secured>>;

    fn connect(self, socket: Socket) -> Self::Future {
        async move { self.connector.connect(self.name, socket).await.map(Secured) }.boxed()
    }
}

// === impl Secured ===

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl TlsStream for Secured {
    fn channel_binding(&self) -> ChannelBinding {
        // The server is known by its certificate, checked to the root.
        ChannelBinding::none()
    }
}
