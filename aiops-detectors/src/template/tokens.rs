//! A masked line as tokens, for merging and for leaving out repetitions (facts 3.2).

use super::hash::hash;
use super::mask::{CUT, STAR};

/// Tokens that are looked at; what is behind them stays as it is.
pub(super) const MAX_TOKENS: usize = 256;
/// Lengths of sequences whose repetition is left out.
const PERIODS: [usize; 6] = [1, 2, 3, 4, 6, 8];

/// Whether a byte is part of a token with others; a character beyond ASCII always is.
static IN_TOKEN: [bool; 256] = in_token();

const fn in_token() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80..
                | b'_' | b'.' | b'*' | b'-' | b'$' | b'@' | b'~' | b'/' | b'\\' | b'+' | b'&' | b'%' | b'?' | b'#' | b'!'
        );
        byte += 1;
    }
    table
}

/// Cuts a text into tokens that together are the text: words with what belongs to them, quoted pieces
/// without blanks, blanks, and every other character alone.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    let mut all = Vec::with_capacity(64);
    let mut rest = text;
    while let Some(&first) = rest.as_bytes().first() {
        if all.len() + 1 == MAX_TOKENS {
            all.push(rest);
            break;
        }
        let end = if matches!(first, b'"' | b'\'') {
            quoted(rest, char::from(first)).unwrap_or(1)
        } else if IN_TOKEN[usize::from(first)] {
            let bytes = rest.as_bytes();
            let end = bytes.iter().position(|byte| !IN_TOKEN[usize::from(*byte)]).unwrap_or(bytes.len());
            // The end of a sentence is not part of its last word.
            let sentence = bytes[..end].iter().rposition(|byte| !matches!(byte, b'.' | b'!' | b'?'));
            sentence.map_or(end, |last| last + 1)
        } else {
            1
        };
        let (token, behind) = rest.split_at(end);
        all.push(token);
        rest = behind;
    }
    all
}

/// End of a quoted piece without blanks that is followed by no letter (`don't` quotes nothing).
fn quoted(text: &str, quote: char) -> Option<usize> {
    let end = 1 + text[1..].find([quote, ' '])?;
    let closed = text[end..].starts_with(quote) && end > 1;
    (closed && !text[end + 1..].starts_with(char::is_alphanumeric)).then_some(end + 1)
}

/// Whether any sequence of this length stands twice in a row.
fn repeats(ids: &[u64], period: usize) -> bool {
    let mut equal = 0;
    ids.iter().zip(ids.iter().skip(period)).any(|(one, other)| {
        equal = if one == other { equal + 1 } else { 0 };
        equal >= period
    })
}

/// The text with repeated sequences of tokens left out: three times or more, or twice where the
/// sequence has a star and more than one token. None where nothing repeats.
pub(super) fn without_repeats(text: &str) -> Option<String> {
    let all = tokens(text);
    // Equal tokens have equal hashes; a collision is accepted here as it is between lines.
    let ids: Vec<u64> = all.iter().map(|token| hash(token.as_bytes())).collect();
    if !PERIODS.into_iter().any(|period| repeats(&ids, period)) {
        return None;
    }
    let mut out: Option<String> = None;
    let mut place = 0;
    while place < all.len() {
        let found = PERIODS.into_iter().find_map(|period| {
            if ids.get(place + period) != ids.get(place) {
                return None;
            }
            let one = ids.get(place..place + period)?;
            let mut times = 1;
            while ids.get(place + times * period..place + (times + 1) * period) == Some(one) {
                times += 1;
            }
            let star = period >= 2 && all[place..place + period].iter().any(|token| token.as_bytes().contains(&STAR));
            (times >= 3 || star && times >= 2).then_some((period, times))
        });
        let Some((period, times)) = found else {
            if let Some(out) = &mut out {
                out.push_str(all[place]);
            }
            place += 1;
            continue;
        };
        let out = out.get_or_insert_with(|| all[..place].concat());
        out.push_str(&all[place..place + period].concat());
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

    #[test]
    fn tokens_make_up_the_text() {
        let text = "user 'a.b' can't open /x*: \"two words\" done...";
        assert_eq!(tokens(text).concat(), text);
        assert!(tokens(text).contains(&"'a.b'"));
        assert!(tokens("it is done.").contains(&"done"));
    }

    #[test]
    fn a_repetition_is_left_out_however_long() {
        let lines = ["ids * * * end", "ids * * * * * * end"];
        assert_eq!(without_repeats(lines[0]), without_repeats(lines[1]));
        assert_eq!(without_repeats("a b a c"), None);
    }
}
