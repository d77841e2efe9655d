//! Versions of packs. A version that was published never changes.

use bytes::Bytes;
use jiff::Timestamp;
use kt_audit::Digest;
use kt_proto::{
    refusal::{Code, Refusal},
    store::v1 as store,
    v1,
};

use super::{By, Registry, Tried, change, errors::refused, names, put};
use crate::{
    admission::{self, Admission},
    paths::StateKey,
    state::State,
    store::{Commit, Precondition},
};

/// Versions in one page.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// What an upload came to.
#[derive(Debug)]
pub(crate) enum Uploaded {
    /// It is there.
    Stored {
        version: v1::PackVersion,
        /// It was there before.
        is_unchanged: bool,
    },
    /// It is not valid.
    Refused(Vec<v1::Finding>),
}

impl Registry {
    /// Stores a version, unless it is there with the same bytes.
    pub(crate) async fn upload(
        &self,
        actor: &str,
        source: Bytes,
        message: &str,
        request_id: &str,
    ) -> Result<Uploaded, Refusal> {
        let result = self.try_upload(By { actor, reason: message }, source, request_id).await;
        let is_unchanged =
            |uploaded: &Uploaded| matches!(uploaded, Uploaded::Stored { is_unchanged: true, .. });
        if !matches!(result, Ok(Uploaded::Refused(_))) {
            self.count("pack.upload", &result, is_unchanged);
        }
        result
    }

    async fn try_upload(&self, by: By<'_>, source: Bytes, request_id: &str) -> Result<Uploaded, Refusal> {
        names::words("message", by.reason)?;
        let request_id = names::request_id(request_id)?;
        let Admission { pack, features, findings } = admission::check(source.clone()).await?;
        let Some(pack) = pack else { return Ok(Uploaded::Refused(findings)) };
        let key = StateKey::PackVersion { name: &pack.name, version: &pack.version }.path();
        let digest = Digest::of(&source);
        let mut tried = None;
        for _ in 0..super::TRIES {
            if let Some(taken) = self.read::<store::PackVersionRecord>(&key).await? {
                self.mirror.wait_for(taken.modified).await;
                let is_ours = tried.is_some() && taken.record.request_id == request_id;
                return already(taken.record, &pack, is_ours);
            }
            let (_, stored) = self.bodies.put(source.clone()).await?;
            let now = Timestamp::now();
            let version = v1::PackVersion {
                pack: Some(pack.clone()),
                message: by.reason.to_owned(),
                uploaded_by: by.actor.to_owned(),
                uploaded_us: now.as_microsecond(),
                features: features.clone(),
                warnings: findings.clone(),
            };
            let record = store::PackVersionRecord {
                version: Some(version.clone()),
                chunks: stored.pieces,
                compressed_size: stored.compressed,
                request_id: request_id.clone(),
            };
            let commit = Commit {
                preconditions: vec![Precondition::Absent(key.clone())],
                writes: vec![put(key.clone(), &record), change(by, "pack.upload", &pack.to_string(), now)],
            };
            match self.write(commit).await? {
                Tried::Done => {
                    tracing::info!(pack = %pack, digest = %digest, actor = by.actor, "Pack was uploaded.");
                    return Ok(Uploaded::Stored { version, is_unchanged: false });
                }
                Tried::Again(unknown) => tried = Some(unknown),
            }
        }
        Err(Self::given_up(tried.flatten()))
    }

    /// Says what an upload would say.
    pub(crate) async fn check_pack(&self, source: Bytes) -> Result<Admission, Refusal> {
        let admission = admission::check(source).await?;
        if let Some(pack) = &admission.pack {
            let key = StateKey::PackVersion { name: &pack.name, version: &pack.version }.path();
            if let Some(taken) = self.read::<store::PackVersionRecord>(&key).await? {
                already(taken.record, pack, false)?;
            }
        }
        Ok(admission)
    }

    /// A version as the store has it.
    pub(super) async fn pack_version(
        &self,
        name: &str,
        version: &str,
    ) -> Result<Option<v1::PackRef>, Refusal> {
        // What can't be a key names nothing.
        if name.contains('/') || version.contains('/') || name.is_empty() || version.is_empty() {
            return Ok(None);
        }
        let key = StateKey::PackVersion { name, version }.path();
        let stored = self.read::<store::PackVersionRecord>(&key).await?;
        Ok(stored.and_then(|stored| stored.record.version).and_then(|version| version.pack))
    }
}

/// What is said of a version that is taken.
fn already(taken: store::PackVersionRecord, pack: &v1::PackRef, is_ours: bool) -> Result<Uploaded, Refusal> {
    let version = taken.version.unwrap_or_default();
    if version.pack.as_ref().is_some_and(|stored| stored.digest == pack.digest) {
        return Ok(Uploaded::Stored { version, is_unchanged: !is_ours });
    }
    let message = format!(
        "`{pack}` is published already, with other bytes: a published version never changes; raise `pack.version`"
    );
    Err(refused(Code::VersionTaken, message))
}

/// Versions, the newest upload first.
pub(crate) fn list(
    state: &State,
    request: &v1::ListPackVersionsRequest,
) -> Result<v1::ListPackVersionsResponse, Refusal> {
    let limit = match request.limit {
        0 => PAGE,
        limit => usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE),
    };
    let before = match request.page_token.as_str() {
        "" => None,
        token => Some(page(token).ok_or_else(|| {
            refused(
                Code::ArgumentInvalid,
                "the page token is none of ours: leave it empty for the first page",
            )
        })?),
    };
    let mut versions: Vec<&v1::PackVersion> = state
        .packs
        .iter()
        .filter(|((name, _), _)| request.name.is_empty() || **name == *request.name)
        .filter_map(|(_, pack)| pack.record.version.as_ref())
        .collect();
    versions.sort_by_cached_key(|version| std::cmp::Reverse(order(version)));
    let mut rest =
        versions.into_iter().filter(|version| before.as_ref().is_none_or(|before| order(version) < *before));
    let versions: Vec<v1::PackVersion> = rest.by_ref().take(limit).cloned().collect();
    let next_page_token = match (rest.next(), versions.last()) {
        (Some(_), Some(last)) => token(&order(last)),
        _ => String::new(),
    };
    Ok(v1::ListPackVersionsResponse { versions, next_page_token })
}

type Order = (i64, String, String);

fn order(version: &v1::PackVersion) -> Order {
    let pack = version.pack.clone().unwrap_or_default();
    (version.uploaded_us, pack.name, pack.version)
}

fn token((at, name, version): &Order) -> String {
    format!("{at}/{name}/{version}")
}

fn page(token: &str) -> Option<Order> {
    let (at, rest) = token.split_once('/')?;
    let (name, version) = rest.split_once('/')?;
    Some((at.parse().ok()?, name.to_owned(), version.to_owned()))
}

/// One version, or the highest one of a pack.
pub(crate) fn get(
    state: &State,
    name: &str,
    version: &str,
) -> Result<std::sync::Arc<crate::state::PackVersion>, Refusal> {
    let mut of_name = state.packs.iter().filter(|((known, _), _)| **known == *name).peekable();
    if of_name.peek().is_none() {
        let message =
            format!("there is no pack `{}`: `kt pack versions` lists what there is", names::shown(name));
        return Err(refused(Code::PackUnknown, message));
    }
    let found = if version.is_empty() {
        of_name.map(|(_, pack)| pack).max_by(|a, b| a.version.cmp(&b.version))
    } else {
        of_name.find(|((_, known), _)| **known == *version).map(|(_, pack)| pack)
    };
    found.cloned().ok_or_else(|| {
        let (name, version) = (names::shown(name), names::shown(version));
        let message = format!("there is no version `{version}` of `{name}`: see `kt pack versions {name}`");
        refused(Code::PackUnknown, message)
    })
}

/// Fleets that enforce a version now.
pub(crate) fn fleets_of(state: &State, digest: &Digest) -> Vec<String> {
    let enforces = |fleet: &crate::state::FleetState| {
        fleet
            .head
            .as_ref()
            .is_some_and(|head| head.statement.packs.iter().any(|pack| *pack.digest == digest.0))
    };
    state.fleets.iter().filter(|(_, fleet)| enforces(fleet)).map(|(name, _)| name.to_string()).collect()
}
