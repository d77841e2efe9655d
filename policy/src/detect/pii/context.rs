//! Words that say what a number is. They count as whole words only, in any case, in several languages; the key of a
//! JSON leaf counts like a word before the text.

mod phrases;

use std::{collections::BTreeMap, sync::LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind, StartKind};

use self::phrases::PHRASES;

/// What a word speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Topic {
    Phone,
    Card,
    Cvv,
    Ssn,
    Itin,
    Passport,
    Licence,
    Bank,
    Routing,
    Nhs,
    Crypto,
    MedicalRecord,
    HealthInsurance,
    Npi,
    Mail,
    /// Numbers of other things: orders, versions, books.
    OtherNumber,
    /// What stands before the number of a release.
    Version,
}

impl Topic {
    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// The automaton over all phrases, and what each of them speaks of.
static DICTIONARY: LazyLock<Option<(AhoCorasick, Vec<u32>)>> = LazyLock::new(|| {
    // A phrase may speak of several things.
    let mut topics: BTreeMap<&str, u32> = BTreeMap::new();
    for &(topic, phrases) in PHRASES {
        for &phrase in phrases {
            *topics.entry(phrase).or_default() |= topic.bit();
        }
    }
    let automaton = AhoCorasickBuilder::new()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::LeftmostLongest)
        .kind(Some(AhoCorasickKind::DFA))
        .start_kind(StartKind::Unanchored)
        .build(topics.keys())
        .ok()?;
    Some((automaton, topics.into_values().collect()))
});

/// A word and what it speaks of.
#[derive(Debug, Clone, Copy)]
struct Mark {
    start: usize,
    end: usize,
    topics: u32,
}

/// The words of one text that speak of numbers, by place.
#[derive(Debug, Default)]
pub(super) struct Context {
    marks: Vec<Mark>,
    /// What the key that the text stands under speaks of.
    key: u32,
    /// What the first line speaks of when it looks like the head of a table.
    head: u32,
    head_end: usize,
}

impl Context {
    /// Reads `text`, which stands under `key`.
    pub(super) fn read(&mut self, text: &str, key: Option<&str>) {
        self.marks.clear();
        self.key = key.map_or(0, topics_of_key);
        let marks = &mut self.marks;
        each(text, |start, end, topics| marks.push(Mark { start, end, topics }));
        self.read_heads(text);
    }

    /// The last line before the first row that looks like the head of a table (`name,email,phone`).
    fn read_heads(&mut self, text: &str) {
        self.head = 0;
        self.head_end = 0;
        let mut start = 0;
        for line in text.split_inclusive('\n').take(64) {
            let end = start + line.len();
            let mut cells = line.split([',', '|', '\t', ';']).map(str::trim).filter(|cell| !cell.is_empty());
            // Names of columns are short; a sentence with a comma is no head.
            let short =
                cells.clone().count() >= 2 && cells.all(|cell| cell.len() <= 24 && !cell.ends_with('.'));
            if short && line.ends_with('\n') && !line.bytes().any(|byte| byte.is_ascii_digit()) {
                let topics = self.between(start, end);
                if topics != 0 {
                    self.head = topics;
                    self.head_end = end;
                    return;
                }
            }
            start = end;
        }
    }

    fn between(&self, start: usize, end: usize) -> u32 {
        let from = self.marks.partition_point(|mark| mark.start < start);
        self.marks.iter().skip(from).take_while(|mark| mark.end <= end).fold(0, |all, mark| all | mark.topics)
    }

    /// How near the nearest word on `topic` stands to the piece from `start` to `end`, in bytes: before it within
    /// `before`, or after it within `after`. The key of the leaf and the head of a table count as standing
    /// [`Context::KEY`] bytes away.
    pub(super) fn distance(
        &self,
        topic: Topic,
        start: usize,
        end: usize,
        before: usize,
        after: usize,
    ) -> Option<usize> {
        let at = self.marks.partition_point(|mark| mark.start < start);
        let left = self
            .marks
            .iter()
            .take(at)
            .rev()
            .map(|mark| (start.saturating_sub(mark.end), mark))
            .take_while(|&(distance, _)| distance <= before)
            .find(|(_, mark)| mark.topics & topic.bit() != 0)
            .map(|(distance, _)| distance);
        let right = self
            .marks
            .iter()
            .skip(at)
            .filter(|mark| mark.start >= end)
            .map(|mark| (mark.start - end, mark))
            .take_while(|&(distance, _)| distance <= after)
            .find(|(_, mark)| mark.topics & topic.bit() != 0)
            // A word after a number more often speaks of the next thing.
            .map(|(distance, _)| distance + 8);
        let fixed = (self.key & topic.bit() != 0 || (start >= self.head_end && self.head & topic.bit() != 0))
            .then_some(Self::KEY.min(before));
        [left, right, fixed].into_iter().flatten().min()
    }

    /// The ends of the words on `topic`, in order; 0 first when the key of the leaf speaks of it.
    pub(super) fn ends(&self, topic: Topic) -> impl Iterator<Item = usize> {
        let key = (self.key & topic.bit() != 0).then_some(0);
        key.into_iter()
            .chain(self.marks.iter().filter(move |mark| mark.topics & topic.bit() != 0).map(|mark| mark.end))
    }

    /// Whether a word on `topic` stands near, as in [`Context::distance`].
    pub(super) fn near(&self, topic: Topic, start: usize, end: usize, before: usize, after: usize) -> bool {
        self.distance(topic, start, end, before, after).is_some()
    }

    /// How far away the key of a leaf counts as standing.
    pub(super) const KEY: usize = 12;
}

/// Calls `found` for each phrase that stands in `text` as whole words.
fn each(text: &str, mut found: impl FnMut(usize, usize, u32)) {
    let Some((automaton, topics)) = DICTIONARY.as_ref() else { return };
    for hit in automaton.find_iter(text) {
        let apart = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() && !is_unspaced(c));
        let before = text.get(..hit.start()).and_then(|rest| rest.chars().next_back());
        let after = text.get(hit.end()..).and_then(|rest| rest.chars().next());
        if apart(before) && apart(after) {
            found(hit.start(), hit.end(), topics.get(hit.pattern().as_usize()).copied().unwrap_or(0));
        }
    }
}

/// Scripts that do not set words apart, where a word may stand anywhere.
fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x0e00..=0x0eff | 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff)
}

/// What a key speaks of: `customerPhone`, `phone_number` and `Phone number` alike.
fn topics_of_key(key: &str) -> u32 {
    let mut spaced = String::with_capacity(key.len() + 8);
    let mut lower = false;
    for c in key.chars().take(128) {
        if c.is_uppercase() && lower {
            spaced.push(' ');
        }
        lower = c.is_lowercase();
        spaced.push(if c.is_alphanumeric() { c } else { ' ' });
    }
    let mut all = 0;
    each(&spaced, |_, _, topics| all |= topics);
    all
}
