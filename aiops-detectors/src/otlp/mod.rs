//! Intake of OTLP, the protocol of OpenTelemetry: metrics, logs and traces that programs and collectors
//! push, in protobuf and in JSON.
//!
//! [`decode_points`], [`decode_logs`] and [`decode_spans`] read the body of a request to `/v1/metrics`,
//! `/v1/logs` and `/v1/traces`. One bad item refuses only itself and is counted by why; no bytes panic or
//! take more memory than the bounds of [`OtlpSettings`] allow. An [`OtlpIntake`] hands what they give to
//! sources that detectors read; [`router`] is its three endpoints over HTTP.
//!
//! Triage is of little use without `service.name` and `service.version`: both become labels of each item,
//! and items without them are counted.

mod decoded;
mod distribution;
mod field;
mod http;
mod intake;
mod logs;
mod message;
mod points;
mod raw;
mod response;
mod source;
mod spans;
mod stream;
mod text;
mod wire;

pub use self::decoded::{MalformedOtlp, OtlpBatch, OtlpEncoding, OtlpFault, OtlpSettings, OtlpTally};
pub use self::distribution::OtlpDistribution;
pub use self::http::{OtlpHttpLimits, router};
pub use self::intake::{OtlpIntake, OtlpRefusal};
pub use self::logs::{OtlpLogLine, OtlpSeverity, decode_logs};
pub use self::points::{OtlpPoint, OtlpTemporality, OtlpValue, decode_points};
pub use self::source::{OtlpQuantity, OtlpSource};
pub use self::spans::decode_spans;
