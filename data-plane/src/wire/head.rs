//! Judging one complete HTTP/1 head: who frames the body, and whether there is any doubt about it.

use http::StatusCode;

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of the request line and all headers, with their line ends.
    pub bytes: usize,
    /// Number of header lines.
    pub headers: usize,
}

/// Why the guard refuses a request or ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// The length of the body can be read in two ways.
    #[error(
        "the length of the body is ambiguous: one `Content-Length`, or `Transfer-Encoding: chunked`, not both"
    )]
    AmbiguousLength,
    /// An upgrade was asked for.
    #[error("protocol upgrades are not served: use HTTP/1.1, or HTTP/2 with prior knowledge")]
    Upgrade,
    /// `CONNECT`.
    #[error("`CONNECT` is not served: this is a gateway, not a forward proxy")]
    Connect,
    /// The head is not HTTP/1.1 as the standard writes it.
    #[error("the head of the request is malformed")]
    MalformedHead,
    /// Too many bytes or lines.
    #[error("the head of the request is too large")]
    HeadTooLarge,
    /// The head did not arrive in time.
    #[error("the head of the request did not arrive in time")]
    HeadTimeout,
    /// A chunked body is not framed as the standard writes it, or has trailers.
    #[error("the chunked body of the request is malformed")]
    MalformedChunk,
}

impl Fault {
    const ALL: [Self; 7] = [
        Self::AmbiguousLength,
        Self::Upgrade,
        Self::Connect,
        Self::MalformedHead,
        Self::HeadTooLarge,
        Self::HeadTimeout,
        Self::MalformedChunk,
    ];

    /// The stable code: in answers, records and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AmbiguousLength => "ambiguous_length",
            Self::Upgrade => "upgrade_refused",
            Self::Connect => "connect_refused",
            Self::MalformedHead => "malformed_head",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::MalformedChunk => "malformed_chunk",
        }
    }

    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn from_code(code: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.code().as_bytes() == code)
    }
}

/// Who ends the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes; 0 when the request has no body.
    Length(u64),
    /// The last chunk.
    Chunked,
}

/// Judges a complete head: request line, headers and the empty line, each ended by CRLF.
pub(super) fn judge(head: &[u8], limits: HeadLimits) -> Result<Framing, Fault> {
    let mut lines = Lines { rest: head };
    let request_line = lines.next().ok_or(Fault::MalformedHead)?;
    let is_http_11 = judge_request_line(request_line)?;

    let mut count = 0_usize;
    let mut hosts = 0_usize;
    let mut content_length = None;
    let mut transfer_encoding = false;
    for line in lines {
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > limits.headers {
            return Err(Fault::HeadTooLarge);
        }
        let (name, value) = split_header(line)?;
        // The first byte sorts out nearly all headers of a usual request.
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b'c') if name.eq_ignore_ascii_case(b"content-length") => {
                if content_length.is_some() {
                    return Err(Fault::AmbiguousLength);
                }
                content_length = Some(parse_length(value)?);
            }
            Some(b't') if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if transfer_encoding || !is_http_11 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::AmbiguousLength);
                }
                transfer_encoding = true;
            }
            Some(b'u') if name.eq_ignore_ascii_case(b"upgrade") => return Err(Fault::Upgrade),
            Some(b'h') if name.eq_ignore_ascii_case(b"http2-settings") => return Err(Fault::Upgrade),
            Some(b'h') if name.eq_ignore_ascii_case(b"host") => hosts += 1,
            Some(b'x') if name.eq_ignore_ascii_case(super::FAULT_HEADER.as_bytes()) => {
                return Err(Fault::MalformedHead);
            }
            _ => {}
        }
    }
    // RFC 9112, 3.2: an HTTP/1.1 request without `Host`, or any with several, is answered with 400.
    if hosts > 1 || (is_http_11 && hosts == 0) {
        return Err(Fault::MalformedHead);
    }
    match (content_length, transfer_encoding) {
        (Some(_), true) => Err(Fault::AmbiguousLength),
        (None, true) => Ok(Framing::Chunked),
        (length, false) => Ok(Framing::Length(length.unwrap_or(0))),
    }
}

/// `METHOD SP target SP HTTP/1.x`; returns whether it is HTTP/1.1.
fn judge_request_line(line: &[u8]) -> Result<bool, Fault> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::MalformedHead);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Fault::MalformedHead);
    }
    if method == b"CONNECT" {
        return Err(Fault::Connect);
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Fault::MalformedHead);
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(Fault::MalformedHead),
    }
}

/// A header line as name and trimmed value. Folded lines and blanks before the colon are refused.
fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = memchr::memchr(b':', line).ok_or(Fault::MalformedHead)?;
    let (name, value) = line.split_at(colon);
    let value = trim_blanks(value.get(1..).unwrap_or_default());
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Fault::MalformedHead);
    }
    if !value.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)) {
        return Err(Fault::MalformedHead);
    }
    Ok((name, value))
}

/// Without the blanks around it (`OWS` of RFC 9110, 5.6.3); a bare CR or form feed is none.
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits alone, within 63 bits: no sign, no list, no blank.
fn parse_length(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::AmbiguousLength);
    }
    Ok(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// A `tchar` of RFC 9110, 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// The lines of a head without their CRLF.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        Some(line.strip_suffix(b"\r\n").unwrap_or(line))
    }
}
