//! A streamed answer on its way: events are held until every text in them is settled, and leave in the order in which
//! they came, each with its edits.
//!
//! What must hold:
//! - nothing of a finding that acts is ever let go where the hold back reaches over it, and nothing behind one that
//!   blocks;
//! - what is found, and what becomes of it, does not depend on how the text was cut into events;
//! - an event in which nothing is replaced leaves as it came.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    ops::Range,
};

use super::{AnswerContext, AnswerReport, Judge, NotInspectable, Tally, channel::Channel, silence, silenced};
use crate::{
    answer::{self, Answer, Ended, Form, Taken},
    compiled::CompiledPack,
    edit::{self, Splice},
    evaluate::{Refusal, Workspace},
    json::{OffsetMap, escape_into},
    verdict::Endpoint,
};

/// The data of the event that ends a stream of chat or completions.
const DONE: &str = "[DONE]";
/// What an event that is held takes besides its data.
const OVERHEAD: usize = 128;
/// More texts than this in one answer are no answer.
const MOST_TEXTS: usize = 65_536;
/// The bytes of more texts than this are not added up.
const MANY_TEXTS: usize = 64;

/// What a stream may hold.
#[derive(Debug, Clone, Copy)]
pub struct StreamSettings {
    /// Bytes of events that are held back at most.
    pub held_bytes: usize,
}

/// Why a stream is ended.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Stopped {
    /// A policy refuses what came.
    #[error("a policy refuses the answer")]
    Refused(Box<Refusal>),
    /// It can't be read.
    #[error(transparent)]
    NotInspectable(#[from] NotInspectable),
    /// More would have to be held back than may be.
    #[error("more of the answer would have to be held back than may be")]
    TooLarge,
}

/// An event that may leave.
pub struct Released<T> {
    /// As it was given.
    pub frame: T,
    /// Its data where something was replaced.
    pub data: Option<String>,
}

impl<T> fmt::Debug for Released<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Released").field("is_edited", &self.data.is_some()).finish_non_exhaustive()
    }
}

/// A piece of a text inside an event.
#[derive(Debug)]
struct Part {
    channel: usize,
    /// In the text.
    range: Range<usize>,
    /// In the data of the event.
    content: Range<usize>,
    is_escaped: bool,
    /// It is a token of the log probabilities, which are taken out as a whole.
    is_probability: bool,
}

struct Held<T> {
    frame: T,
    /// Kept where something in it may be replaced.
    data: String,
    /// What it counts for while it is held.
    weight: usize,
    parts: Vec<Part>,
    splices: Vec<Splice>,
    /// What is taken out when something is replaced.
    silenced: Vec<Splice>,
}

impl<T> Held<T> {
    const fn blank(frame: T) -> Self {
        Self {
            frame,
            data: String::new(),
            weight: OVERHEAD,
            parts: Vec::new(),
            splices: Vec::new(),
            silenced: Vec::new(),
        }
    }
}

/// A streamed answer on its way. `T` is an event as it is to be passed on.
pub struct AnswerStream<T> {
    settings: StreamSettings,
    tally: Tally,
    channels: Vec<Channel>,
    by_name: HashMap<answer::Channel, usize>,
    /// Those with text that is not settled, by what ends them.
    open: BTreeSet<(u64, usize)>,
    held: VecDeque<Held<T>>,
    held_bytes: usize,
}

impl<T> fmt::Debug for AnswerStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerStream")
            .field("channels", &self.channels.len())
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

impl<T> AnswerStream<T> {
    /// A stream of which nothing has come.
    pub fn new(pack: &CompiledPack, endpoint: Endpoint, settings: StreamSettings) -> Self {
        Self {
            settings,
            tally: Tally::new(pack, endpoint),
            channels: Vec::new(),
            by_name: HashMap::new(),
            open: BTreeSet::new(),
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// Takes the data of the next event.
    ///
    /// # Errors
    /// [`Stopped`]: the stream is to be ended; what [`AnswerStream::pop`] gives may still leave.
    pub fn push(
        &mut self,
        frame: T,
        data: &str,
        pack: &CompiledPack,
        context: &AnswerContext<'_>,
        work: &mut Workspace,
    ) -> Result<(), Stopped> {
        let judge = Judge::new(pack, context);
        let result = self.take(frame, data, &judge, work);
        work.clear();
        result
    }

    /// Takes something without data, which leaves behind what came before it.
    pub fn push_blank(&mut self, frame: T) {
        self.hold(Held::blank(frame));
    }

    /// Judges the rest: nothing more comes.
    ///
    /// # Errors
    /// [`Stopped`], as [`AnswerStream::push`].
    pub fn end(
        &mut self,
        pack: &CompiledPack,
        context: &AnswerContext<'_>,
        work: &mut Workspace,
    ) -> Result<(), Stopped> {
        let judge = Judge::new(pack, context);
        let result = self.end_texts(Ended::All, &judge, work);
        work.clear();
        result
    }

    /// The next event that may leave.
    pub fn pop(&mut self) -> Option<Released<T>> {
        let channels = &self.channels;
        let settled =
            |part: &Part| channels.get(part.channel).is_none_or(|text| text.is_settled(part.range.end));
        if !self.held.front()?.parts.iter().all(settled) {
            return None;
        }
        let mut held = self.held.pop_front()?;
        self.held_bytes = self.held_bytes.saturating_sub(held.weight);
        let mut is_silenced = !held.splices.is_empty();
        for part in &held.parts {
            let Some(channel) = self.channels.get_mut(part.channel) else { continue };
            let edits = channel.edits(&part.range);
            is_silenced |= !edits.is_empty();
            if edits.is_empty() || part.is_probability {
                continue;
            }
            let content = held.data.get(part.content.clone()).unwrap_or_default();
            let map = part.is_escaped.then(|| OffsetMap::new(content));
            for (range, marker) in edits {
                let range = map.as_ref().map_or(range.clone(), |map| map.to_raw(range));
                let mut text = String::new();
                escape_into(&marker, &mut text);
                let range = part.content.start + range.start..part.content.start + range.end;
                held.splices.push(Splice { range, text });
            }
        }
        if !is_silenced {
            return Some(Released { frame: held.frame, data: None });
        }
        silence(&mut held.splices, held.silenced);
        let data = edit::apply(&held.data, &held.splices).into_owned();
        Some(Released { frame: held.frame, data: Some(data) })
    }

    #[cfg(test)]
    pub(super) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of text that are still to be judged; of very many texts, more than any.
    pub fn unsettled_bytes(&self) -> usize {
        if self.open.len() > MANY_TEXTS {
            return usize::MAX;
        }
        self.open.iter().filter_map(|(_, at)| self.channels.get(*at)).map(Channel::unsettled).sum()
    }

    /// What the policies have said so far.
    pub fn report(&self, pack: &CompiledPack, is_refused: bool) -> AnswerReport {
        self.tally.report(pack, is_refused)
    }

    fn take(&mut self, frame: T, data: &str, judge: &Judge<'_>, work: &mut Workspace) -> Result<(), Stopped> {
        if data.trim().is_empty() {
            // No client reads it.
            self.hold(Held::blank(frame));
            return Ok(());
        }
        if data.trim() == DONE {
            self.end_texts(Ended::All, judge, work)?;
            self.hold(Held::blank(frame));
            return Ok(());
        }
        let AnswerContext { endpoint, limits, .. } = *judge.context;
        let mut answer = Answer::parse(endpoint, Form::Event, data, limits).map_err(NotInspectable)?;
        let mut touched = Vec::new();
        let mut parts = Vec::new();
        for taken in answer.take_streamed() {
            let channel = self.channel(&taken.channel, judge.pack);
            if let Some(text_of) = self.channels.get_mut(channel) {
                let range = text_of.push(&taken.text);
                parts.push(part(&answer, &taken, channel, range));
                touched.push(channel);
                self.open.insert((text_of.group(), channel));
            }
        }
        let splices =
            judge.body(answer.inspected(), &answer.probabilities, &mut self.tally, work).map_err(refused)?;
        self.hold(Held {
            frame,
            data: if parts.is_empty() && splices.is_empty() { String::new() } else { data.to_owned() },
            weight: data.len() + OVERHEAD,
            parts,
            splices,
            silenced: silenced(answer.inspected(), &answer.probabilities).collect(),
        });
        touched.dedup();
        for channel in touched {
            if let Some(channel) = self.channels.get_mut(channel) {
                channel.advance(judge, &mut self.tally, work).map_err(refused)?;
            }
        }
        for ended in answer.ends {
            self.end_texts(ended, judge, work)?;
        }
        if self.held_bytes > self.settings.held_bytes || self.channels.len() > MOST_TEXTS {
            return Err(Stopped::TooLarge);
        }
        Ok(())
    }

    fn hold(&mut self, held: Held<T>) {
        self.held_bytes += held.weight;
        self.held.push_back(held);
    }

    fn channel(&mut self, name: &answer::Channel, pack: &CompiledPack) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = self.channels.len();
        self.by_name.insert(name.clone(), at);
        self.channels.push(Channel::new(name, pack.hold_back));
        at
    }

    fn end_texts(&mut self, ended: Ended, judge: &Judge<'_>, work: &mut Workspace) -> Result<(), Stopped> {
        let ending: Vec<(u64, usize)> = match ended {
            Ended::All => self.open.iter().copied().collect(),
            Ended::Group(group) => self.open.range((group, 0)..=(group, usize::MAX)).copied().collect(),
        };
        for (group, at) in ending {
            self.open.remove(&(group, at));
            if let Some(channel) = self.channels.get_mut(at) {
                channel.end(judge, &mut self.tally, work).map_err(refused)?;
            }
        }
        Ok(())
    }
}

fn part(answer: &Answer<'_>, taken: &Taken<'_>, channel: usize, range: Range<usize>) -> Part {
    let document = answer.document();
    Part {
        channel,
        range,
        content: document.content_span(taken.node),
        is_escaped: document.is_escaped(taken.node),
        is_probability: taken.is_probability,
    }
}

fn refused(refusal: Refusal) -> Stopped {
    Stopped::Refused(Box::new(refusal))
}
