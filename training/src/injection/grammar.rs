//! A small grammar that texts are made by.
//!
//! `@name` begins a rule, every line below it is one way to say it, `{name}` stands for a way to say that rule, `¶` for
//! a line break. Of a rule whose name ends in `*`, each eighth line is kept back: texts for training are made without
//! these lines, texts for measuring with these lines only.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// Rules may name each other so deep; deeper they say nothing.
const DEPTH: u32 = 12;

/// Which lines of a rule may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those that are not kept back.
    Training,
    /// Those that are.
    HeldBack,
}

#[derive(Debug, Default)]
struct Rule {
    training: Vec<&'static str>,
    held_back: Vec<&'static str>,
}

/// The rules of some grammars.
#[derive(Debug, Default)]
pub struct Grammar {
    rules: BTreeMap<&'static str, Rule>,
    /// Names of several rules.
    twice: Vec<&'static str>,
}

impl Grammar {
    /// Reads `sources` together; a name stands for one rule.
    pub fn read(sources: &[&'static str]) -> Self {
        let mut grammar = Self::default();
        for source in sources {
            let mut name = "";
            let (mut splits, mut at) = (false, 0_usize);
            for line in source.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
                if let Some(heading) = line.strip_prefix('@').filter(|heading| !heading.contains(' ')) {
                    name = heading.trim_end_matches('*');
                    splits = heading.ends_with('*');
                    at = 0;
                    if grammar.rules.insert(name, Rule::default()).is_some() {
                        grammar.twice.push(name);
                    }
                    continue;
                }
                let rule = grammar.rules.entry(name).or_default();
                at += 1;
                if splits && at.is_multiple_of(8) {
                    rule.held_back.push(line);
                    continue;
                }
                rule.training.push(line);
                if !splits {
                    rule.held_back.push(line);
                }
            }
        }
        grammar
    }

    /// Whether there is such a rule.
    pub fn has(&self, name: &str) -> bool {
        self.rules.contains_key(name)
    }

    /// The names that rules mention but nobody explains, and those that are explained twice.
    pub fn unexplained(&self, given: &[&str]) -> Vec<&'static str> {
        let lines = self.rules.values().flat_map(|rule| rule.training.iter().chain(&rule.held_back));
        let mut names: Vec<&str> = lines.flat_map(|line| named(line)).collect();
        names.retain(|name| !self.has(name) && !given.contains(name));
        names.extend(&self.twice);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// One way to say `name`, with `given` for names that are no rules.
    pub fn say(&self, name: &str, part: Part, given: &[(&str, &str)], dice: &mut Dice) -> String {
        let mut said = String::new();
        self.add(name, part, given, dice, &mut said, DEPTH);
        said
    }

    fn add(
        &self,
        name: &str,
        part: Part,
        given: &[(&str, &str)],
        dice: &mut Dice,
        said: &mut String,
        depth: u32,
    ) {
        if let Some((_, text)) = given.iter().find(|(given, _)| *given == name) {
            said.push_str(text);
            return;
        }
        let lines = self.rules.get(name).map_or(&[][..], |rule| match part {
            Part::Training => &rule.training,
            Part::HeldBack => &rule.held_back,
        });
        let Some(mut rest) = dice.pick(lines).filter(|_| depth > 0) else { return };
        while let Some((before, name, after)) = reference(rest) {
            said.extend(before.chars().map(|c| if c == '¶' { '\n' } else { c }));
            self.add(name, part, given, dice, said, depth - 1);
            rest = after;
        }
        said.extend(rest.chars().map(|c| if c == '¶' { '\n' } else { c }));
    }
}

/// The first `{name}` of a line, with what stands before and after it.
fn reference(line: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + line.get(from..)?.find('{')?;
        let inner = line.get(open + 1..)?;
        let length = inner.find(|c: char| !c.is_ascii_alphanumeric())?;
        if inner.starts_with(|c: char| c.is_ascii_alphabetic()) && inner.get(length..)?.starts_with('}') {
            return Some((line.get(..open)?, inner.get(..length)?, inner.get(length + 1..)?));
        }
        from = open + 1;
    }
}

fn named(line: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some((_, name, after)) = reference(rest) {
        names.push(name);
        rest = after;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_of_the_lines_of_its_part() {
        let grammar = Grammar::read(&[
            "@text\na {word} {\"x\": 1}¶b\n\n@word*\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\n",
        ]);
        let mut dice = Dice::new(3);
        for _ in 0..30 {
            let text = grammar.say("text", Part::Training, &[], &mut dice);
            assert!(
                text.starts_with("a ") && text.ends_with(" {\"x\": 1}\nb") && !text.contains("eight"),
                "{text}"
            );
        }
        assert_eq!(grammar.say("text", Part::HeldBack, &[], &mut dice), "a eight {\"x\": 1}\nb");
        assert_eq!(grammar.say("text", Part::HeldBack, &[("word", "w")], &mut dice), "a w {\"x\": 1}\nb");
    }
}
