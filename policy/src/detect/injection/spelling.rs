//! Misspelt words: letters swapped, left out, added, replaced, or shuffled between the first and the last, for the
//! few English words that rules hang on. A person and a model read them all the same.

use std::sync::LazyLock;

/// The words. Short ones are left out: too many other words are like them.
static WORDS: &[&str] = &[
    "above",
    "administrator",
    "assistant",
    "bypass",
    "commands",
    "confidential",
    "constraints",
    "conversation",
    "credentials",
    "developer",
    "directives",
    "discard",
    "disclose",
    "disregard",
    "earlier",
    "everything",
    "filters",
    "forget",
    "guidelines",
    "hidden",
    "ignore",
    "initial",
    "instructions",
    "jailbreak",
    "limitations",
    "original",
    "override",
    "password",
    "policies",
    "preceding",
    "pretend",
    "previous",
    "prompt",
    "repeat",
    "restrictions",
    "reveal",
    "safeguards",
    "secret",
    "system",
    "uncensored",
    "unfiltered",
    "unrestricted",
    "verbatim",
];

/// Shorter and longer ones are not looked at.
const LENGTHS: std::ops::RangeInclusive<usize> = 5..=16;

/// A word in one of the forms that a misspelling can be traced to: all of it, one letter left out, or its middle
/// sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    hash: u64,
    word: u16,
}

#[derive(Debug)]
struct Forms {
    sorted: Vec<Form>,
    /// For first letter and length, as [`place`] gives it: a bit for each last letter that a misspelling may have.
    endings: Vec<u32>,
}

/// Seeds keep the kinds of forms apart.
const WITHOUT_ONE: u64 = 0xcbf2_9ce4_8422_2325;
const SHUFFLED: u64 = 0x9ae1_6a3b_2f90_404f;

fn hash(seed: u64, bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn without(word: &[u8], at: usize) -> impl Iterator<Item = u8> + '_ {
    word.iter().enumerate().filter(move |(index, _)| *index != at).map(|(_, byte)| *byte)
}

fn shuffled(word: &[u8]) -> u64 {
    let inner = word.get(1..word.len().saturating_sub(1)).unwrap_or_default();
    let ends = word.first().into_iter().chain(word.last()).copied();
    hash(SHUFFLED, ends.chain(letters(inner)))
}

/// How often each letter stands in `word`.
fn letters(word: &[u8]) -> [u8; 26] {
    let mut counts = [0_u8; 26];
    for byte in word {
        if let Some(count) = counts.get_mut(usize::from(byte.wrapping_sub(b'a'))) {
            *count += 1;
        }
    }
    counts
}

/// The place of a first letter and a length in the table of likely words.
fn place(word: &[u8]) -> Option<usize> {
    let first = usize::from(word.first()?.checked_sub(b'a').filter(|&letter| letter < 26)?);
    LENGTHS.contains(&word.len()).then(|| first * 17 + word.len())
}

fn bit(byte: Option<&u8>) -> u32 {
    byte.map_or(0, |byte| 1 << (byte.wrapping_sub(b'a') & 31))
}

static FORMS: LazyLock<Forms> = LazyLock::new(|| {
    let mut sorted = Vec::new();
    let mut endings = vec![0_u32; 26 * 17];
    for (index, word) in WORDS.iter().enumerate() {
        let bytes = word.as_bytes();
        let word = u16::try_from(index).unwrap_or(0);
        sorted.push(Form { hash: shuffled(bytes), word });
        sorted.push(Form { hash: hash(WITHOUT_ONE, bytes.iter().copied()), word });
        sorted.extend((0..bytes.len()).map(|at| Form { hash: hash(WITHOUT_ONE, without(bytes, at)), word }));
        for length in bytes.len() - 1..=bytes.len() + 1 {
            let first = usize::from(bytes.first().map_or(0, |byte| byte - b'a'));
            if let Some(slot) = endings.get_mut(first * 17 + length) {
                *slot |= bit(bytes.last()) | bit(bytes.get(bytes.len() - 2));
            }
        }
    }
    sorted.sort_unstable();
    sorted.dedup();
    Forms { sorted, endings }
});

/// The word that `word` is a misspelling of; nothing when it is spelt well or is like none.
pub(super) fn meant(word: &str) -> Option<&'static str> {
    let bytes = word.as_bytes();
    let forms = &*FORMS;
    // Most words end here: no word of that length starts and ends so.
    if forms.endings.get(place(bytes)?)? & bit(bytes.last()) == 0 {
        return None;
    }
    if !bytes.iter().all(u8::is_ascii_lowercase) {
        return None;
    }
    let known = |hash: u64| {
        let from = forms.sorted.partition_point(|form| form.hash < hash);
        forms
            .sorted
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(move |form| form.hash == hash)
            .filter_map(|form| WORDS.get(usize::from(form.word)).copied())
            .find(|meant| is_slip(word, meant))
    };
    if WORDS.contains(&word) {
        return None;
    }
    known(shuffled(bytes))
        .or_else(|| known(hash(WITHOUT_ONE, bytes.iter().copied())))
        .or_else(|| (1..bytes.len()).find_map(|at| known(hash(WITHOUT_ONE, without(bytes, at)))))
}

/// Whether `word` is `meant` with a slip, not another form of it. A letter replaced makes another word of many short
/// ones (`discord`), so it counts in long ones only.
fn is_slip(word: &str, meant: &str) -> bool {
    const LONG: usize = 8;
    let stem = meant.trim_end_matches(['e', 's']);
    let form =
        word.strip_prefix(stem).is_some_and(|ending| ENDINGS.contains(&ending)) || meant.starts_with(word);
    let replaced = word.len() == meant.len() && letters(word.as_bytes()) != letters(meant.as_bytes());
    word.starts_with(|first| meant.starts_with(first)) && !form && !(replaced && meant.len() < LONG)
}

static ENDINGS: &[&str] = &[
    "", "s", "e", "es", "d", "ed", "er", "ers", "or", "ors", "r", "rs", "ing", "ings", "ion", "al", "ally",
    "ly", "y", "able", "ant", "ance", "ful", "ment", "en", "t", "n",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_read_as_what_was_meant() {
        for (word, expected) in [
            ("ingore", "ignore"),
            ("ignroe", "ignore"),
            ("ignre", "ignore"),
            ("ignorre", "ignore"),
            ("previuos", "previous"),
            ("prevoius", "previous"),
            ("instrutcions", "instructions"),
            ("intsructions", "instructions"),
            ("instuctions", "instructions"),
            ("sytsem", "system"),
            ("restrictoins", "restrictions"),
            ("promtp", "prompt"),
            ("instructioms", "instructions"),
            ("unrestrcited", "unrestricted"),
        ] {
            assert_eq!(meant(word), Some(expected), "{word}");
        }
    }

    #[test]
    fn words_and_their_forms_are_left_alone() {
        for word in [
            "ignore",
            "ignored",
            "ignores",
            "ignoring",
            "instruction",
            "instructional",
            "prompts",
            "prompted",
            "systems",
            "secrets",
            "repeats",
            "filtering",
            "forgets",
            "developers",
            "limitation",
            "policy",
            "revealed",
            "pretends",
            "safely",
            "discord",
            "weather",
            "hi",
            "überschrift",
            "pre",
            "internationalization",
        ] {
            assert_eq!(meant(word), None, "{word}");
        }
    }
}
