//! A control plane on ports of its own, and its callers.

use std::{sync::Arc, time::Duration};

use kt_control_plane::{
    ControlPlane, Running,
    settings::{Settings, StoreSettings},
    store::Store,
};
use kt_proto::{
    refusal::Refusal,
    signed,
    v1::{
        self, Role, fleet_service_client::FleetServiceClient, key_service_client::KeyServiceClient,
        pack_service_client::PackServiceClient, token_service_client::TokenServiceClient,
    },
};
use secrecy::ExposeSecret as _;
use tokio::sync::oneshot;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Adds a token to each call.
#[derive(Clone)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A caller with a token, or without.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) channel: Channel,
    token: Token,
}

type Called = InterceptedService<Channel, Token>;

impl Caller {
    pub(crate) fn service(&self) -> Called {
        InterceptedService::new(self.channel.clone(), self.token.clone())
    }

    pub(crate) fn packs(&self) -> PackServiceClient<Called> {
        PackServiceClient::new(self.service()).max_encoding_message_size(64 << 20)
    }

    pub(crate) fn fleets(&self) -> FleetServiceClient<Called> {
        FleetServiceClient::new(self.service())
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Called> {
        KeyServiceClient::new(self.service())
    }

    pub(crate) fn tokens(&self) -> TokenServiceClient<Called> {
        TokenServiceClient::new(self.service())
    }

    /// A token of these roles, made by this caller.
    pub(crate) async fn token(&self, name: &str, roles: &[Role], fleet: &str) -> String {
        let request = v1::CreateTokenRequest {
            name: name.to_owned(),
            roles: roles.iter().map(|role| i32::from(*role)).collect(),
            fleet: fleet.to_owned(),
            ..v1::CreateTokenRequest::default()
        };
        self.tokens().create_token(request).await.unwrap().into_inner().secret
    }

    pub(crate) async fn upload(&self, version: &str) -> v1::PackRef {
        let source =
            format!("pack: {{name: demo, version: {version}}}\npolicies: {{chain: [audit-logger]}}\n");
        let request = v1::UploadPackRequest { source: source.into(), ..v1::UploadPackRequest::default() };
        let answer = self.packs().upload_pack(request).await.unwrap().into_inner();
        match answer.result.unwrap() {
            v1::upload_pack_response::Result::Stored(version) => version.pack.unwrap(),
            v1::upload_pack_response::Result::Refused(findings) => panic!("{findings:?}"),
        }
    }

    pub(crate) async fn publish(
        &self,
        expected: u64,
        pack: &v1::PackRef,
    ) -> Result<v1::AssignResponse, Status> {
        let statement = v1::AssignmentStatement {
            fleet: "default".to_owned(),
            generation: expected + 1,
            packs: vec![pack.clone()],
            expires_us: 0,
        };
        let request = v1::AssignRequest {
            fleet: "default".to_owned(),
            expected_generation: expected,
            assignment: Some(signed::seal(&statement, &[])),
            kind: v1::AssignmentKind::Publish.into(),
            ..v1::AssignRequest::default()
        };
        self.fleets().assign(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn generation(&self) -> u64 {
        let request = v1::GetFleetRequest { name: "default".to_owned() };
        let fleet = self.fleets().get_fleet(request).await.unwrap().into_inner().fleet.unwrap();
        let sealed = fleet.head.and_then(|head| head.assignment);
        sealed.map_or(0, |sealed| signed::read::<v1::AssignmentStatement>(&sealed).unwrap().generation)
    }
}

/// Why a call was refused.
pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> &'static str {
    let status = answer.unwrap_err();
    Refusal::of(&status).unwrap_or_else(|| panic!("{status:?}")).code.as_str()
}

/// A running control plane.
pub(crate) struct Plane {
    pub(crate) grpc: String,
    pub(crate) admin: String,
    pub(crate) secret: Option<String>,
    pub(crate) data_dir: tempfile::TempDir,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) stopped: tokio::task::JoinHandle<()>,
}

pub(crate) fn settings(data_dir: &std::path::Path) -> Settings {
    let mut settings = Settings::new(data_dir);
    settings.listen = "127.0.0.1:0".parse().unwrap();
    settings.admin_listen = Some("127.0.0.1:0".parse().unwrap());
    settings.drain = Duration::from_secs(2);
    settings
}

impl Plane {
    pub(crate) async fn start() -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let settings = settings(data_dir.path());
        Self::with(settings, data_dir).await
    }

    pub(crate) async fn over(store: Arc<dyn Store>) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let settings = Settings { store: StoreSettings::Given(store), ..settings(data_dir.path()) };
        Self::with(settings, data_dir).await
    }

    pub(crate) async fn with(settings: Settings, data_dir: tempfile::TempDir) -> Self {
        let running = ControlPlane::start(settings).await.unwrap();
        Self::running(running, data_dir)
    }

    pub(crate) fn running(running: Running, data_dir: tempfile::TempDir) -> Self {
        let (stop, told) = oneshot::channel::<()>();
        let grpc = running.grpc_addr.to_string();
        let admin = running.admin_addr.unwrap().to_string();
        let secret = running.bootstrap.as_ref().map(|first| first.secret.expose_secret().to_owned());
        let tasks = tokio_util::task::TaskTracker::new();
        let stopped = tasks.spawn(running.run_until(async {
            let _ = told.await;
        }));
        Self { grpc, admin, secret, data_dir, stop: Some(stop), stopped }
    }

    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        tokio::time::timeout(LONG, self.stopped).await.expect("it stops").unwrap();
        self.data_dir
    }

    pub(crate) fn caller(&self, token: Option<&str>) -> Caller {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap();
        let token = token.map(|token| format!("Bearer {token}").parse().unwrap());
        Caller { channel: endpoint.connect_lazy(), token: Token(token) }
    }

    /// The one with the bootstrap token.
    pub(crate) fn first(&self) -> Caller {
        self.caller(self.secret.as_deref())
    }

    /// `GET path` of the admin listener: status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let mut stream = tokio::net::TcpStream::connect(&self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}
