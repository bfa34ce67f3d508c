//! The way to the server: one script, called by step, answered within a time.

use std::fmt;
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use ::redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind};

use crate::bus::network::{Link, Trying};
use crate::bus::{BusError, BusSettings};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long one try to connect may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a read waits on the server for a message.
pub(super) const BLOCK: Duration = Duration::from_secs(1);

pub(super) struct Server {
    client: Client,
    manager: ConnectionManager,
    script: Script,
    pub(super) link: Link,
    pub(super) settings: BusSettings,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, manager: _, script: _, link, settings } = self;
        f.debug_struct("Server").field("link", link).field("settings", settings).finish_non_exhaustive()
    }
}

impl Server {
    pub(super) async fn connect(client: Client, settings: BusSettings) -> Result<Self, BusError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(TIMEOUT))
            // `publish` and `next` try again by themselves, up to their own deadline.
            .set_number_of_retries(0);
        let mut trying = Trying::new(settings.clock.now());
        let manager = loop {
            let error = match ConnectionManager::new_with_config(client.clone(), config.clone()).await {
                Ok(manager) => break manager,
                Err(error) => error,
            };
            let now = settings.clock.now();
            if !is_passing(&error) || trying.over(now, &settings) {
                return Err(BusError::Connect { bus: "redis", source: error.into() });
            }
            settings.clock.sleep_until(trying.later(now, &settings)).await;
        };
        let script = Script::new(include_str!("bus.lua"));
        Ok(Self { client, manager, script, link: Link::new("redis"), settings })
    }

    /// The key of a topic.
    pub(super) fn key(&self, topic: &str) -> String {
        format!("{}{topic}", self.settings.prefix)
    }

    /// Does one step of the script. A script that the server does not know is loaded.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        step: &str,
        keys: &[&str],
        arguments: &[&[u8]],
    ) -> Result<T, RedisError> {
        let mut connection = self.manager.clone();
        let mut invocation = self.script.prepare_invoke();
        invocation.key(keys).arg(step).arg(arguments);
        self.noted(invocation.invoke_async(&mut connection).await)
    }

    pub(super) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut connection = self.manager.clone();
        self.noted(command.query_async(&mut connection).await)
    }

    /// A connection of one reader, which the server lets wait.
    pub(super) async fn reader(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(BLOCK + TIMEOUT));
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Keeps track of whether the server answers.
    pub(super) fn noted<T>(&self, outcome: Result<T, RedisError>) -> Result<T, RedisError> {
        match &outcome {
            Err(error) if is_gone(error) => self.link.failed(error),
            _ => self.link.worked(),
        }
        outcome
    }
}

/// No word came from the server.
fn is_gone(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || error.is_connection_refusal()
}

/// Whether trying again may help: the server is gone, starts, changes over, or has no memory left.
pub(super) fn is_passing(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, NoScript, ReadOnly, TryAgain};
    let told = matches!(
        error.kind(),
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | NoScript | ReadOnly | TryAgain)
    );
    is_gone(error) || told || error.code() == Some("OOM")
}

/// Whether the stream or the group is not there: the server lost it, or somebody deleted it.
pub(super) fn is_no_group(error: &RedisError) -> bool {
    error.code() == Some("NOGROUP")
        || error.to_string().contains("NOGROUP")
        || error.to_string().contains("no such key")
}
