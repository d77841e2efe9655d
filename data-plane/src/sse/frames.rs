//! Cutting a stream into its events, each with all of its bytes.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

use super::{EventTooLarge, Splitter};

/// All bytes of an event, and its data where it has some.
type Event = (Bytes, Option<Vec<u8>>);

/// Cuts a stream into events. Holds at most one that is not complete.
#[derive(Debug)]
pub(crate) struct Frames {
    splitter: Splitter,
    /// The event so far.
    held: BytesMut,
    /// Its data, once it is complete.
    data: Option<Vec<u8>>,
    is_line_empty: bool,
    is_after_cr: bool,
}

impl Frames {
    /// Events of more than `limit` bytes are an error.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            splitter: Splitter::new(limit),
            held: BytesMut::new(),
            data: None,
            is_line_empty: true,
            is_after_cr: false,
        }
    }

    /// Takes the next bytes and gives each event that is complete: all its bytes, and its data where it has some. What
    /// comes behind a break is not taken.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut event: impl FnMut(Bytes, Option<&[u8]>) -> ControlFlow<()>,
    ) -> Result<(), EventTooLarge> {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let (line, behind) = rest.split_at_checked(end + 1).unwrap_or((rest, &[]));
            rest = behind;
            // A LF that follows a CR belongs to it.
            let is_second_half = self.is_after_cr && line == b"\n";
            let ends_block = (self.is_line_empty && end == 0) || is_second_half;
            self.take(line)?;
            self.is_line_empty = true;
            self.is_after_cr = line.ends_with(b"\r");
            let is_alone = !is_second_half || self.held.len() == 1;
            // Data that was seen belongs to the block whose empty line this is.
            if ends_block && is_alone {
                let data = self.data.take();
                if event(self.held.split().freeze(), data.as_deref()).is_break() {
                    return Ok(());
                }
            }
        }
        if !rest.is_empty() {
            self.take(rest)?;
            self.is_line_empty = false;
            self.is_after_cr = false;
        }
        Ok(())
    }

    /// What is left when the stream ends: the last event need not be followed by an empty line.
    pub(crate) fn rest(&mut self) -> Result<Option<Event>, EventTooLarge> {
        let left = std::mem::take(&mut self.held);
        if left.is_empty() {
            return Ok(None);
        }
        self.take(b"\n\n")?;
        self.held.clear();
        Ok(Some((left.freeze(), self.data.take())))
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        let data = &mut self.data;
        self.splitter.push(bytes, |event| {
            *data = Some(event.to_vec());
            ControlFlow::Continue(())
        })?;
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}
