//! The adaptive log detector over a log source, minute by minute, and what core makes of its sightings.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use aiops_core::{CorrelationDecision, Correlator, CorrelatorConfig, DataState, Detector, Severity, Sighting, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{AdaptiveLogBurst, LogBatch, LogSource, ServiceCount, SourceError};
use async_trait::async_trait;

/// Start of a window, 2001-09-09T01:50:00Z.
const BASE: i64 = 1_000_000_200;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(BASE + 60 * minute).unwrap()
}

/// One line of `cart`, by when it was written and when it can be read.
type Line = (i64, i64);

/// Lines by the second, each from when it has arrived; fails when told to.
#[derive(Debug, Default, Clone)]
struct Logs(Arc<Mutex<(Vec<Line>, i64, bool)>>);

impl Logs {
    /// `count` lines in a minute, which arrive at once.
    fn write(&self, minute: i64, count: i64) {
        self.write_late(minute, count, 0);
    }

    fn write_late(&self, minute: i64, count: i64, seconds: i64) {
        let second = |line: i64| BASE + 60 * minute + line % 60;
        self.0.lock().unwrap().0.extend((0..count).map(|line| (second(line), second(line) + seconds)));
    }

    fn now(&self, now: Timestamp, fails: bool) {
        let mut logs = self.0.lock().unwrap();
        (logs.1, logs.2) = (now.as_second(), fails);
    }
}

#[async_trait]
impl LogSource for Logs {
    fn name(&self) -> &str {
        "logs"
    }

    async fn read(&self, _: Timestamp, _: Timestamp) -> Result<LogBatch, SourceError> {
        Ok(LogBatch::default())
    }

    async fn count(&self, from: Timestamp, to: Timestamp) -> Result<Vec<ServiceCount>, SourceError> {
        let logs = self.0.lock().unwrap();
        if logs.2 {
            return Err(SourceError::retryable("logs", "connection refused"));
        }
        let (from, to) = (from.as_second(), to.as_second());
        let count = logs.0.iter().filter(|(at, seen)| (from..to).contains(at) && *seen <= logs.1).count();
        Ok(if count == 0 { Vec::new() } else { vec![ServiceCount::new("cart", count as u64)] })
    }
}

struct Host {
    logs: Logs,
    detector: AdaptiveLogBurst<Logs>,
    correlator: Correlator,
    /// One entry for each announcement: minute, fingerprint, severity.
    announced: Vec<(i64, String, Severity)>,
    resolved: Vec<i64>,
    last: Option<Sighting>,
}

impl Host {
    fn new() -> Self {
        let logs = Logs::default();
        Self {
            detector: AdaptiveLogBurst::new(logs.clone()).services(["cart"]),
            correlator: Correlator::new(CorrelatorConfig::default()).unwrap(),
            announced: Vec::new(),
            resolved: Vec::new(),
            last: None,
            logs,
        }
    }

    async fn run(&mut self, minutes: std::ops::Range<i64>, fails: bool) {
        for minute in minutes {
            let now = at(minute);
            self.logs.now(now, fails);
            let Ok(evaluation) = self.detector.evaluate(Tick::new(now, at(minute + 1))).await else { continue };
            self.last = evaluation.sightings.into_iter().next();
            let mut decisions = self.correlator.advance(now);
            decisions.extend(
                self.last.clone().and_then(|sighting| self.correlator.sight(sighting, self.detector.every(), now)),
            );
            for correlated in decisions {
                match (correlated.decision, correlated.event) {
                    (CorrelationDecision::Announced, Some(event)) => {
                        self.announced.push((minute, event.fingerprint.to_string(), event.severity));
                    }
                    (CorrelationDecision::Resolved, _) => self.resolved.push(minute),
                    _ => {}
                }
            }
        }
    }
}

#[tokio::test]
async fn a_burst_is_announced_once_under_the_fingerprint_of_its_start() {
    let mut host = Host::new();
    (0..200).for_each(|minute| host.logs.write(minute, if (101..116).contains(&minute) { 15 } else { 2 }));
    host.run(60..200, false).await;
    let print = aiops_core::fingerprint("log_burst", "cart", "AdaptiveLogBurst", at(98));
    assert_eq!(host.announced.len(), 1, "{:?}", host.announced);
    // Minute 102 is over at 103 and counted at 104: the five minutes from 98 on.
    assert_eq!(host.announced[0], (104, print.to_string(), Severity::Warning));
    assert_eq!(host.resolved.len(), 1, "{:?}", host.resolved);
}

#[tokio::test]
async fn a_straddled_burst_of_six_and_six_is_seen() {
    let mut host = Host::new();
    host.logs.write(139, 6);
    host.logs.write(140, 6);
    host.run(60..200, false).await;
    assert_eq!((host.announced.len(), host.announced[0].0), (1, 142), "{:?}", host.announced);
}

#[tokio::test]
async fn late_lines_make_one_event_of_their_own_window() {
    let mut host = Host::new();
    // 7 of 14 lines of the window of minutes 120 to 124 come two minutes late, after the grace.
    (120..125).for_each(|minute| host.logs.write(minute, 1));
    host.logs.write_late(121, 9, 7 * 60);
    host.run(60..200, false).await;
    let print = aiops_core::fingerprint("log_burst", "cart", "AdaptiveLogBurst", at(120)).to_string();
    assert_eq!(host.announced, [(131, print, Severity::Critical)], "counted again a window after its end and grace");
}

#[tokio::test]
async fn what_an_outage_hid_is_unknown_and_its_backlog_no_burst() {
    let mut host = Host::new();
    (0..300).for_each(|minute| host.logs.write(minute, 4));
    host.run(60..150, false).await;
    host.run(150..170, true).await;
    // The collector sends what it held back with the time of its arrival.
    host.logs.write(169, 80);
    host.run(170..176, false).await;
    let Some(Sighting::Unknown(_, DataState::Stale)) = host.last else { panic!("{:?}", host.last) };
    host.run(176..300, false).await;
    assert!(host.announced.is_empty(), "{:?}", host.announced);
    assert!(matches!(host.last, Some(Sighting::Normal(_))), "{:?}", host.last);
}

#[tokio::test]
async fn a_level_shift_is_one_burst_of_an_hour_and_then_normal() {
    let mut host = Host::new();
    (0..600).for_each(|minute| host.logs.write(minute, if minute < 200 { 1 } else { 8 }));
    host.run(60..600, false).await;
    assert_eq!(host.announced.len(), 1, "{:?}", host.announced);
    assert_eq!(host.resolved.len(), 1, "{:?}", host.resolved);
    assert!((262..272).contains(&host.resolved[0]), "{:?}", host.resolved);
}

#[tokio::test]
async fn a_restart_is_not_blind() {
    let mut host = Host::new();
    (0..150).for_each(|minute| host.logs.write(minute, 2));
    host.run(60..150, false).await;
    let saved = host.detector.save();
    let logs = host.logs.clone();
    host.detector = AdaptiveLogBurst::new(logs.clone());
    host.detector.restore(&saved).unwrap();
    // It was down for twelve minutes, in which a burst began.
    (150..200).for_each(|minute| logs.write(minute, 30));
    host.run(162..170, false).await;
    assert_eq!((host.announced.len(), host.announced[0].0), (1, 162), "{:?}", host.announced);
    assert!(host.detector.restore(b"nonsense").is_err());
    assert_eq!(host.detector.tracked(), 1, "it stays as it was");
}

#[tokio::test]
async fn a_burst_far_above_the_baseline_is_critical() {
    let mut host = Host::new();
    (0..150).for_each(|minute| host.logs.write(minute, if minute < 140 { 1 } else { 500 }));
    host.run(60..150, false).await;
    assert_eq!(host.announced[0].2, Severity::Critical);
}
