//! What must hold of the segment reader on any input.

use kt_audit::record::Record;
use kt_audit::segment::{FrameError, HEADER_LEN, HeaderError, Item, encode_frame, scan};
use kt_audit::verify::{Trust, Verifier};

/// What is read follows on each other without gap or overlap to the end of the bytes, a frame is written again as it
/// was read, and a verification ends.
pub(crate) fn check(input: &[u8]) {
    let (header, items) = scan(input);
    if let Ok(header) = header {
        assert_eq!(header.encode()[..116], input[..116], "all but what is zero");
    }
    let unread = matches!(header, Err(HeaderError::Newer { .. } | HeaderError::Short));
    let mut at = if unread { input.len() } else { HEADER_LEN.min(input.len()) };
    for item in items {
        let (offset, length) = match item {
            Item::Frame { offset, frame } => {
                let mut again = Vec::new();
                encode_frame(&mut again, frame.sequence, frame.time_us, &frame.previous, frame.payload)
                    .expect("what was read can be written");
                assert_eq!(again, input[offset..offset + frame.stored_len()]);
                // A payload is whatever stands there: it may be refused, it must not panic.
                if let Ok(record) = Record::parse(frame.payload) {
                    record.payload().expect("a record that fits is written again");
                }
                (offset, frame.stored_len())
            }
            Item::Corrupt { offset, length, error } | Item::Torn { offset, length, error } => {
                assert!(error != FrameError::Short || offset + length <= input.len());
                (offset, length)
            }
        };
        assert_eq!(offset, at);
        assert!(length > 0);
        at += length;
    }
    assert_eq!(at, input.len());

    let mut verifier = Verifier::new(Trust::default());
    verifier.segment(1, "one", input);
    verifier.segment(2, "two", input);
    verifier.finish();
}
