//! Texts that were sent in pieces: the parts of one message, which the model reads as one text.
//!
//! Each part is judged by itself, as every text is; what was cut at the border of two parts is found only in the
//! joined text, so that is read too. A hit that lies over a border is split into one for each part that it touches: the
//! marker stands in the first, and what the others hold of it is taken out. Parts are joined without a separator: with
//! one in between, no secret would be whole again.
//!
//! Only messages with two parts or more are joined, each once, so a request costs at most twice what it did.

use std::{collections::BTreeMap, ops::Range};

use super::{Effect, content::Found, texts::Source};
use crate::{
    request::in_pieces,
    verdict::{PolicyKind, Verdict},
};

/// The part of a joined text that a hit was found at, and whether this is its first piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crossing {
    group: usize,
    start: usize,
    end: usize,
    pub(super) is_first: bool,
}

/// A field in its joined text.
#[derive(Debug, Clone, Copy)]
struct Placed {
    field: usize,
    start: usize,
    end: usize,
}

#[derive(Debug)]
struct Group {
    text: Range<usize>,
    placed: Range<usize>,
}

/// The joined texts of one request, and the memory for the next.
#[derive(Default)]
pub(super) struct Joined {
    buffer: String,
    placed: Vec<Placed>,
    groups: Vec<Group>,
}

impl std::fmt::Debug for Joined {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined").field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

impl Joined {
    /// Forgets the texts, and gives memory beyond so many bytes and pieces back.
    pub(super) fn clear(&mut self, bytes: usize, pieces: usize) {
        self.buffer.clear();
        self.placed.clear();
        self.groups.clear();
        self.buffer.shrink_to(bytes);
        self.placed.shrink_to(pieces);
        self.groups.shrink_to(pieces);
    }

    /// Joins what `source` has in pieces.
    pub(super) fn fill(&mut self, source: Source<'_>) {
        self.buffer.clear();
        self.placed.clear();
        self.groups.clear();
        let Source::Body(body) = source else { return };
        for pieces in in_pieces(body.pieces) {
            let (text, first) = (self.buffer.len(), self.placed.len());
            for piece in pieces {
                let start = self.buffer.len() - text;
                self.buffer.push_str(source.text(piece.field));
                let end = self.buffer.len() - text;
                self.placed.push(Placed { field: piece.field, start, end });
            }
            self.groups.push(Group { text: text..self.buffer.len(), placed: first..self.placed.len() });
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn text(&self, group: usize) -> &str {
        self.groups.get(group).and_then(|group| self.buffer.get(group.text.clone())).unwrap_or_default()
    }

    /// The whole of what a piece was found in.
    pub(super) fn matched(&self, crossing: Crossing) -> &str {
        self.text(crossing.group).get(crossing.start..crossing.end).unwrap_or_default()
    }

    fn placed(&self, group: usize) -> &[Placed] {
        self.groups.get(group).and_then(|group| self.placed.get(group.placed.clone())).unwrap_or_default()
    }

    /// The field that a joined text begins with.
    pub(super) fn first_field(&self, group: usize) -> usize {
        self.placed(group).first().map_or(0, |placed| placed.field)
    }

    /// Splits a hit in a joined text at the borders of its parts, and adds what is not in `alone`. Hits come in the
    /// order of their starts; `reached` is how far those before have come.
    pub(super) fn split(
        &self,
        group: usize,
        hit: Found,
        policy: PolicyKind,
        alone: &Alone,
        reached: &mut Reached,
        found: &mut Vec<Found>,
    ) {
        let placed = self.placed(group);
        let first = placed.partition_point(|placed| placed.end <= hit.start);
        let count = placed.get(first..).unwrap_or_default().partition_point(|placed| placed.start < hit.end);
        let touched = placed.get(first..first + count).unwrap_or_default();
        let crossing = |at| Crossing { group, start: hit.start, end: hit.end, is_first: at == 0 };
        let pieces = || {
            touched.iter().enumerate().map(|(at, placed)| Found {
                entry: placed.field,
                start: hit.start.max(placed.start) - placed.start,
                end: hit.end.min(placed.end) - placed.start,
                crossing: (count > 1).then(|| crossing(at)),
                ..hit
            })
        };
        if count <= MOST_COMPARED {
            let known = pieces().filter(|piece| alone.covers(piece)).count();
            // A name or an address that ends with its part only seems to go on in the next. Of a secret or an
            // instruction more may do so, and all of it counts.
            let only_longer = policy == PolicyKind::PiiDetector && known > 0;
            if known == count || only_longer {
                return;
            }
        }
        // What lies between first and last piece and is taken out already needs no piece of every other hit.
        let reached = reached.0.entry((hit.verdict, hit.effect)).or_insert(0);
        let taken = placed.partition_point(|placed| placed.end <= *reached).saturating_sub(first);
        let last = count.saturating_sub(1);
        found.extend(pieces().take(1));
        found.extend(pieces().skip(taken.max(1).min(last.max(1))));
        *reached = hit.end.max(*reached);
    }
}

/// Hits over more parts are not compared with what was found in each.
const MOST_COMPARED: usize = 8;

/// How far hits over borders have come, by what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Reached(BTreeMap<(Verdict, Effect), usize>);

/// What one policy found in texts by themselves, by text and rule: where, in order, and the furthest end so far.
#[derive(Debug, Default)]
pub(super) struct Alone(BTreeMap<(usize, u32), Vec<(usize, usize)>>);

impl Alone {
    pub(super) fn new(found: &[Found]) -> Self {
        let mut spans: BTreeMap<(usize, u32), Vec<(usize, usize)>> = BTreeMap::new();
        for hit in found {
            spans.entry((hit.entry, hit.rule)).or_default().push((hit.start, hit.end));
        }
        for spans in spans.values_mut() {
            spans.sort_unstable();
            let mut furthest = 0;
            for (_, end) in spans {
                furthest = furthest.max(*end);
                *end = furthest;
            }
        }
        Self(spans)
    }

    fn covers(&self, hit: &Found) -> bool {
        let Some(spans) = self.0.get(&(hit.entry, hit.rule)) else { return false };
        let before = spans.partition_point(|(start, _)| *start <= hit.start);
        before.checked_sub(1).and_then(|at| spans.get(at)).is_some_and(|(_, end)| *end >= hit.end)
    }
}
