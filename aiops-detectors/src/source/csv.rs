//! Samples from CSV text: one value a row.

use std::io::{self, BufRead};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Sample;

/// Bad rows that are kept with their reason; further ones are only counted.
const KEPT_BAD_ROWS: usize = 100;
/// Longest row that is read.
const MAX_ROW: usize = 1 << 20;

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadRow {
    /// Its line, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Everything that was read.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct CsvSamples {
    /// The samples, in the order of the rows.
    pub samples: Vec<Sample>,
    /// The first bad rows.
    pub bad: Vec<BadRow>,
    /// How many bad rows there were.
    pub bad_count: u64,
}

/// A file that cannot be read as samples at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsvError {
    /// The reader failed.
    #[error("could not read csv line {line}")]
    Io {
        /// The line.
        line: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The first line names no usable columns.
    #[error("csv header {found:?} lacks a column {missing}; expected timestamp (or TimeStamp) and value (or Value)")]
    Header {
        /// The header, cut.
        found: String,
        /// What is missing.
        missing: &'static str,
    },
}

/// Reads rows with the columns `timestamp|TimeStamp` and `value|Value`, in any order, quoted or not;
/// further columns are passed over.
///
/// Times: RFC 3339, `YYYY-MM-DD HH:MM[:SS]` (naive is UTC), or unix seconds. A bad row costs itself:
/// it is kept with its line and reason, and counted. NaN and infinities are bad rows.
///
/// # Errors
/// A reader that fails, or a header without the two columns.
///
/// ```
/// let text = "timestamp,value\n2026-01-01 00:00:00,1.5\noops,2\n1767225900,\"3\"\n";
/// let read = aiops_detectors::read_csv(text.as_bytes())?;
/// assert_eq!(read.samples.len(), 2);
/// assert_eq!((read.bad[0].line, read.bad_count), (3, 1));
/// # Ok::<(), aiops_detectors::CsvError>(())
/// ```
pub fn read_csv(mut input: impl BufRead) -> Result<CsvSamples, CsvError> {
    let mut read = CsvSamples::default();
    let mut line = 0;
    let Some(header) = row(&mut input, &mut line)? else {
        return Err(CsvError::Header { found: String::new(), missing: "timestamp" });
    };
    let header = header.unwrap_or_default();
    let header = header.trim_start_matches('\u{feff}');
    let names = cells(header);
    let column = |name: &'static str| {
        let found = names.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name));
        found.ok_or_else(|| CsvError::Header { found: aiops_core::text::clip(header, 80), missing: name })
    };
    let (time, value) = (column("timestamp")?, column("value")?);
    while let Some(text) = row(&mut input, &mut line)? {
        let parsed =
            text.and_then(
                |text| {
                    if text.trim().is_empty() { Ok(None) } else { sample(&cells(&text), time, value).map(Some) }
                },
            );
        match parsed {
            Ok(Some(sample)) => read.samples.push(sample),
            Ok(None) => {}
            Err(reason) => {
                read.bad_count += 1;
                if read.bad.len() < KEPT_BAD_ROWS {
                    read.bad.push(BadRow { line, reason });
                }
            }
        }
    }
    if read.bad_count > 0 {
        metrics::counter!("aiops_csv_bad_rows_total").increment(read.bad_count);
    }
    Ok(read)
}

/// The next row; the inner error is for this row alone.
fn row(input: &mut impl BufRead, line: &mut u64) -> Result<Option<Result<String, String>>, CsvError> {
    let mut bytes = Vec::new();
    let number = *line + 1;
    let mut too_long = false;
    loop {
        let buffer = input.fill_buf().map_err(|source| CsvError::Io { line: number, source })?;
        if buffer.is_empty() {
            break;
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        too_long |= bytes.len() + used > MAX_ROW;
        if !too_long {
            bytes.extend_from_slice(&buffer[..used]);
        }
        input.consume(used);
        *line = number;
        if end.is_some() {
            break;
        }
    }
    if *line != number {
        return Ok(None);
    }
    if too_long {
        return Ok(Some(Err(format!("row is longer than {} MiB", MAX_ROW >> 20))));
    }
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => Err(format!("not UTF-8 from byte {}", error.utf8_error().valid_up_to() + 1)),
    }))
}

/// Splits a row at commas outside quotes; `""` inside quotes is one quote.
fn cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut chars = row.chars().peekable();
    while let Some(c) = chars.next() {
        let last = cells.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cells[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells[last].push(c),
        }
    }
    cells
}

fn sample(cells: &[String], time: usize, value: usize) -> Result<Sample, String> {
    let cell = |index: usize, name: &str| {
        let found = cells.get(index).map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
        found.ok_or_else(|| format!("no {name}"))
    };
    let (time, text) = (cell(time, "timestamp")?, cell(value, "value")?);
    let clip = |text: &str| aiops_core::text::clip(text, 40);
    let at = parse_time(time).ok_or_else(|| format!("not a time: {:?}", clip(time)))?;
    let value: f64 = text.parse().map_err(|_| format!("not a number: {:?}", clip(text)))?;
    if value.is_finite() { Ok(Sample { at, value }) } else { Err(format!("not finite: {:?}", clip(text))) }
}

/// RFC 3339, a naive date and time (UTC), or unix seconds.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        // Microseconds: finer than any float of this size.
        let micros = (seconds * 1e6).round();
        #[allow(clippy::cast_possible_truncation)]
        return (micros.abs() < 9e15).then(|| Timestamp::from_microsecond(micros as i64).ok()).flatten();
    }
    let civil: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(text: &str) -> Vec<i64> {
        let read = read_csv(text.as_bytes()).unwrap();
        assert!(read.bad.is_empty(), "{:?}", read.bad);
        read.samples.iter().map(|sample| sample.at.as_second()).collect()
    }

    #[test]
    fn times_in_all_their_forms() {
        let text = "TimeStamp,Value\r\n2026-01-01T00:00:00Z,1\r\n2026-01-01 00:00,1\n2026-01-01 00:00:00,1\n\
            2026-01-01,1\n\"2026-01-01 00:00:00\",\"1\"\n1767225600.0,1\n2026-01-01T01:00:00+01:00,1";
        assert_eq!(times(text), [1_767_225_600; 7], "row 23: midnight and naive times are fine");
    }

    #[test]
    fn bad_rows_cost_themselves() {
        let text = b"\xef\xbb\xbfvalue,label,timestamp\n1,x,0\nNaN,x,1\ninf,x,2\n,x,3\n4,x\n5,x,soon\n\n6\xff,x,6\n7,\"a,b\",7\n";
        let read = read_csv(text.as_slice()).unwrap();
        assert_eq!(read.samples.iter().map(|s| s.value).collect::<Vec<_>>(), [1.0, 7.0]);
        let bad: Vec<_> = read.bad.iter().map(|row| (row.line, row.reason.as_str())).collect();
        assert_eq!(
            bad,
            [
                (3, "not finite: \"NaN\""),
                (4, "not finite: \"inf\""),
                (5, "no value"),
                (6, "no timestamp"),
                (7, "not a time: \"soon\""),
                (9, "not UTF-8 from byte 2")
            ]
        );
    }

    #[test]
    fn a_header_without_columns_says_which() {
        for (text, missing) in [("", "timestamp"), ("a,b\n1,2\n", "timestamp"), ("timestamp,x\n", "value")] {
            let error = read_csv(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("lacks a column {missing}")), "{error}");
        }
    }
}
