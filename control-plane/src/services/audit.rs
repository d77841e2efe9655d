//! `keeptrusts.v1.AuditService`: what people ask of the store of audit records. Every call is a change of its own in the
//! history, written before anything is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
};

use futures_util::{Stream, StreamExt as _};
use kt_audit::{
    InstanceId, Position, Pseudonym,
    facts::Facts,
    record::{Kind, Verdict},
};
use kt_proto::{
    refusal::{Code, Refusal},
    v1::{self, audit_service_server::AuditService},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Services, actor, streamed};
use crate::{
    audit::{
        Audit, ledger, position, sink,
        store::{
            AuditStoreError, Dimension, Erasing, Erasure, EventFilter, PageToken, StatRow, StatsQuery,
            Stored, Trouble, Who,
        },
        verify,
    },
    registry::errors::store_refused,
};

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

const PAGE: u32 = 100;
const MAX_PAGE: u32 = 1_000;
const MAX_ROWS: u32 = 10_000;
const MAX_DIMENSIONS: usize = 2;

#[tonic::async_trait]
impl AuditService for Services {
    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let audit = self.audit()?;
        self.read(&request, "events.list", "").await?;
        let request = request.into_inner();
        let page =
            match request.page_token.as_str() {
                "" => None,
                token => Some(token.parse().map(PageToken).map_err(|_| {
                    invalid("the page token is none of ours: leave it empty for the first page")
                })?),
            };
        let filter = filter(audit, request.filter.unwrap_or_default()).await?;
        let Some(filter) = filter else { return Ok(Response::new(v1::ListEventsResponse::default())) };
        let size = size(request.page_size);
        let page = audit.store.events(filter, request.oldest_first, page, size).await.map_err(unavailable)?;
        Ok(Response::new(v1::ListEventsResponse {
            next_page_token: page.next.map(|PageToken(id)| id.to_string()).unwrap_or_default(),
            events: shown(audit, page.events, request.with_names).await?,
        }))
    }

    async fn get_events(
        &self,
        request: Request<v1::GetEventsRequest>,
    ) -> Result<Response<v1::GetEventsResponse>, Status> {
        let audit = self.audit()?;
        let id = Uuid::try_parse(&request.get_ref().request_id)
            .map_err(|_| invalid("`request_id` is no UUID: it is what `x-request-id` says"))?;
        self.read(&request, "events.show", &id.to_string()).await?;
        let events = audit.store.request(id).await.map_err(unavailable)?;
        if events.is_empty() {
            let message =
                format!("there is no record of the request `{id}`: a gateway may not have sent it yet");
            return Err(Refusal::new(Code::EventUnknown, message).into());
        }
        let events = shown(audit, events, request.get_ref().with_names).await?;
        Ok(Response::new(v1::GetEventsResponse { events }))
    }

    async fn get_event_stats(
        &self,
        request: Request<v1::GetEventStatsRequest>,
    ) -> Result<Response<v1::GetEventStatsResponse>, Status> {
        let audit = self.audit()?;
        self.read(&request, "events.stats", &request.get_ref().by.join(",")).await?;
        let request = request.into_inner();
        let by = dimensions(&request.by)?;
        let filter = filter(audit, request.filter.unwrap_or_default()).await?;
        let Some(filter) = filter else { return Ok(Response::new(v1::GetEventStatsResponse::default())) };
        let limit = if request.limit == 0 { PAGE } else { request.limit.min(MAX_ROWS) };
        let total = StatsQuery { filter: filter.clone(), by: Vec::new(), limit };
        let total = audit.store.stats(total).await.map_err(unavailable)?;
        let rows = if by.is_empty() {
            Vec::new()
        } else {
            audit.store.stats(StatsQuery { filter, by, limit }).await.map_err(unavailable)?
        };
        Ok(Response::new(v1::GetEventStatsResponse {
            rows: rows.into_iter().map(stats).collect(),
            total: total.into_iter().next().map(stats),
        }))
    }

    type TailEventsStream = Streamed<v1::TailEventsResponse>;

    async fn tail_events(
        &self,
        request: Request<v1::TailEventsRequest>,
    ) -> Result<Response<Self::TailEventsStream>, Status> {
        let audit = self.audit()?.clone();
        let asked = request.get_ref().clone();
        let with_names = asked.with_names;
        let filter = filter(&audit, asked.filter.unwrap_or_default()).await?;
        let page = match asked.page_token.as_str() {
            "" => {
                let everything = EventFilter { kinds: Kind::ALL.to_vec(), ..EventFilter::default() };
                let newest = audit.store.events(everything, false, None, 1).await.map_err(unavailable)?;
                PageToken(newest.events.first().map_or(0, |event| event.id))
            }
            token => token.parse().map(PageToken).map_err(|_| invalid("the page token is none of ours"))?,
        };
        // Whoever sees the read in the history can tell that what comes from then on is shown.
        self.read(&request, "events.tail", "").await?;
        let (out, outgoing) = mpsc::channel(2);
        let draining = self.draining.clone();
        let tailing = streamed::tail(audit, filter, page, with_names, out);
        self.tasks.spawn(async move { draining.run_until_cancelled(tailing).await });
        Ok(Response::new(ReceiverStream::new(outgoing).boxed()))
    }

    type ExportAuditStream = Streamed<v1::ExportAuditResponse>;

    async fn export_audit(
        &self,
        request: Request<v1::ExportAuditRequest>,
    ) -> Result<Response<Self::ExportAuditStream>, Status> {
        let audit = self.audit()?.clone();
        self.read(&request, "audit.export", &request.get_ref().fleet).await?;
        let request = request.into_inner();
        let wanted = instances(&request.instances)?;
        let mut rows = audit.store.instances().await.map_err(unavailable)?;
        rows.retain(|row| request.fleet.is_empty() || *row.origin.fleet == *request.fleet);
        rows.retain(|row| wanted.is_empty() || wanted.contains(&row.origin.instance));
        let (out, outgoing) = mpsc::channel(2);
        let draining = self.draining.clone();
        let exporting = streamed::export(audit, rows, (request.from_us, request.to_us), out);
        self.tasks.spawn(async move { draining.run_until_cancelled(exporting).await });
        Ok(Response::new(ReceiverStream::new(outgoing).boxed()))
    }

    type VerifyAuditStream = Streamed<v1::VerifyAuditResponse>;

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<Self::VerifyAuditStream>, Status> {
        let audit = self.audit()?.clone();
        self.read(&request, "audit.verify", &request.get_ref().fleet).await?;
        let request = request.into_inner();
        let wanted = instances(&request.instances)?;
        let rows = audit.store.instances().await.map_err(unavailable)?;
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|row| request.fleet.is_empty() || *row.origin.fleet == *request.fleet)
            .filter(|row| wanted.is_empty() || wanted.contains(&row.origin.instance))
            .collect();
        let (out, outgoing) = mpsc::channel(4);
        let draining = self.draining.clone();
        let walking = async move {
            let mut before = 0;
            for row in rows {
                let instance = row.origin.instance;
                let (told, begun) = (out.clone(), before);
                let progress = move |read: u64| {
                    // Where the one who asked is slow, the next one says more.
                    let _ =
                        told.try_send(Ok(v1::VerifyAuditResponse { records: begun + read, instance: None }));
                };
                let verified =
                    verify::verify(&*audit.store, audit.witness.public(), instance, progress).await;
                let response = match verified {
                    Ok(verified) => {
                        before += verified.report.records;
                        let instance = Some(instance_of(&row.origin.fleet, instance, &row.noted, verified));
                        Ok(v1::VerifyAuditResponse { records: before, instance })
                    }
                    Err(error) => Err(unavailable(error).into()),
                };
                if out.send(response).await.is_err() {
                    return;
                }
            }
        };
        self.tasks.spawn(async move { draining.run_until_cancelled(walking).await });
        Ok(Response::new(ReceiverStream::new(outgoing).boxed()))
    }

    async fn list_audit_instances(
        &self,
        request: Request<v1::ListAuditInstancesRequest>,
    ) -> Result<Response<v1::ListAuditInstancesResponse>, Status> {
        let audit = self.audit()?;
        self.read(&request, "audit.instances", &request.get_ref().fleet).await?;
        let rows = audit.store.instances().await.map_err(unavailable)?;
        let fleet = &request.get_ref().fleet;
        let rows = rows.into_iter().filter(|row| fleet.is_empty() || *row.origin.fleet == **fleet);
        let instances = rows.map(|row| {
            let count = |trouble| row.noted.iter().filter(|noted| noted.trouble == trouble).count() as u64;
            v1::AuditInstance {
                instance: row.origin.instance.0.as_bytes().to_vec(),
                fleet: row.origin.fleet.to_string(),
                gateway_id: row.origin.gateway.to_string(),
                name: row.origin.name.to_string(),
                high_water: row.marks.iter().map(|mark| position(&mark.last)).collect(),
                last_stored_us: row.last_stored_us,
                records: row.records,
                gaps: count(Trouble::Gap),
                quarantined: count(Trouble::Quarantined),
                is_cloned: count(Trouble::Cloned) > 0,
            }
        });
        Ok(Response::new(v1::ListAuditInstancesResponse { instances: instances.collect() }))
    }

    async fn erase_subject(
        &self,
        request: Request<v1::EraseSubjectRequest>,
    ) -> Result<Response<v1::EraseSubjectResponse>, Status> {
        use v1::erase_subject_request::Subject;

        let audit = self.audit()?;
        let asked = request.get_ref();
        let id = Uuid::try_parse(&asked.request_id).map_err(|_| invalid("`request_id` is no UUID"))?;
        if asked.reference.chars().count() > kt_audit::Label::MAX {
            return Err(invalid("the reference has more than 256 characters").into());
        }
        let who = match &asked.subject {
            Some(Subject::Name(name)) if !name.is_empty() => Who::Person(audit.person(name)),
            Some(Subject::Pseudonym(bytes)) => <[u8; 16]>::try_from(bytes.as_slice())
                .map(|bytes| Who::Behind(Pseudonym::from_bytes(bytes)))
                .map_err(|_| invalid("a pseudonym has not 16 bytes"))?,
            Some(Subject::Name(_)) | None => return Err(invalid("it is not said who is to be erased").into()),
        };
        // The history names the pseudonym: a name there would outlive the erasure.
        let (Who::Person(named) | Who::Behind(named)) = who;
        self.read(&request, "audit.erase", &named.to_string()).await?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        let reference = asked.reference.as_str();
        let erasure = Erasure { id, who, reference: reference.into(), now_us, is_repeat: false };
        let erased = match audit.store.erase(erasure).await.map_err(unavailable)? {
            Erasing::Done(erased) => erased,
            Erasing::Held(holds) => return Err(held(&holds).into()),
            Erasing::Unknown => {
                let message = "nobody is known behind this pseudonym: name the person, so that the name is refused when it comes";
                return Err(Refusal::new(Code::EventUnknown, message).into());
            }
        };
        if let Some(person) = erased.person {
            let noting = audit.ledger.erased(id, person, reference, now_us);
            noting.await.map_err(|error| store_refused(&error))?;
        }
        audit.erasures.send_modify(|count| *count += 1);
        Ok(Response::new(v1::EraseSubjectResponse {
            pseudonyms: erased.pseudonyms.iter().map(|pseudonym| pseudonym.to_bytes().to_vec()).collect(),
            sealed: erased.sealed,
            pending_instances: erased.pending,
        }))
    }

    async fn create_audit_hold(
        &self,
        request: Request<v1::CreateAuditHoldRequest>,
    ) -> Result<Response<v1::CreateAuditHoldResponse>, Status> {
        use v1::create_audit_hold_request::Subject;

        let audit = self.audit()?;
        let by = actor(&request)?;
        let asked = request.get_ref();
        let id = Uuid::try_parse(&asked.request_id).map_err(|_| invalid("`request_id` is no UUID"))?;
        reason(&asked.reason)?;
        if asked.to_us != 0 && asked.to_us <= asked.from_us {
            return Err(invalid("the time of the hold ends before it begins").into());
        }
        let (person, pseudonym) = match &asked.subject {
            Some(Subject::Name(name)) if !name.is_empty() => {
                (audit.person(name).to_bytes().to_vec(), Vec::new())
            }
            Some(Subject::Pseudonym(bytes)) if bytes.len() == 16 => (Vec::new(), bytes.clone()),
            Some(Subject::Pseudonym(_)) => return Err(invalid("a pseudonym has not 16 bytes").into()),
            Some(Subject::Name(_)) | None => (Vec::new(), Vec::new()),
        };
        self.read(&request, "audit.hold", &id.to_string()).await?;
        let hold = v1::AuditHold {
            id: id.to_string(),
            person,
            pseudonym,
            fleet: asked.fleet.clone(),
            from_us: asked.from_us,
            to_us: asked.to_us,
            reason: asked.reason.clone(),
            created_by: by,
            created_us: jiff::Timestamp::now().as_microsecond(),
            ..v1::AuditHold::default()
        };
        let hold = audit.ledger.hold(hold).await.map_err(|error| store_refused(&error))?;
        if hold.released_us == 0 {
            let stored = ledger::stored(&hold).ok_or_else(|| invalid("the hold can't be kept"))?;
            audit.store.put_hold(stored).await.map_err(unavailable)?;
        }
        Ok(Response::new(v1::CreateAuditHoldResponse { hold: Some(hold) }))
    }

    async fn list_audit_holds(
        &self,
        request: Request<v1::ListAuditHoldsRequest>,
    ) -> Result<Response<v1::ListAuditHoldsResponse>, Status> {
        let audit = self.audit()?;
        self.read(&request, "audit.holds", "").await?;
        let mut holds = audit.ledger.holds().await.map_err(|error| store_refused(&error))?;
        holds.retain(|hold| request.get_ref().with_released || hold.released_us == 0);
        Ok(Response::new(v1::ListAuditHoldsResponse { holds }))
    }

    async fn list_audit_sinks(
        &self,
        _: Request<v1::ListAuditSinksRequest>,
    ) -> Result<Response<v1::ListAuditSinksResponse>, Status> {
        let audit = self.audit()?;
        let mut sinks = Vec::new();
        for (name, state) in audit.store.sinks().await.map_err(unavailable)? {
            let lag = sink::lag(&*audit.store, state.mark.position).await.map_err(unavailable)?;
            let kind = audit.sinks.iter().find(|fed| fed.name == name).map_or("", |fed| fed.kind);
            let (problem, since) = state.problem.unwrap_or_default();
            sinks.push(v1::AuditSink {
                name: name.to_string(),
                kind: kind.to_owned(),
                position: state.mark.position,
                lag_records: lag.records,
                oldest_us: lag.oldest_us.unwrap_or(0),
                delivered_us: state.delivered_us.unwrap_or(0),
                problem: problem.to_string(),
                problem_us: since,
            });
        }
        Ok(Response::new(v1::ListAuditSinksResponse { sinks }))
    }

    async fn release_audit_hold(
        &self,
        request: Request<v1::ReleaseAuditHoldRequest>,
    ) -> Result<Response<v1::ReleaseAuditHoldResponse>, Status> {
        let audit = self.audit()?;
        let by = actor(&request)?;
        let id = Uuid::try_parse(&request.get_ref().id).map_err(|_| invalid("the id of a hold is a UUID"))?;
        reason(&request.get_ref().reason)?;
        self.read(&request, "audit.release", &id.to_string()).await?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        let releasing = audit.ledger.release(id, &by, &request.get_ref().reason, now_us);
        let hold = releasing.await.map_err(|error| store_refused(&error))?.ok_or_else(|| {
            let message = format!("there is no hold `{id}`: `kt audit hold list` lists them");
            Refusal::new(Code::HoldUnknown, message)
        })?;
        audit.store.release_hold(id).await.map_err(unavailable)?;
        Ok(Response::new(v1::ReleaseAuditHoldResponse { hold: Some(hold) }))
    }
}

/// Why something is done: everybody who looks at it later must be able to tell.
fn reason(text: &str) -> Result<(), Refusal> {
    match text.trim().is_empty() {
        true => Err(invalid("it is not said why: give a reason, such as the number of a case")),
        false if text.chars().count() > kt_audit::Label::MAX => {
            Err(invalid("the reason has more than 256 characters"))
        }
        false => Ok(()),
    }
}

fn held(holds: &[Uuid]) -> Refusal {
    let ids: Vec<_> = holds.iter().map(|id| format!("`{id}`")).collect();
    let message = format!(
        "nothing was erased: records of this person are under hold {}; `kt audit hold list` says why",
        ids.join(", ")
    );
    Refusal::new(Code::HoldStands, message)
}

impl Services {
    fn audit(&self) -> Result<&Audit, Refusal> {
        self.audit.as_ref().ok_or_else(|| {
            let message =
                "this control plane keeps no audit records: they are on the gateways; see `--audit-store`";
            Refusal::new(Code::AuditNotKept, message)
        })
    }

    /// Records that somebody reads, before anything is told.
    async fn read<T>(
        &self,
        request: &Request<T>,
        action: &'static str,
        subject: &str,
    ) -> Result<(), Refusal> {
        self.registry.note(&actor(request)?, action, subject).await
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::ArgumentInvalid, message)
}

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(super) fn unavailable(error: AuditStoreError) -> Refusal {
    tracing::error!(error = &error as &dyn std::error::Error, "Audit records can't be read.");
    match error {
        AuditStoreError::Unavailable(_) => {
            Refusal::new(Code::StoreUnavailable, "the store of audit records can't be used now")
        }
        AuditStoreError::Corrupt(_) => {
            Refusal::new(Code::StoreCorrupt, "the store of audit records can't be read")
        }
    }
}

const fn size(asked: u32) -> u32 {
    match asked {
        0 => PAGE,
        asked if asked > MAX_PAGE => MAX_PAGE,
        asked => asked,
    }
}

fn instances(bytes: &[Vec<u8>]) -> Result<Vec<InstanceId>, Refusal> {
    let id = |bytes: &Vec<u8>| Uuid::from_slice(bytes).map(InstanceId);
    bytes.iter().map(id).collect::<Result<_, _>>().map_err(|_| invalid("an instance has not 16 bytes"))
}

/// The filter; none: nobody has that name, so nothing is let through.
async fn filter(audit: &Audit, asked: v1::EventFilter) -> Result<Option<EventFilter>, Refusal> {
    let subject = |bytes: &Vec<u8>| <[u8; 16]>::try_from(bytes.as_slice()).map(Pseudonym::from_bytes);
    let subjects = asked.subjects.iter().map(subject).collect::<Result<Vec<_>, _>>();
    let mut subjects = subjects.map_err(|_| invalid("a pseudonym has not 16 bytes"))?;
    if !asked.subject_name.is_empty() {
        let person = audit.person(&asked.subject_name);
        subjects.extend(audit.store.pseudonyms(person).await.map_err(unavailable)?);
        if subjects.is_empty() {
            return Ok(None);
        }
    }
    let kind = |name: &String| {
        Kind::from_name(name).ok_or_else(|| invalid(&format!("there is no type of record `{name}`")))
    };
    let verdict = |name: &String| match name.as_str() {
        "allow" => Ok(Verdict::Allow),
        "redact" => Ok(Verdict::Redact),
        "block" => Ok(Verdict::Block),
        other => Err(invalid(&format!("there is no verdict `{other}`: use allow, redact or block"))),
    };
    Ok(Some(EventFilter {
        fleet: (!asked.fleet.is_empty()).then_some(asked.fleet),
        instances: instances(&asked.instances)?,
        from_us: (asked.from_us != 0).then_some(asked.from_us),
        to_us: (asked.to_us != 0).then_some(asked.to_us),
        kinds: asked.types.iter().map(kind).collect::<Result<_, _>>()?,
        verdicts: asked.verdicts.iter().map(verdict).collect::<Result<_, _>>()?,
        policies: asked.policies,
        rules: asked.rules,
        roles: asked.roles,
        teams: asked.teams,
        cost_centres: asked.cost_centers,
        models: asked.models,
        subjects,
        would: asked.would,
    }))
}

fn dimensions(names: &[String]) -> Result<Vec<Dimension>, Refusal> {
    if names.len() > MAX_DIMENSIONS {
        return Err(invalid("requests are counted by two things at most"));
    }
    let known = || {
        let names: Vec<_> = Dimension::ALL.iter().map(|(name, _)| format!("`{name}`")).collect();
        names.join(", ")
    };
    let one = |name: &String| {
        Dimension::from_name(name)
            .ok_or_else(|| invalid(&format!("requests can't be counted by `{name}`: use {}", known())))
    };
    names.iter().map(one).collect()
}

/// Records as they are told, with names where they were asked for.
pub(super) async fn shown(
    audit: &Audit,
    events: Vec<Stored>,
    with_names: bool,
) -> Result<Vec<v1::StoredEvent>, Refusal> {
    let subjects = if with_names {
        events.iter().map(|stored| Facts::of(&stored.row.payload).subject).collect()
    } else {
        vec![None; events.len()]
    };
    let names = audit.names(subjects.iter().copied().flatten()).await?;
    let event = |(stored, subject): (Stored, Option<Pseudonym>)| v1::StoredEvent {
        instance: stored.instance.0.as_bytes().to_vec(),
        subject_name: subject.and_then(|subject| names.get(&subject)).cloned().unwrap_or_default(),
        position: Some(position(&Position {
            epoch: stored.epoch,
            sequence: stored.row.sequence,
            hash: stored.row.hash,
        })),
        time_us: stored.row.time_us,
        stored_us: stored.stored_us,
        fleet: stored.fleet.to_string(),
        payload: stored.row.payload.into(),
    };
    Ok(events.into_iter().zip(subjects).map(event).collect())
}

impl Audit {
    /// The names behind pseudonyms, where they are known and not erased.
    async fn names(
        &self,
        pseudonyms: impl Iterator<Item = Pseudonym>,
    ) -> Result<BTreeMap<Pseudonym, String>, Refusal> {
        let pseudonyms: BTreeSet<Pseudonym> = pseudonyms.collect();
        if pseudonyms.is_empty() {
            return Ok(BTreeMap::new());
        }
        let sealed = self.store.names(pseudonyms.into_iter().collect()).await.map_err(unavailable)?;
        // A name that does not open is not told.
        Ok(sealed
            .into_iter()
            .filter_map(|(pseudonym, (sealed, key))| Some((pseudonym, sealed.open(&key).ok()?)))
            .collect())
    }
}

fn stats(row: StatRow) -> v1::EventStats {
    v1::EventStats {
        key: row.key,
        requests: row.requests,
        blocked: row.blocked,
        redacted: row.redacted,
        would_block: row.would_block,
        would_redact: row.would_redact,
        failed: row.failed,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        micro_usd: row.micro_usd,
        unpriced: row.unpriced,
    }
}

fn instance_of(
    fleet: &str,
    instance: InstanceId,
    noted: &[crate::audit::store::Noted],
    verified: verify::Verified,
) -> v1::VerifiedInstance {
    let report = verified.report;
    let breaks = report.breaks.iter().map(|found| v1::AuditBreak {
        kind: found.kind.as_str().to_owned(),
        epoch: found.epoch.map(|epoch| epoch.0.to_vec()).unwrap_or_default(),
        sequence: found.sequence.unwrap_or(0),
        message: found.to_string(),
    });
    // What the walk can't see: what was kept apart, and machines that share an identity.
    let kept_apart =
        noted.iter().filter(|noted| matches!(noted.trouble, Trouble::Quarantined | Trouble::Cloned));
    let noted = kept_apart.map(|noted| v1::AuditBreak {
        kind: noted.trouble.as_str().to_owned(),
        epoch: noted.epoch.0.to_vec(),
        sequence: noted.first,
        message: match noted.trouble {
            Trouble::Cloned => "another machine has sent records of the same instance".to_owned(),
            _ => format!("another record came under the number {} and is kept apart", noted.first),
        },
    });
    v1::VerifiedInstance {
        instance: instance.0.as_bytes().to_vec(),
        fleet: fleet.to_owned(),
        records: report.records,
        epochs: report.epochs,
        checkpoints: report.checkpoints,
        cut_by_retention: report.cut_by_retention,
        signed_through: report.signed_through.as_ref().map(position),
        countersigned_through: verified.countersigned.as_ref().map(position),
        breaks: breaks.chain(noted).collect(),
    }
}
