//! Gzip written by hand (RFC 1951, RFC 1952), so that no compressor is needed: an honest member made of stored
//! blocks, and a bomb made of one endless run.

use bytes::Bytes;

/// Magic, deflate, no flags, no time, no extra flags, unknown system (RFC 1952 §2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// `plain` as a gzip member of stored blocks: valid, and a little longer than the input.
pub(crate) fn member(plain: &[u8]) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    let mut blocks = plain.chunks(0xffff).peekable();
    if blocks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        // A chunk is at most 0xffff bytes long, so its length always fits.
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32(plain).to_le_bytes());
    // ISIZE is the length modulo 2^32 by definition.
    out.extend(((plain.len() as u64 & 0xffff_ffff) as u32).to_le_bytes());
    out
}

/// A gzip member that inflates to a run of one byte, 2,064 for every 13 on the wire: its beginning and a piece
/// that may follow any number of times. It has no end: a decoder that waits for one has already lost.
pub(crate) struct Bomb {
    /// Header, block header and the byte that the run repeats.
    pub(crate) head: Bytes,
    /// Repeatable piece; inflates to [`Bomb::PIECE_INFLATED`] bytes.
    pub(crate) piece: Bytes,
}

impl Bomb {
    /// Patterns of eight matches in one piece.
    const PATTERNS: usize = 1024;
    /// What one piece inflates to, in bytes.
    pub(crate) const PIECE_INFLATED: u64 = 1024 * 8 * 258;

    pub(crate) fn new() -> Self {
        let mut bits = Bits::default();
        // Not the last block, fixed codes (RFC 1951 §3.2.3 and §3.2.6), then the literal 0x20: code 0x30 + 0x20.
        bits.push_lsb_first(0b010, 3);
        bits.push_code(0x30 + 0x20, 8);
        // The head ends in the middle of a byte, so the pieces start there: the same 13 bytes again and again,
        // after the 11 bits that have been written.
        for _ in 0..16 {
            bits.push_code(0b1100_0101, 8); // length 258
            bits.push_code(0, 5); // distance 1
        }
        let mut head = HEADER.to_vec();
        let first = bits.bytes.iter().take(1).copied();
        head.extend(first);
        let pattern: Vec<u8> = bits.bytes.iter().skip(1).take(13).copied().collect();
        // The first byte of the pattern holds the last three bits of the literal, every later one the last
        // three bits of a match; write it apart, and rotate the rest.
        let following: Vec<u8> = bits.bytes.iter().skip(14).take(13).copied().collect();
        head.extend(pattern);
        Self { head: head.into(), piece: following.repeat(Self::PATTERNS).into() }
    }
}

/// Bits in the order of RFC 1951 §3.1.1: filled from the low end of each byte.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, bit: u8) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= (bit & 1) << (self.used % 8);
        }
        self.used += 1;
    }

    fn push_lsb_first(&mut self, value: u16, count: u32) {
        (0..count).for_each(|i| self.push(((value >> i) & 1) as u8));
    }

    /// Huffman codes go most significant bit first.
    fn push_code(&mut self, code: u16, count: u32) {
        (0..count).rev().for_each(|i| self.push(((code >> i) & 1) as u8));
    }
}

/// CRC-32 as gzip wants it (RFC 1952 §8), bit by bit: bodies here are small.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard_check_string() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn an_empty_member_has_one_empty_stored_block() {
        assert_eq!(member(b"")[10..15], [1, 0, 0, 0xff, 0xff]);
    }

    /// Python's zlib is the judge of both forms: an own decoder would share an own mistake.
    #[test]
    fn zlib_reads_the_member_and_inflates_the_bomb() {
        let python = |code: &str, input: &[u8]| {
            use std::io::Write as _;
            let mut child = std::process::Command::new("python3")
                .args(["-c", code])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input).unwrap();
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
        };
        let text = "long enough for two blocks ".repeat(5_000);
        let read = "import sys,gzip;sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
        assert_eq!(python(read, &member(text.as_bytes())), text);

        let bomb = Bomb::new();
        let mut wire = bomb.head.to_vec();
        wire.extend(&bomb.piece);
        wire.extend(&bomb.piece);
        let inflate = "import sys,zlib;d=zlib.decompressobj(31);o=d.decompress(sys.stdin.buffer.read());print(len(o),set(o),d.eof)";
        let out = python(inflate, &wire);
        let inflated: u64 = out.split(' ').next().unwrap().parse().unwrap();
        assert!(inflated >= 2 * Bomb::PIECE_INFLATED, "{out}");
        assert!(out.ends_with("{32} False\n"), "{out}");
    }
}
