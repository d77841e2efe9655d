//! What the model sees of a text: hashed features of its words and of the ideas that they express, by segments.
//!
//! Training and serving read by this code only, so they cannot differ. Everything is integer arithmetic.

use super::super::{
    concept::Concept,
    engine::{Idea, Match},
    tokens::Tokens,
};

/// The table of weights has two to the power of this many places.
pub(super) const BITS: u32 = 18;

/// A segment has at most this many words; longer sentences are several.
const SEGMENT_WORDS: usize = 24;

/// A longer word is not told apart from other long ones.
const LONG_WORD: usize = 24;

/// So many letters of a word stand for its stem.
const STEM_LETTERS: usize = 5;

/// Each idea is paired with so many before it in its sentence.
const PAIRED: usize = 4;

/// Takes what is read.
pub(super) trait Sink {
    /// A feature of the segment that comes to its end next; it became complete with the word `at`.
    fn feature(&mut self, at: usize, place: u32);
    /// The words `first..=last` are a segment.
    fn end(&mut self, first: usize, last: usize);
}

/// Kinds of features, so that equal words in other roles are others.
#[derive(Clone, Copy)]
enum Kind {
    Word = 1,
    Pair,
    Skip,
    Stem,
    StemPair,
    Lead,
    Idea,
    IdeaPair,
    IdeaAtLead,
    Rule,
    Family,
}

/// A match is told apart from weaker and stronger ones of its family in steps of this.
const STEPS: f32 = 8.0;

/// Reads `tokens`, in which `ideas` and `matches` were found, both in the order of their last words; of the
/// matches only those of rules that count.
pub(super) fn read(
    tokens: &Tokens,
    ideas: &[Idea],
    matches: &[Match],
    counts: impl Fn(usize) -> bool,
    sink: &mut impl Sink,
) {
    let mut matches = matches.iter().filter(|found| counts(found.rule)).peekable();
    let mut ideas = ideas.iter().peekable();
    // The ideas before this one in the sentence, the latest first.
    let mut before: [Option<Concept>; PAIRED] = [None; PAIRED];
    // The words before this one in the sentence, the latest first.
    let mut previous: [Option<Word>; 2] = [None; 2];
    let mut first = 0;
    for (at, token) in tokens.list.iter().enumerate() {
        let other_sentence =
            at > 0 && tokens.list.get(at - 1).is_some_and(|earlier| earlier.sentence != token.sentence);
        if other_sentence {
            before = [None; PAIRED];
            previous = [None; 2];
        }
        if at > first && (other_sentence || at - first >= SEGMENT_WORDS) {
            sink.end(first, at - 1);
            first = at;
        }
        let word = Word::of(tokens.word(at));
        sink.feature(at, place(Kind::Word, word.whole, 0));
        if word.stem != word.whole {
            sink.feature(at, place(Kind::Stem, word.stem, 0));
        }
        if token.leads {
            sink.feature(at, place(Kind::Lead, word.stem, 0));
        }
        let [one, two] = previous;
        if let Some(one) = one {
            sink.feature(at, place(Kind::Pair, one.whole, word.whole));
            if one.stem != one.whole || word.stem != word.whole {
                sink.feature(at, place(Kind::StemPair, one.stem, word.stem));
            }
        }
        if let Some(two) = two {
            sink.feature(at, place(Kind::Skip, two.stem, word.stem));
        }
        previous = [Some(word), one];
        while let Some(idea) = ideas.next_if(|idea| idea.last <= at) {
            let concept = u64::from(idea.concept as u8);
            sink.feature(at, place(Kind::Idea, concept, 0));
            if tokens.list.get(idea.first).is_some_and(|head| head.leads) {
                sink.feature(at, place(Kind::IdeaAtLead, concept, 0));
            }
            for earlier in before.into_iter().flatten() {
                sink.feature(at, place(Kind::IdeaPair, u64::from(earlier as u8), concept));
            }
            before.rotate_right(1);
            if let Some(slot) = before.first_mut() {
                *slot = Some(idea.concept);
            }
        }
        while let Some(found) = matches.next_if(|found| found.last <= at) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a weight, 0 to 1")]
            let step = (found.weight * STEPS) as u64;
            sink.feature(at, place(Kind::Rule, found.rule as u64, step));
            sink.feature(at, place(Kind::Family, found.family as u64, step));
        }
    }
    if tokens.list.len() > first {
        sink.end(first, tokens.list.len() - 1);
    }
}

/// A word as numbers.
#[derive(Debug, Clone, Copy)]
struct Word {
    whole: u64,
    stem: u64,
}

impl Word {
    fn of(word: &str) -> Self {
        const NUMBER: Word = Word { whole: 1, stem: 1 };
        const LONG: Word = Word { whole: 2, stem: 2 };
        if word.bytes().all(|byte| byte.is_ascii_digit()) {
            return NUMBER;
        }
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let (mut letters, mut stem) = (0, None);
        for byte in word.bytes() {
            if byte & 0xc0 != 0x80 {
                if letters == STEM_LETTERS {
                    stem = Some(hash);
                }
                letters += 1;
                if letters > LONG_WORD {
                    return LONG;
                }
            }
            // As leetspeak is read, `l` cannot be told from `i`.
            let byte = if byte == b'l' { b'i' } else { byte };
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self { whole: hash, stem: stem.unwrap_or(hash) }
    }
}

/// The place of a feature in the table.
fn place(kind: Kind, one: u64, other: u64) -> u32 {
    let mixed = (one ^ (kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_mul(0xff51_afd7_ed55_8ccd)
        .rotate_left(29)
        .wrapping_add(other.wrapping_mul(0xc4ce_b9fe_1a85_ec53))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u32::try_from((mixed ^ (mixed >> 31)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> (64 - BITS)).unwrap_or(0)
}
