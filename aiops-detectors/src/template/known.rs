//! Lists of known words, looked up without a comparison of letters: a short word is a number.

/// Longest word that is known.
const MAX_WORD: usize = 16;

/// A word as a number, capitals as small letters.
const fn packed(word: &[u8]) -> u128 {
    let (mut number, mut at) = (0, 0);
    while at < word.len() {
        number = number << 8 | word[at].to_ascii_lowercase() as u128;
        at += 1;
    }
    number
}

/// A bit for the first and the last letter, capital or small.
const fn ends(first: u8, last: u8) -> u64 {
    1 << (((first & 31) as u32 + 7 * (last & 31) as u32) % 64)
}

/// Known words, in any capitals.
#[derive(Debug)]
pub(super) struct Known<const N: usize> {
    /// Shorter words first.
    words: [u128; N],
    /// Where the words of each length begin.
    starts: [usize; MAX_WORD + 2],
    /// For each length, the ends of such words: most words are none of them by that alone.
    ends: [u64; MAX_WORD + 1],
}

impl<const N: usize> Known<N> {
    /// Words of 1 to 16 bytes; any other does not compile.
    pub(super) const fn new(words: [&str; N]) -> Self {
        let mut known = Self { words: [0; N], starts: [0; MAX_WORD + 2], ends: [0; MAX_WORD + 1] };
        let (mut length, mut taken) = (1, 0);
        while length <= MAX_WORD {
            known.starts[length] = taken;
            let mut at = 0;
            while at < N {
                let word = words[at].as_bytes();
                if word.len() == length {
                    known.words[taken] = packed(word);
                    known.ends[length] |= ends(word[0], word[length - 1]);
                    taken += 1;
                }
                at += 1;
            }
            length += 1;
        }
        known.starts[length] = taken;
        assert!(taken == N, "a word is empty or too long");
        known
    }

    pub(super) fn has(&self, word: &[u8]) -> bool {
        let (Some(first), Some(last)) = (word.first(), word.last()) else { return false };
        self.ends.get(word.len()).is_some_and(|known| known & ends(*first, *last) != 0)
            && self.words[self.starts[word.len()]..self.starts[word.len() + 1]].contains(&packed(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_known_in_any_capitals_and_as_a_whole() {
        static KNOWN: Known<3> = Known::new(["get", "interface", "s3"]);
        for word in ["get", "GET", "InterFace", "S3"] {
            assert!(KNOWN.has(word.as_bytes()), "{word}");
        }
        for word in ["", "ge", "gets", "s", "3s", "interfaces", "a_very_long_interface"] {
            assert!(!KNOWN.has(word.as_bytes()), "{word}");
        }
    }
}
