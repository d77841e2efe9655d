//! The settings of a gateway as flags, environment variables and keys of a file: one struct, so that the three can't
//! drift apart.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use kt_data_plane::settings::{
    AuditSettings, BindOptions, FailMode, IdentitySettings, Limits, Settings, Timeouts,
};
use serde::Deserialize;

use crate::exit::CliError;

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `--fail-mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailModeOption {
    /// The request is refused.
    Block,
    /// The request goes on, and the record says so.
    Allow,
}

macro_rules! options {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $env:literal;)*) => {
        /// What was typed, set or written; absent means not given.
        #[derive(Debug, Default, Deserialize, clap::Args)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct Options {
            $($(#[$doc])* #[arg(long, env = $env)] $field: $type,)*
        }

        impl Options {
            /// These options, and those of `below` where these say nothing.
            pub(crate) fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.or_below(below.$field),)* }
            }
        }
    };
}

/// How one option covers the same option from a lower layer.
trait Layer {
    fn or_below(self, below: Self) -> Self;
}

impl<T> Layer for Option<T> {
    fn or_below(self, below: Self) -> Self {
        self.or(below)
    }
}

/// A list is taken from one layer as a whole: lists of two layers are not mixed.
impl<T> Layer for Vec<T> {
    fn or_below(self, below: Self) -> Self {
        if self.is_empty() { below } else { self }
    }
}

options! {
    /// Where callers connect. Default 0.0.0.0:41002.
    #[arg(value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr> = "KEEPTRUSTS_GATEWAY_LISTEN";
    /// Where metrics and the running configuration are shown. Default 127.0.0.1:41003.
    #[arg(value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr> = "KEEPTRUSTS_GATEWAY_ADMIN_LISTEN";
    /// The pack. It is looked at every second; a bad one keeps the old one.
    #[arg(value_name = "FILE")]
    policy_config: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_POLICY_CONFIG";
    /// A model table that replaces the built-in one.
    #[arg(value_name = "FILE")]
    model_table: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_MODEL_TABLE";
    /// What `{workspace}` in a pack's `base_url` stands for: `adb-1234567890123456.7`.
    #[arg(value_name = "NAME")]
    workspace: Option<String> = "KEEPTRUSTS_GATEWAY_WORKSPACE";
    /// Environment variables that a pack may name, `*` as wild card. Default DATABRICKS_*,KT_PACK_*.
    #[arg(value_name = "PATTERN", value_delimiter = ',')]
    pack_env: Vec<String> = "KEEPTRUSTS_GATEWAY_PACK_ENV";
    /// The folder that a pack's `secret_key_ref.file` may name files of.
    #[arg(value_name = "FOLDER")]
    secrets_dir: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_SECRETS_DIR";
    /// Hosts that a pack may send to, `*.example.com` or a name. Default: those of Databricks. Loopback only when named.
    #[arg(value_name = "HOST", value_delimiter = ',')]
    allow_upstream: Vec<String> = "KEEPTRUSTS_GATEWAY_ALLOW_UPSTREAM";
    /// Replaces scheme, host and port of a target, or of all with `*`: `*=http://127.0.0.1:8080`. For tests and demos.
    #[arg(value_name = "ID|*=URL", value_delimiter = ',')]
    #[serde(skip)]
    upstream: Vec<String> = "KEEPTRUSTS_UPSTREAM_URL";
    /// Certificates (PEM) that are trusted beside the system's when targets are asked, of a proxy that inspects for
    /// example. Read at the start.
    #[arg(value_name = "FILE")]
    upstream_ca_file: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_UPSTREAM_CA_FILE";
    /// Seconds of silence of an upstream after which an open stream gets a comment line. Default 0: none.
    #[arg(value_name = "SECONDS")]
    heartbeat_seconds: Option<u64> = "KEEPTRUSTS_GATEWAY_HEARTBEAT_SECONDS";
    /// The gateway keys file; see `kt gateway-key create`.
    #[arg(value_name = "FILE")]
    keys_file: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_KEYS_FILE";
    /// Refuses callers without a proven identity.
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    require_identity: Option<bool> = "KEEPTRUSTS_GATEWAY_REQUIRE_IDENTITY";
    /// Where the audit log is. Default ./kt-audit.
    #[arg(value_name = "FOLDER")]
    audit_dir: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_AUDIT_DIR";
    /// What becomes of a request when a content policy fails or runs out of time. Default block.
    #[arg(value_enum)]
    fail_mode: Option<FailModeOption> = "KEEPTRUSTS_GATEWAY_FAIL_MODE";
    /// Requests that are answered at the same time; one more is a 503 at once. Default 1024.
    #[arg(value_name = "N")]
    max_concurrency: Option<usize> = "KEEPTRUSTS_GATEWAY_MAX_CONCURRENCY";
    /// Connections that are open at the same time. Default 8192.
    #[arg(value_name = "N")]
    max_connections: Option<usize> = "KEEPTRUSTS_GATEWAY_MAX_CONNECTIONS";
    /// Bytes of a request's body. Default 4194304.
    #[arg(value_name = "BYTES")]
    max_body_bytes: Option<usize> = "KEEPTRUSTS_GATEWAY_MAX_BODY_BYTES";
    /// Bytes of a request's head. Default 65536.
    #[arg(value_name = "BYTES")]
    max_head_bytes: Option<usize> = "KEEPTRUSTS_GATEWAY_MAX_HEAD_BYTES";
    /// Headers of a request. Default 100.
    #[arg(value_name = "N")]
    max_headers: Option<usize> = "KEEPTRUSTS_GATEWAY_MAX_HEADERS";
    /// Nesting of a request's JSON. Default 64.
    #[arg(value_name = "N")]
    max_json_depth: Option<usize> = "KEEPTRUSTS_GATEWAY_MAX_JSON_DEPTH";
    /// Seconds for a request's head. Default 10.
    #[arg(value_name = "SECONDS")]
    head_timeout_seconds: Option<u64> = "KEEPTRUSTS_GATEWAY_HEAD_TIMEOUT_SECONDS";
    /// Seconds for a request's body. Default 60.
    #[arg(value_name = "SECONDS")]
    body_timeout_seconds: Option<u64> = "KEEPTRUSTS_GATEWAY_BODY_TIMEOUT_SECONDS";
    /// Seconds between two requests of a connection. Default 120.
    #[arg(value_name = "SECONDS")]
    idle_timeout_seconds: Option<u64> = "KEEPTRUSTS_GATEWAY_IDLE_TIMEOUT_SECONDS";
    /// Seconds for a caller to take anything of an answer that is being written. Default 60.
    #[arg(value_name = "SECONDS")]
    stall_timeout_seconds: Option<u64> = "KEEPTRUSTS_GATEWAY_STALL_TIMEOUT_SECONDS";
    /// Milliseconds for the content policies of one request; see --fail-mode. Default 2000.
    #[arg(value_name = "MILLISECONDS")]
    policy_timeout_ms: Option<u64> = "KEEPTRUSTS_GATEWAY_POLICY_TIMEOUT_MS";
    /// Seconds for requests in flight once the gateway is told to stop. Default 30.
    #[arg(value_name = "SECONDS")]
    drain_timeout_seconds: Option<u64> = "KEEPTRUSTS_GATEWAY_DRAIN_TIMEOUT_SECONDS";
    /// Seconds that readiness says 503 before the listener closes. Default 0.
    #[arg(value_name = "SECONDS")]
    drain_delay_seconds: Option<u64> = "KEEPTRUSTS_GATEWAY_DRAIN_DELAY_SECONDS";
    /// The form of log lines. Default text.
    #[arg(value_enum)]
    log_format: Option<LogFormat> = "KEEPTRUSTS_GATEWAY_LOG_FORMAT";
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter. Default info.
    #[arg(value_name = "LEVEL")]
    log_level: Option<String> = "KEEPTRUSTS_GATEWAY_LOG_LEVEL";
}

/// The settings of a gateway and the file that gives those that are not typed: the same for the command that runs a
/// gateway and for the one that checks what would stop it.
#[derive(Debug, clap::Args)]
pub(crate) struct GatewayArgs {
    /// The settings file, YAML.
    #[arg(long, value_name = "FILE", env = "KEEPTRUSTS_GATEWAY_CONFIG")]
    config: Option<PathBuf>,

    #[command(flatten)]
    options: Options,
}

// === impl GatewayArgs ===

impl GatewayArgs {
    /// What was typed or set, over what the settings file says.
    pub(crate) fn layered(self) -> Result<Options, CliError> {
        match &self.config {
            Some(path) => Ok(self.options.over(Options::read(path)?)),
            None => Ok(self.options),
        }
    }
}

// === impl Options ===

impl Options {
    /// Reads a settings file.
    fn read(path: &Path) -> Result<Self, CliError> {
        let name = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| CliError::usage(format!("can't read `{name}`: {error}")))?;
        Self::parse(&text).map_err(|error| {
            CliError::usage(format!("`{name}` is not a settings file: {error}"))
                .with_help("`kt gateway run --help` lists the settings")
        })
    }

    /// Reads the text of a settings file. Errors are one line: without the snippet that the library would draw.
    fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str_with_options(text, serde_saphyr::options! { with_snippet: false })
    }

    pub(crate) fn log_format(&self) -> LogFormat {
        self.log_format.unwrap_or_default()
    }

    pub(crate) fn log_level(&self) -> &str {
        self.log_level.as_deref().unwrap_or("info")
    }

    /// A limit of nothing would start a gateway that refuses every request.
    fn refuse_zero(&self) -> Result<(), CliError> {
        let counts = [
            ("max_concurrency", self.max_concurrency),
            ("max_connections", self.max_connections),
            ("max_body_bytes", self.max_body_bytes),
            ("max_head_bytes", self.max_head_bytes),
            ("max_headers", self.max_headers),
            ("max_json_depth", self.max_json_depth),
        ];
        let times = [
            ("head_timeout_seconds", self.head_timeout_seconds),
            ("body_timeout_seconds", self.body_timeout_seconds),
            ("idle_timeout_seconds", self.idle_timeout_seconds),
            ("stall_timeout_seconds", self.stall_timeout_seconds),
            ("policy_timeout_ms", self.policy_timeout_ms),
        ];
        let zero = counts.iter().find(|(_, value)| *value == Some(0)).map(|(name, _)| *name);
        let zero = zero.or_else(|| times.iter().find(|(_, value)| *value == Some(0)).map(|(name, _)| *name));
        match zero {
            None => Ok(()),
            Some(name) => {
                let flag = name.replace('_', "-");
                let error = CliError::usage(format!("`--{flag}` is 0: every request would be refused"));
                Err(error.with_help(format!("leave `--{flag}` out for its default, or give at least 1")))
            }
        }
    }

    /// The pack of the current folder where none was named.
    pub(crate) fn or_local_pack(mut self) -> Self {
        self.policy_config.get_or_insert_with(|| PathBuf::from("policy-config.yaml"));
        self
    }

    /// The settings, with the defaults where nothing was said.
    pub(crate) fn settings(self) -> Result<Settings, CliError> {
        self.refuse_zero()?;
        let policy_config = self.policy_config.ok_or_else(|| {
            CliError::usage("there is no pack to serve")
                .with_help("name one with `--policy-config FILE`; `kt init` writes a first one")
        })?;
        // Elsewhere a missing file is a target that is not available yet; a missing folder is a mistake.
        if let Some(dir) = &self.secrets_dir
            && !std::fs::metadata(dir).is_ok_and(|found| found.is_dir())
        {
            let message = format!("the secrets directory `{}` is not there", dir.display());
            return Err(CliError::usage(message).with_help(
                "`--secrets-dir` names the folder of the files that `secret_key_ref.file` names in a pack",
            ));
        }
        let defaults = Settings::new(policy_config);
        let seconds = |given: Option<u64>, default: Duration| given.map_or(default, Duration::from_secs);
        Ok(Settings {
            listen: self.listen.unwrap_or(defaults.listen),
            admin_listen: self.admin_listen.or(defaults.admin_listen),
            models_file: self.model_table,
            bind: BindOptions {
                workspace: self.workspace,
                pack_env: if self.pack_env.is_empty() { defaults.bind.pack_env } else { self.pack_env },
                secrets_dir: self.secrets_dir,
                allow_upstream: self.allow_upstream,
                upstream: self.upstream,
            },
            identity: IdentitySettings {
                keys_file: self.keys_file,
                require_identity: self.require_identity.unwrap_or(false),
            },
            audit: Some(AuditSettings {
                dir: self.audit_dir.unwrap_or_else(|| PathBuf::from("kt-audit")),
                log: kt_data_plane::audit::Settings::default(),
            }),
            upstream_ca_file: self.upstream_ca_file,
            heartbeat: self.heartbeat_seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs),
            fail_mode: match self.fail_mode {
                Some(FailModeOption::Allow) => FailMode::Allow,
                Some(FailModeOption::Block) | None => FailMode::Block,
            },
            limits: Limits {
                body_bytes: self.max_body_bytes.unwrap_or(defaults.limits.body_bytes),
                head_bytes: self.max_head_bytes.unwrap_or(defaults.limits.head_bytes),
                headers: self.max_headers.unwrap_or(defaults.limits.headers),
                json_depth: self.max_json_depth.unwrap_or(defaults.limits.json_depth),
                concurrency: self.max_concurrency.unwrap_or(defaults.limits.concurrency),
                connections: self.max_connections.unwrap_or(defaults.limits.connections),
                ..defaults.limits
            },
            timeouts: Timeouts {
                head: seconds(self.head_timeout_seconds, defaults.timeouts.head),
                body: seconds(self.body_timeout_seconds, defaults.timeouts.body),
                idle: seconds(self.idle_timeout_seconds, defaults.timeouts.idle),
                stall: seconds(self.stall_timeout_seconds, defaults.timeouts.stall),
                policy: self.policy_timeout_ms.map_or(defaults.timeouts.policy, Duration::from_millis),
                drain: seconds(self.drain_timeout_seconds, defaults.timeouts.drain),
                drain_delay: seconds(self.drain_delay_seconds, defaults.timeouts.drain_delay),
                ..defaults.timeouts
            },
            ..defaults
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Harness {
        #[command(flatten)]
        options: Options,
    }

    fn typed(arguments: &[&str]) -> Options {
        Harness::try_parse_from(std::iter::once(&"kt").chain(arguments)).unwrap().options
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file: Options = Options::parse(
            "listen: 127.0.0.1:1\nmax_concurrency: 7\nallow_upstream: [a.example]\npolicy_config: p.yaml\n",
        )
        .unwrap();
        let settings = typed(&["--listen", "127.0.0.1:2"]).over(file).settings().unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.limits.concurrency, 7);
        assert_eq!(settings.bind.allow_upstream, ["a.example"]);
        assert_eq!(settings.limits.connections, Limits::default().connections);
    }

    #[test]
    fn an_unknown_key_of_the_file_is_refused_and_so_is_an_upstream_override() {
        for text in ["listn: 127.0.0.1:1\n", "upstream: ['*=http://127.0.0.1:1']\n"] {
            let error = Options::parse(text).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{error}");
            assert!(error.contains("line 1"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn a_gateway_without_a_pack_is_a_usage_error_that_says_what_to_do() {
        let error = typed(&[]).settings().unwrap_err();
        assert!(error.help().unwrap().contains("--policy-config"));
    }

    #[test]
    fn a_secrets_directory_that_is_not_there_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let with = |dir: &std::path::Path| {
            typed(&["--policy-config", "p.yaml", "--secrets-dir", dir.to_str().unwrap()]).settings()
        };
        assert!(with(dir.path()).is_ok());
        let missing = dir.path().join("secrets");
        let error = with(&missing).unwrap_err();
        assert!(matches!(error, CliError::Usage { .. }));
        assert_eq!(error.to_string(), format!("the secrets directory `{}` is not there", missing.display()));
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_name_from_any_layer() {
        let error = typed(&["--policy-config", "p.yaml", "--max-concurrency", "0"]).settings().unwrap_err();
        assert!(error.to_string().contains("`--max-concurrency` is 0"), "{error}");
        let file = Options::parse("policy_config: p.yaml\npolicy_timeout_ms: 0\n").unwrap();
        let error = typed(&[]).over(file).settings().unwrap_err();
        assert!(error.to_string().contains("`--policy-timeout-ms` is 0"), "{error}");
    }

    #[test]
    fn a_switch_can_be_turned_off_against_the_file() {
        let file: Options = Options::parse("require_identity: true\n").unwrap();
        assert_eq!(typed(&["--require-identity", "false"]).over(file).require_identity, Some(false));
        assert_eq!(typed(&["--require-identity"]).require_identity, Some(true));
    }
}
