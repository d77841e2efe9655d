//! What must hold of the splitter of event streams on any input.

use std::ops::ControlFlow;

use kt_data_plane::sse::{EventTooLarge, Splitter};

/// Small enough that inputs reach it.
const LIMIT: usize = 256;

/// However the bytes are cut, the events are those of the standard; and what is refused as too large is held nowhere.
pub(crate) fn check(input: &[u8]) {
    let whole = events(input, [input.len().max(1)].into_iter().cycle());
    if let Ok(events) = &whole {
        assert_eq!(*events, expected(input));
    }
    for step in [1, 2, 3, 5, 16] {
        assert_eq!(events(input, [step].into_iter().cycle()), whole, "cut after every {step} bytes");
    }
    // Cut as the input itself says.
    let sizes: Vec<usize> = input.iter().map(|byte| usize::from(byte % 11) + 1).collect();
    assert_eq!(events(input, sizes.into_iter().cycle()), whole);
}

/// The events of the bytes in pieces. An event that is too large may be found with the line that makes it so or before,
/// depending on the cuts; so nothing is told of the events before it.
fn events(input: &[u8], mut sizes: impl Iterator<Item = usize>) -> Result<Vec<Vec<u8>>, EventTooLarge> {
    let mut splitter = Splitter::new(LIMIT);
    let mut events = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        rest = behind;
        splitter.push(piece, |data| {
            assert!(data.len() <= LIMIT);
            events.push(data.to_vec());
            ControlFlow::Continue(())
        })?;
        if splitter.is_between_events() {
            assert!(!splitter.is_inside_event());
        }
    }
    Ok(events)
}

/// WHATWG HTML, 9.2.6, read word for word: lines first, then fields.
fn expected(input: &[u8]) -> Vec<Vec<u8>> {
    let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut bytes = input.iter().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => lines.push(std::mem::take(&mut line)),
            b'\r' => {
                bytes.next_if(|next| **next == b'\n');
                lines.push(std::mem::take(&mut line));
            }
            other => line.push(*other),
        }
    }
    // A last line without its end is none.
    let mut events = Vec::new();
    let mut data: Option<Vec<u8>> = None;
    for line in lines {
        if line.is_empty() {
            events.extend(data.take());
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = match colon {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (&line[..], &line[line.len()..]),
        };
        if name == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut data {
                None => data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            }
        }
    }
    events
}
