//! Masking: the variable parts of a line become `*`.
//!
//! One pass from left to right over bytes, no regular expressions. The rules and their order are those of
//! facts 3.1, written at the functions below.

mod class;
mod shapes;
#[cfg(test)]
mod tests;

use self::class::{
    BLANK, DIGIT, HEX, LETTER, RUN, SEPARATOR, WORD, at, class, is, is_constant, is_secret, is_source, is_unit, joins,
};

/// The mark of a variable part.
pub(super) const STAR: u8 = b'*';
/// Longest line that is read, in bytes: what is behind it says nothing more about the kind of line.
pub(super) const MAX_LINE: usize = 4096;
/// Stands where a line was cut, and where a repetition was left out.
pub(super) const CUT: &str = "…";

/// Masks the first line of `text` into `out`, over what is there, and tells where that line ends.
///
/// At most [`MAX_LINE`] bytes are read; a longer line ends with [`CUT`] and is no longer than that.
pub(super) fn mask(text: &[u8], out: &mut Vec<u8>) -> usize {
    out.clear();
    let cut = text.len() > MAX_LINE;
    let mut line = text;
    if cut {
        let mut end = MAX_LINE - CUT.len();
        // Not within a character.
        while end > 0 && text[end] & 0xC0 == 0x80 && end + 4 > MAX_LINE - CUT.len() {
            end -= 1;
        }
        line = &text[..end];
    }
    let mut pass = Pass { line, out, copied: 0, star: usize::MAX, end: line.len() };
    pass.run();
    let end = pass.end;
    pass.copy_to(end);
    let ended = end < line.len();
    while out.last() == Some(&b' ') {
        out.pop();
    }
    if cut && !ended {
        out.extend_from_slice(CUT.as_bytes());
        return text.len();
    }
    end
}

struct Pass<'a> {
    line: &'a [u8],
    out: &'a mut Vec<u8>,
    /// What is before this place was copied or replaced.
    copied: usize,
    /// The place right behind the newest replaced value.
    star: usize,
    /// Where the first line ends.
    end: usize,
}

impl Pass<'_> {
    fn run(&mut self) {
        let mut place = 0;
        while let Some(&byte) = self.line.get(place) {
            let class = class(byte);
            place = if class & RUN != 0 {
                self.run_of_words(place)
            } else if class & BLANK != 0 {
                self.blank(place)
            } else {
                self.mark(place, byte)
            };
        }
    }

    fn copy_to(&mut self, place: usize) {
        if self.copied < place {
            self.out.extend_from_slice(&self.line[self.copied..place]);
            self.copied = place;
        }
    }

    /// Leaves out `from..to`.
    fn leave_out(&mut self, from: usize, to: usize) {
        self.copy_to(from);
        self.copied = to;
    }

    /// `from..to` is a value. Values joined by one or two marks are one; `<`, `>` and `~` before one go.
    fn value(&mut self, from: usize, to: usize) -> usize {
        self.leave_out(from, to);
        self.star = to;
        let out = &mut *self.out;
        while matches!(out.last(), Some(b'<' | b'>' | b'~')) {
            out.pop();
        }
        match **out {
            [.., STAR] => {}
            [.., STAR, a] if joins(a) => out.truncate(out.len() - 1),
            [.., STAR, a, b] if joins(a) && joins(b) => out.truncate(out.len() - 2),
            _ => out.push(STAR),
        }
        to
    }

    /// Blanks collapse to one; the first line ends at a line end.
    fn blank(&mut self, from: usize) -> usize {
        let line = self.line;
        if line[from] == b' ' && from > 0 && !is(line, from + 1, BLANK) {
            return from + 1;
        }
        let mut end = from;
        while is(line, end, BLANK) {
            if line[end] == b'\n' && from > 0 {
                self.end = from;
                return line.len();
            }
            end += 1;
        }
        self.leave_out(from, end);
        if !self.out.is_empty() {
            self.out.push(b' ');
        }
        end
    }

    /// Whether a value may begin here: no word, compound or other value ends here.
    fn starts(&self, place: usize) -> bool {
        place == 0 || {
            let before = self.line[place - 1];
            class(before) & RUN == 0 && !matches!(before, STAR | b'/' | b'\\') || announces(before)
        }
    }

    /// A byte that belongs to no word.
    fn mark(&mut self, place: usize, byte: u8) -> usize {
        let line = self.line;
        match byte {
            STAR => self.value(place, place + 1),
            b'/' if self.starts(place) => {
                let name = if at(line, place + 1) == b'/' { place + 2 } else { place + 1 };
                if is(line, name, RUN) || at(line, name) == STAR {
                    self.value(place, shapes::path_end(line, place))
                } else {
                    place + 1
                }
            }
            b'\\' if at(line, place + 1) == b'\\' && self.starts(place) => {
                self.value(place, shapes::path_end(line, place))
            }
            b':' if at(line, place + 1) == b':' && self.starts(place) => match shapes::hex_groups(line, place) {
                Some(end) => self.value(place, end),
                None => place + 1,
            },
            // A size that is repeated for people: `4096 (4 KB)`.
            b')' if self.star == place && self.out.ends_with(b"* (*") => {
                self.out.truncate(self.out.len() - 3);
                self.leave_out(place, place + 1);
                self.star = place + 1;
                place + 1
            }
            _ => place + 1,
        }
    }

    /// A run of words and of what joins them.
    #[inline]
    fn run_of_words(&mut self, from: usize) -> usize {
        let line = self.line;
        if let Some(end) = self.joined_unit(from) {
            return end;
        }
        let (mut end, mut seen) = (from, 0);
        while let Some(&byte) = line.get(end) {
            let class = class(byte);
            if class & RUN == 0 {
                break;
            }
            seen |= class;
            end += 1;
        }
        if at(line, end) == b'/'
            && !announces(line[end - 1])
            && let Some(end) = shapes::joined_path(line, from)
        {
            return self.value(from, end);
        }
        if seen & (DIGIT | SEPARATOR) == 0 { self.word(from, end) } else { self.compound(from, end, seen & DIGIT != 0) }
    }

    fn behind_value(&self, from: usize) -> bool {
        self.star == from || (from > 0 && self.star == from - 1 && self.line[from - 1] == b' ')
    }

    /// A unit that a further value is joined to: `3 ms-5 ms`.
    fn joined_unit(&mut self, from: usize) -> Option<usize> {
        if !self.behind_value(from) {
            return None;
        }
        let mut end = from;
        while self.line.get(end).is_some_and(u8::is_ascii_alphabetic) {
            end += 1;
        }
        let joined = matches!(at(self.line, end), b'-' | b'_' | b'.') && is(self.line, end + 1, DIGIT);
        if !joined || !is_unit(&self.line[from..end]) {
            return None;
        }
        self.copied = end;
        self.star = end;
        Some(end)
    }

    /// A run without digits or, in `from..end`, without separators at its ends.
    fn word(&mut self, from: usize, end: usize) -> usize {
        let line = self.line;
        let word = &line[from..end];
        if self.behind_value(from) && is_unit(word) {
            self.copied = end;
            self.star = end;
            return end;
        }
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
    fn before_colon(&mut self, from: usize, end: usize) -> Option<usize> {
        let line = self.line;
        let word = &line[from..end];
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
        let (name, group) = behind_name(word, |byte| class(byte) & SEPARATOR != 0 || byte == b'_');
        if word.len() - group <= 4
            && word[group..].iter().all(|byte| class(*byte) & HEX != 0)
            && let Some(end) = shapes::hex_groups(line, from + group)
        {
            return Some(self.value(from + name, end));
        }
        if let Some(dot) = word.iter().rposition(|byte| *byte == b'.') {
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
    fn secret(&mut self, word: &[u8], end: usize) -> Option<usize> {
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

    /// A run with digits or separators in it.
    fn compound(&mut self, run: usize, run_end: usize, digit: bool) -> usize {
        let line = self.line;
        let (mut from, mut end) = (run, run_end);
        if at(line, end) == b'/' && matches!(&line[run..end], b"." | b".." | b"~") {
            return self.value(run, shapes::path_end(line, run));
        }
        while from < end && class(line[from]) & SEPARATOR != 0 {
            // A sign is part of the number.
            if matches!(line[from], b'+' | b'-') && is(line, from + 1, DIGIT) {
                self.leave_out(from, from + 1);
            }
            from += 1;
        }
        while end > from && class(line[end - 1]) & SEPARATOR != 0 {
            end -= 1;
        }
        // Leading dots, as in a table of contents, join nothing.
        let leader = line[from..end].windows(2).position(|two| two == b"..");
        let run_end = match leader {
            Some(at) => {
                end = from + at;
                end
            }
            None => run_end,
        };
        if from == end {
            // `5 %`
            return if run_end - run == 1 { self.word(run, run_end) } else { run_end };
        }
        if !digit {
            if shapes::is_host_name(&line[from..end]) && at(line, end) != b'(' && at(line, end) != b':' {
                self.value(from, end);
                return run_end;
            }
            let next = self.word(from, end);
            return if next == end { run_end } else { next };
        }
        if line[from].is_ascii_digit()
            && let Some(end) = shapes::timestamp(line, from)
        {
            return self.value(from, end);
        }
        if let Some((start, end)) = shapes::behind_name(line, from, end) {
            return self.value(start, end);
        }
        if at(line, end) == b':'
            && let Some(end) = self.before_colon(from, end)
        {
            return end;
        }
        let separators = line[from..end].iter().filter(|byte| class(**byte) & SEPARATOR != 0).count();
        if separators >= 2 && !digits_are_constant(&line[from..end]) {
            self.value(from, end);
        } else {
            self.parts(from, end);
        }
        // `5%`
        if self.star == end && at(line, end) == b'%' {
            self.leave_out(end, end + 1);
            self.star = end + 1;
        }
        run_end
    }

    /// The words of a compound that is no value as a whole.
    fn parts(&mut self, from: usize, end: usize) {
        let line = self.line;
        let mut place = from;
        while place < end {
            if class(line[place]) & SEPARATOR != 0 {
                // `blk_-1` is `blk_1`.
                if matches!(line[place], b'-' | b'+') && line[place - 1] == b'_' && is(line, place + 1, DIGIT) {
                    self.leave_out(place, place + 1);
                }
                place += 1;
                continue;
            }
            let start = place;
            while place < end && class(line[place]) & WORD != 0 {
                place += 1;
            }
            let word = &line[start..place];
            let Some(digit) = word.iter().position(u8::is_ascii_digit) else { continue };
            if is_constant(word) {
                continue;
            }
            let hex = word.len() >= 6 && word.iter().all(|byte| class(*byte) & HEX != 0);
            let whole = hex || has_numbered_parts(word);
            self.value(if whole { start } else { start + digit }, place);
        }
    }
}

/// Whether a value may begin right behind this byte although it is part of a word: `node-/srv/x`, `...../x`.
fn announces(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'@' | b'.')
}

/// Where a value begins that stands behind one name in a word, and where its last part does: behind
/// several names, or one with a digit, the whole word is the value.
fn behind_name(word: &[u8], joint: impl Fn(u8) -> bool) -> (usize, usize) {
    let last = word.iter().rposition(|byte| joint(*byte)).map_or(0, |at| at + 1);
    let one = last > 0 && !word[..last - 1].iter().any(|byte| class(*byte) & (SEPARATOR | DIGIT) != 0);
    (if one { last } else { 0 }, last)
}

/// Whether all digits of a compound stand in words that are the same in every line.
fn digits_are_constant(compound: &[u8]) -> bool {
    compound
        .split(|byte| class(*byte) & SEPARATOR != 0)
        .all(|word| !word.iter().any(u8::is_ascii_digit) || is_constant(word))
}

/// Whether two parts or more of a word like `rdd_2_17` have digits: an identifier as a whole.
fn has_numbered_parts(word: &[u8]) -> bool {
    word.split(|byte| *byte == b'_').filter(|part| part.iter().any(u8::is_ascii_digit)).count() >= 2
}
