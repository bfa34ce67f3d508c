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

/// Known words, in any capitals.
#[derive(Debug)]
pub(super) struct Known<const N: usize> {
    words: [u128; N],
    longest: usize,
}

impl<const N: usize> Known<N> {
    /// Words of at most 16 bytes; a longer one does not compile.
    pub(super) const fn new(words: [&str; N]) -> Self {
        let mut known = Self { words: [0; N], longest: 0 };
        let mut at = 0;
        while at < N {
            let word = words[at].as_bytes();
            assert!(word.len() <= MAX_WORD, "too long");
            known.words[at] = packed(word);
            if word.len() > known.longest {
                known.longest = word.len();
            }
            at += 1;
        }
        known
    }

    pub(super) fn has(&self, word: &[u8]) -> bool {
        word.len() <= self.longest && self.words.contains(&packed(word))
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
