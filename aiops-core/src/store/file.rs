//! State in a folder, one file a key: for one process at a time.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{StateError, StateStore, Versioned};

/// First bytes of a state file: format and its version.
const MAGIC: &[u8; 8] = b"aiops\0s1";

/// Keeps state in a folder: each save writes a new file, syncs it and renames it over the old one,
/// so that a crash leaves the old value or the new one, never half of each.
///
/// One process at a time may use a folder; several replicas need a shared store.
#[derive(Debug, Clone)]
pub struct FileStateStore {
    folder: PathBuf,
    // Saves of one process are serialised; the lock is tokio's, since it is held while a blocking
    // task runs.
    saving: Arc<Mutex<()>>,
}

impl FileStateStore {
    /// Opens a folder, and creates it if it is new.
    ///
    /// # Errors
    /// A folder that cannot be created.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StateError> {
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder).map_err(|source| unavailable("open", &folder.display().to_string(), source))?;
        Ok(Self { folder, saving: Arc::new(Mutex::new(())) })
    }

    /// Letters, digits, `-` and `_` stand for themselves; every other byte as `.xx`.
    fn path(&self, key: &str) -> PathBuf {
        let name: String = key
            .bytes()
            .map(|b| match b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(b).to_string(),
                other => format!(".{other:02x}"),
            })
            .collect();
        // Longer than a file name may be: the head for a person, the hash for uniqueness.
        let name = if name.len() > 200 {
            format!("{}-{}", &name[..150], crate::fingerprint::sha1_head(key.as_bytes()))
        } else {
            name
        };
        self.folder.join(format!("{name}.state"))
    }
}

fn unavailable(doing: &'static str, key: &str, source: std::io::Error) -> StateError {
    StateError::Unavailable { doing, key: key.to_owned(), source: Box::new(source) }
}

fn read(path: &Path, key: &str) -> Result<Option<Versioned>, StateError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unavailable("load", key, error)),
    };
    let corrupt =
        |why: &str| StateError::Corrupt { key: key.to_owned(), source: format!("{}: {why}", path.display()).into() };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| corrupt("not a state file of this version"))?;
    let (version, value) = rest.split_first_chunk::<8>().ok_or_else(|| corrupt("cut short"))?;
    Ok(Some(Versioned { bytes: value.to_vec(), version: u64::from_le_bytes(*version) }))
}

fn write(folder: &Path, path: &Path, version: u64, value: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(MAGIC)?;
    file.write_all(&version.to_le_bytes())?;
    file.write_all(value)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

#[async_trait]
impl StateStore for FileStateStore {
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
        let (path, key) = (self.path(key), key.to_owned());
        let name = key.clone();
        tokio::task::spawn_blocking(move || read(&path, &key)).await.map_err(|error| StateError::Unavailable {
            doing: "load",
            key: name,
            source: error.into(),
        })?
    }

    async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        let guard = Arc::clone(&self.saving).lock_owned().await;
        let (folder, path, key) = (self.folder.clone(), self.path(key), key.to_owned());
        let name = key.clone();
        // The guard moves into the task, so that a dropped future does not let a second save in.
        tokio::task::spawn_blocking(move || {
            let _guard = guard;
            let found = read(&path, &key)?.map_or(0, |value| value.version);
            if found != expected {
                return Err(StateError::Conflict { key, expected, found });
            }
            let version = expected.saturating_add(1);
            write(&folder, &path, version, &bytes).map_err(|source| unavailable("save", &key, source))?;
            Ok(version)
        })
        .await
        .map_err(|error| StateError::Unavailable { doing: "save", key: name, source: error.into() })?
    }
}
