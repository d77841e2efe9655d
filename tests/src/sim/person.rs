//! Somebody who publishes and changes keys, through the services that `kt` uses.

use bytes::Bytes;
use kt_proto::{signed, v1};
use tokio::time::Instant;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use v1::{
    fleet_service_client::FleetServiceClient, key_service_client::KeyServiceClient,
    pack_service_client::PackServiceClient, upload_pack_response::Result as Uploaded,
};

use super::SimError;

/// A person with a token.
#[derive(Debug)]
pub struct Person {
    packs: PackServiceClient<Channel>,
    fleets: FleetServiceClient<Channel>,
    keys: KeyServiceClient<Channel>,
    token: MetadataValue<Ascii>,
    fleet: String,
    /// So that versions of two runs differ.
    run: u64,
}

// === impl Person ===

impl Person {
    /// Connects with a token, `kt_at_…`.
    pub async fn connect(control_plane: &str, token: &str, fleet: &str) -> Result<Self, SimError> {
        let channel = Endpoint::from_shared(control_plane.to_owned())?.tcp_nodelay(true).connect().await?;
        let token = format!("Bearer {token}")
            .parse()
            .map_err(|_| SimError::Pack("the token is no text of a header".to_owned()))?;
        Ok(Self {
            packs: PackServiceClient::new(channel.clone()),
            fleets: FleetServiceClient::new(channel.clone()),
            keys: KeyServiceClient::new(channel),
            token,
            fleet: fleet.to_owned(),
            run: jiff::Timestamp::now().as_second().unsigned_abs(),
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }

    /// Uploads a pack with a version of its own in the place of `{{version}}`.
    pub async fn upload(&mut self, source: &str, number: usize) -> Result<v1::PackRef, SimError> {
        let version = format!("1.{}.{number}", self.run);
        let request = self.request(v1::UploadPackRequest {
            source: Bytes::from(source.replace("{{version}}", &version)),
            message: "of a benchmark".to_owned(),
            request_id: uuid::Uuid::now_v7().to_string(),
        });
        match self.packs.upload_pack(request).await?.into_inner().result {
            Some(Uploaded::Stored(v1::PackVersion { pack: Some(pack), .. })) => Ok(pack),
            Some(Uploaded::Refused(findings)) => {
                let errors = findings.findings.into_iter().filter(|finding| finding.is_error);
                Err(SimError::Pack(errors.map(|finding| finding.message).collect::<Vec<_>>().join("; ")))
            }
            _ => Err(SimError::Pack("an answer without a version".to_owned())),
        }
    }

    /// Makes the fleet enforce a pack: the new generation, and when the call that changes the head began.
    pub async fn assign(&mut self, pack: v1::PackRef) -> Result<(u64, Instant), SimError> {
        let request = self.request(v1::GetFleetRequest { name: self.fleet.clone() });
        let fleet = self.fleets.get_fleet(request).await?.into_inner().fleet.unwrap_or_default();
        let head = fleet.head.and_then(|head| head.assignment);
        let head = head.and_then(|head| signed::read::<v1::AssignmentStatement>(&head).ok());
        let expected_generation = head.map_or(0, |head| head.generation);
        let generation = expected_generation + 1;
        let statement = v1::AssignmentStatement {
            fleet: self.fleet.clone(),
            generation,
            packs: vec![pack],
            expires_us: 0,
        };
        let request = self.request(v1::AssignRequest {
            fleet: self.fleet.clone(),
            expected_generation,
            assignment: Some(signed::seal(&statement, &[])),
            kind: v1::AssignmentKind::Publish.into(),
            reason: "a benchmark".to_owned(),
            request_id: uuid::Uuid::now_v7().to_string(),
        });
        let began = Instant::now();
        self.fleets.assign(request).await?;
        Ok((generation, began))
    }

    /// Writes the key set with one key more, or one less: the new generation, and when the call began.
    pub async fn change_keys(&mut self) -> Result<(u64, Instant), SimError> {
        let request = self.request(v1::GetKeySetRequest { fleet: self.fleet.clone() });
        let key_set = self.keys.get_key_set(request).await?.into_inner().key_set;
        let mut statement = key_set
            .and_then(|set| signed::read::<v1::KeySetStatement>(&set).ok())
            .unwrap_or_else(|| v1::KeySetStatement { fleet: self.fleet.clone(), ..Default::default() });
        let expected_generation = statement.generation;
        statement.generation += 1;
        match statement.keys.iter().position(|key| key.id == "bench") {
            Some(place) => {
                statement.keys.remove(place);
            }
            None => statement.keys.push(v1::GatewayKey {
                id: "bench".to_owned(),
                sha256: kt_audit::Digest::of(b"bench").0.to_vec(),
                roles: vec!["analyst".to_owned()],
                created_us: jiff::Timestamp::now().as_microsecond(),
                created_by: "a benchmark".to_owned(),
                ..v1::GatewayKey::default()
            }),
        }
        let request = self.request(v1::PutKeySetRequest {
            fleet: self.fleet.clone(),
            expected_generation,
            key_set: Some(signed::seal(&statement, &[])),
            reason: "a benchmark".to_owned(),
            request_id: uuid::Uuid::now_v7().to_string(),
            is_recovery: false,
        });
        let began = Instant::now();
        self.keys.put_key_set(request).await?;
        Ok((statement.generation, began))
    }
}
