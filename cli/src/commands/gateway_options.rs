//! The settings of a gateway as flags, environment variables and keys of a file: one struct, so that the three can't
//! drift apart.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use kt_data_plane::settings::{
    AuditSettings, BindOptions, ControlSettings, FailMode, IdentitySettings, Limits, Settings, Timeouts,
};
use kt_proto::signed::Trust;
use serde::Deserialize;

use super::{
    layers::{self, LogFormat},
    signing,
};
use crate::exit::CliError;

/// `--fail-mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailModeOption {
    /// The request is refused.
    Block,
    /// The request goes on, and the record says so.
    Allow,
}

layers::options! {
    "kt gateway run";
    /// Where callers connect. Default 0.0.0.0:41002.
    #[arg(value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr> = "KEEPTRUSTS_GATEWAY_LISTEN";
    /// Where metrics and the running configuration are shown. Default 127.0.0.1:41003.
    #[arg(value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr> = "KEEPTRUSTS_GATEWAY_ADMIN_LISTEN";
    /// The pack. It is looked at every second; a bad one keeps the old one. Either this or --control-plane.
    #[arg(value_name = "FILE")]
    policy_config: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_POLICY_CONFIG";
    /// The control plane that pushes packs and gateway keys: `https://host:7443`. `http://` on the loopback only.
    #[arg(value_name = "URL")]
    control_plane: Option<String> = "KEEPTRUSTS_GATEWAY_CONTROL_PLANE";
    /// Allows a control plane in clear text beyond the loopback: whoever is in between can read the token.
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    insecure_control_plane: Option<bool> = "KEEPTRUSTS_GATEWAY_INSECURE_CONTROL_PLANE";
    /// Certificates (PEM) that are trusted beside the system's when the control plane is called.
    #[arg(value_name = "FILE")]
    control_plane_ca_file: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_CONTROL_PLANE_CA_FILE";
    /// The fleet that the gateway joins. Default default.
    #[arg(value_name = "NAME")]
    fleet: Option<String> = "KEEPTRUSTS_GATEWAY_FLEET";
    /// The file of the gateway's token (`kt_gw_…`); see `kt gateway token create`. Read again at each connection.
    #[arg(value_name = "FILE")]
    token_file: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_TOKEN_FILE";
    /// A public key that packs and key sets must be signed with: 64 hexadecimal digits, or a file with them. Several
    /// are alternatives. Without any, unsigned ones are taken.
    #[arg(value_name = "KEY|FILE", value_delimiter = ',')]
    trust_key: Vec<String> = "KEEPTRUSTS_GATEWAY_TRUST_KEY";
    /// How many of the trusted keys must have signed. Default 1.
    #[arg(value_name = "N")]
    trust_threshold: Option<usize> = "KEEPTRUSTS_GATEWAY_TRUST_THRESHOLD";
    /// Hours without a word from the control plane after which requests are refused. Default: what was good last
    /// serves for ever.
    #[arg(value_name = "HOURS")]
    max_policy_age: Option<u64> = "KEEPTRUSTS_GATEWAY_MAX_POLICY_AGE";
    /// Where what was good last is kept, for a start without the control plane. Each gateway has its own. Default
    /// ./kt-state.
    #[arg(value_name = "FOLDER")]
    state_dir: Option<PathBuf> = "KEEPTRUSTS_GATEWAY_STATE_DIR";
    /// What people call this gateway. Default: the name of the host.
    #[arg(value_name = "NAME")]
    name: Option<String> = "KEEPTRUSTS_GATEWAY_NAME";
    /// A label of this gateway, shown in `kt fleet status`: `region=eu`.
    #[arg(value_name = "NAME=VALUE", value_delimiter = ',')]
    label: Vec<String> = "KEEPTRUSTS_GATEWAY_LABEL";
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
    /// The most bytes that the audit log may have; full, requests are refused. Default 8589934592.
    #[arg(value_name = "BYTES")]
    audit_max_bytes: Option<u64> = "KEEPTRUSTS_GATEWAY_AUDIT_MAX_BYTES";
    /// Whether audit records are delivered to the control plane. Default true.
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    audit_delivery: Option<bool> = "KEEPTRUSTS_GATEWAY_AUDIT_DELIVERY";
    /// Hours that delivered audit records stay here too, as long as less than half of the room is used. What is not
    /// delivered stays, however old it is. Default 72.
    #[arg(value_name = "HOURS")]
    audit_keep_hours: Option<u64> = "KEEPTRUSTS_GATEWAY_AUDIT_KEEP_HOURS";
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
        self.options.over_file(self.config.as_deref())
    }
}

// === impl Options ===

impl Options {
    /// The defaults around a pack file or a control plane.
    fn defaults(&self) -> Result<Settings, CliError> {
        match (&self.policy_config, &self.control_plane) {
            (Some(file), None) => {
                if let Some(flag) = self.needs_a_control_plane() {
                    return Err(CliError::usage(format!("`--{flag}` is for gateways with a control plane"))
                        .with_help("name it with `--control-plane URL` instead of `--policy-config FILE`"));
                }
                Ok(Settings::new(file))
            }
            (None, Some(url)) => Ok(Settings::connected(self.control(url)?)),
            (Some(_), Some(_)) => Err(CliError::usage("a pack comes from a file or from a control plane, not both")
                .with_help("leave out `--policy-config` or `--control-plane`")),
            (None, None) => Err(CliError::usage("there is no pack to serve").with_help(
                "name one with `--policy-config FILE` (`kt init` writes a first one), or a control plane with \
                 `--control-plane URL`",
            )),
        }
    }

    /// A flag that means nothing without a control plane.
    fn needs_a_control_plane(&self) -> Option<&'static str> {
        let given = [
            ("insecure-control-plane", self.insecure_control_plane == Some(true)),
            ("control-plane-ca-file", self.control_plane_ca_file.is_some()),
            ("fleet", self.fleet.is_some()),
            ("token-file", self.token_file.is_some()),
            ("trust-key", !self.trust_key.is_empty()),
            ("trust-threshold", self.trust_threshold.is_some()),
            ("max-policy-age", self.max_policy_age.is_some()),
            ("state-dir", self.state_dir.is_some()),
            ("audit-delivery", self.audit_delivery == Some(true)),
            ("audit-keep-hours", self.audit_keep_hours.is_some()),
        ];
        given.iter().find(|(_, is_given)| *is_given).map(|(flag, _)| *flag)
    }

    fn control(&self, url: &str) -> Result<ControlSettings, CliError> {
        if self.keys_file.is_some() {
            return Err(CliError::usage("gateway keys come from the control plane, not from `--keys-file`")
                .with_help("`kt gateway-key create --fleet NAME` makes one"));
        }
        let token_file = self.token_file.clone().ok_or_else(|| {
            CliError::usage("a control plane wants the token of a gateway")
                .with_help("name its file with `--token-file FILE`; `kt gateway token create` makes one")
        })?;
        let keys =
            self.trust_key.iter().map(|key| signing::public_key(key)).collect::<Result<Vec<_>, _>>()?;
        let threshold = self.trust_threshold.unwrap_or(usize::from(!keys.is_empty()));
        if threshold > keys.len() {
            let message = format!("{threshold} signers are asked for, and {} keys are trusted", keys.len());
            return Err(CliError::usage(message).with_help("name each key with `--trust-key`"));
        }
        let defaults = ControlSettings::new(url, token_file);
        let label = |text: &String| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(CliError::usage(format!("`{text}` is no label: write `name=value`"))),
        };
        Ok(ControlSettings {
            allow_clear_text: self.insecure_control_plane.unwrap_or(false),
            fleet: self.fleet.clone().unwrap_or(defaults.fleet),
            ca_file: self.control_plane_ca_file.clone(),
            trust: Trust { keys, threshold },
            max_policy_age: self.max_policy_age.map(|hours| Duration::from_secs(hours.saturating_mul(3600))),
            state_dir: self.state_dir.clone().unwrap_or(defaults.state_dir),
            name: self.name.clone().unwrap_or(defaults.name),
            labels: self.label.iter().map(label).collect::<Result<_, _>>()?,
            ..defaults
        })
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
        if self.control_plane.is_none() {
            self.policy_config.get_or_insert_with(|| PathBuf::from("policy-config.yaml"));
        }
        self
    }

    /// The settings, with the defaults where nothing was said.
    pub(crate) fn settings(self) -> Result<Settings, CliError> {
        self.refuse_zero()?;
        // Elsewhere a missing file is a target that is not available yet; a missing folder is a mistake.
        if let Some(dir) = &self.secrets_dir
            && !std::fs::metadata(dir).is_ok_and(|found| found.is_dir())
        {
            let message = format!("the secrets directory `{}` is not there", dir.display());
            return Err(CliError::usage(message).with_help(
                "`--secrets-dir` names the folder of the files that `secret_key_ref.file` names in a pack",
            ));
        }
        let defaults = self.defaults()?;
        let mut audit = AuditSettings::new(self.audit_dir.unwrap_or_else(|| PathBuf::from("kt-audit")));
        audit.log.max_bytes = self.audit_max_bytes.unwrap_or(audit.log.max_bytes);
        audit.deliver = self.audit_delivery.unwrap_or(audit.deliver);
        audit.keep_delivered = self.audit_keep_hours.map_or(audit.keep_delivered, Duration::from_hours);
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
            audit: Some(audit),
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
    use std::fs;

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
        let file: Options = layers::parse(
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
            let error = layers::parse::<Options>(text).unwrap_err().to_string();
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
    fn a_control_plane_takes_the_place_of_a_pack_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("one.pub");
        let (one, two) = ("11".repeat(32), "22".repeat(32));
        fs::write(&file, format!("{one}\n")).unwrap();
        let file = file.to_str().unwrap();
        let connected = ["--control-plane", "https://cp:7443", "--token-file", "t"];
        let more =
            ["--trust-key", file, "--trust-key", &two, "--trust-threshold", "2", "--label", "region=eu"];
        let settings =
            typed(&[&connected[..], &more[..], &["--max-policy-age", "2"]].concat()).settings().unwrap();
        let control = settings.origin.control_plane().unwrap();
        assert_eq!((control.url.as_str(), control.fleet.as_str()), ("https://cp:7443", "default"));
        let keys: Vec<String> = control.trust.keys.iter().map(ToString::to_string).collect();
        assert_eq!((keys, control.trust.threshold), (vec![one, two], 2));
        assert_eq!(control.labels["region"], "eu");
        assert_eq!(control.max_policy_age, Some(Duration::from_hours(2)));
        let plain = typed(&connected).settings().unwrap();
        assert!(!plain.origin.control_plane().unwrap().trust.is_required());
    }

    #[test]
    fn options_that_contradict_each_other_are_named() {
        let connected = ["--control-plane", "https://cp:7443", "--token-file", "t"];
        for (arguments, told) in [
            (&["--policy-config", "p.yaml"][..], "not both"),
            (&["--keys-file", "k.json"], "keys-file"),
            (&["--trust-threshold", "1"], "0 keys are trusted"),
            (&["--trust-key", "abc"], "no public key"),
            (&["--label", "region"], "no label"),
        ] {
            let error = typed(&[&connected[..], arguments].concat()).settings().unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
        let error = typed(&["--control-plane", "https://cp:7443"]).settings().unwrap_err();
        assert!(error.help().unwrap().contains("--token-file"));
        let error = typed(&["--policy-config", "p.yaml", "--fleet", "prod"]).settings().unwrap_err();
        assert!(error.to_string().contains("--fleet"), "{error}");
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
        let file: Options = layers::parse("policy_config: p.yaml\npolicy_timeout_ms: 0\n").unwrap();
        let error = typed(&[]).over(file).settings().unwrap_err();
        assert!(error.to_string().contains("`--policy-timeout-ms` is 0"), "{error}");
    }

    #[test]
    fn a_switch_can_be_turned_off_against_the_file() {
        let file: Options = layers::parse("require_identity: true\n").unwrap();
        assert_eq!(typed(&["--require-identity", "false"]).over(file).require_identity, Some(false));
        assert_eq!(typed(&["--require-identity"]).require_identity, Some(true));
    }
}
