//! What the operator decides. The command line fills it in; a pack can change none of it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

pub use kt_policy::evaluate::FailMode;
use kt_policy::{bind::BindSettings, json};
use kt_proto::signed::Trust;

/// The settings of one gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where callers connect. Default `0.0.0.0:41002`.
    pub listen: SocketAddr,
    /// Where metrics and the configuration are shown; absent: nowhere. Default `127.0.0.1:41003`.
    pub admin_listen: Option<SocketAddr>,
    /// Where the pack comes from.
    pub origin: Origin,
    /// A model table that replaces the built-in one.
    pub models_file: Option<PathBuf>,
    /// What a pack may read and where its targets may be.
    pub bind: BindOptions,
    /// Who is asking.
    pub identity: IdentitySettings,
    /// Where records go. A pack with `audit-logger` in its chain is refused without it.
    pub audit: Option<AuditSettings>,
    /// What becomes of a request when a content policy fails or runs out of time.
    pub fail_mode: FailMode,
    /// How much a caller may ask for.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Whether `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are used for targets that are not on the loopback.
    pub proxy_from_environment: bool,
    /// Certificates (PEM) that are trusted beside the system's when a target is asked.
    pub upstream_ca_file: Option<PathBuf>,
    /// After how much silence of an upstream an open stream gets a comment, so that what stands between keeps the
    /// connection; absent: never.
    pub heartbeat: Option<Duration>,
    /// How often files (pack, keys, secrets) are looked at for new content.
    pub reload_interval: Duration,
}

/// Where the pack comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file, watched.
    File(PathBuf),
    /// A control plane, which pushes packs and gateway keys.
    ControlPlane(Box<ControlSettings>),
}

impl Origin {
    /// The control plane, where there is one.
    pub fn control_plane(&self) -> Option<&ControlSettings> {
        match self {
            Self::File(_) => None,
            Self::ControlPlane(control) => Some(control),
        }
    }
}

/// The control plane of a gateway.
#[derive(Debug, Clone)]
pub struct ControlSettings {
    /// `https://host:7443`; `http://` on the loopback only.
    pub url: String,
    /// Clear text is allowed beyond the loopback too.
    pub allow_clear_text: bool,
    /// The fleet that the gateway joins.
    pub fleet: String,
    /// The file of the gateway's token (`kt_gw_…`), read again at each connection.
    pub token_file: PathBuf,
    /// Certificates (PEM) that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whose signatures packs and key sets must carry.
    pub trust: Trust,
    /// After so long without a word from the control plane requests are refused; absent: never.
    pub max_policy_age: Option<Duration>,
    /// The folder of what was good last. Default `kt-state`.
    pub state_dir: PathBuf,
    /// What people call this gateway. Default: the name of the host.
    pub name: String,
    /// Labels, for people.
    pub labels: BTreeMap<String, String>,
}

impl ControlSettings {
    /// The defaults around a control plane and the token for it.
    pub fn new(url: impl Into<String>, token_file: impl Into<PathBuf>) -> Self {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            url: url.into(),
            allow_clear_text: false,
            fleet: "default".to_owned(),
            token_file: token_file.into(),
            ca_file: None,
            trust: Trust::default(),
            max_policy_age: None,
            state_dir: PathBuf::from("kt-state"),
            name,
            labels: BTreeMap::new(),
        }
    }
}

/// What a pack may read and where its targets may be.
#[derive(Debug, Clone)]
pub struct BindOptions {
    /// What `{workspace}` in a `base_url` stands for.
    pub workspace: Option<String>,
    /// Patterns of environment variables that a pack may name. Default `DATABRICKS_*`, `KT_PACK_*`.
    pub pack_env: Vec<String>,
    /// The folder of `secret_key_ref.file`; absent: packs can name no files.
    pub secrets_dir: Option<PathBuf>,
    /// Host patterns; default the Databricks suffixes. Loopback only when named.
    pub allow_upstream: Vec<String>,
    /// `--upstream ID|*=URL`: replaces scheme, host and port of targets.
    pub upstream: Vec<String>,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self {
            workspace: None,
            pack_env: vec!["DATABRICKS_*".to_owned(), "KT_PACK_*".to_owned()],
            secrets_dir: None,
            allow_upstream: Vec::new(),
            upstream: Vec::new(),
        }
    }
}

impl From<&BindOptions> for BindSettings {
    fn from(options: &BindOptions) -> Self {
        Self {
            workspace: options.workspace.clone(),
            pack_env: options.pack_env.clone(),
            has_secrets_dir: options.secrets_dir.is_some(),
            allow_upstream: options.allow_upstream.clone(),
            upstream: options.upstream.clone(),
        }
    }
}

/// Who is asking.
#[derive(Debug, Clone, Default)]
pub struct IdentitySettings {
    /// The gateway keys file; see [`crate::identity::keys`].
    pub keys_file: Option<PathBuf>,
    /// Callers without a proven identity are refused.
    pub require_identity: bool,
}

/// Where records go.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// The folder of the log.
    pub dir: PathBuf,
    /// Its sizes and times. How long a request waits for room is [`Timeouts::audit`], and retention is the pack's.
    pub log: crate::audit::Settings,
    /// Whether records are delivered to the control plane, where there is one. Default true.
    pub deliver: bool,
    /// How long segments stay once the control plane has acknowledged all of their records. Default three days; while
    /// more than half of the byte cap is used they go at once.
    pub keep_delivered: Duration,
}

impl AuditSettings {
    /// The defaults around a folder.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            log: crate::audit::Settings::default(),
            deliver: true,
            keep_delivered: crate::audit::Delivery::new().keep,
        }
    }
}

/// How much a caller may ask for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request's body. Default 4 MiB, as Databricks' own for foundation models.
    pub body_bytes: usize,
    /// Bytes of a request's head. Default 64 KiB.
    pub head_bytes: usize,
    /// Headers of a request. Default 100.
    pub headers: usize,
    /// Nesting of a request's JSON. Default 64.
    pub json_depth: usize,
    /// Requests that are answered at the same time. Default 1,024.
    pub concurrency: usize,
    /// Connections that are open at the same time. Default 8,192.
    pub connections: usize,
    /// Bytes of an upstream's answer that is not streamed. Default 64 MiB.
    pub answer_bytes: usize,
    /// Bytes of one event of an upstream's stream. Default 16 MiB.
    pub event_bytes: usize,
}

impl Limits {
    /// What a body as JSON may hold.
    pub(crate) fn json(&self) -> json::Limits {
        json::Limits { depth: u32::try_from(self.json_depth).unwrap_or(u32::MAX), ..json::Limits::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 * 1024 * 1024,
            head_bytes: 64 * 1024,
            headers: 100,
            json_depth: 64,
            concurrency: 1024,
            connections: 8192,
            answer_bytes: 64 * 1024 * 1024,
            event_bytes: 16 * 1024 * 1024,
        }
    }
}

/// How long things may take. Those of targets are the pack's.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For a request's head, from its first byte. Default 10 s.
    pub head: Duration,
    /// For a request's body. Default 60 s.
    pub body: Duration,
    /// Between two requests of a connection. Default 120 s.
    pub idle: Duration,
    /// For a caller to take anything of an answer that is being written. Default 60 s.
    pub stall: Duration,
    /// For the content policies of one request; see [`FailMode`]. Default 2 s.
    pub policy: Duration,
    /// For requests in flight once the gateway is told to stop. Default 30 s.
    pub drain: Duration,
    /// How long readiness says 503 before the listener closes, so that a load balancer notices. Default 0.
    pub drain_delay: Duration,
    /// For a place in the audit queue, before a request is refused. Default 250 ms.
    pub audit: Duration,
    /// For the control plane to acknowledge the last records once the gateway has stopped; what is left is delivered
    /// after the next start. Default 5 s.
    pub deliver: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_mins(1),
            idle: Duration::from_mins(2),
            stall: Duration::from_mins(1),
            policy: Duration::from_secs(2),
            drain: Duration::from_secs(30),
            drain_delay: Duration::ZERO,
            audit: Duration::from_millis(250),
            deliver: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// The defaults around a pack.
    pub fn new(policy_config: impl Into<PathBuf>) -> Self {
        Self::from_origin(Origin::File(policy_config.into()))
    }

    /// The defaults around a control plane.
    pub fn connected(control: ControlSettings) -> Self {
        Self::from_origin(Origin::ControlPlane(Box::new(control)))
    }

    fn from_origin(origin: Origin) -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 41002)),
            admin_listen: Some(SocketAddr::from(([127, 0, 0, 1], 41003))),
            origin,
            models_file: None,
            bind: BindOptions::default(),
            identity: IdentitySettings::default(),
            audit: None,
            fail_mode: FailMode::Block,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            proxy_from_environment: true,
            upstream_ca_file: None,
            heartbeat: None,
            reload_interval: Duration::from_secs(1),
        }
    }
}
