//! The hash that Apache's `htpasswd -m` writes: MD5 in a thousand rounds, `$apr1$`.
//!
//! It is compared for imported accounts only, until their first log-in.

use md5::{Digest as _, Md5};

/// The characters of a hash in its notation. They are compared as they are.
pub(super) const BYTES: usize = 22;

/// The notation's alphabet: six bits a character, the lowest first.
pub(super) const ALPHABET: &[u8; 64] =
    b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const ROUNDS: u32 = 1_000;

/// The hash of a password, in the characters of its notation.
pub(super) fn hash(password: &[u8], salt: &[u8]) -> [u8; BYTES] {
    let mut state = Md5::new();
    let inner = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    state.update(password);
    state.update(b"$apr1$");
    state.update(salt);
    let mut left = password.len();
    while left > 0 {
        let count = left.min(inner.len());
        state.update(inner.get(..count).unwrap_or_default());
        left -= count;
    }
    let first = password.first_chunk::<1>().copied().unwrap_or_default();
    let mut bits = password.len();
    while bits > 0 {
        state.update(if bits & 1 == 1 { [0] } else { first });
        bits >>= 1;
    }
    let mut digest = state.finalize();
    for round in 0..ROUNDS {
        let mut state = Md5::new();
        let is_odd = round & 1 == 1;
        if is_odd {
            state.update(password);
        } else {
            state.update(digest);
        }
        if round % 3 != 0 {
            state.update(salt);
        }
        if round % 7 != 0 {
            state.update(password);
        }
        if is_odd {
            state.update(digest);
        } else {
            state.update(password);
        }
        digest = state.finalize();
    }
    characters(&digest)
}

/// Three bytes become four characters, in the order that the notation has.
fn characters(digest: &[u8]) -> [u8; BYTES] {
    let byte = |index: usize| u32::from(digest.get(index).copied().unwrap_or_default());
    let mut text = [0; BYTES];
    let mut next = text.iter_mut();
    let mut put = |mut bits: u32, count: usize| {
        for to in next.by_ref().take(count) {
            let index = usize::try_from(bits & 63).unwrap_or_default();
            *to = ALPHABET.get(index).copied().unwrap_or_default();
            bits >>= 6;
        }
    };
    for (high, middle, low) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        put(byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    put(byte(11), 2);
    text
}
