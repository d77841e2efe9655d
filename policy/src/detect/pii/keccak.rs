//! Keccak-256 as Ethereum uses it (the padding from before FIPS 202, so no SHA-3 library gives it).

const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Rotations and target lanes of the combined rho and pi steps.
const ROTATIONS: [u32; 24] =
    [1, 3, 6, 10, 15, 21, 28, 36, 45, 55, 2, 14, 27, 41, 56, 8, 25, 43, 62, 18, 39, 61, 20, 44];
const LANES: [usize; 24] =
    [10, 7, 11, 17, 18, 3, 5, 16, 8, 21, 24, 4, 15, 23, 19, 13, 12, 2, 20, 14, 22, 9, 6, 1];

/// The bytes of a block.
const RATE: usize = 136;

/// The hash of `input`, which is shorter than one block (136 bytes); longer input gives the hash of its beginning.
pub(super) fn keccak256(input: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; RATE];
    for (to, from) in block.iter_mut().take(RATE - 1).zip(input) {
        *to = *from;
    }
    if let Some(byte) = block.get_mut(input.len().min(RATE - 1)) {
        *byte ^= 0x01;
    }
    if let Some(last) = block.last_mut() {
        *last ^= 0x80;
    }
    let mut state = [0_u64; 25];
    for (lane, chunk) in state.iter_mut().zip(block.chunks_exact(8)) {
        *lane = chunk.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
    }
    permute(&mut state);
    let mut hash = [0_u8; 32];
    for (chunk, lane) in hash.chunks_exact_mut(8).zip(state) {
        chunk.copy_from_slice(&lane.to_le_bytes());
    }
    hash
}

#[expect(
    clippy::indexing_slicing,
    reason = "every index is a constant or taken modulo the size of the array"
)]
fn permute(state: &mut [u64; 25]) {
    for constant in ROUNDS {
        let mut parity = [0_u64; 5];
        for x in 0..5 {
            parity[x] = state[x] ^ state[x + 5] ^ state[x + 10] ^ state[x + 15] ^ state[x + 20];
        }
        for x in 0..5 {
            let mix = parity[(x + 4) % 5] ^ parity[(x + 1) % 5].rotate_left(1);
            for y in 0..5 {
                state[x + 5 * y] ^= mix;
            }
        }
        let mut moved = state[1];
        for (rotation, lane) in ROTATIONS.into_iter().zip(LANES) {
            let next = state[lane];
            state[lane] = moved.rotate_left(rotation);
            moved = next;
        }
        for y in 0..5 {
            let row = [state[5 * y], state[5 * y + 1], state[5 * y + 2], state[5 * y + 3], state[5 * y + 4]];
            for x in 0..5 {
                state[5 * y + x] = row[x] ^ (!row[(x + 1) % 5] & row[(x + 2) % 5]);
            }
        }
        state[0] ^= constant;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_known_hashes() {
        let hex = |input: &[u8]| hex::encode(keccak256(input));
        assert_eq!(hex(b""), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        assert_eq!(hex(b"abc"), "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
    }
}
