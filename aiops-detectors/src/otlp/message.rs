//! The messages of opentelemetry-proto 1.10, without what is not used here. Those that hold others and
//! have the same numbers in all three signals are one.

use serde::Deserialize;

use super::field::{Base64, Choice, Double, Flag, Id, Numbers, Signed, Text, Unsigned, Varints, Zigzag};
use super::raw::{Field, Message, Nested, Repeated};
use super::wire::{Malformed, Value};

/// A struct of fields, each with its number, which reads itself from protobuf, and from JSON under its
/// name in lowerCamelCase.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident<'a> { $($fields:tt)* }) => {
        message!(@define [$(#[$doc])* #[serde(bound(deserialize = "'de: 'a"))]] [$name<'a>] { $($fields)* });
    };
    ($(#[$doc:meta])* $name:ident { $($fields:tt)* }) => {
        message!(@define [$(#[$doc])*] [$name] { $($fields)* });
    };
    (@define [$(#[$meta:meta])*] [$name:ident $(<$life:lifetime>)?] {
        $($(#[$on_field:meta])* $number:literal => $field:ident: $type:ty,)+
    }) => {
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$meta])*
        pub(super) struct $name $(<$life>)? { $($(#[$on_field])* pub(super) $field: $type,)+ }

        impl<'a> Message<'a> for $name $(<$life>)? {
            fn merge(&mut self, number: u32, value: Value<'a>, whole: &'a [u8]) -> Result<(), Malformed> {
                match number {
                    $($number => self.$field.merge(number, value, whole),)+
                    _ => Ok(()),
                }
            }
        }
    };
}

message! {
    /// The body of a request: `ResourceMetrics`, `ResourceLogs` or `ResourceSpans`.
    Export<'a> {
        #[serde(alias = "resourceMetrics", alias = "resourceLogs", alias = "resourceSpans")]
        1 => resources: Repeated<'a>,
    }
}

message! {
    /// What one resource sent: `ScopeMetrics`, `ScopeLogs` or `ScopeSpans`.
    ResourceGroup<'a> {
        1 => resource: Nested<'a>,
        #[serde(alias = "scopeMetrics", alias = "scopeLogs", alias = "scopeSpans")]
        2 => scopes: Repeated<'a>,
    }
}

message! {
    /// What one instrumentation library sent: metrics, log records or spans.
    ScopeGroup<'a> {
        1 => scope: Nested<'a>,
        #[serde(alias = "metrics", alias = "logRecords", alias = "spans")]
        2 => items: Repeated<'a>,
    }
}

message! {
    Resource<'a> {
        1 => attributes: Repeated<'a>,
    }
}

message! {
    KeyValue<'a> {
        1 => key: Text<'a>,
        2 => value: Nested<'a>,
    }
}

message! {
    AnyValue<'a> {
        1 => string_value: Option<Text<'a>>,
        2 => bool_value: Option<Flag>,
        3 => int_value: Option<Signed>,
        4 => double_value: Option<Double>,
        5 => array_value: Nested<'a>,
        6 => kvlist_value: Nested<'a>,
        7 => bytes_value: Option<Base64<'a>>,
    }
}

message! {
    /// `ArrayValue` of values or `KeyValueList` of keys and values.
    ValueList<'a> {
        1 => values: Repeated<'a>,
    }
}

message! {
    /// The kinds of data exclude each other.
    Metric<'a> {
        1 => name: Text<'a>,
        5 => gauge: Nested<'a>,
        7 => sum: Nested<'a>,
        9 => histogram: Nested<'a>,
        10 => exponential_histogram: Nested<'a>,
        11 => summary: Nested<'a>,
    }
}

message! {
    /// `Gauge`, `Sum`, `Histogram`, `ExponentialHistogram` or `Summary`.
    MetricData<'a> {
        1 => data_points: Repeated<'a>,
        2 => aggregation_temporality: Choice<'a>,
        3 => is_monotonic: Flag,
    }
}

message! {
    NumberDataPoint<'a> {
        2 => start_time_unix_nano: Unsigned,
        3 => time_unix_nano: Unsigned,
        4 => as_double: Option<Double>,
        6 => as_int: Option<Signed>,
        7 => attributes: Repeated<'a>,
        8 => flags: Unsigned,
    }
}

message! {
    HistogramDataPoint<'a> {
        2 => start_time_unix_nano: Unsigned,
        3 => time_unix_nano: Unsigned,
        4 => count: Unsigned,
        5 => sum: Option<Double>,
        6 => bucket_counts: Numbers<u64>,
        7 => explicit_bounds: Numbers<f64>,
        9 => attributes: Repeated<'a>,
        10 => flags: Unsigned,
    }
}

message! {
    ExponentialHistogramDataPoint<'a> {
        1 => attributes: Repeated<'a>,
        2 => start_time_unix_nano: Unsigned,
        3 => time_unix_nano: Unsigned,
        4 => count: Unsigned,
        5 => sum: Option<Double>,
        6 => scale: Zigzag,
        7 => zero_count: Unsigned,
        8 => positive: Nested<'a>,
        9 => negative: Nested<'a>,
        10 => flags: Unsigned,
    }
}

message! {
    Buckets {
        1 => offset: Zigzag,
        2 => bucket_counts: Varints,
    }
}

message! {
    SummaryDataPoint<'a> {
        2 => start_time_unix_nano: Unsigned,
        3 => time_unix_nano: Unsigned,
        4 => count: Unsigned,
        5 => sum: Double,
        6 => quantile_values: Repeated<'a>,
        7 => attributes: Repeated<'a>,
        8 => flags: Unsigned,
    }
}

message! {
    ValueAtQuantile {
        1 => quantile: Double,
        2 => value: Double,
    }
}

message! {
    LogRecord<'a> {
        1 => time_unix_nano: Unsigned,
        2 => severity_number: Choice<'a>,
        3 => severity_text: Text<'a>,
        5 => body: Nested<'a>,
        6 => attributes: Repeated<'a>,
        9 => trace_id: Id<'a>,
        11 => observed_time_unix_nano: Unsigned,
        12 => event_name: Text<'a>,
    }
}

message! {
    Span<'a> {
        1 => trace_id: Id<'a>,
        5 => name: Text<'a>,
        6 => kind: Choice<'a>,
        7 => start_time_unix_nano: Unsigned,
        8 => end_time_unix_nano: Unsigned,
        9 => attributes: Repeated<'a>,
        15 => status: Nested<'a>,
    }
}

message! {
    Status<'a> {
        2 => message: Text<'a>,
        3 => code: Choice<'a>,
    }
}
