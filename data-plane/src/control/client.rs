//! The way to a control plane: one channel for each connection, and bodies by digest over the same channel.

use std::{fmt, path::Path, time::Duration};

use kt_audit::Digest;
use kt_policy::yaml::MAX_BYTES;
use kt_proto::{
    refusal::Refusal,
    v1::{self, delivery_service_client::DeliveryServiceClient},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::session::Ended;
use crate::{settings::ControlSettings, watch_file};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// A ping after so long without a frame, also while no call is open, and how long its answer may take.
const KEEPALIVE: Duration = Duration::from_secs(4);
/// How long a server may take for the next piece of a body.
const CHUNK: Duration = Duration::from_secs(10);
/// A token is a line.
const MAX_TOKEN: u64 = 4096;
/// Certificates of a few authorities.
const MAX_CA: u64 = 4 * 1024 * 1024;
/// A key set with some hundred thousand keys.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Says who is calling. What it holds can't be printed.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer")
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl Bearer {
    /// Reads the token.
    fn read(path: &Path) -> Result<Self, Ended> {
        let name = path.display();
        let bytes = watch_file::read(path, MAX_TOKEN).map(zeroize::Zeroizing::new);
        let bytes = bytes
            .map_err(|error| Ended::Unusable(format!("the token file `{name}` can't be read: {error}")))?;
        let token = bytes.trim_ascii();
        let is_token = token.starts_with(b"kt_gw_") && token.iter().all(u8::is_ascii_graphic);
        if !is_token {
            let message = format!(
                "`{name}` holds no token of a gateway (`kt_gw_…`): make one with `kt gateway token create`"
            );
            return Err(Ended::Unusable(message));
        }
        let header = zeroize::Zeroizing::new([b"Bearer ", token].concat());
        let mut value = MetadataValue::try_from(&**header)
            .map_err(|_| Ended::Unusable(format!("`{name}` holds no token of a gateway")))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// Calls of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Client(DeliveryServiceClient<InterceptedService<Channel, Bearer>>);

/// Why a body was not fetched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoBody {
    /// The control plane says no, and will say it again.
    Refused(Refusal),
    /// More bytes than a pack may have.
    TooLarge,
    /// It may go better.
    Broken(String),
}

/// A channel of its own, and what to say on it.
pub(crate) async fn channel(settings: &ControlSettings) -> Result<(Channel, Bearer), Ended> {
    let bearer = Bearer::read(&settings.token_file)?;
    let endpoint = endpoint(settings)?;
    let channel = endpoint.connect().await.map_err(|error| Ended::Broken(chain(&error)))?;
    Ok((channel, bearer))
}

impl Client {
    /// Opens a connection.
    pub(crate) async fn connect(settings: &ControlSettings) -> Result<Self, Ended> {
        let (channel, bearer) = channel(settings).await?;
        let client = DeliveryServiceClient::with_interceptor(channel, bearer);
        Ok(Self(client.max_decoding_message_size(MAX_MESSAGE)))
    }

    /// Opens the stream; what is in `outgoing` already goes first.
    pub(crate) async fn subscribe(
        &mut self,
        outgoing: mpsc::Receiver<v1::GatewayMessage>,
    ) -> Result<Streaming<v1::ServerMessage>, Ended> {
        match self.0.subscribe(ReceiverStream::new(outgoing)).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(ended(&status)),
        }
    }

    /// Fetches the source of a pack. What comes is not checked against the digest here.
    pub(crate) async fn fetch(&mut self, digest: Digest) -> Result<Vec<u8>, NoBody> {
        let request = v1::FetchPackRequest { digest: digest.0.to_vec() };
        let slow = |_| NoBody::Broken("it takes too long".to_owned());
        let response = tokio::time::timeout(CHUNK, self.0.fetch_pack(request)).await.map_err(slow)?;
        let mut stream = response.map_err(|status| no_body(&status))?.into_inner();
        let mut body = Vec::new();
        loop {
            let message = tokio::time::timeout(CHUNK, stream.message()).await.map_err(slow)?;
            let Some(v1::FetchPackResponse { chunk }) = message.map_err(|status| no_body(&status))? else {
                return Ok(body);
            };
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(NoBody::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
    }
}

fn no_body(status: &Status) -> NoBody {
    match Refusal::of(status) {
        Some(refusal) if !refusal.code.is_retryable() => NoBody::Refused(refusal),
        Some(refusal) => NoBody::Broken(refusal.message),
        None => NoBody::Broken(brief(status)),
    }
}

/// How a stream ended that ended with a status.
pub(crate) fn ended(status: &Status) -> Ended {
    match Refusal::of(status) {
        Some(refusal) => Ended::Denied(refusal.code, refusal.message),
        None => Ended::Broken(brief(status)),
    }
}

/// A status in one line. Its message is the other side's or a library's; neither has the token.
pub(crate) fn brief(status: &Status) -> String {
    let message: String = status.message().chars().filter(|c| !c.is_control()).take(200).collect();
    format!("{:?}: {message}", status.code())
}

fn endpoint(settings: &ControlSettings) -> Result<Endpoint, Ended> {
    let unusable =
        |what: &str, error: &dyn std::error::Error| Ended::Unusable(format!("{what}: {}", chain(error)));
    let address = format!("the address `{}` can't be used", settings.url);
    let mut endpoint = Endpoint::from_shared(settings.url.clone())
        .map_err(|error| unusable(&address, &error))?
        .user_agent(concat!("kt-gateway/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| unusable(&address, &error))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    if endpoint.uri().scheme_str() == Some("https") {
        let mut tls = ClientTlsConfig::new().with_native_roots().timeout(CONNECT);
        if let Some(path) = &settings.ca_file {
            let what = format!("the certificates of `{}` can't be used", path.display());
            let pem = watch_file::read(path, MAX_CA).map_err(|error| unusable(&what, &error))?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        endpoint = endpoint.tls_config(tls).map_err(|error| unusable(&address, &error))?;
    }
    Ok(endpoint)
}

/// An error and its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let source_text = source.to_string();
        if !text.ends_with(&source_text) {
            text = format!("{text}: {source_text}");
        }
        cause = source.source();
    }
    text
}

/// Whether an address is one that a gateway may connect to.
///
/// # Errors
/// A sentence: what is wrong, and what to do.
pub(crate) fn check_url(settings: &ControlSettings) -> Result<(), String> {
    let url = reqwest::Url::parse(&settings.url)
        .map_err(|_| format!("`{}` is no address: write `https://host:7443`", settings.url))?;
    let is_bare = url.username().is_empty()
        && url.password().is_none()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_bare || url.host_str().is_none() {
        return Err("the address of the control plane is scheme, host and port, and nothing else".to_owned());
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if settings.allow_clear_text || crate::upstream::client::is_loopback(&url) => Ok(()),
        "http" => Err(format!(
            "`{}` is clear text beyond this machine: use https, or allow it with --insecure-control-plane",
            settings.url
        )),
        scheme => Err(format!("`{scheme}` is no way to a control plane: use https")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Result<(), String> {
        check_url(&ControlSettings::new(url, "token"))
    }

    #[test]
    fn clear_text_is_for_the_loopback() {
        for url in
            ["https://cp:7443", "https://cp", "http://127.0.0.1:7443", "http://localhost:1", "http://[::1]:7"]
        {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for url in
            ["http://cp:7443", "cp:7443", "ftp://cp", "https://u:p@cp", "https://cp/path", "https://cp/?q"]
        {
            let error = check(url).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
        let insecure =
            ControlSettings { allow_clear_text: true, ..ControlSettings::new("http://cp:7443", "token") };
        assert_eq!(check_url(&insecure), Ok(()));
    }

    #[test]
    fn a_token_is_read_from_its_file_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(Bearer::read(&path).unwrap_err().needs_a_person());
        for bad in ["", "kt_gk_client", "kt_gw_two\nlines"] {
            std::fs::write(&path, bad).unwrap();
            assert!(Bearer::read(&path).unwrap_err().needs_a_person(), "{bad}");
        }
        std::fs::write(&path, "kt_gw_secret\n").unwrap();
        let mut bearer = Bearer::read(&path).unwrap();
        assert_eq!(bearer.0.to_str().unwrap(), "Bearer kt_gw_secret");
        let request = bearer.call(Request::new(())).unwrap();
        assert!(!format!("{bearer:?} {request:?}").contains("kt_gw_secret"));
    }
}
