//! The in-memory key of a masked line.

use std::hash::{BuildHasherDefault, Hasher};

/// Odd constants without a pattern: digits of pi and e.
const K: [u64; 3] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7345, 0xB7E1_5162_8AED_2A6B];

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[allow(clippy::cast_possible_truncation)] // the two halves
    let halves = (product as u64, (product >> 64) as u64);
    halves.0 ^ halves.1
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
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
    fn length_order_and_each_byte_count() {
        let texts: Vec<Vec<u8>> = (0..40).flat_map(|n| [vec![0; n], (0..n as u8).collect()]).collect();
        let mut seen: Vec<u64> = texts.iter().map(|text| hash(text)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 78, "the two texts of no byte are equal, and those of one zero");
    }
}
