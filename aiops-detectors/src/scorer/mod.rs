//! Scorers: how strange is this value, by what came before it?

mod adaptive;
mod bank;
mod by_name;
mod cusum;
mod ensemble;
mod ewma;
mod field_report;
mod filled;
mod isolation_forest;
mod isolation_tree;
mod mad;
mod middle;
#[cfg(feature = "mstl")]
mod mstl;
pub(crate) mod nested;
mod past_scores;
mod residuals;
mod rolling_zscore;
mod samples;
mod season;
mod seasonal_baseline;
mod seasonal_zscore;
mod steps;
mod tail;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use aiops_core::{Band, DataState};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::adaptive::Adaptive;
pub use self::bank::{BankPart, ScorerBank};
pub use self::by_name::{DEFAULT_SCORER, scorer_by_name, scorer_names};
pub use self::cusum::Cusum;
pub use self::ensemble::{Ensemble, EnsembleMeasure, InvalidEnsemble};
pub use self::ewma::Ewma;
pub use self::field_report::FieldReport;
pub use self::filled::{Filled, MissingValues};
pub use self::isolation_forest::IsolationForest;
pub use self::mad::Mad;
#[cfg(feature = "mstl")]
pub use self::mstl::{Mstl, MstlError, MstlFit, MstlHistory};
pub use self::rolling_zscore::RollingZScore;
pub use self::seasonal_baseline::SeasonalBaseline;
pub use self::seasonal_zscore::SeasonalZScore;

/// Largest magnitude of a statistic: where a spread of nearly nothing would give more, or infinity.
pub(crate) const LARGEST: f64 = 1e6;

/// Samples before anything is scored, unless the host says otherwise: the field report's 30 of 288.
const MIN_SAMPLES: usize = 30;
/// Smallest spread as a share of the centre, unless the host says otherwise: a flat series must move by
/// some percent to be strange.
const RELATIVE_FLOOR: f64 = 0.01;
/// A deviation is squared: beyond this the square is no number any more.
const LARGEST_DEVIATION: f64 = 1e150;

/// A share as a host gives it; negative or NaN counts as 0.
fn share(share: f64) -> f64 {
    if share.is_finite() { share.max(0.0) } else { 0.0 }
}

/// A spread that can be divided by: at least a share of the centre, and never 0 or infinite.
fn spread(deviation: f64, centre: f64, relative_floor: f64) -> f64 {
    deviation.max(relative_floor * centre.abs() + f64::MIN_POSITIVE).min(f64::MAX)
}

/// Whether a value cannot enter a baseline: no number, or not newer than the last one.
fn refused(last: Option<Timestamp>, at: Timestamp, value: f64) -> bool {
    !value.is_finite() || last.is_some_and(|last| at <= last)
}

/// Makes room for one more sample; counts what a bound drops that the scorer would still have used.
fn make_room<T>(samples: &mut VecDeque<T>, capacity: usize, scorer: &'static str) -> bool {
    let full = samples.len() >= capacity;
    if full {
        samples.pop_front();
        count_dropped(scorer);
    }
    full
}

/// Counts a sample that a bound dropped although the scorer would still have used it.
fn count_dropped(scorer: &'static str) {
    metrics::counter!("aiops_scorer_samples_dropped_total", "scorer" => scorer).increment(1);
}

/// How strange one value is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Score {
    /// Decades of surprise, `-log10 p`: one more is ten times rarer. Finite, at least 0; comparable
    /// over all scorers.
    pub surprise: f64,
    /// The scorer's own measure, positive above the expectation. Finite.
    pub statistic: f64,
    /// The statistic of an anomaly that goes on: as [`statistic`](Self::statistic), but for scorers that raise
    /// a bar after an alert, without it. Finite.
    pub persisting: f64,
    /// The value that was scored.
    pub value: f64,
    /// What was expected; none while nothing is.
    pub expected: Option<f64>,
    /// Where the statistic stays within the scorer's default threshold.
    pub band: Option<Band>,
    /// Warming while there is not enough history, error for a value that was refused, else ok.
    pub state: DataState,
    /// Samples behind the expectation.
    pub n: u64,
}

impl Score {
    /// No score, and why.
    pub(crate) fn none(value: f64, state: DataState) -> Self {
        Self { surprise: 0.0, statistic: 0.0, persisting: 0.0, value, expected: None, band: None, state, n: 0 }
    }

    /// A score against a centre and a spread of one unit of the statistic.
    pub(crate) fn against(value: f64, centre: f64, spread: f64, threshold: f64, n: u64) -> Self {
        let distance = value - centre;
        let statistic = if distance == 0.0 { 0.0 } else { (distance / spread).clamp(-LARGEST, LARGEST) };
        let statistic = if statistic.is_finite() { statistic } else { 0.0 };
        let band = Band { low: centre - threshold * spread, high: centre + threshold * spread };
        let finite = band.low.is_finite() && band.high.is_finite();
        Self {
            surprise: tail::decades(statistic),
            statistic,
            persisting: statistic,
            value,
            expected: centre.is_finite().then_some(centre),
            band: finite.then_some(band),
            state: DataState::Ok,
            n,
        }
    }
}

/// Saved state of a scorer that cannot be taken back; the scorer stays as it was.
#[derive(Debug, thiserror::Error)]
#[error("saved state of scorer {scorer:?} does not read")]
#[non_exhaustive]
pub struct ScorerStateError {
    /// Which scorer.
    pub scorer: &'static str,
    /// Why.
    #[source]
    pub source: aiops_core::BoxError,
}

/// Scores one series, sample by sample.
///
/// # Contract
/// - A score uses only what came before the value: the scores of a prefix are those of the whole.
/// - A value that is not finite, and one that is not later than the last, is refused: it scores 0 with
///   the state `error` and changes nothing. Only NaN may mean something else, a missing value, where
///   the host has chosen so ([`Filled`]).
/// - Every number in a score is finite, whatever the input. Memory is bounded.
/// - `save` and `restore` change no later score.
///
/// # Errors
/// [`ScorerStateError`] for state that does not read; scoring has none.
///
/// # Implementing
/// ```
/// use aiops_detectors::{Sample, Score, Scorer, ScorerStateError, SeasonalZScore};
/// #[derive(Debug)]
/// struct Halved(SeasonalZScore);
///
/// impl Scorer for Halved {
///     fn name(&self) -> &'static str { "halved" }
///     fn default_threshold(&self) -> f64 { self.0.default_threshold() / 2.0 }
///     fn observe(&mut self, at: jiff::Timestamp, value: f64) -> Score {
///         let mut score = self.0.observe(at, value);
///         score.statistic /= 2.0;
///         score
///     }
///     fn save(&self) -> Vec<u8> { self.0.save() }
///     fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> { self.0.restore(bytes) }
///     fn size_bytes(&self) -> usize { self.0.size_bytes() }
///     fn fresh(&self) -> Box<dyn Scorer> { Box::new(Halved(SeasonalZScore::default())) }
/// }
/// ```
pub trait Scorer: fmt::Debug + Send + Sync + 'static {
    /// A stable name.
    fn name(&self) -> &'static str;

    /// The statistic from which a value is usually worth a look.
    fn default_threshold(&self) -> f64;

    /// Scores a value by what came before, then learns it.
    fn observe(&mut self, at: Timestamp, value: f64) -> Score;

    /// The state as versioned bytes.
    fn save(&self) -> Vec<u8>;

    /// Takes saved state back. The settings are the scorer's own.
    ///
    /// # Errors
    /// Bytes that do not read, or of another version: the scorer stays as it was.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError>;

    /// Memory of the state in bytes.
    fn size_bytes(&self) -> usize;

    /// An empty scorer with the same settings.
    fn fresh(&self) -> Box<dyn Scorer>;

    /// The time that the baseline covers now, for people; none where it cannot be told.
    fn window(&self) -> Option<Duration> {
        None
    }

    /// Reads what the next `observe` will have to wait for, and changes nothing: called for some series
    /// before the first of them is scored, it lets the machine fetch the memory of all of them at once. A
    /// [`ScorerBank`] does so.
    fn prefetch(&self) {}
}

impl Scorer for Box<dyn Scorer> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn default_threshold(&self) -> f64 {
        (**self).default_threshold()
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        (**self).observe(at, value)
    }

    fn save(&self) -> Vec<u8> {
        (**self).save()
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        (**self).restore(bytes)
    }

    fn size_bytes(&self) -> usize {
        (**self).size_bytes()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        (**self).fresh()
    }

    fn window(&self) -> Option<Duration> {
        (**self).window()
    }

    fn prefetch(&self) {
        (**self).prefetch();
    }
}

/// Version of every saved scorer state.
const STATE_VERSION: u32 = 2;

#[derive(Serialize)]
struct SavedRef<'a, T> {
    v: u32,
    scorer: &'static str,
    state: &'a T,
}

#[derive(Deserialize)]
struct Saved<T> {
    v: u32,
    scorer: String,
    state: T,
}

pub(crate) fn save<T: Serialize>(scorer: &'static str, state: &T) -> Vec<u8> {
    // Finite numbers and times only: nothing here can fail to serialise.
    serde_json::to_vec(&SavedRef { v: STATE_VERSION, scorer, state }).unwrap_or_default()
}

pub(crate) fn restore<T: DeserializeOwned>(scorer: &'static str, bytes: &[u8]) -> Result<T, ScorerStateError> {
    let refuse = |source: aiops_core::BoxError| ScorerStateError { scorer, source };
    let saved: Saved<T> = serde_json::from_slice(bytes).map_err(|error| refuse(error.into()))?;
    if saved.v != STATE_VERSION || saved.scorer != scorer {
        let found = aiops_core::text::clip(&saved.scorer, 40);
        return Err(refuse(format!("it is version {} of {found:?}, this is version {STATE_VERSION}", saved.v).into()));
    }
    Ok(saved.state)
}
