//! Log bursts: the field report's rule, exactly.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::{
    DataState, DetectionEvent, Detector, DetectorError, Evaluation, EventKind, Identity, ServiceName, Severity,
    Sighting, Signal, Tick, time,
};
use async_trait::async_trait;

use crate::source::LogSource;

/// Windows of history: 24 h of 5 min (field report, section 4).
const HISTORY: usize = 288;
/// Windows, the current one among them, before anything fires.
const MIN_WINDOWS: usize = 30;
/// Standard deviations above the mean.
const THRESHOLD: f64 = 4.0;
/// Lines in the window that must be exceeded: "matters more than the statistical threshold".
const FLOOR: f64 = 10.0;
/// The window.
const WINDOW: Duration = Duration::from_secs(300);
/// Services that are watched at the most.
const MAX_SERVICES: usize = 10_000;

/// Watches the error lines of services: z > 4 and more than 10 lines in 5 minutes, against the windows
/// before, at least 30 of 288.
///
/// A service that a successful count leaves out wrote 0 lines; a failed count is unknown and enters no
/// history. The deviation is that of the sample, and 1 where it is 0, as in the field report.
///
/// It evaluates once a window: each evaluation adds one window to the history.
#[derive(Debug)]
pub struct LogBurst<S> {
    source: S,
    severity: Severity,
    history: Mutex<BTreeMap<ServiceName, Windows>>,
}

impl<S: LogSource> LogBurst<S> {
    /// Watches every service that the source ever counted lines of.
    #[must_use]
    pub fn new(source: S) -> Self {
        Self { source, severity: Severity::Warning, history: Mutex::default() }
    }

    /// Watches these services from the start, so that a silent one has a history of zeros.
    #[must_use]
    pub fn services(self, services: impl IntoIterator<Item = impl Into<ServiceName>>) -> Self {
        self.history().extend(services.into_iter().map(|service| (service.into(), Windows::default())));
        self
    }

    /// The severity of its events; warning unless set.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    fn history(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Windows>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The windows of one service, and the rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Windows(VecDeque<f64>);

/// A window beside those before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    count: f64,
    mean: f64,
    deviation: f64,
}

impl Judged {
    fn z(&self) -> f64 {
        (self.count - self.mean) / self.deviation
    }

    pub(crate) fn fires(&self) -> bool {
        self.z() > THRESHOLD && self.count > FLOOR
    }
}

impl Windows {
    /// Judges the current window, then takes it into the history; none while that is too short.
    pub(crate) fn observe(&mut self, count: f64) -> Option<Judged> {
        let judged = (self.0.len() + 1 >= MIN_WINDOWS).then(|| {
            let (mean, deviation) = baseline(&self.0);
            Judged { count, mean, deviation }
        });
        self.0.push_back(count);
        // The current window counts among the 288.
        if self.0.len() >= HISTORY {
            self.0.pop_front();
        }
        judged
    }
}

/// Mean and sample deviation, the latter 1 where it is 0 or unknown.
fn baseline(windows: &VecDeque<f64>) -> (f64, f64) {
    let n = windows.len() as f64;
    let mean = windows.iter().sum::<f64>() / n;
    let variance = windows.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let deviation = variance.sqrt();
    (mean, if deviation > 0.0 { deviation } else { 1.0 })
}

#[async_trait]
impl<S: LogSource> Detector for LogBurst<S> {
    fn name(&self) -> &str {
        "LogBurst"
    }

    fn every(&self) -> Duration {
        WINDOW
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let counts = self.source.count(time::minus(tick.now, WINDOW), tick.now).await.map_err(|error| {
            let retryable = error.is_retryable();
            let mut wrapped = DetectorError::retryable(self.name(), error);
            wrapped.retryable = retryable;
            wrapped
        })?;
        let mut history = self.history();
        for count in &counts {
            if history.contains_key(&count.service) {
                continue;
            }
            if history.len() >= MAX_SERVICES {
                metrics::counter!("aiops_log_burst_series_refused_total", "series" => "service").increment(1);
                continue;
            }
            history.insert(count.service.clone(), Windows::default());
        }
        let by_service: BTreeMap<&ServiceName, u64> =
            counts.iter().map(|count| (&count.service, count.count)).collect();
        let sight = |(service, windows): (&ServiceName, &mut Windows)| {
            let current = by_service.get(service).copied().unwrap_or(0) as f64;
            let identity = Identity::new(EventKind::LogBurst, service.clone(), self.name());
            let n = windows.0.len();
            let Some(judged) = windows.observe(current) else {
                return Sighting::Unknown(identity, DataState::Warming { n: n as u64 + 1, of: MIN_WINDOWS as u64 });
            };
            if !judged.fires() {
                return Sighting::Normal(identity);
            }
            let signal = Signal::new(current)
                .expected(judged.mean)
                .band(0.0, judged.mean + THRESHOLD * judged.deviation)
                .score(judged.z())
                .threshold(THRESHOLD)
                .window(WINDOW)
                .unit("error lines")
                .n(n as u64)
                .with("ratio", judged.z() / THRESHOLD);
            let event =
                DetectionEvent::builder(EventKind::LogBurst, service.clone(), self.severity, tick.now, self.name());
            Sighting::Firing(Box::new(event.alertname(self.name()).signal(signal).build()))
        };
        Ok(history.iter_mut().map(sight).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use aiops_core::Sighting;
    use jiff::Timestamp;

    use super::*;
    use crate::source::{LogBatch, ServiceCount, SourceError};

    /// Gives the count that the test sets; `u64::MAX` fails, 0 leaves the service out.
    #[derive(Debug, Default)]
    struct Counts(AtomicU64);

    #[async_trait]
    impl LogSource for Arc<Counts> {
        fn name(&self) -> &str {
            "counts"
        }

        async fn read(&self, _: Timestamp, _: Timestamp) -> Result<LogBatch, SourceError> {
            Ok(LogBatch::default())
        }

        async fn count(&self, _: Timestamp, _: Timestamp) -> Result<Vec<ServiceCount>, SourceError> {
            match self.0.load(Ordering::Relaxed) {
                u64::MAX => Err(SourceError::retryable("counts", "connection refused")),
                0 => Ok(Vec::new()),
                count => Ok(vec![ServiceCount::new("cart", count)]),
            }
        }
    }

    /// `F` fires, `n` normal, `w` warming, `e` error.
    async fn run(counts: &[u64]) -> (String, Vec<f64>) {
        let source = Arc::new(Counts::default());
        let detector = LogBurst::new(Arc::clone(&source)).services(["cart"]);
        let (mut seen, mut scores) = (String::new(), Vec::new());
        for (window, count) in (1..).zip(counts) {
            source.0.store(*count, Ordering::Relaxed);
            let now = Timestamp::from_second(window * 300).unwrap();
            match detector.evaluate(Tick::new(now, now)).await {
                Err(_) => seen.push('e'),
                Ok(evaluation) => match &evaluation.sightings[0] {
                    Sighting::Firing(event) => {
                        seen.push('F');
                        scores.push(event.signal.score.unwrap());
                    }
                    Sighting::Normal(_) => seen.push('n'),
                    Sighting::Unknown(..) => seen.push('w'),
                },
            }
        }
        (seen, scores)
    }

    #[tokio::test]
    async fn decides_as_the_field_reports_python() {
        // The class of section 4, fed [1, 2, 3, 4] * 8 and then 12, gives this z.
        let mut counts = [1, 2, 3, 4].repeat(8);
        counts.push(12);
        let (seen, scores) = run(&counts).await;
        assert_eq!(seen, format!("{}nnnF", "w".repeat(29)));
        assert!((scores[0] - PYTHON_Z).abs() < 1e-9, "{}", scores[0]);
    }
    const PYTHON_Z: f64 = 8.363238009288029;

    #[tokio::test]
    async fn the_floor_matters_more_than_the_statistic() {
        let mut counts = vec![0; 40];
        counts.extend([2, 10, 11]);
        let (seen, _) = run(&counts).await;
        assert!(seen.ends_with("nnF"), "{seen}: sparse logs going from 0 to 2 are no burst");
    }

    #[tokio::test]
    async fn a_failed_count_is_no_window_and_an_empty_one_is_zero() {
        let mut counts = vec![0; 29];
        counts.extend([u64::MAX; 5]);
        counts.push(50);
        let (seen, _) = run(&counts).await;
        assert_eq!(seen, format!("{}eeeeeF", "w".repeat(29)));
    }
}
