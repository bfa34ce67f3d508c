//! One consumer: reads what is new, and takes over what others left.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{RedisError, Value};
use async_trait::async_trait;
use jiff::Timestamp;

use super::group::{Entry, Group, Handle, misread};
use super::server::{BLOCK, is_passing};
use crate::bus::network::{Trying, count, finished};
use crate::bus::prefetch::Prefetch;
use crate::bus::{BusError, Delivery, Envelope, Subscription};
use crate::names::EventId;
use crate::plugin::{Boxed, now_or_never};
use crate::time::{human, plus, since};

/// How often the gauges of a group are set.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

/// An entry that reads.
type Fit = (Entry, Envelope);
type Reading = (Option<MultiplexedConnection>, Result<Vec<Fit>, RedisError>);
type Tending = Result<Tended, RedisError>;

/// What taking over gave.
struct Tended {
    cursor: String,
    entries: Vec<Fit>,
    measured: bool,
}

pub(super) struct Consumer {
    group: Arc<Group>,
    name: Arc<str>,
    /// Fetched, with the time since when they may be here.
    ready: VecDeque<(Fit, Timestamp)>,
    prefetch: Prefetch,
    /// Work on its way; kept when a caller of `next` gives up, so that nothing is lost with it.
    reading: Option<Boxed<'static, Reading>>,
    tending: Option<Boxed<'static, Tending>>,
    connection: Option<MultiplexedConnection>,
    /// Not before.
    read_at: Timestamp,
    tend_at: Timestamp,
    measure_at: Timestamp,
    cursor: String,
    /// When this was last looked after.
    seen: Timestamp,
    failing: Option<Trying>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, name, ready, .. } = self;
        f.debug_struct("Consumer")
            .field("topic", &group.topic)
            .field("group", &group.name)
            .field("name", name)
            .field("ready", &ready.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Consumer {
    /// Hands back what was fetched and not given out, so that other consumers need not wait for its deadline. What
    /// this does not get through before the process ends comes again by that deadline.
    fn drop(&mut self) {
        for ((entry, _), _) in self.ready.drain(..) {
            self.group.drop_entry(entry, false);
        }
        if self.group.next_due() == Some(Timestamp::MIN)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let group = Arc::clone(&self.group);
            drop(runtime.spawn(async move { group.tell_dropped().await }));
        }
    }
}

impl Consumer {
    pub(super) fn new(group: Arc<Group>) -> Self {
        let now = group.now();
        Self {
            // Unique, so that a settlement of an earlier process is never taken for ours.
            name: EventId::random(now).as_str().into(),
            group,
            ready: VecDeque::new(),
            prefetch: Prefetch::new(),
            reading: None,
            tending: None,
            connection: None,
            read_at: Timestamp::MIN,
            tend_at: Timestamp::MIN,
            measure_at: Timestamp::MIN,
            cursor: "0-0".to_owned(),
            seen: now,
            failing: None,
        }
    }

    fn ack_deadline(&self) -> Duration {
        self.group.server.settings.ack_deadline
    }

    /// The next fetched entry, unless it waited here for so long that its consumer would be late.
    fn give(&mut self, now: Timestamp) -> Option<Delivery> {
        while let Some(((entry, envelope), here)) = self.ready.pop_front() {
            let age = since(now, here);
            if age > self.ack_deadline() / 4 {
                self.group.drop_entry(entry, false);
                continue;
            }
            if entry.attempts > 1 {
                count::redelivered(&self.group.topic, &self.group.name);
            }
            let attempts = entry.attempts;
            let settle = Handle { group: Arc::clone(&self.group), entry };
            return Some(Delivery::new(envelope, attempts, Box::new(settle)));
        }
        None
    }

    /// Begins what is due.
    fn start(&mut self, now: Timestamp) {
        let due = self.group.next_due().is_some_and(|due| due <= now);
        if self.tending.is_none() && (due || self.tend_at <= now) {
            let (group, consumer, cursor) = (Arc::clone(&self.group), Arc::clone(&self.name), self.cursor.clone());
            let measure = self.measure_at <= now;
            self.tending = Some(Box::pin(async move { tend(&group, &consumer, cursor, measure).await }));
        }
        if self.reading.is_none() && self.ready.is_empty() && self.read_at <= now {
            let fetched = self.prefetch.next(now, self.ack_deadline());
            let (group, consumer) = (Arc::clone(&self.group), Arc::clone(&self.name));
            let connection = self.connection.take();
            self.reading = Some(Box::pin(async move { read(&group, &consumer, connection, fetched).await }));
        }
    }

    fn wake(&self) -> Timestamp {
        let mut wake = self.tend_at;
        if let Some(due) = self.group.next_due() {
            wake = wake.min(due);
        }
        if self.reading.is_none() {
            wake = wake.min(self.read_at);
        }
        // Work on its way is waited for by itself.
        if self.tending.is_some() { Timestamp::MAX } else { wake }
    }

    fn has_read(&mut self, (connection, outcome): Reading, here: Timestamp, now: Timestamp) -> Option<BusError> {
        self.connection = connection;
        match outcome {
            Ok(entries) => {
                self.failing = None;
                if !entries.is_empty() {
                    self.prefetch.arrived(now);
                }
                self.ready.extend(entries.into_iter().map(|entry| (entry, here)));
                None
            }
            Err(error) => {
                let (at, told) = self.trouble(error, now);
                self.read_at = at;
                told
            }
        }
    }

    fn has_tended(&mut self, outcome: Tending, now: Timestamp) -> Option<BusError> {
        // A quarter of the deadline, so that what is overdue waits for little more than the deadline.
        let tick = (self.ack_deadline() / 4).clamp(Duration::from_millis(20), BLOCK);
        match outcome {
            Ok(tended) => {
                self.failing = None;
                self.group.looked(now);
                let more = tended.cursor != "0-0";
                self.cursor = tended.cursor;
                self.tend_at = if more { now } else { plus(now, tick) };
                if tended.measured {
                    self.measure_at = plus(now, MEASURE_EVERY);
                }
                self.ready.extend(tended.entries.into_iter().map(|entry| (entry, now)));
                None
            }
            Err(error) => {
                let (at, told) = self.trouble(error, now);
                self.tend_at = at;
                told
            }
        }
    }

    /// When to try again, and what to tell the caller: nothing, while the server may just be restarting.
    fn trouble(&mut self, error: RedisError, now: Timestamp) -> (Timestamp, Option<BusError>) {
        let settings = &self.group.server.settings;
        let trying = self.failing.get_or_insert_with(|| Trying::new(now));
        let at = trying.later(now, settings);
        if is_passing(&error) && !trying.over(now, settings) {
            return (at, None);
        }
        let waited = trying.waited(now);
        self.failing = None;
        let told = match self.group.broker(error) {
            BusError::Unreachable { topic, source, .. } => BusError::Unreachable { topic, waited, source },
            other => other,
        };
        (at, Some(told))
    }
}

#[async_trait]
impl Subscription for Consumer {
    async fn next(&mut self) -> Option<Result<Delivery, BusError>> {
        // What is there already may have come at any time since this was last looked after.
        let here = self.seen;
        let now = self.group.now();
        self.seen = now;
        if let Some(reading) = now_or_never(finished(&mut self.reading))
            && let Some(error) = self.has_read(reading, here, now)
        {
            return Some(Err(error));
        }
        let group = Arc::clone(&self.group);
        loop {
            let now = group.now();
            self.seen = now;
            if let Some(delivery) = self.give(now) {
                return Some(Ok(delivery));
            }
            self.start(now);
            let wake = self.wake();
            let told = tokio::select! {
                biased;
                reading = finished(&mut self.reading) => {
                    let now = group.now();
                    self.has_read(reading, now, now)
                }
                tended = finished(&mut self.tending) => self.has_tended(tended, group.now()),
                () = group.changed.notified() => None,
                () = group.server.settings.clock.sleep_until(wake) => None,
            };
            if let Some(error) = told {
                return Some(Err(error));
            }
        }
    }
}

/// Reads what no consumer of the group has had yet.
async fn read(group: &Group, consumer: &Arc<str>, connection: Option<MultiplexedConnection>, most: usize) -> Reading {
    let opened = match connection {
        Some(connection) => Ok(connection),
        None => group.server.noted(group.server.reader().await),
    };
    let mut connection = match opened {
        Ok(connection) => connection,
        Err(error) => return (None, Err(error)),
    };
    let mut command = ::redis::cmd("XREADGROUP");
    command.arg("GROUP").arg(&group.name).arg(&**consumer).arg("COUNT").arg(most);
    command.arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(1_000));
    command.arg("STREAMS").arg(&group.key).arg(">");
    let answer = group.server.noted(command.query_async::<Value>(&mut connection).await);
    match answer.and_then(|value| new_entries(value, consumer)) {
        Ok(entries) => match fit(group, entries).await {
            Ok(entries) => (Some(connection), Ok(entries)),
            Err(error) => (Some(connection), Err(error)),
        },
        // A connection in an unknown state is not used again.
        Err(error) => match group.restored(&error).await {
            true => (Some(connection), Ok(Vec::new())),
            false => (None, Err(error)),
        },
    }
}

/// Tells what was dropped, takes over what is overdue, sets the gauges.
async fn tend(group: &Group, consumer: &Arc<str>, cursor: String, measure: bool) -> Tending {
    let tended = tend_once(group, consumer, cursor, measure).await;
    match tended {
        Err(error) if group.restored(&error).await => {
            Ok(Tended { cursor: "0-0".to_owned(), entries: Vec::new(), measured: false })
        }
        tended => tended,
    }
}

async fn tend_once(group: &Group, consumer: &Arc<str>, cursor: String, measure: bool) -> Tending {
    /// Each is waited for by a consumer, so few at a time.
    const AT_ONCE: &[u8] = b"4";
    group.tell_dropped().await?;
    let settings = &group.server.settings;
    let idle = settings.ack_deadline.as_millis().to_string();
    let arguments = [consumer.as_bytes(), idle.as_bytes(), cursor.as_bytes(), AT_ONCE];
    let (cursor, gone, entries) = claimed(group.call::<Vec<Value>>("claim", &arguments).await?, consumer)?;
    count::trimmed(&group.topic, &group.name, gone);
    let mut alive = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.attempts > settings.max_attempts {
            let reason = format!("not settled within {}", human(settings.ack_deadline));
            group.bury(&entry, &reason, entry.attempts - 1).await?;
        } else {
            alive.push(entry);
        }
    }
    let entries = fit(group, alive).await?;
    if measure {
        group.measure().await?;
    }
    Ok(Tended { cursor, entries, measured: measure })
}

/// Reads the entries; what is no envelope goes to the dead letters.
async fn fit(group: &Group, entries: Vec<Entry>) -> Result<Vec<Fit>, RedisError> {
    let mut fit = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.payload.is_empty() {
            count::trimmed(&group.topic, &group.name, 1);
            group.settle(&entry).await?;
            continue;
        }
        match serde_json::from_slice::<Envelope>(&entry.payload) {
            Ok(envelope) => fit.push((entry, envelope)),
            Err(error) => group.bury(&entry, &format!("it is no envelope: {error}"), entry.attempts).await?,
        }
    }
    Ok(fit)
}

fn bytes(value: Value) -> Result<Vec<u8>, RedisError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(misread("a part of the answer is no text")),
    }
}

fn text(value: Value) -> Result<String, RedisError> {
    String::from_utf8(bytes(value)?).map_err(|_| misread("a name in the answer is not UTF-8"))
}

fn number(value: &Value) -> Result<u64, RedisError> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| misread("a number of the answer is negative")),
        _ => Err(misread("a part of the answer is no number")),
    }
}

/// The answer of `claim`: a cursor, entries that are gone, and id, attempts and payload of each other.
fn claimed(answer: Vec<Value>, consumer: &Arc<str>) -> Result<(String, u64, Vec<Entry>), RedisError> {
    let mut answer = answer.into_iter();
    let (Some(cursor), Some(gone)) = (answer.next(), answer.next()) else {
        return Err(misread("the answer has no cursor"));
    };
    let mut entries = Vec::new();
    while let (Some(id), Some(attempts), Some(payload)) = (answer.next(), answer.next(), answer.next()) {
        let attempts = u32::try_from(number(&attempts)?).unwrap_or(u32::MAX);
        entries.push(Entry { id: text(id)?, consumer: Arc::clone(consumer), attempts, payload: bytes(payload)? });
    }
    Ok((text(cursor)?, number(&gone)?, entries))
}

/// The answer of `XREADGROUP`, for one stream.
fn new_entries(answer: Value, consumer: &Arc<str>) -> Result<Vec<Entry>, RedisError> {
    let found = match answer {
        Value::Array(streams) => match streams.into_iter().next() {
            Some(Value::Array(stream)) => stream.into_iter().nth(1),
            _ => None,
        },
        // Of a host's client that speaks RESP 3.
        Value::Map(streams) => streams.into_iter().next().map(|(_, found)| found),
        _ => return Ok(Vec::new()),
    };
    let Some(Value::Array(found)) = found else { return Err(misread("the stream has no entries")) };
    let mut entries = Vec::with_capacity(found.len());
    for one in found {
        let Value::Array(parts) = one else { return Err(misread("an entry has no parts")) };
        let mut parts = parts.into_iter();
        let id = text(parts.next().ok_or_else(|| misread("an entry has no id"))?)?;
        // Fields are missing where the entry was removed in between.
        let payload = match parts.next() {
            Some(Value::Array(fields)) => payload(fields)?,
            _ => Vec::new(),
        };
        entries.push(Entry { id, consumer: Arc::clone(consumer), attempts: 1, payload });
    }
    Ok(entries)
}

/// The envelope of an entry, or all its fields where it has none.
fn payload(fields: Vec<Value>) -> Result<Vec<u8>, RedisError> {
    let mut fields: Vec<Vec<u8>> = fields.into_iter().map(bytes).collect::<Result<_, _>>()?;
    match fields.iter().step_by(2).position(|name| name == b"envelope") {
        Some(place) if place * 2 + 1 < fields.len() => Ok(fields.swap_remove(place * 2 + 1)),
        _ => Ok(fields.join(&b' ')),
    }
}
