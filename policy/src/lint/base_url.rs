//! Addresses, as far as they can be judged before a gateway fills them in.

use http::Uri;

use super::{Lint, is_secret, variables};
use crate::{codes, pack::Target};

/// Checks the `base_url` of a target.
pub(super) fn check(lint: &mut Lint<'_>, target: &Target, path: &str) {
    let path = format!("{path}.base_url");
    let written = &target.base_url;
    let names: Vec<&str> = variables(written).collect();
    for name in &names {
        if is_secret(lint.pack, name) {
            let message = format!("`{name}` is a credential of this pack and can't be part of an address");
            lint.error(codes::SECRET_IN_URL, &path, message, "use another variable");
            return;
        }
    }
    // Placeholders stand for something that fits where they are.
    let mut filled = written.replace("{workspace}", "workspace");
    for name in &names {
        filled = filled.replace(&format!("${{{name}}}"), "value");
    }
    let whole_scheme = filled.split_once("://").map(|(scheme, _)| scheme);
    let uri = filled.parse::<Uri>().ok();
    let is_plain = uri.as_ref().is_some_and(|uri| {
        uri.query().is_none()
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && !filled.contains(['#', '{', '}'])
    });
    if !is_plain || !matches!(whole_scheme, Some("https" | "http")) {
        // Not shown: a password may stand in it.
        let message = format!("the `base_url` of `{}` is not an address to send requests to", target.id);
        let help = "write `https://HOST/serving-endpoints`, without user, query and fragment";
        lint.error(codes::BAD_BASE_URL, &path, message, help);
        return;
    }
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    if crate::bind::is_loopback(host.trim_start_matches('[').trim_end_matches(']')) {
        let message = format!("the `base_url` of `{}` is the gateway's own host", target.id);
        let help = "only a gateway that names it with `--allow-upstream` serves the pack";
        lint.warning(codes::LOOPBACK_BASE_URL, &path, message, help);
    } else if whole_scheme == Some("http") {
        let message =
            format!("the `base_url` of `{}` has no TLS: credentials would travel in clear", target.id);
        lint.error(codes::CLEARTEXT_BASE_URL, &path, message, "write `https://`");
        return;
    }
    if filled != *written {
        let what = if written.contains("{workspace}") { "{workspace}" } else { "${…}" };
        let message = format!("each gateway fills in `{what}`");
        let help =
            "a gateway without a value for it refuses the pack; `kt gateway run --workspace NAME` gives one";
        lint.warning(codes::PLACEHOLDER, &path, message, help);
    }
}
