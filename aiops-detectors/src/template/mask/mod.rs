//! Masking: the variable parts of a line become `*`.
//!
//! One pass from left to right over bytes, no regular expressions. The rules and their order are those of
//! facts 3.1, written at the functions below.

mod class;
mod shapes;
#[cfg(test)]
mod tests;
mod words;

use self::class::{BLANK, DIGIT, DOT, HEX, LETTER, RUN, SEPARATOR, WORD, at, class, is, is_constant, joins};

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
        let line = self.line;
        let mut place = 0;
        while let Some(&byte) = line.get(place) {
            let mut end = place;
            while is(line, end, LETTER) {
                end += 1;
            }
            if self.is_plain(place, end) {
                place = end + 1;
                continue;
            }
            let class = class(byte);
            place = if class & RUN != 0 {
                self.run_of_words(place, end)
            } else if matches!(byte, b':' | b',') && at(line, place + 1) == b' ' && !is(line, place + 2, BLANK) {
                place + 2 // Both stay.
            } else if class & BLANK != 0 {
                self.blank(place)
            } else {
                self.mark(place, byte)
            };
        }
    }

    /// Whether the letters of a place and the one blank behind them stay as they are: most of most lines.
    #[inline]
    fn is_plain(&self, from: usize, end: usize) -> bool {
        let line = self.line;
        end > from
            && at(line, end) == b' '
            && !is(line, end + 1, BLANK)
            // No unit, no part of a date, no `ffff`.
            && from != self.star
            && from != self.star.wrapping_add(1)
            && !(end - from == 3 && line[from].is_ascii_uppercase())
            && !(line[from] == b'f' && line[end - 1] == b'f')
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
        if matches!(out.last(), None | Some(b' ' | b'=' | b'[' | b'(')) {
            // What most values stand behind; the rest is for the others.
            out.push(STAR);
            return to;
        }
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

    /// A run of words and of what joins them, of which so many letters were seen.
    #[inline]
    fn run_of_words(&mut self, from: usize, letters: usize) -> usize {
        let line = self.line;
        if (self.star == from || from > 0 && self.star == from - 1 && line[from - 1] == b' ')
            && let Some(end) = self.unit(from)
        {
            return end;
        }
        let (mut end, mut seen) = (letters, 0);
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
        if seen & (DIGIT | SEPARATOR) == 0 { self.word(from, end) } else { self.compound(from, end, seen) }
    }

    /// A run of bytes of these classes, digits or separators among them.
    fn compound(&mut self, run: usize, run_end: usize, seen: u8) -> usize {
        let (digit, separator, dot) = (seen & DIGIT != 0, seen & SEPARATOR != 0, seen & DOT != 0);
        let line = self.line;
        let (mut from, mut end) = (run, run_end);
        // A name and what it says: `my-module: `.
        if !digit && !dot && line[run_end..].starts_with(b": ") && is(line, run, WORD) && is(line, run_end - 1, WORD) {
            return self.secret(&line[run..run_end], run_end).unwrap_or(run_end);
        }
        // A number that begins no date and no address: most values.
        let more = match at(line, run_end) {
            b'/' | b':' => true,
            b' ' => run_end - run <= 4 && is(line, run_end + 1, LETTER),
            _ => false,
        };
        if !more && !separator && line[run].is_ascii_digit() {
            return self.value(run, run_end);
        }
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
        let leader = if dot { line[from..end].windows(2).position(|two| two == b"..") } else { None };
        let run_end = match leader {
            Some(at) => {
                end = from + at;
                end
            }
            None => run_end,
        };
        if from == end {
            return run_end;
        }
        if !digit {
            if dot && !matches!(at(line, end), b'(' | b':') && shapes::is_host_name(&line[from..end]) {
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
        if (separator || matches!(at(line, end), b':' | b'/'))
            && let Some((start, end)) = shapes::behind_name(line, from, end)
        {
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
