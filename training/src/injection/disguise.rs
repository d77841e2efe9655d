//! Disguises: the same words in a form that a plain search does not find.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::dice::Dice;

/// A way to hide words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disguise {
    /// Capital letters.
    Capitals,
    /// Small letters without full stops.
    Small,
    /// Digits and signs for letters.
    Leet,
    /// A space after each letter, two after each word.
    Spaced,
    /// Invisible characters inside words.
    ZeroWidth,
    /// Letters of other alphabets that look the same.
    LookAlike,
    /// base64.
    Base64,
    /// Percent-encoding of every character.
    Percent,
    /// Hexadecimal digits.
    Hex,
    /// Moved by thirteen letters.
    Rot13,
    /// From the end.
    Reversed,
    /// Neighbouring letters changed places.
    Slips,
    /// Full-width letters.
    FullWidth,
}

/// Every disguise.
pub const ALL: [Disguise; 13] = [
    Disguise::Capitals,
    Disguise::Small,
    Disguise::Leet,
    Disguise::Spaced,
    Disguise::ZeroWidth,
    Disguise::LookAlike,
    Disguise::Base64,
    Disguise::Percent,
    Disguise::Hex,
    Disguise::Rot13,
    Disguise::Reversed,
    Disguise::Slips,
    Disguise::FullWidth,
];

impl Disguise {
    /// Its tag.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capitals => "capitals",
            Self::Small => "small",
            Self::Leet => "leet",
            Self::Spaced => "spaced",
            Self::ZeroWidth => "zero-width",
            Self::LookAlike => "look-alike",
            Self::Base64 => "base64",
            Self::Percent => "percent",
            Self::Hex => "hex",
            Self::Rot13 => "rot13",
            Self::Reversed => "reversed",
            Self::Slips => "slips",
            Self::FullWidth => "full-width",
        }
    }

    /// `text` in disguise.
    pub fn hide(self, text: &str, dice: &mut Dice) -> String {
        match self {
            Self::Capitals => text.to_uppercase(),
            Self::Small => text.to_lowercase().replace(['.', ','], ""),
            Self::Leet => text.chars().map(|c| if dice.chance(0.75) { leet(c) } else { c }).collect(),
            Self::Spaced => text.chars().flat_map(|c| [c, ' ']).collect::<String>().trim_end().to_owned(),
            Self::ZeroWidth => {
                let mut hidden = String::new();
                for c in text.chars() {
                    hidden.push(c);
                    if dice.chance(0.3) {
                        hidden.extend(dice.pick(&["\u{200b}", "\u{200c}", "\u{2060}", "\u{ad}"]));
                    }
                }
                hidden
            }
            Self::LookAlike => {
                text.chars().map(|c| if dice.chance(0.5) { look_alike(c) } else { c }).collect()
            }
            Self::Base64 => STANDARD.encode(text),
            Self::Percent => hex::encode_upper(text)
                .as_bytes()
                .chunks(2)
                .flat_map(|byte| ["%"].into_iter().chain(std::str::from_utf8(byte)))
                .collect(),
            Self::Hex => hex::encode(text),
            Self::Rot13 => text.chars().map(rot13).collect(),
            Self::Reversed => text.chars().rev().collect(),
            Self::Slips => slips(text, dice),
            Self::FullWidth => text.chars().map(full_width).collect(),
        }
    }
}

fn leet(c: char) -> char {
    match c.to_ascii_lowercase() {
        'a' => '4',
        'e' => '3',
        'i' | 'l' => '1',
        'o' => '0',
        's' => '5',
        't' => '7',
        _ => c,
    }
}

fn look_alike(c: char) -> char {
    match c {
        'a' => 'а',
        'c' => 'с',
        'e' => 'е',
        'i' => 'і',
        'o' => 'ο',
        'p' => 'р',
        's' => 'ѕ',
        'x' => 'х',
        'y' => 'у',
        'T' => 'Т',
        'H' => 'Η',
        other => other,
    }
}

fn full_width(c: char) -> char {
    if c.is_ascii_graphic() { char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c) } else { c }
}

fn rot13(c: char) -> char {
    let turn = |first: u8, c: char| {
        let letter = u8::try_from(c).unwrap_or(first) - first;
        char::from(first + (letter + 13) % 26)
    };
    match c {
        'a'..='z' => turn(b'a', c),
        'A'..='Z' => turn(b'A', c),
        other => other,
    }
}

/// Letters inside longer words change places with their neighbours; the first and the last stay.
fn slips(text: &str, dice: &mut Dice) -> String {
    let words = text.split(' ').map(|word| {
        let mut letters: Vec<char> = word.chars().collect();
        if letters.len() > 4 && dice.chance(0.5) {
            let at = 1 + dice.below(letters.len() - 3);
            letters.swap(at, at + 1);
        }
        letters.into_iter().collect::<String>()
    });
    words.collect::<Vec<_>>().join(" ")
}
