//! The numbers of a TraceQL metrics expression, as a source for detectors.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use aiops_core::text;
use async_trait::async_trait;
use jiff::Timestamp;

use super::{Tempo, call};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::source::{Labels, Sample, SampleSource, Series, SeriesBatch, SourceError};

const DEFAULT_STEP: Duration = Duration::from_secs(60);
/// Series of one read; a detector has the same bound.
const DEFAULT_MAX_SERIES: usize = 10_000;
/// Characters of the expression that make the source's name.
const NAME_CHARS: usize = 100;

/// The samples of a TraceQL metrics expression at every step; see [`Tempo::range`].
///
/// A partial answer fails the read, which is tried again at the next evaluation. A range that Tempo says is too
/// long is read in halves, counted as `aiops_tempo_narrowed_total`. Series beyond the bound are counted as
/// `aiops_tempo_series_refused_total`.
#[derive(Debug, Clone)]
pub struct TempoSource {
    tempo: Tempo,
    expression: String,
    name: String,
    step: Duration,
    max_series: usize,
}

impl Tempo {
    /// A source of the samples of a TraceQL metrics expression: rates, counts and quantiles of spans. Its newest
    /// step changes until all spans are in: give the detector an
    /// [`evaluation_delay`](crate::SeriesDetectorBuilder::evaluation_delay) of a minute or so.
    pub fn range(&self, expression: impl Into<String>) -> TempoSource {
        let expression = expression.into();
        TempoSource {
            tempo: self.clone(),
            name: text::clip(&expression, NAME_CHARS),
            expression,
            step: DEFAULT_STEP,
            max_series: DEFAULT_MAX_SERIES,
        }
    }
}

type Read = BTreeMap<Labels, BTreeMap<Timestamp, f64>>;

impl TempoSource {
    /// Its name in errors and metrics; the expression unless set.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The distance of its samples in whole seconds, at least one; a minute unless set.
    #[must_use]
    pub fn step(mut self, step: Duration) -> Self {
        self.step = Duration::from_secs(step.as_secs().max(1));
        self
    }

    /// Series of one read at the most; 10,000 unless set.
    #[must_use]
    pub fn max_series(mut self, max: usize) -> Self {
        self.max_series = max;
        self
    }

    fn fetch<'a>(
        &'a self,
        from: Timestamp,
        to: Timestamp,
        read: &'a mut Read,
    ) -> Pin<Box<dyn Future<Output = Result<(), ClientError>> + Send + 'a>> {
        Box::pin(async move {
            let answer = match self.tempo.query_range(&self.expression, from, to, self.step).await {
                Ok(answer) => answer,
                Err(error) if error.kind == ClientErrorKind::TooLarge => {
                    let length = to.as_nanosecond() - from.as_nanosecond();
                    let step = i128::try_from(self.step.as_nanos()).unwrap_or(i128::MAX);
                    // On a step, so that none is cut in two.
                    let middle = from.as_nanosecond() + length / 2;
                    let middle = Timestamp::from_nanosecond(middle - middle.rem_euclid(step)).unwrap_or(from);
                    if middle <= from {
                        return Err(error);
                    }
                    metrics::counter!("aiops_tempo_narrowed_total", "source" => self.name.clone()).increment(1);
                    self.fetch(from, middle, read).await?;
                    return self.fetch(middle, to, read).await;
                }
                Err(error) => return Err(error),
            };
            if let Some(words) = answer.partial {
                return Err(call("query_range").error(ClientErrorKind::Partial, &words));
            }
            let mut refused = 0;
            for Series { labels, samples } in answer.series {
                if read.len() >= self.max_series && !read.contains_key(&labels) {
                    refused += 1;
                    continue;
                }
                read.entry(labels).or_default().extend(samples.into_iter().map(|sample| (sample.at, sample.value)));
            }
            if refused > 0 {
                metrics::counter!("aiops_tempo_series_refused_total", "source" => self.name.clone()).increment(refused);
            }
            Ok(())
        })
    }
}

#[async_trait]
impl SampleSource for TempoSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
        if from >= to {
            return Ok(SeriesBatch::new(Vec::new()));
        }
        let mut read = Read::new();
        self.fetch(from, to, &mut read).await.map_err(|error| error.of_source(&self.name))?;
        // Tempo answers whole seconds and steps around the range.
        let series = read.into_iter().map(|(labels, samples)| {
            let samples = samples.range(from..to).map(|(at, value)| Sample { at: *at, value: *value });
            Series::new(labels, samples.collect())
        });
        Ok(SeriesBatch::new(series.filter(|series| !series.samples.is_empty()).collect()))
    }
}
