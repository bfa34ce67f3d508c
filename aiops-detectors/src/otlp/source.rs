//! The samples of one metric, as a source for detectors.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::points::{OtlpPoint, OtlpValue};
use super::stream::{Growth, NoGrowth, Place, Reading, Streams};
use crate::source::{Full, PushSource, Sample, SampleSource, SeriesBatch, SourceError};

/// Why a metric gives no sample that has no such quantity.
const NOT_IN_METRIC: &str = "not_in_metric";
/// Two quantiles are the same within this.
const SAME_QUANTILE: f64 = 1e-9;

/// Which number of a metric becomes the sample.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum OtlpQuantity {
    /// The value of a gauge or a sum as it was sent.
    Value,
    /// What was added a second since the point before: of a sum its value, of a histogram or summary its number
    /// of measurements. The same for cumulative streams, across restarts, and for deltas with a start time.
    Rate,
    /// What was added since the point before.
    Increase,
    /// The mean of the measurements since the point before, of a histogram or summary.
    Mean,
    /// A quantile, 0 to 1, of the measurements since the point before, of a histogram; the one that was
    /// sent, of a summary.
    Quantile(f64),
}

/// One number of one metric as samples, one series for each set of labels: drained by the detector that
/// reads it, filled by an [`OtlpIntake`](super::OtlpIntake). Clones share it.
///
/// - **Restarts.** A cumulative stream that starts anew, or shrinks, counts from its new start.
/// - **First points.** The first point of a stream gives no increase, as what came before is unknown, unless
///   the stream started after this source had its first point.
/// - **Streams.** Two processes with the same labels are told apart by their whole resource, so that
///   their counters do not look like restarts of each other. Their samples are of one series; give
///   them `service.instance.id`, or a label by [`OtlpSettings`](super::OtlpSettings), to have two.
#[derive(Debug, Clone)]
pub struct OtlpSource {
    metric: Arc<str>,
    quantity: OtlpQuantity,
    capacity: usize,
    push: PushSource,
    streams: Arc<Mutex<Streams>>,
}

impl OtlpSource {
    /// A source of a metric by its name. At most `capacity` samples wait for the detector, and of as many
    /// cumulative streams the newest point is kept.
    ///
    /// ```
    /// use aiops_detectors::otlp::{OtlpQuantity, OtlpSource};
    /// let p99 = OtlpSource::new("p99", "http.server.request.duration", OtlpQuantity::Quantile(0.99), 100_000);
    /// ```
    pub fn new(name: impl Into<String>, metric: impl Into<Arc<str>>, quantity: OtlpQuantity, capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let push = PushSource::new(name, capacity);
        Self { metric: metric.into(), quantity, capacity, push, streams: Arc::default() }
    }

    /// The metric's name.
    #[must_use]
    pub fn metric(&self) -> &str {
        &self.metric
    }

    /// Whether there is no room for a sample now.
    pub(super) fn is_full(&self) -> bool {
        self.push.is_full()
    }

    /// Takes a point of the metric; one that gives no sample is counted by why.
    ///
    /// # Errors
    /// [`Full`]: its sample was not taken.
    pub fn offer(&self, point: OtlpPoint, received: Timestamp) -> Result<(), Full> {
        let OtlpPoint { labels, start, at, value, producer, .. } = point;
        let place = Place { producer, labels: &labels, start, at, received };
        match self.value_of(place, value) {
            Ok(Some(value)) => self.push.offer(labels, Sample { at, value }),
            // Nothing was measured in between.
            Ok(None) => Ok(()),
            Err(reason) => {
                let source = self.push.name().to_owned();
                metrics::counter!("aiops_otlp_no_sample_total", "source" => source, "reason" => reason).increment(1);
                Ok(())
            }
        }
    }

    fn value_of(&self, place: Place<'_>, value: OtlpValue) -> Result<Option<f64>, &'static str> {
        match (self.quantity, &value) {
            (OtlpQuantity::Value, OtlpValue::Gauge(value) | OtlpValue::Sum { value, .. }) => return Ok(Some(*value)),
            (OtlpQuantity::Quantile(q), OtlpValue::Summary { quantiles, .. }) => {
                let sent = quantiles.iter().find(|(quantile, _)| (quantile - q).abs() < SAME_QUANTILE);
                return sent.map(|(_, value)| Some(*value)).ok_or(NOT_IN_METRIC);
            }
            (OtlpQuantity::Value, _) | (OtlpQuantity::Mean | OtlpQuantity::Quantile(_), OtlpValue::Sum { .. }) => {
                return Err(NOT_IN_METRIC);
            }
            _ => {}
        }
        let with_distribution = matches!(self.quantity, OtlpQuantity::Quantile(_));
        let (reading, temporality) = Reading::of(value, with_distribution).ok_or(NOT_IN_METRIC)?;
        let grown = {
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.grow(place, reading, temporality, self.capacity)
        };
        let Growth { added, over } = grown.map_err(|why| match why {
            NoGrowth::First => "first_point",
            NoGrowth::Late => "out_of_order",
            NoGrowth::NoRoom => "too_many_streams",
        })?;
        match self.quantity {
            OtlpQuantity::Rate => over.map(|over| Some(added.count / over.as_secs_f64())).ok_or("no_start"),
            OtlpQuantity::Mean => Ok((added.count > 0.0).then(|| added.sum / added.count)),
            OtlpQuantity::Quantile(q) => Ok(added.distribution.and_then(|distribution| distribution.quantile(q))),
            OtlpQuantity::Value | OtlpQuantity::Increase => Ok(Some(added.count)),
        }
    }
}

#[async_trait]
impl SampleSource for OtlpSource {
    fn name(&self) -> &str {
        self.push.name()
    }

    /// Drains the samples, as [`PushSource`] does, those of each series by their time: where instances are
    /// one series, they came as each of them sent.
    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
        let mut batch = self.push.read(from, to).await?;
        for series in &mut batch.series {
            series.samples.sort_by_key(|sample| sample.at);
        }
        Ok(batch)
    }
}
