//! State in Redis: for several processes that share it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Script};

use super::{StateError, StateStore, Versioned};
use crate::error::BoxError;
use crate::time::human;

/// How long a call may take: a replica that waits longer decides alone.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long one try to connect may take.
const CONNECT: Duration = Duration::from_secs(1);
/// Versions are compared as text, since Lua's numbers are exact up to 2^53 only.
const SAVE: &str = r"
local found = redis.call('HGET', KEYS[1], 'version') or '0'
if found ~= ARGV[1] then return found end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'bytes', ARGV[3])
return false
";

/// Keeps state in one Redis, one hash a key, for several processes.
///
/// A save is one script on one key, so that a cluster may spread the keys. A call takes at most 2 s
/// ([`timeout`](Self::timeout)) and is [`StateError::Unavailable`] then; what it asked for may have been
/// done. The connection comes back by itself.
///
/// # What the server must be set to
/// With `appendonly yes` a restart of the server keeps the state; with `appendfsync everysec`, its
/// default, a power cut loses the last second. What is lost this way is announced again by replicas that
/// were started anew since, and written again by those that run: nobody misses a page for it. With
/// another `maxmemory-policy` than `noeviction`, or `volatile-*`, a full server throws state away.
pub struct RedisStateStore {
    manager: ConnectionManager,
    save: Script,
    prefix: String,
    timeout: Duration,
}

impl fmt::Debug for RedisStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manager: _, save: _, prefix, timeout } = self;
        f.debug_struct("RedisStateStore").field("prefix", prefix).field("timeout", timeout).finish_non_exhaustive()
    }
}

impl RedisStateStore {
    /// Connects to `redis://host:port/db`. Keys begin with `prefix` and a colon; all processes of one
    /// deployment take the same.
    ///
    /// # Errors
    /// An address that does not read, or a server that does not answer.
    pub async fn connect(url: &str, prefix: &str) -> Result<Self, StateError> {
        let failed =
            |source: BoxError| StateError::Unavailable { doing: "connect for", key: prefix.to_owned(), source };
        let client = Client::open(url).map_err(|error| failed(error.into()))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1);
        let manager = tokio::time::timeout(TIMEOUT, ConnectionManager::new_with_config(client, config)).await;
        let manager = manager.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
        Ok(Self::with_manager(manager, prefix))
    }

    /// Uses a connection of the host, with its TLS and credentials. It must not serve blocking commands.
    #[must_use]
    pub fn with_manager(manager: ConnectionManager, prefix: &str) -> Self {
        Self { manager, save: Script::new(SAVE), prefix: format!("{prefix}:"), timeout: TIMEOUT }
    }

    /// How long a call may take, instead of 2 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn within<T>(
        &self,
        doing: &'static str,
        key: &str,
        call: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, StateError> {
        let source: BoxError = match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.into(),
            Err(_) => format!("redis did not answer within {}", human(self.timeout)).into(),
        };
        Err(StateError::Unavailable { doing, key: key.to_owned(), source })
    }
}

fn version(key: &str, text: &str) -> Result<u64, StateError> {
    text.parse().map_err(|error: std::num::ParseIntError| StateError::Corrupt {
        key: key.to_owned(),
        source: format!("version {:?}: {error}", crate::text::clip(text, 40)).into(),
    })
}

#[async_trait]
impl StateStore for RedisStateStore {
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
        let mut connection = self.manager.clone();
        let mut fields = redis::cmd("HMGET");
        fields.arg(format!("{}{key}", self.prefix)).arg("version").arg("bytes");
        let found = self.within("load", key, fields.query_async(&mut connection)).await?;
        match found {
            (None::<String>, None::<Vec<u8>>) => Ok(None),
            (Some(found), Some(bytes)) => Ok(Some(Versioned { bytes, version: version(key, &found)? })),
            _ => Err(StateError::Corrupt { key: key.to_owned(), source: "a version or its bytes are missing".into() }),
        }
    }

    async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        let mut connection = self.manager.clone();
        let new = expected.saturating_add(1);
        let mut call = self.save.key(format!("{}{key}", self.prefix));
        call.arg(expected.to_string()).arg(new.to_string()).arg(bytes);
        let found = self.within("save", key, call.invoke_async::<Option<String>>(&mut connection)).await?;
        match found {
            None => Ok(new),
            Some(found) => Err(StateError::Conflict { key: key.to_owned(), expected, found: version(key, &found)? }),
        }
    }
}
