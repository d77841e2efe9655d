//! Wallet addresses, by the checksum of their kind.

use sha2::{Digest as _, Sha256};

use super::{
    context::{Context, Topic},
    found::{Claims, Kind},
    keccak::keccak256,
    view::View,
};

/// Version bytes of base58check addresses: Bitcoin (main and test), Litecoin, Dogecoin, Dash, Tron.
const VERSIONS: [u8; 10] = [0x00, 0x05, 0x6f, 0xc4, 0x30, 0x32, 0x1e, 0x16, 0x4c, 0x41];

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Claims the wallet addresses in `view`.
pub(super) fn find(view: &View<'_>, context: &Context, claims: &mut Claims) {
    let bytes = view.bytes();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes
            .get(at..)
            .map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count());
        let (start, end) = (at, at + length);
        at = end + 1;
        if !(25..=90).contains(&length) {
            continue;
        }
        let word = view.slice(start, end);
        let score = match word.as_bytes() {
            [b'0', b'x' | b'X', hex @ ..] if hex.len() == 40 => {
                ethereum(hex, || context.near(Topic::Crypto, start, end, 48, 48))
            }
            _ if is_segwit(word) || is_base58check(word) => Some(1.0),
            _ => None,
        };
        if let Some(score) = score {
            claims.push(start, end, Kind::Crypto, score);
        }
    }
}

/// EIP-55: the case of each letter is a bit of the hash of the lower-case form. One case only says nothing, so words
/// around have to.
fn ethereum(hex: &[u8], spoken_of: impl Fn() -> bool) -> Option<f32> {
    if !hex.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let (upper, lower) = (hex.iter().any(u8::is_ascii_uppercase), hex.iter().any(u8::is_ascii_lowercase));
    if !(upper && lower) {
        return spoken_of().then_some(0.8);
    }
    let mut small = [0_u8; 40];
    for (to, from) in small.iter_mut().zip(hex) {
        *to = from.to_ascii_lowercase();
    }
    let hash = keccak256(&small);
    let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let fits = hex
        .iter()
        .zip(nibbles)
        .all(|(byte, nibble)| !byte.is_ascii_alphabetic() || byte.is_ascii_uppercase() == (nibble >= 8));
    fits.then_some(1.0)
}

/// Twenty-five bytes in base 58, the last four the double SHA-256 of the rest.
fn is_base58check(word: &str) -> bool {
    if !(25..=36).contains(&word.len()) {
        return false;
    }
    let mut bytes = [0_u8; 25];
    for c in word.bytes() {
        let Some(mut carry) = BASE58.iter().position(|&digit| digit == c) else { return false };
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry & 0xff).unwrap_or(0);
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let Some((payload, check)) = bytes.split_at_checked(21) else { return false };
    payload.first().is_some_and(|version| VERSIONS.contains(version))
        && Sha256::digest(Sha256::digest(payload)).starts_with(check)
}

/// Bech32 and Bech32m (BIP 173, BIP 350) for Bitcoin and Litecoin.
fn is_segwit(word: &str) -> bool {
    let mut lower = [0_u8; 90];
    let Some(lower) = lower.get_mut(..word.len()) else { return false };
    for (to, from) in lower.iter_mut().zip(word.bytes()) {
        *to = from.to_ascii_lowercase();
    }
    let mixed = word.bytes().any(|c| c.is_ascii_uppercase()) && word.bytes().any(|c| c.is_ascii_lowercase());
    let prefix = [&b"bc"[..], b"tb", b"ltc"]
        .into_iter()
        .find(|prefix| lower.starts_with(prefix) && lower.get(prefix.len()) == Some(&b'1'));
    let Some(prefix) = prefix.filter(|_| !mixed) else { return false };
    let mut sum = 1_u32;
    let mut step = |value: u32| {
        let top = sum >> 25;
        sum = ((sum & 0x1ff_ffff) << 5) ^ value;
        for (bit, generator) in
            [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3].into_iter().enumerate()
        {
            if top >> bit & 1 == 1 {
                sum ^= generator;
            }
        }
    };
    prefix.iter().for_each(|&c| step(u32::from(c) >> 5));
    step(0);
    prefix.iter().for_each(|&c| step(u32::from(c) & 31));
    for c in lower.iter().skip(prefix.len() + 1) {
        let Some(value) =
            BECH32.iter().position(|digit| digit == c).and_then(|value| u32::try_from(value).ok())
        else {
            return false;
        };
        step(value);
    }
    matches!(sum, 1 | 0x2bc8_30a3)
}
