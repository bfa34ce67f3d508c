//! What librdkafka tells: partitions that come and go, the state of its connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::window::Window;
use crate::lock::lock;

/// Nothing is known yet; a broker answers; none does.
const UNKNOWN: u8 = 0;
const UP: u8 = 1;
const DOWN: u8 = 2;

/// Shared between librdkafka's callbacks and the consumers of a group.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) window: Mutex<Window>,
    /// End offset of each partition.
    ends: Mutex<BTreeMap<i32, i64>>,
    /// No more messages are asked for, since as many are here as may be.
    pub(super) paused: AtomicBool,
    state: AtomicU8,
}

impl Told {
    pub(super) fn is_down(&self) -> bool {
        self.state.load(Ordering::Relaxed) == DOWN
    }

    /// Messages that the broker has and this process has not fetched from its partitions.
    pub(super) fn behind(&self) -> u64 {
        let window = lock(&self.window);
        let ends = lock(&self.ends);
        ends.iter()
            .filter_map(|(partition, end)| Some(end.saturating_sub(window.next_of(*partition)?)))
            .sum::<i64>()
            .max(0) as u64
    }
}

pub(super) struct Context {
    pub(super) topic: String,
    pub(super) told: Arc<Told>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn stats(&self, statistics: Statistics) {
        // A broker of the bootstrap list has no node of its own.
        let up = statistics.brokers.values().any(|broker| broker.state == "UP");
        let before = self.told.state.load(Ordering::Relaxed);
        if up || before != UNKNOWN {
            self.told.state.store(if up { UP } else { DOWN }, Ordering::Relaxed);
        }
        if let Some(topic) = statistics.topics.get(&self.topic) {
            let ends = topic.partitions.iter().filter(|(_, partition)| partition.hi_offset >= 0);
            *lock(&self.told.ends) = ends.map(|(number, partition)| (*number, partition.hi_offset)).collect();
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        // What is assigned begins unpaused.
        self.told.paused.store(false, Ordering::Relaxed);
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut window = lock(&self.told.window);
            for partition in partitions.elements() {
                window.revoke(partition.partition());
            }
        }
    }

    fn commit_callback(&self, outcome: rdkafka::error::KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = outcome {
            // The messages come again, to whoever has the partition.
            tracing::debug!(%error, topic = self.topic, "kafka took no commit");
        }
    }
}

/// The producer's context.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
    }
}

fn log(level: RDKafkaLogLevel, fac: &str, message: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Emerg};
    match level {
        Emerg | Alert | Critical => tracing::error!(fac, message, "librdkafka"),
        _ => tracing::debug!(fac, message, "librdkafka"),
    }
}
