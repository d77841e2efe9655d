//! From matches to windows: sentences that stand together, and how likely what they say together is an attempt.

use std::ops::Range;

use super::{
    engine::Match,
    rules::{FAMILIES, Family, MODEL_ENTRY, RULES},
    tokens::Tokens,
};

/// A window is at most this many sentences with matches.
const WINDOW_SENTENCES: usize = 3;

/// Sentences further apart than this, in half words, do not stand together.
const WINDOW_REACH: u32 = 110;

/// What one text has said so far.
#[derive(Debug, Clone, Copy)]
struct Evidence {
    families: [f32; FAMILIES],
    /// The strongest match of a rule: its weight and its rule.
    strongest: (f32, usize),
    /// What the model says, when it was asked.
    model: Option<f32>,
    /// What counts beside the model.
    certain: f32,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { families: [0.0; FAMILIES], strongest: (0.0, 0), model: None, certain: 0.0 }
    }
}

impl Evidence {
    fn add(&mut self, family: Family, weight: f32, rule: usize) {
        if rule == MODEL_ENTRY {
            self.model = Some(self.model.map_or(weight, |model| model.max(weight)));
            return;
        }
        if let Some(slot) = self.families.get_mut(family as usize) {
            *slot = slot.max(weight);
        }
        // What was found by how it was hidden is certain too: the model sees words only.
        if matches!(family, Family::Encoded | Family::Hidden)
            || RULES.get(rule).is_some_and(|rule| rule.certain)
        {
            self.certain = self.certain.max(weight);
        }
        if weight > self.strongest.0 {
            self.strongest = (weight, rule);
        }
    }

    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.families.iter_mut().zip(other.families) {
            *mine = mine.max(theirs);
        }
        if other.strongest.0 > self.strongest.0 {
            self.strongest = other.strongest;
        }
        self.certain = self.certain.max(other.certain);
        self.model = match (self.model, other.model) {
            (Some(mine), Some(theirs)) => Some(mine.max(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// The model has read what the rules found and weighs it; only what is certain counts beside it. Without the model,
    /// independent kinds of evidence make each other more likely.
    fn score(&self) -> f32 {
        self.model.map_or_else(|| self.rules(), |model| model.max(self.certain))
    }

    fn rules(&self) -> f32 {
        1.0 - self.families.iter().map(|weight| 1.0 - weight).product::<f32>()
    }

    /// What a finding is named by: the strongest rule when the rules find it too, else the model.
    fn name(&self, threshold: f32) -> usize {
        if self.model.is_some() && self.rules() < threshold { MODEL_ENTRY } else { self.strongest.1 }
    }
}

/// The matches of one sentence.
#[derive(Debug, Clone, Copy)]
struct Group {
    sentence: u32,
    pos: u32,
    /// The last word of the last match; it may stand in a later sentence.
    last: usize,
    enforced: Evidence,
    all: Evidence,
}

/// A window that counts.
#[derive(Debug, Clone)]
pub(super) struct Window {
    /// In the canonical text.
    pub span: Range<usize>,
    /// Index into the rule table.
    pub rule: usize,
    pub score: f32,
}

/// Working memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    groups: Vec<Group>,
    pub windows: Vec<Window>,
}

/// The best window of a text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Best {
    /// With every rule that is not off.
    pub score: f32,
    /// With the rules that act.
    pub enforced: f32,
    /// The strongest rule of the best window, and of the best window of rules that act.
    pub rule: usize,
    pub enforced_rule: usize,
}

/// Judges `matches`; windows of `threshold` or more are left in `memory`. `acts` says of a rule whether it acts (or is
/// only observed).
pub(super) fn judge(
    tokens: &Tokens,
    matches: &mut [Match],
    acts: impl Fn(usize) -> bool,
    threshold: f32,
    memory: &mut Memory,
) -> Best {
    memory.groups.clear();
    memory.windows.clear();
    matches.sort_unstable_by_key(|found| (found.first, found.last, found.rule));
    for found in matches.iter() {
        let Some(head) = tokens.list.get(found.first) else { continue };
        if memory.groups.last().is_none_or(|group| group.sentence != head.sentence) {
            memory.groups.push(Group {
                sentence: head.sentence,
                pos: head.pos,
                last: found.last,
                enforced: Evidence::default(),
                all: Evidence::default(),
            });
        }
        let Some(group) = memory.groups.last_mut() else { continue };
        group.last = group.last.max(found.last);
        group.all.add(found.family, found.weight, found.rule);
        if acts(found.rule) {
            group.enforced.add(found.family, found.weight, found.rule);
        }
    }
    let mut best = Best::default();
    for from in 0..memory.groups.len() {
        let Some(first) = memory.groups.get(from).copied() else { break };
        let (mut all, mut enforced) = (Evidence::default(), Evidence::default());
        // The same without the first sentence: a window that counts without it is reported without it.
        let (mut rest_all, mut rest_enforced) = (Evidence::default(), Evidence::default());
        let mut reported = false;
        let mut last = first.last;
        for to in from..(from + WINDOW_SENTENCES).min(memory.groups.len()) {
            let Some(group) = memory.groups.get(to) else { break };
            if group.pos.saturating_sub(first.pos) > WINDOW_REACH {
                break;
            }
            all.join(&group.all);
            enforced.join(&group.enforced);
            last = last.max(group.last);
            if to > from {
                rest_all.join(&group.all);
                rest_enforced.join(&group.enforced);
            }
            let (score, sure) = (all.score(), enforced.score());
            if score > best.score {
                best.score = score;
                best.rule = all.name(threshold);
            }
            if sure > best.enforced {
                best.enforced = sure;
                best.enforced_rule = enforced.name(threshold);
            }
            let acting = sure >= threshold;
            if reported || !(acting || score >= threshold) {
                continue;
            }
            reported = true;
            let covered =
                if acting { rest_enforced.score() >= threshold } else { rest_all.score() >= threshold };
            if covered {
                continue;
            }
            let (score, rule) =
                if acting { (sure, enforced.name(threshold)) } else { (score, all.name(threshold)) };
            let span = span(tokens, first.sentence, last);
            if !span.is_empty() {
                memory.windows.push(Window { span, rule, score });
            }
        }
    }
    best
}

/// From the beginning of a sentence to the end of the sentence of a word, in the canonical text.
fn span(tokens: &Tokens, sentence: u32, last: usize) -> Range<usize> {
    let from = tokens.list.partition_point(|token| token.sentence < sentence);
    let until = tokens.list.get(last).map_or(sentence, |token| token.sentence);
    let to = tokens.list.partition_point(|token| token.sentence <= until);
    let words = tokens.list.get(from..to).unwrap_or_default();
    // Read backwards, the first word is the last one.
    let start = words.iter().map(|token| token.start).min().unwrap_or(0);
    let end = words.iter().map(|token| token.end).max().unwrap_or(0);
    start as usize..end as usize
}

impl Best {
    /// The better of two, for each of its parts.
    pub(super) fn max(self, other: Self) -> Self {
        let (score, rule) =
            if other.score > self.score { (other.score, other.rule) } else { (self.score, self.rule) };
        let (enforced, enforced_rule) = if other.enforced > self.enforced {
            (other.enforced, other.enforced_rule)
        } else {
            (self.enforced, self.enforced_rule)
        };
        Self { score, enforced, rule, enforced_rule }
    }
}
