//! From findings to edits.
//!
//! All policies saw the original text, so their findings overlap. What overlaps becomes one span; the strongest verdict
//! names the marker, among equals the policy that is earliest in the chain. A span that lies over the structure of a
//! JSON text is cut to the keys and leaves under it, so that the text stays JSON; a number that is masked becomes a
//! string. The outcome does not depend on the order in which findings were made.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    Effect,
    content::Found,
    joined::Crossing,
    offsets::Mapper,
    texts::{Entry, Leaf, Source, Texts},
};
use crate::{
    compiled::{ChainEntry, CompiledPolicy},
    edit::Splice,
    json::{NodeId, escape_into},
    verdict::Verdict,
};

/// What stands in the place of a finding when its marker is empty or blank.
const BLANK_MARKER: &str = "<REDACTED>";

/// A finding as a claim to the marker; the smallest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    verdict: Reverse<Verdict>,
    policy: usize,
    start: usize,
    end: Reverse<usize>,
    rule: u32,
    crossing: Option<Crossing>,
}

impl Claim {
    /// Whether what it claims goes on from an earlier part.
    fn goes_on(&self) -> bool {
        self.crossing.is_some_and(|crossing| !crossing.is_first)
    }
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    claim: Claim,
}

/// A replaced span.
#[derive(Debug, Clone)]
pub(super) struct Redaction {
    pub(super) splice: Splice,
    pub(super) policy: usize,
    pub(super) rule: u32,
    /// Where it stands in the body; absent in a text by itself.
    pub(super) node: Option<NodeId>,
    /// What it replaces goes on from an earlier part, where it was counted.
    pub(super) goes_on: bool,
}

/// The edits that enforced findings ask for, in the order of the body.
pub(super) fn redactions(
    chain: &[ChainEntry],
    source: Source<'_>,
    texts: &Texts,
    found: &[Found],
) -> Vec<Redaction> {
    let mut open: BTreeMap<usize, Vec<Span>> = BTreeMap::new();
    for found in found.iter().filter(|found| found.effect == Effect::Enforced) {
        let claim = Claim {
            verdict: Reverse(found.verdict),
            policy: found.policy,
            start: found.start,
            end: Reverse(found.end),
            rule: found.rule,
            crossing: found.crossing,
        };
        let span = Span { start: found.start, end: found.end, claim };
        open.entry(found.entry).or_default().push(span);
    }
    if open.is_empty() {
        return Vec::new();
    }
    let mapper = Mapper::new(texts, source);
    let mut writer = Writer {
        chain,
        texts,
        source,
        mapper,
        taken: BTreeMap::new(),
        listed: BTreeSet::new(),
        redactions: Vec::new(),
    };
    let mut replaced = BTreeSet::new();
    // Children come behind their parents, so each entry is met once, with all its spans.
    while let Some((index, spans)) = open.pop_first() {
        let Some(entry) = texts.entry(index) else { continue };
        if !replaced.is_empty() && inside(texts, entry, &replaced) {
            continue;
        }
        let spans = merge(spans);
        if !entry.json {
            writer.leaf(index, entry, &spans);
            continue;
        }
        let covers = |span: &Span| texts.overlapped(entry, &(span.start..span.end));
        if let Some(span) = spans.iter().find(|span| covers(span).is_empty()) {
            // Nothing but structure: there is no leaf to mask, so the whole text goes.
            replaced.insert(index);
            writer.whole(index, *span);
            continue;
        }
        for span in &spans {
            let literal =
                |child: &usize| texts.entry(*child).is_some_and(|child| child.leaf == Leaf::Literal);
            let only_literals = covers(span).all(|child| literal(&child));
            for child in covers(span).filter(|child| only_literals || !literal(child)) {
                let part = writer.mapper.down(child, &(span.start..span.end));
                let part = Span { start: part.start, end: part.end, claim: span.claim };
                open.entry(child).or_default().push(part);
            }
        }
    }
    let mut redactions = writer.redactions;
    redactions.sort_by_key(|redaction| (redaction.splice.range.start, redaction.splice.range.end));
    redactions
}

/// Whether an entry stands in one that is replaced as a whole.
fn inside(texts: &Texts, entry: &Entry, replaced: &BTreeSet<usize>) -> bool {
    let mut at = entry.parent;
    while let Some(parent) = at {
        if replaced.contains(&(parent as usize)) {
            return true;
        }
        at = texts.entry(parent as usize).and_then(|entry| entry.parent);
    }
    false
}

/// Makes spans disjoint.
fn merge(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| (span.start, span.end, span.claim));
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start < last.end => {
                last.end = last.end.max(span.end);
                last.claim = last.claim.min(span.claim);
            }
            _ => merged.push(span),
        }
    }
    merged
}

/// The keys of one object.
#[derive(Debug, Default)]
struct Keys {
    /// Before and after masking.
    names: BTreeSet<String>,
    /// By masked key: the last number it was given.
    numbers: BTreeMap<String, usize>,
}

struct Writer<'t> {
    chain: &'t [ChainEntry],
    texts: &'t Texts,
    source: Source<'t>,
    mapper: Mapper<'t>,
    /// By the text that an object stands in (`None`: the body) and the object: its keys, before and after masking.
    taken: BTreeMap<(Option<u32>, NodeId), Keys>,
    /// The texts whose objects are in `taken`.
    listed: BTreeSet<u32>,
    redactions: Vec<Redaction>,
}

impl Writer<'_> {
    fn leaf(&mut self, index: usize, entry: &Entry, spans: &[Span]) {
        if matches!(entry.leaf, Leaf::Number | Leaf::Literal) {
            let Some(claim) = spans.iter().map(|span| span.claim).min() else { return };
            let length = self.texts.text(self.source, index).len();
            self.number(index, entry, Span { start: 0, end: length, claim });
            return;
        }
        let mut markers: Vec<String> = spans.iter().map(|span| self.marker(index, span)).collect();
        if entry.leaf == Leaf::Key {
            self.keep_different(index, entry, spans, &mut markers);
        }
        if entry.parent.is_none() && entry.leaf == Leaf::String {
            self.take_out(index, spans, &mut markers);
        }
        for (span, marker) in spans.iter().zip(markers) {
            self.write(index, span.start..span.end, marker, span.claim);
        }
    }

    /// What goes on from an earlier part has its marker there; here it is taken out, unless nothing would be left.
    fn take_out(&self, index: usize, spans: &[Span], markers: &mut [String]) {
        let goes_on = |span: &Span| span.claim.goes_on();
        let text = self.texts.text(self.source, index);
        let ends = spans.iter().map(|span| span.end);
        let starts = spans.iter().skip(1).map(|span| span.start).chain([text.len()]);
        let head = spans.first().map_or(0..0, |span| 0..span.start);
        let mut kept = ends.zip(starts).map(|(end, start)| end..start).chain([head]);
        let is_blank = |range: Range<usize>| text.get(range).unwrap_or_default().trim().is_empty();
        // Where all of it would go, the first marker stays.
        let stays = usize::from(spans.iter().all(goes_on) && kept.all(is_blank));
        for (span, marker) in spans.iter().zip(markers).skip(stays) {
            if goes_on(span) {
                marker.clear();
            }
        }
    }

    /// Masked keys of one object must not become the same: the last marker gets a number where they would.
    fn keep_different(&mut self, index: usize, entry: &Entry, spans: &[Span], markers: &mut [String]) {
        let text = self.texts.text(self.source, index);
        let mut masked = String::new();
        let mut at = 0;
        for (span, marker) in spans.iter().zip(markers.iter()) {
            masked.push_str(text.get(at..span.start).unwrap_or_default());
            masked.push_str(marker);
            at = span.end;
        }
        let tail = text.get(at..).unwrap_or_default();
        let Some(taken) = self.keys_beside(entry) else { return };
        let numbered = |number: usize| {
            if number < 2 { format!("{masked}{tail}") } else { format!("{masked}_{number}{tail}") }
        };
        // Counts on from the last key that became the same: no more tries than keys.
        let mut number = taken.numbers.get(&numbered(1)).map_or(1, |last| last + 1);
        while !taken.names.insert(numbered(number)) {
            number += 1;
        }
        taken.numbers.insert(numbered(1), number);
        if let Some(last) = markers.last_mut().filter(|_| number > 1) {
            last.push('_');
            last.push_str(&number.to_string());
        }
    }

    /// The keys of the object that a key stands in.
    fn keys_beside(&mut self, entry: &Entry) -> Option<&mut Keys> {
        let (parent, object) = match (entry.parent, self.source) {
            (Some(parent), _) => (Some(parent), entry.object?),
            (None, Source::Body(body)) => {
                let node = self.source.node(entry.field as usize)?;
                let object = body.document.parent(node)?;
                self.taken.entry((None, object)).or_insert_with(|| {
                    let keys = body.document.members(object);
                    let names = keys.map(|(key, _)| body.document.decoded(key).into_owned()).collect();
                    Keys { names, numbers: BTreeMap::new() }
                });
                (None, object)
            }
            (None, Source::Plain(_) | Source::Streamed { .. }) => return None,
        };
        if let Some(parent) = parent.filter(|parent| self.listed.insert(*parent)) {
            // All objects of a text at once: one pass, however many of them have masked keys.
            let children = self.texts.entry(parent as usize)?.children();
            for child in children {
                if let Some(object) = self.texts.entry(child).and_then(|child| child.object) {
                    let key = self.texts.text(self.source, child).to_owned();
                    self.taken.entry((Some(parent), object)).or_default().names.insert(key);
                }
            }
        }
        self.taken.get_mut(&(parent, object))
    }

    /// A number or literal becomes a string.
    fn number(&mut self, index: usize, entry: &Entry, span: Span) {
        let marker = quoted(&self.marker(index, &span));
        match self.mapper.up(index, span.start..span.end) {
            Some((parent, range)) => self.write(parent, range, marker, span.claim),
            None => {
                if let Some(range) = self.mapper.body(entry.field, span.start..span.end) {
                    self.push(entry.field, range, marker, span.claim);
                }
            }
        }
    }

    /// A whole text that is JSON becomes one string of JSON.
    fn whole(&mut self, index: usize, span: Span) {
        let length = self.texts.text(self.source, index).len();
        let marker = quoted(&self.marker(index, &span));
        self.write(index, 0..length, marker, span.claim);
    }

    /// What stands in the place of a span. Never blank, so that no field becomes so.
    fn marker(&self, index: usize, span: &Span) -> String {
        let mut marker = String::new();
        let matched = match span.claim.crossing {
            Some(crossing) => self.texts.joined().matched(crossing),
            None => self.texts.text(self.source, index).get(span.start..span.end).unwrap_or_default(),
        };
        let policy = self.chain.get(span.claim.policy).map(|entry| &entry.policy);
        if let Some(CompiledPolicy::Content(detector)) = policy {
            detector.replace(span.claim.rule, matched, &mut marker);
        }
        if marker.trim().is_empty() { BLANK_MARKER.to_owned() } else { marker }
    }

    /// Writes `text`, which stands in the text of an entry, through all levels into the body.
    fn write(&mut self, index: usize, range: Range<usize>, text: String, claim: Claim) {
        let (mut index, mut range, mut text) = (index, range, text);
        while let Some((parent, outer)) = self.mapper.up(index, range.clone()) {
            (index, range, text) = (parent, outer, escaped(&text));
        }
        let Some(field) = self.texts.entry(index).map(|entry| entry.field) else { return };
        if let Some(range) = self.mapper.body(field, range) {
            // A text by itself is not written as JSON around.
            let text = if matches!(self.source, Source::Body(_)) { escaped(&text) } else { text };
            self.push(field, range, text, claim);
        }
    }

    fn push(&mut self, field: u32, range: Range<usize>, text: String, claim: Claim) {
        let node = self.source.node(field as usize);
        let splice = Splice { range, text };
        let goes_on = claim.goes_on();
        self.redactions.push(Redaction { splice, policy: claim.policy, rule: claim.rule, node, goes_on });
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    escape_into(text, &mut out);
    out
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}
