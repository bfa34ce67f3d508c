//! The store in one file of JSON lines, for one process at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiops_core::Response;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::book::{Book, Change, Decided};
use super::memory::store_of_a_book;
use super::*;

/// The version of the lines: 2 knows approvals and guards, 3 blocks of tokens, 4 whether people were told. A file of
/// a newer version is refused; an older one is read, and its next lines are those of this version.
const VERSION: u32 = 4;

/// The first line of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    aiops_journal: u32,
}

/// A last line that a crash cut short. It was never acknowledged, so nothing rests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Torn {
    /// Which line, counted from 1.
    pub line: usize,
    /// How many bytes of it were there.
    pub bytes: usize,
}

#[derive(Debug)]
struct Journal {
    book: Book,
    file: File,
    /// Bytes of whole lines.
    length: u64,
    /// A failed write that could not be taken back: the file's end is not known.
    broken: bool,
}

/// Keeps everything as JSON lines in one file: a change is appended and synced before the call
/// returns, so before the effect that it announces. On open the file is read back.
///
/// One process at a time: the file is locked by the operating system while it is open, and a process
/// that dies frees it. Locks on steps are therefore kept in memory only: whoever opens the file knows
/// that every former holder is gone.
///
/// A last line without its end is cut off and reported ([`torn`](Self::torn)); any other line that
/// does not read is an error with its number. The file only grows (about 3 KB a report); memory is
/// bounded as in [`MemoryStore`](super::MemoryStore). Calls wait for the disk on tokio's blocking
/// threads.
#[derive(Debug)]
pub struct JsonlStore {
    journal: Arc<Mutex<Journal>>,
    torn: Option<Torn>,
}

fn unavailable(doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::Unavailable { doing, source: Box::new(source) }
}

impl JsonlStore {
    /// Opens a journal, and creates it if it is new. It reads the whole file and blocks meanwhile.
    ///
    /// # Errors
    /// A file that cannot be opened or that another process has open
    /// ([`StoreError::Unavailable`]); a line that does not read ([`StoreError::Corrupt`]).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let opening = || unavailable("open the journal");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(opening())?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                let source = format!("another process has {} open", path.display()).into();
                StoreError::Unavailable { doing: "open the journal", source }
            }
            TryLockError::Error(error) => opening()(error),
        })?;
        let (mut book, length, torn) = read_back(&mut file, path)?;
        book.read_back();
        if torn.is_some() {
            file.set_len(length).map_err(opening())?;
        }
        let mut journal = Journal { book, file, length, broken: false };
        if length == 0 {
            journal.append(&Header { aiops_journal: VERSION }).map_err(opening())?;
            sync_folder(path).map_err(opening())?;
        }
        Ok(Self { journal: Arc::new(Mutex::new(journal)), torn })
    }

    /// The last line, where a crash had cut it short.
    #[must_use]
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    async fn run<A: Send + 'static>(
        &self,
        doing: &'static str,
        decide: impl FnOnce(&mut Book) -> Decided<A> + Send + 'static,
    ) -> Result<A, StoreError> {
        let journal = Arc::clone(&self.journal);
        // The task goes on when this future is dropped: the change is then done or not, never half.
        let task = tokio::task::spawn_blocking(move || {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            let (answer, change) = decide(&mut journal.book)?;
            if let Some(change) = change {
                journal.append(&change).map_err(unavailable(doing))?;
                journal.book.apply(change);
            }
            Ok(answer)
        });
        task.await.map_err(|error| StoreError::Unavailable { doing, source: error.into() })?
    }
}

impl Journal {
    /// Appends one line and syncs it; a write that failed is taken back, so that the next line does
    /// not continue a half one.
    fn append(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        if self.broken {
            return Err(std::io::Error::other("an earlier write could not be taken back; open the journal again"));
        }
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                Ok(())
            }
            Err(error) => {
                self.broken = self.file.set_len(self.length).and_then(|()| self.file.sync_data()).is_err();
                Err(error)
            }
        }
    }
}

/// A new file survives a power cut only once its folder is synced.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf))?.sync_all()
}

fn read_back(file: &mut File, path: &Path) -> Result<(Book, u64, Option<Torn>), StoreError> {
    let reading = || unavailable("read the journal");
    file.seek(SeekFrom::Start(0)).map_err(reading())?;
    let mut reader = BufReader::new(file);
    let (mut book, mut length, mut line) = (Book::default(), 0_u64, 0_usize);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let count = reader.read_until(b'\n', &mut bytes).map_err(reading())?;
        if count == 0 {
            return Ok((book, length, None));
        }
        line = line.saturating_add(1);
        if bytes.last() != Some(&b'\n') {
            metrics::counter!("aiops_remediate_journal_torn_total").increment(1);
            tracing::warn!(file = %path.display(), line, bytes = count, "the journal's last line was cut short by a crash");
            return Ok((book, length, Some(Torn { line, bytes: count })));
        }
        let corrupt = |source: BoxError| StoreError::Corrupt { file: path.display().to_string(), line, source };
        if line == 1 {
            let header: Header = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.into()))?;
            if !(1..=VERSION).contains(&header.aiops_journal) {
                let found = header.aiops_journal;
                return Err(corrupt(
                    format!("it has version {found}, this program reads versions 1 to {VERSION}").into(),
                ));
            }
        } else {
            book.apply(serde_json::from_slice::<Change>(&bytes).map_err(|error| corrupt(error.into()))?);
        }
        length = length.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

store_of_a_book!(JsonlStore);
