//! Deploys told by a metric: 1 while one runs, 0 otherwise.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aiops_core::{DeployLog, Detector, DetectorError, Evaluation, Rollout, RolloutPhase, ServiceName, Tick, time};
use async_trait::async_trait;
use jiff::Timestamp;

use crate::source::{SampleSource, SourceError};

/// What is read at the start: a deploy that runs then began within it, or is known from its first sample on.
const LOOKBACK: Duration = Duration::from_secs(3_600);
/// A running deploy whose metric is gone for so long is forgotten: its job is dead.
const SILENT: Duration = Duration::from_secs(3_600);
/// Running deploys at the most.
const MAX_RUNNING: usize = 10_000;

/// Feeds a [`DeployLog`] from a metric that a deploy job publishes (`deploy_in_progress{service="…"}`: above 0 while
/// it runs, 0 before and after). It stands among a pipeline's detectors, so that it is evaluated with them, and sees
/// nothing itself.
///
/// Several series of one service are one deploy, which runs while any of them says so. Where the metric stops
/// while it says 1, nothing is known: the deploy stays without an end, and holds detections for as long as its
/// [`DeployWindow`](aiops_core::DeployWindow) says at the most.
///
/// ```
/// use aiops_core::DeployLog;
/// use aiops_detectors::{DeployMetric, MemorySource};
///
/// let log = DeployLog::default();
/// // With the feature `client`: `prometheus.range("deploy_in_progress")`.
/// let source = MemorySource::default();
/// let deploys = DeployMetric::new(source, log.clone()).service_label("service").version_label("version");
/// // Pipeline::builder().detector(deploys).suppress(…, log)
/// ```
#[derive(Debug)]
pub struct DeployMetric<S> {
    source: S,
    log: DeployLog,
    service_label: String,
    version_label: String,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    read_to: Option<Timestamp>,
    running: BTreeMap<ServiceName, Running>,
}

#[derive(Debug, Clone)]
struct Running {
    deploy_id: String,
    version: Option<String>,
    /// The newest sample that said so.
    heard: Timestamp,
}

impl<S: SampleSource> DeployMetric<S> {
    /// Feeds `log` from a source of the metric, by the labels `service` and `version`.
    #[must_use]
    pub fn new(source: S, log: DeployLog) -> Self {
        let (service_label, version_label) = ("service".to_owned(), "version".to_owned());
        Self { source, log, service_label, version_label, every: Duration::from_secs(30), state: Mutex::default() }
    }

    /// The label that names the service; `service` unless set.
    #[must_use]
    pub fn service_label(mut self, label: impl Into<String>) -> Self {
        self.service_label = label.into();
        self
    }

    /// The label that names the version, where there is one; `version` unless set.
    #[must_use]
    pub fn version_label(mut self, label: impl Into<String>) -> Self {
        self.version_label = label.into();
        self
    }

    /// How often it is read; 30 s unless set.
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    async fn follow(&self, now: Timestamp) -> Result<(), SourceError> {
        let read_to = self.state.lock().unwrap_or_else(PoisonError::into_inner).read_to;
        let from = read_to.unwrap_or_else(|| time::minus(now, LOOKBACK));
        if from >= now {
            return Ok(());
        }
        // Each service's samples by time: above 0 in any series.
        let mut said: BTreeMap<ServiceName, BTreeMap<Timestamp, (bool, Option<String>)>> = BTreeMap::new();
        for series in self.source.read(from, now).await?.series {
            let service: ServiceName =
                series.labels.get(&self.service_label).map(String::as_str).unwrap_or_default().into();
            let version = series.labels.get(&self.version_label).filter(|version| !version.is_empty());
            let steps = said.entry(service).or_default();
            for sample in series.samples.iter().filter(|sample| sample.value.is_finite()) {
                let step = steps.entry(sample.at).or_default();
                if sample.value > 0.0 {
                    step.0 = true;
                    step.1 = step.1.take().or_else(|| version.cloned());
                }
            }
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.read_to = Some(now);
        for (service, steps) in said {
            for (at, (runs, version)) in steps {
                self.step(&mut state.running, &service, at, runs, version);
            }
        }
        let silent_from = time::minus(now, SILENT);
        state.running.retain(|_, running| running.heard >= silent_from);
        Ok(())
    }

    fn step(
        &self,
        running: &mut BTreeMap<ServiceName, Running>,
        service: &ServiceName,
        at: Timestamp,
        runs: bool,
        version: Option<String>,
    ) {
        let tell = |deploy: &Running, phase| {
            let rollout = Rollout::new(service.clone(), &deploy.deploy_id, phase, at);
            self.log.record(match &deploy.version {
                Some(version) => rollout.version(version),
                None => rollout,
            });
        };
        let full = running.len() >= MAX_RUNNING;
        match (running.get_mut(service), runs) {
            (Some(deploy), true) => deploy.heard = at,
            (None, true) if full => metrics::counter!("aiops_deploy_metric_refused_total").increment(1),
            (None, true) => {
                // The same on every replica that reads the same samples.
                let deploy_id = format!("{}@{}", self.source.name(), at.as_second());
                let deploy = Running { deploy_id, version, heard: at };
                tell(&deploy, RolloutPhase::Started);
                running.insert(service.clone(), deploy);
            }
            (Some(_), false) => {
                if let Some(deploy) = running.remove(service) {
                    tell(&deploy, RolloutPhase::Completed);
                }
            }
            (None, false) => {}
        }
    }
}

#[async_trait]
impl<S: SampleSource> Detector for DeployMetric<S> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn every(&self) -> Duration {
        self.every
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        match self.follow(tick.now).await {
            Ok(()) => Ok(Evaluation::default()),
            Err(error) if error.is_retryable() => Err(DetectorError::retryable(self.name(), error)),
            Err(error) => Err(DetectorError::permanent(self.name(), error)),
        }
    }
}
