//! A control plane in memory: the services as the contract has them, and faults on demand.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use kt_proto::{
    refusal::{Code, Refusal},
    signed,
    v1::{
        self, fleet_service_server::FleetService, fleet_service_server::FleetServiceServer,
        key_service_server::KeyService, key_service_server::KeyServiceServer,
        pack_service_server::PackService, pack_service_server::PackServiceServer,
        token_service_server::TokenService, token_service_server::TokenServiceServer,
    },
};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

/// The token that opens everything.
pub(crate) const TOKEN: &str = "kt_at_0123456789abcdefdouble";
/// When everything happens here.
const NOW: i64 = 1_764_000_000_000_000;
/// The most exceptions of a status.
pub(crate) const MAX_EXCEPTIONS: usize = 200;

/// What happens to one call.
pub(crate) enum Fault {
    /// It is refused.
    Refuse(Code),
    /// It is carried out, and the caller does not hear of it.
    Forget,
    /// Somebody else assigns the version of that name first.
    Overtake(&'static str),
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) packs: Vec<(v1::PackVersion, Vec<u8>)>,
    pub(crate) fleets: BTreeMap<String, v1::Fleet>,
    pub(crate) assignments: Vec<v1::Assignment>,
    pub(crate) key_sets: BTreeMap<String, v1::SignedStatement>,
    pub(crate) last_used: BTreeMap<String, i64>,
    pub(crate) tokens: Vec<v1::Token>,
    pub(crate) changes: Vec<v1::Change>,
    /// What the gateways of a fleet do, a step a message of a watch; the last one stays.
    pub(crate) rollout: VecDeque<Vec<v1::GatewayStatus>>,
    /// By call.
    pub(crate) faults: VecDeque<(&'static str, Fault)>,
    /// Every call with its request id.
    pub(crate) calls: Vec<(&'static str, String)>,
    /// Fleets by the request that made them.
    made: BTreeMap<String, v1::Fleet>,
    watches: tokio::sync::watch::Sender<u32>,
}

/// The control plane.
#[derive(Clone)]
pub(crate) struct Double {
    pub(crate) addr: SocketAddr,
    state: Arc<Mutex<State>>,
    _stop: Arc<tokio::task::JoinSet<()>>,
}

type Answer<T> = Result<Response<T>, Status>;
type Stream<T> = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

// === impl Double ===

impl Double {
    /// Serves on a free port, with the fleet `default`.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let services = Services { state: Arc::clone(&state) };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            Server::builder()
                .add_service(PackServiceServer::new(services.clone()))
                .add_service(FleetServiceServer::new(services.clone()))
                .add_service(KeyServiceServer::new(services.clone()))
                .add_service(TokenServiceServer::new(services))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        let double = Self { addr, state, _stop: Arc::new(tasks) };
        double.state().fleets.insert("default".to_owned(), new_fleet("default", "the first one"));
        double
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn fail(&self, call: &'static str, fault: Fault) {
        self.state().faults.push_back((call, fault));
    }

    /// What the gateways of the fleet do next.
    pub(crate) fn roll(&self, steps: impl IntoIterator<Item = Vec<v1::GatewayStatus>>) {
        self.state().rollout = steps.into_iter().collect();
    }

    /// Ends the streams of those who watch.
    pub(crate) fn end_watches(&self) {
        self.state().watches.send_modify(|number| *number += 1);
    }

    /// The request ids of the calls of that name.
    pub(crate) fn ids(&self, call: &str) -> Vec<String> {
        self.state().calls.iter().filter(|(name, _)| *name == call).map(|(_, id)| id.clone()).collect()
    }
}

fn new_fleet(name: &str, description: &str) -> v1::Fleet {
    v1::Fleet {
        name: name.to_owned(),
        description: description.to_owned(),
        created_by: "root".to_owned(),
        created_us: NOW,
        ..Default::default()
    }
}

/// A gateway in a state.
pub(crate) fn gateway(name: &str, state: v1::gateway_status::State, generation: u64) -> v1::GatewayStatus {
    v1::GatewayStatus {
        gateway_id: format!("01900000-0000-7000-8000-00000000000{}", name.len()),
        name: name.to_owned(),
        state: state.into(),
        generation: Some(generation),
        pack: "demo@1.0.0".to_owned(),
        last_contact_us: NOW,
        build: "0.1.0".to_owned(),
        replica: "r1".to_owned(),
        ..Default::default()
    }
}

#[derive(Clone)]
struct Services {
    state: Arc<Mutex<State>>,
}

fn refuse<T>(code: Code, message: impl Into<String>) -> Result<T, Status> {
    Err(Refusal::new(code, message).into())
}

// === impl Services ===

impl Services {
    fn enter<T>(
        &self,
        call: &'static str,
        id: &str,
        request: &Request<T>,
    ) -> Result<MutexGuard<'_, State>, Status> {
        let bearer = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if bearer != Some(&format!("Bearer {TOKEN}")) {
            return refuse(Code::TokenUnknown, "the token is not known here");
        }
        let mut state = self.state.lock().unwrap();
        state.calls.push((call, id.to_owned()));
        if let Some(place) =
            state.faults.iter().position(|(name, fault)| *name == call && !matches!(fault, Fault::Forget))
        {
            match state.faults.remove(place).unwrap().1 {
                Fault::Refuse(code) => return refuse(code, format!("told to refuse `{call}`")),
                Fault::Overtake(version) => state.overtake(version),
                Fault::Forget => {}
            }
        }
        Ok(state)
    }
}

impl State {
    fn overtake(&mut self, version: &str) {
        let pack =
            self.packs.iter().find(|(pack, _)| pack.pack.as_ref().unwrap().version == version).unwrap();
        let fleet = &self.fleets["default"];
        let generation = fleet.head.as_ref().map_or(0, generation_of);
        let statement = v1::AssignmentStatement {
            fleet: "default".to_owned(),
            generation: generation + 1,
            packs: vec![pack.0.pack.clone().unwrap()],
            expires_us: 0,
        };
        let assignment = v1::Assignment {
            assignment: Some(signed::seal(&statement, &[])),
            kind: v1::AssignmentKind::Publish.into(),
            assigned_by: "joe".to_owned(),
            assigned_us: NOW,
            reason: "quicker".to_owned(),
            request_id: "another".to_owned(),
        };
        self.put_head("default", assignment);
    }

    fn put_head(&mut self, fleet: &str, assignment: v1::Assignment) {
        self.assignments.push(assignment.clone());
        let fleet = self.fleets.get_mut(fleet).unwrap();
        fleet.head = Some(assignment);
        fleet.divergence = None;
    }

    /// The fault of a call that is carried out and not heard of.
    fn forgets(&mut self, call: &'static str) -> Result<(), Status> {
        let place =
            self.faults.iter().position(|(name, fault)| *name == call && matches!(fault, Fault::Forget));
        match place {
            Some(place) => {
                self.faults.remove(place);
                refuse(Code::OutcomeUnknown, "it is not known whether it was done")
            }
            None => Ok(()),
        }
    }

    fn status(&self, fleet: &str) -> v1::FleetStatus {
        use v1::gateway_status::State as Is;
        let gateways = self.rollout.front().cloned().unwrap_or_default();
        let count = |state: Is| gateways.iter().filter(|gateway| gateway.state() == state).count() as u32;
        let known = &self.fleets[fleet];
        v1::FleetStatus {
            fleet: fleet.to_owned(),
            wanted: known.head.clone(),
            key_set_generation: known.key_set_generation,
            counts: Some(v1::fleet_status::Counts {
                gateways: gateways.len() as u32,
                applied: count(Is::Applied),
                pending: count(Is::Pending),
                rejected: count(Is::Rejected),
                silent: count(Is::Silent),
                disconnected: count(Is::Disconnected),
            }),
            more_exceptions: gateways
                .iter()
                .filter(|gateway| gateway.state() != Is::Applied)
                .count()
                .saturating_sub(MAX_EXCEPTIONS) as u32,
            exceptions: gateways
                .into_iter()
                .filter(|gateway| gateway.state() != Is::Applied)
                .take(MAX_EXCEPTIONS)
                .collect(),
            divergence: known.divergence.clone(),
            key_set_divergence: known.key_set_divergence.clone(),
            ..Default::default()
        }
    }
}

fn generation_of(assignment: &v1::Assignment) -> u64 {
    signed::read::<v1::AssignmentStatement>(assignment.assignment.as_ref().unwrap()).unwrap().generation
}

fn lint(source: &[u8]) -> (Option<v1::PackRef>, Vec<v1::Finding>) {
    let options = kt_policy::lint::LintOptions {
        now: jiff::Timestamp::from_microsecond(NOW).unwrap(),
        models: kt_policy::models::ModelTable::built_in(),
    };
    let checked = kt_policy::check(source, &options);
    let lines = kt_policy::diag::LineIndex::new(source);
    let findings = checked.findings.iter().map(|finding| {
        let place = finding.span.map(|span| lines.position(span.start));
        v1::Finding {
            code: finding.code.to_string(),
            is_error: finding.is_error(),
            message: finding.message.clone(),
            path: finding.path.clone(),
            start: finding.span.map(|span| span.start as u64),
            end: finding.span.map(|span| span.end as u64),
            line: place.map_or(0, |place| place.line as u32),
            column: place.map_or(0, |place| place.column as u32),
            help: finding.help.clone(),
        }
    });
    let findings = findings.collect();
    let pack = checked.pack.map(|pack| v1::PackRef {
        name: pack.id.name.to_string(),
        version: pack.id.version.to_string(),
        digest: pack.id.digest.to_vec(),
        size: source.len() as u64,
    });
    (pack, findings)
}

#[tonic::async_trait]
impl PackService for Services {
    type DownloadPackStream = Stream<v1::DownloadPackResponse>;

    async fn check_pack(&self, request: Request<v1::CheckPackRequest>) -> Answer<v1::CheckPackResponse> {
        let _state = self.enter("check_pack", "", &request)?;
        let (pack, findings) = lint(&request.get_ref().source);
        Ok(Response::new(v1::CheckPackResponse { pack, findings }))
    }

    async fn upload_pack(&self, request: Request<v1::UploadPackRequest>) -> Answer<v1::UploadPackResponse> {
        let mut state = self.enter("upload_pack", &request.get_ref().request_id, &request)?;
        let request = request.into_inner();
        let (pack, findings) = lint(&request.source);
        let Some(pack) = pack else {
            let refused = v1::upload_pack_response::Result::Refused(v1::PackFindings { findings });
            return Ok(Response::new(v1::UploadPackResponse { result: Some(refused), is_unchanged: false }));
        };
        let taken = state.packs.iter().find(|(known, _)| {
            let known = known.pack.as_ref().unwrap();
            (&known.name, &known.version) == (&pack.name, &pack.version)
        });
        if let Some((known, source)) = taken {
            if *source != *request.source {
                return refuse(Code::VersionTaken, format!("`{pack}` is taken, with other bytes"));
            }
            let stored = v1::upload_pack_response::Result::Stored(known.clone());
            return Ok(Response::new(v1::UploadPackResponse { result: Some(stored), is_unchanged: true }));
        }
        let version = v1::PackVersion {
            pack: Some(pack.clone()),
            message: request.message,
            uploaded_by: "jane".to_owned(),
            uploaded_us: NOW,
            features: Vec::new(),
            warnings: findings,
        };
        state.packs.insert(0, (version.clone(), request.source.to_vec()));
        state.forgets("upload_pack")?;
        let stored = v1::upload_pack_response::Result::Stored(version);
        Ok(Response::new(v1::UploadPackResponse { result: Some(stored), is_unchanged: false }))
    }

    async fn list_pack_versions(
        &self,
        request: Request<v1::ListPackVersionsRequest>,
    ) -> Answer<v1::ListPackVersionsResponse> {
        let state = self.enter("list_pack_versions", "", &request)?;
        let name = &request.get_ref().name;
        let versions = state.packs.iter().map(|(version, _)| version);
        let versions = versions
            .filter(|version| name.is_empty() || version.pack.as_ref().unwrap().name == *name)
            .cloned()
            .collect();
        Ok(Response::new(v1::ListPackVersionsResponse { versions, next_page_token: String::new() }))
    }

    async fn get_pack_version(
        &self,
        request: Request<v1::GetPackVersionRequest>,
    ) -> Answer<v1::GetPackVersionResponse> {
        let state = self.enter("get_pack_version", "", &request)?;
        let (name, version) = (&request.get_ref().name, &request.get_ref().version);
        let found = state.packs.iter().map(|(version, _)| version).find(|known| {
            let known = known.pack.as_ref().unwrap();
            known.name == *name && (version.is_empty() || known.version == *version)
        });
        let Some(found) = found else {
            return refuse(Code::PackUnknown, format!("there is no `{name}@{version}`"));
        };
        let fleets = vec!["default".to_owned()];
        Ok(Response::new(v1::GetPackVersionResponse { version: Some(found.clone()), fleets }))
    }

    async fn download_pack(
        &self,
        request: Request<v1::DownloadPackRequest>,
    ) -> Answer<Self::DownloadPackStream> {
        let state = self.enter("download_pack", "", &request)?;
        let (name, version) = (&request.get_ref().name, &request.get_ref().version);
        let (_, source) = state
            .packs
            .iter()
            .find(|(known, _)| {
                let known = known.pack.as_ref().unwrap();
                (&known.name, &known.version) == (name, version)
            })
            .unwrap();
        let pieces: Vec<_> = source
            .chunks(100)
            .map(|piece| Ok(v1::DownloadPackResponse { chunk: piece.to_vec().into() }))
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }
}

#[tonic::async_trait]
impl FleetService for Services {
    type WatchFleetStatusStream = Stream<v1::WatchFleetStatusResponse>;

    async fn create_fleet(
        &self,
        request: Request<v1::CreateFleetRequest>,
    ) -> Answer<v1::CreateFleetResponse> {
        let id = request.get_ref().request_id.clone();
        let mut state = self.enter("create_fleet", &id, &request)?;
        let request = request.into_inner();
        if let Some(made) = state.made.get(&id) {
            return Ok(Response::new(v1::CreateFleetResponse { fleet: Some(made.clone()) }));
        }
        if state.fleets.contains_key(&request.name) {
            return refuse(Code::FleetExists, format!("there is a fleet `{}`", request.name));
        }
        let fleet = new_fleet(&request.name, &request.description);
        state.fleets.insert(request.name, fleet.clone());
        state.made.insert(id, fleet.clone());
        state.forgets("create_fleet")?;
        Ok(Response::new(v1::CreateFleetResponse { fleet: Some(fleet) }))
    }

    async fn list_fleets(&self, request: Request<v1::ListFleetsRequest>) -> Answer<v1::ListFleetsResponse> {
        let state = self.enter("list_fleets", "", &request)?;
        Ok(Response::new(v1::ListFleetsResponse { fleets: state.fleets.values().cloned().collect() }))
    }

    async fn get_fleet(&self, request: Request<v1::GetFleetRequest>) -> Answer<v1::GetFleetResponse> {
        let state = self.enter("get_fleet", "", &request)?;
        match state.fleets.get(&request.get_ref().name) {
            Some(fleet) => Ok(Response::new(v1::GetFleetResponse { fleet: Some(fleet.clone()) })),
            None => refuse(Code::FleetUnknown, format!("there is no fleet `{}`", request.get_ref().name)),
        }
    }

    async fn assign(&self, request: Request<v1::AssignRequest>) -> Answer<v1::AssignResponse> {
        let mut state = self.enter("assign", &request.get_ref().request_id, &request)?;
        let request = request.into_inner();
        let kind = request.kind();
        let head = state.fleets[&request.fleet].head.clone();
        if let Some(head) = head.clone().filter(|head| head.request_id == request.request_id) {
            return Ok(Response::new(v1::AssignResponse { assignment: Some(head), is_unchanged: true }));
        }
        let generation = head.as_ref().map_or(0, generation_of);
        if generation != request.expected_generation {
            return refuse(Code::GenerationConflict, format!("the head has generation {generation}"));
        }
        if state.fleets[&request.fleet].divergence.is_some() && kind != v1::AssignmentKind::Recover {
            return refuse(Code::FleetDiverged, format!("`{}` has diverged", request.fleet));
        }
        let assignment = v1::Assignment {
            assignment: request.assignment,
            kind: kind.into(),
            reason: request.reason,
            assigned_by: "jane".to_owned(),
            assigned_us: NOW,
            request_id: request.request_id,
        };
        state.put_head(&request.fleet, assignment.clone());
        state.forgets("assign")?;
        Ok(Response::new(v1::AssignResponse { assignment: Some(assignment), is_unchanged: false }))
    }

    async fn list_assignments(
        &self,
        request: Request<v1::ListAssignmentsRequest>,
    ) -> Answer<v1::ListAssignmentsResponse> {
        let state = self.enter("list_assignments", "", &request)?;
        let request = request.get_ref();
        let assignments = state
            .assignments
            .iter()
            .rev()
            .filter(|past| request.before_generation == 0 || generation_of(past) < request.before_generation)
            .take(request.limit as usize)
            .cloned()
            .collect();
        Ok(Response::new(v1::ListAssignmentsResponse { assignments }))
    }

    async fn get_fleet_status(
        &self,
        request: Request<v1::GetFleetStatusRequest>,
    ) -> Answer<v1::GetFleetStatusResponse> {
        let state = self.enter("get_fleet_status", "", &request)?;
        let status = state.status(&request.get_ref().fleet);
        Ok(Response::new(v1::GetFleetStatusResponse { status: Some(status) }))
    }

    async fn watch_fleet_status(
        &self,
        request: Request<v1::WatchFleetStatusRequest>,
    ) -> Answer<Self::WatchFleetStatusStream> {
        let mut state = self.enter("watch_fleet_status", "", &request)?;
        let fleet = &request.get_ref().fleet;
        let mut messages = Vec::new();
        loop {
            messages.push(Ok(v1::WatchFleetStatusResponse { status: Some(state.status(fleet)) }));
            if state.rollout.len() <= 1 {
                break;
            }
            state.rollout.pop_front();
        }
        // It stays open, until it is ended: nothing more changes.
        let mut watches = state.watches.subscribe();
        let ended = async move { drop(watches.changed().await) };
        let rest = futures_util::stream::once(ended).filter_map(|()| None);
        Ok(Response::new(Box::pin(tokio_stream::iter(messages).chain(rest))))
    }

    async fn list_gateways(
        &self,
        request: Request<v1::ListGatewaysRequest>,
    ) -> Answer<v1::ListGatewaysResponse> {
        let state = self.enter("list_gateways", "", &request)?;
        let gateways = state.rollout.front().cloned().unwrap_or_default();
        Ok(Response::new(v1::ListGatewaysResponse { gateways }))
    }

    async fn list_changes(
        &self,
        request: Request<v1::ListChangesRequest>,
    ) -> Answer<v1::ListChangesResponse> {
        let state = self.enter("list_changes", "", &request)?;
        // Two a page, whatever is asked for: pages must be followed.
        let from: usize = request.get_ref().page_token.parse().unwrap_or(0);
        let changes: Vec<_> = state.changes.iter().skip(from).take(2).cloned().collect();
        let next = from + changes.len();
        let next_page_token = if next < state.changes.len() { next.to_string() } else { String::new() };
        Ok(Response::new(v1::ListChangesResponse { changes, next_page_token }))
    }
}

#[tonic::async_trait]
impl KeyService for Services {
    async fn get_key_set(&self, request: Request<v1::GetKeySetRequest>) -> Answer<v1::GetKeySetResponse> {
        let state = self.enter("get_key_set", "", &request)?;
        let key_set = state.key_sets.get(&request.get_ref().fleet).cloned();
        Ok(Response::new(v1::GetKeySetResponse { key_set, last_used_us: state.last_used.clone() }))
    }

    async fn put_key_set(&self, request: Request<v1::PutKeySetRequest>) -> Answer<v1::PutKeySetResponse> {
        let mut state = self.enter("put_key_set", &request.get_ref().request_id, &request)?;
        let request = request.into_inner();
        let read =
            |signed: &v1::SignedStatement| signed::read::<v1::KeySetStatement>(signed).unwrap().generation;
        let generation = state.key_sets.get(&request.fleet).map_or(0, read);
        if generation != request.expected_generation {
            return refuse(Code::GenerationConflict, format!("the key set has generation {generation}"));
        }
        let divergence = state.fleets[&request.fleet].key_set_divergence.is_some();
        if divergence != request.is_recovery {
            return refuse(Code::FleetDiverged, format!("the key set of `{}` has diverged", request.fleet));
        }
        let key_set = request.key_set.unwrap();
        let generation = read(&key_set);
        state.key_sets.insert(request.fleet.clone(), key_set);
        let fleet = state.fleets.get_mut(&request.fleet).unwrap();
        fleet.key_set_generation = generation;
        fleet.key_set_divergence = None;
        Ok(Response::new(v1::PutKeySetResponse { generation, is_unchanged: false }))
    }
}

#[tonic::async_trait]
impl TokenService for Services {
    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Answer<v1::WhoAmIResponse> {
        let _state = self.enter("who_am_i", "", &request)?;
        let token = v1::Token {
            id: "at_jane".to_owned(),
            name: "jane".to_owned(),
            roles: vec![v1::Role::Admin.into(), v1::Role::Publisher.into()],
            created_us: NOW,
            ..Default::default()
        };
        Ok(Response::new(v1::WhoAmIResponse { token: Some(token) }))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Answer<v1::CreateTokenResponse> {
        let mut state = self.enter("create_token", &request.get_ref().request_id, &request)?;
        let request = request.into_inner();
        let prefix = if request.fleet.is_empty() { "at" } else { "gw" };
        let token = v1::Token {
            id: format!("{prefix}_{}", state.tokens.len() + 1),
            name: request.name,
            roles: request.roles,
            fleet: request.fleet,
            created_by: "jane".to_owned(),
            created_us: NOW,
            expires_us: request.expires_us,
            ..Default::default()
        };
        state.tokens.push(token.clone());
        let secret = format!("kt_{prefix}_secretsecretsecret{}", state.tokens.len());
        Ok(Response::new(v1::CreateTokenResponse { token: Some(token), secret }))
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Answer<v1::ListTokensResponse> {
        let state = self.enter("list_tokens", "", &request)?;
        let all = request.get_ref().include_revoked;
        let tokens = state.tokens.iter().filter(|token| all || token.revoked_us == 0).cloned().collect();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Answer<v1::RevokeTokenResponse> {
        let mut state = self.enter("revoke_token", "", &request)?;
        let id = &request.get_ref().id;
        let Some(token) = state.tokens.iter_mut().find(|token| token.id == *id) else {
            return refuse(Code::TokenNotFound, format!("there is no token `{id}`"));
        };
        token.revoked_us = NOW;
        Ok(Response::new(v1::RevokeTokenResponse { token: Some(token.clone()) }))
    }
}
