//! Clients of the systems that telemetry is read from and pages go to: one for each system, over one HTTP layer.
//!
//! The host passes in its own [`reqwest::Client`], so that connections, proxies and TLS are its own:
//! the feature `client` builds reqwest without a TLS backend. An `https` URL needs one, which the
//! host switches on by a feature of its own dependency on reqwest.

mod alertmanager;
mod endpoint;
mod error;
mod loki;
mod prometheus;
mod slo;
mod tempo;

/// Re-exported, since the host passes its client in.
pub use reqwest;

pub use self::alertmanager::{
    Alertmanager, AlertmanagerAlert, AlertmanagerAlerts, AlertmanagerNotifier, AlertmanagerNotifierBuilder,
    AlertmanagerState, KeepAlertsOpen,
};
pub use self::endpoint::{Endpoint, InvalidEndpoint};
pub use self::error::{ClientError, ClientErrorKind};
pub use self::loki::{LogOrder, LogStream, Loki, LokiSource};
pub use self::prometheus::{
    InvalidTemplate, PartialAnswers, Prometheus, PrometheusAlert, PrometheusAnswer, PrometheusProbe, PrometheusSource,
    PrometheusValue,
};
pub use self::slo::{BurnLimit, InvalidSlo, Sli, Slo, SloBurnRate};
pub use self::tempo::{FoundSpan, FoundTrace, Tempo, TempoAnswer, TempoSource};
