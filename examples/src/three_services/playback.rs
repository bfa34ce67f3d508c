//! A recorded incident as if it happened now.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{DetectionEvent, Detector, DetectorError, Evaluation, Sighting, Tick};
use async_trait::async_trait;

use crate::quickstart::shop::{Shop, WholeShop};

/// A row of the recording, five minutes, takes so long here.
pub(super) const ROW: Duration = Duration::from_secs(1);

/// Evaluates the rows of a recording one after the other, and says what it sees as seen now. Behind the last row it
/// goes on to see what that one showed.
#[derive(Debug)]
pub(super) struct Playback {
    detector: WholeShop,
    rows: Vec<Timestamp>,
    /// Rows that are over, and what the last one showed.
    seen: Mutex<(usize, Vec<Sighting>)>,
}

impl Playback {
    pub(super) fn new(shop: Shop, times: &[i64]) -> Result<Self, aiops_core::jiff::Error> {
        let rows = times.iter().map(|time| Timestamp::from_second(time + 1)).collect::<Result<_, _>>()?;
        Ok(Self { detector: shop.detector, rows, seen: Mutex::default() })
    }
}

/// The event with the time of now; its fingerprint holds the time.
fn moved(event: DetectionEvent, now: Timestamp) -> DetectionEvent {
    DetectionEvent::builder(event.kind, event.service, event.severity, now, event.source)
        .labels(event.labels)
        .signal(event.signal)
        .build()
}

#[async_trait]
impl Detector for Playback {
    fn name(&self) -> &str {
        "recorded-shop"
    }

    fn every(&self) -> Duration {
        ROW
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let (place, last) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seen = match self.rows.get(place) {
            Some(&row) => self.detector.evaluate(Tick::new(row, tick.deadline.max(row))).await?.sightings,
            None => last,
        };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = (place.saturating_add(1), seen.clone());
        let now = seen.into_iter().map(|sighting| match sighting {
            Sighting::Firing(event) => Sighting::Firing(Box::new(moved(*event, tick.now))),
            other => other,
        });
        Ok(Evaluation::new(now.collect()))
    }
}
