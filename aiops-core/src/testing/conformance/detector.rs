//! The suite of [`Detector`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::{NAMED, answered, ensure_named, poll_once};
use crate::data_state::DataState;
use crate::detector::{Detector, Evaluation, Sighting, Tick};
use crate::event::{DetectionEvent, Status};
use crate::fingerprint::IdentityScheme;
use crate::testing::{Violation, ensure};

const EVERY: &str = "`every` is how often it wants to be evaluated: longer than nothing";
const ANSWERS: &str = "an evaluation ends before its deadline";
const ONCE: &str = "at most one sighting for each identity";
const FINITE: &str = "it must not emit a non-finite number";
const NOT_ITS: &str = "it must not fill in fingerprint, episode or incident";
const NOW: &str = "it says what it sees now, and reads no clock";
const UNKNOWN: &str = "`Unknown` is for data of which nothing can be said";
const USABLE: &str = "the detector must stay usable after its future was dropped";

/// Checks a detector on evaluations that its host knows to succeed: that it sees each identity once,
/// with finite numbers, at no time after the tick, leaves to the pipeline what is the pipeline's, and
/// survives a dropped evaluation.
///
/// The more the ticks show (quiet, firing, no data), the more is checked. Take ticks well in the past:
/// a detector that reads a clock then sees the future. `scheme` is the pipeline's.
///
/// # Errors
/// The first line of the contract of [`Detector`] that does not hold.
///
/// ```
/// use aiops_core::{Evaluation, IdentityScheme, Tick, detector_fn, jiff::Timestamp, testing};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let detector = detector_fn("quiet", std::time::Duration::from_secs(30), |_| async { Ok(Evaluation::default()) });
/// let tick = |second| Ok::<_, aiops_core::jiff::Error>(Tick::new(
///     Timestamp::from_second(second)?, Timestamp::from_second(second + 30)?));
/// testing::check_detector(&detector, &IdentityScheme::default(), [tick(0)?, tick(30)?]).await?;
/// # Ok(()) }
/// ```
pub async fn check_detector(
    detector: &dyn Detector,
    scheme: &IdentityScheme,
    ticks: impl IntoIterator<Item = Tick>,
) -> Result<(), Violation> {
    let name = detector.name().to_owned();
    ensure_named(&name)?;
    ensure(detector.every() > Duration::ZERO, EVERY, || format!("{name} says {:?}", detector.every()))?;
    for tick in ticks {
        let _ = poll_once(detector.evaluate(tick)).await;
        let evaluation = answered(ANSWERS, USABLE, "an evaluation", detector.evaluate(tick)).await?;
        check_evaluation(&evaluation, scheme, tick)?;
    }
    ensure(detector.name() == name, NAMED, || format!("{name:?} became {:?}", detector.name()))
}

fn check_evaluation(evaluation: &Evaluation, scheme: &IdentityScheme, tick: Tick) -> Result<(), Violation> {
    let mut seen = BTreeMap::new();
    for sighting in &evaluation.sightings {
        let identity = match sighting {
            Sighting::Firing(event) => {
                check_event(event, tick)?;
                event.identity()
            }
            Sighting::Normal(identity) => identity.clone(),
            Sighting::Unknown(identity, state) => {
                ensure(*state != DataState::Ok, UNKNOWN, || format!("{identity} is unknown and its data is ok"))?;
                identity.clone()
            }
        };
        let key = scheme.reduce(&identity).map_err(|error| Violation::new(ONCE, error.to_string()))?.key();
        if let Some(first) = seen.insert(key.clone(), sighting) {
            return Err(Violation::new(ONCE, format!("{key} at {}: {first:?} and {sighting:?}", tick.now)));
        }
    }
    Ok(())
}

fn check_event(event: &DetectionEvent, tick: Tick) -> Result<(), Violation> {
    let signal = &event.signal;
    let band = signal.band.map(|band| [Some(band.low), Some(band.high)]).into_iter().flatten();
    let mut numbers = band.chain([signal.value, signal.expected, signal.score, signal.threshold]).flatten();
    ensure(numbers.all(f64::is_finite), FINITE, || format!("{signal:?}"))?;

    // The builder computes the field report's fingerprint; anything else is the detector's own.
    let built = IdentityScheme::default().reduce(&event.identity()).map(|id| id.fingerprint(event.detected_at));
    let own = !event.fingerprint.is_empty() && built.is_ok_and(|built| built != event.fingerprint);
    let bare = !own && event.episode_id.is_none() && event.incident_id.is_none() && event.repeats == 0;
    ensure(bare, NOT_ITS, || format!("{event:?}"))?;
    ensure(event.status == Status::Firing, NOW, || format!("a firing sighting says {:?}", event.status))?;
    ensure(event.observed() <= tick.now && event.detected_at <= tick.now, NOW, || {
        format!("evaluated at {}, detected at {}, observed at {}", tick.now, event.detected_at, event.observed())
    })
}
