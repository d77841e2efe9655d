//! The settings of a control plane as flags, environment variables and keys of a file.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use kt_control_plane::settings::{AuditSettings, Settings, StoreSettings, TlsSettings};
use kt_proto::signed::Trust;

use super::sinks;
use crate::{
    commands::{
        layers::{self, LogFormat},
        signing,
    },
    exit::CliError,
};

layers::options! {
    "kt control-plane run";
    /// Where people and gateways connect. Default 0.0.0.0:7443.
    #[arg(value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr> = "KEEPTRUSTS_CONTROL_PLANE_LISTEN";
    /// Where metrics and health are shown. Default 127.0.0.1:7444.
    #[arg(value_name = "ADDRESS:PORT")]
    admin_listen: Option<SocketAddr> = "KEEPTRUSTS_CONTROL_PLANE_ADMIN_LISTEN";
    /// Where everything is kept: `embedded:FILE` for one process, `etcd://host:2379,…` for several; `etcds://` with
    /// TLS. Default embedded:DATA_DIR/store.redb.
    #[arg(value_name = "STORE")]
    store: Option<String> = "KEEPTRUSTS_CONTROL_PLANE_STORE";
    /// Where audit records of gateways are kept: `sqlite:FILE` for one process, `postgres://user@host:5432/database` for
    /// several, `off` to leave them on the gateways. Default sqlite:DATA_DIR/audit.sqlite, and `off` over etcd.
    #[arg(value_name = "STORE")]
    audit_store: Option<String> = "KEEPTRUSTS_CONTROL_PLANE_AUDIT_STORE";
    /// Days that every audit record is kept at least. It lengthens what packs say and never shortens it. Default 0.
    #[arg(value_name = "DAYS")]
    audit_retention_days: Option<u32> = "KEEPTRUSTS_CONTROL_PLANE_AUDIT_RETENTION_DAYS";
    /// The file of the sinks that are fed with audit records, YAML: object storage, a SIEM, a collector of OpenTelemetry.
    /// Default: none.
    #[arg(value_name = "FILE")]
    audit_sinks: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_AUDIT_SINKS";
    /// The folder of the keys that countersign records and join pseudonyms. All replicas over one PostgreSQL need the
    /// same: let them share the folder, or copy its two files. Default: that of `--data-dir`.
    #[arg(value_name = "FOLDER")]
    audit_key_dir: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_AUDIT_KEY_DIR";
    /// The folder of the embedded store and of the bootstrap token. Default ./kt-control-plane.
    #[arg(value_name = "FOLDER")]
    data_dir: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_DATA_DIR";
    /// The certificate and those that it rests on, PEM.
    #[arg(value_name = "FILE")]
    tls_cert: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_TLS_CERT";
    /// The key of the certificate, PEM.
    #[arg(value_name = "FILE")]
    tls_key: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_TLS_KEY";
    /// Authorities of client certificates, PEM: whoever shows none is not served. Tokens are asked for all the same.
    #[arg(value_name = "FILE")]
    tls_client_ca: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_TLS_CLIENT_CA";
    /// Serves clear text also beyond the loopback: only where something else encrypts.
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    insecure: Option<bool> = "KEEPTRUSTS_CONTROL_PLANE_INSECURE";
    /// The name of this replica, as status shows it; no two may have the same. Default: the host's, with the port.
    #[arg(value_name = "NAME")]
    replica: Option<String> = "KEEPTRUSTS_CONTROL_PLANE_REPLICA";
    /// A public key that must have signed what is published: 64 hexadecimal digits, or a file of them. Default: gateways
    /// decide.
    #[arg(value_name = "KEY|FILE", value_delimiter = ',')]
    trust_key: Vec<String> = "KEEPTRUSTS_CONTROL_PLANE_TRUST_KEY";
    /// How many of the trusted keys must have signed. Default 1.
    #[arg(value_name = "N")]
    trust_threshold: Option<usize> = "KEEPTRUSTS_CONTROL_PLANE_TRUST_THRESHOLD";
    /// Authorities of etcd's certificates, PEM.
    #[arg(value_name = "FILE")]
    etcd_ca: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_ETCD_CA";
    /// The certificate to show to etcd, PEM.
    #[arg(value_name = "FILE")]
    etcd_cert: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_ETCD_CERT";
    /// The key of that certificate, PEM.
    #[arg(value_name = "FILE")]
    etcd_key: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_ETCD_KEY";
    /// The user to log in to etcd with.
    #[arg(value_name = "NAME")]
    etcd_user: Option<String> = "KEEPTRUSTS_CONTROL_PLANE_ETCD_USER";
    /// The file of that user's password.
    #[arg(value_name = "FILE")]
    etcd_password_file: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_ETCD_PASSWORD_FILE";
    /// Authorities of PostgreSQL's certificate beside the system's, PEM. With it TLS also on the loopback; to other hosts
    /// always.
    #[arg(value_name = "FILE")]
    postgres_ca: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_POSTGRES_CA";
    /// The file of the password, read anew for each connection. Without it PGPASSWORD, then PGPASSFILE or ~/.pgpass.
    #[arg(value_name = "FILE")]
    postgres_password_file: Option<PathBuf> = "KEEPTRUSTS_CONTROL_PLANE_POSTGRES_PASSWORD_FILE";
    /// Talks to PostgreSQL in clear text also beyond the loopback: only where something else encrypts.
    #[arg(num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    postgres_insecure: Option<bool> = "KEEPTRUSTS_CONTROL_PLANE_POSTGRES_INSECURE";
    /// Bytes of packs that are kept in memory. Default 67108864.
    #[arg(value_name = "BYTES")]
    body_cache_bytes: Option<usize> = "KEEPTRUSTS_CONTROL_PLANE_BODY_CACHE_BYTES";
    /// Gateways that may be connected at the same time. Default 20000.
    #[arg(value_name = "N")]
    max_gateways: Option<usize> = "KEEPTRUSTS_CONTROL_PLANE_MAX_GATEWAYS";
    /// Gateways that may connect in a second; more are told to come back. Default 500.
    #[arg(value_name = "N")]
    hello_rate: Option<u32> = "KEEPTRUSTS_CONTROL_PLANE_HELLO_RATE";
    /// Seconds that a connection of a gateway lives, give or take 15 %, so that load moves to new replicas. Default 3600.
    #[arg(value_name = "SECONDS")]
    connection_age_seconds: Option<u64> = "KEEPTRUSTS_CONTROL_PLANE_CONNECTION_AGE_SECONDS";
    /// Seconds that the first reading of the store may take. Default 30.
    #[arg(value_name = "SECONDS")]
    start_timeout_seconds: Option<u64> = "KEEPTRUSTS_CONTROL_PLANE_START_TIMEOUT_SECONDS";
    /// Seconds for gateways to go elsewhere once the control plane is told to stop. Default 10.
    #[arg(value_name = "SECONDS")]
    drain_timeout_seconds: Option<u64> = "KEEPTRUSTS_CONTROL_PLANE_DRAIN_TIMEOUT_SECONDS";
    /// The form of log lines. Default text.
    #[arg(value_enum)]
    log_format: Option<LogFormat> = "KEEPTRUSTS_CONTROL_PLANE_LOG_FORMAT";
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter. Default info.
    #[arg(value_name = "LEVEL")]
    log_level: Option<String> = "KEEPTRUSTS_CONTROL_PLANE_LOG_LEVEL";
}

// === impl Options ===

impl Options {
    /// The settings, with the defaults where nothing was said.
    pub(crate) fn settings(self) -> Result<Settings, CliError> {
        let data_dir = self.data_dir.clone().unwrap_or_else(|| PathBuf::from("kt-control-plane"));
        let mut settings = Settings::new(data_dir);
        settings.trust = self.trust()?;
        settings.tls = self.tls()?;
        if let Some(store) = &self.store {
            settings.store = self.store(store)?;
        } else if self.etcd_option().is_some() {
            return Err(self.no_etcd());
        }
        settings.audit = self.audit(&settings)?;
        settings.audit_key_dir.clone_from(&self.audit_key_dir);
        if let Some(path) = &self.audit_sinks {
            settings.sinks = sinks::read(path)?;
        }
        settings.listen = self.listen.unwrap_or(settings.listen);
        settings.admin_listen = self.admin_listen.or(settings.admin_listen);
        settings.insecure = self.insecure.unwrap_or(false);
        settings.replica = self.replica.map(replica).transpose()?;
        settings.body_cache_bytes = self.body_cache_bytes.unwrap_or(settings.body_cache_bytes);
        let seconds = |given: Option<u64>, default| given.map_or(default, Duration::from_secs);
        settings.first_load = seconds(self.start_timeout_seconds, settings.first_load);
        settings.retention.least_days = self.audit_retention_days.unwrap_or(settings.retention.least_days);
        settings.drain = seconds(self.drain_timeout_seconds, settings.drain);
        let delivery = &mut settings.delivery;
        delivery.age = seconds(self.connection_age_seconds, delivery.age);
        delivery.max_sessions =
            at_least_one("max-gateways", self.max_gateways)?.unwrap_or(delivery.max_sessions);
        if let Some(rate) = at_least_one("hello-rate", self.hello_rate)? {
            (delivery.hello_rate, delivery.hello_burst) = (rate, rate);
        }
        Ok(settings)
    }

    fn audit(&self, settings: &Settings) -> Result<AuditSettings, CliError> {
        let given = self.audit_store.as_deref();
        if let Some(url) = given.filter(|url| is_postgres(url)) {
            return self.postgres(url);
        }
        if let Some(option) = self.postgres_option() {
            return Err(CliError::usage(format!(
                "`{option}` is given, and audit records are not in PostgreSQL"
            ))
            .with_help("`--audit-store postgres://user@host/database` names a server"));
        }
        match given {
            Some("off") => Ok(AuditSettings::Off),
            Some(given) => match given.strip_prefix("sqlite:").filter(|file| !file.is_empty()) {
                Some(file) => Ok(AuditSettings::Sqlite(PathBuf::from(file))),
                // Not shown: it may hold a password.
                None => Err(CliError::usage("the store of audit records is none that is known")
                    .with_help("use `sqlite:FILE`, `postgres://user@host/database` or `off`")),
            },
            None if matches!(settings.store, StoreSettings::Embedded(_)) => Ok(settings.audit.clone()),
            // Equal replicas would each keep a part.
            None => Ok(AuditSettings::Off),
        }
    }

    #[cfg(feature = "postgres")]
    fn postgres(&self, url: &str) -> Result<AuditSettings, CliError> {
        use kt_control_plane::audit::store::postgres::{
            PostgresOptions, PostgresSettings, PostgresSettingsError,
        };

        let options = PostgresOptions {
            ca_file: self.postgres_ca.clone(),
            password_file: self.postgres_password_file.clone(),
            clear_text: self.postgres_insecure.unwrap_or(false),
        };
        PostgresSettings::new(url, options)
            .map(|postgres| AuditSettings::Postgres(Box::new(postgres)))
            .map_err(|error| {
                let refused = CliError::usage(format!("`--audit-store`: {error}"));
                match error {
                    PostgresSettingsError::ClearText(_) => refused.with_help(
                        "leave `sslmode` out, or say `--postgres-insecure` where something else encrypts",
                    ),
                    PostgresSettingsError::PasswordInUrl => {
                        refused.with_help("`--postgres-password-file FILE`, PGPASSWORD or PGPASSFILE")
                    }
                    PostgresSettingsError::Contradiction => {
                        refused.with_help("leave out `--postgres-insecure`, or `sslmode` and `--postgres-ca`")
                    }
                    _ => refused.with_help("`--audit-store postgres://user@host:5432/database`"),
                }
            })
    }

    #[cfg(not(feature = "postgres"))]
    fn postgres(&self, _: &str) -> Result<AuditSettings, CliError> {
        Err(CliError::usage("this build of `kt` keeps no audit records in PostgreSQL")
            .with_help("build it with the feature `postgres`, or use `--audit-store sqlite:FILE`"))
    }

    /// An option of PostgreSQL that was given.
    fn postgres_option(&self) -> Option<&'static str> {
        [
            ("--postgres-ca", self.postgres_ca.is_some()),
            ("--postgres-password-file", self.postgres_password_file.is_some()),
            ("--postgres-insecure", self.postgres_insecure.is_some()),
        ]
        .into_iter()
        .find_map(|(option, is_given)| is_given.then_some(option))
    }

    fn store(&self, written: &str) -> Result<StoreSettings, CliError> {
        if let Some(path) = written.strip_prefix("embedded:") {
            if self.etcd_option().is_some() {
                return Err(self.no_etcd());
            }
            if path.is_empty() {
                return Err(CliError::usage("`--store embedded:` names no file"));
            }
            return Ok(StoreSettings::Embedded(path.into()));
        }
        if written.starts_with("etcd://") || written.starts_with("etcds://") {
            return self.etcd(written);
        }
        // Not shown: it may hold a password.
        Err(CliError::usage("the store is none that is known")
            .with_help("`--store embedded:FILE`, `--store etcd://host:2379,host2:2379` or `etcds://…`"))
    }

    #[cfg(feature = "etcd")]
    fn etcd(&self, written: &str) -> Result<StoreSettings, CliError> {
        use kt_control_plane::store::etcd::EtcdSettings;

        let mut etcd =
            EtcdSettings::parse(written).map_err(|error| CliError::usage(format!("`--store`: {error}")))?;
        if let Some(path) = &self.etcd_ca {
            etcd = etcd.with_ca_file(path);
        }
        match (&self.etcd_cert, &self.etcd_key) {
            (Some(cert), Some(key)) => etcd = etcd.with_client_certificate(cert, key),
            (None, None) => {}
            _ => return Err(CliError::usage("`--etcd-cert` and `--etcd-key` go together")),
        }
        match (&self.etcd_user, &self.etcd_password_file) {
            (Some(user), Some(path)) => {
                let password = std::fs::read_to_string(path)
                    .map_err(|error| CliError::usage(format!("can't read `{}`: {error}", path.display())))?;
                etcd = etcd.with_login(user, password.trim_end_matches(['\r', '\n']).to_owned().into());
            }
            (None, None) => {}
            _ => return Err(CliError::usage("`--etcd-user` and `--etcd-password-file` go together")),
        }
        Ok(StoreSettings::Etcd(etcd))
    }

    #[cfg(not(feature = "etcd"))]
    fn etcd(&self, _: &str) -> Result<StoreSettings, CliError> {
        Err(CliError::usage("this build of `kt` has no etcd store")
            .with_help("build it with the feature `etcd`, or use `--store embedded:FILE`"))
    }

    /// An option of etcd that was given.
    fn etcd_option(&self) -> Option<&'static str> {
        [
            ("--etcd-ca", self.etcd_ca.is_some()),
            ("--etcd-cert", self.etcd_cert.is_some()),
            ("--etcd-key", self.etcd_key.is_some()),
            ("--etcd-user", self.etcd_user.is_some()),
            ("--etcd-password-file", self.etcd_password_file.is_some()),
        ]
        .into_iter()
        .find_map(|(option, is_given)| is_given.then_some(option))
    }

    fn no_etcd(&self) -> CliError {
        let option = self.etcd_option().unwrap_or_default();
        CliError::usage(format!("`{option}` is given, and the store is embedded"))
            .with_help("`--store etcd://host:2379,…` names an etcd cluster")
    }

    fn tls(&self) -> Result<Option<TlsSettings>, CliError> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Ok(Some(TlsSettings {
                cert: cert.clone(),
                key: key.clone(),
                client_ca: self.tls_client_ca.clone(),
            })),
            (None, None) if self.tls_client_ca.is_none() => Ok(None),
            (None, None) => Err(CliError::usage("`--tls-client-ca` goes with `--tls-cert` and `--tls-key`")),
            _ => Err(CliError::usage("`--tls-cert` and `--tls-key` go together")),
        }
    }

    fn trust(&self) -> Result<Trust, CliError> {
        let keys =
            self.trust_key.iter().map(|key| signing::public_key(key)).collect::<Result<Vec<_>, _>>()?;
        let threshold = at_least_one("trust-threshold", self.trust_threshold)?.unwrap_or(1);
        if threshold > keys.len().max(1) {
            let message =
                format!("`--trust-threshold {threshold}` asks for more signers than keys are trusted");
            return Err(CliError::usage(message).with_help("give `--trust-key` for each of them"));
        }
        Ok(Trust { keys, threshold })
    }
}

fn is_postgres(store: &str) -> bool {
    store.starts_with("postgres://") || store.starts_with("postgresql://")
}

/// It becomes part of a key of the store.
fn replica(name: String) -> Result<String, CliError> {
    let is_good = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if is_good {
        return Ok(name);
    }
    Err(CliError::usage("`--replica` is no name").with_help("use 1 to 63 letters, digits, `-`, `_` or `.`"))
}

fn at_least_one<N: PartialEq + From<u8>>(option: &str, given: Option<N>) -> Result<Option<N>, CliError> {
    if given.as_ref().is_some_and(|given| *given == N::from(0)) {
        return Err(CliError::usage(format!("`--{option} 0` leaves nothing to work with"))
            .with_help("give at least 1, or leave it out"));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

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
        let file: Options = layers::parse("listen: 127.0.0.1:1\nhello_rate: 7\ndata_dir: /d\n").unwrap();
        let settings = typed(&["--listen", "127.0.0.1:2"]).over(file).settings().unwrap();
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.delivery.hello_rate, 7);
        assert!(
            matches!(settings.store, StoreSettings::Embedded(path) if path == Path::new("/d/store.redb"))
        );
        assert_eq!(settings.drain, Settings::new("").drain);
    }

    #[test]
    fn an_unknown_key_of_the_file_is_refused() {
        let error = layers::parse::<Options>("listn: 127.0.0.1:1\n").unwrap_err().to_string();
        assert!(error.contains("unknown field"), "{error}");
    }

    #[test]
    fn options_that_make_no_sense_are_usage_errors_that_say_why() {
        let key = "ab".repeat(32);
        for (arguments, why) in [
            (&["--store", "postgres://u:secret@h"][..], "none that is known"),
            (&["--store", "embedded:"], "names no file"),
            (&["--etcd-user", "u"], "the store is embedded"),
            (&["--audit-store", "mysql://u:secret@h"], "none that is known"),
            (&["--postgres-insecure"], "not in PostgreSQL"),
            (&["--tls-cert", "c"], "go together"),
            (&["--tls-client-ca", "c"], "goes with"),
            (&["--trust-key", "no such file"], "no public key"),
            (&["--trust-key", &key, "--trust-threshold", "2"], "more signers"),
            (&["--replica", "a/b"], "no name"),
            (&["--hello-rate", "0"], "nothing to work with"),
        ] {
            let error = typed(arguments).settings().unwrap_err();
            assert!(error.to_string().contains(why), "{arguments:?}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(error.exit(), crate::exit::Exit::Usage);
        }
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn a_cluster_is_named_by_its_members() {
        let settings = typed(&["--store", "etcd://a:1,b:2"]).settings().unwrap();
        let StoreSettings::Etcd(etcd) = settings.store else { panic!("etcd") };
        assert_eq!(etcd.members(), ["a:1", "b:2"]);
        assert!(typed(&["--store", "etcd://u:p@a"]).settings().is_err());
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn audit_records_go_to_the_server_that_is_named_and_never_in_clear_text_by_mistake() {
        let store = |arguments: &[&str]| typed(arguments).settings().map(|settings| settings.audit);
        for arguments in [
            &["--audit-store", "postgres://u@db/d"][..],
            &["--audit-store", "postgresql://u@localhost/d", "--postgres-password-file", "f"],
            &["--audit-store", "postgres://u@db/d?sslmode=disable", "--postgres-insecure"],
            &["--store", "etcd://a", "--audit-store", "postgres://u@db/d", "--postgres-ca", "f"],
        ] {
            assert!(matches!(store(arguments), Ok(AuditSettings::Postgres(_))), "{arguments:?}");
        }
        for (url, why) in [
            ("postgres://u:secret@db/d", "holds a password"),
            ("postgres://u@db/d?sslmode=disable", "clear text"),
            ("postgres://u@db/d?secret=1", "no address"),
        ] {
            let error = store(&["--audit-store", url]).unwrap_err();
            assert!(error.to_string().contains(why), "{url}: {error}");
            assert_eq!(error.exit(), crate::exit::Exit::Usage);
        }
    }
}
