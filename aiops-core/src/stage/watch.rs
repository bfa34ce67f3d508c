//! A detector on its schedule.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::StageParts;
use crate::detector::{Detector, Evaluation, Sighting, Tick};
use crate::error::error_chain;
use crate::event::DetectionEvent;
use crate::fingerprint::Identity;
use crate::plugin::guarded;
use crate::time::plus;

/// The shortest interval: a detector that asks for zero must not spin.
const SHORTEST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Watch {
    pub(super) detector: Arc<dyn Detector>,
    /// None until the first evaluation, which is due at once.
    next: Option<Timestamp>,
    pub(super) running: bool,
    /// What it said last about anomalies that may still be there: unknown when it fails.
    pub(super) known: BTreeSet<Identity>,
}

/// An evaluation that gave nothing: the metric's label, and the text for the log.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: &'static str,
    pub(super) reason: String,
}

impl Watch {
    pub(super) fn new(detector: Arc<dyn Detector>) -> Self {
        Self { detector, next: None, running: false, known: BTreeSet::new() }
    }

    pub(super) fn every(&self) -> Duration {
        self.detector.every().max(SHORTEST)
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        !self.running && self.next.is_none_or(|next| next <= now)
    }

    /// When it is due; none while it runs.
    pub(super) fn due(&self) -> Option<Timestamp> {
        (!self.running).then(|| self.next.unwrap_or(Timestamp::MIN))
    }

    /// Sets the next time, on the grid of its first evaluation; missed times are left out.
    pub(super) fn schedule(&mut self, now: Timestamp) {
        let every = self.every();
        let mut next = plus(self.next.unwrap_or(now), every);
        if next <= now {
            let missed = crate::time::since(now, next).as_nanos() / every.as_nanos();
            metrics::counter!("aiops_detector_missed_total", "detector" => self.detector.name().to_owned())
                .increment(u64::try_from(missed + 1).unwrap_or(u64::MAX));
            let skip = every.saturating_mul(u32::try_from(missed + 1).unwrap_or(u32::MAX));
            next = plus(next, skip);
        }
        self.next = Some(next);
    }

    /// Keeps what may still be there, and gives the sightings in an order that does not depend on the
    /// detector's.
    pub(super) fn saw(&mut self, evaluation: Evaluation) -> Vec<Sighting> {
        let mut sightings = evaluation.sightings;
        sightings.sort_by_cached_key(identity_of);
        self.known =
            sightings.iter().filter(|sighting| !matches!(sighting, Sighting::Normal(_))).map(identity_of).collect();
        sightings
    }
}

fn identity_of(sighting: &Sighting) -> Identity {
    match sighting {
        Sighting::Firing(event) => DetectionEvent::identity(event),
        Sighting::Normal(identity) | Sighting::Unknown(identity, _) => identity.clone(),
    }
}

/// One evaluation behind its deadline.
pub(super) async fn evaluate(
    detector: Arc<dyn Detector>,
    now: Timestamp,
    longest: Duration,
    parts: &StageParts,
) -> Result<Evaluation, Failed> {
    let deadline = plus(now, detector.every().max(SHORTEST).min(longest));
    let tick = Tick::new(now, deadline);
    match guarded(&*parts.clock, deadline, async { detector.evaluate(tick).await }).await {
        Ok(Ok(evaluation)) => Ok(evaluation),
        Ok(Err(error)) => Err(Failed { why: "error", reason: error_chain(&error) }),
        Err(fault) => Err(Failed { why: fault.label(), reason: fault.to_string() }),
    }
}
