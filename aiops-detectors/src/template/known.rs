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

/// The bit of a letter, capital or small.
const fn first(letter: u8) -> u32 {
    1 << (letter & 31)
}

/// Known words, in any capitals.
#[derive(Debug)]
pub(super) struct Known<const N: usize> {
    words: [u128; N],
    /// For each length, the first letters of such words: most words are none of them by that alone.
    firsts: [u32; MAX_WORD + 1],
}

impl<const N: usize> Known<N> {
    /// Words of 1 to 16 bytes; any other does not compile.
    pub(super) const fn new(words: [&str; N]) -> Self {
        let mut known = Self { words: [0; N], firsts: [0; MAX_WORD + 1] };
        let mut at = 0;
        while at < N {
            let word = words[at].as_bytes();
            assert!(!word.is_empty() && word.len() <= MAX_WORD, "empty or too long");
            known.words[at] = packed(word);
            known.firsts[word.len()] |= first(word[0]);
            at += 1;
        }
        known
    }

    pub(super) fn has(&self, word: &[u8]) -> bool {
        let Some(byte) = word.first() else { return false };
        self.firsts.get(word.len()).is_some_and(|firsts| firsts & first(*byte) != 0)
            && self.words.contains(&packed(word))
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
