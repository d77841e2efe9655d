//! Finds rules in a row of words: one pass over the words by automaton, each idea found moves the rules that name it.
//!
//! A rule is a small row of ideas; its state is, for each idea but the last, the latest place where the row so far
//! was complete. So the work for one idea is bounded by the number of rules that name it, and a text without any
//! costs nothing more.

use std::sync::LazyLock;

use super::{
    concept::{COUNT, Concept},
    lexicon::{Finder, Waiting},
    rules::{Family, RULES, RuleDef, Softened},
    tokens::{Token, Tokens},
};

/// A place where a rule was complete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    /// Index into [`RULES`].
    pub rule: usize,
    pub family: Family,
    /// First and last word.
    pub first: usize,
    pub last: usize,
    /// What it weighs here, after its context.
    pub weight: f32,
}

/// A place where an idea was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idea {
    pub concept: Concept,
    /// First and last word.
    pub first: usize,
    pub last: usize,
}

/// Working memory of the engine.
#[derive(Debug, Default)]
pub(super) struct Memory {
    waiting: Waiting,
    states: Vec<[Partial; 2]>,
    /// States of another round are empty.
    round: u32,
    modifiers: Vec<Modifier>,
    pub matches: Vec<Match>,
    /// Ideas found in this text, in the order of their last words.
    pub ideas: Vec<Idea>,
    /// Words of reversed and of rot13 texts.
    pub reversed_cues: u32,
    pub rot13_cues: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Partial {
    round: u32,
    first: u32,
    last: u32,
    pos: u32,
    sentence: u32,
}

#[derive(Debug, Clone, Copy)]
struct Modifier {
    concept: Concept,
    first: usize,
    last: usize,
    sentence: u32,
}

/// One step of one row: what to do when an idea is found.
#[derive(Debug, Clone, Copy)]
struct Step {
    rule: usize,
    /// Index of the state of this row's first idea.
    base: usize,
    slot: usize,
    last: bool,
    /// In half words.
    gap: u32,
}

/// The rules by the ideas that they name.
#[derive(Debug)]
struct Program {
    steps: Vec<Vec<Step>>,
    states: usize,
}

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let mut program = Program { steps: vec![Vec::new(); COUNT], states: 0 };
    for (index, rule) in RULES.iter().enumerate() {
        for order in orders(rule) {
            let base = program.states;
            program.states += order.len() - 1;
            for (slot, &at) in order.iter().enumerate() {
                for &concept in rule.slots.get(at).copied().unwrap_or_default() {
                    let step = Step {
                        rule: index,
                        base,
                        slot,
                        last: slot + 1 == order.len(),
                        gap: rule.gap * 2 + 1,
                    };
                    if let Some(steps) = program.steps.get_mut(concept as usize) {
                        steps.push(step);
                    }
                }
            }
        }
    }
    for steps in &mut program.steps {
        // Later ideas first, so that one place is never two ideas of a row.
        steps.sort_by_key(|step| std::cmp::Reverse(step.slot));
    }
    program
});

/// The orders in which the ideas of a rule may stand.
fn orders(rule: &RuleDef) -> Vec<Vec<usize>> {
    match (rule.any_order, rule.slots.len()) {
        (true, 2) => vec![vec![0, 1], vec![1, 0]],
        (true, 3) => {
            vec![vec![0, 1, 2], vec![0, 2, 1], vec![1, 0, 2], vec![1, 2, 0], vec![2, 0, 1], vec![2, 1, 0]]
        }
        (_, slots) => vec![(0..slots).collect()],
    }
}

/// Finds the rules in `tokens`; the matches are left in `memory`, in the order of their last words.
pub(super) fn run(tokens: &Tokens, finder: &Finder, memory: &mut Memory) {
    let program = &*PROGRAM;
    memory.matches.clear();
    memory.modifiers.clear();
    memory.ideas.clear();
    memory.reversed_cues = 0;
    memory.rot13_cues = 0;
    if memory.states.len() < program.states {
        memory.states.resize(program.states, [Partial::default(); 2]);
    }
    memory.round = memory.round.wrapping_add(1);
    if memory.round == 0 {
        memory.states.fill([Partial::default(); 2]);
        memory.round = 1;
    }
    let mut waiting = std::mem::take(&mut memory.waiting);
    let mut forms = tokens.forms.iter().map(|&(at, concept)| (at as usize, concept)).peekable();
    finder.find(tokens, &mut waiting, |concept, first, last| {
        while let Some((at, form)) = forms.next_if(|&(at, _)| at <= last) {
            event(tokens, program, memory, form, at, at);
        }
        event(tokens, program, memory, concept, first, last);
    });
    for (at, form) in forms {
        event(tokens, program, memory, form, at, at);
    }
    memory.waiting = waiting;
    soften(tokens, memory);
}

fn event(
    tokens: &Tokens,
    program: &Program,
    memory: &mut Memory,
    concept: Concept,
    first: usize,
    last: usize,
) {
    let (Some(head), Some(tail)) = (tokens.list.get(first), tokens.list.get(last)) else { return };
    match concept {
        Concept::ReversedCue => memory.reversed_cues += 1,
        Concept::Rot13Cue => memory.rot13_cues += 1,
        // Labels count where a line, a sentence or a quotation begins.
        Concept::SystemLabel | Concept::TurnLabel if !head.leads => return,
        _ => {}
    }
    memory.ideas.push(Idea { concept, first, last });
    if concept.is_modifier() {
        memory.modifiers.push(Modifier { concept, first, last, sentence: head.sentence });
        return;
    }
    let round = memory.round;
    let Some(steps) = program.steps.get(concept as usize) else { return };
    for step in steps {
        let begun = if step.slot == 0 {
            Some(narrow(first))
        } else {
            memory
                .states
                .get(step.base + step.slot - 1)
                .and_then(|states| {
                    states.iter().find(|state| state.round == round && follows(state, head, first, step.gap))
                })
                .map(|state| state.first)
        };
        let Some(begun) = begun else { continue };
        if step.last {
            let Some(rule) = RULES.get(step.rule) else { continue };
            memory.matches.push(Match {
                rule: step.rule,
                family: rule.family,
                first: begun as usize,
                last,
                weight: rule.weight,
            });
        } else if let Some(states) = memory.states.get_mut(step.base + step.slot) {
            let state =
                Partial { round, first: begun, last: narrow(last), pos: tail.pos, sentence: tail.sentence };
            let [latest, before] = states;
            if latest.last != state.last {
                *before = *latest;
            }
            *latest = state;
        }
    }
}

/// Whether an idea that starts at `first` goes on with `state`.
fn follows(state: &Partial, head: &Token, first: usize, gap: u32) -> bool {
    state.sentence == head.sentence
        && (state.last as usize) < first
        && head.pos.saturating_sub(state.pos) <= gap + 2
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// How far before a command a negation counts, in half words.
const NEGATION_REACH: u32 = 8;

/// How far after a command what it is about counts, in half words.
const ABOUT_REACH: u32 = 8;

/// How far before and after a match talk about such texts counts, in half words.
const MENTION_REACH: u32 = 32;

/// Weakens the matches by what stands around them.
fn soften(tokens: &Tokens, memory: &mut Memory) {
    if memory.modifiers.is_empty() {
        return;
    }
    for found in &mut memory.matches {
        let Some(rule) = RULES.get(found.rule) else { continue };
        if rule.softened == Softened::Never {
            continue;
        }
        let (Some(head), Some(tail)) = (tokens.list.get(found.first), tokens.list.get(found.last)) else {
            continue;
        };
        let from = memory
            .modifiers
            .partition_point(|modifier| modifier.last + (MENTION_REACH as usize) < found.first);
        let command = rule.softened == Softened::Command;
        let overrides = rule.family == Family::Override;
        let mut factor = 1.0_f32;
        let (mut mentioned, mut judged) = (false, false);
        for modifier in memory.modifiers.get(from..).unwrap_or_default() {
            if modifier.first > found.last + MENTION_REACH as usize {
                break;
            }
            if modifier.sentence != head.sentence {
                continue;
            }
            let before = modifier.last < found.first;
            let distance = if before {
                tokens.list.get(modifier.last).map_or(u32::MAX, |token| head.pos.abs_diff(token.pos))
            } else {
                tokens.list.get(modifier.first).map_or(u32::MAX, |token| token.pos.abs_diff(tail.pos))
            };
            let weaker = match modifier.concept {
                Concept::Negation if command && before && distance <= NEGATION_REACH => 0.2,
                Concept::Subject if command && before && distance <= 2 => 0.4,
                Concept::HowTo if command && before && distance <= 6 => 0.45,
                Concept::Specification if command && before && distance <= MENTION_REACH => 0.55,
                Concept::Mention if before && distance <= MENTION_REACH => 0.4,
                Concept::MentionAfter if !before && distance <= MENTION_REACH => 0.45,
                Concept::About if overrides && !before && distance <= ABOUT_REACH => 0.6,
                Concept::About
                    if overrides && modifier.first > found.first && modifier.last <= found.last =>
                {
                    0.4
                }
                _ => 1.0,
            };
            factor = factor.min(weaker);
            mentioned |= modifier.concept == Concept::Mention && weaker < 1.0;
            judged |= modifier.concept == Concept::MentionAfter && weaker < 1.0;
        }
        if mentioned && judged {
            factor *= 0.7;
        }
        found.weight *= factor;
    }
}
