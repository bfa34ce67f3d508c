//! Metrics to data points.

use std::sync::Arc;

use jiff::Timestamp;

use super::decoded::{
    MalformedOtlp, OtlpBatch, OtlpEncoding, OtlpFault, OtlpSettings, OtlpTally, raw_body, take, time, walk,
};
use super::distribution::{OtlpDistribution, Side};
use super::field::{Choice, Unsigned};
use super::message::{
    Buckets, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, MetricData, NumberDataPoint, SummaryDataPoint,
    ValueAtQuantile,
};
use super::raw::{Nested, Raw, Repeated};
use crate::source::Labels;

/// Names of `AggregationTemporality`, from 0 on.
const TEMPORALITIES: [&str; 3] =
    ["AGGREGATION_TEMPORALITY_UNSPECIFIED", "AGGREGATION_TEMPORALITY_DELTA", "AGGREGATION_TEMPORALITY_CUMULATIVE"];
/// The flag of a data point that says that there is no value.
const NO_RECORDED_VALUE: u64 = 1;
/// Quantiles of one summary point.
const MAX_QUANTILES: usize = 100;

/// Since when a sum or histogram counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpTemporality {
    /// Since the point before.
    Delta,
    /// Since the stream began.
    Cumulative,
}

/// What a data point holds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum OtlpValue {
    /// The value now.
    Gauge(f64),
    /// A sum; what it counts never shrinks where it is monotonic.
    Sum {
        /// The sum.
        value: f64,
        /// Since when.
        temporality: OtlpTemporality,
        /// Whether it only grows.
        monotonic: bool,
    },
    /// A histogram, of whichever kind.
    Histogram {
        /// Its buckets.
        distribution: OtlpDistribution,
        /// Since when.
        temporality: OtlpTemporality,
    },
    /// A summary; its number and sum are cumulative.
    Summary {
        /// How many measurements.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Pairs of quantile, 0 to 1, and its value, over a time that the sender knows.
        quantiles: Vec<(f64, f64)>,
    },
}

/// One data point of a metric.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OtlpPoint {
    /// The metric's name.
    pub metric: Arc<str>,
    /// The point's attributes, and those of the resource that the settings name.
    pub labels: Labels,
    /// Since when it counts, where that is said.
    pub start: Option<Timestamp>,
    /// When it was measured.
    pub at: Timestamp,
    /// What was measured.
    pub value: OtlpValue,
    /// Tells streams with the same labels apart, as those of two processes without `service.instance.id`.
    pub(super) producer: u64,
}

/// The data points of a request to `/v1/metrics`, also those of sums and histograms as they were sent:
/// [`OtlpSource`](super::OtlpSource) makes samples of them.
///
/// # Errors
/// [`MalformedOtlp`] where what stands around the points is broken; a broken point refuses only itself.
///
/// ```
/// use aiops_detectors::otlp::{OtlpEncoding, OtlpSettings, OtlpValue, decode_points};
/// let body = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"queue","gauge":{"dataPoints":[
///     {"timeUnixNano":"1795132800000000000","asInt":"7"},
///     {"timeUnixNano":"soon","asInt":"7"}]}}]}]}]}"#;
/// let batch = decode_points(body, OtlpEncoding::Json, &OtlpSettings::default())?;
/// assert_eq!(batch.items[0].value, OtlpValue::Gauge(7.0));
/// assert_eq!(batch.tally.rejected(), 1);
/// # Ok::<(), aiops_detectors::otlp::MalformedOtlp>(())
/// ```
pub fn decode_points(
    body: &[u8],
    encoding: OtlpEncoding,
    settings: &OtlpSettings,
) -> Result<OtlpBatch<OtlpPoint>, MalformedOtlp> {
    decode_points_of(body, encoding, settings, |_| true)
}

/// The points of those metrics that are `wanted`; the others are only counted.
pub(super) fn decode_points_of(
    body: &[u8],
    encoding: OtlpEncoding,
    settings: &OtlpSettings,
    wanted: impl Fn(&str) -> bool,
) -> Result<OtlpBatch<OtlpPoint>, MalformedOtlp> {
    let (mut items, mut tally) = (Vec::new(), OtlpTally::default());
    walk(raw_body(body, encoding)?, settings, &mut tally, |producer, raw, tally| {
        let metric: Metric<'_> = match raw.read() {
            Ok(metric) => metric,
            // How many points it has is unknown.
            Err(fault) => return tally.reject(fault.into()),
        };
        let kinds: [(Nested<'_>, ReadPoint); 5] = [
            (metric.gauge, gauge),
            (metric.sum, sum),
            (metric.histogram, histogram),
            (metric.exponential_histogram, exponential_histogram),
            (metric.summary, summary),
        ];
        let Some((data, read_point)) = kinds.into_iter().find_map(|(data, read)| Some((data.0?, read))) else { return };
        let Ok(data) = data.read::<MetricData<'_>>() else { return tally.reject(OtlpFault::Malformed) };
        let is_wanted = wanted(&metric.name.0);
        let name: Arc<str> = metric.name.0.into();
        let walked = data.data_points.for_each(|raw| {
            if is_wanted {
                take(&mut items, settings, tally, |tally| {
                    let point = read_point(raw, &data)?;
                    if point.flags.0 & NO_RECORDED_VALUE != 0 {
                        tally.stale += 1;
                        return Ok(None);
                    }
                    let at = time(&point.at).ok_or(OtlpFault::NoTime)?;
                    let value = point.value?;
                    let (_, labels) = producer.of_item(point.attributes, settings, tally)?;
                    let metric = Arc::<str>::clone(&name);
                    let start = time(&point.start);
                    Ok(Some(OtlpPoint { metric, labels, start, at, value, producer: producer.id }))
                });
            } else {
                tally.unread += 1;
            }
            Ok(())
        });
        if walked.is_err() {
            tally.reject(OtlpFault::Malformed);
        }
    })?;
    Ok(OtlpBatch { items, tally })
}

/// What the five kinds of points have in common.
struct Point<'a> {
    start: Unsigned,
    at: Unsigned,
    flags: Unsigned,
    attributes: Repeated<'a>,
    value: Result<OtlpValue, OtlpFault>,
}

/// A [`Point`] of a message that has these fields, as all five kinds do.
macro_rules! point_of {
    ($message:ident, $value:expr) => {
        Point {
            start: $message.start_time_unix_nano,
            at: $message.time_unix_nano,
            flags: $message.flags,
            attributes: $message.attributes,
            value: $value,
        }
    };
}

type ReadPoint = for<'a> fn(Raw<'a>, &MetricData<'_>) -> Result<Point<'a>, OtlpFault>;

fn temporality(choice: &Choice<'_>) -> Result<OtlpTemporality, OtlpFault> {
    match choice.among(&TEMPORALITIES) {
        Some(1) => Ok(OtlpTemporality::Delta),
        Some(2) => Ok(OtlpTemporality::Cumulative),
        _ => Err(OtlpFault::NoTemporality),
    }
}

fn number<'a>(
    raw: Raw<'a>,
    to_value: impl FnOnce(f64) -> Result<OtlpValue, OtlpFault>,
) -> Result<Point<'a>, OtlpFault> {
    let point: NumberDataPoint<'a> = raw.read()?;
    let number = point.as_double.map(|double| double.0).or(point.as_int.map(|int| int.0 as f64));
    Ok(point_of!(point, number.ok_or(OtlpFault::NoValue).and_then(to_value)))
}

fn gauge<'a>(raw: Raw<'a>, _: &MetricData<'_>) -> Result<Point<'a>, OtlpFault> {
    number(raw, |value| Ok(OtlpValue::Gauge(value)))
}

fn sum<'a>(raw: Raw<'a>, data: &MetricData<'_>) -> Result<Point<'a>, OtlpFault> {
    let monotonic = data.is_monotonic.0;
    number(raw, |value| {
        Ok(OtlpValue::Sum { value, temporality: temporality(&data.aggregation_temporality)?, monotonic })
    })
}

fn histogram_value(
    data: &MetricData<'_>,
    distribution: Result<OtlpDistribution, OtlpFault>,
) -> Result<OtlpValue, OtlpFault> {
    let temporality = temporality(&data.aggregation_temporality)?;
    Ok(OtlpValue::Histogram { distribution: distribution?, temporality })
}

fn histogram<'a>(raw: Raw<'a>, data: &MetricData<'_>) -> Result<Point<'a>, OtlpFault> {
    let point: HistogramDataPoint<'a> = raw.read()?;
    let (bounds, counts) = (point.explicit_bounds.0, point.bucket_counts.0);
    let distribution = OtlpDistribution::explicit(point.count.0, point.sum.map(|sum| sum.0), bounds, counts);
    Ok(point_of!(point, histogram_value(data, distribution)))
}

fn exponential_histogram<'a>(raw: Raw<'a>, data: &MetricData<'_>) -> Result<Point<'a>, OtlpFault> {
    let point: ExponentialHistogramDataPoint<'a> = raw.read()?;
    let side = |buckets: Nested<'a>| -> Result<Side, OtlpFault> {
        let buckets: Buckets = buckets.0.map_or(Ok(Buckets::default()), Raw::read)?;
        Ok(Side { offset: buckets.offset.0.into(), counts: buckets.bucket_counts.0.0 })
    };
    let sides = [side(point.positive)?, side(point.negative)?];
    let sum = point.sum.map(|sum| sum.0);
    let distribution = OtlpDistribution::exponential(point.count.0, sum, point.scale.0, point.zero_count.0, sides);
    Ok(point_of!(point, histogram_value(data, distribution)))
}

fn summary<'a>(raw: Raw<'a>, _: &MetricData<'_>) -> Result<Point<'a>, OtlpFault> {
    let point: SummaryDataPoint<'a> = raw.read()?;
    let mut quantiles = Vec::new();
    point.quantile_values.for_each(|raw| {
        let pair: ValueAtQuantile = raw.read()?;
        if quantiles.len() < MAX_QUANTILES {
            quantiles.push((pair.quantile.0, pair.value.0));
        }
        Ok(())
    })?;
    Ok(point_of!(point, Ok(OtlpValue::Summary { count: point.count.0, sum: point.sum.0, quantiles })))
}
