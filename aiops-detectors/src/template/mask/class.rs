//! What a byte may be part of, and the words that the masker knows.

use super::super::known::Known;

/// A letter, `_`, or a byte of a character beyond ASCII.
pub(super) const LETTER: u8 = 1;
/// 0 to 9.
pub(super) const DIGIT: u8 = 2;
/// Joins the parts of a compound word: `. ~ $ % @ + -`.
pub(super) const SEPARATOR: u8 = 4;
/// A blank or a control character.
pub(super) const BLANK: u8 = 8;
/// Ends a path: blank `, ; :` quote bracket.
pub(super) const PATH_END: u8 = 16;
/// A hexadecimal digit.
pub(super) const HEX: u8 = 32;
/// The separator `.`.
pub(super) const DOT: u8 = 64;
/// Part of a word.
pub(super) const WORD: u8 = LETTER | DIGIT;
/// Part of a compound word.
pub(super) const RUN: u8 = WORD | SEPARATOR;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut byte = 0usize;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)] // below 256
        let c = byte as u8;
        table[byte] = match c {
            b'0'..=b'9' => DIGIT | HEX,
            b'a'..=b'f' | b'A'..=b'F' => LETTER | HEX,
            b'g'..=b'z' | b'G'..=b'Z' | b'_' | 0x80..=0xff => LETTER,
            b'.' => SEPARATOR | DOT,
            b'~' | b'$' | b'%' | b'@' | b'+' | b'-' => SEPARATOR,
            0..=b' ' | 0x7f => BLANK | PATH_END,
            b',' | b';' | b':' | b'"' | b'\'' | b'`' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'|' => {
                PATH_END
            }
            _ => 0,
        };
        byte += 1;
    }
    table
}

/// The classes of a byte.
#[inline]
pub(super) fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

/// The byte at a place; a blank beyond the end.
#[inline]
pub(super) fn at(line: &[u8], place: usize) -> u8 {
    line.get(place).copied().unwrap_or(b' ')
}

/// Whether the byte at a place is of one of these classes; nothing is there beyond the end.
#[inline]
pub(super) fn is(line: &[u8], place: usize, classes: u8) -> bool {
    line.get(place).is_some_and(|byte| class(*byte) & classes != 0)
}

/// Whether two stars with this between them are one value.
pub(super) fn joins(byte: u8) -> bool {
    matches!(byte, b'.' | b':' | b',' | b'/' | b'-' | b'_' | b'@' | b'+' | b'~' | b'#' | b'|' | b'x' | b'\\')
}

/// Whether a word after a number is its unit.
pub(super) fn is_unit(word: &[u8]) -> bool {
    matches!(
        word,
        b"B" | b"KB"
            | b"MB"
            | b"GB"
            | b"TB"
            | b"PB"
            | b"kB"
            | b"kb"
            | b"mb"
            | b"gb"
            | b"KiB"
            | b"MiB"
            | b"GiB"
            | b"TiB"
            | b"Ki"
            | b"Mi"
            | b"Gi"
            | b"Ti"
            | b"byte"
            | b"bytes"
            | b"ns"
            | b"us"
            | b"ms"
            | b"s"
            | b"sec"
            | b"secs"
            | b"second"
            | b"seconds"
            | b"min"
            | b"mins"
            | b"Hz"
            | b"kHz"
            | b"MHz"
            | b"GHz"
            | b"%"
    )
}

/// Words with a digit that are the same in every line.
static CONSTANTS: Known<19> = Known::new([
    "ipv4", "ipv6", "sha1", "sha256", "md5", "utf8", "base64", "http2", "x86", "x64", "amd64", "i386", "log4j", "k8s",
    "s3", "ec2", "oauth2", "slf4j", "win32",
]);

/// Whether a word with a digit is the same in every line. One that begins with a digit is not.
pub(super) fn is_constant(word: &[u8]) -> bool {
    word.first().is_some_and(|first| class(*first) & DIGIT == 0) && CONSTANTS.has(word)
}

/// Whether a file of this extension holds source code: what follows its colon is a line, not a port.
pub(super) fn is_source(extension: &[u8]) -> bool {
    const EXTENSIONS: [&[u8]; 21] = [
        b"java", b"kt", b"scala", b"py", b"c", b"cc", b"cpp", b"cxx", b"h", b"hpp", b"go", b"rs", b"js", b"ts", b"rb",
        b"php", b"cs", b"swift", b"m", b"mm", b"lua",
    ];
    EXTENSIONS.iter().any(|source| extension.eq_ignore_ascii_case(source))
}

/// Whether what stands behind this word and `=` or `:` is a secret.
pub(super) fn is_secret(word: &[u8]) -> bool {
    const ENDS: [&[u8]; 9] =
        [b"password", b"passwd", b"passphrase", b"pwd", b"secret", b"token", b"apikey", b"api_key", b"api-key"];
    const WHOLE: [&[u8]; 4] = [b"authorization", b"bearer", b"access_key", b"private_key"];
    // How each of them ends; most words do not.
    let [.., before, last] = word else { return false };
    if !matches!(&[before | 0x20, last | 0x20], b"en" | b"er" | b"et" | b"ey" | b"on" | b"rd" | b"se" | b"wd") {
        return false;
    }
    let ends = |end: &[u8]| word.len() >= end.len() && word[word.len() - end.len()..].eq_ignore_ascii_case(end);
    word.len() >= 3 && (ENDS.iter().any(|end| ends(end)) || WHOLE.iter().any(|whole| word.eq_ignore_ascii_case(whole)))
}
