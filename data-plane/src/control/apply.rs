//! Whether a pushed document is taken: one path for what a control plane sends and for what is on disk.
//!
//! The exact bytes are verified, then the same bytes are read. A refusal names its stage and every reason, and leaves
//! what is in force.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kt_audit::Digest;
use kt_policy::{codes, diag::LineIndex};
use kt_proto::{
    signed::{self, NotTrusted, Statement, Trust},
    v1,
};

use super::Held;
use crate::{
    active::Active,
    identity::keys::{KeySet, KeysError},
    pack_source::{PackFault, PackSource},
    settings::Settings,
};

/// Reasons that one rejection names; a pack with more is told so.
const MAX_REASONS: usize = 200;

/// How long a refusal is remembered, so that the same statement is not asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Not at all: the next time it may go better.
    None,
    /// While this process runs: its settings decide.
    Process,
    /// While this build runs.
    Build,
}

/// Why a document is not taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rejection {
    pub(crate) stage: v1::Stage,
    /// All of them; never empty.
    pub(crate) reasons: Vec<v1::Reason>,
    pub(crate) memory: Memory,
}

impl Rejection {
    /// A rejection for one reason that has no place in a pack.
    pub(crate) fn new(stage: v1::Stage, code: &str, message: impl Into<String>, memory: Memory) -> Self {
        let reason = v1::Reason { code: code.to_owned(), message: message.into(), ..v1::Reason::default() };
        Self { stage, reasons: vec![reason], memory }
    }

    fn signature(code: &str, message: impl Into<String>, memory: Memory) -> Self {
        Self::new(v1::Stage::Signature, code, message, memory)
    }

    /// One line: the first reason, and how many more there are.
    pub(crate) fn summary(&self) -> String {
        let first = self.reasons.first();
        let message = first.map_or("", |reason| reason.message.as_str());
        let place = match first {
            Some(reason) if reason.line > 0 => format!(" (`{}`, line {})", reason.path, reason.line),
            Some(reason) if !reason.path.is_empty() => format!(" (`{}`)", reason.path),
            _ => String::new(),
        };
        let more = match self.reasons.len() {
            0 | 1 => String::new(),
            count => format!(", and {} more", count - 1),
        };
        format!("{}: {message}{place}{more}", self.stage.word())
    }

    /// The codes of its reasons, each once.
    pub(crate) fn codes(&self) -> Vec<String> {
        let mut codes: Vec<String> = self.reasons.iter().map(|reason| reason.code.clone()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// What a statement is held to.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) fleet: String,
    pub(crate) trust: Trust,
}

/// What becomes of a statement that stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing<S> {
    /// It is in force already.
    Same,
    /// It is new here.
    New(S),
}

/// Verifies a statement and reads the same bytes.
///
/// `held`: what is in force. `now`: set where the statement is seen for the first time, in microseconds since 1970 UTC;
/// one that was accepted before does not expire.
pub(crate) fn verify<S: Statement>(
    signed: &v1::SignedStatement,
    rules: &Rules,
    held: Option<Held>,
    now: Option<i64>,
) -> Result<Standing<S>, Rejection> {
    let statement: S = rules.trust.open(signed).map_err(|error| {
        // The digest does not cover signatures: the same statement may come with good ones.
        let memory = if error == NotTrusted::Malformed { Memory::Build } else { Memory::None };
        Rejection::signature(error.code(), error.to_string(), memory)
    })?;
    // A field that this build does not know would be dropped in silence, and may be what restricts.
    if *statement.encode_to_vec() != *signed.statement {
        let message = "the statement has fields that this build does not know: update this gateway";
        return Err(Rejection::new(v1::Stage::Schema, "statement_unknown_fields", message, Memory::Build));
    }
    if statement.fleet() != rules.fleet {
        let message =
            format!("the statement is for the fleet `{}`, not `{}`", statement.fleet(), rules.fleet);
        return Err(Rejection::signature("wrong_fleet", message, Memory::Process));
    }
    let generation = statement.generation();
    if let Some(held) = held {
        if generation < held.generation {
            let message = format!("generation {generation} is lower than {}, which is held", held.generation);
            return Err(Rejection::signature("generation_lower", message, Memory::None));
        }
        if generation == held.generation {
            if signed::digest(signed) == held.digest {
                return Ok(Standing::Same);
            }
            let message = format!("generation {generation} is held with another digest");
            return Err(Rejection::signature("generation_conflict", message, Memory::None));
        }
    }
    let expires = statement.expires_us();
    if expires != 0 && now.is_some_and(|now| now >= expires) {
        let when = jiff::Timestamp::from_microsecond(expires)
            .map_or_else(|_| expires.to_string(), |time| time.to_string());
        let message = format!("the statement expired at {when}: sign it again");
        return Err(Rejection::signature("statement_expired", message, Memory::Process));
    }
    Ok(Standing::New(statement))
}

/// The one pack of an assignment.
pub(crate) fn only_pack(statement: &v1::AssignmentStatement) -> Result<(v1::PackRef, Digest), Rejection> {
    let limits =
        |code: &str, message: String| Rejection::new(v1::Stage::Limits, code, message, Memory::Build);
    let pack = match statement.packs.as_slice() {
        [] => return Err(limits("no_packs", "the assignment names no pack".to_owned())),
        [pack] => pack.clone(),
        packs => {
            let message = format!("the assignment names {} packs; this build enforces one", packs.len());
            return Err(limits("too_many_packs", message));
        }
    };
    if pack.size > MAX_PACK as u64 {
        let message = format!("`{pack}` has {} bytes, more than {MAX_PACK}", pack.size);
        return Err(limits("pack_too_large", message));
    }
    let Ok(digest) = <[u8; 32]>::try_from(&*pack.digest) else {
        let message = format!("the digest of `{pack}` is not 32 bytes");
        return Err(Rejection::new(v1::Stage::Digest, "digest_malformed", message, Memory::Build));
    };
    Ok((pack, Digest(digest)))
}

/// The largest pack that this build takes, in bytes.
pub(crate) const MAX_PACK: usize = kt_policy::yaml::MAX_BYTES;

/// Whether this build has what a pack needs.
pub(crate) fn knows(needed: &[v1::Feature]) -> Result<(), Rejection> {
    let reasons: Vec<v1::Reason> = needed
        .iter()
        .filter(|feature| !kt_policy::features::is_supported(&feature.name))
        .take(MAX_REASONS)
        .map(|feature| v1::Reason {
            code: "feature_unsupported".to_owned(),
            message: format!("this build can't enforce `{}`: update this gateway", feature.name),
            path: feature.path.clone(),
            line: feature.line,
            column: 0,
            help: None,
        })
        .collect();
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Rejection { stage: v1::Stage::Schema, reasons, memory: Memory::Build })
}

/// Whether the bytes are the pack that the statement names.
pub(crate) fn fits(pack: &v1::PackRef, digest: &Digest, bytes: &[u8]) -> Result<(), Rejection> {
    if Digest::of(bytes) == *digest {
        return Ok(());
    }
    let message = format!("what was fetched for `{pack}` is not what its digest says");
    Err(Rejection::new(v1::Stage::Digest, "digest_mismatch", message, Memory::None))
}

/// Checks, compiles and binds a pack. Takes its time: not for a thread that serves requests.
pub(crate) fn compile(
    source: &mut PackSource,
    settings: &Settings,
    pack: &v1::PackRef,
    generation: u64,
    bytes: &[u8],
) -> Result<Active, Rejection> {
    // What a panic leaves behind are caches of credentials and clients, which are whole at every step.
    let result = catch_unwind(AssertUnwindSafe(|| source.activate(bytes, settings)));
    let active = match result {
        Ok(Ok(active)) => active,
        Ok(Err(fault)) => return Err(refused(&fault)),
        Err(_) => {
            let message = format!("this build failed on `{pack}`: that is a fault of the gateway, report it");
            return Err(Rejection::new(v1::Stage::Compile, "compile_panicked", message, Memory::Build));
        }
    };
    if active.id != pack.to_string() {
        let message = format!("the statement names `{pack}`, and the source says `{}`", active.id);
        return Err(Rejection::new(v1::Stage::Digest, "pack_misnamed", message, Memory::Build));
    }
    Ok(Active { generation: Some(generation), ..active })
}

/// What stands against a pack, in the protocol's words.
fn refused(fault: &PackFault) -> Rejection {
    let PackFault::Findings { findings, source_bytes, .. } = fault else {
        let code = fault.codes().into_iter().next().unwrap_or_default();
        return Rejection::new(v1::Stage::Bind, &code, fault.to_string(), Memory::Process);
    };
    let lines = LineIndex::new(source_bytes);
    let errors = || findings.iter().filter(|finding| finding.is_error());
    let stage = errors().map(|finding| stage_of(finding.code)).max_by_key(|stage| order(*stage));
    let stage = stage.unwrap_or(v1::Stage::Compile);
    let mut reasons: Vec<v1::Reason> = errors()
        .take(MAX_REASONS)
        .map(|finding| {
            let position = finding.span.map(|span| lines.position(span.start));
            let number = |number: Option<usize>| number.and_then(|number| u32::try_from(number).ok());
            v1::Reason {
                code: finding.code.to_string(),
                message: finding.message.clone(),
                path: finding.path.clone(),
                line: number(position.map(|position| position.line)).unwrap_or(0),
                column: number(position.map(|position| position.column)).unwrap_or(0),
                help: finding.help.clone(),
            }
        })
        .collect();
    let count = errors().count();
    if count > MAX_REASONS {
        reasons.push(v1::Reason {
            code: "more".to_owned(),
            message: format!("{} more", count - MAX_REASONS),
            ..v1::Reason::default()
        });
    }
    let memory = if stage == v1::Stage::Bind { Memory::Process } else { Memory::Build };
    Rejection { stage, reasons, memory }
}

/// The stage that a finding belongs to: the ranges of [`codes`].
fn stage_of(code: kt_policy::diag::Code) -> v1::Stage {
    match code {
        codes::TOO_LARGE | codes::TOO_COMPLEX | codes::TOO_MANY_RULES => v1::Stage::Limits,
        kt_policy::diag::Code(..300) => v1::Stage::Schema,
        kt_policy::diag::Code(..500) => v1::Stage::Compile,
        _ => v1::Stage::Bind,
    }
}

/// The stage that names a rejection with findings of several is the one that a pack passes first.
const fn order(stage: v1::Stage) -> u8 {
    match stage {
        v1::Stage::Limits => 3,
        v1::Stage::Schema => 2,
        v1::Stage::Compile => 1,
        _ => 0,
    }
}

/// The keys of a verified statement.
pub(crate) fn keys(statement: v1::KeySetStatement, before: Option<&KeySet>) -> Result<KeySet, Rejection> {
    KeySet::from_statement(statement, before).map_err(|errors| {
        let reason = |error: &KeysError| v1::Reason {
            code: error.code().to_owned(),
            message: error.to_string(),
            ..v1::Reason::default()
        };
        let reasons = errors.iter().take(MAX_REASONS).map(reason).collect();
        Rejection { stage: v1::Stage::Schema, reasons, memory: Memory::Build }
    })
}

#[cfg(test)]
mod tests;
