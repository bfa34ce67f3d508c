//! Classes of bytes, runs of them, and their entropy.

pub(super) const UPPER: u16 = 1;
pub(super) const LOWER: u16 = 2;
pub(super) const DIGIT: u16 = 4;
/// a-f and A-F; with [`DIGIT`], hexadecimal.
pub(super) const HEX_LETTER: u16 = 8;
pub(super) const DASH: u16 = 16;
pub(super) const UNDERSCORE: u16 = 32;
pub(super) const DOT: u16 = 64;
/// `+`, `/` and `=`.
pub(super) const BASE64_SIGN: u16 = 128;
pub(super) const PERCENT: u16 = 256;
pub(super) const TILDE: u16 = 512;
/// Space, tab, line feed, carriage return.
pub(super) const BLANK: u16 = 1024;

pub(super) const LETTER: u16 = UPPER | LOWER;
pub(super) const ALNUM: u16 = LETTER | DIGIT;
pub(super) const HEX: u16 = DIGIT | HEX_LETTER;
pub(super) const CAPITAL: u16 = UPPER | DIGIT;
pub(super) const URL64: u16 = ALNUM | DASH | UNDERSCORE;
pub(super) const BASE64: u16 = ALNUM | BASE64_SIGN;

const CLASS: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut class = match byte as u8 {
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' => LOWER,
            b'0'..=b'9' => DIGIT,
            b'-' => DASH,
            b'_' => UNDERSCORE,
            b'.' => DOT,
            b'+' | b'/' | b'=' => BASE64_SIGN,
            b'%' => PERCENT,
            b'~' => TILDE,
            b' ' | b'\t' | b'\n' | b'\r' => BLANK,
            _ => 0,
        };
        if matches!(byte as u8, b'a'..=b'f' | b'A'..=b'F') {
            class |= HEX_LETTER;
        }
        table[byte] = class;
        byte += 1;
    }
    table
};

pub(super) fn is(byte: u8, class: u16) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// The end of the run of `class` that begins at `at`.
pub(super) fn run(bytes: &[u8], at: usize, class: u16) -> usize {
    bytes.get(at..).map_or(at, |rest| rest.iter().position(|byte| !is(*byte, class)).map_or(bytes.len(), |n| at + n))
}

/// As [`run`], no further than `most` bytes.
pub(super) fn short_run(bytes: &[u8], at: usize, class: u16, most: usize) -> usize {
    let end = bytes.len().min(at.saturating_add(most));
    run(&bytes[..end], at.min(end), class)
}

/// The start of the run of `class` that ends at `at`, not before `floor` nor more than `most` bytes back.
pub(super) fn run_back(bytes: &[u8], floor: usize, at: usize, class: u16, most: usize) -> usize {
    let lowest = floor.max(at.saturating_sub(most));
    let mut start = at;
    while start > lowest && is(bytes[start - 1], class) {
        start -= 1;
    }
    start
}

/// Whether a byte is there and of the class.
pub(super) fn at(bytes: &[u8], at: usize, class: u16) -> bool {
    bytes.get(at).is_some_and(|byte| is(*byte, class))
}

/// Bytes that entropy is taken over: a longer value says nothing else.
const MEASURED: usize = 256;

/// Shannon entropy in bits a byte, over the first 256 bytes.
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let bytes = &bytes[..bytes.len().min(MEASURED)];
    let mut counts = [0_u16; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    #[allow(clippy::cast_precision_loss)] // at most 256
    let length = bytes.len() as f64;
    let bits = |count: u16| f64::from(count) * f64::from(count).log2();
    // Each count is taken once, at the first of its bytes.
    let mut sum = 0.0;
    for byte in bytes {
        sum += bits(std::mem::take(&mut counts[usize::from(*byte)]).max(1));
    }
    if bytes.is_empty() { 0.0 } else { length.log2() - sum / length }
}

/// Whether a word may begin here: at the floor, behind what is no letter or digit, and behind what only
/// looks like one: `%3D`, `\n`, `\u003d`, the rest of a colour sequence (`[31m`).
pub(super) fn starts_word(bytes: &[u8], floor: usize, at: usize) -> bool {
    if at <= floor || !is(bytes[at - 1], ALNUM) {
        return true;
    }
    let before = &bytes[floor..at];
    let back = |n: usize| before.len().checked_sub(n).map(|from| before[from]);
    if back(3) == Some(b'%') || (back(2) == Some(b'\\') && matches!(back(1), Some(b'n' | b't' | b'r'))) {
        return true;
    }
    if back(6) == Some(b'\\') && back(5) == Some(b'u') {
        return true;
    }
    if back(1) != Some(b'm') {
        return false;
    }
    let parameters = before[..before.len() - 1].iter().rev().take(12).take_while(|b| is(**b, DIGIT) || **b == b';');
    back(2 + parameters.count()) == Some(b'[')
}

/// Whether a word that ends here ends: no letter or digit follows.
pub(super) fn ends_word(bytes: &[u8], end: usize) -> bool {
    !at(bytes, end, ALNUM)
}

/// Whether the text at `from` begins with ASCII `word`, whatever the case of its letters.
pub(super) fn begins(bytes: &[u8], from: usize, word: &str) -> bool {
    bytes.get(from..from + word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_shannons() {
        assert_eq!(entropy(b""), 0.0);
        assert_eq!(entropy(b"aaaa"), 0.0);
        assert!((entropy(b"abab") - 1.0).abs() < 1e-12);
        assert!((entropy(b"0123456789abcdef") - 4.0).abs() < 1e-12);
        assert!((entropy(b"aab") - 0.918_295_834).abs() < 1e-9);
    }

    #[test]
    fn words_begin_behind_escapes() {
        for (text, begins) in [("x=a", true), ("%3Da", true), ("\\na", true), ("\\u003da", true), ("[1;31ma", true)] {
            assert_eq!(starts_word(text.as_bytes(), 0, text.len() - 1), begins, "{text}");
        }
        for text in ["xa", "na", "31ma", "1a"] {
            assert!(!starts_word(text.as_bytes(), 0, text.len() - 1), "{text}");
        }
    }
}
