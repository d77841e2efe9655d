//! TLS on the way in, with certificates that are taken anew when their files change.
//!
//! A change is seen by content, so a swapped symlink (as Kubernetes does it) counts. What can't be used, a half-written
//! file or a key that does not belong to the certificate, leaves the old ones in force; that is said once, shown in
//! `/readyz`, and looked at again. Connections that are open keep what they were opened with, until their age ends them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use futures_util::StreamExt as _;
use kt_audit::Digest;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{net::TcpStream, sync::mpsc, task::JoinSet, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::TcpIncoming;

use crate::settings::TlsSettings;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at the same time; whoever comes then waits in the backlog.
const MAX_HANDSHAKES: usize = 1024;
/// How long accepting rests when the system has no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A file that can't be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("can't use `{}`: {reason}", path.display())]
pub(crate) struct Unusable {
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

/// How often certificates were taken anew, and how often they were not.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsMetrics {
    reloads: Family<ReloadLabels, Counter>,
}

/// What the files hold.
struct Files {
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// The certificates in force, and where they come from.
pub(crate) struct Certificates {
    settings: TlsSettings,
    config: ArcSwap<ServerConfig>,
    /// Why newer files are not taken.
    fault: ArcSwapOption<String>,
    metrics: TlsMetrics,
}

// === impl TlsMetrics ===

impl TlsMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Changed certificates that were taken, and those that could not be used";
        registry.register("tls_reloads", help, self.reloads.clone());
    }

    fn count(&self, result: &'static str) {
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
    }
}

// === impl Files ===

impl Files {
    fn read(settings: &TlsSettings) -> Result<Self, Unusable> {
        let read = |path: &Path| {
            fs::read(path).map_err(|error| Unusable { path: path.to_owned(), reason: error.to_string() })
        };
        Ok(Self {
            cert: read(&settings.cert)?,
            key: zeroize::Zeroizing::new(read(&settings.key)?),
            client_ca: settings.client_ca.as_deref().map(read).transpose()?,
        })
    }

    /// Tells contents apart.
    fn digest(&self) -> Digest {
        let parts = [&*self.cert, &**self.key, self.client_ca.as_deref().unwrap_or_default()];
        Digest::of(&parts.map(|part| Digest::of(part).0).concat())
    }

    fn config(&self, settings: &TlsSettings) -> Result<ServerConfig, Unusable> {
        let bad = |path: &Path, reason: String| Unusable { path: path.to_owned(), reason };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(&settings.cert, error.to_string()))?;
        let builder = match (&self.client_ca, &settings.client_ca) {
            (Some(pem), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(pem, path)? {
                    roots.add(authority).map_err(|error| bad(path, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .map_err(|error| bad(path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let chain = certificates(&self.cert, &settings.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| bad(&settings.key, format!("no private key: {error}")))?;
        let mut config =
            builder.with_single_cert(chain, key).map_err(|error| bad(&settings.cert, error.to_string()))?;
        config.alpn_protocols.push(b"h2".to_vec());
        Ok(config)
    }
}

/// Every certificate of a file; one that is cut off spoils all.
fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let unusable = |reason: String| Unusable { path: path.to_owned(), reason };
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if all.is_empty() { Err(unusable("no certificate in it".to_owned())) } else { Ok(all) }
}

// === impl Certificates ===

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads them; a start with files that can't be used is refused. Changes are looked for every `every`, on `tasks`,
    /// until `stop`.
    pub(crate) fn start(
        settings: TlsSettings,
        every: Duration,
        metrics: TlsMetrics,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, Unusable> {
        let files = Files::read(&settings)?;
        let config = ArcSwap::from_pointee(files.config(&settings)?);
        let certificates = Arc::new(Self { settings, config, fault: ArcSwapOption::empty(), metrics });
        let (kept, digest) = (Arc::clone(&certificates), files.digest());
        tasks.spawn(async move { stop.run_until_cancelled(kept.watch(every, digest)).await });
        Ok(certificates)
    }

    /// Why newer files are not taken; absent: what is in the files is in force.
    pub(crate) fn fault(&self) -> Option<Arc<String>> {
        self.fault.load_full()
    }

    async fn watch(self: Arc<Self>, every: Duration, mut seen: Digest) {
        let mut due = tokio::time::interval(every);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let this = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || this.look(seen)).await;
            if let Ok(digest) = looked {
                seen = digest;
            }
        }
    }

    /// Takes what has changed since `seen`, if it can be used. Gives what was taken last, so that what could not be used
    /// is looked at again.
    fn look(&self, seen: Digest) -> Digest {
        let files = match Files::read(&self.settings) {
            Ok(files) => files,
            Err(unusable) => {
                self.refuse(&unusable);
                return seen;
            }
        };
        let digest = files.digest();
        if digest == seen {
            // What was bad was taken back.
            self.fault.store(None);
            return seen;
        }
        match files.config(&self.settings) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                self.fault.store(None);
                self.metrics.count("accepted");
                tracing::info!(cert = %self.settings.cert.display(), "Certificates were taken anew.");
                digest
            }
            Err(unusable) => {
                self.refuse(&unusable);
                seen
            }
        }
    }

    /// Says once what is wrong with newer files.
    fn refuse(&self, unusable: &Unusable) {
        let fault = unusable.to_string();
        if self.fault.load().as_deref() != Some(&fault) {
            self.metrics.count("refused");
            tracing::error!(fault, "Changed certificates can't be used; the old ones stay.");
            self.fault.store(Some(Arc::new(fault)));
        }
    }

    /// The connections that have shaken hands, each with the certificates of that moment.
    pub(crate) fn incoming(
        self: Arc<Self>,
        tcp: TcpIncoming,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
        let (ready, connections) = mpsc::channel(64);
        tasks.spawn(async move { stop.run_until_cancelled(self.accept(tcp, ready)).await });
        ReceiverStream::new(connections)
    }

    async fn accept(
        self: Arc<Self>,
        mut tcp: TcpIncoming,
        ready: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
    ) {
        let mut handshakes = JoinSet::new();
        loop {
            tokio::select! {
                accepted = tcp.next(), if handshakes.len() < MAX_HANDSHAKES => match accepted {
                    Some(Ok(stream)) => {
                        let acceptor = TlsAcceptor::from(self.config.load_full());
                        handshakes.spawn(timeout(HANDSHAKE, acceptor.accept(stream)));
                    }
                    Some(Err(error)) => {
                        tracing::debug!(%error, "Connection can't be accepted.");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    None => return,
                },
                // Who does not get through is the other side's business: scanners, and authorities that it does not know.
                Some(shaken) = handshakes.join_next(), if !handshakes.is_empty() => {
                    if let Ok(Ok(Ok(stream))) = shaken && ready.send(Ok(stream)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
