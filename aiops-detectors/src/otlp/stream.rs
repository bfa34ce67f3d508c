//! From sums, histograms and summaries that count since some time to what was added from point to point.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use aiops_core::time;
use jiff::Timestamp;

use super::distribution::OtlpDistribution;
use super::points::{OtlpTemporality, OtlpValue};
use crate::source::Labels;

/// A stream that was not heard of for so long makes room for others: longer than any export interval.
const IDLE: Duration = Duration::from_secs(3_600);
/// How often streams are looked through for idle ones, at the bound.
const SWEEP: Duration = Duration::from_secs(60);

/// What is counted in a point.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// The sum itself, or the number of measurements.
    pub(super) count: f64,
    /// The sum of the measurements.
    pub(super) sum: f64,
    pub(super) distribution: Option<OtlpDistribution>,
    /// Whether the count never shrinks.
    monotonic: bool,
}

impl Reading {
    /// What a point counts, and since when; none of a gauge.
    pub(super) fn of(value: OtlpValue, with_distribution: bool) -> Option<(Self, OtlpTemporality)> {
        Some(match value {
            OtlpValue::Gauge(_) => return None,
            OtlpValue::Sum { value, temporality, monotonic } => {
                (Self { count: value, sum: f64::NAN, distribution: None, monotonic }, temporality)
            }
            OtlpValue::Histogram { distribution, temporality } => {
                let (count, sum) = (distribution.count as f64, distribution.sum.unwrap_or(f64::NAN));
                let distribution = with_distribution.then_some(distribution);
                (Self { count, sum, distribution, monotonic: true }, temporality)
            }
            OtlpValue::Summary { count, sum, .. } => {
                let reading = Self { count: count as f64, sum, distribution: None, monotonic: true };
                (reading, OtlpTemporality::Cumulative)
            }
        })
    }

    /// What was added since an earlier reading; none where something shrank that does not.
    fn since(&self, earlier: &Self) -> Option<Self> {
        if self.monotonic && self.count < earlier.count {
            return None;
        }
        let distribution = match (&self.distribution, &earlier.distribution) {
            (Some(now), Some(then)) => Some(now.since(then)?),
            (None, None) => None,
            _ => return None,
        };
        let (count, sum) = (self.count - earlier.count, self.sum - earlier.sum);
        Some(Self { count, sum, distribution, monotonic: self.monotonic })
    }
}

/// What was added, and over which time, where that is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Growth {
    pub(super) added: Reading,
    pub(super) over: Option<Duration>,
}

/// Why a point gave no growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoGrowth {
    /// It is the first of its stream: what came before is unknown.
    First,
    /// It is no newer than the one before.
    Late,
    /// There are as many streams as may be.
    NoRoom,
}

/// Whose point it is, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) producer: u64,
    pub(super) labels: &'a Labels,
    pub(super) start: Option<Timestamp>,
    pub(super) at: Timestamp,
    /// When it came, by the clock of this process.
    pub(super) received: Timestamp,
}

#[derive(Debug)]
struct Last {
    start: Option<Timestamp>,
    at: Timestamp,
    reading: Reading,
    heard: Timestamp,
}

/// The newest point of each cumulative stream.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// By a hash of the producer and the labels: of a million streams, two share one with a chance of 1 in 37
    /// million, and that costs wrong increments.
    last: HashMap<u64, Last>,
    /// When the first point was taken.
    listening_since: Option<Timestamp>,
    swept: Option<Timestamp>,
}

impl Streams {
    /// What a point adds to what its stream had.
    pub(super) fn grow(
        &mut self,
        point: Place<'_>,
        reading: Reading,
        temporality: OtlpTemporality,
        max: usize,
    ) -> Result<Growth, NoGrowth> {
        let listening_since = *self.listening_since.get_or_insert(point.received);
        let since_start = point.start.filter(|start| *start < point.at).map(|start| time::since(point.at, start));
        if temporality == OtlpTemporality::Delta {
            return Ok(Growth { added: reading, over: since_start });
        }
        let key = self.last.hasher().hash_one((point.producer, point.labels));
        let new = Last { start: point.start, at: point.at, reading, heard: point.received };
        let Some(last) = self.last.get_mut(&key) else {
            self.make_room(max, point.received)?;
            let added = new.reading.clone();
            self.last.insert(key, new);
            // All of a stream that began under our eyes is new: the errors of a pod's first minute.
            let began = since_start.filter(|_| point.start.is_some_and(|start| start >= listening_since));
            return began.map(|over| Growth { added, over: Some(over) }).ok_or(NoGrowth::First);
        };
        last.heard = point.received;
        if point.at <= last.at {
            return Err(NoGrowth::Late);
        }
        let restarted = matches!((point.start, last.start), (Some(now), Some(then)) if now > then);
        let growth = match new.reading.since(&last.reading).filter(|_| !restarted) {
            Some(added) => Growth { added, over: Some(time::since(point.at, last.at)) },
            // A new start at the point itself says that what is counted so far is from before it.
            None if point.start == Some(point.at) => {
                *last = new;
                return Err(NoGrowth::First);
            }
            None => {
                let since_last = time::since(point.at, last.at);
                let over = since_start.filter(|_| restarted).unwrap_or(since_last);
                Growth { added: new.reading.clone(), over: Some(over) }
            }
        };
        *last = new;
        Ok(growth)
    }

    fn make_room(&mut self, max: usize, now: Timestamp) -> Result<(), NoGrowth> {
        if self.last.len() < max {
            return Ok(());
        }
        if self.swept.is_none_or(|swept| time::since(now, swept) >= SWEEP) {
            self.swept = Some(now);
            let from = time::minus(now, IDLE);
            self.last.retain(|_, last| last.heard >= from);
        }
        if self.last.len() < max { Ok(()) } else { Err(NoGrowth::NoRoom) }
    }
}
