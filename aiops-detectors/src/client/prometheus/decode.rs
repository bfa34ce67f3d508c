//! Bodies of the Prometheus HTTP API, version 1 (querying/api.md of Prometheus 2 and 3), and what
//! VictoriaMetrics, Mimir and Thanos do otherwise.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::source::{Labels, Sample, Series};

/// What stands around the data in every answer. An error may come with data, which is passed over.
#[derive(Debug, Deserialize)]
pub(in crate::client) struct Envelope<'a, D> {
    #[serde(borrow)]
    pub(in crate::client) status: Cow<'a, str>,
    #[serde(rename = "errorType", default)]
    pub(in crate::client) error_type: Option<String>,
    #[serde(default)]
    pub(in crate::client) error: Option<String>,
    #[serde(default = "none")]
    pub(in crate::client) data: Option<D>,
    #[serde(default)]
    pub(in crate::client) warnings: Option<Vec<String>>,
    #[serde(default)]
    pub(in crate::client) infos: Option<Vec<String>>,
    /// VictoriaMetrics: a part of its storage did not answer.
    #[serde(rename = "isPartial", default)]
    pub(in crate::client) is_partial: bool,
}

/// A default that asks nothing of `D`.
fn none<D>() -> Option<D> {
    None
}

/// `data` of `query` and `query_range`; its two keys come in any order.
#[derive(Debug, Deserialize)]
pub(super) struct QueryData<'a> {
    #[serde(rename = "resultType", borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(default)]
    pub(super) result: Elements,
}

/// `data` of `alerts`.
#[derive(Debug, Deserialize)]
pub(super) struct AlertsData {
    #[serde(default)]
    pub(super) alerts: Option<Vec<AlertBody>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AlertBody {
    pub(super) labels: Labels,
    #[serde(default)]
    pub(super) annotations: Labels,
    pub(super) state: String,
    #[serde(rename = "activeAt", default)]
    pub(super) active_at: Option<Timestamp>,
    /// A number as text, as of a sample.
    #[serde(default)]
    pub(super) value: Option<Number>,
}

/// `result` in all its forms: series, or the two parts of a scalar or string. `null` is empty.
#[derive(Debug, Default)]
pub(super) struct Elements {
    pub(super) series: Vec<Series>,
    /// The first series with native histograms in place of numbers, by its labels.
    pub(super) histogram: Option<Labels>,
    /// A scalar or string: its time and text.
    pub(super) single: Option<(Timestamp, String)>,
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Elements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of series, or a time and a value")
            }

            fn visit_unit<E: Error>(self) -> Result<Elements, E> {
                Ok(Elements::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements, A::Error> {
                let mut elements = Elements::default();
                while let Some(element) = seq.next_element()? {
                    match element {
                        Element::Series(item) => {
                            let series = Series::new(item.metric, item.values.or(item.value).unwrap_or_default().0);
                            if item.histogram.is_some() || item.histograms.is_some() {
                                elements.histogram.get_or_insert(series.labels);
                            } else if !series.samples.is_empty() {
                                elements.series.push(series);
                            }
                        }
                        Element::Time(at) => {
                            let text = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(1, &self))?;
                            elements.single = Some((at, text));
                        }
                    }
                }
                Ok(elements)
            }
        }
        deserializer.deserialize_any(Each)
    }
}

/// One series: `value` of a vector, `values` of a matrix, or native histograms (Prometheus 2.40 on).
#[derive(Deserialize)]
struct Item {
    metric: Labels,
    #[serde(default, deserialize_with = "one")]
    value: Option<Samples>,
    #[serde(default)]
    values: Option<Samples>,
    #[serde(default)]
    histogram: Option<IgnoredAny>,
    #[serde(default)]
    histograms: Option<IgnoredAny>,
}

fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Samples>, D::Error> {
    let Point(sample) = Point::deserialize(deserializer)?;
    Ok(Some(Samples(vec![sample])))
}

enum Element {
    Series(Item),
    Time(Timestamp),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Element;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a series or a time")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Element, A::Error> {
                Item::deserialize(MapAccessDeserializer::new(map)).map(Element::Series)
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Element, E> {
                time(seconds).map(Element::Time)
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Element, E> {
                self.visit_f64(seconds as f64)
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Element, E> {
                self.visit_f64(seconds as f64)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The samples of one series, in a vector that is no larger than they are.
#[derive(Default)]
struct Samples(Vec<Sample>);

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Points;
        impl<'de> Visitor<'de> for Points {
            type Value = Samples;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of samples")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Samples, A::Error> {
                let mut samples = Vec::new();
                while let Some(Point(sample)) = seq.next_element()? {
                    samples.push(sample);
                }
                samples.shrink_to_fit();
                Ok(Samples(samples))
            }
        }
        deserializer.deserialize_seq(Points)
    }
}

/// `[1795575707.880, "1e-07"]`: unix seconds with milliseconds, and the value as text.
struct Point(Sample);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Point;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time and a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Point, A::Error> {
                let short = |length| A::Error::invalid_length(length, &"a time and a value");
                let at = time(seq.next_element()?.ok_or_else(|| short(0))?)?;
                let Number(value) = seq.next_element()?.ok_or_else(|| short(1))?;
                // Loki's categorised labels and the like.
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Point(Sample { at, value }))
            }
        }
        deserializer.deserialize_seq(Pair)
    }
}

/// A number as text: `"NaN"`, `"+Inf"`, `"-Inf"` and `"1.5e+21"` are what Rust reads, too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number as text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                text.parse()
                    .map(Number)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Other("other text"), &self))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Unix seconds to a time; Prometheus counts in whole milliseconds.
fn time<E: Error>(seconds: f64) -> Result<Timestamp, E> {
    let outside = || E::custom(format_args!("{seconds} is no time in unix seconds"));
    let millis = (seconds * 1_000.0).round();
    // Within ±2^53 the cast is exact; the years that a timestamp holds end far below that.
    if millis.abs() > 9e15 {
        return Err(outside());
    }
    #[allow(clippy::cast_possible_truncation)]
    Timestamp::from_millisecond(millis as i64).map_err(|_| outside())
}
