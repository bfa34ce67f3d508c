//! Rows of a CSV file, one at a time and in bounded memory.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read};

use super::{CsvError, time};
use crate::source::Sample;

/// Longest row that is read.
const MAX_ROW: usize = 1 << 20;

/// Reads rows with the columns `timestamp`, `value` and perhaps `label`, by name in any case, in any order,
/// quoted or not; further columns are passed over.
///
/// A row is a line: a quoted cell cannot hold a line break. Empty lines are no rows; both `\n` and `\r\n` end
/// one; a byte order mark is passed over. Times are those of [`read_csv`](crate::read_csv).
///
/// ```
/// use aiops_detectors::CsvReader;
/// let mut rows = CsvReader::new("Label,TimeStamp,Value\r\n1,\"2026-01-01 00:00:00\",2.5\r\n".as_bytes())?;
/// let row = rows.next_row()?.ok_or("no row")?;
/// assert_eq!((&*row.timestamp, row.label.as_deref()), ("2026-01-01 00:00:00", Some("1")));
/// assert_eq!(row.sample.map(|sample| sample.value), Ok(2.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CsvReader<R> {
    input: R,
    row: Vec<u8>,
    line: u64,
    bytes: u64,
    columns: Columns,
}

#[derive(Debug, Default)]
struct Columns {
    time: usize,
    value: usize,
    label: Option<usize>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CsvRow<'a> {
    /// Its line, counted from 1.
    pub line: u64,
    /// The time as it stands in the file, without quotes; empty where the row has none.
    pub timestamp: Cow<'a, str>,
    /// What it says, or what is wrong with it.
    pub sample: Result<Sample, RowFault>,
    /// The label as it stands; none where the row or the file has none.
    pub label: Option<Cow<'a, str>>,
}

/// What is wrong with a row. The text is cut to 40 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowFault {
    /// The cell is missing or empty.
    NoTimestamp,
    /// A time in no known form, or one that could be two.
    NotATime(String),
    /// The cell is missing or empty.
    NoValue,
    /// A value that is no number.
    NotANumber(String),
    /// NaN or an infinity.
    NotFinite(String),
    /// Text in another encoding, from this byte on (counted from 1).
    NotUtf8(usize),
    /// More than 1 MiB.
    TooLong,
}

impl RowFault {
    /// The kind of fault, for counting.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoTimestamp => "no timestamp",
            Self::NotATime(_) => "not a time",
            Self::NoValue => "no value",
            Self::NotANumber(_) => "not a number",
            Self::NotFinite(_) => "not finite",
            Self::NotUtf8(_) => "not UTF-8",
            Self::TooLong => "row is longer than 1 MiB",
        }
    }
}

impl fmt::Display for RowFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::NotATime(text) | Self::NotANumber(text) | Self::NotFinite(text) => write!(f, ": {text:?}"),
            Self::NotUtf8(byte) => write!(f, " from byte {byte}"),
            Self::NoTimestamp | Self::NoValue | Self::TooLong => Ok(()),
        }
    }
}

impl<R: BufRead> CsvReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// A reader that fails, or a header without a time or a value.
    pub fn new(input: R) -> Result<Self, CsvError> {
        let mut reader = Self { input, row: Vec::new(), line: 0, bytes: 0, columns: Columns::default() };
        reader.advance()?;
        let header = String::from_utf8_lossy(reader.line_bytes());
        let header = header.trim_start_matches('\u{feff}');
        let names: Vec<_> = Cells(Some(header)).collect();
        let column = |name: &str| names.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
        let needed = |name: &'static str| {
            column(name).ok_or_else(|| CsvError::Header { found: aiops_core::text::clip(header, 80), missing: name })
        };
        let columns = Columns { time: needed("timestamp")?, value: needed("value")?, label: column("label") };
        reader.columns = columns;
        Ok(reader)
    }

    /// Whether the file has labels.
    #[must_use]
    pub fn has_label(&self) -> bool {
        self.columns.label.is_some()
    }

    /// Bytes read so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// A reader that fails. What is wrong with a row stands in the row.
    pub fn next_row(&mut self) -> Result<Option<CsvRow<'_>>, CsvError> {
        loop {
            if !self.advance()? {
                return Ok(None);
            }
            if !self.line_bytes().is_empty() {
                break;
            }
        }
        let line = self.line;
        let row = match std::str::from_utf8(self.line_bytes()) {
            _ if self.row.len() > MAX_ROW => {
                CsvRow { line, timestamp: Cow::Borrowed(""), sample: Err(RowFault::TooLong), label: None }
            }
            Ok(text) => self.parse(text),
            Err(error) => {
                let text = String::from_utf8_lossy(self.line_bytes());
                let read = self.parse(&text);
                CsvRow {
                    line,
                    timestamp: Cow::Owned(read.timestamp.into_owned()),
                    sample: Err(RowFault::NotUtf8(error.valid_up_to() + 1)),
                    label: read.label.map(|label| Cow::Owned(label.into_owned())),
                }
            }
        };
        if row.sample.is_err() {
            metrics::counter!("aiops_csv_bad_rows_total").increment(1);
        }
        Ok(Some(row))
    }

    /// Reads the next line, cut after `MAX_ROW`; whether there is one.
    fn advance(&mut self) -> Result<bool, CsvError> {
        let line = self.line + 1;
        let failed = |source| CsvError::Io { line, source };
        self.row.clear();
        let limit = MAX_ROW as u64 + 1;
        let mut read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.row).map_err(failed)?;
        if read == 0 {
            return Ok(false);
        }
        if self.row.len() > MAX_ROW && self.row.last() != Some(&b'\n') {
            read += self.input.skip_until(b'\n').map_err(failed)?;
        }
        self.bytes += read as u64;
        self.line = line;
        Ok(true)
    }

    /// The line without its end.
    fn line_bytes(&self) -> &[u8] {
        let end = self.row.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
        &self.row[..end]
    }

    fn parse<'a>(&self, text: &'a str) -> CsvRow<'a> {
        let (mut time, mut value, mut label) = (None, None, None);
        let last = self.columns.time.max(self.columns.value).max(self.columns.label.unwrap_or(0));
        for (index, cell) in Cells(Some(text)).enumerate().take(last + 1) {
            if index == self.columns.time {
                time = Some(cell);
            } else if index == self.columns.value {
                value = Some(cell);
            } else if Some(index) == self.columns.label {
                label = Some(cell);
            }
        }
        let timestamp = time.unwrap_or_default();
        let sample = sample(timestamp.trim(), value.unwrap_or_default().trim());
        CsvRow { line: self.line, timestamp, sample, label }
    }
}

/// How many rows a [`CsvReader`] gives of this input, whatever their faults: its lines that are not empty,
/// without the header. Fast, for the share of a file that has been read or the length of a series.
///
/// # Errors
/// Those of the reader.
///
/// ```
/// assert_eq!(aiops_detectors::count_csv_rows("timestamp,value\r\n0,1\r\n\r\noops".as_bytes())?, 2);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn count_csv_rows(mut input: impl BufRead) -> std::io::Result<u64> {
    input.skip_until(b'\n')?;
    let mut rows = 0;
    let mut is_row = false;
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            return Ok(rows + u64::from(is_row));
        }
        for byte in buffer {
            match byte {
                b'\n' => rows += u64::from(std::mem::take(&mut is_row)),
                b'\r' => {}
                _ => is_row = true,
            }
        }
        let used = buffer.len();
        input.consume(used);
    }
}

fn sample(time: &str, value: &str) -> Result<Sample, RowFault> {
    let clip = |text: &str| aiops_core::text::clip(text, 40);
    if time.is_empty() {
        return Err(RowFault::NoTimestamp);
    }
    if value.is_empty() {
        return Err(RowFault::NoValue);
    }
    let at = time::parse(time).ok_or_else(|| RowFault::NotATime(clip(time)))?;
    let number: f64 = value.parse().map_err(|_| RowFault::NotANumber(clip(value)))?;
    if number.is_finite() { Ok(Sample { at, value: number }) } else { Err(RowFault::NotFinite(clip(value))) }
}

/// The cells of a row: split at commas outside quotes; `""` inside quotes is one quote.
struct Cells<'a>(Option<&'a str>);

impl<'a> Iterator for Cells<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.0?;
        // Nearly every cell is plain, or in quotes as a whole.
        if let Some((cell, rest)) = row.strip_prefix('"').and_then(|inner| inner.split_once('"'))
            && (rest.is_empty() || rest.starts_with(','))
        {
            self.0 = rest.strip_prefix(',');
            return Some(Cow::Borrowed(cell));
        }
        match row.bytes().position(|byte| matches!(byte, b',' | b'"')) {
            None => {
                self.0 = None;
                Some(Cow::Borrowed(row))
            }
            Some(end) if row.as_bytes()[end] == b',' => {
                self.0 = Some(&row[end + 1..]);
                Some(Cow::Borrowed(&row[..end]))
            }
            Some(_) => {
                let (cell, rest) = unquote(row);
                self.0 = rest;
                Some(Cow::Owned(cell))
            }
        }
    }
}

/// The first cell of a row, and what follows its comma.
fn unquote(row: &str) -> (String, Option<&str>) {
    let mut cell = String::new();
    let mut quoted = false;
    let mut chars = row.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if quoted && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => return (cell, Some(&row[at + 1..])),
            c => cell.push(c),
        }
    }
    (cell, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells(row: &str) -> Vec<String> {
        Cells(Some(row)).map(Cow::into_owned).collect()
    }

    #[test]
    fn cells_with_and_without_quotes() {
        assert_eq!(cells("a,b,"), ["a", "b", ""]);
        assert_eq!(cells("\"a\",\"b,c\",\"\""), ["a", "b,c", ""]);
        assert_eq!(cells("\"say \"\"no\"\"\",x"), ["say \"no\"", "x"]);
        assert_eq!(cells(" \"a,b\" ,c"), [" a,b ", "c"]);
        assert_eq!(cells("\"open,c"), ["open,c"]);
        assert_eq!(cells(""), [""]);
    }

    #[test]
    fn a_row_keeps_its_time_as_it_stands_and_its_label() {
        let file = "Label,Value,TimeStamp\r\n1,2.5,\" 2026-01-01 00:00:00\"\r\n\r\n,oops,yesterday,9\n0,1\n   \n";
        let mut reader = CsvReader::new(file.as_bytes()).unwrap();
        assert!(reader.has_label());
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row().unwrap() {
            let sample = row.sample.map(|sample| sample.value).map_err(|fault| fault.to_string());
            rows.push((row.line, row.timestamp.into_owned(), row.label.map(Cow::into_owned), sample));
        }
        let text = |text: &str| text.to_owned();
        assert_eq!(
            rows,
            [
                (2, text(" 2026-01-01 00:00:00"), Some(text("1")), Ok(2.5)),
                (4, text("yesterday"), Some(text("")), Err(text("not a time: \"yesterday\""))),
                (5, text(""), Some(text("0")), Err(text("no timestamp"))),
                (6, text(""), Some(text("   ")), Err(text("no timestamp"))),
            ]
        );
        assert_eq!(reader.bytes(), file.len() as u64);
        assert_eq!(count_csv_rows(file.as_bytes()).unwrap(), 4);
    }

    #[test]
    fn a_row_without_end_is_cut_and_costs_itself() {
        let mut text = b"timestamp,value\n0,1\n".to_vec();
        text.resize(text.len() + 3 * MAX_ROW, b'x');
        text.extend_from_slice(b"\n1,2\n");
        let mut reader = CsvReader::new(text.as_slice()).unwrap();
        let mut samples = Vec::new();
        while let Some(row) = reader.next_row().unwrap() {
            samples.push((row.line, row.sample.map(|sample| sample.value)));
        }
        assert_eq!(samples, [(2, Ok(1.0)), (3, Err(RowFault::TooLong)), (4, Ok(2.0))]);
        assert_eq!(reader.bytes(), text.len() as u64);
    }

    proptest! {
        #[test]
        fn the_fast_way_to_split_gives_what_the_slow_one_gives(row in "[a,\" ]{0,12}") {
            let mut slow = Vec::new();
            let mut rest = Some(row.as_str());
            while let Some(row) = rest {
                let (cell, after) = unquote(row);
                slow.push(cell);
                rest = after;
            }
            prop_assert_eq!(cells(&row), slow);
        }

        #[test]
        fn any_bytes_give_as_many_rows_as_are_counted(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b','), Just(b'"'), Just(b'1'), any::<u8>()], 0..80)) {
            let file = [b"value,timestamp\n".as_slice(), &bytes].concat();
            let mut reader = CsvReader::new(file.as_slice()).unwrap();
            let mut rows = 0;
            while let Some(row) = reader.next_row().unwrap() {
                prop_assert!(row.sample.is_err() || row.sample.is_ok_and(|sample| sample.value.is_finite()));
                rows += 1;
            }
            prop_assert_eq!(rows, count_csv_rows(file.as_slice()).unwrap());
            prop_assert_eq!(reader.bytes(), file.len() as u64);
        }
    }
}
