//! What the operator of a control plane decides.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use kt_proto::signed::Trust;

use crate::{
    audit::{IngestSettings, RetentionSettings, sink::SinkSettings, store::AuditStore},
    delivery::DeliveryOptions,
    mirror::MirrorOptions,
    store::Store,
};

/// Where people and gateways connect.
pub const DEFAULT_LISTEN: &str = "0.0.0.0:7443";
/// Where metrics and health are.
pub const DEFAULT_ADMIN_LISTEN: &str = "127.0.0.1:7444";

/// The settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where people and gateways connect: gRPC.
    pub listen: SocketAddr,
    /// Where metrics and health are; absent: nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// Where everything is kept.
    pub store: StoreSettings,
    /// Where audit records are kept.
    pub audit: AuditSettings,
    /// How gateways send audit records.
    pub ingest: IngestSettings,
    /// When audit records are taken out.
    pub retention: RetentionSettings,
    /// What is fed with audit records.
    pub sinks: Vec<SinkSettings>,
    /// Where the bootstrap token is written.
    pub data_dir: PathBuf,
    /// Where the keys of the audit are; absent: the folder above.
    pub audit_key_dir: Option<PathBuf>,
    /// Certificates; absent: clear text.
    pub tls: Option<TlsSettings>,
    /// How often the files of the certificates are looked at.
    pub tls_reload: Duration,
    /// Clear text also beyond the loopback.
    pub insecure: bool,
    /// The name of this replica; absent: the host's with the port.
    pub replica: Option<String>,
    /// Whose signatures are asked for when something is published; empty: gateways decide.
    pub trust: Trust,
    /// Bytes of sources that are kept in memory.
    pub body_cache_bytes: usize,
    /// How long to wait for the first reading of the store.
    pub first_load: Duration,
    /// How long gateways may take to go elsewhere when the control plane is told to stop.
    pub drain: Duration,
    /// How long calls in flight may take after that.
    pub shutdown: Duration,
    /// When to compare with the store.
    pub mirror: MirrorOptions,
    /// How gateways are served.
    pub delivery: DeliveryOptions,
}

/// Where everything is kept.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// One file, one process.
    Embedded(PathBuf),
    /// An etcd cluster.
    #[cfg(feature = "etcd")]
    Etcd(crate::store::etcd::EtcdSettings),
    /// A store that is open already.
    Given(Arc<dyn Store>),
}

/// Where audit records are kept.
#[derive(Debug, Clone)]
pub enum AuditSettings {
    /// Nowhere: they stay on the gateways.
    Off,
    /// One SQLite file, one process.
    Sqlite(PathBuf),
    /// A PostgreSQL server, for several replicas.
    #[cfg(feature = "postgres")]
    Postgres(Box<crate::audit::store::postgres::PostgresSettings>),
    /// A store that is open already.
    Given(Arc<dyn AuditStore>),
}

/// Files in PEM.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// The certificate and those that it rests on.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of client certificates; present: callers must show one.
    pub client_ca: Option<PathBuf>,
}

impl Settings {
    /// The defaults, with everything under one folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7443)),
            admin_listen: Some(SocketAddr::from(([127, 0, 0, 1], 7444))),
            store: StoreSettings::Embedded(data_dir.join("store.redb")),
            audit: AuditSettings::Sqlite(data_dir.join("audit.sqlite")),
            ingest: IngestSettings::default(),
            retention: RetentionSettings::default(),
            sinks: Vec::new(),
            data_dir,
            audit_key_dir: None,
            tls: None,
            tls_reload: Duration::from_secs(5),
            insecure: false,
            replica: None,
            trust: Trust::default(),
            body_cache_bytes: 64 * 1024 * 1024,
            first_load: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            shutdown: Duration::from_secs(10),
            mirror: MirrorOptions::default(),
            delivery: DeliveryOptions::default(),
        }
    }
}
