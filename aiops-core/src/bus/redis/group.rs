//! One consumer group, as the consumers and deliveries of this process share it.

use std::borrow::Borrow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::server::{Server, is_no_group, is_passing};
use super::together::Together;
use crate::bus::network::{GroupStatus, StallWatch, count, dead_letter, unreadable};
use crate::bus::{BusError, Envelope, Settle, dead_letter_topic};
use crate::error::BoxError;
use crate::lock::lock;
use crate::time::plus;

/// A consumer that is gone for so long and holds nothing is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(super) struct Group {
    pub(super) server: Arc<Server>,
    pub(super) topic: String,
    pub(super) name: String,
    pub(super) key: String,
    dead: String,
    /// Deliveries that were dropped or not given out, until a consumer that waits tells the server.
    dropped: Mutex<Vec<Dropped>>,
    /// When the next entry comes back that was nak'd here.
    due: Mutex<Option<Timestamp>>,
    stall: Mutex<StallWatch>,
    acks: Together<Ack, String>,
    pub(super) changed: Notify,
}

/// An entry that one consumer has.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) consumer: Arc<str>,
    pub(super) attempts: u32,
    pub(super) payload: Vec<u8>,
}

/// The delivery that is settled.
#[derive(Debug)]
struct Ack {
    id: String,
    consumer: Arc<str>,
    attempts: String,
}

#[derive(Debug)]
struct Dropped {
    entry: Entry,
    /// It was given to a consumer: a failed attempt.
    tried: bool,
}

impl Group {
    pub(super) fn new(server: &Arc<Server>, topic: &str, name: &str) -> Self {
        let (key, dead) = (server.key(topic), server.key(&dead_letter_topic(topic)));
        let place = Arc::new((Arc::clone(server), [key.clone(), dead.clone()], name.to_owned()));
        let acks = Together::new(Arc::clone(&server.settings.clock), move |acks: Vec<Arc<Ack>>| {
            let place = Arc::clone(&place);
            async move {
                let (server, [key, dead], name) = &*place;
                let words =
                    acks.iter().flat_map(|ack| [ack.id.as_bytes(), ack.consumer.as_bytes(), ack.attempts.as_bytes()]);
                let words: Vec<&[u8]> = std::iter::once(name.as_bytes()).chain(words).collect();
                server.call("ack", &[key, dead], &words).await
            }
        });
        Self {
            key,
            dead,
            acks,
            server: Arc::clone(server),
            topic: topic.to_owned(),
            name: name.to_owned(),
            dropped: Mutex::default(),
            due: Mutex::default(),
            stall: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.server.settings.clock.now()
    }

    pub(super) fn broker<E: Borrow<RedisError> + Into<BoxError>>(&self, error: E) -> BusError {
        let (topic, waited) = (self.topic.clone(), Duration::ZERO);
        match is_passing(error.borrow()) {
            true => BusError::Unreachable { topic, waited, source: error.into() },
            false => BusError::Broker { topic, source: error.into() },
        }
    }

    /// Creates stream and group unless they are there. The group begins with what the stream still holds.
    pub(super) async fn create(&self) -> Result<(), RedisError> {
        let mut command = ::redis::cmd("XGROUP");
        command.arg("CREATE").arg(&self.key).arg(&self.name).arg("0").arg("MKSTREAM");
        match self.server.command::<()>(&command).await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error),
            _ => {}
        }
        let idle = FORGET_AFTER.as_millis().to_string();
        self.call::<Vec<String>>("sweep", &[idle.as_bytes()]).await.map(drop)
    }

    /// Does one step for this group.
    pub(super) async fn call<T: FromRedisValue>(&self, step: &str, arguments: &[&[u8]]) -> Result<T, RedisError> {
        let mut all = vec![self.name.as_bytes()];
        all.extend(arguments);
        self.server.call(step, &[&self.key, &self.dead], &all).await
    }

    pub(super) async fn measure(&self) -> Result<GroupStatus, RedisError> {
        let (position, lag, pending) = self.call::<(String, u64, u64)>("status", &[]).await?;
        let place = (self.topic.as_str(), self.name.as_str());
        let after = self.server.settings.stall_after;
        Ok(lock(&self.stall).observe(place, position, (lag, pending), self.now(), after))
    }

    /// When the next nak'd entry is due, and whether something waits to be told to the server.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let waiting = !lock(&self.dropped).is_empty();
        if waiting { Some(Timestamp::MIN) } else { *lock(&self.due) }
    }

    pub(super) fn looked(&self, now: Timestamp) {
        lock(&self.due).take_if(|due| *due <= now);
    }

    /// Takes back an entry without waiting for the server.
    pub(super) fn drop_entry(&self, entry: Entry, tried: bool) {
        lock(&self.dropped).push(Dropped { entry, tried });
        self.changed.notify_one();
    }

    /// Tells the server what was dropped. What it does not hear comes again after the ack deadline.
    pub(super) async fn tell_dropped(&self) -> Result<(), RedisError> {
        loop {
            let Some(Dropped { entry, tried }) = lock(&self.dropped).pop() else { return Ok(()) };
            if tried {
                self.failed(&entry, Duration::ZERO, "its consumer dropped it unsettled").await?;
            } else {
                // As if nobody had touched it.
                let untouched = entry.attempts.saturating_sub(1);
                self.again(&entry, self.server.settings.ack_deadline, untouched).await?;
            }
        }
    }

    /// Whether the server took the word: it does not where the entry was given out again.
    fn settled(&self, outcome: &str) -> bool {
        let done = outcome == "done";
        if !done {
            count::late(&self.topic);
        }
        done
    }

    pub(super) async fn ack(&self, entry: &Entry) -> Result<(), Arc<RedisError>> {
        let attempts = entry.attempts.to_string();
        let bytes = entry.id.len() + entry.consumer.len() + attempts.len();
        let ack = Arc::new(Ack { id: entry.id.clone(), consumer: Arc::clone(&entry.consumer), attempts });
        let outcome = self.acks.ask(&ack, bytes).await?;
        self.settled(&outcome);
        Ok(())
    }

    /// Settles an entry that no consumer gets.
    pub(super) async fn settle(&self, entry: &Entry) -> Result<(), RedisError> {
        let attempts = entry.attempts.to_string();
        let words = [entry.id.as_bytes(), entry.consumer.as_bytes(), attempts.as_bytes()];
        let (outcome,) = self.call::<(String,)>("ack", &words).await?;
        self.settled(&outcome);
        Ok(())
    }

    /// Lets an entry look as if it had been untouched for `idle`; whether it was still out.
    async fn again(&self, entry: &Entry, idle: Duration, attempts: u32) -> Result<bool, RedisError> {
        let (held, counted, idle) = (entry.attempts.to_string(), attempts.to_string(), idle.as_millis().to_string());
        let words = [&entry.id, &*entry.consumer, &held, &idle, &counted].map(|word: &str| word.as_bytes());
        let (outcome,) = self.call::<(String,)>("nak", &words).await?;
        Ok(self.settled(&outcome))
    }

    /// A failed attempt: the entry comes again, or is a dead letter.
    pub(super) async fn failed(&self, entry: &Entry, asked: Duration, reason: &str) -> Result<(), RedisError> {
        let settings = &self.server.settings;
        if entry.attempts >= settings.max_attempts {
            return self.bury(entry, reason, entry.attempts).await;
        }
        let wait = settings.wait(asked, entry.attempts).min(settings.ack_deadline);
        if self.again(entry, settings.ack_deadline.saturating_sub(wait), entry.attempts).await? {
            count::retried(&self.topic, &self.name);
            let at = plus(self.now(), wait);
            let mut due = lock(&self.due);
            *due = Some(due.map_or(at, |due| due.min(at)));
            drop(due);
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Dead-letters and settles an entry in one step.
    pub(super) async fn bury(&self, entry: &Entry, reason: &str, attempts: u32) -> Result<(), RedisError> {
        let message = serde_json::from_slice::<Envelope>(&entry.payload)
            .unwrap_or_else(|_| unreadable(&self.topic, &entry.id, &entry.payload, self.now()));
        let letter = dead_letter(message, &self.name, reason, attempts);
        let letter = serde_json::to_vec(&letter).map_err(|error| {
            RedisError::from((ErrorKind::Client, "the dead letter cannot be written", error.to_string()))
        })?;
        let (held, kept) = (entry.attempts.to_string(), self.server.settings.dead_letters.to_string());
        let arguments: [&[u8]; 5] =
            [entry.id.as_bytes(), entry.consumer.as_bytes(), held.as_bytes(), kept.as_bytes(), &letter];
        let (outcome, dropped) = self.call::<(String, Option<u64>)>("bury", &arguments).await?;
        if self.settled(&outcome) {
            count::dead_lettered(&self.topic, &self.name);
            count::letters_dropped(&self.topic, dropped.unwrap_or(0));
        }
        Ok(())
    }

    /// Makes a lost group anew. Whether that was it.
    pub(super) async fn restored(&self, error: &RedisError) -> bool {
        if !is_no_group(error) || self.create().await.is_err() {
            return false;
        }
        tracing::error!(topic = self.topic, group = self.name, "the server had lost the group; it begins anew");
        metrics::counter!(
            "aiops_bus_group_lost_total", "topic" => self.topic.clone(), "group" => self.name.clone()
        )
        .increment(1);
        true
    }
}

/// Settles one delivery of an entry.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) group: Arc<Group>,
    pub(super) entry: Entry,
}

impl Handle {
    fn answer<E: Borrow<RedisError> + Into<BoxError>>(&self, outcome: Result<(), E>) -> Result<(), BusError> {
        match outcome {
            // The group is gone, and with it the entry.
            Err(error) if is_no_group(error.borrow()) => {
                count::late(&self.group.topic);
                Ok(())
            }
            outcome => outcome.map_err(|error| self.group.broker(error)),
        }
    }
}

#[async_trait]
impl Settle for Handle {
    async fn ack(self: Box<Self>) -> Result<(), BusError> {
        self.answer(self.group.ack(&self.entry).await)
    }

    async fn nak(self: Box<Self>, delay: Duration, reason: String) -> Result<(), BusError> {
        self.answer(self.group.failed(&self.entry, delay, &reason).await)
    }

    async fn dead_letter(self: Box<Self>, reason: String) -> Result<(), BusError> {
        self.answer(self.group.bury(&self.entry, &reason, self.entry.attempts).await)
    }

    fn abandon(self: Box<Self>) {
        self.group.drop_entry(self.entry, true);
    }
}

/// The error of an answer that is not what the script gives.
pub(super) fn misread(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Server(ServerErrorKind::ResponseError), what))
}
