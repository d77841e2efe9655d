//! Names of people: by lists of names, the way a word is written, and the words around it.
//!
//! A run of words that may be a name is weighed: names that the lists know, words that lead to a person (`customer`,
//! `my name is`, a title), what follows (`said`, an address), and what speaks against it (a place, a company, a term
//! named after somebody). Scripts without capitals have rules of their own in [`native`].

mod lexicon;
mod native;
mod places;
mod weigh;
mod words;

use self::words::{Shape, Word};
use super::{
    found::{Claims, Kind},
    view::View,
};

/// Working memory.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    words: Vec<Word>,
    /// Other findings, by start.
    taken: Vec<(usize, usize, Kind)>,
    /// Pieces that stand where a name is asked for.
    slots: Vec<(usize, usize)>,
    folded: String,
}

/// Reads the lists of names, so that the first text does not wait for them.
pub(super) fn warm() {
    lexicon::warm();
}

/// Claims the names in `view`, which stands under `key`.
pub(super) fn find(view: &View<'_>, key: Option<&str>, claims: &mut Claims, buffers: &mut Buffers) {
    let Buffers { words, taken, slots, folded } = buffers;
    words::split(view, claims, taken, words);
    places::find(view, key, slots);
    let mut at = 0;
    let mut slot = 0;
    while let Some(word) = words.get(at) {
        while slots.get(slot).is_some_and(|&(_, end)| end <= word.start) {
            slot += 1;
        }
        let asked = slots.get(slot).copied().filter(|&(start, end)| start <= word.start && word.end <= end);
        if word.shape == Shape::Code {
            at += 1;
            continue;
        }
        let found = weigh::at(&weigh::Place { view, words, at, taken, slot: asked }, folded);
        match found {
            Some(found) => {
                let (Some(first), Some(last)) =
                    (words.get(at + found.skip), words.get(at + found.skip + found.count - 1))
                else {
                    break;
                };
                claims.push(first.start, last.end, Kind::Person, found.score);
                at += found.skip + found.count;
            }
            None => at += 1,
        }
    }
    if !view.text.is_ascii() {
        native::find(view, claims);
    }
}

#[cfg(test)]
mod tests;
