//! A record as a row of a table: one definition for CSV, Parquet and the page that documents them.

#[cfg(feature = "parquet")]
pub mod parquet;

use std::borrow::Cow;

use jiff::Timestamp;

use crate::{
    chain::{Epoch, InstanceId},
    facts::{Facts, What},
    record::{Body, Closed, Kind, Opened, Record, RequestFacts, name_of},
    segment::Frame,
    value::Label,
};

/// Where a row comes from, beside the record itself.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The instance.
    pub instance: InstanceId,
    /// Its fleet.
    pub fleet: &'a str,
    /// The run.
    pub epoch: Epoch,
    /// The number of the run among those of the instance.
    pub ordinal: u64,
}

/// A record with everything that its columns are taken from.
#[derive(Debug)]
pub struct Row<'a> {
    source: Source<'a>,
    frame: Frame<'a>,
    /// None: this build can't read it. Its place and its exact bytes are columns all the same.
    record: Option<Record>,
    facts: Facts,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What stands in it, for people.
    pub help: &'static str,
    /// Its type, and how it is read from a row.
    pub read: Read,
}

/// What a column holds. `None`: it is not known, or the record has no such thing.
#[derive(Debug, Clone, Copy)]
pub enum Read {
    /// Text.
    Text(for<'r> fn(&'r Row<'_>) -> Option<Cow<'r, str>>),
    /// Texts, possibly none.
    Texts(for<'r> fn(&'r Row<'_>) -> Vec<&'r str>),
    /// A whole number; in Parquet 64 bits with a sign.
    Integer(fn(&Row<'_>) -> Option<u64>),
    /// Yes or no.
    Boolean(fn(&Row<'_>) -> Option<bool>),
    /// A moment, microseconds since 1970 UTC.
    Time(fn(&Row<'_>) -> Option<i64>),
}

// === impl Read ===

impl Read {
    /// The type, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Texts(_) => "texts",
            Self::Integer(_) => "integer",
            Self::Boolean(_) => "boolean",
            Self::Time(_) => "moment",
        }
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    /// The row of a record.
    pub fn new(source: Source<'a>, frame: Frame<'a>) -> Self {
        let record = Record::parse(frame.payload).ok();
        let facts = record.as_ref().map(Facts::of_record).unwrap_or_default();
        Self { source, frame, record, facts }
    }

    /// Its type; none where this build does not know it.
    pub fn kind(&self) -> Option<Kind> {
        self.facts.kind
    }

    /// What it is found by.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The writer's time, microseconds since 1970 UTC.
    pub fn time_us(&self) -> i64 {
        self.frame.time_us
    }

    /// Its cells as text, in the order of [`COLUMNS`]: lists with spaces between, moments in RFC 3339, the rest as in JSON;
    /// empty for what is not known.
    pub fn cells(&self) -> impl Iterator<Item = Cow<'_, str>> {
        COLUMNS.iter().map(|column| match column.read {
            Read::Text(read) => read(self).unwrap_or_default(),
            Read::Texts(read) => read(self).join(" ").into(),
            Read::Integer(read) => text(read(self)),
            Read::Boolean(read) => text(read(self)),
            Read::Time(read) => text(read(self).and_then(|micros| Timestamp::from_microsecond(micros).ok())),
        })
    }

    fn opened(&self) -> Option<&Opened> {
        match &self.record.as_ref()?.body {
            Body::Opened(opened) => Some(opened),
            _ => None,
        }
    }

    fn closed(&self) -> Option<&Closed> {
        match &self.record.as_ref()?.body {
            Body::Closed(closed) => Some(closed),
            _ => None,
        }
    }

    fn request(&self) -> Option<&RequestFacts> {
        self.closed().map(|closed| &closed.request).or_else(|| self.opened().map(|opened| &opened.request))
    }

    /// Whether something of that kind was done; none where the record does not say what was done.
    fn did(&self, what: What) -> Option<bool> {
        self.closed().map(|_| self.facts.deeds.iter().any(|deed| deed.what == what))
    }
}

fn text<T: ToString>(value: Option<T>) -> Cow<'static, str> {
    value.map(|value| value.to_string()).unwrap_or_default().into()
}

fn label(label: Option<&Label>) -> Option<Cow<'_, str>> {
    label.map(|label| label.as_str().into())
}

fn optional(text: Option<&String>) -> Option<Cow<'_, str>> {
    text.map(|text| text.as_str().into())
}

const fn column(name: &'static str, help: &'static str, read: Read) -> Column {
    Column { name, help, read }
}

/// Every column, in order. Columns are only ever added, at the end before `record`, so that tables grow with them.
pub const COLUMNS: &[Column] = &[
    column("time", "when the record was written", Read::Time(|row| Some(row.frame.time_us))),
    column(
        "type",
        "the type of the record; absent where this build does not know it",
        Read::Text(|row| row.kind().map(|kind| kind.as_str().into())),
    ),
    column(
        "id",
        "the request's id, the same in `opened` and `closed`",
        Read::Text(|row| row.facts.request.map(|id| id.to_string().into())),
    ),
    column("fleet", "the fleet of the gateway", Read::Text(|row| Some(row.source.fleet.into()))),
    column(
        "instance",
        "the audit directory of the gateway",
        Read::Text(|row| Some(row.source.instance.to_string().into())),
    ),
    column("epoch", "the run of the gateway", Read::Text(|row| Some(row.source.epoch.to_string().into()))),
    column("ordinal", "the number of the run", Read::Integer(|row| Some(row.source.ordinal))),
    column("sequence", "the record's number in the run", Read::Integer(|row| Some(row.frame.sequence))),
    column(
        "previous",
        "the hash of the record before",
        Read::Text(|row| Some(row.frame.previous.to_string().into())),
    ),
    column(
        "hash",
        "the hash of the record",
        Read::Text(|row| Some(row.frame.hash(row.source.instance, row.source.epoch).to_string().into())),
    ),
    column(
        "accepted",
        "when the gateway accepted the request",
        Read::Time(|row| row.request().map(|request| request.accepted_us)),
    ),
    column(
        "endpoint",
        "the kind of call",
        Read::Text(|row| row.request().map(|request| name_of(&request.endpoint).into())),
    ),
    column(
        "stream",
        "whether an event stream was asked for",
        Read::Boolean(|row| row.request().map(|request| request.stream)),
    ),
    column("model", "the requested model", Read::Text(|row| optional(row.facts.model.as_ref()))),
    column("target", "the target that answered", Read::Text(|row| optional(row.facts.target.as_ref()))),
    column("target_model", "its model", Read::Text(|row| optional(row.facts.target_model.as_ref()))),
    column("region", "its region", Read::Text(|row| label(row.closed()?.target.as_ref()?.region.as_ref()))),
    column(
        "proof",
        "how the identity was proven",
        Read::Text(|row| row.request().map(|request| name_of(&request.caller.proof).into())),
    ),
    column(
        "subject",
        "who asked, as a pseudonym",
        Read::Text(|row| row.facts.subject.map(|subject| subject.to_string().into())),
    ),
    column(
        "roles",
        "the roles that counted",
        Read::Texts(|row| {
            row.request()
                .map(|request| request.caller.roles.iter().map(Label::as_str).collect())
                .unwrap_or_default()
        }),
    ),
    column("team", "the caller's team", Read::Text(|row| optional(row.facts.team.as_ref()))),
    column("cost_center", "where it is charged", Read::Text(|row| optional(row.facts.cost_centre.as_ref()))),
    column(
        "key_id",
        "the public id of the key, certificate or token",
        Read::Text(|row| label(row.request()?.caller.key_id.as_ref())),
    ),
    column(
        "pack",
        "the name of the pack that judged",
        Read::Text(|row| label(row.request()?.pack.as_ref().map(|pack| &pack.name))),
    ),
    column(
        "pack_version",
        "its version",
        Read::Text(|row| label(row.request()?.pack.as_ref().map(|pack| &pack.version))),
    ),
    column(
        "pack_digest",
        "SHA-256 of its bytes",
        Read::Text(|row| Some(row.request()?.pack.as_ref()?.digest.to_string().into())),
    ),
    column(
        "generation",
        "the fleet's generation",
        Read::Integer(|row| row.request()?.pack.as_ref()?.generation),
    ),
    column(
        "status",
        "the HTTP status that the client saw",
        Read::Integer(|row| row.facts.status.map(u64::from)),
    ),
    column(
        "verdict",
        "the verdict: of the whole in `closed`, of the input in `opened`",
        Read::Text(|row| row.facts.verdict.map(|verdict| name_of(&verdict).into())),
    ),
    column("end", "how the request ended", Read::Text(|row| row.facts.end.map(|end| name_of(&end).into()))),
    column(
        "refusal",
        "the code of the gateway's own answer",
        Read::Text(|row| label(row.closed()?.refusal.as_ref().map(|refusal| &refusal.code))),
    ),
    column(
        "policies",
        "policies that did something, or would have",
        Read::Texts(|row| {
            let mut policies: Vec<&str> = row.facts.deeds.iter().map(|deed| deed.policy.as_str()).collect();
            policies.dedup();
            policies
        }),
    ),
    column(
        "rules",
        "their rules",
        Read::Texts(|row| {
            let rules = row.facts.deeds.iter().map(|deed| deed.rule.as_str());
            let mut rules: Vec<&str> = rules.filter(|rule| !rule.is_empty()).collect();
            rules.dedup();
            rules
        }),
    ),
    column(
        "would_block",
        "whether a policy that observes would have stopped it",
        Read::Boolean(|row| row.did(What::WouldBlock)),
    ),
    column(
        "would_redact",
        "whether a policy that observes would have masked something",
        Read::Boolean(|row| row.did(What::WouldRedact)),
    ),
    column("input_tokens", "tokens of the prompt", Read::Integer(|row| row.facts.input_tokens)),
    column("output_tokens", "tokens of the answer", Read::Integer(|row| row.facts.output_tokens)),
    column(
        "cached_tokens",
        "tokens of the prompt that were read from a cache",
        Read::Integer(|row| row.closed()?.tokens?.cached),
    ),
    column(
        "reasoning_tokens",
        "tokens of the answer spent on reasoning",
        Read::Integer(|row| row.closed()?.tokens?.reasoning),
    ),
    column(
        "token_source",
        "who counted",
        Read::Text(|row| row.closed()?.tokens.as_ref().map(|tokens| name_of(&tokens.source).into())),
    ),
    column("micro_usd", "the cost in millionths of a US dollar", Read::Integer(|row| row.facts.micro_usd)),
    column(
        "price_table",
        "the version of the price table",
        Read::Text(|row| label(row.closed()?.cost.as_ref().map(|cost| &cost.price_table))),
    ),
    column(
        "total_us",
        "microseconds from acceptance to the record",
        Read::Integer(|row| row.closed().map(|closed| closed.latency.total)),
    ),
    column(
        "first_byte_us",
        "microseconds from the first attempt to the first byte of the answer",
        Read::Integer(|row| row.closed()?.latency.first_byte),
    ),
    column(
        "upstream_us",
        "microseconds from the first attempt to the answer's end",
        Read::Integer(|row| row.closed()?.latency.upstream),
    ),
    column(
        "bytes_in",
        "bytes of the request's body",
        Read::Integer(|row| {
            row.closed().map(|closed| closed.bytes_in).or_else(|| row.opened().map(|opened| opened.bytes_in))
        }),
    ),
    column(
        "bytes_out",
        "bytes of the answer's body",
        Read::Integer(|row| row.closed().map(|closed| closed.bytes_out)),
    ),
    column(
        "request_id",
        "our request id, as sent in `x-request-id`",
        Read::Text(|row| row.request().map(|request| request.request_id.as_str().into())),
    ),
    column(
        "client_request_id",
        "the `x-request-id` of the client",
        Read::Text(|row| label(row.request()?.client_request_id.as_ref())),
    ),
    column(
        "upstream_request_id",
        "the request id of Databricks",
        Read::Text(|row| label(row.closed()?.upstream_request_id.as_ref())),
    ),
    column(
        "record",
        "the exact record, JSON",
        Read::Text(|row| std::str::from_utf8(row.frame.payload).ok().map(Into::into)),
    ),
];
