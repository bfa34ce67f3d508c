//! Builds a [`SeriesDetector`] and checks its settings.

use std::sync::Mutex;
use std::time::Duration;

use aiops_core::{EventKind, ServiceName, Severity, time};

use super::{Combine, Direction, Merge, MissingSamples, SeriesDetector, SeriesRule, Service, State};
use crate::scorer::Scorer;
use crate::source::SampleSource;

/// History that is read at the first evaluation: a day and the hour before it, so that a seasonal
/// scorer is warm at once.
const DEFAULT_LOOKBACK: Duration = Duration::from_secs(25 * 3_600);
/// Series under one detector unless the host says otherwise.
const DEFAULT_MAX_SERIES: usize = 10_000;
/// Evaluation intervals without a sample after which a series is stale.
const STALE_INTERVALS: u32 = 5;

/// Settings that cannot work: every fault, each with its setter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("series detector {alertname:?}: {}", .faults.join("; "))]
pub struct InvalidSeriesDetector {
    alertname: String,
    faults: Vec<String>,
}

/// Builds a [`SeriesDetector`].
#[derive(Debug)]
#[must_use]
pub struct SeriesDetectorBuilder<S> {
    detector: SeriesDetector<S>,
    service: Option<Service>,
    stale_after: Option<Duration>,
}

impl<S: SampleSource> SeriesDetectorBuilder<S> {
    pub(super) fn new(alertname: String, source: S, prototype: Box<dyn Scorer>) -> Self {
        let rule = SeriesRule {
            threshold: prototype.default_threshold(),
            for_duration: Duration::ZERO,
            direction: Direction::default(),
            floor: 0.0,
            min_change: 0.0,
            min_relative_change: 0.0,
            hysteresis: 0.0,
            severity: Severity::Warning,
            critical_at: None,
            identity_labels: Vec::new(),
        };
        let detector = SeriesDetector {
            alertname,
            kind: EventKind::MetricAnomaly,
            source,
            prototype,
            rule,
            service: Service::Fixed(ServiceName::default()),
            every: Duration::from_secs(30),
            lookback: DEFAULT_LOOKBACK,
            delay: Duration::ZERO,
            stale_after: Duration::ZERO,
            missing: MissingSamples::default(),
            max_series: DEFAULT_MAX_SERIES,
            merge: None,
            idle_after: Duration::from_secs(7 * 86_400),
            unit: None,
            window: None,
            state: Mutex::new(State::default()),
        };
        Self { detector, service: None, stale_after: None }
    }

    /// What kind of event it emits; a metric anomaly unless set.
    pub fn kind(mut self, kind: EventKind) -> Self {
        self.detector.kind = kind;
        self
    }

    /// All series are of this service.
    pub fn service(mut self, service: impl Into<ServiceName>) -> Self {
        self.service = Some(Service::Fixed(service.into()));
        self
    }

    /// The label that names the service of a series.
    pub fn service_label(mut self, label: impl Into<String>) -> Self {
        self.service = Some(Service::Label(label.into()));
        self
    }

    /// Labels whose values make series separate identities; set them in the host's scheme too.
    pub fn identity_labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.detector.rule.identity_labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Series that differ only in these labels are one, whose labels lack them: the pods of a service, which each
    /// deploy names anew.
    ///
    /// Their samples are combined step by step, where a step is the evaluation interval ([`every`](Self::every)) and
    /// lies on multiples of it: of each series its newest sample in the step, and at the time of the newest of all.
    /// A step is judged once it is over; give an [`evaluation_delay`](Self::evaluation_delay) where instances send
    /// late, since what comes after that is refused as out of order. Bounds count the series that are left. What
    /// Prometheus can do itself (`max without (pod) (…)`) is better left to it.
    ///
    /// ```
    /// # use aiops_detectors::{Combine, Mad, MemorySource, SeriesDetector};
    /// let detector = SeriesDetector::builder("ErrorRate", MemorySource::default(), Mad::default())
    ///     .service_label("service.name")
    ///     .without_labels(["service.instance.id", "service.version"], Combine::Sum)
    ///     .build()?;
    /// # Ok::<(), aiops_detectors::InvalidSeriesDetector>(())
    /// ```
    pub fn without_labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>, combine: Combine) -> Self {
        self.detector.merge = Some(Merge { labels: labels.into_iter().map(Into::into).collect(), combine });
        self
    }

    /// How often it is evaluated; 30 s unless set.
    pub fn every(mut self, every: Duration) -> Self {
        self.detector.every = every;
        self
    }

    /// The statistic that must be exceeded; the scorer's default unless set.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.detector.rule.threshold = threshold;
        self
    }

    /// For how long the conditions must hold.
    pub fn for_duration(mut self, duration: Duration) -> Self {
        self.detector.rule.for_duration = duration;
        self
    }

    /// Which side is an anomaly; above unless set.
    pub fn direction(mut self, direction: Direction) -> Self {
        self.detector.rule.direction = direction;
        self
    }

    /// Absolute minimum of the value (of what was expected, for a drop).
    pub fn floor(mut self, floor: f64) -> Self {
        self.detector.rule.floor = floor;
        self
    }

    /// Smallest distance from the expectation, in the value's unit.
    pub fn min_change(mut self, change: f64) -> Self {
        self.detector.rule.min_change = change;
        self
    }

    /// Smallest distance from the expectation, as a share of it.
    pub fn min_relative_change(mut self, share: f64) -> Self {
        self.detector.rule.min_relative_change = share;
        self
    }

    /// A firing series goes on down to `threshold * (1 - hysteresis)`; 0 to below 1.
    pub fn hysteresis(mut self, hysteresis: f64) -> Self {
        self.detector.rule.hysteresis = hysteresis;
        self
    }

    /// The severity of its events; warning unless set.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.detector.rule.severity = severity;
        self
    }

    /// Score ÷ threshold from which an event is critical; never unless set.
    pub fn critical_at(mut self, ratio: f64) -> Self {
        self.detector.rule.critical_at = Some(ratio);
        self
    }

    /// History that is read at the first evaluation.
    pub fn lookback(mut self, lookback: Duration) -> Self {
        self.detector.lookback = lookback;
        self
    }

    /// Evaluates this far behind now, for sources whose samples come late.
    pub fn evaluation_delay(mut self, delay: Duration) -> Self {
        self.detector.delay = delay;
        self
    }

    /// Without a sample for so long a series is stale; five evaluation intervals unless set.
    pub fn stale_after(mut self, after: Duration) -> Self {
        self.stale_after = Some(after);
        self
    }

    /// What is done about a known series without a sample.
    pub fn missing(mut self, missing: MissingSamples) -> Self {
        self.detector.missing = missing;
        self
    }

    /// Series at the most; further ones are refused and counted.
    pub fn max_series(mut self, max: usize) -> Self {
        self.detector.max_series = max;
        self
    }

    /// A series without a sample for so long is forgotten; a week unless set.
    pub fn idle_after(mut self, after: Duration) -> Self {
        self.detector.idle_after = after;
        self
    }

    /// The unit of the values, for people.
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.detector.unit = Some(unit.into());
        self
    }

    /// The time that the baseline covers, for people; what the scorer says unless set.
    pub fn window(mut self, window: Duration) -> Self {
        self.detector.window = Some(window);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// All faults at once.
    pub fn build(self) -> Result<SeriesDetector<S>, InvalidSeriesDetector> {
        let mut detector = self.detector;
        let rule = &detector.rule;
        let mut faults = Vec::new();
        if detector.alertname.is_empty() {
            faults.push("builder: the alertname is empty".to_owned());
        }
        match self.service {
            Some(service) => detector.service = service,
            None => faults.push("service, service_label: call one of them".to_owned()),
        }
        if detector.every.is_zero() {
            faults.push("every: 0s evaluates without end".to_owned());
        }
        if !(rule.threshold.is_finite() && rule.threshold > 0.0) {
            faults.push(format!("threshold: {} is not a positive number", rule.threshold));
        }
        if !(0.0..1.0).contains(&rule.hysteresis) {
            faults.push(format!("hysteresis: {} is not between 0 and 1", rule.hysteresis));
        }
        for (name, value) in
            [("floor", rule.floor), ("min_change", rule.min_change), ("min_relative_change", rule.min_relative_change)]
        {
            if !(value.is_finite() && value >= 0.0) {
                faults.push(format!("{name}: {value} is not a number of 0 or more"));
            }
        }
        if rule.critical_at.is_some_and(|ratio| !(ratio.is_finite() && ratio >= 1.0)) {
            faults.push("critical_at: below 1 nothing would be a warning".to_owned());
        }
        for (name, value, why) in [
            ("stale_after", self.stale_after.unwrap_or(detector.every), "every series would be stale"),
            ("idle_after", detector.idle_after, "every series would be forgotten"),
        ] {
            if value < detector.every {
                faults.push(format!("{name}: {} is shorter than the interval, {why}", time::human(value)));
            }
        }
        let needed = |name: &&String| {
            let service = matches!(&detector.service, Service::Label(label) if label == *name);
            service || rule.identity_labels.contains(name)
        };
        if let Some(name) = detector.merge.iter().flat_map(|merge| &merge.labels).find(needed) {
            faults.push(format!("without_labels: {name} says which service or identity a series is of"));
        }
        if detector.max_series == 0 {
            faults.push("max_series: 0 watches nothing".to_owned());
        }
        detector.stale_after = self.stale_after.unwrap_or_else(|| detector.every.saturating_mul(STALE_INTERVALS));
        if faults.is_empty() {
            Ok(detector)
        } else {
            Err(InvalidSeriesDetector { alertname: detector.alertname, faults })
        }
    }
}
