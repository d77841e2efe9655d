//! The one place that makes a channel: authorities of the system and of `--ca-file`, keepalive, limits of time.

use std::{net::IpAddr, path::Path, time::Duration};

use rustls::RootCertStore;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};

use crate::exit::CliError;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(20);

/// A channel that connects with its first call, and again when it has broken.
pub(super) fn channel(server: &str, ca_file: Option<&Path>) -> Result<Channel, CliError> {
    let uri = address(server)?;
    let is_tls = uri.scheme_str() == Some("https");
    let mut endpoint = Endpoint::from(uri)
        .connect_timeout(CONNECT_WITHIN)
        .tcp_keepalive(Some(KEEPALIVE))
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(CONNECT_WITHIN)
        .user_agent(concat!("kt/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| CliError::failure(format!("can't name this client: {error}")))?;
    if is_tls {
        endpoint = endpoint.tls_config(trust(ca_file)?).map_err(|error| {
            let message = match ca_file {
                Some(path) => format!("can't use `{}`: {error}", path.display()),
                None => format!("can't set up TLS: {error}"),
            };
            CliError::usage(message)
        })?;
    }
    Ok(endpoint.connect_lazy())
}

/// The authorities of the system, and those of the file.
fn trust(ca_file: Option<&Path>) -> Result<ClientTlsConfig, CliError> {
    let mut roots = RootCertStore::empty();
    // A machine without any has none to add; a server whose authority is missing is refused at the handshake.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let mut config = ClientTlsConfig::new().trust_anchors(roots.roots);
    if let Some(path) = ca_file {
        let pem = std::fs::read(path)
            .map_err(|error| CliError::usage(format!("can't read `{}`: {error}", path.display())))?;
        if !pem.windows(27).any(|bytes| bytes == b"-----BEGIN CERTIFICATE-----") {
            return Err(CliError::usage(format!("`{}` holds no certificate", path.display()))
                .with_help("`--ca-file` takes certificates in PEM form"));
        }
        config = config.ca_certificate(Certificate::from_pem(pem));
    }
    Ok(config)
}

/// Reads the address of a control plane: `https://host:port`, and `http://` only on this machine.
pub(super) fn address(server: &str) -> Result<Uri, CliError> {
    let wrong = |what: &str| {
        CliError::usage(format!("the address `{server}` {what}"))
            .with_help("write it as `https://kt.example.com:7443`; `http://` only for this machine")
    };
    let uri: Uri = server.trim_end_matches('/').parse().map_err(|_| wrong("can't be read"))?;
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else { return Err(wrong("names no host")) };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        // Not shown: what stands before the `@` may be a credential.
        return Err(CliError::usage("the address of the control plane holds a user or a password")
            .with_help("tokens are given to `kt auth login`, never in an address"));
    }
    if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
        return Err(wrong("has a path"));
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback(host) => Ok(uri),
        Some("http") => Err(wrong("is not encrypted, and not of this machine")),
        _ => Err(wrong("begins neither with `https://` nor with `http://`")),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_text_stays_on_this_machine() {
        for good in [
            "https://kt.example.com",
            "https://kt.example.com:7443/",
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://localhost:7443",
        ] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in [
            "http://kt.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://10.0.0.1:7443",
            "kt.example.com:7443",
            "ftp://127.0.0.1",
            "https://",
            "https://a/b",
            "",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_credential_in_an_address_is_not_shown() {
        let error = address("https://jane:hunter2@kt.example.com").unwrap_err();
        assert!(!format!("{error} {:?}", error.help()).contains("hunter2"));
    }
}
