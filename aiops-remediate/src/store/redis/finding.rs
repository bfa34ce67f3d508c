//! What of a server's settings would lose a promise of the store.

use std::fmt;
use std::time::Duration;

use redis::aio::ConnectionManager;

/// A setting of the server that the store cannot keep its promises with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisFinding {
    /// `appendonly` is off: after a restart of the server, what began before may begin again.
    NotKept,
    /// `appendfsync` is not `always`: a power cut may lose the last calls that were answered.
    KeptLate {
        /// What it is.
        appendfsync: String,
    },
    /// `maxmemory-policy` is not `noeviction`: a full server throws records away.
    Evicts {
        /// What it is.
        policy: String,
    },
    /// The server does not tell its settings, as many that are hosted by others.
    Untold {
        /// Which one.
        setting: &'static str,
    },
}

impl fmt::Display for RedisFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKept => {
                f.write_str("redis keeps nothing over a restart, so that a step could run again: set appendonly yes")
            }
            Self::KeptLate { appendfsync } => write!(
                f,
                "redis has appendfsync {appendfsync}, so that a power cut loses what was answered last: set appendfsync \
                 always"
            ),
            Self::Evicts { policy } => write!(
                f,
                "redis has maxmemory-policy {policy}, which throws records away when memory is full: set noeviction"
            ),
            Self::Untold { setting } => {
                write!(f, "redis does not tell its {setting}: ask whoever runs it (docs/guide/operating.md)")
            }
        }
    }
}

/// Asks the server for its settings.
pub(super) async fn findings(mut connection: ConnectionManager, timeout: Duration) -> Vec<RedisFinding> {
    let mut found = Vec::new();
    for setting in ["appendonly", "appendfsync", "maxmemory-policy"] {
        let mut command = redis::cmd("CONFIG");
        command.arg("GET").arg(setting);
        let asked = tokio::time::timeout(timeout, command.query_async::<Vec<String>>(&mut connection)).await;
        let value = asked.ok().and_then(Result::ok).and_then(|pair| pair.into_iter().nth(1));
        found.extend(match (setting, value) {
            (_, None) => Some(RedisFinding::Untold { setting }),
            ("appendonly", Some(value)) => (value != "yes").then_some(RedisFinding::NotKept),
            ("appendfsync", Some(value)) => {
                let kept = !found.contains(&RedisFinding::NotKept);
                (kept && value != "always").then_some(RedisFinding::KeptLate { appendfsync: value })
            }
            (_, Some(value)) => (value != "noeviction").then_some(RedisFinding::Evicts { policy: value }),
        });
    }
    for finding in &found {
        tracing::warn!(%finding, "the remediation store is not as safe as it should be");
    }
    found
}
