//! What a gateway says of itself first, checked and bounded.

use std::{collections::BTreeMap, sync::Arc};

use kt_audit::Digest;
use kt_proto::v1;

use super::End;

/// Bounds on a Hello.
const MAX_NAME: usize = 128;
const MAX_LABELS: usize = 16;
const MAX_LABEL: usize = 64;
const MAX_FEATURES: usize = 4096;
const MAX_REJECTED: usize = 32;
/// No generation is anywhere near this; whoever shows a higher one would leave no room for a recovery.
const MAX_GENERATION: u64 = u64::MAX / 2;

/// A document that a gateway has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) generation: u64,
    /// Of the statement.
    pub(crate) digest: Digest,
    /// Last known good, not taken from a control plane by this process.
    pub(crate) is_from_disk: bool,
}

/// A Hello that makes sense.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) gateway_id: Arc<str>,
    pub(crate) name: String,
    pub(crate) process_id: uuid::Uuid,
    pub(crate) build: Arc<str>,
    /// 0: it did not say.
    pub(crate) max_pack_bytes: u64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) assignment: Option<Held>,
    pub(crate) key_set: Option<Held>,
    pub(crate) rejected: Vec<Digest>,
}

/// What a build can enforce; shared by the sessions of all gateways of that build.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Features {
    names: Vec<Box<str>>,
}

// === impl Features ===

impl Features {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let mut names: Vec<Box<str>> = names.into_iter().map(String::into_boxed_str).collect();
        names.sort_unstable();
        names.dedup();
        Self { names }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }
}

// === impl Held ===

impl Held {
    pub(super) fn read(held: &v1::Held) -> Result<Self, &'static str> {
        if held.generation > MAX_GENERATION {
            return Err(TOO_HIGH);
        }
        Ok(Self {
            generation: held.generation,
            digest: digest(&held.digest)?,
            is_from_disk: held.source() == v1::held::Source::Disk,
        })
    }
}

const TOO_HIGH: &str = "a generation that no control plane has given out";

// === impl Greeting ===

impl Greeting {
    /// Reads the first message of a stream of `fleet`, the one of the token. What the build can do comes apart: it is
    /// long, and the same for many.
    pub(crate) fn read(message: v1::GatewayMessage, fleet: &str) -> Result<(Self, Features), v1::Refused> {
        let Some(v1::gateway_message::Message::Hello(hello)) = message.message else {
            return Err(malformed("the first message is no Hello"));
        };
        if hello.fleet != fleet {
            return Err(refused(
                v1::refused::Why::WrongFleet,
                format!(
                    "the token is of fleet `{fleet}`, the gateway wants to join `{}`",
                    plain(&hello.fleet, 64)
                ),
            ));
        }
        let gateway_id = uuid(&hello.gateway_id, "gateway_id")?;
        let process_id = uuid(&hello.process_id, "process_id")?;
        let held = |held: Option<v1::Held>| held.map(|held| Held::read(&held)).transpose().map_err(malformed);
        if hello.features.len() > MAX_FEATURES || hello.features.iter().any(|name| name.len() > MAX_NAME) {
            return Err(malformed("too many features, or names of features that are too long"));
        }
        let labels = hello
            .labels
            .iter()
            .take(MAX_LABELS)
            .map(|(key, value)| (plain(key, MAX_LABEL), plain(value, MAX_LABEL)))
            .collect();
        let rejected = hello.rejected.iter().rev().take(MAX_REJECTED).map(|rejected| digest(rejected));
        let greeting = Self {
            gateway_id: gateway_id.to_string().into(),
            name: plain(&hello.name, MAX_NAME),
            process_id,
            build: plain(&hello.build, MAX_NAME).into(),
            max_pack_bytes: hello.max_pack_bytes,
            labels,
            assignment: held(hello.assignment)?,
            key_set: held(hello.key_set)?,
            rejected: rejected.collect::<Result<_, _>>().map_err(malformed)?,
        };
        Ok((greeting, Features::new(hello.features)))
    }
}

/// A refused Hello.
pub(crate) fn refused(why: v1::refused::Why, message: impl Into<String>) -> v1::Refused {
    v1::Refused { why: why.into(), message: message.into(), retry_after_ms: 0 }
}

fn malformed(what: &'static str) -> v1::Refused {
    refused(v1::refused::Why::Malformed, what)
}

fn uuid(text: &str, field: &str) -> Result<uuid::Uuid, v1::Refused> {
    uuid::Uuid::try_parse(text)
        .map_err(|_| refused(v1::refused::Why::Malformed, format!("`{field}` of Hello is no UUID")))
}

pub(super) fn digest(bytes: &[u8]) -> Result<Digest, &'static str> {
    bytes.try_into().map(Digest).map_err(|_| "a digest that has not 32 bytes")
}

pub(super) fn generation(generation: u64) -> Result<u64, End> {
    if generation > MAX_GENERATION { Err(End::Malformed(TOO_HIGH)) } else { Ok(generation) }
}

/// The text on one line, at most `max` bytes of it: what gateways say is shown on people's terminals.
pub(super) fn plain(text: &str, max: usize) -> String {
    let mut plain = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if plain.len() + c.len_utf8() > max {
            break;
        }
        plain.push(c);
    }
    plain
}
