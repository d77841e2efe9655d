//! What is known of single words: names, words that are no names, and words that speak of a name beside them.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::LazyLock,
};

use unicode_normalization::char::{decompose_canonical, is_combining_mark};

use super::cues;

/// A set of things known of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known(u32);

impl Known {
    /// Nothing.
    pub(super) const NONE: Self = Self(0);
    /// A given name.
    pub(super) const GIVEN: Self = Self(1);
    /// A family name.
    pub(super) const FAMILY: Self = Self(1 << 1);
    /// A word, maybe besides being a name.
    pub(super) const WORD: Self = Self(1 << 2);
    /// Joins the parts of a family name (`van`, `de la`, `bin`).
    pub(super) const PARTICLE: Self = Self(1 << 3);
    /// A title or an address (`Mrs`, `Dear`): a name follows almost always.
    pub(super) const TITLE: Self = Self(1 << 4);
    /// What people are (`customer`, `sister`): a name often follows.
    pub(super) const ROLE: Self = Self(1 << 5);
    /// What one does to people (`contact`, `spoke`): a name may follow, after a preposition too.
    pub(super) const DEED: Self = Self(1 << 6);
    /// A preposition before people.
    pub(super) const TO: Self = Self(1 << 7);
    /// What people do (`says`, `lives`): a name may stand before.
    pub(super) const DOES: Self = Self(1 << 8);
    /// What things that bear a name are (`theorem`, `Street`, `Inc`): the name before is no person.
    pub(super) const THING: Self = Self(1 << 9);
    /// Begins the name of a place (`San`, `Fort`).
    pub(super) const PLACE: Self = Self(1 << 10);
    /// Ends a letter (`Regards`): a name follows on the next line.
    pub(super) const CLOSING: Self = Self(1 << 11);
    /// Calls what follows a name (`name`, `nombre`).
    pub(super) const NAME: Self = Self(1 << 12);
    /// Has the form of a family name.
    pub(super) const FORM: Self = Self(1 << 13);
    /// A patronymic.
    pub(super) const PATRONYMIC: Self = Self(1 << 14);

    /// Whether any of `other` is known.
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both.
    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// A name and no word.
    pub(super) const fn only_name(self) -> bool {
        self.has(Self::GIVEN.with(Self::FAMILY)) && !self.has(Self::WORD)
    }

    /// A word and no name.
    pub(super) const fn only_word(self) -> bool {
        self.has(Self::WORD) && !self.has(Self::GIVEN.with(Self::FAMILY))
    }
}

/// A multiplicative hash over eight bytes at a time. The lexicon is fixed, so nobody can choose words that collide in it.
#[derive(Default)]
struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let value = chunk.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
            self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
    }
}

type Lexicon = HashMap<String, Known, BuildHasherDefault<WordHasher>>;

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut lexicon = Lexicon::with_capacity_and_hasher(20_000, BuildHasherDefault::default());
    let mut add = |word: &str, known: Known| {
        let entry = lexicon.entry(word.to_owned()).or_default();
        *entry = entry.with(known);
    };
    for (file, known) in [
        (include_str!("../data/given.txt"), Known::GIVEN),
        (include_str!("../data/given_cyrillic.txt"), Known::GIVEN),
        (include_str!("../data/family.txt"), Known::FAMILY),
        (include_str!("../data/words.txt"), Known::WORD),
    ] {
        for line in file.lines().filter(|line| !line.starts_with('#')) {
            line.split_whitespace().for_each(|word| add(word, known));
        }
    }
    let mut folded = String::new();
    for &(known, words) in cues::WORDS {
        for word in words.split_whitespace() {
            fold(word, &mut folded);
            // What speaks of names is itself a word, but for particles, which are parts of names.
            add(&folded, if known == Known::PARTICLE { known } else { known.with(Known::WORD) });
        }
    }
    lexicon
});

/// Reads the lexicon ahead of the first text.
pub(super) fn warm() {
    LazyLock::force(&LEXICON);
}

/// Writes `word` as the lexicon spells it: lower case, without marks.
pub(super) fn fold(word: &str, out: &mut String) {
    out.clear();
    if word.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        out.push_str(word);
        out.make_ascii_lowercase();
        return;
    }
    for c in word.chars() {
        if c.is_ascii() {
            if c.is_ascii_alphabetic() {
                out.push(c.to_ascii_lowercase());
            }
            continue;
        }
        for c in c.to_lowercase() {
            match c {
                'ß' => out.push_str("ss"),
                'ø' => out.push('o'),
                'ł' => out.push('l'),
                'đ' | 'ð' => out.push('d'),
                'ı' => out.push('i'),
                'æ' => out.push_str("ae"),
                'œ' => out.push_str("oe"),
                'þ' => out.push_str("th"),
                'ħ' => out.push('h'),
                'ə' => out.push('e'),
                'ё' => out.push('е'),
                // Cyrillic letters keep what NFD would take from them.
                'а'..='џ' => out.push(c),
                _ => decompose_canonical(c, |part| {
                    if part.is_alphabetic() && !is_combining_mark(part) {
                        out.push(part);
                    }
                }),
            }
        }
    }
}

/// What is known of `word`; `buffer` is working memory and holds its folded form afterwards.
pub(super) fn look_up(word: &str, buffer: &mut String) -> Known {
    if word.len() > 48 {
        buffer.clear();
        return Known::NONE;
    }
    if word.contains('-') {
        let known = joined(word, buffer);
        fold(word, buffer);
        return known;
    }
    fold(word, buffer);
    let found = LEXICON.get(buffer.as_str()).copied().unwrap_or_default();
    if found == Known::NONE || found.only_name() { found.with(form(word, buffer)) } else { found }
}

/// What is known of a word with hyphens.
fn joined(word: &str, buffer: &mut String) -> Known {
    fold(word, buffer);
    if let Some(&known) = LEXICON.get(buffer.as_str()).filter(|&&known| known != Known::NONE) {
        return known;
    }
    let mut all = Known::NONE;
    let mut words = 0;
    let mut names = 0;
    let mut syllables = 0;
    let mut parts = 0;
    for part in word.split('-') {
        fold(part, buffer);
        parts += 1;
        let known = LEXICON.get(buffer.as_str()).copied().unwrap_or_default();
        syllables += usize::from(cues::KOREAN.split_whitespace().any(|syllable| syllable == buffer));
        words += usize::from(known.only_word() && !known.has(Known::PARTICLE));
        names += usize::from(known.has(Known::GIVEN.with(Known::FAMILY)));
        all = all.with(known);
    }
    if parts == 2 && syllables == 2 && word.chars().next().is_some_and(char::is_uppercase) {
        return Known::GIVEN;
    }
    if words > 0 {
        return Known::WORD;
    }
    if names > 0 { all } else { Known::NONE }
}

/// Endings, the shortest word that each counts in, and what it says.
static ENDINGS: LazyLock<Vec<(&'static str, usize, Known)>> = LazyLock::new(|| {
    let lists = [
        (cues::PATRONYMICS, 6, Known::PATRONYMIC),
        (cues::ENDINGS_LONG, 6, Known::FORM),
        (cues::ENDINGS, 7, Known::FORM),
    ];
    lists
        .into_iter()
        .flat_map(|(list, shortest, known)| {
            list.split_whitespace().map(move |ending| (ending, shortest, known))
        })
        .collect()
});

/// Endings and beginnings of family names.
fn form(word: &str, folded: &str) -> Known {
    if !word.chars().next().is_some_and(char::is_uppercase) {
        return Known::NONE;
    }
    let length = folded.chars().count();
    if length >= 6
        && let Some(&(_, _, known)) =
            ENDINGS.iter().find(|(ending, shortest, _)| length >= *shortest && folded.ends_with(ending))
    {
        return known;
    }
    let prefixed = ["Mc", "Mac", "O'", "D'", "Fitz"].into_iter().any(|prefix| {
        word.strip_prefix(prefix)
            .is_some_and(|rest| rest.len() > 2 && rest.chars().next().is_some_and(char::is_uppercase))
    });
    if prefixed { Known::FORM } else { Known::NONE }
}
