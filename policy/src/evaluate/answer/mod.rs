//! What a pack says of an answer: the content policies of the chain whose `phases` name `output`, over every text that
//! comes back.
//!
//! A whole answer is judged at once ([`CompiledPack::judge_answer`]); a stream while it passes ([`AnswerStream`]). Both
//! see every text of the answer through the same walker, and edit spans: all other bytes leave as they came.

mod channel;
mod stream;
mod tally;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;

pub use self::stream::{AnswerStream, Released, Stopped, StreamSettings};
use self::tally::Tally;
use super::{
    Deadline, FailMode, Finding, PolicyOutcome, Refusal, Timer, Workspace,
    content::{self, Weighing},
    exceptions::Waivers,
    merge,
    report::{self, Places},
    texts::Source,
};
use crate::{
    answer::{Answer, Form},
    caller::Caller,
    compiled::{ChainEntry, CompiledPack, CompiledPolicy},
    detect::Detector,
    edit::{self, Splice},
    json::{JsonError, Limits, NodeId},
    request::Inspected,
    verdict::{Endpoint, Phase, Verdict},
};

/// What is known of the request whose answer is judged.
#[derive(Debug, Clone, Copy)]
pub struct AnswerContext<'a> {
    /// Where the request was sent.
    pub endpoint: Endpoint,
    /// Who asked.
    pub caller: &'a Caller,
    /// The model as asked for, and what it resolves to; exceptions may hold for one of them.
    pub models: &'a [&'a str],
    /// The time of the request; exceptions expire by it.
    pub now: Timestamp,
    /// When the content policies must be done with what they are given.
    pub deadline: Deadline<'a>,
    /// What an error or the deadline inside a content policy gives.
    pub fail_mode: FailMode,
    /// What tells how long each policy took.
    pub timer: Timer<'a>,
    /// What the JSON of an answer may hold.
    pub limits: Limits,
}

/// What the policies said of an answer. Holds no text of it.
#[derive(Debug, Clone)]
pub struct AnswerReport {
    /// What each content policy that reads answers said, in chain order.
    pub outcomes: Vec<PolicyOutcome>,
    /// What was found, at most [`MAX_FINDINGS`](super::MAX_FINDINGS).
    pub findings: Vec<Finding>,
    /// Findings that are not listed for their number.
    pub findings_omitted: usize,
    /// Replaced spans by entity (or rule).
    pub redactions: BTreeMap<Arc<str>, u32>,
    /// `block`, `redact` or `allow`.
    pub verdict: Verdict,
}

/// An answer that was judged.
pub struct Answered<'b> {
    /// The answer to give; the upstream's own where nothing was replaced. Absent: it is refused.
    pub body: Result<Cow<'b, str>, Refusal>,
    /// What the policies said.
    pub report: AnswerReport,
}

impl fmt::Debug for Answered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answered").field("report", &self.report).finish_non_exhaustive()
    }
}

/// An answer that can't be read, and so can't be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer can't be inspected: {0}")]
pub struct NotInspectable(#[source] pub(super) JsonError);

impl CompiledPack {
    /// Whether any policy reads the answers of an endpoint.
    pub fn judges_answers(&self, endpoint: Endpoint) -> bool {
        let waivers = Waivers::default();
        endpoint != Endpoint::Embeddings && readers(self, endpoint, &waivers).next().is_some()
    }

    /// Judges a whole answer.
    ///
    /// # Errors
    /// [`NotInspectable`]: it is not JSON, or beyond the limits.
    pub fn judge_answer<'b>(
        &self,
        body: &'b str,
        context: &AnswerContext<'_>,
        work: &mut Workspace,
    ) -> Result<Answered<'b>, NotInspectable> {
        let answer =
            Answer::parse(context.endpoint, Form::Whole, body, context.limits).map_err(NotInspectable)?;
        let mut tally = Tally::new(self, context.endpoint);
        let judge = Judge::new(self, context);
        let splices = judge.body(answer.inspected(), &answer.probabilities, &mut tally, work);
        work.clear();
        let body = splices.map(|splices| edit::apply(body, &splices));
        let is_refused = body.is_err();
        Ok(Answered { body, report: tally.report(self, is_refused) })
    }
}

/// A content policy that reads answers.
struct Reader<'a> {
    /// Its place in the chain.
    index: usize,
    entry: &'a ChainEntry,
    detector: &'a dyn Detector,
    weighing: Weighing<'a>,
}

/// The policies that read the answers of an endpoint, in chain order.
fn readers<'a>(
    pack: &'a CompiledPack,
    endpoint: Endpoint,
    waivers: &'a Waivers<'a>,
) -> impl Iterator<Item = Reader<'a>> {
    pack.chain.iter().enumerate().filter_map(move |(index, entry)| {
        let CompiledPolicy::Content(detector) = &entry.policy else { return None };
        let weighing = Weighing::new(entry, Phase::Output, Some(endpoint), waivers)?;
        Some(Reader { index, entry, detector: detector.as_ref(), weighing })
    })
}

/// The chain on answers of one request.
#[derive(Debug)]
struct Judge<'a> {
    pack: &'a CompiledPack,
    context: &'a AnswerContext<'a>,
    waivers: Waivers<'a>,
}

impl<'a> Judge<'a> {
    fn new(pack: &'a CompiledPack, context: &'a AnswerContext<'a>) -> Self {
        let waivers =
            Waivers::new(&pack.exceptions, context.now, context.caller, context.endpoint, context.models);
        Self { pack, context, waivers }
    }

    /// Runs the policies over `source`, whose texts `work` then holds with what was found in them. A policy that fails
    /// ends it, unless the fail mode lets it pass.
    fn run(
        &self,
        source: Source<'_>,
        tally: &mut Tally,
        work: &mut Workspace,
        ends_at_block: bool,
    ) -> Result<(), Refusal> {
        work.found.clear();
        work.texts.fill(source);
        for Reader { index, entry, detector, weighing } in
            readers(self.pack, self.context.endpoint, &self.waivers)
        {
            let before = work.found.len();
            let task = content::Task {
                index,
                detector,
                weighing,
                source,
                texts: &work.texts,
                deadline: self.context.deadline,
            };
            let (run, took) = self
                .context
                .timer
                .time(|| content::run(task, &mut work.detect, &mut work.hits, &mut work.found));
            tally.ran(index, run, took);
            let blocks = work.found.get(before..).unwrap_or_default().iter().any(content::Found::blocks);
            if let Some(why) = run.failed
                && !blocks
                && self.context.fail_mode == FailMode::Block
                && !weighing.observes()
            {
                tally.failed(index, why);
                return Err(super::judge::failed(entry.kind, why));
            }
            if blocks && ends_at_block {
                break;
            }
        }
        Ok(())
    }

    /// Judges the texts of a body that are there as a whole, and gives the edits of it.
    fn body(
        &self,
        body: Inspected<'_>,
        probabilities: &[NodeId],
        tally: &mut Tally,
        work: &mut Workspace,
    ) -> Result<Vec<Splice>, Refusal> {
        if body.fields.is_empty() {
            return Ok(Vec::new());
        }
        let chain = &self.pack.chain;
        let source = Source::Body(body);
        self.run(source, tally, work, true)?;
        let (findings, omitted) = report::findings(chain, body, Phase::Output, &work.texts, &work.found);
        tally.list(findings, omitted);
        tally.found(chain, &self.waivers, &work.found);
        let first = work.found.iter().filter(|found| found.blocks()).min_by_key(|found| {
            (found.policy, work.texts.entry(found.entry).map(|entry| entry.field), found.entry, found.start)
        });
        if let Some(found) = first
            && let Some((entry, detector)) = content_policy(chain, found.policy)
        {
            let fields =
                work.found.iter().filter_map(|hit| work.texts.entry(hit.entry)).map(|entry| entry.field);
            let mut places = Places::new(body, fields);
            let place = work.texts.entry(found.entry).and_then(|entry| places.of(entry.field));
            let param = place.map(|place| place.param.to_string()).unwrap_or_default();
            return Err(blocked(entry, detector, found.rule, param));
        }
        let redactions = merge::redactions(chain, source, &work.texts, &work.found);
        let mut splices: Vec<Splice> = Vec::with_capacity(redactions.len());
        for redaction in redactions {
            if !redaction.goes_on {
                tally.redacted(chain, redaction.policy, redaction.rule);
            }
            splices.push(redaction.splice);
        }
        if !splices.is_empty() {
            silence(&mut splices, silenced(body, probabilities));
        }
        Ok(splices)
    }
}

/// Adds what is taken out as a whole, in place of what would be replaced in it.
fn silence(splices: &mut Vec<Splice>, silenced: impl IntoIterator<Item = Splice>) {
    let before = splices.len();
    splices.extend(silenced);
    let (replaced, whole) = splices.split_at(before);
    let is_inside = |splice: &Splice| {
        // In the order of the body.
        let after = whole.partition_point(|whole| whole.range.start <= splice.range.start);
        let around = after.checked_sub(1).and_then(|at| whole.get(at));
        around.is_some_and(|whole| splice.range.start < whole.range.end)
    };
    let kept: Vec<bool> = replaced.iter().map(|splice| !is_inside(splice)).collect();
    let mut kept = kept.into_iter();
    splices.retain(|_| kept.next().unwrap_or(true));
}

/// Log probabilities spell the text: where it is edited they are taken out.
fn silenced<'s>(body: Inspected<'s>, probabilities: &'s [NodeId]) -> impl Iterator<Item = Splice> + 's {
    probabilities.iter().map(move |node| {
        let text = match body.document.kind(*node) {
            crate::json::Kind::Array => "[]",
            _ => "null",
        };
        Splice { range: body.document.span(*node), text: text.to_owned() }
    })
}

fn content_policy(chain: &[ChainEntry], policy: usize) -> Option<(&ChainEntry, &dyn Detector)> {
    let entry = chain.get(policy)?;
    match &entry.policy {
        CompiledPolicy::Content(detector) => Some((entry, detector.as_ref())),
        _ => None,
    }
}

fn blocked(entry: &ChainEntry, detector: &dyn Detector, rule: u32, param: String) -> Refusal {
    let rule = detector.rules().get(rule as usize).map_or_else(|| Arc::from(""), |rule| Arc::clone(&rule.id));
    let message = format!("answer blocked by `{}`: rule `{rule}` at `{param}`", entry.kind);
    super::judge::violation("output_blocked", message).by(entry.kind, rule).at(param)
}
