//! What a detector says of a series: its sighting, and the event of its burst.

use std::time::Duration;

use aiops_core::{DataState, DetectionEvent, Identity, Severity, Sighting, Signal};
use jiff::Timestamp;

use super::board::{OpenBurst, Track};
use super::{BURST_WINDOW_SECONDS, BurstState};

/// The start of a unix minute.
pub(crate) fn start_of(minute: u32) -> Timestamp {
    Timestamp::from_second(i64::from(minute) * 60).unwrap_or(Timestamp::MAX)
}

/// What is seen of a series now.
pub(crate) fn sighting(
    identity: Identity,
    track: &Track,
    event: impl FnOnce(Identity, &OpenBurst) -> DetectionEvent,
) -> Sighting {
    match (&track.open, track.last) {
        (_, Some(BurstState::Unknown)) => Sighting::Unknown(identity, DataState::Stale),
        (Some(burst), _) => Sighting::Firing(Box::new(event(identity, burst))),
        (None, None | Some(BurstState::Learning)) => {
            let (n, of) = track.learnt();
            Sighting::Unknown(identity, DataState::Warming { n, of })
        }
        (None, Some(_)) => Sighting::Normal(identity),
    }
}

/// The event of a burst that goes on, with the newest five minutes that fired; `source` is the detector.
pub(crate) fn event(
    identity: Identity,
    burst: &OpenBurst,
    source: &str,
    severity: Severity,
    read_to: Timestamp,
) -> DetectionEvent {
    let verdict = &burst.verdict;
    let signal = Signal::new(verdict.count as f64)
        .expected(verdict.expected)
        .score(verdict.surprise)
        .threshold(verdict.threshold)
        .window(Duration::from_secs(BURST_WINDOW_SECONDS.into()))
        .unit("error lines")
        .n(verdict.n)
        .with("z", verdict.z())
        .with("peak", burst.peak)
        .with("ratio", verdict.surprise / verdict.threshold);
    let severity = if verdict.is_critical() { Severity::Critical } else { severity };
    let Identity { kind, service, alertname, .. } = identity;
    let builder = DetectionEvent::builder(kind, service, severity, start_of(burst.start), source);
    let mut event = builder.alertname(alertname).signal(signal).build();
    event.observed_at = Some(read_to);
    event
}
