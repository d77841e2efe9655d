//! What the operator decides. The command line fills it in; a pack can change none of it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use kt_policy::bind::BindSettings;

/// The settings of one gateway.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where callers connect. Default `0.0.0.0:41002`.
    pub listen: SocketAddr,
    /// Where metrics and the configuration are shown; absent: nowhere. Default `127.0.0.1:41003`.
    pub admin_listen: Option<SocketAddr>,
    /// The pack.
    pub policy_config: PathBuf,
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
}

/// What becomes of a request when a content policy fails or runs out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailMode {
    /// It is refused.
    #[default]
    Block,
    /// It goes on, and the record says so.
    Allow,
}

impl FailMode {
    /// The name as written on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Allow => "allow",
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
        }
    }
}

impl Settings {
    /// The defaults around a pack.
    pub fn new(policy_config: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 41002)),
            admin_listen: Some(SocketAddr::from(([127, 0, 0, 1], 41003))),
            policy_config: policy_config.into(),
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
