//! The scores of a file, a row for each of its rows.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// Read and written at once: as large as helps.
pub(super) const BUFFER: usize = 1 << 18;

/// The scores of one file; they take their place when they are complete.
pub(super) struct Scores {
    to: BufWriter<File>,
    part: PathBuf,
    path: PathBuf,
    complete: bool,
}

impl Drop for Scores {
    fn drop(&mut self) {
        if !self.complete {
            // What is left of a file that failed; the failure has been told.
            let _ = fs::remove_file(&self.part);
        }
    }
}

impl Scores {
    /// Begins the scores at `path`.
    ///
    /// # Errors
    /// A place that cannot be written to.
    pub(super) fn create(path: PathBuf) -> Result<Self, String> {
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let create = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut to = BufWriter::with_capacity(BUFFER, File::create(&part)?);
            to.write_all(b"timestamp,score,alert\n")?;
            Ok(to)
        };
        let to = create().map_err(|error: io::Error| format!("could not write {}: {error}", part.display()))?;
        Ok(Self { to, part, path, complete: false })
    }

    /// The next row.
    ///
    /// # Errors
    /// A file that cannot be written to.
    pub(super) fn write(&mut self, timestamp: &str, score: f64, alert: bool) -> Result<(), String> {
        let mut write = || {
            self.to.write_all(quoted(timestamp).as_bytes())?;
            if score == 0.0 {
                self.to.write_all(b",0")?;
            } else {
                self.to.write_all(b",")?;
                // Several times as fast as the standard library's way, and as exact.
                serde_json::to_writer(&mut self.to, &score)?;
            }
            self.to.write_all(if alert { b",1\n" } else { b",0\n" })
        };
        let written: io::Result<()> = write();
        written.map_err(|error| self.failed(&error))
    }

    /// After the last row.
    ///
    /// # Errors
    /// A file that cannot be written to.
    pub(super) fn finish(mut self) -> Result<(), String> {
        self.to.flush().and_then(|()| fs::rename(&self.part, &self.path)).map_err(|error| self.failed(&error))?;
        self.complete = true;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> String {
        format!("could not write {}: {error}", self.part.display())
    }
}

/// A cell in quotes where it needs them.
fn quoted(cell: &str) -> Cow<'_, str> {
    if cell.contains(['"', ',', '\r']) {
        Cow::Owned(format!("\"{}\"", cell.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(cell)
    }
}
