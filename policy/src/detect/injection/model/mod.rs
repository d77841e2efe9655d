//! The trained model: a linear score over hashed features of a window of segments. `kt-training` makes its file.
//!
//! The weights of a segment add up, so every window costs the same: the sums of its segments, divided by the root of
//! how many features they have. Reading is one pass; sums are integers, the rest is IEEE arithmetic without library
//! functions, so every machine comes to the same score.

mod features;

use std::sync::LazyLock;

use self::features::{BITS, Sink};
use super::{
    engine::{Idea, Match},
    tokens::Tokens,
};

/// A window has so many segments.
pub const SCALES: [usize; 4] = [1, 2, 4, 12];

/// How many weights there are.
pub const WEIGHTS: usize = 1 << BITS;

/// Windows of several segments that are less likely than this are no evidence; a segment always is.
const FLOOR: f32 = 0.2;

const MAGIC: &[u8; 6] = b"KTINJ1";

/// The file that the detector embeds.
static FILE: &[u8] = include_bytes!("injection.bin");

/// The model; `None` cannot be (a test reads it), and is reported as a problem of the pack if it is.
pub(super) static MODEL: LazyLock<Option<Model>> = LazyLock::new(|| Model::read(FILE));

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What one unit of a weight is worth.
    pub unit: f32,
    /// What a window of each of [`SCALES`] starts from.
    pub bias: [f32; SCALES.len()],
    /// By the place of the feature; [`WEIGHTS`] of them.
    pub weights: Vec<i8>,
}

impl Model {
    /// Reads a file that [`write`](Self::write) wrote; `None` if it is none.
    pub fn read(file: &[u8]) -> Option<Self> {
        let (magic, rest) = file.split_first_chunk::<6>()?;
        let (unit, mut rest) = rest.split_first_chunk::<4>()?;
        let mut bias = [0.0; SCALES.len()];
        for slot in &mut bias {
            let (bytes, after) = rest.split_first_chunk::<4>()?;
            *slot = f32::from_le_bytes(*bytes);
            rest = after;
        }
        let unit = f32::from_le_bytes(*unit);
        let sound = magic == MAGIC
            && rest.len() == WEIGHTS
            && unit.is_finite()
            && bias.iter().all(|bias| bias.is_finite());
        sound.then(|| Self {
            unit,
            bias,
            weights: rest.iter().map(|byte| i8::from_le_bytes([*byte])).collect(),
        })
    }

    /// The file of this model: a name, the unit, the biases, the weights; numbers in little endian.
    pub fn write(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(MAGIC.len() + 4 + 4 * SCALES.len() + self.weights.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&self.unit.to_le_bytes());
        self.bias.iter().for_each(|bias| file.extend_from_slice(&bias.to_le_bytes()));
        file.extend(self.weights.iter().map(|weight| weight.to_le_bytes()[0]));
        file
    }
}

/// The lengths of the windows of a text of `segments`, and their places in [`SCALES`]: a text that is shorter than a
/// scale is one window of it.
pub fn lengths(segments: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut shorter = 0;
    SCALES.iter().zip(0..).filter_map(move |(&length, scale)| {
        let length = length.min(segments);
        let longer = length > shorter;
        shorter = length;
        longer.then_some((length, scale))
    })
}

/// How likely a logit is, 0 to 1, in arithmetic that is the same everywhere.
pub fn likelihood(logit: f32) -> f32 {
    0.5 + 0.5 * logit / (1.0 + logit.abs())
}

/// A window that the model objects to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Suspicion {
    /// First and last word.
    pub first: usize,
    pub last: usize,
    /// How likely it is an attempt.
    pub score: f32,
}

/// Working memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    segments: Vec<Segment>,
    pub suspicions: Vec<Suspicion>,
    /// By segment: whether a window that reaches the threshold has it already.
    reported: Vec<bool>,
}

/// A segment, and what all segments to its end add up to.
#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    first: usize,
    last: usize,
    sum: i64,
    features: u32,
}

struct Adding<'a> {
    weights: &'a [i8],
    sum: i64,
    features: u32,
    segments: &'a mut Vec<Segment>,
}

impl Sink for Adding<'_> {
    fn feature(&mut self, _: usize, place: u32) {
        self.sum += i64::from(self.weights.get(place as usize).copied().unwrap_or(0));
        self.features += 1;
    }

    fn end(&mut self, first: usize, last: usize) {
        self.segments.push(Segment { first, last, sum: self.sum, features: self.features });
    }
}

impl Model {
    /// Leaves in `memory` what it says of each segment and of the longer windows that are suspicious; of windows of one
    /// length that overlap the most suspicious, and none around a shorter one that reaches `threshold`.
    pub(super) fn judge(
        &self,
        tokens: &Tokens,
        ideas: &[Idea],
        matches: &[Match],
        counts: impl Fn(usize) -> bool,
        threshold: f32,
        memory: &mut Memory,
    ) {
        memory.suspicions.clear();
        memory.segments.clear();
        memory.reported.clear();
        features::read(
            tokens,
            ideas,
            matches,
            counts,
            &mut Adding { weights: &self.weights, sum: 0, features: 0, segments: &mut memory.segments },
        );
        memory.reported.resize(memory.segments.len(), false);
        for (length, scale) in lengths(memory.segments.len()) {
            let bias = self.bias.get(scale).copied().unwrap_or_default();
            // The first window that may be reported at this scale.
            let mut free = 0;
            for end in length..=memory.segments.len() {
                let begin = end - length;
                if begin < free {
                    continue;
                }
                let score = self.window(&memory.segments, begin, end, bias);
                if length > 1 && score < FLOOR {
                    continue;
                }
                // The shortest window that tells is the one to cut out.
                let reported = memory.reported.get(begin..end).unwrap_or_default();
                if reported.contains(&true) {
                    continue;
                }
                // The best window of those that overlap is the one to report.
                let later = (end + 1..=(end + length - 1).min(memory.segments.len()))
                    .map(|end| self.window(&memory.segments, end - length, end, bias));
                if later.fold(0.0, f32::max) > score {
                    continue;
                }
                free = end;
                if score >= threshold {
                    memory.reported.get_mut(begin..end).unwrap_or_default().fill(true);
                }
                let (Some(head), Some(tail)) = (memory.segments.get(begin), memory.segments.get(end - 1))
                else {
                    continue;
                };
                memory.suspicions.push(Suspicion { first: head.first, last: tail.last, score });
            }
        }
    }

    fn window(&self, segments: &[Segment], begin: usize, end: usize, bias: f32) -> f32 {
        let until =
            |end: usize| end.checked_sub(1).and_then(|last| segments.get(last)).copied().unwrap_or_default();
        let (from, to) = (until(begin), until(end));
        let features = to.features - from.features;
        #[expect(clippy::cast_precision_loss, reason = "a score, the same on every machine")]
        let logit = bias + self.unit * (to.sum - from.sum) as f32 / (features.max(1) as f32).sqrt();
        likelihood(logit)
    }
}

/// Adds up what each word weighs.
struct Weighing<'a> {
    weights: &'a [i8],
    words: Vec<i64>,
}

impl Sink for Weighing<'_> {
    fn feature(&mut self, at: usize, place: u32) {
        if let Some(word) = self.words.get_mut(at) {
            *word += i64::from(self.weights.get(place as usize).copied().unwrap_or(0));
        }
    }

    fn end(&mut self, _: usize, _: usize) {}
}

impl Model {
    /// What each word of `tokens` weighs with the words before it.
    pub(super) fn weigh(
        &self,
        tokens: &Tokens,
        ideas: &[Idea],
        matches: &[Match],
        counts: impl Fn(usize) -> bool,
    ) -> Vec<i64> {
        let mut weighing = Weighing { weights: &self.weights, words: vec![0; tokens.list.len()] };
        features::read(tokens, ideas, matches, counts, &mut weighing);
        weighing.words
    }
}

/// One way in which a text is read, for training: by segment, the places of its features.
pub type ViewFeatures = Vec<Vec<u32>>;

#[derive(Default)]
struct Collecting {
    open: Vec<u32>,
    segments: ViewFeatures,
}

impl Sink for Collecting {
    fn feature(&mut self, _: usize, place: u32) {
        self.open.push(place);
    }

    fn end(&mut self, _: usize, _: usize) {
        self.segments.push(std::mem::take(&mut self.open));
    }
}

/// The features that [`Model::judge`] adds up.
pub(super) fn features(tokens: &Tokens, ideas: &[Idea], matches: &[Match]) -> ViewFeatures {
    let mut collecting = Collecting::default();
    features::read(tokens, ideas, matches, |_| true, &mut collecting);
    collecting.segments
}

#[cfg(test)]
mod tests;
