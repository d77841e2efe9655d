//! A text as a row of words. The words stand in one buffer with a space before and after each, so that one automaton
//! finds words, beginnings of words and phrases whatever stood between them.

use unicode_normalization::char::is_combining_mark;

use super::concept::Concept;

/// Sentences are not ended below this many words: "ignore. all. previous." is one sentence.
const MIN_SENTENCE_WORDS: u32 = 3 * WORD;

/// A text without full stops is cut here.
const MAX_SENTENCE_WORDS: u32 = 64 * WORD;

/// What a word counts; a single letter, which may be one of a word written apart, and an ideograph count less.
const WORD: u32 = 4;
const LETTER: u32 = 1;
const IDEOGRAPH: u32 = 2;

/// Longer words are cut, so that one word is never the whole text.
const MAX_WORD_BYTES: usize = 1024;

/// A single line break after a line shorter than this many bytes ends a sentence; a longer line was wrapped.
const WRAPPED_LINE_BYTES: usize = 50;

/// How many of the same sign in a row are kept.
const MAX_REPEATED_SIGNS: u32 = 4;

/// How the text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// As it is.
    Plain,
    /// Digits and signs as the letters that they look like; `l` is read as `i`, because `1` stands for both.
    Leet,
    /// Letters moved by thirteen.
    Rot13,
    /// From the end.
    Reversed,
}

/// One word or sign.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    /// Where it starts in the buffer.
    pub at: u32,
    /// First byte in the canonical text.
    pub start: u32,
    /// One past its last byte there.
    pub end: u32,
    /// Its place, in half words: signs and ideographs count one, words two.
    pub pos: u32,
    /// The sentence that it stands in.
    pub sentence: u32,
    /// Whether a line, a sentence or a quotation starts with it.
    pub leads: bool,
}

/// The words of a text in one view.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    pub buffer: String,
    pub list: Vec<Token>,
    /// Concepts that are known by the form of a word: index of the token, and what it is.
    pub forms: Vec<(u32, Concept)>,
    /// What other views are worth a look.
    pub cues: Cues,
    state: State,
}

/// What was seen that another view could make sense of.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cues {
    /// Words of letters mixed with digits or signs.
    pub leet_words: u32,
    /// The longest row of single letters.
    pub spaced_letters: u32,
    /// Words too long for one word.
    pub long_words: u32,
}

#[derive(Debug, Default)]
struct State {
    pos: u32,
    sentence: u32,
    words_in_sentence: u32,
    leads: bool,
    spaced_row: u32,
    sign: char,
    sign_count: u32,
    word: Word,
}

/// The word being read.
#[derive(Debug, Default, Clone, Copy)]
struct Word {
    open: bool,
    at: usize,
    start: usize,
    end: usize,
    letters: u32,
    /// Digits and signs that leetspeak uses, beside or between letters.
    leet: u32,
    underscores: u32,
    last: char,
    repeated: u32,
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Tokens {
    /// Forgets the text, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.list.clear();
        self.forms.clear();
        self.cues = Cues::default();
        self.state = State { leads: true, ..State::default() };
        self.buffer.push(' ');
    }

    /// Reads `text`, a canonical text.
    pub(super) fn fill(&mut self, text: &str, view: View) {
        self.clear();
        match view {
            View::Plain => self.read(text, text.char_indices()),
            View::Rot13 => self.read(text, text.char_indices().map(|(at, c)| (at, rot13(c)))),
            View::Reversed => self.read(text, text.char_indices().rev()),
            View::Leet => {
                let mut before = ' ';
                let mut chars = text.char_indices().peekable();
                let folded = std::iter::from_fn(|| {
                    let (at, c) = chars.next()?;
                    let after = chars.peek().map_or(' ', |&(_, after)| after);
                    let letter = leet(c, before, after);
                    before = c;
                    Some((at, letter))
                });
                self.read(text, folded);
            }
        }
    }

    fn read(&mut self, text: &str, chars: impl Iterator<Item = (usize, char)>) {
        let mut chars = chars.peekable();
        let mut line_start = 0;
        let mut breaks = 0;
        while let Some((at, c)) = chars.next() {
            // What was folded may have been wider than what it is now.
            let width = match text.as_bytes().get(at) {
                None | Some(0..=0x7f) => 1,
                Some(0x80..=0xdf) => 2,
                Some(0xe0..=0xef) => 3,
                Some(0xf0..) => 4,
            };
            if is_word_char(c) {
                if breaks > 0 {
                    self.line_break(breaks, at.abs_diff(line_start));
                    line_start = at;
                    breaks = 0;
                }
                if is_ideograph(c) {
                    self.end_word();
                    self.ideograph(c, at, at + width);
                } else {
                    self.letter(c, at, at + width);
                }
                continue;
            }
            let next = chars.peek().map(|&(_, next)| next);
            if c == '\'' && self.state.word.open && next.is_some_and(char::is_alphabetic) {
                let word = self.buffer.get(self.state.word.at..).unwrap_or_default();
                if !is_elision(word) {
                    continue;
                }
            }
            if c == '@' && self.state.word.open && next.is_some_and(is_word_char) {
                self.end_word();
                self.form(Concept::Address);
                continue;
            }
            self.end_word();
            if c == '\n' {
                breaks += 1;
                self.state.leads = true;
                continue;
            }
            if c.is_whitespace() {
                continue;
            }
            match c {
                '。' | '！' | '？' | '؟' | '।' | '…' | '｡' => self.end_sentence(),
                '.' | '!' | '?' if next.is_none_or(ends_before) => self.end_sentence(),
                _ => {}
            }
            if is_sign(c) || (c == '!' && self.state.sign == '<') {
                if breaks > 0 {
                    self.line_break(breaks, at.abs_diff(line_start));
                    line_start = at;
                    breaks = 0;
                }
                self.sign(c, at, at + width);
            }
            if matches!(
                c,
                '"' | '\''
                    | '`'
                    | '>'
                    | ')'
                    | ']'
                    | '}'
                    | '{'
                    | '('
                    | '['
                    | '|'
                    | '*'
                    | '#'
                    | '-'
                    | '.'
                    | '!'
                    | '?'
                    | ':'
            ) {
                self.state.leads = true;
            }
        }
        self.end_word();
    }

    /// Where the word or sign at `buffer_at` stands in the list.
    pub(super) fn index_at(&self, buffer_at: usize) -> usize {
        let after = self.list.partition_point(|token| token.at as usize <= buffer_at);
        after.saturating_sub(1)
    }

    /// The word at `index`.
    pub(super) fn word(&self, index: usize) -> &str {
        let from = self.list.get(index).map_or(0, |token| token.at as usize);
        let to = self.list.get(index + 1).map_or(self.buffer.len(), |token| token.at as usize);
        self.buffer.get(from..to).unwrap_or_default().trim_end()
    }

    // === reading ===

    fn letter(&mut self, c: char, start: usize, end: usize) {
        let open = self.state.word.open;
        if !open {
            self.state.word = Word { open: true, at: self.buffer.len(), start, end, ..Word::default() };
        }
        let word = &mut self.state.word;
        word.start = word.start.min(start);
        word.end = word.end.max(end);
        if c.is_alphabetic() {
            word.letters += 1;
        } else if c == '_' {
            word.underscores += 1;
        } else if c.is_ascii_digit() {
            word.leet += 1;
        }
        word.repeated = if c == word.last { word.repeated + 1 } else { 0 };
        word.last = c;
        if word.repeated >= 2 && c.is_alphabetic() {
            // "ignoooore": three of the same letter are one.
            if word.repeated == 2 {
                self.buffer.pop();
            }
            return;
        }
        self.buffer.push(c);
        if self.buffer.len() - self.state.word.at >= MAX_WORD_BYTES {
            self.end_word();
        }
    }

    fn end_word(&mut self) {
        let word = self.state.word;
        if !word.open {
            return;
        }
        self.state.word.open = false;
        let bytes = self.buffer.len() - word.at;
        if word.letters + word.leet == 1 {
            self.state.spaced_row += 1;
            self.cues.spaced_letters = self.cues.spaced_letters.max(self.state.spaced_row);
        } else {
            self.state.spaced_row = 0;
        }
        self.cues.leet_words += u32::from(word.leet > 0 && word.letters > 0 && bytes >= 3);
        self.cues.long_words += u32::from(word.letters >= 14);
        if word.underscores > 0 && word.letters >= 3 && word.leet == 0 {
            self.forms.push((narrow(self.list.len()), Concept::Identifier));
        }
        self.push(word.at, word.start, word.end, 2);
        self.count(if word.letters + word.leet == 1 { LETTER } else { WORD });
    }

    /// A text without full stops is cut.
    fn count(&mut self, words: u32) {
        self.state.words_in_sentence += words;
        if self.state.words_in_sentence >= MAX_SENTENCE_WORDS {
            self.end_sentence();
        }
    }

    fn ideograph(&mut self, c: char, start: usize, end: usize) {
        let at = self.buffer.len();
        self.buffer.push(c);
        self.state.spaced_row = 0;
        self.push(at, start, end, 1);
        self.count(IDEOGRAPH);
    }

    fn sign(&mut self, c: char, start: usize, end: usize) {
        if c == self.state.sign {
            self.state.sign_count += 1;
            if self.state.sign_count > MAX_REPEATED_SIGNS {
                return;
            }
        } else {
            self.state.sign_count = 1;
        }
        let at = self.buffer.len();
        self.buffer.push(c);
        self.push(at, start, end, 1);
        self.state.sign = c;
    }

    fn push(&mut self, at: usize, start: usize, end: usize, weight: u32) {
        self.state.pos += weight;
        self.list.push(Token {
            at: narrow(at),
            start: narrow(start),
            end: narrow(end),
            pos: self.state.pos,
            sentence: self.state.sentence,
            leads: self.state.leads,
        });
        self.buffer.push(' ');
        self.state.leads = false;
        self.state.sign = ' ';
    }

    fn form(&mut self, concept: Concept) {
        if let Some(last) = self.list.len().checked_sub(1) {
            self.forms.push((narrow(last), concept));
        }
    }

    fn line_break(&mut self, breaks: usize, line: usize) {
        self.state.leads = true;
        if breaks > 1 || line < WRAPPED_LINE_BYTES {
            self.end_sentence();
        }
    }

    fn end_sentence(&mut self) {
        self.state.leads = true;
        if self.state.words_in_sentence >= MIN_SENTENCE_WORDS {
            self.state.sentence += 1;
            self.state.words_in_sentence = 0;
        }
    }

    // === words made of other words ===

    /// Makes this the words of `source` with rows of single letters joined (`i g n o r e`) and words without spaces
    /// between them taken apart (`ignoreall`) by `split`, which gives the length of the word that a text starts with.
    pub(super) fn regroup(&mut self, source: &Tokens, canonical: &str, split: impl Fn(&str) -> usize) {
        self.clear();
        let mut at = 0;
        while let Some(token) = source.list.get(at).copied() {
            let row = spaced_row(source, canonical, at);
            if row.end - at >= 4 {
                self.join_row(source, canonical, at, &row, &split);
                at = row.end;
                continue;
            }
            self.follow(&token);
            let word = source.word(at);
            if word.chars().nth(13).is_some() {
                self.apart(word, token.start as usize, token.end as usize, &split);
            } else {
                self.copy(word, token);
            }
            at += 1;
        }
    }

    /// Takes over the sentence of a token of the source.
    fn follow(&mut self, token: &Token) {
        self.state.sentence = token.sentence;
        self.state.leads = token.leads;
    }

    fn copy(&mut self, word: &str, token: Token) {
        let at = self.buffer.len();
        self.buffer.push_str(word);
        let weight =
            if word.chars().next().is_some_and(|c| is_word_char(c) && !is_ideograph(c)) { 2 } else { 1 };
        self.push(at, token.start as usize, token.end as usize, weight);
    }

    fn join_row(
        &mut self,
        source: &Tokens,
        canonical: &str,
        first: usize,
        row: &Row,
        split: &impl Fn(&str) -> usize,
    ) {
        let mut from = first;
        let mut word = String::new();
        for at in first..row.end {
            let Some(token) = source.list.get(at) else { break };
            word.push_str(source.word(at));
            let gap = source.list.get(at + 1).map_or(0, |next| gap(canonical, token, next));
            if at + 1 == row.end || gap > row.gap {
                let (Some(head), false) = (source.list.get(from), word.is_empty()) else { break };
                self.follow(head);
                let (start, end) = (head.start.min(token.start) as usize, token.end.max(head.end) as usize);
                if word.len() >= 12 {
                    self.apart(&word, start, end, split);
                } else {
                    let at = self.buffer.len();
                    self.buffer.push_str(&word);
                    self.push(at, start, end, 2);
                }
                word.clear();
                from = at + 1;
            }
        }
    }

    /// Writes the words that `word` is made of; all of them come from the same place.
    fn apart(&mut self, word: &str, start: usize, end: usize, split: &impl Fn(&str) -> usize) {
        let mut rest = word;
        let mut unknown = self.buffer.len();
        while let Some(c) = rest.chars().next() {
            let known = if c == '_' || c.is_ascii_digit() { 0 } else { split(rest) };
            let length = if known > 0 { known } else { c.len_utf8() };
            let part = rest.get(..length).unwrap_or(rest);
            rest = rest.get(length..).unwrap_or_default();
            if known > 0 || c == '_' {
                if self.buffer.len() > unknown {
                    self.push(unknown, start, end, 2);
                }
                if known > 0 {
                    let at = self.buffer.len();
                    self.buffer.push_str(part);
                    self.push(at, start, end, 2);
                }
                unknown = self.buffer.len();
            } else {
                self.buffer.push_str(part);
            }
        }
        if self.buffer.len() > unknown {
            self.push(unknown, start, end, 2);
        }
    }
}

/// A row of single letters: where it ends, and how many characters stand between two letters of one word.
struct Row {
    end: usize,
    gap: usize,
}

fn spaced_row(source: &Tokens, canonical: &str, first: usize) -> Row {
    let single = |at: usize| {
        let word = source.word(at);
        let mut chars = word.chars();
        matches!((chars.next(), chars.next()), (Some(c), None) if is_word_char(c) && !is_ideograph(c))
    };
    let mut end = first;
    let mut narrowest = usize::MAX;
    while end < source.list.len() && single(end) {
        if end > first
            && let (Some(before), Some(token)) = (source.list.get(end - 1), source.list.get(end))
        {
            let gap = gap(canonical, before, token);
            if gap > 8 {
                break;
            }
            narrowest = narrowest.min(gap);
        }
        end += 1;
    }
    Row { end, gap: narrowest }
}

fn gap(canonical: &str, before: &Token, after: &Token) -> usize {
    let (from, to) = (before.end.min(after.end) as usize, before.start.max(after.start) as usize);
    canonical.get(from..to).map_or(usize::MAX, |between| between.chars().take(10).count())
}

/// Letters, digits, marks of letters, and the underscore of names.
fn is_word_char(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    c.is_alphanumeric() || is_combining_mark(c)
}

/// Scripts written without spaces: each character is a word here.
fn is_ideograph(c: char) -> bool {
    matches!(c,
        '\u{0E01}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{3005}'..='\u{3007}'
        | '\u{3041}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// Signs that structure a conversation; others only separate words.
fn is_sign(c: char) -> bool {
    matches!(c, '<' | '>' | '|' | '[' | ']' | '#' | ':' | '/' | '{' | '}')
}

/// Whether a full stop before `next` ends a sentence.
fn ends_before(next: char) -> bool {
    next.is_whitespace() || matches!(next, '"' | '\'' | ')' | ']' | '}' | '<' | '*' | '`' | '.' | '!' | '?')
}

/// Whether a short word before an apostrophe is a word of its own (French, Italian).
fn is_elision(word: &str) -> bool {
    matches!(
        word,
        "l" | "d"
            | "j"
            | "n"
            | "s"
            | "c"
            | "m"
            | "t"
            | "qu"
            | "dell"
            | "all"
            | "nell"
            | "sull"
            | "dall"
            | "quell"
            | "un"
            | "jusqu"
    )
}

fn rot13(c: char) -> char {
    match c {
        'a'..='m' => char::from_u32(u32::from(c) + 13).unwrap_or(c),
        'n'..='z' => char::from_u32(u32::from(c) - 13).unwrap_or(c),
        _ => c,
    }
}

/// The letter that `c` stands for in leetspeak. Signs are letters only beside a letter or digit.
pub(super) fn leet(c: char, before: char, after: char) -> char {
    let inside = || is_word_char(before) || is_word_char(after);
    match c {
        '0' => 'o',
        '1' | 'l' => 'i',
        '2' => 'z',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '6' | '9' => 'g',
        '7' => 't',
        '8' => 'b',
        '@' if inside() => 'a',
        '$' if inside() => 's',
        '!' | '|' if is_word_char(before) && is_word_char(after) || is_word_char(after) => 'i',
        '+' if is_word_char(before) && is_word_char(after) => 't',
        '(' if is_word_char(before) && is_word_char(after) => 'c',
        _ => c,
    }
}

#[cfg(test)]
mod tests;
