//! What a model is worth on a set of texts.

use std::io::{self, Write};

use kt_policy::detect::injection::model::Model;

use super::{examples::Example, train::score};

/// A table of figures, a row a set.
#[derive(Debug)]
pub struct Table<'a, W> {
    out: W,
    model: &'a Model,
}

/// Recall where so many harmless texts are findings, and what happens at the threshold of 0.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// How many attempts there are.
    pub attacks: usize,
    /// How many harmless texts.
    pub harmless: usize,
    /// Share of the attempts found where 1 % of the harmless texts are findings.
    pub recall_at_1: f64,
    /// The same where 0.1 % are.
    pub recall_at_01: f64,
    /// Share of the attempts found at 0.5.
    pub recall: f64,
    /// Share of the harmless texts that are findings at 0.5.
    pub false_positives: f64,
}

/// Measures `model` on `set`.
pub fn figures<'e>(model: &Model, set: impl IntoIterator<Item = &'e Example>) -> Figures {
    let (mut attacks, mut harmless) = (Vec::new(), Vec::new());
    for example in set {
        if example.attack { &mut attacks } else { &mut harmless }.push(score(model, example));
    }
    for scores in [&mut attacks, &mut harmless] {
        scores.sort_by(|one: &f32, other| other.total_cmp(one));
    }
    let above =
        |scores: &[f32], limit: f32| share(scores.partition_point(|&score| score > limit), scores.len());
    let limit =
        |per_thousand: usize| harmless.get(harmless.len() * per_thousand / 1000).copied().unwrap_or(0.0);
    let threshold = 0.5_f32.next_down();
    Figures {
        attacks: attacks.len(),
        harmless: harmless.len(),
        recall_at_1: above(&attacks, limit(10)),
        recall_at_01: above(&attacks, limit(1)),
        recall: above(&attacks, threshold),
        false_positives: above(&harmless, threshold),
    }
}

fn share(part: usize, whole: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    number(part) / number(whole.max(1))
}

impl<'a, W: Write> Table<'a, W> {
    /// Begins a table with its heading.
    pub fn new(mut out: W, model: &'a Model) -> io::Result<Self> {
        writeln!(
            out,
            "{:24} {:>7} {:>8} {:>9} {:>11} {:>8} {:>8}",
            "set", "attacks", "harmless", "r at 1 %", "r at 0.1 %", "recall", "FPR"
        )?;
        Ok(Self { out, model })
    }

    /// Adds the figures of `set`.
    pub fn row<'e>(&mut self, name: &str, set: impl IntoIterator<Item = &'e Example>) -> io::Result<()> {
        let Figures { attacks, harmless, recall_at_1, recall_at_01, recall, false_positives } =
            figures(self.model, set);
        writeln!(
            self.out,
            "{name:24} {attacks:7} {harmless:8} {recall_at_1:9.3} {recall_at_01:11.3} {recall:8.3} {false_positives:8.4}"
        )
    }
}
