//! Names of people, from gazetteers, the form of words, and the words around.
//!
//! This is a rule system with honest limits: a name that no list knows and no word speaks of is not found. It stands
//! behind one function, [`find`], so that a trained model can take its place.
//!
//! Words are joined to runs that may be names; each piece of a run is scored by what is known of its words, its
//! structure, and its surroundings; the score is a sum of log-odds. Runs are short, so time is linear.

mod cues;
mod lexicon;
mod scripts;
#[cfg(test)]
mod tests;
mod token;

use self::{
    lexicon::Known,
    token::{Gap, Shape, Token},
};
use super::{
    found::{Claims, Found, Kind},
    view::View,
};

/// The most words of a name.
const MOST_WORDS: usize = 6;

/// How far away, in bytes, an address or number still says that a field beside it is a name.
const BESIDE: usize = 100;

/// Working memory.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    word: String,
    tokens: Vec<Token>,
    /// Other claims, sorted by start.
    others: Vec<Found>,
}

/// Reads the gazetteers ahead of the first text.
pub(super) fn warm() {
    lexicon::warm();
}

/// Claims names in `view`, which stands under `key`. The claims that are there already are taken as settled.
pub(super) fn find(view: &View<'_>, key: Option<&str>, claims: &mut Claims, buffers: &mut Buffers) {
    let Buffers { word, tokens, others } = buffers;
    others.clear();
    others.extend(claims.all().iter().filter(|claim| claim.kind != Kind::Person));
    others.sort_by_key(|claim| (claim.start, claim.end));
    token::read(view, word, tokens);
    let shouted = shouted(tokens);
    let titled = titled(tokens);
    let names_key = key.is_some_and(|key| is_name_key(key, word));
    let column = Column::of(view.text, word);
    let reader = Reader { view, tokens, others, shouted, titled, names_key, column };
    let mut at = 0;
    while at < tokens.len() {
        let end = reader.run(at);
        if end > at {
            reader.pick(at, end, claims, word);
        }
        at = end.max(at + 1);
    }
    scripts::find(view, others, names_key, claims);
}

/// Whether most words are written in capitals, so that capitals say nothing.
fn shouted(tokens: &[Token]) -> bool {
    let upper = tokens.iter().filter(|token| token.shape == Shape::Upper).count();
    upper >= 3 && upper * 2 > tokens.len()
}

/// Whether most words begin with a capital letter, as in headlines.
fn titled(tokens: &[Token]) -> bool {
    let long = || tokens.iter().filter(|token| token.letters >= 4);
    let capital = long().filter(|token| token.capital()).count();
    let lower_words = long().filter(|token| !token.capital()).count();
    capital >= 5 && capital > lower_words * 2
}

/// `name`, `customerName`, `full_name`: but not `file_name`, `hostname`.
fn is_name_key(key: &str, buffer: &mut String) -> bool {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in key.chars().take(64) {
        if !c.is_alphabetic()
            || (c.is_uppercase()
                && !word.is_empty()
                && word.chars().next_back().is_some_and(char::is_lowercase))
        {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.push(c);
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    let things = [
        "file", "host", "user", "model", "tool", "function", "product", "company", "project", "table",
        "column", "class", "display", "path", "event", "brand", "city", "country", "street", "domain",
        "service", "job", "team", "bucket", "key", "field", "tag", "group", "role",
    ];
    let Some((last, before)) = words.split_last() else { return false };
    if before.iter().any(|word| things.contains(&word.to_lowercase().as_str())) {
        return false;
    }
    lexicon::look_up(last, buffer).has(Known::NAME.with(Known::ROLE))
}

/// The column of names of a table: `id,name,city`.
#[derive(Clone, Copy)]
struct Column {
    /// Where the rows begin.
    from: usize,
    separator: u8,
    /// How many separators stand before it in a row.
    index: usize,
}

/// How far back the start of a row is looked for, in bytes.
const LONGEST_ROW: usize = 512;

impl Column {
    /// The column that the first line that looks like the head of a table calls one of names.
    fn of(text: &str, buffer: &mut String) -> Option<Self> {
        let mut start = 0;
        for line in text.split_inclusive('\n').take(32) {
            let from = start + line.len();
            start = from;
            let separators = [b'|', b'\t', b';', b','];
            let Some(separator) =
                separators.into_iter().find(|separator| line.as_bytes().contains(separator))
            else {
                continue;
            };
            let mut cells = line.trim_end_matches('\n').split(char::from(separator));
            if cells.clone().any(|cell| cell.len() > 24 || cell.bytes().any(|byte| byte.is_ascii_digit())) {
                continue;
            }
            if let Some(index) = cells.position(|cell| is_name_key(cell.trim(), buffer)) {
                return Some(Self { from, separator, index });
            }
        }
        None
    }

    /// Whether the field that begins at `at` stands in the column.
    fn holds(&self, bytes: &[u8], at: usize) -> bool {
        if at < self.from {
            return false;
        }
        let row = bytes.get(self.from.max(at.saturating_sub(LONGEST_ROW))..at).unwrap_or(&[]);
        let row = row.rsplit(|&byte| byte == b'\n').next().unwrap_or(&[]);
        row.iter().filter(|&&byte| byte == self.separator).count() == self.index
    }
}

struct Reader<'a> {
    view: &'a View<'a>,
    tokens: &'a [Token],
    others: &'a [Found],
    shouted: bool,
    /// The same for words that only begin with one.
    titled: bool,
    names_key: bool,
    column: Option<Column>,
}

impl Reader<'_> {
    fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at)
    }

    /// Whether a word may be a part of a name.
    fn may_be(&self, token: &Token) -> bool {
        if token.piece || self.covered(token.start, token.end) {
            return false;
        }
        match token.shape {
            Shape::Lower => {
                token.known.has(Known::PARTICLE)
                    || (token.letters >= 3 && !token.known.only_word() && !token.known.has(Known::THING))
            }
            Shape::Initial => true,
            Shape::Mixed => token.known.has(Known::GIVEN.with(Known::FAMILY)) || token.letters > 4,
            _ => !token.known.only_word() || token.known.has(Known::PARTICLE),
        }
    }

    /// Whether the word at `at` may be a family name although it is a word: `Jake Clear`, in the middle of a sentence.
    fn surname_word(&self, at: usize) -> bool {
        let Some((token, before)) = self.token(at).zip(at.checked_sub(1).and_then(|at| self.token(at)))
        else {
            return false;
        };
        token.gap == Gap::Space
            && token.shape == Shape::Title
            && token.letters >= 3
            && !token.piece
            && before.capital()
            && (before.known.has(Known::GIVEN) && before.known.only_name())
            && !token.known.has(
                Known::THING
                    .with(Known::TITLE)
                    .with(Known::ROLE)
                    .with(Known::DOES)
                    .with(Known::PLACE)
                    .with(Known::TO),
            )
            && !self.titled
            && !self.token(at + 1).is_some_and(|next| next.capital() && next.gap == Gap::Space)
    }

    fn covered(&self, start: usize, end: usize) -> bool {
        let at = self.others.partition_point(|claim| claim.start < end);
        // Claims that begin before `end` and reach past `start`; they hardly overlap each other, so few are looked at.
        self.others.iter().take(at).rev().take(4).any(|claim| claim.end > start)
    }

    /// One past the last word of the run that begins at `at`; `at` itself when none does.
    fn run(&self, at: usize) -> usize {
        let Some(first) = self.token(at) else { return at };
        if !self.may_be(first) {
            return at;
        }
        let mut end = at + 1;
        let mut before = first;
        while let Some(next) = self.token(end).filter(|_| end - at < MOST_WORDS) {
            let joined = match next.gap {
                Gap::Space => !before.possessive || before.shape == Shape::Initial,
                // A line break inside a name is one between words that are known, or nearly.
                Gap::Line => {
                    next.start - before.end == 1
                        && before.known.only_name()
                        && (next.capital() == before.capital())
                }
                Gap::Dot => {
                    before.shape == Shape::Initial
                        || (before.letters <= 2 && before.capital() && before.known == Known::NONE)
                }
                Gap::Comma => {
                    end - at <= 2 && next.capital() == before.capital() && (!next.known.only_word())
                }
                _ => false,
            };
            if !joined || !(self.may_be(next) || self.surname_word(end)) {
                break;
            }
            before = next;
            end += 1;
        }
        end
    }

    /// Claims the names in the run `from..to`: the best piece, then what is left of it on both sides.
    fn pick(&self, from: usize, to: usize, claims: &mut Claims, buffer: &mut String) {
        // Lower-case words without a known name among them need a reason to be looked at.
        let reason = self
            .tokens
            .get(from..to)
            .unwrap_or(&[])
            .iter()
            .any(|token| token.capital() || token.known.only_name());
        if !reason && !self.introduced(from) {
            return;
        }
        let mut best: Option<(f32, usize, usize)> = None;
        for start in from..to {
            for end in start + 1..=to {
                let Some(score) = self.score(start, end, buffer) else { continue };
                // A longer piece wins when it is nearly as good: half a name is no redaction.
                #[expect(clippy::cast_precision_loss, reason = "a handful of words")]
                let weighed = score + 0.35 * (end - start) as f32;
                if best.is_none_or(|(other, ..)| weighed > other) {
                    best = Some((weighed, start, end));
                }
            }
        }
        let Some((weighed, start, end)) = best else { return };
        #[expect(clippy::cast_precision_loss, reason = "a handful of words")]
        let score = weighed - 0.35 * (end - start) as f32;
        let probability = 1.0 / (1.0 + (-score).exp());
        if probability < 0.2 {
            return;
        }
        if let (Some(first), Some(last)) = (self.token(start), self.token(end - 1)) {
            let stop = usize::from(
                last.shape == Shape::Initial && self.view.byte(last.end) == b'.' && end - start > 1,
            );
            claims.push(first.start, last.end + stop, Kind::Person, probability.min(0.99));
        }
        if start > from {
            self.pick(from, start, claims, buffer);
        }
        if end < to {
            self.pick(end, to, claims, buffer);
        }
    }

    /// Whether the words before `at`, or a field's border, say that something is named here.
    fn introduced(&self, at: usize) -> bool {
        let Some(token) = self.token(at) else { return false };
        let Some(before) = at.checked_sub(1).and_then(|at| self.token(at)) else { return self.names_key };
        let near = matches!(token.gap, Gap::Space | Gap::Is | Gap::Line | Gap::Comma);
        near && before.known.has(
            Known::TITLE
                .with(Known::ROLE)
                .with(Known::TO)
                .with(Known::DEED)
                .with(Known::NAME)
                .with(Known::CLOSING),
        ) || self.field(token.start, token.end).0
    }

    /// Whether `start` is where a field of a table, a quotation or a line begins, and what quotes it.
    fn field(&self, start: usize, end: usize) -> (bool, bool) {
        let bytes = self.view.bytes();
        let mut left = start;
        while left > 0 && matches!(self.view.before(left), b' ' | b'*') && start - left < 3 {
            left -= 1;
        }
        let mut right = end;
        while matches!(bytes.get(right), Some(b' ' | b'*')) && right - end < 3 {
            right += 1;
        }
        let opens = left == 0
            || matches!(
                self.view.before(left),
                b',' | b'|' | b'\t' | b';' | b'"' | b'\'' | b'\n' | b'(' | b'[' | b'>' | b'=' | b':'
            );
        let closes = right >= bytes.len()
            || matches!(
                self.view.byte(right),
                b',' | b'|' | b'\t' | b';' | b'"' | b'\'' | b'\n' | b'<' | b'(' | b')' | b']' | b'\r'
            );
        (opens, closes)
    }

    /// The log-odds that the words `start..end` are one name; `None` when they cannot be.
    fn score(&self, start: usize, end: usize, buffer: &mut String) -> Option<f32> {
        let words = self.tokens.get(start..end)?;
        let (first, last) = (words.first()?, words.last()?);
        if first.known.has(Known::PARTICLE)
            && !first.known.has(Known::GIVEN.with(Known::FAMILY))
            && first.shape == Shape::Lower
        {
            return None;
        }
        if last.known.has(Known::PARTICLE)
            && !last.known.has(Known::GIVEN.with(Known::FAMILY))
            && last.shape == Shape::Lower
            || last.letters == 1 && words.len() == 1
        {
            return None;
        }
        let before = self.before(start, words.len());
        let mut score = -2.9 + self.inside(words, before >= 3.0)? + before;
        score += self.after(end, words);
        score += self.beside(first.start, last.end, words, buffer);
        Some(score)
    }

    /// What the words themselves say.
    fn inside(&self, words: &[Token], told: bool) -> Option<f32> {
        let mut score: f32 = 0.0;
        let mut names = 0_u8;
        let mut known = 0_u8;
        let mut given_first = false;
        let mut comma = None;
        for (at, token) in words.iter().enumerate() {
            let repeated = known > 0;
            let is_name = token.known.has(Known::GIVEN.with(Known::FAMILY));
            if at > 0 && token.gap == Gap::Comma {
                comma = Some(at);
            }
            if token.known.has(Known::PARTICLE)
                && at > 0
                && at + 1 < words.len()
                && (!is_name || token.shape == Shape::Lower)
            {
                score += 0.6;
                continue;
            }
            names += 1;
            let word = token.known.has(Known::WORD);
            let mut value: f32 = match () {
                () if token.shape == Shape::Initial => 0.5,
                () if token.known.has(Known::GIVEN) && !word => 3.2,
                () if token.known.has(Known::PATRONYMIC) => 2.5,
                () if token.known.has(Known::GIVEN) => 1.1,
                () if token.known.has(Known::FAMILY) && !word => 2.2,
                () if token.known.has(Known::FORM) => 1.4,
                () if is_name => 0.6,
                () if word && at > 0 && at + 1 == words.len() && token.shape == Shape::Title => -0.3,
                () if word => return None,
                () if token.shape == Shape::Mixed => -0.8,
                () if token.shape == Shape::Upper && token.letters <= 4 => -0.8,
                () if token.letters <= 2 => -1.0,
                () if self.titled && token.capital() => -0.6,
                () => 0.2,
            };
            // One given name says much, the next ones add less.
            if repeated {
                value = value.min(1.5);
            }
            if is_name || token.known.has(Known::PATRONYMIC.with(Known::FORM)) {
                known += 1;
            }
            if token.shape == Shape::Lower {
                value -= match (is_name && !word, told) {
                    (true, false) => 0.5,
                    (true, true) => 0.2,
                    (false, false) => 1.7,
                    (false, true) => 0.5,
                };
            } else if token.shape == Shape::Upper && self.shouted {
                value -= 1.0;
            }
            if at == 0 {
                given_first = token.known.has(Known::GIVEN);
            }
            score += value;
        }
        let (first, second) = (words.first()?, words.get(1));
        if names >= 2 {
            score += if given_first || first.shape == Shape::Initial { 1.0 } else { 0.4 };
        }
        let capitals =
            words.iter().filter(|token| !token.known.has(Known::PARTICLE) && token.capital()).count();
        if capitals > 0 && capitals < usize::from(names) {
            score -= 1.5;
        }
        if let Some(at) = comma {
            // `Roe, Jane`: what follows the comma has to be a given name, what stands before it no other one.
            let after = words.get(at)?;
            let listed = first.known.has(Known::GIVEN) && !first.known.has(Known::FAMILY);
            if !after.known.has(Known::GIVEN) || listed && after.known.has(Known::GIVEN) {
                score -= 2.5;
            } else {
                score += if first.known.has(Known::FAMILY.with(Known::FORM)) { 0.5 } else { -0.3 };
            }
        }
        // Two words that may each be something else: `Morgan Stanley`.
        if let Some(second) = second {
            let pair = (self.view.slice(first.start, first.end), self.view.slice(second.start, second.end));
            if COMPANIES.iter().any(|(a, b)| a.eq_ignore_ascii_case(pair.0) && b.eq_ignore_ascii_case(pair.1))
            {
                return None;
            }
        }
        Some(score)
    }

    /// What stands before.
    fn before(&self, start: usize, words: usize) -> f32 {
        let Some(token) = self.token(start) else { return 0.0 };
        let before = start.checked_sub(1).and_then(|at| self.token(at));
        let Some(before) = before else { return if self.names_key { 3.0 } else { 0.0 } };
        let known = before.known;
        let earlier =
            start.checked_sub(2).and_then(|at| self.token(at)).map_or(Known::NONE, |token| token.known);
        let word = self.view.slice(before.start, before.end);
        match token.gap {
            Gap::And => return -2.5,
            Gap::Apostrophe => return -1.0,
            Gap::Is | Gap::Other | Gap::Line if self.label(start) => return 3.0,
            Gap::Line if known.has(Known::CLOSING) => return 3.0,
            Gap::Comma | Gap::Other if known.has(Known::CLOSING) && token.first => return 3.0,
            Gap::Comma if known.has(Known::TITLE) => return 1.5,
            Gap::Dot if known.has(Known::TITLE) && before.letters <= 4 => return 3.0,
            Gap::Space => {}
            Gap::Comma => return 0.0,
            _ => return if token.first && words == 1 && token.known.has(Known::WORD) { -0.6 } else { 0.0 },
        }
        let mut score: f32 = 0.0;
        if known.has(Known::PLACE) && before.capital() {
            score -= 3.0;
        } else if known.has(Known::TITLE) {
            score += 3.0;
        } else if known.has(Known::ROLE) {
            score += 2.2;
        } else if known.has(Known::DEED) {
            score += 1.4;
        } else if known.has(Known::TO) {
            score += 0.8;
            if earlier.has(Known::DEED.with(Known::NAME)) {
                score += 1.6;
            } else if earlier.has(Known::ROLE) {
                score += 0.5;
            }
        }
        if [
            "is", "am", "i'm", "im", "called", "heiße", "heisse", "suis", "soy", "sou", "sono", "ben",
            "heet", "heter", "jestem",
        ]
        .iter()
        .any(|is| is.eq_ignore_ascii_case(word))
        {
            let self_told = ["i", "this", "name", "who", "here", "it"].iter().any(|&who| {
                start
                    .checked_sub(2)
                    .and_then(|at| self.token(at))
                    .is_some_and(|token| self.view.slice(token.start, token.end).eq_ignore_ascii_case(who))
            });
            score += if earlier.has(Known::NAME) {
                3.4
            } else if self_told {
                2.1
            } else {
                0.3
            };
        }
        if ["the", "a", "an", "this", "that", "der", "die", "das", "le", "les", "el", "il", "het"]
            .iter()
            .any(|the| the.eq_ignore_ascii_case(word))
        {
            score -= if words == 1 { 1.5 } else { 0.8 };
        }
        if before.capital() && known.has(Known::THING) && !before.first {
            score -= 1.0;
        }
        score
    }

    /// Whether `name=`, `"name":`, `From:` or the like stands before the word.
    fn label(&self, start: usize) -> bool {
        let Some((token, before)) = self.token(start).zip(start.checked_sub(1).and_then(|at| self.token(at)))
        else {
            return false;
        };
        let between = self.view.slice(before.end, token.start);
        let only_marks = between.len() <= 6 && between.contains([':', '=', '：']) && !between.contains('\n');
        if !only_marks {
            return false;
        }
        let earlier = start.checked_sub(2).and_then(|at| self.token(at));
        let joined = earlier.filter(|earlier| {
            before.start - earlier.end == 1 && matches!(self.view.byte(earlier.end), b'_' | b'-' | b' ')
        });
        let thing = joined.is_some_and(|earlier| {
            let word = self.view.slice(earlier.start, earlier.end);
            [
                "file", "host", "user", "model", "tool", "function", "product", "company", "project",
                "table", "column", "class", "display", "event", "brand", "city", "service", "job", "team",
            ]
            .iter()
            .any(|thing| thing.eq_ignore_ascii_case(word))
        });
        before.known.has(Known::NAME.with(Known::ROLE).with(Known::TITLE)) && !thing
    }

    /// What stands behind.
    fn after(&self, end: usize, words: &[Token]) -> f32 {
        let Some(last) = words.last() else { return 0.0 };
        let mut score: f32 = 0.0;
        if last.possessive {
            score += 0.3;
        }
        let Some(next) = self.token(end) else { return score };
        if next.gap == Gap::And {
            return score - 2.5;
        }
        if next.gap == Gap::Space {
            if next.known.has(Known::THING)
                && !next.known.has(Known::DOES)
                && (next.capital() || words.len() == 1 || !words.iter().any(|token| token.known.only_name()))
            {
                score -= 3.0;
            } else if next.known.has(Known::DOES) && !next.capital() {
                let verb = self.view.slice(next.start, next.end);
                score += if HUMAN.iter().any(|human| human.eq_ignore_ascii_case(verb)) { 2.0 } else { 0.8 };
            } else if next.capital() && next.known.only_word() && words.len() == 1 && !last.known.only_name()
            {
                score -= 0.8;
            }
        }
        // `Jan 5`, `May 2024`
        let day = self.view.slice(last.end, (last.end + 2).min(self.view.text.len()));
        if words.len() == 1
            && MONTHS.iter().any(|month| month.eq_ignore_ascii_case(self.view.slice(last.start, last.end)))
            && (day.starts_with(' ') && day.ends_with(|c: char| c.is_ascii_digit())
                || self.view.before(last.start) == b' '
                    && last.start >= 2
                    && self.view.byte(last.start - 2).is_ascii_digit())
        {
            score -= 3.0;
        }
        // `Lloyd's of London`, `Moody's Analytics`
        if last.possessive
            && words.len() == 1
            && self.token(end + 1).is_some_and(|token| token.capital() && token.gap == Gap::Space)
        {
            score -= 0.8;
        }
        score
    }

    /// What stands around: a field of its own, an address beside it that is made of the name.
    fn beside(&self, start: usize, end: usize, words: &[Token], buffer: &mut String) -> f32 {
        let mut score: f32 = 0.0;
        let (opens, closes) = self.field(start, end);
        let mut near = false;
        let at = self.others.partition_point(|claim| claim.start < start);
        let left = self.others.iter().take(at).rev().take(4);
        let right = self.others.iter().skip(at).take(4);
        for claim in left.chain(right) {
            let distance =
                if claim.start >= end { claim.start - end } else { start.saturating_sub(claim.end) };
            if claim.kind == Kind::Email && distance <= 400 {
                let address = self.view.slice(claim.start, claim.end);
                let local = address.split(['@', ' ']).next().unwrap_or("");
                if words.iter().any(|token| made_of(local, self.view.slice(token.start, token.end), buffer)) {
                    score += 3.0;
                    near = true;
                    break;
                }
            }
            near |= distance <= BESIDE && !matches!(claim.kind, Kind::Url | Kind::Other);
        }
        if opens && closes && self.column.is_some_and(|column| column.holds(self.view.bytes(), start)) {
            score += 3.2;
        } else if opens && closes && near {
            score += 2.6;
        } else if opens && closes && self.names_key {
            score += 1.0;
        } else if near && self.view.slice(end, (end + 2).min(self.view.text.len())).starts_with([' ', ',']) {
            // `Jane Roe (jane@…`, `Jane Roe <jane@…`, `Jane Roe, +44 …`
            let next =
                self.others.iter().skip(at).take(1).any(|claim| claim.start >= end && claim.start - end <= 3);
            score += if next { 1.5 } else { 0.0 };
        }
        score
    }
}

/// Whether the part of an address before its `@` is made of the word: at least four letters of it stand there, or all
/// of a piece between separators.
fn made_of(local: &str, word: &str, buffer: &mut String) -> bool {
    lexicon::fold(word, buffer);
    if buffer.len() < 3 || local.len() > 64 {
        return false;
    }
    let name = buffer.as_bytes();
    let holds = local.as_bytes().windows(name.len()).any(|window| window.eq_ignore_ascii_case(name));
    holds
        && (name.len() >= 4
            || local.split(|c: char| !c.is_alphabetic()).any(|piece| piece.eq_ignore_ascii_case(buffer)))
}

/// What nobody but people does.
const HUMAN: [&str; 44] = [
    "lives",
    "lived",
    "said",
    "says",
    "wrote",
    "asked",
    "asks",
    "told",
    "tells",
    "thinks",
    "thought",
    "wants",
    "wanted",
    "smiled",
    "laughed",
    "cried",
    "died",
    "married",
    "wohnt",
    "wohnte",
    "sagte",
    "sagt",
    "bittet",
    "bat",
    "dice",
    "dijo",
    "vive",
    "habite",
    "mora",
    "abita",
    "woont",
    "bor",
    "mieszka",
    "disse",
    "signed",
    "loves",
    "likes",
    "knows",
    "joined",
    "lebt",
    "säger",
    "zegt",
    "сказал",
    "сказала",
];

/// Months that are names too, and how they are cut short.
const MONTHS: [&str; 12] =
    ["jan", "may", "june", "april", "august", "mar", "jun", "jul", "aug", "sep", "apr", "dec"];

/// Firms and brands that bear the names of people.
const COMPANIES: [(&str, &str); 34] = [
    ("morgan", "stanley"),
    ("goldman", "sachs"),
    ("charles", "schwab"),
    ("merrill", "lynch"),
    ("ernst", "young"),
    ("calvin", "klein"),
    ("tommy", "hilfiger"),
    ("ralph", "lauren"),
    ("hugo", "boss"),
    ("louis", "vuitton"),
    ("harley", "davidson"),
    ("rolls", "royce"),
    ("papa", "john"),
    ("wells", "fargo"),
    ("lehman", "brothers"),
    ("warner", "bros"),
    ("warner", "brothers"),
    ("mercedes", "benz"),
    ("aston", "martin"),
    ("jack", "daniels"),
    ("johnnie", "walker"),
    ("marks", "spencer"),
    ("estee", "lauder"),
    ("michael", "kors"),
    ("jimmy", "choo"),
    ("john", "deere"),
    ("eli", "lilly"),
    ("booz", "allen"),
    ("tiffany", "co"),
    ("dolce", "gabbana"),
    ("baskin", "robbins"),
    ("black", "friday"),
    ("john", "hopkins"),
    ("johns", "hopkins"),
];
