//! The in-memory key of a masked line.

use std::hash::{BuildHasherDefault, Hasher};

/// Odd constants without a pattern: digits of pi and e.
const K: [u64; 3] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7345, 0xB7E1_5162_8AED_2A6B];

#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    #[allow(clippy::cast_possible_truncation)] // the two halves
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

/// Up to eight bytes as a number, the first one lowest. Read in halves that overlap, which is faster than
/// to copy a number of bytes that is known only then.
fn word(bytes: &[u8]) -> u64 {
    if let Some(eight) = bytes.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    if let (Some(low), Some(high)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let shift = 8 * (bytes.len() - 4);
        return u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << shift;
    }
    let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
    match bytes.len() {
        0 => 0,
        length => byte(0) | byte(length / 2) | byte(length - 1),
    }
}

/// A 64-bit hash by folded multiplication (as in wyhash). No protection against made collisions: two
/// lines that collide are counted as one.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut state = K[2] ^ bytes.len() as u64;
    let (chunks, rest) = bytes.as_chunks::<16>();
    for chunk in chunks {
        let (a, b) = chunk.split_at(8);
        state = fold(word(a) ^ K[0], word(b) ^ K[1] ^ state);
    }
    let (a, b) = rest.split_at(rest.len().min(8));
    fold(fold(word(a) ^ K[0], word(b) ^ K[1] ^ state), K[2])
}

/// The hash of each single byte.
pub(super) static OF_BYTE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let state = K[1] ^ K[2] ^ 1;
        table[byte] = fold(fold(byte as u64 ^ K[0], state), K[2]);
        byte += 1;
    }
    table
};

/// For keys that are hashes already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes) ^ self.0.rotate_left(32);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

/// A map whose keys are hashes.
pub(crate) type HashedMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Hashed>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_any_length_is_its_bytes() {
        for length in 0..=8 {
            let bytes: Vec<u8> = (1..=length).collect();
            let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
            assert_eq!(word(&bytes), number);
        }
    }

    #[test]
    fn the_hash_of_a_byte_is_the_same_from_the_table() {
        for byte in 0..=u8::MAX {
            assert_eq!(OF_BYTE[usize::from(byte)], hash(&[byte]));
        }
    }

    #[test]
    fn length_order_and_each_byte_count() {
        let texts: Vec<Vec<u8>> = (0..40).flat_map(|n| [vec![0; n], (0..n as u8).collect()]).collect();
        let mut seen: Vec<u64> = texts.iter().map(|text| hash(text)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 78, "the two texts of no byte are equal, and those of one zero");
    }
}
