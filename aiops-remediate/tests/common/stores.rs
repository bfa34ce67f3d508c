//! The stores of this crate that need no server, each as a process opens it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aiops_remediate::{JsonlStore, MemoryStore, RemediationStore};

use super::once_free;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Memory,
    Jsonl,
    #[cfg(feature = "sqlite")]
    Sqlite,
}

impl Kind {
    pub(crate) const ALL: &[Self] = &[
        Self::Memory,
        Self::Jsonl,
        #[cfg(feature = "sqlite")]
        Self::Sqlite,
    ];

    pub(crate) fn is_on_disk(self) -> bool {
        self != Self::Memory
    }

    /// The store of this folder; in memory, one that is new.
    pub(crate) fn open(self, folder: &Path) -> Arc<dyn RemediationStore> {
        match self {
            Self::Memory => Arc::new(MemoryStore::default()),
            Self::Jsonl => Arc::new(once_free(|| JsonlStore::open(folder.join("journal.jsonl")))),
            #[cfg(feature = "sqlite")]
            Self::Sqlite => Arc::new(once_free(|| aiops_remediate::SqliteStore::open(folder.join("store.db")))),
        }
    }
}

/// A fresh folder of a test.
pub(crate) fn scratch_folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}
