//! The parser: one loop over the bytes, no recursion, the open containers linked through the nodes themselves.

use std::borrow::Cow;

use super::{JsonError, JsonErrorKind, Kind, Limits, NONE, Node, Reading, scan, text};

/// Up to this many keys are compared each with each; more are sorted.
const FEW_KEYS: usize = 16;

pub(super) fn parse(
    text: &str,
    limits: Limits,
    reading: Reading,
    mut nodes: Vec<Node>,
) -> Result<Vec<Node>, JsonError> {
    if u32::try_from(text.len()).is_err() {
        return Err(JsonError::new(JsonErrorKind::TooLarge, 0));
    }
    if text.starts_with('\u{feff}') {
        return Err(JsonError::new(JsonErrorKind::ByteOrderMark, 0));
    }
    nodes.clear();
    // One node for about 20 bytes is typical of requests; a bad guess costs a few copies.
    nodes.reserve(text.len() / 20 + 8);
    let mut parser = Parser { text, at: 0, nodes, open: NONE, depth: 0, limits, reading };
    parser.run()?;
    Ok(parser.nodes)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    /// After `[`: a value or its end.
    FirstItem,
    /// After `,` in an object.
    Key,
    /// After `{`: a key or its end.
    FirstKey,
    /// After a value.
    Delimiter,
}

struct Parser<'b> {
    text: &'b str,
    at: usize,
    nodes: Vec<Node>,
    /// The innermost open container. While it is open, its `next` counts what is in it.
    open: u32,
    depth: u32,
    limits: Limits,
    reading: Reading,
}

impl<'b> Parser<'b> {
    fn run(&mut self) -> Result<(), JsonError> {
        let mut expect = Expect::Value;
        loop {
            let byte = self.skip_space();
            expect = match expect {
                Expect::Value | Expect::FirstItem => match byte {
                    Some(b'"') => self.string(Kind::String)?,
                    Some(b'{') => self.enter(Kind::Object)?,
                    Some(b'[') => self.enter(Kind::Array)?,
                    Some(b'-' | b'0'..=b'9') => self.number()?,
                    Some(b']') if expect == Expect::FirstItem => self.leave()?,
                    Some(_) => self.literal()?,
                    None => return Err(self.error(JsonErrorKind::UnexpectedEnd)),
                },
                Expect::Key | Expect::FirstKey => match byte {
                    Some(b'"') => {
                        self.string(Kind::Key)?;
                        match self.skip_space() {
                            Some(b':') => self.at += 1,
                            Some(_) => return Err(self.error(JsonErrorKind::UnexpectedByte)),
                            None => return Err(self.error(JsonErrorKind::UnexpectedEnd)),
                        }
                        Expect::Value
                    }
                    Some(b'}') if expect == Expect::FirstKey => self.leave()?,
                    Some(_) => return Err(self.error(JsonErrorKind::UnexpectedByte)),
                    None => return Err(self.error(JsonErrorKind::UnexpectedEnd)),
                },
                Expect::Delimiter => {
                    let Some(open) = self.nodes.get(self.open as usize) else {
                        match (byte, self.reading) {
                            (None, _) => return Ok(()),
                            (Some(_), Reading::Strict | Reading::Answer) => {
                                return Err(self.error(JsonErrorKind::TrailingData));
                            }
                            (Some(_), Reading::Lenient) => {
                                expect = Expect::Value;
                                continue;
                            }
                        }
                    };
                    match (byte, open.kind) {
                        (Some(b','), Kind::Object) => {
                            self.at += 1;
                            Expect::Key
                        }
                        (Some(b','), _) => {
                            self.at += 1;
                            Expect::Value
                        }
                        (Some(b'}'), Kind::Object) | (Some(b']'), Kind::Array) => self.leave()?,
                        (Some(_), _) => return Err(self.error(JsonErrorKind::UnexpectedByte)),
                        (None, _) => return Err(self.error(JsonErrorKind::UnexpectedEnd)),
                    }
                }
            };
        }
    }

    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError::new(kind, self.at)
    }

    fn rest(&self) -> &'b [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// Moves to the next byte that is no white space.
    fn skip_space(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Adds a node that ends at `end` and moves there.
    fn push(&mut self, kind: Kind, end: usize, escaped: bool) -> Result<Expect, JsonError> {
        let id = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        if id >= self.limits.nodes {
            return Err(self.error(JsonErrorKind::TooManyNodes));
        }
        let slot = self.nodes.get_mut(self.open as usize).map_or(0, |open| {
            let slot = open.next;
            // A key and its value share a slot.
            open.next += u32::from(kind != Kind::Key);
            slot
        });
        // The length was checked to fit.
        let narrow = |offset: usize| u32::try_from(offset).unwrap_or(NONE);
        let (start, end_offset) = (narrow(self.at), narrow(end));
        self.nodes.push(Node {
            start,
            end: end_offset,
            next: id.saturating_add(1),
            parent: self.open,
            slot,
            kind,
            escaped,
        });
        self.at = end;
        Ok(Expect::Delimiter)
    }

    fn enter(&mut self, kind: Kind) -> Result<Expect, JsonError> {
        if self.depth >= self.limits.depth {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        let id = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        self.push(kind, self.at + 1, false)?;
        if let Some(node) = self.nodes.get_mut(id as usize) {
            node.next = 0;
        }
        self.open = id;
        self.depth += 1;
        Ok(if kind == Kind::Object { Expect::FirstKey } else { Expect::FirstItem })
    }

    fn leave(&mut self) -> Result<Expect, JsonError> {
        let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        let end = u32::try_from(self.at + 1).unwrap_or(NONE);
        let Some(node) = self.nodes.get_mut(self.open as usize) else {
            return Err(self.error(JsonErrorKind::UnexpectedByte));
        };
        let members = node.next as usize;
        node.next = next;
        node.end = end;
        let (kind, parent) = (node.kind, node.parent);
        if kind == Kind::Object && members > 1 && self.reading != Reading::Lenient {
            self.refuse_duplicates(self.open, members)?;
        }
        self.open = parent;
        self.depth = self.depth.saturating_sub(1);
        self.at += 1;
        Ok(Expect::Delimiter)
    }

    fn string(&mut self, kind: Kind) -> Result<Expect, JsonError> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        let mut escaped = false;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let run = scan::plain_run(rest);
            at += run;
            match rest.get(run) {
                Some(b'"') => return self.push(kind, at + 1, escaped),
                Some(b'\\') => {
                    escaped = true;
                    let Some(escape) = rest.get(run..).and_then(text::read_escape) else {
                        let kind = if rest.len() - run < 6 && !rest.iter().skip(run).any(|byte| *byte == b'"')
                        {
                            JsonErrorKind::UnexpectedEnd
                        } else {
                            JsonErrorKind::InvalidEscape
                        };
                        return Err(JsonError::new(kind, at));
                    };
                    if escape.lone && self.reading == Reading::Strict {
                        return Err(JsonError::new(JsonErrorKind::LoneSurrogate, at));
                    }
                    at += escape.length;
                }
                Some(_) => return Err(JsonError::new(JsonErrorKind::ControlCharacter, at)),
                None => return Err(JsonError::new(JsonErrorKind::UnexpectedEnd, at)),
            }
        }
    }

    fn number(&mut self) -> Result<Expect, JsonError> {
        let bytes = self.rest();
        let digits = |from: usize| {
            bytes.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(sign);
        let leading_zero = whole > 1 && bytes.get(sign) == Some(&b'0');
        if whole == 0 && self.reading != Reading::Strict && bytes.starts_with(b"-Infinity") {
            return self.push(Kind::Null, self.at + b"-Infinity".len(), false);
        }
        if whole == 0 || leading_zero {
            return Err(self.error(JsonErrorKind::InvalidNumber));
        }
        let mut length = sign + whole;
        if bytes.get(length) == Some(&b'.') {
            let fraction = digits(length + 1);
            if fraction == 0 {
                return Err(self.error(JsonErrorKind::InvalidNumber));
            }
            length += 1 + fraction;
        }
        let mut exponent = false;
        if matches!(bytes.get(length), Some(b'e' | b'E')) {
            exponent = true;
            length += 1;
            length += usize::from(matches!(bytes.get(length), Some(b'+' | b'-')));
            let power = digits(length);
            if power == 0 {
                return Err(self.error(JsonErrorKind::InvalidNumber));
            }
            length += power;
        }
        let end = self.at + length;
        // Only an exponent or hundreds of digits can leave the range of a double.
        if self.reading == Reading::Strict && (exponent || whole > 300) {
            let finite = self
                .text
                .get(self.at..end)
                .and_then(|number| number.parse::<f64>().ok())
                .is_some_and(f64::is_finite);
            if !finite {
                return Err(self.error(JsonErrorKind::NumberOutOfRange));
            }
        }
        self.push(Kind::Number, end, false)
    }

    fn literal(&mut self) -> Result<Expect, JsonError> {
        const STRICT: [(&[u8], Kind); 3] =
            [(b"true", Kind::True), (b"false", Kind::False), (b"null", Kind::Null)];
        const LENIENT: [(&[u8], Kind); 2] = [(b"NaN", Kind::Null), (b"Infinity", Kind::Null)];
        let rest = self.rest();
        let more: &[_] = if self.reading == Reading::Strict { &[] } else { &LENIENT };
        for (word, kind) in STRICT.iter().chain(more) {
            if rest.starts_with(word) {
                return self.push(*kind, self.at + word.len(), false);
            }
            if !rest.is_empty() && word.starts_with(rest) {
                return Err(JsonError::new(JsonErrorKind::UnexpectedEnd, self.text.len()));
            }
        }
        Err(self.error(JsonErrorKind::UnexpectedByte))
    }

    /// Refuses an object in which two keys are the same after decoding. The error names the second one.
    fn refuse_duplicates(&self, object: u32, members: usize) -> Result<(), JsonError> {
        let key_at = |id: u32| self.nodes.get(id as usize);
        if members <= FEW_KEYS {
            let mut seen: [&[u8]; FEW_KEYS] = [&[]; FEW_KEYS];
            let mut at = object + 1;
            let mut plain = true;
            for index in 0..members {
                let Some(key) = key_at(at) else { return Ok(()) };
                if key.escaped {
                    plain = false;
                    break;
                }
                let name = self.key_bytes(key);
                if seen.iter().take(index).any(|other| *other == name) {
                    return Err(JsonError::new(JsonErrorKind::DuplicateKey, key.start as usize));
                }
                if let Some(slot) = seen.get_mut(index) {
                    *slot = name;
                }
                at = key_at(at + 1).map_or(NONE, |value| value.next);
            }
            if plain {
                return Ok(());
            }
        }
        let mut keys: Vec<(Cow<'_, str>, u32)> = Vec::with_capacity(members);
        let mut at = object + 1;
        for _ in 0..members {
            let Some(key) = key_at(at) else { break };
            let content = self.text.get(key.start as usize + 1..key.end as usize - 1).unwrap_or_default();
            let name = if key.escaped { text::unescape(content) } else { Cow::Borrowed(content) };
            keys.push((name, key.start));
            at = key_at(at + 1).map_or(NONE, |value| value.next);
        }
        // Cost is bounded by the bytes of the keys times a logarithm, whatever prefixes they share.
        keys.sort_unstable();
        let second = keys.iter().zip(keys.iter().skip(1)).filter(|(a, b)| a.0 == b.0).map(|(_, b)| b.1).min();
        second.map_or(Ok(()), |start| Err(JsonError::new(JsonErrorKind::DuplicateKey, start as usize)))
    }

    fn key_bytes(&self, key: &Node) -> &'b [u8] {
        self.text.as_bytes().get(key.start as usize + 1..key.end as usize - 1).unwrap_or_default()
    }
}
