//! The framer: which of the bytes received so far may be handed to hyper.

use super::{
    chunked::Chunked,
    head::{Fault, Framing, HeadLimits, judge},
};

/// The first bytes of HTTP/2 with prior knowledge (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Empty lines that are let pass before a request line; RFC 9112, 2.2 asks for one.
const MAX_LEADING_LINES: u8 = 2;

/// Follows the requests of one connection.
#[derive(Debug)]
pub struct Framer {
    state: State,
    limits: HeadLimits,
}

#[derive(Debug)]
enum State {
    /// Nothing is known yet: HTTP/2 or HTTP/1.
    Start,
    /// In a head.
    Head(HeadScan),
    /// In a body with a length.
    Body { left: u64 },
    /// In a chunked body.
    Chunked(Chunked),
    /// HTTP/2: everything passes.
    Http2,
    /// A request was refused: nothing passes any more.
    Refused,
}

/// How far an incomplete head has been looked through; offsets from its first byte.
#[derive(Debug, Default)]
struct HeadScan {
    scanned: usize,
    line_start: usize,
    leading_lines: u8,
    /// Offset of the request line, behind the leading empty lines.
    first_line: usize,
}

/// What came of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleared {
    /// So many from the front may be handed on; the rest is to be given again, with more behind it.
    pub bytes: usize,
    /// What stands behind the cleared bytes is refused.
    pub fault: Option<Fault>,
}

impl Framer {
    /// A framer at the start of a connection.
    pub const fn new(limits: HeadLimits) -> Self {
        Self { state: State::Start, limits }
    }

    /// Whether the next byte belongs to a head (or to nothing yet).
    pub(super) const fn in_head(&self) -> bool {
        matches!(self.state, State::Start | State::Head(_))
    }

    /// Whether a body was begun and not ended, or a request refused: bytes may be on their way that nobody will read.
    pub(super) const fn is_unfinished(&self) -> bool {
        matches!(self.state, State::Body { .. } | State::Chunked(_) | State::Refused)
    }

    /// Whether a request was refused.
    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused)
    }

    /// Refuses whatever comes.
    pub(super) fn refuse(&mut self) {
        self.state = State::Refused;
    }

    /// Judges `bytes`: what was given before and not cleared, and what has come since.
    pub fn clear(&mut self, bytes: &[u8]) -> Cleared {
        let mut position = 0;
        loop {
            let rest = bytes.get(position..).unwrap_or_default();
            let step = match &mut self.state {
                State::Refused => return Cleared { bytes: position, fault: None },
                State::Http2 => return Cleared { bytes: bytes.len(), fault: None },
                _ if rest.is_empty() => return Cleared { bytes: position, fault: None },
                State::Start if rest.len() < PREFACE.len() && PREFACE.starts_with(rest) => {
                    return Cleared { bytes: position, fault: None };
                }
                State::Start if rest.starts_with(PREFACE) => Ok((0, State::Http2)),
                State::Start => Ok((0, State::Head(HeadScan::default()))),
                State::Head(scan) => match scan.advance(rest, self.limits) {
                    Ok(Some((length, Framing::Length(0)))) => Ok((length, State::Head(HeadScan::default()))),
                    Ok(Some((length, Framing::Length(left)))) => Ok((length, State::Body { left })),
                    Ok(Some((length, Framing::Chunked))) => Ok((length, State::Chunked(Chunked::START))),
                    Ok(None) => return Cleared { bytes: position, fault: None },
                    Err(fault) => Err(fault),
                },
                State::Body { left } => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = *left - taken as u64;
                    Ok((
                        taken,
                        if left == 0 { State::Head(HeadScan::default()) } else { State::Body { left } },
                    ))
                }
                State::Chunked(chunked) => chunked.advance(rest).map(|taken| match *chunked {
                    Chunked::Done => (taken, State::Head(HeadScan::default())),
                    unfinished => (taken, State::Chunked(unfinished)),
                }),
            };
            match step {
                Ok((taken, state)) => {
                    position += taken;
                    self.state = state;
                }
                Err(fault) => {
                    self.state = State::Refused;
                    return Cleared { bytes: position, fault: Some(fault) };
                }
            }
        }
    }
}

impl HeadScan {
    /// Looks for the end of the head that `bytes` starts with; returns its length and who frames the body.
    fn advance(&mut self, bytes: &[u8], limits: HeadLimits) -> Result<Option<(usize, Framing)>, Fault> {
        while let Some(found) = bytes.get(self.scanned..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let end = self.scanned + found + 1;
            if end - self.first_line > limits.bytes {
                return Err(Fault::HeadTooLarge);
            }
            let line = bytes.get(self.line_start..end).unwrap_or_default();
            if !line.ends_with(b"\r\n") {
                return Err(Fault::MalformedHead);
            }
            let is_empty = line.len() == 2;
            self.scanned = end;
            let is_first = self.line_start == self.first_line;
            self.line_start = end;
            if is_empty && is_first {
                self.leading_lines += 1;
                self.first_line = end;
                if self.leading_lines > MAX_LEADING_LINES {
                    return Err(Fault::MalformedHead);
                }
            } else if is_empty {
                let head = bytes.get(self.first_line..end).unwrap_or_default();
                return judge(head, limits).map(|framing| Some((end, framing)));
            }
        }
        self.scanned = bytes.len();
        if bytes.len() - self.first_line > limits.bytes {
            return Err(Fault::HeadTooLarge);
        }
        Ok(None)
    }
}
