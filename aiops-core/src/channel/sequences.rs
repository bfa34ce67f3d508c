//! Text without terminal sequences.

use crate::text::printable;

/// A sequence that is longer is none: its introducer goes, its text stays.
const LONGEST: usize = 4096;

/// [`printable`] text without whole terminal sequences (ECMA-48): colours and cursor moves (CSI), titles and
/// links (OSC), device strings (DCS, SOS, PM, APC), with a 7-bit or an 8-bit introducer.
///
/// ```
/// let link = "\u{1b}]8;;https://evil.example\u{1b}\\runbook\u{1b}]8;;\u{1b}\\";
/// assert_eq!(aiops_core::text::plain(link), "runbook");
/// ```
#[must_use]
pub fn plain(text: &str) -> String {
    if !text.chars().any(|c| matches!(c, '\u{1b}' | '\u{80}'..='\u{9f}')) {
        return printable(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = sequence(rest);
        if length == 0 {
            out.push(c);
        }
        rest = rest.get(length.max(c.len_utf8())..).unwrap_or_default();
    }
    printable(&out)
}

/// The bytes of the sequence that the text begins with.
fn sequence(text: &str) -> usize {
    let mut chars = text.chars();
    let (first, second) = (chars.next(), chars.clone().next());
    let (kind, head) = match (first, second) {
        (Some('\u{1b}'), Some(c @ ('[' | ']' | 'P' | 'X' | '^' | '_'))) => (c, 2),
        (Some('\u{9b}'), _) => ('[', 2),
        (Some('\u{9d}'), _) => (']', 2),
        (Some('\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}'), _) => ('P', 2),
        // Two bytes: ESC c resets, ESC ( chooses an alphabet.
        (Some('\u{1b}'), Some('(' | ')' | '*' | '+')) => return text.chars().take(3).map(char::len_utf8).sum(),
        (Some('\u{1b}'), Some(c)) if c.is_ascii_graphic() => return 2,
        (Some('\u{1b}' | '\u{80}'..='\u{9f}'), _) => return first.map_or(0, char::len_utf8),
        _ => return 0,
    };
    let body = text.get(head..).unwrap_or_default();
    if kind == '[' {
        // Parameters and intermediate bytes, then one final byte.
        let inner = body.bytes().take(LONGEST).take_while(|byte| matches!(byte, 0x20..=0x3f)).count();
        let last = body.as_bytes().get(inner).is_some_and(|byte| matches!(byte, 0x40..=0x7e));
        return head + inner + usize::from(last);
    }
    let mut at = 0;
    for c in body.chars() {
        match c {
            '\u{7}' | '\u{9c}' => return head + at + c.len_utf8(),
            '\u{1b}' if body[at..].starts_with("\u{1b}\\") => return head + at + 2,
            '\u{1b}' => break,
            _ => at += c.len_utf8(),
        }
        if at > LONGEST {
            break;
        }
    }
    head
}
