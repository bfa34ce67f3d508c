//! Settings of a server with which the bus loses messages.

use std::fmt;

use super::server::Server;
use crate::bus::BusError;

/// A setting of the server with which the bus cannot keep what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisBusFinding {
    /// `appendonly` is off: a restart of the server loses all messages and the places of all groups.
    NotKept,
    /// `appendfsync` is not `always`: a power cut may lose the last messages that were taken.
    KeptLate {
        /// What it is.
        appendfsync: String,
    },
    /// `maxmemory-policy` is not `noeviction`: a full server throws whole topics away.
    Evicts {
        /// What it is.
        policy: String,
    },
    /// The server does not tell this setting, as many that are hosted by others.
    Untold {
        /// Which one.
        setting: &'static str,
    },
}

impl fmt::Display for RedisBusFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotKept => f.write_str("redis keeps no message over a restart: set appendonly yes"),
            Self::KeptLate { appendfsync } => write!(
                f,
                "redis has appendfsync {appendfsync}, so that a power cut loses the last messages: set appendfsync always"
            ),
            Self::Evicts { policy } => write!(
                f,
                "redis has maxmemory-policy {policy}, which throws topics away when memory is full: set noeviction"
            ),
            Self::Untold { setting } => write!(f, "redis does not tell its {setting}: ask whoever runs it"),
        }
    }
}

/// Asks the server for its settings.
pub(super) async fn findings(server: &Server) -> Result<Vec<RedisBusFinding>, BusError> {
    let mut ping = ::redis::cmd("PING");
    ping.arg("findings");
    let answers = server.command::<String>(&ping).await;
    answers.map_err(|error| BusError::Connect { bus: "redis", source: error.into() })?;
    let mut found = Vec::new();
    for setting in ["appendonly", "appendfsync", "maxmemory-policy"] {
        let mut command = ::redis::cmd("CONFIG");
        command.arg("GET").arg(setting);
        // A server of others may forbid the question.
        let told = server.command::<Vec<String>>(&command).await.ok().and_then(|pair| pair.into_iter().nth(1));
        found.extend(match (setting, told) {
            (_, None) => Some(RedisBusFinding::Untold { setting }),
            ("appendonly", Some(value)) => (value != "yes").then_some(RedisBusFinding::NotKept),
            ("appendfsync", Some(value)) => {
                let kept = !found.contains(&RedisBusFinding::NotKept);
                (kept && value != "always").then_some(RedisBusFinding::KeptLate { appendfsync: value })
            }
            (_, Some(value)) => (value != "noeviction").then_some(RedisBusFinding::Evicts { policy: value }),
        });
    }
    Ok(found)
}
