//! What is known about a detector's data, for people.

use aiops_core::{DataState, time};
use jiff::Timestamp;

use super::track::{Seen, Track};
use super::{SeriesDetector, State};
use crate::source::{Labels, SampleSource};

/// The states of data, as metrics name them.
const STATES: [&str; 5] = ["warming", "ok", "no_data", "stale", "error"];

fn name(state: DataState) -> &'static str {
    match state {
        DataState::Warming { .. } => STATES[0],
        DataState::Ok => STATES[1],
        DataState::NoData => STATES[2],
        DataState::Stale => STATES[3],
        DataState::Error => STATES[4],
    }
}

/// What a detector knows about its data at its newest evaluation; see [`SeriesDetector::status`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SeriesDetectorStatus {
    /// `error` where the newest read failed, `no data` where no series is known, else that of the series it
    /// knows most of: ok, then warming (the one that is farthest), then stale, then no data.
    pub state: DataState,
    /// Up to where the source was read.
    pub read_to: Option<Timestamp>,
    /// Why the newest read failed.
    pub error: Option<String>,
    /// Each series, by its labels.
    pub series: Vec<SeriesStatus>,
}

/// What is known about one series.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SeriesStatus {
    /// Its labels.
    pub labels: Labels,
    /// What is known about its data. `error` for all series while reads fail.
    pub state: DataState,
    /// Time of its newest sample.
    pub last: Option<Timestamp>,
    /// Whether its newest sample is an anomaly by the detector's rule.
    pub firing: bool,
}

impl<S: SampleSource> SeriesDetector<S> {
    /// What is known about the data, for a host to show: `warming (120 of 288)`, `ok`, `no data`, `stale` or
    /// `error`, in all and for each series. The metric `aiops_series_tracked` has the numbers.
    ///
    /// ```
    /// # use aiops_detectors::{Mad, MemorySource, SeriesDetector};
    /// let detector = SeriesDetector::builder("Latency", MemorySource::default(), Mad::default()).service("cart").build()?;
    /// assert_eq!(detector.status().state.to_string(), "no data");
    /// # Ok::<(), aiops_detectors::InvalidSeriesDetector>(())
    /// ```
    #[must_use]
    pub fn status(&self) -> SeriesDetectorStatus {
        let state = self.state();
        let series = state.tracks.iter().map(|(labels, track)| SeriesStatus {
            labels: labels.clone(),
            state: self.state_of(&state, track),
            last: track.last_at,
            firing: track.firing,
        });
        SeriesDetectorStatus {
            state: self.overall(&state),
            read_to: state.read_to,
            error: state.failed.clone(),
            series: series.collect(),
        }
    }

    /// What is known in all.
    fn overall(&self, state: &State) -> DataState {
        match state.failed {
            Some(_) => DataState::Error,
            None => {
                let known = state.tracks.values().map(|track| self.state_of(state, track));
                known.min_by_key(rank).unwrap_or(DataState::NoData)
            }
        }
    }

    fn state_of(&self, state: &State, track: &Track) -> DataState {
        let stale_from = state.wanted.map(|wanted| time::minus(wanted, self.stale_after));
        match &track.seen {
            _ if state.failed.is_some() => DataState::Error,
            _ if track.last_at.is_some_and(|last| stale_from.is_some_and(|from| last < from)) => DataState::Stale,
            Seen::Firing(_) | Seen::Normal => DataState::Ok,
            Seen::Unknown(data) => *data,
        }
    }

    /// Keeps how an evaluation up to `wanted` ended, and tells what changed by it.
    pub(super) fn note(&self, wanted: Timestamp, failed: Option<String>) {
        let mut state = self.state();
        (state.wanted, state.failed) = (Some(wanted), failed);
        for known in STATES {
            let count = state.tracks.values().filter(|track| name(self.state_of(&state, track)) == known).count();
            metrics::gauge!("aiops_series_tracked", "detector" => self.alertname.clone(), "state" => known)
                .set(count as f64);
        }
        let now = self.overall(&state);
        let before = state.told.replace(name(now));
        if before != state.told {
            let (detector, error) = (self.alertname.as_str(), state.failed.as_deref());
            tracing::info!(detector, before, now = %now, error, "what is known about the data changed");
        }
    }
}

/// Of two states the one that more is known in comes first.
fn rank(state: &DataState) -> (u8, u64) {
    match state {
        DataState::Ok => (0, 0),
        DataState::Warming { n, of } => (1, of.saturating_sub(*n)),
        DataState::Stale => (2, 0),
        DataState::NoData => (3, 0),
        DataState::Error => (4, 0),
    }
}
