//! Rows of digits as people group them: `0412 347 255`, `(201) 555-3106`, `5 5 5 0 1 0 0`.

use crate::detect::pii::view::View;

/// The most groups of a chain; longer rows are read as several.
const MOST_GROUPS: usize = 24;

/// The most digits of a chain.
const MOST_DIGITS: usize = 40;

/// What stands between two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Separator {
    /// Nothing: the first group.
    #[default]
    None,
    Space,
    Hyphen,
    Dot,
    Slash,
    /// An opening bracket, maybe after a space.
    Open,
    /// A closing bracket, maybe with something after it.
    Close,
    /// A line break, a tab, or several spaces.
    Break,
}

/// Digits without anything between.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The index of its first digit in the chain.
    first: usize,
    /// What stands before it.
    pub(super) separator: Separator,
}

impl Group {
    /// How many digits it has.
    pub(super) const fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Groups of digits with separators between.
#[derive(Debug)]
pub(super) struct Chain {
    groups: [Group; MOST_GROUPS],
    count: usize,
    /// The values of all digits.
    digits: [u8; MOST_DIGITS],
    /// Where the `+` before the first group stands.
    pub(super) plus: Option<usize>,
    /// Where the bracket that opens before the first group (or before its `+`) stands.
    pub(super) open: Option<usize>,
    /// The chain is a piece of something longer (`INV-2024-1`, `$100`, `09:12`).
    pub(super) attached: bool,
    /// A letter or digit stands right before it.
    pub(super) inside: bool,
    /// Every group is one digit.
    pub(super) spread: bool,
}

impl Chain {
    /// Reads the chain whose first digit is at `start`; also returns where to go on, which is past `start`.
    pub(super) fn read(view: &View<'_>, start: usize) -> (Self, usize) {
        let mut chain = Self {
            groups: [Group::default(); MOST_GROUPS],
            count: 0,
            digits: [0; MOST_DIGITS],
            plus: None,
            open: None,
            attached: false,
            inside: false,
            spread: false,
        };
        chain.look_before(view, start);
        let mut at = start;
        let mut separator = Separator::None;
        let mut digits = 0;
        let mut next;
        loop {
            let end = at + run(view, at);
            next = end;
            let length = end - at;
            if digits + length > MOST_DIGITS {
                // Too long for anything that is looked for: a row that is cut here would be found in its middle.
                if chain.count == 0 {
                    return (chain, end);
                }
                next = at;
                break;
            }
            let Some(group) = chain.groups.get_mut(chain.count) else {
                next = at;
                break;
            };
            *group = Group { start: at, end, first: digits, separator };
            for (to, from) in
                chain.digits.iter_mut().skip(digits).zip(view.bytes().iter().skip(at).take(length))
            {
                *to = from.wrapping_sub(b'0');
            }
            digits += length;
            chain.count += 1;
            let Some((kind, width)) = between(view, end) else { break };
            separator = kind;
            at = end + width;
        }
        chain.look_after(view);
        chain.spread = chain.count >= 6 && chain.groups().iter().all(|group| group.len() == 1);
        (chain, next)
    }

    fn look_before(&mut self, view: &View<'_>, start: usize) {
        let mut at = start;
        if view.before(at) == b'(' {
            at -= 1;
            self.open = Some(at);
        }
        let plus = match (view.before(at), view.byte(at.wrapping_sub(2))) {
            (b'+', _) => Some(at - 1),
            (b' ', b'+') if at >= 2 => Some(at - 2),
            _ => None,
        };
        if let Some(plus) = plus {
            self.plus = Some(plus);
            at = plus;
            if view.before(at) == b'(' && self.open.is_none() {
                at -= 1;
                self.open = Some(at);
            }
        }
        let before = view.char_before(at);
        self.inside = before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        self.attached = match before {
            Some(c @ ('_' | '$' | '€' | '£' | '¥' | '#' | '+' | '^')) => c != '#' || self.plus.is_none(),
            Some('-') => view.char_before(at - 1).is_some_and(|c| c.is_ascii_alphanumeric()),
            Some('.') => {
                view.char_before(at - 1).is_some_and(|c| c.is_ascii_alphanumeric()) && self.plus.is_none()
            }
            Some(':') => view.char_before(at - 1).is_some_and(|c| c.is_ascii_digit()) && self.plus.is_none(),
            Some(',') => {
                let thousands = run(view, start) == 3 && view.byte(start + 3) != b'-' && self.plus.is_none();
                thousands && view.char_before(at - 1).is_some_and(|c| c.is_ascii_digit())
            }
            Some('/' | '=' | '%') => false,
            // Scripts without spaces between words set numbers beside letters.
            Some(c) => c.is_ascii_alphanumeric() || (c.is_alphabetic() && u32::from(c) < 0x530),
            None => false,
        };
    }

    /// Takes back a last group that is a piece of something else.
    fn look_after(&mut self, view: &View<'_>) {
        let Some(last) = self.groups().last().copied() else { return };
        let after = view.char_at(last.end);
        let cut = match after {
            Some('x' | 'X') => !view.byte(last.end + 1).is_ascii_digit() || last.len() < 3,
            Some('%' | '_' | '€' | '$' | '£') => true,
            // A time of day; behind an address a colon leads to a port.
            Some(':') => {
                view.byte(last.end + 1).is_ascii_digit()
                    && last.len() <= 2
                    && last.separator != Separator::Dot
            }
            Some(',') => {
                view.byte(last.end + 1).is_ascii_digit() && run(view, last.end + 1) == 3 && last.len() <= 3
            }
            Some('-') => view.byte(last.end + 1).is_ascii_alphanumeric(),
            Some(c) => c.is_ascii_alphanumeric() || (c.is_alphabetic() && u32::from(c) < 0x530),
            None => false,
        };
        if cut {
            self.count -= 1;
        }
    }

    /// Its groups.
    pub(super) fn groups(&self) -> &[Group] {
        self.groups.get(..self.count).unwrap_or(&[])
    }

    /// The groups from `from` up to `to`.
    pub(super) fn some(&self, from: usize, to: usize) -> &[Group] {
        self.groups().get(from..to).unwrap_or(&[])
    }

    /// The values of the digits of the groups from `from` up to `to`.
    pub(super) fn digits(&self, from: usize, to: usize) -> &[u8] {
        let some = self.some(from, to);
        match (some.first(), some.last()) {
            (Some(first), Some(last)) => self.digits.get(first.first..last.first + last.len()).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// The span of the groups from `from` up to `to`, with a bracket that opens before the first and closes within.
    pub(super) fn span(&self, from: usize, to: usize) -> (usize, usize) {
        let some = self.some(from, to);
        let (Some(first), Some(last)) = (some.first(), some.last()) else { return (0, 0) };
        let closes = some.iter().skip(1).any(|group| group.separator == Separator::Close);
        let start = match (from, self.open) {
            (0, Some(open)) if closes => open,
            _ if first.separator == Separator::Open && closes => first.start - 1,
            _ => first.start,
        };
        (start, last.end)
    }
}

/// How many digits stand at `at`.
fn run(view: &View<'_>, at: usize) -> usize {
    view.bytes().get(at..).map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// What stands between a group that ends at `at` and the next digit, and how wide it is.
fn between(view: &View<'_>, at: usize) -> Option<(Separator, usize)> {
    let (mut open, mut close, mut hyphens, mut dots, mut slashes, mut spaces, mut breaks) =
        (0, 0, 0, 0, 0, 0, 0);
    let mut width = 0;
    loop {
        match view.byte(at + width) {
            b'(' => open += 1,
            b')' => close += 1,
            b'-' => hyphens += 1,
            b'.' => dots += 1,
            b'/' => slashes += 1,
            b' ' => spaces += 1,
            b'\n' | b'\t' | b'\r' => breaks += 1,
            byte => {
                if !byte.is_ascii_digit() || width == 0 {
                    return None;
                }
                break;
            }
        }
        width += 1;
        if width > 4 {
            return None;
        }
    }
    let marks = hyphens + dots + slashes;
    let separator = match (open, close) {
        _ if breaks > 1 || spaces > 3 || marks > 1 => return None,
        (1, 0) if breaks == 0 => Separator::Open,
        (0, 1) if breaks == 0 => Separator::Close,
        (0, 0) if breaks > 0 && marks == 0 || spaces > 1 && marks == 0 => Separator::Break,
        (0, 0) if breaks > 0 => return None,
        (0, 0) if hyphens == 1 => Separator::Hyphen,
        // A full stop and a space end a sentence.
        (0, 0) if dots == 1 && spaces == 0 => Separator::Dot,
        (0, 0) if slashes == 1 => Separator::Slash,
        (0, 0) if marks == 0 => Separator::Space,
        _ => return None,
    };
    Some((separator, width))
}
