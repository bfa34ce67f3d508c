//! What a word means by what stands behind it: a unit, a date, an address, a secret.

use super::class::{BLANK, DIGIT, HEX, LETTER, RUN, SEPARATOR, WORD, at, class, is, is_secret, is_source, is_unit};
use super::{Pass, shapes};

impl Pass<'_> {
    /// The unit of the value before: `5 ms`, `40 %.`, and `3 ms-5 ms`, where a further value is joined.
    pub(super) fn unit(&mut self, from: usize) -> Option<usize> {
        let line = self.line;
        let mut end = from;
        while line.get(end).is_some_and(u8::is_ascii_alphabetic) {
            end += 1;
        }
        let mut behind = end;
        if end == from && line[from] == b'%' {
            end += 1;
            behind = end;
            if is(line, end, RUN) {
                return None;
            }
        }
        while is(line, behind, SEPARATOR) {
            behind += 1;
        }
        let joined = matches!(at(line, end), b'-' | b'_' | b'.') && is(line, end + 1, DIGIT);
        if is(line, behind, WORD) && !joined || !is_unit(&line[from..end]) {
            return None;
        }
        self.copied = end;
        self.star = end;
        Some(end)
    }

    /// A run without digits or, in `from..end`, without separators at its ends.
    pub(super) fn word(&mut self, from: usize, end: usize) -> usize {
        let line = self.line;
        let word = &line[from..end];
        match at(line, end) {
            b':' => {
                if let Some(end) = self.before_colon(from, end) {
                    return end;
                }
            }
            b'=' | b'"' | b'\'' => {
                if let Some(end) = self.secret(word, end) {
                    return end;
                }
            }
            b' ' | b',' if word.len() == 3 && word[0].is_ascii_uppercase() => {
                if let Some(end) = shapes::dated_words(line, from) {
                    return self.value(from, end);
                }
            }
            _ => {}
        }
        if word[0] == b'f' && word.len() >= 4 && word.iter().all(|byte| *byte == b'f') {
            return self.value(from, end);
        }
        end
    }

    /// What a word and a colon may begin: URL, Windows path, addresses, host and port, a secret.
    pub(super) fn before_colon(&mut self, from: usize, end: usize) -> Option<usize> {
        let line = self.line;
        let word = &line[from..end];
        if at(line, end + 1) == b' ' {
            return self.secret(word, end);
        }
        if at(line, end + 1) == b'/'
            && at(line, end + 2) == b'/'
            && (is(line, end + 3, RUN) || at(line, end + 3) == b'/')
        {
            let (name, _) = behind_name(word, |byte| matches!(byte, b'-' | b'_' | b'@' | b'.'));
            return Some(self.value(from + name, shapes::url_end(line, end + 3)));
        }
        if word.len() == 1 && at(line, end + 1) == b'\\' {
            return Some(self.value(from, shapes::path_end(line, end + 1)));
        }
        if !is(line, end + 1, HEX) && at(line, end + 1) != b':' {
            return self.secret(word, end);
        }
        let (name, group) = behind_name(word, |byte| class(byte) & SEPARATOR != 0 || byte == b'_');
        if word.len() - group <= 4
            && word[group..].iter().all(|byte| class(*byte) & HEX != 0)
            && let Some(end) = shapes::hex_groups(line, from + group)
        {
            return Some(self.value(from + name, end));
        }
        if is(line, end + 1, DIGIT)
            && let Some(dot) = word.iter().rposition(|byte| *byte == b'.')
        {
            let label = &word[dot + 1..];
            let mut port = end + 1;
            while is(line, port, DIGIT) {
                port += 1;
            }
            let host = !is_source(label) && label.iter().all(|byte| !byte.is_ascii_uppercase());
            if host && (2..=5).contains(&(port - end - 1)) && !is(line, port, LETTER) {
                return Some(self.value(from, port));
            }
        }
        self.secret(word, end)
    }

    /// Masks what stands behind the name of a secret and `=` or `:`, whatever it is.
    pub(super) fn secret(&mut self, word: &[u8], end: usize) -> Option<usize> {
        let line = self.line;
        if !is_secret(word) {
            return None;
        }
        let mut place = end;
        if matches!(at(line, place), b'"' | b'\'') {
            place += 1;
        }
        if !matches!(at(line, place), b'=' | b':') {
            return None;
        }
        place += 1;
        while at(line, place) == b' ' && place < line.len() {
            place += 1;
        }
        let quote = at(line, place);
        let quoted = matches!(quote, b'"' | b'\'');
        place += usize::from(quoted);
        let value_end = |mut to: usize| {
            while to < line.len()
                && if quoted {
                    line[to] != quote
                } else {
                    class(line[to]) & BLANK == 0
                        && !matches!(line[to], b',' | b';' | b'&' | b'"' | b'\'' | b')' | b'}' | b']')
                }
            {
                to += 1;
            }
            to
        };
        let mut to = value_end(place);
        // `Authorization: Bearer x`, `Basic x`.
        if !quoted
            && [&b"bearer"[..], b"basic", b"digest"].iter().any(|scheme| line[place..to].eq_ignore_ascii_case(scheme))
            && is(line, to + 1, RUN)
        {
            to = value_end(to + 1);
        }
        (to > place).then(|| self.value(place, to))
    }
}

/// Where a value begins that stands behind one name in a word, and where its last part does: behind
/// several names, or one with a digit, the whole word is the value.
fn behind_name(word: &[u8], joint: impl Fn(u8) -> bool) -> (usize, usize) {
    let last = word.iter().rposition(|byte| joint(*byte)).map_or(0, |at| at + 1);
    let one = last > 0 && !word[..last - 1].iter().any(|byte| class(*byte) & (SEPARATOR | DIGIT) != 0);
    (if one { last } else { 0 }, last)
}
