//! A masked line as tokens, for merging and for leaving out repetitions (facts 3.2).

use super::hash::{OF_BYTE, hash};
use super::mask::{CUT, STAR};

/// Tokens that are looked at; what is behind them stays as it is.
pub(super) const MAX_TOKENS: usize = 256;
/// Lengths of sequences whose repetition is left out.
const PERIODS: [usize; 6] = [1, 2, 3, 4, 6, 8];

/// Part of a token with others; a character beyond ASCII always is.
const JOINED: u8 = 1;
const LETTER: u8 = 2;
const CAPITAL: u8 = 4;
/// Neither letter nor digit nor blank.
const PUNCTUATION: u8 = 8;
/// At the end of a token, the end of a sentence.
const SENTENCE: u8 = 16;
const QUOTE: u8 = 32;
const STARS: u8 = 64;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)] // below 256
        let c = byte as u8;
        let mark = if c.is_ascii_punctuation() { PUNCTUATION } else { 0 };
        table[byte] = mark
            | match c {
                b'a'..=b'z' | 0x80.. => JOINED | LETTER,
                b'A'..=b'Z' => JOINED | LETTER | CAPITAL,
                b'.' | b'!' | b'?' => JOINED | SENTENCE,
                STAR => JOINED | STARS,
                b'0'..=b'9' | b'_' | b'-' | b'$' | b'@' | b'~' | b'/' | b'\\' | b'+' | b'&' | b'%' | b'#' => JOINED,
                b'"' | b'\'' => QUOTE,
                _ => 0,
            };
        byte += 1;
    }
    table
}

/// A piece of a text: where it stands and what is in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    start: usize,
    end: usize,
    /// Equal tokens have equal hashes; a collision is accepted here as it is between lines.
    pub(super) hash: u64,
    /// Its bytes by their lowest six bits: what has a byte that another lacks is no part of it.
    bytes: u64,
    /// The classes of its bytes together.
    classes: u8,
}

impl Token {
    pub(super) fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn has_letter(&self) -> bool {
        self.classes & LETTER != 0
    }

    /// Whether it has a star.
    pub(super) fn has_star(&self) -> bool {
        self.classes & STARS != 0
    }

    pub(super) fn has_quote(&self) -> bool {
        self.classes & QUOTE != 0
    }

    /// Whether it has a capital letter, be it the first.
    pub(super) fn has_capital(&self) -> bool {
        self.classes & CAPITAL != 0
    }

    /// Whether it has more than letters and digits.
    pub(super) fn is_mixed(&self) -> bool {
        self.classes & PUNCTUATION != 0
    }

    /// Whether it may stand within another one, by the bytes of both.
    #[inline]
    pub(super) fn may_stand_in(&self, other: &Self) -> bool {
        self.bytes & !other.bytes == 0 && self.len() < other.len()
    }
}

/// The classes and the bytes of a piece of a text.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    classes: u8,
    bytes: u64,
}

impl Seen {
    fn see(&mut self, byte: u8) {
        self.classes |= CLASS[usize::from(byte)];
        self.bytes |= 1 << (byte & 63);
    }

    fn all(bytes: &[u8]) -> Self {
        let mut seen = Self::default();
        bytes.iter().for_each(|byte| seen.see(*byte));
        seen
    }
}

/// Cuts a text into tokens that together are the text, over what is there: words with what belongs to
/// them, quoted pieces without blanks, blanks, and every other character alone.
pub(super) fn tokens(text: &str, all: &mut Vec<Token>) {
    all.clear();
    let bytes = text.as_bytes();
    let mut start = 0;
    while let Some(&first) = bytes.get(start) {
        let (end, mut seen) = if all.len() + 1 == MAX_TOKENS {
            (bytes.len(), Seen::all(&bytes[start..]))
        } else if CLASS[usize::from(first)] & JOINED != 0 {
            joined(bytes, start)
        } else {
            let quoted = if matches!(first, b'"' | b'\'') { quoted(&text[start..], char::from(first)) } else { None };
            let Some(end) = quoted else {
                let seen = Seen::all(&[first]);
                let hash = OF_BYTE[usize::from(first)];
                all.push(Token { start, end: start + 1, hash, bytes: seen.bytes, classes: seen.classes });
                start += 1;
                continue;
            };
            (start + end, Seen::all(&bytes[start..start + end]))
        };
        let token = &bytes[start..end];
        if token == CUT.as_bytes() {
            seen.classes &= !LETTER;
        }
        all.push(Token { start, end, hash: hash(token), bytes: seen.bytes, classes: seen.classes });
        start = end;
    }
}

/// The token of joined bytes from a place. The end of a sentence is not part of its last word.
fn joined(bytes: &[u8], start: usize) -> (usize, Seen) {
    let (mut end, mut seen) = (start, Seen::default());
    let mut word = (start, seen);
    while let Some(&byte) = bytes.get(end) {
        let class = CLASS[usize::from(byte)];
        if class & JOINED == 0 {
            break;
        }
        seen.see(byte);
        end += 1;
        if class & SENTENCE == 0 {
            word = (end, seen);
        }
    }
    if word.0 == start { (end, seen) } else { word }
}

/// End of a quoted piece without blanks that is followed by no letter (`don't` quotes nothing).
fn quoted(text: &str, quote: char) -> Option<usize> {
    let end = 1 + text[1..].find([quote, ' '])?;
    let closed = text[end..].starts_with(quote) && end > 1;
    (closed && !text[end + 1..].starts_with(char::is_alphanumeric)).then_some(end + 1)
}

/// Whether any sequence of this length stands twice in a row: so many tokens in a row equal those behind
/// them, one of them at a multiple of the length.
fn repeats(all: &[Token], period: usize) -> bool {
    let last = all.len().saturating_sub(period);
    let equal = |at: usize| all[at].hash == all[at + period].hash;
    let mut at = 0;
    while at < last {
        if equal(at) {
            let (mut start, mut end) = (at, at + 1);
            while start > 0 && at - start < period && equal(start - 1) {
                start -= 1;
            }
            while end < last && end - start < period && equal(end) {
                end += 1;
            }
            if end - start >= period {
                return true;
            }
        }
        at += period;
    }
    false
}

/// The periods that any token but a blank repeats in, by a few bits of their hashes: what repeats in none
/// has no repetition, unless two blanks stand together, as before a secret.
fn periods(all: &[Token]) -> impl Iterator<Item = usize> {
    let mut bits = [0u16; MAX_TOKENS];
    let (mut blank, mut blanks) = (false, false);
    for (bits, token) in bits.iter_mut().zip(all) {
        let before = std::mem::replace(&mut blank, token.hash == OF_BYTE[usize::from(b' ')]);
        blanks |= before && blank;
        #[allow(clippy::cast_possible_truncation)] // the low bits do
        let hash = token.hash as u16 | 1;
        *bits = if blank { 0 } else { hash };
    }
    let length = all.len().min(MAX_TOKENS);
    PERIODS.into_iter().filter(move |period| {
        let (one, other) = (&bits[..length.saturating_sub(*period)], &bits[length.min(*period)..length]);
        blanks || one.iter().zip(other).fold(false, |any, (one, other)| any | ((one == other) & (*one != 0)))
    })
}

/// The text of these tokens with repeated sequences left out: three times or more, or twice where the
/// sequence has a star and more than one token. None where nothing repeats.
pub(super) fn without_repeats(text: &str, all: &[Token]) -> Option<String> {
    let repeating: Vec<usize> = periods(all).filter(|period| repeats(all, *period)).collect();
    if repeating.is_empty() {
        return None;
    }
    let mut out: Option<String> = None;
    let mut place = 0;
    while place < all.len() {
        let same = |one: usize, other: usize, length: usize| {
            other + length <= all.len() && (0..length).all(|at| all[one + at].hash == all[other + at].hash)
        };
        let found = repeating.iter().copied().find_map(|period| {
            let mut times = 1;
            while same(place, place + times * period, period) {
                times += 1;
            }
            let star = period >= 2 && all[place..].iter().take(period).any(Token::has_star);
            (times >= 3 || star && times >= 2).then_some((period, times))
        });
        let Some((period, times)) = found else {
            if let Some(out) = &mut out {
                out.push_str(all[place].of(text));
            }
            place += 1;
            continue;
        };
        let out = out.get_or_insert_with(|| text[..all[place].start].to_owned());
        out.push_str(&text[all[place].start..all[place + period - 1].end]);
        if !out.ends_with(CUT) {
            out.push_str(CUT);
        }
        place += period * times;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        let mut all = Vec::new();
        tokens(text, &mut all);
        all.iter().map(|token| token.of(text)).collect()
    }

    fn without_repeats_of(text: &str) -> Option<String> {
        let mut all = Vec::new();
        tokens(text, &mut all);
        without_repeats(text, &all)
    }

    #[test]
    fn tokens_make_up_the_text() {
        let text = "user 'a.b' can't open /x*: \"two words\" done...";
        assert_eq!(cut(text).concat(), text);
        assert!(cut(text).contains(&"'a.b'"));
        assert!(cut("it is done.").contains(&"done"));
    }

    #[test]
    fn a_repetition_is_left_out_however_long() {
        let lines = ["ids * * * end", "ids * * * * * * end"];
        assert_eq!(without_repeats_of(lines[0]).as_deref(), Some("ids *… end"));
        assert_eq!(without_repeats_of(lines[0]), without_repeats_of(lines[1]));
        assert_eq!(without_repeats_of("a b a c"), None);
        assert_eq!(without_repeats_of("token:   *").as_deref(), Some("token: …*"), "blanks before a secret stay");
    }

    #[test]
    fn a_sequence_of_each_length_is_found_wherever_it_begins() {
        for period in PERIODS {
            for before in 0..9 {
                let before: String = (0..before).map(|at| format!("{at},")).collect();
                let sequence: String = ["(", "a", ")", "b", "[", "c", "]", "d"][..period].concat();
                let text = format!("{before}|{}|end", sequence.repeat(3));
                assert!(without_repeats_of(&text).is_some(), "{text}");
            }
        }
    }
}
