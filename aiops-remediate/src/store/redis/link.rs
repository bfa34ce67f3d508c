//! The way to the server: one script, called by name, answered within a time.

use std::time::Duration;

use aiops_core::BoxError;
use aiops_core::time::human;
use redis::Script;
use redis::aio::ConnectionManager;
use serde::de::DeserializeOwned;

use crate::store::StoreError;
use crate::store::book::forgotten;

/// What may be forgotten, as the metric names it.
const FORGOTTEN: [&str; 7] = ["report", "untold", "step", "approval", "resolved", "mark", "guard"];

pub(super) struct Link {
    manager: ConnectionManager,
    script: Script,
    /// The prefix as the hash tag of all keys.
    tag: String,
    pub(super) timeout: Duration,
}

impl Link {
    pub(super) fn new(manager: ConnectionManager, prefix: &str, timeout: Duration) -> Self {
        let script = Script::new(include_str!("store.lua"));
        Self { manager, script, tag: format!("{{{prefix}}}"), timeout }
    }

    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    pub(super) fn manager(&self) -> ConnectionManager {
        self.manager.clone()
    }

    /// Calls a function of the script. A script that the server does not know is loaded.
    pub(super) async fn call(
        &self,
        doing: &'static str,
        function: &'static str,
        arguments: &[&str],
    ) -> Result<Answer, StoreError> {
        let mut connection = self.manager.clone();
        let mut invocation = self.script.key(&self.tag);
        invocation.arg(function);
        for argument in arguments {
            invocation.arg(*argument);
        }
        let call = invocation.invoke_async::<Vec<Option<String>>>(&mut connection);
        let parts = self.within(doing, async { call.await.map_err(|error| unavailable(doing, error)) }).await?;
        let mut answer = Answer { function, parts: parts.into_iter() };
        for what in answer.text()?.split_whitespace() {
            FORGOTTEN.iter().filter(|known| **known == what).for_each(|known| forgotten(known));
        }
        Ok(answer)
    }

    /// Waits as long as a call may take.
    pub(super) async fn within<T>(
        &self,
        doing: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let late = |_| unavailable(doing, format!("redis did not answer within {}", human(self.timeout)));
        tokio::time::timeout(self.timeout, call).await.map_err(late)?
    }
}

pub(super) fn unavailable(doing: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError::Unavailable { doing, source: source.into() }
}

/// The parts of an answer, one after the other.
pub(super) struct Answer {
    function: &'static str,
    parts: std::vec::IntoIter<Option<String>>,
}

impl Answer {
    /// The next part, where there is one.
    pub(super) fn next(&mut self) -> Option<String> {
        self.parts.next().flatten()
    }

    /// Whether no part is left.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.len() == 0
    }

    /// A part that must be there.
    pub(super) fn text(&mut self) -> Result<String, StoreError> {
        let missing = || corrupt(self.function, "", "a part of the answer is missing");
        self.parts.next().flatten().ok_or_else(missing)
    }

    /// A number that must be there.
    pub(super) fn number<T: std::str::FromStr<Err: Into<BoxError>>>(&mut self) -> Result<T, StoreError> {
        let text = self.text()?;
        text.parse().map_err(|error| corrupt(self.function, &text, error))
    }
}

pub(super) fn corrupt(table: &'static str, key: &str, source: impl Into<BoxError>) -> StoreError {
    StoreError::CorruptRecord { table, key: key.to_owned(), source: source.into() }
}

pub(super) fn parse<T: DeserializeOwned>(table: &'static str, key: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(table, key, error))
}

/// A value that was stored as two, with a blank in between.
pub(super) fn halves<'a>(table: &'static str, key: &str, text: &'a str) -> Result<(&'a str, &'a str), StoreError> {
    text.split_once(' ').ok_or_else(|| corrupt(table, key, "it has one part instead of two"))
}
