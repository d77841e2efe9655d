//! Evaluation: what a compiled pack says of a request.
//!
//! The order is that of a request's life: what cannot be inspected, candidates (alias, targets, fallback,
//! `data-routing-policy`), then the chain in its order. The first refusal ends it; the policies behind are `skipped`.
//! All content policies see the original text, and their edits are merged once, at the end. The same pack, request,
//! caller and time give the same judgement on every machine.
//!
//! A judgement is owned and small. Each attempt asks [`CompiledPack::authorise`](crate::compiled::CompiledPack::authorise) for a proof that one target may be used,
//! and renders the body from it.

mod answer;
mod attachments;
mod authorise;
mod candidates;
mod content;
mod env;
mod exceptions;
mod joined;
mod judge;
mod judgement;
mod merge;
mod offsets;
mod prepared;
mod rbac;
mod report;
mod routing;
mod scan;
#[cfg(test)]
mod tests;
mod texts;

pub use crate::verdict::Phase;
pub use answer::{
    AnswerContext, AnswerReport, AnswerStream, Answered, NotInspectable, Released, Stopped, StreamSettings,
};
pub use authorise::{Authorised, Denied, NotTheJudgedBody, RenderOptions, Rendered};
pub use env::{Deadline, Env, FailMode, ModelLimits, NoModels, Timer, Workspace};
pub use judgement::{
    BypassReason, Candidate, Effect, Exclusion, Finding, Judgement, MAX_FINDINGS, NonCompliance, Outcome,
    PolicyOutcome, Refusal, RefusalKind,
};
pub use scan::{TextFeed, TextFinding, TextScan};
