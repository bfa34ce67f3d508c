//! Lines of plain and gzipped files, in bounded memory.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

/// Bytes of a buffer.
const BUFFER: usize = 256 * 1024;
/// What is kept of a line: far more than the miner looks at.
const MAX_LINE: u64 = 64 * 1024;
/// What a gzipped file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An opened file, plain or decompressed.
pub(super) struct Input {
    reader: Box<dyn BufRead>,
    read: Rc<Cell<u64>>,
}

impl Input {
    /// Opens a file, or standard input for `-`. Whether it is gzipped is told by its first bytes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") { Self::of(io::stdin().lock()) } else { Self::of(File::open(path)?) }
    }

    /// Reads from anything.
    pub(super) fn of(reader: impl Read + 'static) -> io::Result<Self> {
        let read = Rc::new(Cell::new(0));
        let mut counted = Counted { inner: reader, read: Rc::clone(&read) };
        let mut start = Vec::new();
        counted.by_ref().take(GZIP.len() as u64).read_to_end(&mut start)?;
        let gzipped = start == GZIP;
        let whole = Cursor::new(start).chain(counted);
        let reader: Box<dyn BufRead> = if gzipped {
            Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))))
        } else {
            Box::new(BufReader::with_capacity(BUFFER, whole))
        };
        Ok(Self { reader, read })
    }
}

struct Counted<R> {
    inner: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

/// The lines of an input, without their ends; of a very long one the first 64 kB.
pub(super) struct Lines {
    input: Input,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn new(input: Input) -> Self {
        Self { input, line: Vec::new() }
    }

    /// Bytes read of the file itself.
    pub(super) fn read(&self) -> u64 {
        self.input.read.get()
    }

    /// The next line; none at the end. What follows the last line end counts where it is not empty.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let reader = &mut self.input.reader;
        if reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
        } else if self.line.len() as u64 == MAX_LINE {
            reader.skip_until(b'\n')?;
        }
        Ok(Some(&self.line))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn lines(bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(Input::of(Cursor::new(bytes)).unwrap());
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(line.to_vec());
        }
        all
    }

    #[test]
    fn blank_lines_count_and_a_last_line_needs_no_end() {
        assert_eq!(lines(b"a\n\nb\r\n c".to_vec()), [&b"a"[..], b"", b"b", b" c"]);
        assert!(lines(Vec::new()).is_empty());
        assert_eq!(lines(b"x".to_vec()), [b"x"]);
    }

    #[test]
    fn a_very_long_line_is_one_line() {
        let mut bytes = vec![b'x'; 200_000];
        bytes.extend(b"\nlast");
        let all = lines(bytes);
        assert_eq!((all.len(), all[0].len(), &all[1][..]), (2, 65_536, &b"last"[..]));
    }

    #[test]
    fn gzipped_parts_are_told_by_their_first_bytes() {
        let part = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let both = [part(b"a\nb\n"), part(b"c\n")].concat();
        assert_eq!(lines(both), [b"a", b"b", b"c"]);
    }
}
