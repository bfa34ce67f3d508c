//! Samples from CSV text: one value a row.

mod reader;
mod time;

use std::io::{self, BufRead};

pub use self::reader::{CsvReader, CsvRow, RowFault, count_csv_rows};
use super::Sample;

/// Bad rows that are kept with their reason; further ones are only counted.
const KEPT_BAD_ROWS: usize = 100;

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
/// further columns are passed over. [`CsvReader`] gives the same rows one at a time.
///
/// Times: RFC 3339, `YYYY-MM-DD HH:MM[:SS[.fraction]]` (naive is UTC), or unix seconds, milli-, micro- or
/// nanoseconds, told apart by their size. A bad row costs itself: it is kept with its line and reason, and
/// counted. NaN and infinities are bad rows.
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
pub fn read_csv(input: impl BufRead) -> Result<CsvSamples, CsvError> {
    let mut read = CsvSamples::default();
    let mut reader = CsvReader::new(input)?;
    while let Some(row) = reader.next_row()? {
        match row.sample {
            Ok(sample) => read.samples.push(sample),
            Err(fault) => {
                read.bad_count += 1;
                if read.bad.len() < KEPT_BAD_ROWS {
                    read.bad.push(BadRow { line: row.line, reason: fault.to_string() });
                }
            }
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

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
