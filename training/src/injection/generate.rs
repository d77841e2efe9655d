//! Texts for training and for measuring, made by the grammars.

use super::{
    disguise::{self, Disguise},
    examples::Sample,
    grammar::{Grammar, Part},
};
use crate::dice::Dice;

/// Makes texts.
#[derive(Debug)]
pub struct Generator {
    grammar: Grammar,
    part: Part,
    dice: Dice,
}

impl Generator {
    /// A generator of texts of `part`; the seed decides everything else.
    pub fn new(part: Part, seed: u64) -> Self {
        let grammar = Grammar::read(&[
            include_str!("grammar/attacks.txt"),
            include_str!("grammar/benign.txt"),
            include_str!("grammar/manual.txt"),
            include_str!("grammar/places.txt"),
        ]);
        Self { grammar, part, dice: Dice::new(seed) }
    }

    /// `count` texts, of which about four in ten are attempts.
    pub fn samples(&mut self, count: usize) -> Vec<Sample> {
        let mut samples = Vec::with_capacity(count);
        for number in 0..count {
            let attack = self.dice.chance(0.4);
            let placed = self.dice.chance(0.5);
            let hidden = self.dice.chance(if attack { 0.25 } else { 0.12 });
            let disguise = hidden.then(|| self.disguise());
            let (text, mut tags) = self.text(attack, placed, disguise);
            if let Some(disguise) = disguise {
                tags.push(disguise.name().to_owned());
            }
            samples.push(Sample {
                id: format!("own-{number:05}"),
                task: "injection".to_owned(),
                text,
                label: u8::from(attack),
                source: "own".to_owned(),
                tags,
            });
        }
        samples
    }

    fn disguise(&mut self) -> Disguise {
        disguise::ALL.get(self.dice.below(disguise::ALL.len())).copied().unwrap_or(Disguise::Capitals)
    }

    fn text(&mut self, attack: bool, placed: bool, disguise: Option<Disguise>) -> (String, Vec<String>) {
        let name = match (attack, placed) {
            (true, false) => "attack",
            (true, true) if self.dice.chance(0.7) => "indirect",
            (true, true) => "attack",
            (false, false) => "benign",
            (false, true) if self.dice.chance(0.7) => "document",
            (false, true) => "benign",
        };
        let mut inside = self.say(name, &[]);
        if let Some(disguise) = disguise {
            inside = disguise.hide(&inside, &mut self.dice);
        }
        if !placed {
            return (inside, vec![name.to_owned()]);
        }
        let around = self.say("document", &[]);
        let text = self.say("spot", &[("inside", &inside), ("around", &around)]);
        (text, vec![name.to_owned(), "placed".to_owned()])
    }

    fn say(&mut self, name: &str, given: &[(&str, &str)]) -> String {
        self.grammar.say(name, self.part, given, &mut self.dice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_grammars_is_a_rule() {
        let generator = Generator::new(Part::Training, 1);
        assert_eq!(generator.grammar.unexplained(&["inside", "around"]), Vec::<&str>::new());
    }

    #[test]
    fn a_seed_gives_the_same_texts() {
        let texts = |seed| -> Vec<String> {
            Generator::new(Part::HeldBack, seed).samples(50).into_iter().map(|sample| sample.text).collect()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        assert!(texts(3).iter().all(|text| !text.is_empty()));
    }
}
