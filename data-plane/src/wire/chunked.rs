//! Following a chunked body to its end, without keeping any of it.
//!
//! Stricter than RFC 9112, 7.1 allows: line ends are CRLF, sizes have at most 15 digits, extensions are short, and
//! trailers are refused (no client of a model API sends them, and they are one more place to disagree about).

use super::head::Fault;

/// Bytes of extensions that one chunk may carry.
const MAX_EXTENSION: u16 = 256;

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the digits of a size; `digits` so far.
    Size {
        /// The size so far.
        size: u64,
        /// Digits so far.
        digits: u8,
    },
    /// In an extension, which runs to the end of the line.
    Extension {
        /// The size of the chunk.
        size: u64,
        /// Bytes so far.
        bytes: u16,
    },
    /// At the line feed behind a size.
    SizeLf {
        /// The size of the chunk.
        size: u64,
    },
    /// In the data of a chunk.
    Data {
        /// Bytes left.
        left: u64,
    },
    /// At the carriage return behind the data.
    DataCr,
    /// At the line feed behind the data.
    DataLf,
    /// At the carriage return of the last, empty line.
    EndCr,
    /// At the line feed of the last, empty line.
    EndLf,
    /// Behind the body.
    Done,
}

impl Chunked {
    /// At the start of a body.
    pub(super) const START: Self = Self::Size { size: 0, digits: 0 };

    /// Follows the body through `bytes` and returns how many of them belong to it.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut position = 0;
        while *self != Self::Done {
            if let Self::Data { left } = *self {
                let here = bytes.len() - position;
                let taken = usize::try_from(left).map_or(here, |left| left.min(here));
                position += taken;
                let left = left - taken as u64;
                *self = if left == 0 { Self::DataCr } else { Self::Data { left } };
                if taken == here {
                    break;
                }
            }
            let Some(byte) = bytes.get(position) else { break };
            *self = self.step(*byte)?;
            position += 1;
        }
        Ok(position)
    }

    fn step(self, byte: u8) -> Result<Self, Fault> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { size: size * 16 + u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. } | Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, digits: 1.. }, b';') => Self::Extension { size, bytes: 0 },
            (Self::Extension { size, bytes }, b'\t' | 0x20..=0x7e) if bytes < MAX_EXTENSION => {
                Self::Extension { size, bytes: bytes + 1 }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::EndCr,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::START,
            (Self::EndCr, b'\r') => Self::EndLf,
            (Self::EndLf, b'\n') => Self::Done,
            _ => return Err(Fault::MalformedChunk),
        })
    }
}
