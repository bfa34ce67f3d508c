//! One subscription: waits for messages of its group together with the others of this process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rdkafka::error::KafkaError;

use super::reader::{Found, Reader};
use crate::bus::network::{Trying, finished};
use crate::bus::{BusError, Delivery, Subscription};
use crate::plugin::Boxed;
use crate::time::plus;

/// How often the connection is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often the gauges of a group are set.
const MEASURE_EVERY: Duration = Duration::from_secs(15);

pub(super) struct Consumer {
    reader: Arc<Reader>,
    /// A dead letter on its way.
    burying: Option<Boxed<'static, Result<(), BusError>>>,
    tick_at: Timestamp,
    measure_at: Timestamp,
    /// Not before, after trouble.
    receive_at: Timestamp,
    bury_at: Timestamp,
    failing: Option<Trying>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("reader", &self.reader).finish_non_exhaustive()
    }
}

impl Consumer {
    pub(super) fn new(reader: Arc<Reader>) -> Self {
        Self {
            reader,
            burying: None,
            tick_at: Timestamp::MIN,
            measure_at: Timestamp::MIN,
            receive_at: Timestamp::MIN,
            bury_at: Timestamp::MIN,
            failing: None,
        }
    }

    /// Looks at the connection, and sets the gauges.
    fn tick(&mut self, now: Timestamp) -> Option<BusError> {
        self.tick_at = plus(now, TICK);
        if self.measure_at <= now {
            self.measure_at = plus(now, MEASURE_EVERY);
            self.reader.measure();
        }
        if self.reader.told.is_down() {
            return self.trouble(KafkaError::Global(rdkafka::error::RDKafkaErrorCode::AllBrokersDown), now);
        }
        if self.failing.take().is_some() {
            self.reader.server.link.worked();
        }
        None
    }

    /// Notes it; tells the caller once that has gone on for long.
    fn trouble(&mut self, error: KafkaError, now: Timestamp) -> Option<BusError> {
        let reader = Arc::clone(&self.reader);
        let settings = &reader.server.settings;
        if reader.told.is_down() {
            reader.server.link.failed(&error);
        }
        let trying = self.failing.get_or_insert_with(|| Trying::new(now));
        self.receive_at = trying.later(now, settings);
        if !trying.over(now, settings) {
            return None;
        }
        let waited = trying.waited(now);
        self.failing = None;
        Some(BusError::Unreachable { topic: reader.topic.clone(), waited, source: error.into() })
    }
}

#[async_trait]
impl Subscription for Consumer {
    async fn next(&mut self) -> Option<Result<Delivery, BusError>> {
        let reader = Arc::clone(&self.reader);
        let clock = &reader.server.settings.clock;
        loop {
            let now = clock.now();
            if self.burying.is_none()
                && self.bury_at <= now
                && let Some(burying) = reader.next_burial()
            {
                self.burying = Some(Box::pin(burying.run()));
            }
            // What cannot be handled is put away before what comes after it.
            let until = match self.burying {
                Some(_) => None,
                None => match reader.find(now) {
                    Found::Given(delivery) => return Some(Ok(delivery)),
                    Found::Wait(until) => until,
                },
            };
            if self.tick_at <= now
                && let Some(error) = self.tick(now)
            {
                return Some(Err(error));
            }
            let may_receive = self.receive_at <= now;
            let mut wake = until.map_or(self.tick_at, |until| until.min(self.tick_at));
            if !may_receive {
                wake = wake.min(self.receive_at);
            }
            let told = tokio::select! {
                biased;
                buried = finished(&mut self.burying) => {
                    if buried.is_err() {
                        // It stays to be buried; the producer has waited long enough.
                        self.bury_at = plus(clock.now(), TICK);
                    }
                    None
                }
                received = reader.receive(), if may_receive => match received {
                    Ok(()) => {
                        self.failing = None;
                        reader.server.link.worked();
                        None
                    }
                    Err(error) => self.trouble(error, clock.now()),
                },
                () = reader.changed.notified() => None,
                () = clock.sleep_until(wake) => None,
            };
            if let Some(error) = told {
                return Some(Err(error));
            }
        }
    }
}
