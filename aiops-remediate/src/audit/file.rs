//! The audit log in one file of JSON lines.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::verify::{AuditReader, ChainFault};
use super::{AuditChain, AuditEntry, AuditError, AuditLog, Broken, ChainEnd, appended};
use crate::store::Torn;

#[derive(Debug)]
struct Appender {
    chain: AuditChain,
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    length: u64,
    /// A failed write that could not be taken back: the file's end is not known.
    broken: bool,
}

/// Appends each entry to a file and syncs it before the call returns, so before the effect that it announces.
///
/// One process at a time: the file is locked by the operating system while it is open. On open the whole chain
/// is read and checked, in time that grows with the file: rotate it by the week or month. One that is broken is an
/// error, so that nobody acts on top of a file that someone changed. A last line without its end is cut off and
/// reported ([`torn`](Self::torn)): it was never acknowledged.
///
/// The file only grows (some KB a report). To rotate it, the host drops the log, moves the file away, and opens
/// the next one with [`open_after`](Self::open_after) and the [`end`](Self::end) of the one before, so that the
/// chain goes on over both.
#[derive(Debug)]
pub struct FileAudit {
    appender: Arc<Mutex<Appender>>,
    torn: Option<Torn>,
}

fn unavailable(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> AuditError {
    let file = path.display().to_string();
    move |source| AuditError::Unavailable { doing, file, source: Box::new(source) }
}

impl FileAudit {
    /// Opens a log, and creates it if it is new. It reads the whole file and blocks meanwhile.
    ///
    /// # Errors
    /// A file that cannot be opened or that another process has open ([`AuditError::Unavailable`]); a chain that
    /// does not hold ([`AuditError::Broken`]).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AuditError> {
        Self::open_after(path, ChainEnd::start())
    }

    /// Opens a log whose chain goes on after that of another file.
    ///
    /// # Errors
    /// As [`open`](Self::open); a file that holds a chain which does not go on after `end` is broken in line 1.
    pub fn open_after(path: impl AsRef<Path>, end: ChainEnd) -> Result<Self, AuditError> {
        let path = path.as_ref();
        let opening = || unavailable("open", path);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(opening())?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => opening()(std::io::Error::other("another process has it open")),
            TryLockError::Error(error) => opening()(error),
        })?;
        let (chain, length, torn) = read_back(&mut file, path, end)?;
        if torn.is_some() {
            file.set_len(length).and_then(|()| file.sync_data()).map_err(opening())?;
        }
        if length == 0 {
            sync_folder(path).map_err(opening())?;
        }
        let appender = Appender { chain, file, path: path.to_owned(), length, broken: false };
        Ok(Self { appender: Arc::new(Mutex::new(appender)), torn })
    }

    /// The last line, where a crash had cut it short.
    #[must_use]
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    /// Where the chain is: to be kept elsewhere, and to go on from in the next file.
    #[must_use]
    pub fn end(&self) -> ChainEnd {
        self.appender.lock().unwrap_or_else(PoisonError::into_inner).chain.end().clone()
    }
}

fn read_back(file: &mut File, path: &Path, end: ChainEnd) -> Result<(AuditChain, u64, Option<Torn>), AuditError> {
    file.seek(SeekFrom::Start(0)).map_err(unavailable("read", path))?;
    let mut reader = AuditReader::after(BufReader::new(file), end);
    let mut length = 0_u64;
    let mut torn = None;
    while let Some(record) = reader.next() {
        match record {
            Ok(_) => length = length.saturating_add(u64::try_from(reader.length()).unwrap_or(u64::MAX)),
            Err(Broken { line, fault: ChainFault::Torn { bytes } }) => {
                metrics::counter!("aiops_audit_torn_total").increment(1);
                tracing::warn!(file = %path.display(), line, bytes, "the audit log's last line was cut short by a crash");
                torn = Some(Torn { line: usize::try_from(line).unwrap_or(usize::MAX), bytes });
            }
            Err(Broken { fault: ChainFault::Read(error), .. }) => return Err(unavailable("read", path)(error)),
            Err(broken) => return Err(AuditError::Broken { file: path.display().to_string(), source: broken }),
        }
    }
    Ok((AuditChain::after(reader.end().clone()), length, torn))
}

/// A new file survives a power cut only once its folder is synced.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

impl Appender {
    /// Appends one line and syncs it; a write that failed is taken back, so that the next line does not continue
    /// a half one.
    fn append(&mut self, entry: &AuditEntry) -> Result<(), AuditError> {
        let appending = || unavailable("append to", &self.path);
        if self.broken {
            let why = "an earlier write could not be taken back; open the log again";
            return Err(appending()(std::io::Error::other(why)));
        }
        let line = self.chain.next(entry)?;
        if let Err(error) = self.file.write_all(line.text.as_bytes()).and_then(|()| self.file.sync_data()) {
            let error = appending()(error);
            self.broken = self.file.set_len(self.length).and_then(|()| self.file.sync_data()).is_err();
            return Err(error);
        }
        self.length = self.length.saturating_add(u64::try_from(line.text.len()).unwrap_or(u64::MAX));
        self.chain.advance(&line);
        Ok(())
    }
}

#[async_trait]
impl AuditLog for FileAudit {
    async fn append(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let appender = Arc::clone(&self.appender);
        // The task goes on when this future is dropped: the line is then there or not, never half.
        let task = tokio::task::spawn_blocking(move || {
            let outcome = appender.lock().unwrap_or_else(PoisonError::into_inner).append(&entry);
            appended(&entry, outcome)
        });
        task.await.map_err(|error| AuditError::Interrupted { source: error.into() })?
    }
}

#[cfg(test)]
mod tests {
    use aiops_core::Redactor;
    use jiff::Timestamp;

    use super::*;
    use crate::store::KillSwitch;

    #[test]
    fn a_write_that_fails_leaves_the_chain_where_it_was() {
        let path = std::env::temp_dir().join(format!("aiops-audit-readonly-{}.jsonl", std::process::id()));
        std::fs::write(&path, "").unwrap();
        // Opened for reading only, a file takes no byte and cannot be cut.
        let file = File::open(&path).unwrap();
        let (chain, length) = (AuditChain::default(), 0);
        let mut appender = Appender { chain, file, path: path.clone(), length, broken: false };
        let switch = KillSwitch::on("ops", "night", Timestamp::UNIX_EPOCH);
        let entry = AuditEntry::kill_switch(&switch, &Redactor::default());
        let error = appender.append(&entry).unwrap_err();
        assert!(error.is_retryable() && error.to_string().starts_with("could not append to the audit log "), "{error}");
        assert_eq!(appender.chain.end().sequence, 0);
        // What may stand at the end is not known: nothing goes on behind it.
        let again = aiops_core::error_chain(&appender.append(&entry).unwrap_err());
        assert!(again.ends_with("an earlier write could not be taken back; open the log again"), "{again}");
        std::fs::remove_file(&path).unwrap();
    }
}
