//! Training: logistic regression on the most suspicious window of each text.
//!
//! An attempt is one sentence somewhere in a text, and nobody says which: of an attempt the window that the model
//! finds most suspicious is the one to learn from, of a harmless text too, because that is the one that would be
//! reported. Steps are those of Adagrad, in the order that the seed gives.

use kt_policy::detect::injection::model::{Model, SCALES, WEIGHTS, lengths, likelihood};

use super::examples::Example;
use crate::dice::Dice;

/// Texts of so many segments are short.
const SHORT: usize = 3;

/// How a training goes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Seed of the order of the texts.
    pub seed: u64,
    /// How often each text is learnt from.
    pub epochs: u32,
    /// Step of Adagrad.
    pub rate: f64,
    /// Pull towards zero at each step.
    pub decay: f64,
    /// The share of harmless texts of the kinds that were not learnt from that may be findings at 0.5.
    pub false_positives: f64,
    /// The share of features that a step leaves out.
    pub leave_out: f64,
    /// What a harmless text weighs against an attempt.
    pub caution: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 8,
            rate: 0.08,
            decay: 1e-6,
            false_positives: 0.05,
            leave_out: 0.5,
            caution: 5.0,
        }
    }
}

/// A model while it is made.
#[derive(Debug)]
struct Weights {
    weights: Vec<f64>,
    squares: Vec<f64>,
    bias: [f64; SCALES.len()],
    bias_squares: [f64; SCALES.len()],
}

/// A window of a text.
#[derive(Debug, Clone, Copy)]
struct Window {
    view: usize,
    begin: usize,
    end: usize,
    scale: usize,
    logit: f64,
}

/// The most suspicious window of a text, the first of equals; a feature without a weight adds nothing.
fn worst(
    example: &Example,
    bias: &[f64; SCALES.len()],
    weight: impl Fn(u32) -> Option<f64>,
) -> Option<Window> {
    let mut worst: Option<Window> = None;
    for (view, segments) in example.views.iter().enumerate() {
        let mut sums = vec![(0.0, 0_u32)];
        for segment in segments {
            let (sum, count) = sums.last().copied().unwrap_or_default();
            let own: f64 = segment.iter().filter_map(|&place| weight(place)).sum();
            sums.push((sum + own, count + u32::try_from(segment.len()).unwrap_or(0)));
        }
        for (length, scale) in lengths(segments.len()) {
            let bias = bias.get(scale).copied().unwrap_or_default();
            for (begin, (from, to)) in sums.iter().zip(sums.iter().skip(length)).enumerate() {
                let logit = bias + (to.0 - from.0) / f64::from((to.1 - from.1).max(1)).sqrt();
                if worst.is_none_or(|worst| logit > worst.logit) {
                    worst = Some(Window { view, begin, end: begin + length, scale, logit });
                }
            }
        }
    }
    worst
}

impl Weights {
    fn new() -> Self {
        Self {
            weights: vec![0.0; WEIGHTS],
            squares: vec![1e-4; WEIGHTS],
            bias: [-1.0; SCALES.len()],
            bias_squares: [1e-4; SCALES.len()],
        }
    }

    fn worst(&self, example: &Example) -> Option<Window> {
        worst(example, &self.bias, |place| self.weights.get(place as usize).copied())
    }

    /// One step: `wanted` is what the window should have been said to be.
    fn step(
        &mut self,
        example: &Example,
        window: Window,
        wanted: f64,
        importance: f64,
        settings: &Settings,
        dice: &mut Dice,
    ) {
        let error = (sigmoid(window.logit) - wanted) * importance;
        if let (Some(bias), Some(square)) =
            (self.bias.get_mut(window.scale), self.bias_squares.get_mut(window.scale))
        {
            *square += error * error;
            *bias -= settings.rate * error / square.sqrt();
        }
        let Some(segments) =
            example.views.get(window.view).and_then(|view| view.get(window.begin..window.end))
        else {
            return;
        };
        let features: usize = segments.iter().map(Vec::len).sum();
        let slope = error / f64::from(u32::try_from(features.max(1)).unwrap_or(1)).sqrt();
        for &place in segments.iter().flatten() {
            // Leaving features out makes the others carry what they can: unseen wordings lack most of them.
            if dice.chance(settings.leave_out) {
                continue;
            }
            let (Some(weight), Some(square)) =
                (self.weights.get_mut(place as usize), self.squares.get_mut(place as usize))
            else {
                continue;
            };
            let gradient = slope + settings.decay * *weight;
            *square += gradient * gradient;
            *weight -= settings.rate * gradient / square.sqrt();
        }
    }

    /// As the detector reads it, with `shift` added to each bias.
    fn model(&self, shift: f64) -> Model {
        let mut sizes: Vec<f64> =
            self.weights.iter().map(|weight| weight.abs()).filter(|&weight| weight > 0.0).collect();
        sizes.sort_by(f64::total_cmp);
        // The few largest are cut, so that the others keep their differences.
        let largest = sizes.get(sizes.len().saturating_sub(1 + sizes.len() / 2000)).copied().unwrap_or(1.0);
        let unit = largest / 127.0;
        #[expect(clippy::cast_possible_truncation, reason = "rounding is what is meant")]
        Model {
            unit: unit as f32,
            bias: self.bias.map(|bias| (bias + shift) as f32),
            weights: self
                .weights
                .iter()
                .map(|weight| (weight / unit).round().clamp(-127.0, 127.0) as i8)
                .collect(),
        }
    }
}

/// Trains on `examples`; `calibration` are texts of which it learns nothing but where the threshold lies.
pub fn train(examples: &[Example], calibration: &[Example], settings: &Settings) -> Model {
    let mut dice = Dice::new(settings.seed);
    let mut weights = Weights::new();
    let attacks = examples.iter().filter(|example| example.attack).count().max(1);
    let balance = f64::from(u32::try_from(examples.len() - attacks).unwrap_or(1))
        / f64::from(u32::try_from(attacks).unwrap_or(1));
    let mut order: Vec<usize> = (0..examples.len()).collect();
    for epoch in 0..settings.epochs {
        dice.shuffle(&mut order);
        for example in order.iter().filter_map(|&at| examples.get(at)) {
            if example.attack {
                // Where the attempt stands in a long text is not known before short ones have been learnt from.
                let short = example.views.iter().all(|view| view.len() <= SHORT);
                let window = weights.worst(example).filter(|_| short || epoch > 0);
                if let Some(window) = window {
                    weights.step(
                        example,
                        window,
                        1.0,
                        (balance / settings.caution).min(8.0),
                        settings,
                        &mut dice,
                    );
                }
            } else if let Some(window) = weights.worst(example) {
                weights.step(example, window, 0.0, 1.0, settings, &mut dice);
            }
        }
    }
    let mut harmless: Vec<f64> = calibration
        .iter()
        .filter(|example| !example.attack)
        .filter_map(|example| weights.worst(example))
        .map(|window| window.logit)
        .collect();
    harmless.sort_by(f64::total_cmp);
    let allowed = harmless.iter().zip(1_u32..).filter(|&(_, place)| {
        f64::from(place)
            > (1.0 - settings.false_positives) * f64::from(u32::try_from(harmless.len()).unwrap_or(1))
    });
    let limit = allowed.map(|(&logit, _)| logit).next().unwrap_or(0.0);
    weights.model(-limit)
}

/// What the model says of a text, 0 to 1.
pub fn score(model: &Model, example: &Example) -> f32 {
    let unit = f64::from(model.unit);
    let weight = |place: u32| model.weights.get(place as usize).map(|&weight| unit * f64::from(weight));
    let worst = worst(example, &model.bias.map(f64::from), weight);
    #[expect(clippy::cast_possible_truncation, reason = "the detector's numbers are as wide")]
    worst.map_or(0.0, |window| likelihood(window.logit as f32))
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-logit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::{examples::Reader, generate::Generator, grammar::Part, measure::figures};

    fn examples(part: Part, seed: u64, count: usize) -> Vec<Example> {
        let mut reader = Reader::new().expect("the rules compile");
        Generator::new(part, seed).samples(count).iter().map(|sample| reader.example(sample)).collect()
    }

    #[test]
    fn the_same_texts_and_seed_give_the_same_bytes() {
        let (texts, calibration) = (examples(Part::Training, 1, 300), examples(Part::HeldBack, 2, 100));
        let train =
            |seed| train(&texts, &calibration, &Settings { seed, epochs: 2, ..Settings::default() }).write();
        assert_eq!(train(1), train(1));
        assert_ne!(train(1), train(2));
    }

    #[test]
    fn what_was_learnt_is_known_and_a_file_is_the_model() {
        let (texts, calibration) = (examples(Part::Training, 1, 2000), examples(Part::HeldBack, 2, 500));
        let model = train(&texts, &calibration, &Settings::default());
        let figures = figures(&model, &texts);
        assert!(figures.recall_at_1 > 0.9, "{figures:?}");
        assert_eq!(Model::read(&model.write()), Some(model));
    }
}
