//! `kt doctor`: what would stop a gateway on this machine, before it is started.

mod control_plane;

use std::{
    borrow::Cow,
    fs,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
    path::Path,
    time::Duration,
};

use kt_audit::dir::AuditDir;
use kt_data_plane::{
    identity::keys::KeySet,
    settings::{BindOptions, Origin, Settings},
};
use kt_policy::{
    bind::bind, compiled::CompiledPack, lint::LintOptions, models::ModelTable, pack::providers::SecretKeyRef,
};
use serde::Serialize;

use super::{gateway_options::GatewayArgs, pack_file::counted};
use crate::{
    exit::{CliError, Exit},
    output::{Format, print, table},
};

/// Looks at this machine and says what would stop a gateway.
///
/// Takes the options of `kt gateway run`, from the same places; without a pack it takes `policy-config.yaml`. Exits 0
/// when nothing would, 1 otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,

    /// The stored context whose control plane is looked at; without it the current one, if any.
    #[arg(long, value_name = "NAME", env = "KT_CONTEXT")]
    context: Option<String>,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    check: String,
    status: Status,
    detail: String,
}

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Checks everything, also what comes after a failure.
pub(crate) fn run(format: Format, args: Args) -> Result<Exit, CliError> {
    let context = args.context;
    let settings = args.gateway.layered()?.or_local_pack().settings()?;
    let mut checks = Vec::new();
    if let Some(pack) = check_pack(&settings, &mut checks) {
        check_binding(&settings.bind, &pack, &mut checks);
    }
    check_keys(&settings, &mut checks);
    if let Some(audit) = &settings.audit {
        check_audit(&audit.dir, &mut checks);
    }
    check_listener("listener", settings.listen, &mut checks);
    if let Some(address) = settings.admin_listen {
        check_listener("admin listener", address, &mut checks);
    }
    control_plane::check(context.as_deref(), &mut checks);
    let failed = checks.iter().any(|check| check.status == Status::Failed);
    print(format, &checks, |out| {
        let rows = checks.iter().map(|check| {
            let status = match check.status {
                Status::Ok => "ok",
                Status::Warning => "warning",
                Status::Failed => "FAILED",
            };
            [status.to_owned(), check.check.clone(), check.detail.clone()]
        });
        write!(out, "{}", table(["", "CHECK", "DETAIL"], rows))
    })?;
    Ok(if failed { Exit::Findings } else { Exit::Success })
}

fn add(checks: &mut Vec<Check>, check: &str, status: Status, detail: impl Into<String>) {
    checks.push(Check { check: check.to_owned(), status, detail: detail.into() });
}

/// The operator's model table, or the one that comes with the program.
fn models(path: Option<&Path>, checks: &mut Vec<Check>) -> Option<Cow<'static, ModelTable>> {
    let Some(path) = path else { return Some(Cow::Borrowed(ModelTable::built_in())) };
    let parsed = fs::read(path).map_err(|error| error.to_string()).and_then(|bytes| {
        let (table, findings) = ModelTable::parse(&bytes);
        table.ok_or_else(|| counted(findings.len(), "finding"))
    });
    match parsed {
        Ok(table) => {
            add(checks, "model table", Status::Ok, table.version().to_owned());
            Some(Cow::Owned(table))
        }
        Err(error) => {
            add(checks, "model table", Status::Failed, format!("`{}`: {error}", path.display()));
            None
        }
    }
}

fn check_pack(settings: &Settings, checks: &mut Vec<Check>) -> Option<CompiledPack> {
    let path = match &settings.origin {
        Origin::File(path) => path,
        Origin::ControlPlane(control) => {
            let detail = format!("pushed by `{}` to the fleet `{}`", control.url, control.fleet);
            add(checks, "pack", Status::Ok, detail);
            if let Err(error) = fs::read(&control.token_file) {
                let detail = format!("can't read `{}`: {error}", control.token_file.display());
                add(checks, "gateway token", Status::Failed, detail);
            }
            return None;
        }
    };
    let models = models(settings.models_file.as_deref(), checks)?;
    let source = match fs::read(path) {
        Ok(source) => source,
        Err(error) => {
            add(checks, "pack", Status::Failed, format!("can't read `{}`: {error}", path.display()));
            return None;
        }
    };
    let checked = kt_policy::check(&source, &LintOptions { now: jiff::Timestamp::now(), models: &models });
    let errors = checked.findings.iter().filter(|finding| finding.is_error()).count();
    let Some(pack) = checked.pack else {
        let detail = format!("{}; `kt policy lint {}` shows them", counted(errors, "error"), path.display());
        add(checks, "pack", Status::Failed, detail);
        return None;
    };
    let status = if checked.findings.is_empty() { Status::Ok } else { Status::Warning };
    let warnings = checked.findings.len();
    add(checks, "pack", status, format!("{}, {}", pack.id, counted(warnings, "warning")));
    Some(pack)
}

fn check_binding(options: &BindOptions, pack: &CompiledPack, checks: &mut Vec<Check>) {
    let binding = match bind(pack, &options.into(), &|name: &str| std::env::var(name).ok()) {
        Ok(binding) => binding,
        Err(findings) => {
            for finding in findings {
                let help = finding.help.map(|help| format!(" ({help})")).unwrap_or_default();
                add(checks, "binding", Status::Failed, format!("{} {}{help}", finding.code, finding.message));
            }
            return;
        }
    };
    add(checks, "binding", Status::Ok, counted(binding.targets.len(), "target"));
    for warning in binding.warnings {
        add(checks, "binding", Status::Warning, format!("{} {}", warning.code, warning.message));
    }
    let mut hosts = std::collections::BTreeSet::new();
    for (target, bound) in pack.targets.iter().zip(binding.targets) {
        check_secret(options.secrets_dir.as_deref(), &target.id, bound.secret.as_ref(), checks);
        hosts.extend(authority(&bound.base_url));
    }
    for host in hosts {
        check_host(&host, checks);
    }
}

/// Host and port of an address.
fn authority(base_url: &str) -> Option<String> {
    let (scheme, rest) = base_url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let has_port =
        authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = if scheme == "http" { 80 } else { 443 };
    Some(if has_port { authority.to_owned() } else { format!("{authority}:{port}") })
}

fn check_secret(
    secrets_dir: Option<&Path>,
    target: &str,
    secret: Option<&SecretKeyRef>,
    checks: &mut Vec<Check>,
) {
    let (status, detail) = match secret {
        None => (Status::Warning, "has no credential".to_owned()),
        Some(SecretKeyRef::Env(name)) if std::env::var_os(name).is_some_and(|value| !value.is_empty()) => {
            (Status::Ok, format!("credential in `{name}`"))
        }
        Some(SecretKeyRef::Env(name)) => {
            (Status::Failed, format!("`{name}` is not set: the target is unavailable"))
        }
        Some(SecretKeyRef::File(name)) => {
            let path = secrets_dir.unwrap_or(Path::new("")).join(name);
            match fs::metadata(&path) {
                Ok(file) if file.len() > 0 => (Status::Ok, format!("credential in `{}`", path.display())),
                Ok(_) => (Status::Failed, format!("`{}` is empty", path.display())),
                Err(error) => (Status::Failed, format!("can't read `{}`: {error}", path.display())),
            }
        }
    };
    add(checks, &format!("target {target}"), status, detail);
}

fn check_host(host: &str, checks: &mut Vec<Check>) {
    let check = format!("upstream {host}");
    let addresses = match host.to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            return add(checks, &check, Status::Failed, format!("its name can't be resolved: {error}"));
        }
    };
    let mut last = "it has no address".to_owned();
    for address in addresses {
        match std::net::TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
            Ok(_) => return add(checks, &check, Status::Ok, "answers"),
            Err(error) => last = error.to_string(),
        }
    }
    add(checks, &check, Status::Failed, last);
}

fn check_keys(settings: &Settings, checks: &mut Vec<Check>) {
    let Some(path) = &settings.identity.keys_file else {
        let (status, detail) = if settings.identity.require_identity {
            (Status::Failed, "--require-identity without a keys file: every caller is refused")
        } else if settings.listen.ip().is_loopback() {
            (Status::Ok, "no keys file: callers are anonymous")
        } else {
            (Status::Warning, "no keys file: callers from other machines are anonymous; set --keys-file")
        };
        return add(checks, "identity", status, detail);
    };
    let parsed = fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|bytes| KeySet::parse(&bytes).map_err(|error| error.to_string()));
    match parsed {
        Ok(keys) if keys.is_empty() => add(checks, "identity", Status::Warning, "the keys file holds no key"),
        Ok(keys) => add(checks, "identity", Status::Ok, counted(keys.len(), "key")),
        Err(error) => add(checks, "identity", Status::Failed, format!("`{}`: {error}", path.display())),
    }
}

fn check_audit(path: &Path, checks: &mut Vec<Check>) {
    match path.try_exists() {
        Ok(false) => {
            let parent =
                path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let writable =
                fs::metadata(parent).is_ok_and(|folder| folder.is_dir() && !folder.permissions().readonly());
            let (status, detail) = if writable {
                (Status::Ok, "will be made at the first start".to_owned())
            } else {
                (
                    Status::Failed,
                    format!("`{}` can't be made: its folder is not there or not writable", path.display()),
                )
            };
            return add(checks, "audit log", status, detail);
        }
        Ok(true) => {}
        Err(error) => {
            return add(checks, "audit log", Status::Failed, format!("`{}`: {error}", path.display()));
        }
    }
    let report = AuditDir::open(path).and_then(|dir| dir.verify(None, &[]));
    match report {
        Ok(report) if report.is_intact() => {
            let records = counted(usize::try_from(report.records).unwrap_or(usize::MAX), "record");
            add(checks, "audit log", Status::Ok, format!("{records}, intact"));
        }
        Ok(report) => {
            for found in &report.breaks {
                add(checks, "audit log", Status::Failed, found.to_string());
            }
        }
        Err(error) => add(checks, "audit log", Status::Failed, error.to_string()),
    }
}

fn check_listener(check: &str, listen: SocketAddr, checks: &mut Vec<Check>) {
    match TcpListener::bind(listen) {
        Ok(_) => add(checks, check, Status::Ok, format!("{listen} is free")),
        Err(error) => add(checks, check, Status::Failed, format!("{listen}: {error}")),
    }
}
