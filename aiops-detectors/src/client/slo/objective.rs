//! A service level objective, where its error ratio is read, and how fast its budget may burn.

use std::time::Duration;

use aiops_core::ServiceName;

use crate::client::prometheus::promql::{duration, quoted};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// Windows of one objective; the workbook has seven.
const MAX_LIMITS: usize = 16;
/// What stands for the length of the window in the queries of a host.
const WINDOW: &str = "$window";

/// A limit on the burn rate: the budget burns too fast where the long window and the short one are both at
/// `factor` or above. The long one tells that it matters, the short one that it still goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurnLimit {
    /// What the limit asks for: `page` or `ticket`.
    pub severity: &'static str,
    /// The window that tells that it matters.
    pub long: Duration,
    /// The window that tells that it still goes on.
    pub short: Duration,
    /// Burn rate from which the limit is reached; 1 uses up the budget exactly by the end of its period.
    pub factor: f64,
}

const fn limit(severity: &'static str, long: Duration, short: Duration, factor: f64) -> BurnLimit {
    BurnLimit { severity, long, short, factor }
}

impl BurnLimit {
    /// The limits of "The Site Reliability Workbook", chapter 5, table 5-8, over 30 days: 2 % of the budget in
    /// an hour and 5 % in six page, 10 % in three days is a ticket; and Sloth's fourth pair, a day at 3.
    pub const WORKBOOK: [Self; 4] = [
        limit("page", HOUR, MINUTE.saturating_mul(5), 14.4),
        limit("page", HOUR.saturating_mul(6), MINUTE.saturating_mul(30), 6.0),
        limit("ticket", DAY, HOUR.saturating_mul(2), 3.0),
        limit("ticket", DAY.saturating_mul(3), HOUR.saturating_mul(6), 1.0),
    ];

    /// Those for which Pyrra records burn rates, over 28 days.
    pub const PYRRA: [Self; 4] = [
        limit("page", HOUR, MINUTE.saturating_mul(5), 14.0),
        limit("page", HOUR.saturating_mul(6), MINUTE.saturating_mul(30), 7.0),
        limit("ticket", DAY, HOUR.saturating_mul(2), 2.0),
        limit("ticket", DAY.saturating_mul(4), HOUR.saturating_mul(6), 1.0),
    ];
}

/// Where the share of bad events in a window is read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sli {
    /// Rates of good and of all events, in PromQL with `$window` for the length:
    /// `sum(rate(http_requests_total{job="cart",code!~"5.."}[$window]))`.
    Good {
        /// Good events.
        good: String,
        /// All events.
        total: String,
    },
    /// The same of bad and of all events.
    Bad {
        /// Bad events.
        bad: String,
        /// All events.
        total: String,
    },
    /// The rules that Sloth writes: `slo:sli_error:ratio_rate5m{sloth_service="…",sloth_slo="…"}` and so on.
    Sloth {
        /// The label `sloth_service`.
        service: String,
        /// The label `sloth_slo`.
        slo: String,
    },
    /// The rules that Pyrra writes: `http_requests:burnrate5m{slo="…"}` and so on, each an error ratio in spite
    /// of its name.
    Pyrra {
        /// The metric without its `_total`: `http_requests`.
        metric: String,
        /// The label `slo`.
        slo: String,
    },
}

impl Sli {
    /// The error ratio in a window, of all its series the worst.
    fn error_ratio(&self, window: Duration) -> String {
        let window = duration(window);
        let of = |query: &str| query.replace(WINDOW, &window);
        match self {
            // Where nothing is good there is no series of it, and where nothing fails none of that.
            Self::Good { good, total } => {
                let (good, total) = (of(good), of(total));
                format!("max(1 - (({good}) or 0 * ({total})) / ({total}))")
            }
            Self::Bad { bad, total } => {
                let (bad, total) = (of(bad), of(total));
                format!("max((({bad}) or 0 * ({total})) / ({total}))")
            }
            Self::Sloth { service, slo } => {
                let (service, slo) = (quoted(service, '"'), quoted(slo, '"'));
                format!(r#"max(slo:sli_error:ratio_rate{window}{{sloth_service="{service}",sloth_slo="{slo}"}})"#)
            }
            Self::Pyrra { metric, slo } => {
                format!(r#"max({metric}:burnrate{window}{{slo="{}"}})"#, quoted(slo, '"'))
            }
        }
    }

    fn fault(&self) -> Option<String> {
        match self {
            Self::Good { good: part, total } | Self::Bad { bad: part, total } => {
                let without = [part, total].into_iter().find(|query| !query.contains(WINDOW))?;
                Some(format!("the query {without:?} has no {WINDOW}"))
            }
            Self::Pyrra { metric, .. } => {
                let odd = |character: char| !character.is_ascii_alphanumeric() && character != '_' && character != ':';
                (metric.is_empty() || metric.contains(odd)).then(|| format!("{metric:?} is no name of a metric"))
            }
            Self::Sloth { .. } => None,
        }
    }
}

/// An objective that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("objective {slo:?} of {service}: {fault}")]
#[non_exhaustive]
pub struct InvalidSlo {
    /// The service.
    pub service: ServiceName,
    /// The objective's name.
    pub slo: String,
    fault: String,
}

/// A service level objective: the share of events that must be good.
///
/// ```
/// use aiops_detectors::client::{Sli, Slo};
///
/// let requests = "sum(rate(http_requests_total{job=\"cart\"}[$window]))";
/// let failed = "sum(rate(http_requests_total{job=\"cart\",code=~\"5..\"}[$window]))";
/// let available = Slo::new("cart", "availability", 0.999, Sli::Bad { bad: failed.into(), total: requests.into() })?;
/// let fast = Slo::new("cart", "latency", 0.99, Sli::Sloth { service: "cart".into(), slo: "latency".into() })?;
/// // A share, no percentage:
/// assert!(Slo::new("cart", "latency", 99.0, Sli::Sloth { service: "cart".into(), slo: "latency".into() }).is_err());
/// # Ok::<(), aiops_detectors::client::InvalidSlo>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    pub(super) service: ServiceName,
    pub(super) name: String,
    pub(super) objective: f64,
    sli: Sli,
    pub(super) limits: Vec<BurnLimit>,
}

impl Slo {
    /// An objective of a service, as a share of good events between 0 and 1, with the limits of the workbook or,
    /// for Pyrra's rules, of Pyrra.
    ///
    /// # Errors
    /// An objective that is no share between 0 and 1 (both excluded), a query without `$window`, a metric
    /// that is none.
    pub fn new(
        service: impl Into<ServiceName>,
        name: impl Into<String>,
        objective: f64,
        sli: Sli,
    ) -> Result<Self, InvalidSlo> {
        let limits = if matches!(sli, Sli::Pyrra { .. }) { BurnLimit::PYRRA } else { BurnLimit::WORKBOOK };
        let slo = Self { service: service.into(), name: name.into(), objective, sli, limits: limits.to_vec() };
        if !(objective > 0.0 && objective < 1.0) {
            return Err(slo.invalid(format!("{objective} is no share between 0 and 1, such as 0.999")));
        }
        match slo.sli.fault() {
            Some(fault) => Err(slo.invalid(fault)),
            None => Ok(slo),
        }
    }

    /// Other limits, of at most 16.
    ///
    /// # Errors
    /// No limit, too many, a window of 0, a short window that is not shorter, a factor that is not above 0.
    pub fn limits(mut self, limits: impl IntoIterator<Item = BurnLimit>) -> Result<Self, InvalidSlo> {
        self.limits = limits.into_iter().take(MAX_LIMITS + 1).collect();
        let fits = |limit: &BurnLimit| {
            !limit.short.is_zero() && limit.short < limit.long && limit.factor > 0.0 && limit.factor.is_finite()
        };
        if self.limits.is_empty() || self.limits.len() > MAX_LIMITS {
            return Err(self.invalid(format!("between 1 and {MAX_LIMITS} limits are needed")));
        }
        match self.limits.iter().find(|limit| !fits(limit)) {
            Some(odd) => Err(self.invalid(format!("{odd:?} is no limit"))),
            None => Ok(self),
        }
    }

    /// The windows of all limits, shortest first.
    pub(super) fn windows(&self) -> Vec<Duration> {
        let mut windows: Vec<Duration> = self.limits.iter().flat_map(|limit| [limit.short, limit.long]).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }

    /// One expression for the error ratios of all windows, told apart by the label `window`.
    pub(super) fn expression(&self) -> String {
        let of = |window: Duration| {
            format!(r#"label_replace({}, "window", "{}", "", "")"#, self.sli.error_ratio(window), duration(window))
        };
        self.windows().into_iter().map(of).collect::<Vec<_>>().join(" or ")
    }

    fn invalid(&self, fault: String) -> InvalidSlo {
        InvalidSlo { service: self.service.clone(), slo: self.name.clone(), fault }
    }
}
