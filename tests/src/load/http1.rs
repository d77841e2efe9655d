//! A reader of HTTP/1.1 responses that keeps nothing but what the load generator reports. It is hand-written so
//! that the generator costs little beside the gateway that it measures, on the same two cores.

use std::num::NonZeroU16;

/// Longest response head that is accepted, in bytes.
const HEAD_LIMIT: usize = 256 * 1024;

/// A response that has been received whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) status: NonZeroU16,
    /// `x-request-id`.
    pub(crate) request_id: Option<String>,
    /// Body bytes, framing not counted.
    pub(crate) body_bytes: u64,
    /// The connection may be used again.
    pub(crate) keep_alive: bool,
}

/// What a peer sent is no HTTP/1.1 response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the head is malformed")]
    Head,
    #[error("the head is too long")]
    LongHead,
    #[error("a chunk size is malformed")]
    Chunk,
    #[error("bytes follow the response")]
    Surplus,
}

/// Reads one response, fed in pieces of any size.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    state: State,
    /// The head, or a line of the chunk framing, as far as it has come.
    line: Vec<u8>,
    received: Option<Received>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Counted {
        left: u64,
    },
    ChunkSize,
    ChunkData {
        left: u64,
    },
    /// CRLF after a chunk's data.
    ChunkEnd,
    Trailers,
    UntilClose,
    Done,
}

impl Reader {
    /// Takes the next bytes; returns the response once it is whole.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<Option<Received>, Malformed> {
        while !bytes.is_empty() {
            match self.state {
                State::Head => {
                    let Some(head) = self.take_head(&mut bytes)? else { return Ok(None) };
                    let (received, state) = parse_head(&head)?;
                    self.received = Some(received);
                    self.state = state;
                }
                State::Counted { left } => {
                    let left = self.count(&mut bytes, left);
                    self.state = if left == 0 { State::Done } else { State::Counted { left } };
                }
                State::ChunkSize => {
                    let Some(line) = self.take_line(&mut bytes)? else { return Ok(None) };
                    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
                    let size = std::str::from_utf8(digits).ok().map(str::trim);
                    let size = size
                        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                        .ok_or(Malformed::Chunk)?;
                    self.state = if size == 0 { State::Trailers } else { State::ChunkData { left: size } };
                }
                State::ChunkData { left } => {
                    let left = self.count(&mut bytes, left);
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData { left } };
                }
                State::ChunkEnd => {
                    let Some(line) = self.take_line(&mut bytes)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(Malformed::Chunk);
                    }
                    self.state = State::ChunkSize;
                }
                State::Trailers => {
                    let Some(line) = self.take_line(&mut bytes)? else { return Ok(None) };
                    if line.is_empty() {
                        self.state = State::Done;
                    }
                }
                State::UntilClose => {
                    let all = bytes.len() as u64;
                    self.count(&mut bytes, all);
                }
                State::Done => return Err(Malformed::Surplus),
            }
        }
        Ok(if self.state == State::Done { self.received.take() } else { None })
    }

    /// The peer closed the connection: that ends a response of unknown length, and no other.
    pub(crate) fn closed(&mut self) -> Option<Received> {
        self.received.take().filter(|_| self.state == State::UntilClose)
    }

    fn count(&mut self, bytes: &mut &[u8], left: u64) -> u64 {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        *bytes = bytes.get(taken..).unwrap_or_default();
        if let Some(received) = &mut self.received {
            received.body_bytes += taken as u64;
        }
        left - taken as u64
    }

    /// The head without its last empty line, once that has come.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        // The end may lie across two pieces, so the search begins three bytes back.
        let from = self.line.len().saturating_sub(3);
        let before = self.line.len();
        self.line.extend_from_slice(bytes);
        let fresh = self.line.get(from..).unwrap_or_default();
        let Some(at) = fresh.windows(4).position(|window| window == b"\r\n\r\n") else {
            *bytes = &[];
            return if self.line.len() > HEAD_LIMIT { Err(Malformed::LongHead) } else { Ok(None) };
        };
        let end = from + at + 4;
        *bytes = bytes.get(end - before..).unwrap_or_default();
        let mut head = std::mem::take(&mut self.line);
        head.truncate(end - 4);
        Ok(Some(head))
    }

    /// A line without its end, once that has come.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            *bytes = &[];
            return if self.line.len() > HEAD_LIMIT { Err(Malformed::Chunk) } else { Ok(None) };
        };
        self.line.extend_from_slice(bytes.get(..at).unwrap_or_default());
        *bytes = bytes.get(at + 1..).unwrap_or_default();
        let mut line = std::mem::take(&mut self.line);
        if line.pop_if(|last| *last == b'\r').is_none() {
            return Err(Malformed::Chunk);
        }
        Ok(Some(line))
    }
}

fn parse_head(head: &[u8]) -> Result<(Received, State), Malformed> {
    let text = std::str::from_utf8(head).map_err(|_| Malformed::Head)?;
    let mut lines = text.split("\r\n");
    let mut status_line = lines.next().unwrap_or_default().splitn(3, ' ');
    let version = status_line.next().filter(|version| matches!(*version, "HTTP/1.1" | "HTTP/1.0"));
    let status = status_line.next().filter(|digits| digits.len() == 3).and_then(|digits| digits.parse().ok());
    let (Some(version), Some(status)) = (version, status) else { return Err(Malformed::Head) };
    let mut received =
        Received { status, request_id: None, body_bytes: 0, keep_alive: version == "HTTP/1.1" };
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Malformed::Head)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.parse::<u64>().map_err(|_| Malformed::Head)?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            received.keep_alive &= !value.eq_ignore_ascii_case("close");
        } else if name.eq_ignore_ascii_case("x-request-id") {
            received.request_id = Some(value.to_owned());
        }
    }
    let state = match (chunked, length) {
        (true, Some(_)) => return Err(Malformed::Head),
        (true, None) => State::ChunkSize,
        _ if matches!(status.get(), 204 | 304) => State::Done,
        (false, Some(0)) => State::Done,
        (false, Some(left)) => State::Counted { left },
        (false, None) => {
            received.keep_alive = false;
            State::UntilClose
        }
    };
    Ok((received, state))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Result<Option<Received>, Malformed> {
        Reader::default().feed(text.as_bytes())
    }

    fn received(status: u16, body_bytes: u64, keep_alive: bool) -> Received {
        let request_id = Some("r-1".to_owned());
        Received { status: NonZeroU16::new(status).unwrap(), request_id, body_bytes, keep_alive }
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nX-Request-Id: r-1\r\nTransfer-Encoding: chunked\r\n\r\n\
                           5\r\nhello\r\n1;ext=1\r\n!\r\n0\r\nx-trailer: 1\r\n\r\n";
    const COUNTED: &str =
        "HTTP/1.1 503 Service Unavailable\r\nx-request-id: r-1\r\ncontent-length: 3\r\n\r\nabc";

    #[test]
    fn both_framings_are_read_to_their_end() {
        assert_eq!(whole(CHUNKED), Ok(Some(received(200, 6, true))));
        assert_eq!(whole(COUNTED), Ok(Some(received(503, 3, true))));
        let empty = "HTTP/1.1 200 OK\r\nx-request-id: r-1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        assert_eq!(whole(empty), Ok(Some(received(200, 0, false))));
    }

    #[test]
    fn a_response_that_is_cut_is_never_whole() {
        for text in [CHUNKED, COUNTED] {
            for end in 0..text.len() {
                let mut reader = Reader::default();
                assert_eq!(reader.feed(&text.as_bytes()[..end]), Ok(None), "{end}");
                assert_eq!(reader.closed(), None, "{end}");
            }
        }
    }

    #[test]
    fn a_response_without_length_ends_with_the_connection() {
        let mut reader = Reader::default();
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\nx-request-id: r-1\r\n\r\nabc"), Ok(None));
        assert_eq!(reader.closed(), Some(received(200, 3, false)));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for (text, why) in [
            ("220 smtp ready\r\n\r\n", Malformed::Head),
            ("HTTP/1.1 2000 OK\r\n\r\n", Malformed::Head),
            ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", Malformed::Head),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", Malformed::Head),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Malformed::Chunk),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n", Malformed::Chunk),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nabc", Malformed::Surplus),
        ] {
            assert_eq!(whole(text), Err(why), "{text}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_read_like_the_whole(cuts in prop::collection::vec(1usize..9, 1..200)) {
            for text in [CHUNKED, COUNTED] {
                let (mut reader, mut rest, mut got) = (Reader::default(), text.as_bytes(), None);
                for cut in cuts.iter().cycle() {
                    let (piece, after) = rest.split_at((*cut).min(rest.len()));
                    prop_assert!(got.is_none());
                    got = reader.feed(piece).unwrap();
                    rest = after;
                    if rest.is_empty() {
                        break;
                    }
                }
                prop_assert_eq!(got, whole(text).unwrap());
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::default();
            let _ = reader.feed(&bytes);
            let _ = reader.feed(&bytes);
            let _ = reader.closed();
        }
    }
}
