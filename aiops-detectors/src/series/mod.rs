//! One detector over many series: a source, a scorer for each series, and one rule.

mod builder;
mod combine;
mod rule;
mod status;
mod track;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::{
    DataState, DetectionEvent, Detector, DetectorError, Evaluation, EventKind, Identity, ServiceName, Severity,
    Sighting, Signal, Tick, error_chain, time,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::builder::{InvalidSeriesDetector, SeriesDetectorBuilder};
pub use self::combine::Combine;
use self::combine::{Merge, start_of_step};
pub use self::rule::{Direction, SeriesRule};
pub use self::status::{SeriesDetectorStatus, SeriesStatus};
use self::track::{Seen, Track};
use crate::scorer::{Scorer, ScorerStateError};
use crate::source::{Labels, Sample, SampleSource, Series};

/// Where the service of a series comes from.
#[derive(Debug, Clone)]
enum Service {
    Fixed(ServiceName),
    Label(String),
}

/// What is done about a known series of which a read gives no sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingSamples {
    /// It keeps its last verdict until it is stale, then it is unknown.
    #[default]
    Ignore,
    /// It is taken as 0: no requests are no requests (user reports, row 20). For a source that gives a
    /// sample in each evaluation interval; where samples come late, with an evaluation delay.
    Zero,
    /// Its last value stands until the next one comes, for a source that only tells changes. An anomaly goes
    /// on until then, or until the series is forgotten.
    Previous,
    /// As `Ignore`, and silence is an anomaly of its own: where all series of an identity are stale, an alert
    /// fires whose name is the detector's with `NoData` behind it. It ends with the next sample, or with the
    /// series being forgotten. A read that fails is no silence.
    Alert,
}

/// Watches many series of one source with one rule; see [`SeriesDetector::builder`].
///
/// Several series of one identity (replicas, federation) are one sighting, the worst: firing, then normal,
/// then unknown; one that fell silent while it fired is unknown above normal for an hour. Samples that
/// are not finite, come twice or too late are counted by reason and change nothing.
///
/// Each series has its own state, so that a new pod is a new series, which must warm up. Where instances come and
/// go, make them one: [`without_labels`](SeriesDetectorBuilder::without_labels).
#[derive(Debug)]
pub struct SeriesDetector<S> {
    alertname: String,
    kind: EventKind,
    source: S,
    prototype: Box<dyn Scorer>,
    rule: SeriesRule,
    service: Service,
    every: Duration,
    lookback: Duration,
    delay: Duration,
    stale_after: Duration,
    missing: MissingSamples,
    max_series: usize,
    merge: Option<Merge>,
    idle_after: Duration,
    unit: Option<String>,
    window: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Up to where the source was read.
    read_to: Option<Timestamp>,
    /// Up to where the newest evaluation wanted to read, and why it could not.
    wanted: Option<Timestamp>,
    failed: Option<String>,
    /// The state that was told last.
    told: Option<&'static str>,
    tracks: BTreeMap<Labels, Track>,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    read_to: Option<Timestamp>,
    tracks: Vec<track::Saved>,
}

/// Behind the name of an alert for silence.
const NO_DATA: &str = "NoData";
/// Version of the saved state of a detector.
const STATE_VERSION: u32 = 2;

/// A series that fell silent while it fired keeps its identity from being normal for so long: an overloaded
/// replica misses some scrapes, one that was replaced never comes back. As long as deploys may hold an
/// identity.
const SILENT_WHILE_FIRING: Duration = Duration::from_secs(3_600);

impl<S: SampleSource> SeriesDetector<S> {
    /// A detector named after its alert, over a source, with an empty scorer as the model of one for
    /// each series.
    ///
    /// ```
    /// use aiops_detectors::{MemorySource, SeasonalZScore, SeriesDetector};
    /// let detector = SeriesDetector::builder("P99LatencyAnomaly", MemorySource::default(), SeasonalZScore::default())
    ///     .service_label("job")
    ///     .for_duration(std::time::Duration::from_secs(300))
    ///     .unit("s")
    ///     .build()?;
    /// # Ok::<(), aiops_detectors::InvalidSeriesDetector>(())
    /// ```
    pub fn builder(alertname: impl Into<String>, source: S, scorer: impl Scorer) -> SeriesDetectorBuilder<S> {
        SeriesDetectorBuilder::new(alertname.into(), source, Box::new(scorer))
    }

    /// Series that are tracked now.
    #[must_use]
    pub fn series(&self) -> usize {
        self.state().tracks.len()
    }

    /// The state of all series as versioned bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let state = self.state();
        let tracks = state.tracks.iter().map(|(labels, track)| track.save(labels)).collect();
        serde_json::to_vec(&Saved { version: STATE_VERSION, read_to: state.read_to, tracks }).unwrap_or_default()
    }

    /// Takes saved state back, in place of what is known now; of more series than the bound the newest.
    ///
    /// # Errors
    /// Bytes that do not read, or of another version: the detector stays as it was.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let refuse = |source: aiops_core::BoxError| ScorerStateError { scorer: self.prototype.name(), source };
        let saved: Saved = serde_json::from_slice(bytes).map_err(|error| refuse(error.into()))?;
        if saved.version != STATE_VERSION {
            return Err(refuse(format!("it is version {}, this is version {STATE_VERSION}", saved.version).into()));
        }
        let tracks: Result<Vec<_>, _> =
            saved.tracks.into_iter().map(|track| Track::restore(track, self.prototype.fresh())).collect();
        let mut tracks = tracks?;
        let over = tracks.len().saturating_sub(self.max_series);
        if over > 0 {
            tracks.sort_by_key(|(_, track)| std::cmp::Reverse(track.heard));
            tracks.truncate(self.max_series);
            metrics::counter!("aiops_series_refused_total", "detector" => self.alertname.clone())
                .increment(over as u64);
        }
        let tracks = tracks.into_iter().collect();
        *self.state() = State { read_to: saved.read_to, wanted: saved.read_to, tracks, ..State::default() };
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn service_of(&self, labels: &Labels) -> ServiceName {
        match &self.service {
            Service::Fixed(service) => service.clone(),
            Service::Label(name) => labels.get(name).map(String::as_str).unwrap_or_default().into(),
        }
    }

    fn identity(&self, labels: &Labels) -> Identity {
        let mut identity = Identity::new(self.kind.clone(), self.service_of(labels), &self.alertname);
        identity.labels.clone_from(labels);
        identity
    }

    /// Feeds what was read, oldest first, and says what is seen of each identity.
    fn judge(&self, read: Vec<Series>, from: Timestamp, to: Timestamp) -> Evaluation {
        let mut state = self.state();
        // At the first evaluation what came before the last interval is history. Later on nothing that is
        // read was seen before: a failed read or a late sample must not cost the anomaly.
        let fresh = if state.read_to.is_none() { self.every } else { self.every.max(self.stale_after) };
        let fresh_from = time::minus(to, fresh);
        state.read_to = Some(to);
        for series in self.merged(read) {
            if !state.tracks.contains_key(&series.labels) && !self.has_room(&mut state) {
                continue;
            }
            let track = state.tracks.entry(series.labels).or_insert_with(|| Track::new(self.prototype.fresh(), to));
            track.take(&series.samples, &self.rule, fresh_from, to);
        }
        let at = time::minus(to, Duration::from_nanos(1));
        for track in state.tracks.values_mut().filter(|track| track.last_at.is_none_or(|last| last < from)) {
            let value = match self.missing {
                MissingSamples::Zero => Some(0.0),
                MissingSamples::Previous => track.last_value,
                MissingSamples::Ignore | MissingSamples::Alert => None,
            };
            if let Some(value) = value {
                track.feed(&[Sample { at, value }], &self.rule, fresh_from, to);
            }
        }
        let idle_from = time::minus(to, self.idle_after);
        let before = state.tracks.len();
        state.tracks.retain(|_, track| track.heard >= idle_from);
        let idle = before - state.tracks.len();
        if idle > 0 {
            metrics::counter!("aiops_series_evicted_total", "reason" => "idle").increment(idle as u64);
        }
        self.sightings(&state, to)
    }

    /// What was read, with the series of instances as one where the host said so.
    fn merged(&self, read: Vec<Series>) -> Vec<Series> {
        let Some(merge) = &self.merge else { return read };
        let (series, fewer) = merge.apply(read, self.every);
        if fewer > 0 {
            metrics::counter!("aiops_series_samples_combined_total", "detector" => self.alertname.clone())
                .increment(fewer);
        }
        series
    }

    /// The times between which is read at `now`; where instances are one only whole steps, so that all of them
    /// are in.
    fn range(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let whole = |at| if self.merge.is_some() { start_of_step(at, self.every) } else { at };
        let to = whole(time::minus(now, self.delay));
        (self.state().read_to.unwrap_or_else(|| whole(time::minus(to, self.lookback))), to)
    }

    fn has_room(&self, state: &mut State) -> bool {
        if state.tracks.len() < self.max_series {
            return true;
        }
        metrics::counter!("aiops_series_refused_total", "detector" => self.alertname.clone()).increment(1);
        false
    }

    /// One sighting for each identity: the worst of its series that are alive.
    ///
    /// A replaced replica never comes back: what is unknown of some series does not hide what is known of
    /// the others, or no episode would end before the old ones are idle. One that fell silent while it
    /// fired is missed for [`SILENT_WHILE_FIRING`].
    fn sightings(&self, state: &State, now: Timestamp) -> Evaluation {
        let stale_from = time::minus(now, self.stale_after);
        let missed_from = time::minus(now, SILENT_WHILE_FIRING);
        let mut worst: BTreeMap<(ServiceName, String), (u8, f64, Sighting)> = BTreeMap::new();
        for (labels, track) in &state.tracks {
            let identity = self.identity(labels);
            let stale = track.last_at.is_none_or(|last| last < stale_from);
            let missed = track.firing && track.last_at.is_some_and(|last| last >= missed_from);
            let unknown = |data| Sighting::Unknown(identity.clone(), data);
            let (rank, size, sighting) = match &track.seen {
                _ if stale => (if missed { 3 } else { 0 }, 0.0, unknown(DataState::Stale)),
                Seen::Firing(sample) => {
                    let event = self.event(labels, &identity, sample, track.window());
                    (4, sample.score.persisting.abs(), Sighting::Firing(Box::new(event)))
                }
                Seen::Normal => (2, 0.0, Sighting::Normal(identity.clone())),
                Seen::Unknown(data) => (if missed { 3 } else { 1 }, 0.0, unknown(*data)),
            };
            let key = (identity.service.clone(), self.key_of(labels));
            let better = worst.get(&key).is_none_or(|(r, s, _)| (rank, size) > (*r, *s));
            if better {
                worst.insert(key, (rank, size, sighting));
            }
        }
        let mut seen: Vec<Sighting> = worst.into_values().map(|(_, _, sighting)| sighting).collect();
        if self.missing == MissingSamples::Alert {
            seen.extend(self.silence(state, stale_from, now));
        }
        Evaluation::from_iter(seen)
    }

    /// Whether an identity is silent: one sighting each.
    fn silence(&self, state: &State, stale_from: Timestamp, now: Timestamp) -> Vec<Sighting> {
        let mut newest: BTreeMap<(ServiceName, String), (Timestamp, &Labels)> = BTreeMap::new();
        for (labels, track) in &state.tracks {
            let heard = track.last_at.unwrap_or(track.heard);
            let entry = newest.entry((self.service_of(labels), self.key_of(labels))).or_insert((heard, labels));
            if heard > entry.0 {
                *entry = (heard, labels);
            }
        }
        let sighting = |(heard, labels): (Timestamp, &Labels)| {
            let alertname = format!("{}{NO_DATA}", self.alertname);
            let mut identity = self.identity(labels);
            if heard >= stale_from {
                identity.alertname = alertname;
                return Sighting::Normal(identity);
            }
            let signal = Signal::default()
                .window(self.stale_after)
                .with("state", DataState::NoData.to_string())
                .with("last_sample", heard.to_string());
            let event =
                DetectionEvent::builder(self.kind.clone(), identity.service, self.rule.severity, now, &self.alertname)
                    .labels(labels.clone())
                    .alertname(alertname)
                    .signal(signal)
                    .build();
            Sighting::Firing(Box::new(event))
        };
        newest.into_values().map(sighting).collect()
    }

    /// Series with equal values here are one identity: only the service tells them apart, unless the
    /// host's identity labels do; those it has in `SeriesRule::identity_labels`.
    fn key_of(&self, labels: &Labels) -> String {
        let values = self.rule.identity_labels.iter().map(|name| labels.get(name).map_or("", String::as_str));
        values.map(aiops_core::encode).collect::<Vec<_>>().join("|")
    }

    fn event(
        &self,
        labels: &Labels,
        identity: &Identity,
        firing: &track::Firing,
        window: Option<Duration>,
    ) -> DetectionEvent {
        let score = &firing.score;
        let mut signal = Signal::new(score.value)
            .score(score.persisting.abs())
            .threshold(self.rule.threshold)
            .n(score.n)
            .with("surprise", score.surprise)
            .with("scorer", self.prototype.name());
        if let Some(window) = self.window.or(window) {
            signal = signal.window(window);
        }
        if let Some(expected) = score.expected {
            signal = signal.expected(expected);
        }
        if let Some(band) = score.band {
            signal = signal.band(band.low, band.high);
        }
        if let Some(unit) = &self.unit {
            signal = signal.unit(unit.clone());
        }
        if let Some(ratio) = signal.ratio() {
            signal = signal.with("ratio", ratio);
        }
        let critical = self.rule.critical_at.is_some_and(|at| score.persisting.abs() >= at * self.rule.threshold);
        let severity = if critical { Severity::Critical } else { self.rule.severity };
        DetectionEvent::builder(self.kind.clone(), identity.service.clone(), severity, firing.at, &self.alertname)
            .labels(labels.clone())
            .alertname(&self.alertname)
            .signal(signal)
            .build()
    }
}

#[async_trait]
impl<S: SampleSource> Detector for SeriesDetector<S> {
    fn name(&self) -> &str {
        &self.alertname
    }

    fn every(&self) -> Duration {
        self.every
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let (from, to) = self.range(tick.now);
        if from >= to {
            let mut state = self.state();
            // Without a look back the first evaluation only sets the start.
            state.read_to.get_or_insert(to);
            return Ok(self.sightings(&state, to));
        }
        match self.source.read(from, to).await {
            Ok(read) => {
                let evaluation = self.judge(read.series, from, to);
                self.note(to, None);
                Ok(evaluation)
            }
            Err(error) => {
                self.note(to, Some(error_chain(&error)));
                let retryable = error.is_retryable();
                let wrap = if retryable { DetectorError::retryable } else { DetectorError::permanent };
                Err(wrap(&self.alertname, error))
            }
        }
    }
}
