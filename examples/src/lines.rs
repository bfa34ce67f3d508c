//! Reading JSON lines that may be broken, one at a time and in bounded memory.

use std::io::{self, BufRead, Read};

/// Longest line that is taken; a longer one is skipped and said.
pub const MAX_LINE: usize = 8 * 1024 * 1024;

/// One line of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Text.
    Text(String),
    /// What could not be read, and why.
    Bad(String),
}

/// Reads the next line that is not blank, with its number counted from 1.
///
/// # Errors
/// Those of the reader.
pub fn next_line(input: &mut impl BufRead, number: &mut u64) -> io::Result<Option<Line>> {
    loop {
        let mut bytes = Vec::new();
        let read = input.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        *number += 1;
        if bytes.len() > MAX_LINE && bytes.last() != Some(&b'\n') {
            skip_line(input)?;
            return Ok(Some(Line::Bad(format!("line is longer than {} MiB", MAX_LINE >> 20))));
        }
        let line = match String::from_utf8(bytes) {
            Ok(text) if *number == 1 => Line::Text(text.trim_start_matches('\u{feff}').trim().to_owned()),
            Ok(text) => Line::Text(text.trim().to_owned()),
            Err(error) => Line::Bad(format!("not UTF-8 from byte {}", error.utf8_error().valid_up_to() + 1)),
        };
        if line != Line::Text(String::new()) {
            return Ok(Some(line));
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_lines_cost_themselves_only() {
        let mut bytes = b"\xef\xbb\xbfa\r\n\n \n\xff\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', MAX_LINE + 10));
        bytes.extend(b"\nlast");
        let mut input = io::BufReader::new(bytes.as_slice());
        let mut number = 0;
        let mut seen = Vec::new();
        while let Some(line) = next_line(&mut input, &mut number).unwrap() {
            seen.push((number, line));
        }
        assert_eq!(seen[0], (1, Line::Text("a".to_owned())));
        assert_eq!(seen[1], (4, Line::Bad("not UTF-8 from byte 1".to_owned())));
        assert_eq!(seen[2], (5, Line::Bad("line is longer than 8 MiB".to_owned())));
        assert_eq!(seen[3], (6, Line::Text("last".to_owned())));
    }
}
