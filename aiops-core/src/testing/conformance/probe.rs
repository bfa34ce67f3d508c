//! The suite of [`Probe`].

use super::{PATIENCE, answered, poll_once, within};
use crate::data_state::DataState;
use crate::probe::{Probe, ProbeQuery};
use crate::testing::{Violation, ensure};

const ANSWERS: &str = "a probe answers by `query.deadline`";
const KNOWN: &str = "`value` is finite, and present exactly when `state` is ok";
const ABSENT: &str = "a number that it does not have is `NoData`, `Stale` or an error, never 0 and never the last one";
const DROPPED: &str = "the future may be dropped at any time";
const FUTURE: &str = "`at` is when the number was true";

/// Checks a probe with a question that it can answer and one that it cannot.
///
/// # Errors
/// The first line of the contract of [`Probe`] that does not hold.
pub async fn check_probe(probe: &dyn Probe, known: ProbeQuery, unknown: ProbeQuery) -> Result<(), Violation> {
    let _ = poll_once(probe.read(&known)).await;
    let read = |query: &ProbeQuery| format!("reading {:?}", query.what);

    let reading = answered(ANSWERS, DROPPED, &read(&known), probe.read(&known)).await?;
    ensure(reading.state == DataState::Ok, KNOWN, || format!("{}: state is {}", read(&known), reading.state))?;
    ensure(reading.value.is_some_and(f64::is_finite), KNOWN, || format!("{}: {:?}", read(&known), reading.value))?;
    ensure(reading.at <= known.now, FUTURE, || format!("{}: {} is after {}", read(&known), reading.at, known.now))?;

    // Also after a good reading: the last number must not come back.
    match within(PATIENCE, ANSWERS, &read(&unknown), probe.read(&unknown)).await? {
        Err(_) => Ok(()),
        Ok(reading) => ensure(reading.value.is_none() && reading.state != DataState::Ok, ABSENT, || {
            format!("{}: value {:?}, state {}", read(&unknown), reading.value, reading.state)
        }),
    }
}
