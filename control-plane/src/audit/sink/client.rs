//! A server that batches are posted to.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};

use super::{Header, Undelivered};
use crate::causes::chained;

const CONNECT: Duration = Duration::from_secs(10);
/// Shorter than a batch may take as a whole.
const ANSWER: Duration = Duration::from_secs(45);
/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 64 * 1024;
/// So that a server which was asked for a batch twice can tell.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is common to servers, as the operator says it.
pub(super) struct Options<'a> {
    pub(super) url: &'a str,
    pub(super) headers: &'a [Header],
    pub(super) ca_file: Option<&'a Path>,
    pub(super) insecure: bool,
}

/// A server.
pub(super) struct Server {
    url: Url,
    client: reqwest::Client,
    fixed: HeaderMap,
    /// Names and files of headers that are read anew each time.
    secret: Vec<(HeaderName, PathBuf)>,
}

// === impl Server ===

impl Server {
    /// A client of a server. The error is for people.
    pub(super) fn new(options: Options<'_>) -> Result<Self, String> {
        let url = Url::parse(options.url).map_err(|error| format!("`url` is no address: {error}"))?;
        match url.scheme() {
            "https" => {}
            "http" if options.insecure || is_loopback(&url) => {}
            "http" => {
                return Err(
                    "records would travel in clear text: use https, or say `insecure: true`".to_owned()
                );
            }
            _ => return Err("`url` is neither https nor http".to_owned()),
        }
        if url.password().is_some() {
            return Err("`url` holds a password: use a header with `file`".to_owned());
        }
        let mut client = reqwest::Client::builder()
            .user_agent(concat!("kt-control-plane/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .tcp_nodelay(true);
        if let Some(path) = options.ca_file {
            let unusable = |why: String| format!("`ca_file` `{}`: {why}", path.display());
            let bytes = fs::read(path).map_err(|error| unusable(error.to_string()))?;
            let roots = reqwest::Certificate::from_pem_bundle(&bytes)
                .map_err(|_| unusable("it holds no certificate".to_owned()))?;
            client = client.tls_certs_merge(roots);
        }
        let (mut fixed, mut secret) = (HeaderMap::new(), Vec::new());
        for header in options.headers {
            let wrong = |what: &str| format!("the header `{}` {what}", header.name);
            let name =
                HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| wrong("has no name for one"))?;
            match (&header.value, &header.file) {
                (Some(value), _) => {
                    let value =
                        HeaderValue::from_str(value).map_err(|_| wrong("has a value that can't be sent"))?;
                    fixed.insert(name, value);
                }
                (None, Some(file)) => {
                    secret_of(file).map_err(|why| wrong(&why))?;
                    secret.push((name, file.clone()));
                }
                (None, None) => {}
            }
        }
        let client =
            client.build().map_err(|error| format!("no client can be made: {}", error.without_url()))?;
        Ok(Self { url, client, fixed, secret })
    }

    /// The same server under `path`, where its address has none.
    pub(super) fn or_path(mut self, path: &str) -> Self {
        if self.url.path() == "/" {
            self.url.set_path(path);
        }
        self
    }

    /// Posts a batch, and gives the first bytes of the answer. Redirects are not followed: records go where the operator
    /// has said and nowhere else.
    pub(super) async fn post(
        &self,
        batch: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Undelivered> {
        let mut headers = self.fixed.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let name = HeaderValue::from_str(batch).map_err(|_| Undelivered::new("its name can't be sent"))?;
        headers.insert(IDEMPOTENCY_KEY, name);
        for (name, file) in &self.secret {
            let value =
                secret_of(file).map_err(|why| Undelivered::new(format!("the header `{name}` {why}")))?;
            headers.insert(name, value);
        }
        let sent = self.client.post(self.url.clone()).headers(headers).body(body).send().await;
        let mut answer = sent.map_err(|error| Undelivered::new(said(error)))?;
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let mut start = Vec::new();
        while start.len() < ANSWER_BYTES
            && let Some(chunk) = answer.chunk().await.map_err(|error| Undelivered::new(said(error)))?
        {
            start.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(start);
        }
        // What the server says may repeat what it was sent.
        Err(Undelivered { what: refused(status), retry_after })
    }
}

fn refused(status: StatusCode) -> String {
    let why = status.canonical_reason().map(|reason| format!(" ({})", reason.to_lowercase()));
    format!("the server answers with {}{}", status.as_u16(), why.unwrap_or_default())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// An error with what is behind it, without the address.
fn said(error: reqwest::Error) -> String {
    chained(&error.without_url())
}

/// The value of a header from its file.
fn secret_of(file: &Path) -> Result<HeaderValue, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("has a value that can't be read from `{}`: {error}", file.display()))?;
    let mut value = HeaderValue::from_str(text.trim_end_matches(['\r', '\n']))
        .map_err(|_| format!("has a value in `{}` that can't be sent", file.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}
