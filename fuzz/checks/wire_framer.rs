//! What must hold of the guard below hyper on any input.

use kt_data_plane::wire::{FAULT_HEADER, Fault, Framer, HeadLimits};

/// Small enough that inputs reach them.
const LIMITS: HeadLimits = HeadLimits { bytes: 512, headers: 12 };
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// However the bytes are cut, the same ones are cleared and the same fault is found; and whatever is cleared is framed
/// in the same way by the parser that hyper uses.
pub(crate) fn check(input: &[u8]) {
    let whole = cleared(input, [input.len().max(1)].into_iter().cycle());
    let as_it_says: Vec<usize> = input.iter().map(|byte| usize::from(byte % 11) + 1).collect();
    for sizes in
        [&[1][..], &[2], &[3], &[5], &[16], &as_it_says].into_iter().filter(|sizes| !sizes.is_empty())
    {
        let cut = cleared(input, sizes.iter().copied().cycle());
        assert_eq!(cut.1, whole.1, "cut in pieces of {sizes:?}");
        // A body that turns out to be broken was on its way: how much of it has passed is up to the cuts.
        if whole.1 != Some(Fault::MalformedChunk) {
            assert_eq!(cut.0, whole.0, "cut in pieces of {sizes:?}");
        }
        if !input.starts_with(PREFACE) {
            reframe(&input[..cut.0]);
        }
    }
}

/// How many bytes pass, and what is refused behind them, as the connection does it.
fn cleared(input: &[u8], mut sizes: impl Iterator<Item = usize>) -> (usize, Option<Fault>) {
    let mut framer = Framer::new(LIMITS);
    let mut held = Vec::new();
    let mut total = 0;
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        rest = behind;
        held.extend_from_slice(piece);
        let cleared = framer.clear(&held);
        held.drain(..cleared.bytes);
        total += cleared.bytes;
        if cleared.fault.is_some() {
            assert_eq!(
                framer.clear(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").bytes,
                0,
                "nothing passes any more"
            );
            return (total, cleared.fault);
        }
    }
    assert!(held.len() <= LIMITS.bytes + 4, "what is held is bounded");
    (total, None)
}

/// Reads the requests with the parser that hyper uses: only a last body may be unfinished.
fn reframe(mut rest: &[u8]) {
    while !rest.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(rest).expect("hyper takes what is cleared");
        let httparse::Status::Complete(length) = parsed else { panic!("a part of a head was cleared") };
        let mut content_length = None;
        let mut is_chunked = false;
        for header in request.headers.iter() {
            assert!(!header.name.eq_ignore_ascii_case(FAULT_HEADER), "nobody pretends to be the guard");
            assert!(!header.name.eq_ignore_ascii_case("upgrade"));
            if header.name.eq_ignore_ascii_case("content-length") {
                assert_eq!(content_length, None, "one length");
                content_length = Some(std::str::from_utf8(header.value).unwrap().parse::<usize>().unwrap());
            }
            if header.name.eq_ignore_ascii_case("transfer-encoding") {
                assert!(!is_chunked && header.value.eq_ignore_ascii_case(b"chunked"));
                is_chunked = true;
            }
        }
        assert!(!(is_chunked && content_length.is_some()), "one way to read the length");
        assert_ne!(request.method, Some("CONNECT"));
        rest = &rest[length..];
        if is_chunked {
            let Some(behind) = behind_chunks(rest) else { return };
            rest = behind;
        } else {
            let length = content_length.unwrap_or(0);
            let Some(behind) = rest.get(length..) else { return };
            rest = behind;
        }
    }
}

/// What stands behind a chunked body; `None`: it is not at its end.
fn behind_chunks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let httparse::Status::Complete((line, size)) =
            httparse::parse_chunk_size(rest).expect("a chunk size")
        else {
            return None;
        };
        rest = rest.get(line..)?;
        if size == 0 {
            return rest.strip_prefix(b"\r\n");
        }
        rest = rest.get(usize::try_from(size).ok()?..)?;
        if rest.len() < 2 {
            return None;
        }
        rest = rest.strip_prefix(b"\r\n").expect("data is followed by a line end");
    }
}
