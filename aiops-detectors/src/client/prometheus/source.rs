//! The samples of a PromQL expression, as a source for detectors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Prometheus, PrometheusAnswer, SYSTEM};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::source::{Labels, Sample, SampleSource, Series, SeriesBatch, SourceError};

const DEFAULT_STEP: Duration = Duration::from_secs(30);
/// Series of one read; a detector has the same bound.
const DEFAULT_MAX_SERIES: usize = 10_000;
/// Samples of one read, 24 bytes each: Prometheus' own default for one query (`query.max-samples`).
const MAX_SAMPLES: usize = 50_000_000;
/// Steps of one query: Prometheus and Mimir refuse more than 11,000.
const MAX_STEPS: u32 = 10_000;
/// Characters of the expression that make the source's name.
const NAME_CHARS: usize = 100;

/// What is done about an answer that may lack a part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartialAnswers {
    /// The read fails and may be tried again: what is missing is unknown, not zero.
    #[default]
    Refuse,
    /// It is taken for whole, and counted.
    Accept,
}

/// The samples of an expression at every step; see [`Prometheus::range`].
///
/// Steps lie on multiples of their length since the epoch, so that a range read twice, or in parts,
/// gives the same samples: a detector that is fed from history knows what one knows that never
/// stopped. A range longer than one query may be is read in parts; where an answer is too large for
/// this client or the server, in smaller parts from then on.
///
/// - **Late samples.** The newest step changes until all scrapes are in. Give the detector an
///   [`evaluation_delay`](crate::SeriesDetectorBuilder::evaluation_delay) of a scrape interval and
///   what the way takes (VictoriaMetrics holds back its newest 30 s by itself).
/// - **Series that end.** The server repeats a last value for up to five minutes, unless a scrape
///   told it that the series is gone. From then on its samples are absent, not zero.
/// - **Too many series.** Those first by labels are kept, the others counted as
///   `aiops_prometheus_series_refused_total`.
#[derive(Debug)]
pub struct PrometheusSource {
    prometheus: Prometheus,
    expression: String,
    name: String,
    step: Duration,
    max_series: usize,
    partial: PartialAnswers,
    /// Steps of one query: fewer after an answer that was too large.
    steps: AtomicU32,
}

impl Prometheus {
    /// A source of the expression's samples: one read for all its series.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use aiops_detectors::client::{Endpoint, Prometheus, reqwest};
    /// use aiops_detectors::{Adaptive, SeriesDetector};
    ///
    /// # fn build() -> Result<(), Box<dyn std::error::Error>> {
    /// let prometheus = Prometheus::new(Endpoint::new("http://prometheus:9090", reqwest::Client::new())?);
    /// let detector =
    ///     SeriesDetector::builder("P99LatencyAnomaly", prometheus.range("job:http_p99:5m"), Adaptive::default())
    ///         .service_label("job")
    ///         .lookback(Duration::from_secs(25 * 3_600)) // read at the first evaluation
    ///         .evaluation_delay(Duration::from_secs(30))
    ///         .build()?;
    /// # Ok(()) }
    /// ```
    pub fn range(&self, expression: impl Into<String>) -> PrometheusSource {
        let expression = expression.into();
        PrometheusSource {
            prometheus: self.clone(),
            name: aiops_core::text::clip(&expression, NAME_CHARS),
            expression,
            step: DEFAULT_STEP,
            max_series: DEFAULT_MAX_SERIES,
            partial: PartialAnswers::default(),
            steps: AtomicU32::new(MAX_STEPS),
        }
    }
}

impl PrometheusSource {
    /// Its name in errors and metrics; the expression unless set.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The distance of its samples in whole milliseconds, at least one; 30 s unless set.
    #[must_use]
    pub fn step(mut self, step: Duration) -> Self {
        self.step = Duration::from_millis(u64::try_from(step.as_millis()).unwrap_or(u64::MAX).max(1));
        self
    }

    /// Series of one read at the most; 10,000 unless set.
    #[must_use]
    pub fn max_series(mut self, max: usize) -> Self {
        self.max_series = max;
        self
    }

    /// What is done about an answer that may lack a part of the data; refused unless set.
    #[must_use]
    pub fn partial_answers(mut self, partial: PartialAnswers) -> Self {
        self.partial = partial;
        self
    }

    /// The first and last step in `[from, to)`, in steps since the epoch.
    fn steps_within(&self, from: Timestamp, to: Timestamp) -> (i128, i128) {
        let step = i128::try_from(self.step.as_nanos()).unwrap_or(i128::MAX);
        let first = -(-from.as_nanosecond()).div_euclid(step);
        (first, (to.as_nanosecond() - 1).div_euclid(step))
    }

    fn at(&self, steps: i128) -> Result<Timestamp, ClientError> {
        let nanos = i128::try_from(self.step.as_nanos()).unwrap_or(i128::MAX).saturating_mul(steps);
        let outside = |_| self.error(ClientErrorKind::Refused, "the range is outside of what a time can be");
        Timestamp::from_nanosecond(nanos).map_err(outside)
    }

    fn error(&self, kind: ClientErrorKind, reason: &str) -> ClientError {
        ClientError::new(SYSTEM, "query_range", kind, reason)
    }

    async fn read_steps(&self, first: i128, last: i128) -> Result<BTreeMap<Labels, Vec<Sample>>, ClientError> {
        let (mut read, mut samples) = (BTreeMap::new(), 0);
        let mut next = first;
        while next <= last {
            let steps = i128::from(self.steps.load(Ordering::Relaxed));
            let end = last.min(next + steps - 1);
            let asked = end - next + 1;
            let answer = self.prometheus.query_range(&self.expression, self.at(next)?, self.at(end)?, self.step).await;
            match answer {
                Ok(answer) => samples += self.add(&mut read, answer)?,
                Err(error) if error.kind == ClientErrorKind::TooLarge && asked > 1 => {
                    let half = u32::try_from(asked / 2).unwrap_or(MAX_STEPS);
                    // Another read may have found an even smaller size meanwhile.
                    self.steps.fetch_min(half, Ordering::Relaxed);
                    metrics::counter!("aiops_prometheus_narrowed_total", "source" => self.name.clone()).increment(1);
                    continue;
                }
                Err(error) => return Err(error),
            }
            if samples > MAX_SAMPLES {
                let reason = format!("more than {MAX_SAMPLES} samples in one read: shorten it, or widen the step");
                return Err(self.error(ClientErrorKind::TooLarge, &reason));
            }
            next = end + 1;
        }
        Ok(read)
    }

    /// Appends an answer, the newest so far, and says how many samples were added.
    fn add(
        &self,
        read: &mut BTreeMap<Labels, Vec<Sample>>,
        answer: PrometheusAnswer<Vec<Series>>,
    ) -> Result<usize, ClientError> {
        if answer.partial {
            metrics::counter!("aiops_prometheus_partial_total", "source" => self.name.clone()).increment(1);
            if self.partial == PartialAnswers::Refuse {
                let reason = answer.warnings.first().map_or("the server says so", String::as_str);
                return Err(self.error(ClientErrorKind::Partial, reason));
            }
        }
        let mut series = answer.value;
        series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        let (mut added, mut refused) = (0, 0);
        for Series { labels, samples } in series {
            added += samples.len();
            if let Some(known) = read.get_mut(&labels) {
                // A server that moves the range may give a step twice.
                let last = known.last().map(|sample| sample.at);
                known.extend(samples.into_iter().filter(|sample| last.is_none_or(|last| sample.at > last)));
            } else if read.len() < self.max_series {
                read.insert(labels, samples);
            } else {
                refused += 1;
            }
        }
        if refused > 0 {
            metrics::counter!("aiops_prometheus_series_refused_total", "source" => self.name.clone())
                .increment(refused);
        }
        Ok(added)
    }
}

#[async_trait]
impl SampleSource for PrometheusSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
        let (first, last) = self.steps_within(from, to);
        let read = self.read_steps(first, last).await.map_err(|error| error.of_source(&self.name))?;
        let within = |mut samples: Vec<Sample>| {
            // Also where a server rounds the range otherwise.
            samples.retain(|sample| from <= sample.at && sample.at < to);
            samples
        };
        let series = read.into_iter().map(|(labels, samples)| Series::new(labels, within(samples)));
        Ok(SeriesBatch::new(series.filter(|series| !series.samples.is_empty()).collect()))
    }
}
