//! Binding: what only one gateway knows is filled into a compiled pack.
//!
//! Validity is the pack's own and the same everywhere; binding is each gateway's, with refusals of its own. A pack may
//! read only what the operator allows: environment variables by pattern, files below one folder, hosts by pattern.
//! What a credential is stays with the caller: binding only says where it is.

use std::collections::BTreeMap;

use http::Uri;

use crate::{
    codes,
    compiled::{CompiledPack, CompiledTarget},
    diag::{Code, Diagnostic, Severity},
    pack::providers::SecretKeyRef,
};

/// Environment variables that a pack may name unless the operator says otherwise.
pub const DEFAULT_PACK_ENV: [&str; 2] = ["DATABRICKS_*", "KT_PACK_*"];

/// Hosts that a pack may send to unless the operator says otherwise: Databricks' workspaces by cloud (AWS, its
/// government cloud, Azure, its government and China clouds, GCP), from the official SDK's list of environments.
pub const DEFAULT_ALLOW_UPSTREAM: [&str; 6] = [
    "*.cloud.databricks.com",
    "*.cloud.databricks.us",
    "*.azuredatabricks.net",
    "*.databricks.azure.us",
    "*.databricks.azure.cn",
    "*.gcp.databricks.com",
];

/// What the operator allows and knows.
#[derive(Debug, Clone, Default)]
pub struct BindSettings {
    /// What `{workspace}` stands for: the first labels of a host.
    pub workspace: Option<String>,
    /// Patterns of environment variables; empty: [`DEFAULT_PACK_ENV`].
    pub pack_env: Vec<String>,
    /// Whether there is a folder that packs may name files of.
    pub has_secrets_dir: bool,
    /// Host patterns; empty: [`DEFAULT_ALLOW_UPSTREAM`].
    pub allow_upstream: Vec<String>,
    /// `ID=URL` or `*=URL`: scheme, host and port that replace those of targets. Never from a pack.
    pub upstream: Vec<String>,
}

/// What binding asks of the machine.
pub trait Lookup {
    /// The value of an environment variable that is part of a `base_url`; `None` when it is not set or not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;

    /// Whether an environment variable that holds a credential is set; its value is not asked for.
    fn is_set(&self, name: &str) -> bool {
        self.variable(name).is_some()
    }
}

impl<F: Fn(&str) -> Option<String>> Lookup for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// A pack's targets as one gateway uses them, in the order of the pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The targets.
    pub targets: Vec<BoundTarget>,
    /// What a person should know: overridden upstreams, credentials that are missing.
    pub warnings: Vec<Diagnostic>,
}

/// A target with its address filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundTarget {
    /// Scheme, host, port and path, without a slash at the end.
    pub base_url: String,
    /// Where the credential is.
    pub secret: Option<SecretKeyRef>,
    /// Whether `--upstream` replaced scheme, host and port.
    pub is_overridden: bool,
}

/// Binds a pack.
///
/// # Errors
/// Every reason why this gateway does not serve it.
pub fn bind(
    pack: &CompiledPack,
    settings: &BindSettings,
    lookup: &dyn Lookup,
) -> Result<Binding, Vec<Diagnostic>> {
    let mut found = Vec::new();
    let overrides = overrides(pack, settings, &mut found);
    if !pack.enabled {
        let message = format!("the pack `{}` says `enabled: false`", pack.id);
        found.push(refusal(
            codes::PACK_DISABLED,
            "pack.enabled",
            message,
            Some("publish it with `enabled: true`"),
        ));
    }
    let mut targets = Vec::with_capacity(pack.targets.len());
    for (index, target) in pack.targets.iter().enumerate() {
        let at = Binder { settings, lookup, target, index };
        let replaced = overrides.get(&*target.id).or_else(|| overrides.get("*"));
        let url = at.base_url(replaced, &mut found);
        at.check_secret(&mut found);
        if let Some(base_url) = url {
            let secret = target.secret.clone();
            targets.push(BoundTarget { base_url, secret, is_overridden: replaced.is_some() });
        }
    }
    let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(Diagnostic::is_error);
    if errors.is_empty() { Ok(Binding { targets, warnings }) } else { Err(errors) }
}

fn refusal(code: Code, path: &str, message: String, help: Option<&str>) -> Diagnostic {
    let diagnostic = Diagnostic::error(code, path, None, message);
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

/// The overrides by target id, or `*`: scheme and authority.
fn overrides(
    pack: &CompiledPack,
    settings: &BindSettings,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, (String, String)> {
    let mut overrides = BTreeMap::new();
    for written in &settings.upstream {
        let help = Some("write `ID=URL` or `*=URL`, as `*=http://127.0.0.1:8080`");
        let parsed = written.split_once('=').and_then(|(id, url)| Some((id, origin(url)?)));
        let Some((id, origin)) = parsed else {
            // Not shown: a URL may hold a password.
            let message =
                "an upstream override is not `ID=URL` with http or https, a host and nothing else".to_owned();
            found.push(refusal(codes::BAD_SETTING, "", message, help));
            continue;
        };
        if id != "*" && !pack.targets.iter().any(|target| *target.id == *id) {
            let message = format!("an upstream override names `{id}`, and the pack has no such target");
            found.push(refusal(codes::OVERRIDE_UNKNOWN_TARGET, "providers.targets", message, None));
            continue;
        }
        let message =
            format!("the upstream of `{id}` is overridden by the operator: {}://{}", origin.0, origin.1);
        found.push(Diagnostic {
            severity: Severity::Warning,
            ..refusal(codes::OVERRIDDEN, "", message, None)
        });
        overrides.insert(id.to_owned(), origin);
    }
    overrides
}

/// Scheme and authority of an address that has nothing else but perhaps a slash.
fn origin(url: &str) -> Option<(String, String)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let is_bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    is_bare.then(|| (scheme.to_owned(), authority.to_string()))
}

struct Binder<'a> {
    settings: &'a BindSettings,
    lookup: &'a dyn Lookup,
    target: &'a CompiledTarget,
    index: usize,
}

impl Binder<'_> {
    fn path(&self, key: &str) -> String {
        format!("providers.targets[{}].{key}", self.index)
    }

    fn base_url(&self, replaced: Option<&(String, String)>, found: &mut Vec<Diagnostic>) -> Option<String> {
        let path = self.path("base_url");
        let written = match replaced {
            // What the override replaces need not be filled in.
            Some((scheme, authority)) => {
                let rest = self.target.base_url.split_once("://").map_or("", |(_, rest)| rest);
                let below = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("");
                format!("{scheme}://{authority}{below}")
            }
            None => self.target.base_url.clone(),
        };
        let filled = self.fill(&written, &path, found)?;
        let invalid = |found: &mut Vec<Diagnostic>| {
            let message =
                format!("the address of the target `{}` is not valid once it is filled in", self.target.id);
            let help = Some("it must be `https://HOST/PATH` without user, query and fragment");
            found.push(refusal(codes::BOUND_URL_INVALID, &path, message, help));
        };
        let Ok(uri) = filled.parse::<Uri>() else {
            invalid(found);
            return None;
        };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            invalid(found);
            return None;
        };
        let is_plain = !authority.as_str().contains('@') && uri.query().is_none() && !filled.contains('#');
        if !matches!(scheme, "http" | "https") || !is_plain {
            invalid(found);
            return None;
        }
        if replaced.is_none() && !self.is_allowed(scheme, authority.host(), &path, found) {
            return None;
        }
        Some(format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')))
    }

    fn is_allowed(&self, scheme: &str, host: &str, path: &str, found: &mut Vec<Diagnostic>) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let default = DEFAULT_ALLOW_UPSTREAM.map(str::to_owned);
        let allowed: &[String] =
            if self.settings.allow_upstream.is_empty() { &default } else { &self.settings.allow_upstream };
        let loopback = is_loopback(&host);
        // A wild card never reaches the gateway's own host: it must be named.
        let fits = |pattern: &String| {
            let pattern = pattern.to_ascii_lowercase();
            if loopback { pattern == host } else { matches_host(&pattern, &host) }
        };
        if !allowed.iter().any(fits) {
            let message = format!("this gateway does not send to `{host}`");
            let help = "the operator allows hosts with `--allow-upstream`";
            found.push(refusal(codes::UPSTREAM_NOT_ALLOWED, path, message, Some(help)));
            return false;
        }
        if scheme != "https" && !loopback {
            let message = format!("the address of the target `{}` has no TLS", self.target.id);
            found.push(refusal(codes::BOUND_URL_INVALID, path, message, Some("write `https://`")));
            return false;
        }
        true
    }

    /// Replaces `{workspace}` and `${NAME}`.
    fn fill(&self, written: &str, path: &str, found: &mut Vec<Diagnostic>) -> Option<String> {
        let mut filled = String::with_capacity(written.len() + 32);
        let mut rest = written;
        let mut is_whole = true;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else {
                filled.push_str(before);
                filled.push('{');
                rest = after;
                continue;
            };
            let value = if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                self.variable(name, path, found)
            } else {
                filled.push_str(before);
                self.workspace(name, path, found)
            };
            match value {
                Some(value) => filled.push_str(&value),
                None => is_whole = false,
            }
            rest = tail;
        }
        filled.push_str(rest);
        is_whole.then_some(filled)
    }

    fn workspace(&self, name: &str, path: &str, found: &mut Vec<Diagnostic>) -> Option<String> {
        if name != "workspace" {
            let message = format!("`{{{name}}}` stands for nothing");
            let help = Some("use `{workspace}`, or `${NAME}` for an environment variable");
            found.push(refusal(codes::BOUND_URL_INVALID, path, message, help));
            return None;
        }
        let Some(workspace) = &self.settings.workspace else {
            let message = "the pack needs a workspace, and this gateway has none".to_owned();
            let help = Some("set `--workspace`: for `https://adb-1.2.azuredatabricks.net` it is `adb-1.2`");
            found.push(refusal(codes::NO_WORKSPACE, path, message, help));
            return None;
        };
        if is_host_part(workspace) {
            return Some(workspace.clone());
        }
        let message = "`--workspace` is not the beginning of a host name".to_owned();
        let help = Some("letters, digits, `-` and `.`: `adb-1234567890123456.7`");
        found.push(refusal(codes::BAD_SETTING, path, message, help));
        None
    }

    fn variable(&self, name: &str, path: &str, found: &mut Vec<Diagnostic>) -> Option<String> {
        if !self.may_read(name) {
            found.push(not_readable(name, path));
            return None;
        }
        let value = self.lookup.variable(name).filter(|value| !value.is_empty());
        if value.is_none() {
            let message = format!("the pack needs the environment variable `{name}`, and it is not set");
            found.push(refusal(codes::VARIABLE_MISSING, path, message, None));
        }
        value
    }

    fn may_read(&self, name: &str) -> bool {
        let default = DEFAULT_PACK_ENV.map(str::to_owned);
        let allowed: &[String] =
            if self.settings.pack_env.is_empty() { &default } else { &self.settings.pack_env };
        allowed.iter().any(|pattern| matches_name(pattern, name))
    }

    /// Whether the pack may read its credential from where it says. Whether it is there is found out later: a missing
    /// one makes the target unavailable, not the pack invalid.
    fn check_secret(&self, found: &mut Vec<Diagnostic>) {
        match &self.target.secret {
            Some(SecretKeyRef::Env(name)) if !self.may_read(name) => {
                found.push(not_readable(name, &self.path("secret_key_ref.env")));
            }
            Some(SecretKeyRef::File(_)) if !self.settings.has_secrets_dir => {
                let message =
                    "the pack names a file with a credential, and this gateway has no folder for them"
                        .to_owned();
                let path = self.path("secret_key_ref.file");
                found.push(refusal(codes::NO_SECRETS_DIR, &path, message, Some("set `--secrets-dir`")));
            }
            Some(SecretKeyRef::Env(name)) if !self.lookup.is_set(name) => {
                let message = format!(
                    "`{name}` is not set: the target `{}` is unavailable until it is",
                    self.target.id
                );
                let path = self.path("secret_key_ref.env");
                found.push(Diagnostic {
                    severity: Severity::Warning,
                    ..refusal(codes::SECRET_MISSING, &path, message, None)
                });
            }
            _ => {}
        }
    }
}

fn not_readable(name: &str, path: &str) -> Diagnostic {
    let message = format!("the pack may not read the environment variable `{name}`");
    refusal(codes::VARIABLE_NOT_ALLOWED, path, message, Some("the operator allows names with `--pack-env`"))
}

/// `DATABRICKS_*`: one wild card at the end, or none.
fn matches_name(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// `*.example.com` stands for every host below `example.com`; anything else for itself.
fn matches_host(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(suffix) => host
            .strip_suffix(suffix)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|below| !below.is_empty() && !below.starts_with('.')),
        None => pattern == host,
    }
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| match address {
            std::net::IpAddr::V4(address) => address.is_loopback() || address.is_unspecified(),
            std::net::IpAddr::V6(address) => {
                address.is_loopback()
                    || address.is_unspecified()
                    || address
                        .to_ipv4_mapped()
                        .is_some_and(|mapped| mapped.is_loopback() || mapped.is_unspecified())
            }
        })
}

/// One or more labels of a host name.
fn is_host_part(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

#[cfg(test)]
mod tests;
