//! Finding the `data` of events, however the bytes are cut (WHATWG HTML, 9.2.6).

use std::ops::ControlFlow;

/// An event is larger than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is too large")]
pub struct EventTooLarge;

/// Splits a stream into events. Holds at most one event that is not complete, and one line of it.
#[derive(Debug)]
pub struct Splitter {
    /// The line so far, when it began in an earlier piece.
    line: Vec<u8>,
    /// The data of the event so far, when it has more than one line.
    data: Vec<u8>,
    has_data: bool,
    /// The piece before ended in CR: a LF that follows belongs to it.
    after_cr: bool,
    at_start: bool,
    limit: usize,
}

impl Splitter {
    /// Lines and data of events of more than `limit` bytes are an error, however the bytes are cut.
    pub const fn new(limit: usize) -> Self {
        Self { line: Vec::new(), data: Vec::new(), has_data: false, after_cr: false, at_start: true, limit }
    }

    /// Whether bytes of an event that is not complete are held.
    pub fn is_inside_event(&self) -> bool {
        !self.line.is_empty() || self.has_data
    }

    /// Whether a line can be put in here without touching what is around it.
    pub fn is_between_events(&self) -> bool {
        !self.is_inside_event() && !self.after_cr
    }

    /// Takes the next bytes and gives the data of each event that is complete, without its line ends.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut event: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), EventTooLarge> {
        let mut rest = bytes;
        if self.after_cr {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, behind) = rest.split_at(end);
            let is_cr = behind.first() == Some(&b'\r');
            rest = behind.get(1..).unwrap_or_default();
            if is_cr {
                match rest.split_first() {
                    Some((b'\n', after)) => rest = after,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.check_line(line.len())?;
            if self.line.is_empty() {
                if self.end_of_line(line, &mut event)?.is_break() {
                    return Ok(());
                }
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                if self.end_of_line(&whole, &mut event)?.is_break() {
                    return Ok(());
                }
                whole.clear();
                self.line = whole;
            }
        }
        self.check_line(rest.len())?;
        self.line.extend_from_slice(rest);
        Ok(())
    }

    /// Whether the line may be longer by `more`.
    fn check_line(&self, more: usize) -> Result<(), EventTooLarge> {
        if self.line.len() + more > self.limit { Err(EventTooLarge) } else { Ok(()) }
    }

    fn end_of_line(
        &mut self,
        mut line: &[u8],
        event: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EventTooLarge> {
        if self.at_start {
            self.at_start = false;
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            if !self.has_data {
                return Ok(ControlFlow::Continue(()));
            }
            self.has_data = false;
            let flow = event(&self.data);
            self.data.clear();
            return Ok(flow);
        }
        let Some(value) = line.strip_prefix(b"data") else { return Ok(ControlFlow::Continue(())) };
        let value = match value.split_first() {
            None => value,
            Some((b':', value)) => value.strip_prefix(b" ").unwrap_or(value),
            // A field whose name merely begins so.
            Some(_) => return Ok(ControlFlow::Continue(())),
        };
        if self.data.len() + usize::from(self.has_data) + value.len() > self.limit {
            return Err(EventTooLarge);
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
        Ok(ControlFlow::Continue(()))
    }
}
