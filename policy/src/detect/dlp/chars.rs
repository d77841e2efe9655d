//! Bytes, sets of bytes, borders of tokens, and how random a value looks.

/// A set of ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set {
    low: u64,
    high: u64,
}

impl Set {
    pub(super) const NONE: Self = Self { low: 0, high: 0 };
    pub(super) const DIGIT: Self = Self::NONE.range(b'0', b'9');
    pub(super) const LOWER: Self = Self::NONE.range(b'a', b'z');
    pub(super) const UPPER: Self = Self::NONE.range(b'A', b'Z');
    pub(super) const LETTER: Self = Self::LOWER.and(Self::UPPER);
    pub(super) const ALNUM: Self = Self::LETTER.and(Self::DIGIT);
    pub(super) const UPPER_DIGIT: Self = Self::UPPER.and(Self::DIGIT);
    pub(super) const HEX: Self = Self::DIGIT.range(b'a', b'f').range(b'A', b'F');
    pub(super) const HEX_LOWER: Self = Self::DIGIT.range(b'a', b'f');
    /// `[A-Za-z0-9_]`
    pub(super) const WORD: Self = Self::ALNUM.one(b'_');
    /// `[A-Za-z0-9_-]`, the alphabet of base64url.
    pub(super) const URL64: Self = Self::WORD.one(b'-');
    /// `[A-Za-z0-9+/]`
    pub(super) const BASE64: Self = Self::ALNUM.one(b'+').one(b'/');
    /// The alphabet of bech32, upper case.
    pub(super) const BECH32: Self = Self::UPPER_DIGIT.without(b'1').without(b'B').without(b'I').without(b'O');

    pub(super) const fn range(self, first: u8, last: u8) -> Self {
        let mut set = self;
        let mut byte = first;
        while byte <= last {
            set = set.one(byte);
            byte += 1;
        }
        set
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self { low: self.low | other.low, high: self.high | other.high }
    }

    pub(super) const fn one(self, byte: u8) -> Self {
        if byte < 64 {
            Self { low: self.low | 1 << byte, ..self }
        } else {
            Self { high: self.high | 1 << (byte - 64), ..self }
        }
    }

    pub(super) const fn without(self, byte: u8) -> Self {
        if byte < 64 {
            Self { low: self.low & !(1 << byte), ..self }
        } else {
            Self { high: self.high & !(1 << (byte - 64)), ..self }
        }
    }

    pub(super) const fn has(self, byte: u8) -> bool {
        let half = if byte < 64 { self.low } else { self.high };
        byte < 128 && half >> (byte & 63) & 1 == 1
    }
}

/// The byte at `at`, 0 outside: no secret holds that one.
pub(super) fn at(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The byte before `at`, 0 at the start.
pub(super) fn before(bytes: &[u8], place: usize) -> u8 {
    place.checked_sub(1).map_or(0, |place| at(bytes, place))
}

/// Where the run of `set` that begins at `from` ends, at most `most` bytes further.
pub(super) fn run(bytes: &[u8], from: usize, set: Set, most: usize) -> usize {
    let mut end = from;
    while end - from < most && set.has(at(bytes, end)) {
        end += 1;
    }
    end
}

/// Where the run of `set` that ends at `to` begins, at most `most` bytes before.
pub(super) fn run_back(bytes: &[u8], to: usize, set: Set, most: usize) -> usize {
    let mut start = to;
    while to - start < most && start > 0 && set.has(before(bytes, start)) {
        start -= 1;
    }
    start
}

/// Whether a token can begin at `place`: no letter or digit before it, but for the letter of an escape such as `\n`
/// or of a percent escape such as `%3D`.
pub(super) fn opens(bytes: &[u8], place: usize) -> bool {
    let last = before(bytes, place);
    if !Set::ALNUM.has(last) {
        return true;
    }
    let Some(second) = place.checked_sub(2) else { return false };
    let escape = at(bytes, second) == b'\\' && matches!(last, b'n' | b'r' | b't');
    let percent = Set::HEX.has(last) && Set::HEX.has(at(bytes, second)) && before(bytes, second) == b'%';
    // The end of a terminal's colour sequence.
    let colour = last == b'm' && {
        let start = run_back(bytes, place - 1, Set::DIGIT.one(b';'), 12);
        before(bytes, start) == b'['
    };
    escape || percent || colour
}

/// Whether a token can end at `place`: no letter or digit after it, and no `_` that goes on with one.
pub(super) fn closes(bytes: &[u8], place: usize) -> bool {
    let next = at(bytes, place);
    !(Set::ALNUM.has(next) || next == b'_' && Set::ALNUM.has(at(bytes, place + 1)))
}

/// Whether `bytes` has `word` at `place`, in any ASCII case.
pub(super) fn has_word(bytes: &[u8], place: usize, word: &str) -> bool {
    bytes.get(place..place + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether `text` holds `word`, which is lower case, in any ASCII case.
pub(super) fn holds(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
}

/// How many of lower case, upper case, digits and the rest occur.
pub(super) fn classes(value: &[u8]) -> usize {
    let has = |test: fn(&u8) -> bool| usize::from(value.iter().any(test));
    has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(|b| !b.is_ascii_alphanumeric())
}

/// Shannon entropy of the bytes in 1/256 bit a byte. Integer arithmetic: the same everywhere.
pub(super) fn entropy(value: &[u8]) -> u32 {
    let mut counts = [0_u32; 256];
    for &byte in value {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let Ok(len) = u32::try_from(value.len()) else { return 0 };
    if len == 0 {
        return 0;
    }
    let sum: u64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|&count| u64::from(count) * u64::from(log2(count)))
        .sum();
    log2(len).saturating_sub(u32::try_from(sum / u64::from(len)).unwrap_or(u32::MAX))
}

/// Base-2 logarithm in 1/256, straight lines between powers of two.
fn log2(value: u32) -> u32 {
    let whole = value.ilog2();
    let rest = ((u64::from(value) << 8) >> whole) & 0xff;
    (whole << 8) + u32::try_from(rest).unwrap_or(0)
}

/// Texts that stand where a secret would stand. Lower case, looked for anywhere in a value.
const STAND_INS: [&str; 14] = [
    "example",
    "placeholder",
    "your_",
    "your-",
    "yourtoken",
    "yourkey",
    "yoursecret",
    "yourpassword",
    "change_me",
    "changeme",
    "redacted",
    "replace_",
    "replace-",
    "insert_",
];

/// Whole values that are nobody's secret. Lower case.
const COMMON: [&str; 41] = [
    "password",
    "passwd",
    "pass",
    "pwd",
    "secret",
    "test",
    "testing",
    "admin",
    "root",
    "user",
    "username",
    "token",
    "key",
    "apikey",
    "api_key",
    "foo",
    "bar",
    "foobar",
    "dummy",
    "sample",
    "none",
    "null",
    "true",
    "false",
    "undefined",
    "hidden",
    "mypassword",
    "mysecret",
    "my_secret",
    "my-secret",
    "supersecret",
    "super_secret",
    "super-secret",
    "hunter2",
    "guest",
    "postgres",
    "default",
    "string",
    "open sesame",
    "credentials",
    "letmein",
];

/// Whether a value is a stand-in for a secret rather than one.
pub(super) fn is_stand_in(value: &[u8]) -> bool {
    STAND_INS.iter().any(|word| holds(value, word))
        || COMMON.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
        || is_template(value)
        || is_monotonous(value)
}

/// Whether a value of a known format and its full length only shows that a secret would stand there: crossed out, a
/// template, words like `example`, or one or two characters over and over. Counting is none of these: who has a
/// token's prefix and length right and means a stand-in can cross it out.
pub(super) fn is_mask(value: &[u8]) -> bool {
    STAND_INS.iter().any(|word| holds(value, word))
        || is_template(value)
        || is_crossed_out(value)
        || distinct(value) < 3
}

fn is_crossed_out(value: &[u8]) -> bool {
    value.windows(4).any(|four| matches!(four, b"xxxx" | b"XXXX"))
}

/// How many different bytes occur.
fn distinct(value: &[u8]) -> u32 {
    value
        .iter()
        .fold([0_u128; 2], |mut seen, &byte| {
            if let Some(half) = seen.get_mut(usize::from(byte >> 7)) {
                *half |= 1 << (byte & 127);
            }
            seen
        })
        .iter()
        .map(|half| half.count_ones())
        .sum()
}

/// `<…>`, `${…}`, `{{…}}`, `%(…)s`, `$NAME`, `…`, `***`
fn is_template(value: &[u8]) -> bool {
    let first = at(value, 0);
    let name = value.get(1..).is_some_and(|rest| {
        !rest.is_empty() && rest.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
    });
    let pairs =
        value.windows(2).any(|pair| matches!(pair, b"${" | b"{{" | b"}}" | b"%(" | b"$(" | b"%s" | b"#{"));
    let dots = value.windows(3).any(|three| matches!(three, b"..." | b"***")) || holds(value, "\u{2026}");
    let angle =
        first == b'<' || value.last() == Some(&b'>') || (first == b'[' && value.last() == Some(&b']'));
    let braces = first == b'{' && value.last() == Some(&b'}');
    (first == b'$' && name) || pairs || dots || angle || braces
}

/// Runs of one character (`xxxxxx`), of the alphabet or of counting (`abcdefgh`, `12345678`), or few characters.
fn is_monotonous(value: &[u8]) -> bool {
    let (mut same, mut rising) = (1_usize, 1_usize);
    let (mut longest_same, mut longest_rising) = (1_usize, 1_usize);
    for pair in value.windows(2) {
        let &[a, b] = pair else { continue };
        same = if a == b { same + 1 } else { 1 };
        let next = b == a.wrapping_add(1) || (a == b'9' && (b == b'0' || b == b'a' || b == b'A'));
        rising = if next && b.is_ascii_alphanumeric() { rising + 1 } else { 1 };
        longest_same = longest_same.max(same);
        longest_rising = longest_rising.max(rising);
    }
    let distinct = distinct(value);
    is_crossed_out(value)
        || longest_same >= 6
        || (longest_rising >= 8 && longest_rising * 4 >= value.len())
        || (value.len() >= 16 && distinct < 6)
        || (value.len() >= 6 && distinct < 3)
}

/// Whether a value of a known format looks made by a machine.
pub(super) fn is_random(value: &[u8]) -> bool {
    // 2.5 bits: below what 16 or more random hexadecimal digits ever show.
    entropy(value) >= 640 && !is_stand_in(value)
}
