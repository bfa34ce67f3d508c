//! Bursts of error lines through the store and the detector, minute by minute: the rows of the case table,
//! sliding windows, late lines, gaps, and single groups that their service's total hides.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use aiops_core::{DataState, DetectionEvent, Detector, Identity, Severity, Sighting, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{ErrorLogBurst, ErrorLogs, LogLine, fingerprint_line};

/// Start of a window, 2001-09-09T01:50:00Z.
const BASE: i64 = 1_000_000_200;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(BASE + 60 * minute).unwrap()
}

struct Host {
    logs: ErrorLogs,
    detector: ErrorLogBurst,
    /// Of each alertname: start of the burst and value, in minutes, as they were first seen.
    seen: BTreeMap<String, Vec<(i64, u64)>>,
    last: BTreeMap<String, Sighting>,
    failed: Vec<i64>,
}

fn name(sighting: &Sighting) -> String {
    let identity = |identity: &Identity| identity.alertname.clone();
    match sighting {
        Sighting::Firing(event) => event.alertname().to_owned(),
        Sighting::Normal(of) | Sighting::Unknown(of, _) => identity(of),
    }
}

impl Host {
    fn new() -> Self {
        let logs = ErrorLogs::new(at(-1));
        let detector = ErrorLogBurst::new(logs.clone());
        Self { logs, detector, seen: BTreeMap::new(), last: BTreeMap::new(), failed: Vec::new() }
    }

    fn write(&self, minute: i64, text: &str, count: u64) {
        self.write_late(minute, text, count, minute);
    }

    fn write_late(&self, minute: i64, text: &str, count: u64, arrives: i64) {
        (0..count).for_each(|_| self.logs.push(&LogLine::new(at(minute), "cart", text), at(arrives)));
    }

    /// The evaluation that counts a minute: two minutes after its start, one of them grace.
    async fn count(&mut self, minute: i64) {
        let now = at(minute + 2);
        let Ok(evaluation) = self.detector.evaluate(Tick::new(now, at(minute + 3))).await else {
            self.failed.push(minute);
            return;
        };
        self.last = evaluation.sightings.iter().map(|sighting| (name(sighting), sighting.clone())).collect();
        for (name, sighting) in &self.last {
            if let Sighting::Firing(event) = sighting {
                let start = (event.detected_at.as_second() - BASE) / 60;
                let burst = (start, event.signal.value.unwrap() as u64);
                let seen = self.seen.entry(name.clone()).or_default();
                if !seen.contains(&burst) {
                    seen.push(burst);
                }
            }
        }
    }

    fn event(&self, name: &str) -> Option<&DetectionEvent> {
        match &self.last[name] {
            Sighting::Firing(event) => Some(event),
            _ => None,
        }
    }
}

/// Windows of one kind of line, all of a window's in its third minute: the bursts of the service, as the
/// window of their start and a value.
async fn windows(counts: &[u64]) -> (Vec<(i64, u64)>, Host) {
    let mut host = Host::new();
    for (window, count) in (0..).zip(counts) {
        for minute in 5 * window..5 * window + 5 {
            if minute % 5 == 2 {
                host.write(minute, "no connection", *count);
            }
            host.count(minute).await;
        }
    }
    let seen = host.seen.get("ErrorLogBurst").cloned().unwrap_or_default();
    // A sliding window that holds the third minute may begin two minutes before the window.
    let seen = seen.into_iter().map(|(start, value)| ((start + 2).div_euclid(5), value)).collect();
    assert!(host.failed.is_empty(), "{:?}", host.failed);
    (seen, host)
}

/// `n` times `base`, then `last`.
async fn after(n: usize, base: u64, last: u64) -> Vec<(i64, u64)> {
    let mut counts = vec![base; n];
    counts.push(last);
    windows(&counts).await.0
}

#[tokio::test]
async fn zero_history_is_learning() {
    let (seen, host) = windows(&[50]).await;
    assert!(seen.is_empty());
    let Sighting::Unknown(_, DataState::Warming { n: 1, of: 6 }) = host.last["ErrorLogBurst"] else {
        panic!("{:?}", host.last)
    };
}

#[tokio::test]
async fn short_history_and_all_zero_baselines() {
    assert_eq!(after(10, 0, 40).await, [(10, 40)]);
    assert_eq!(after(5, 0, 40).await, []);
    assert_eq!(after(30, 0, 11).await, [(30, 11)]);
    assert_eq!(after(30, 0, 10).await, []);
}

#[tokio::test]
async fn flat_baselines() {
    for (base, count, fires) in [(100, 105, false), (100, 160, false), (100, 200, true), (2, 11, false), (2, 12, true)]
    {
        let wanted: &[(i64, u64)] = if fires { &[(30, count)] } else { &[] };
        assert_eq!(after(30, base, count).await, wanted, "{base} then {count}");
    }
}

#[tokio::test]
async fn a_burst_does_not_poison_the_history() {
    let mut counts = [8, 12].repeat(143);
    counts.extend([8, 1_000, 10, 200]);
    assert_eq!(windows(&counts).await.0, [(287, 1_000), (287, 200)], "one burst, which 289 is part of");
}

#[tokio::test]
async fn a_night_burst_in_a_daily_cycle_fires_and_the_steps_do_not() {
    let mut counts = [vec![5; 144], vec![200; 144]].concat().repeat(3);
    counts.truncate(2 * 288 + 200);
    counts[2 * 288 + 36] = 150;
    assert_eq!(windows(&counts).await.0, [(144, 200), (2 * 288 + 36, 150)]);
}

#[tokio::test]
async fn ramps_fire_once_they_are_twice_the_baseline() {
    let ramp = (1..=12).map(|step| (10.0 * 1.1_f64.powi(step)).round() as u64);
    let counts: Vec<u64> = [10].repeat(288).into_iter().chain(ramp).collect();
    assert_eq!(windows(&counts).await.0[0], (298, 29));
    let counts: Vec<u64> = [10].repeat(288).into_iter().chain(11..40).collect();
    assert_eq!(windows(&counts).await.0[0], (306, 29));
}

#[tokio::test]
async fn a_level_shift_is_one_burst_of_an_hour() {
    let (seen, host) = windows(&[vec![5; 60], vec![50; 30]].concat()).await;
    assert_eq!(seen, [(60, 50)]);
    assert!(matches!(host.last["ErrorLogBurst"], Sighting::Normal(_)), "{:?}", host.last);
}

#[tokio::test]
async fn a_template_that_the_total_hides_fires_for_itself() {
    let mut host = Host::new();
    let group = format!("ErrorLogBurst/{}", fingerprint_line(b"payment 1 declined"));
    for window in 0..50_i64 {
        for minute in 5 * window..5 * window + 5 {
            if minute % 5 == 2 {
                host.write(minute, "cache miss", (1_000 + window * 37 % 65 - 32) as u64);
                host.write(
                    minute,
                    &format!("payment {minute} declined"),
                    if (40..44).contains(&window) { 100 } else { 0 },
                );
            }
            host.count(minute).await;
            if minute == 5 * 42 {
                let event = host.event(&group).unwrap();
                assert_eq!((event.service.as_str(), event.severity), ("cart", Severity::Critical));
                let groups = event.signal.extra["groups"].as_array().unwrap();
                let told: Vec<_> = groups.iter().map(|group| (&group["template"], group["count"].as_u64())).collect();
                assert_eq!(told, [(&"cache miss".into(), Some(990)), (&"payment * declined".into(), Some(100))]);
            }
        }
    }
    assert_eq!(host.seen.keys().collect::<Vec<_>>(), [&group], "the service's total is silent");
    assert!(host.seen[&group].iter().all(|(start, value)| *start == 198 && *value == 100), "{:?}", host.seen);
    assert!(matches!(host.last[&group], Sighting::Normal(_)), "its end is told: {:?}", host.last);
    assert_eq!(host.detector.tracked(), (1, 2));
}

#[tokio::test]
async fn a_burst_of_the_service_tells_its_groups_and_is_one_event() {
    let mut host = Host::new();
    for minute in 0..120 {
        for word in ["alpha", "beta", "gamma"] {
            host.write(minute, &format!("{word} is gone"), if minute == 100 { 40 } else { 0 });
        }
        host.count(minute).await;
    }
    assert_eq!(host.seen.keys().collect::<Vec<_>>(), ["ErrorLogBurst"]);
    assert_eq!(host.seen["ErrorLogBurst"], [(96, 120)]);
}

#[tokio::test]
async fn a_straddled_burst_of_six_and_six_is_seen() {
    let mut host = Host::new();
    for minute in 0..200 {
        host.write(minute, "failed", if minute == 139 || minute == 140 { 6 } else { 0 });
        host.count(minute).await;
    }
    assert_eq!(host.seen["ErrorLogBurst"], [(136, 12)]);
}

#[tokio::test]
async fn late_lines_judge_their_own_window_once() {
    let mut host = Host::new();
    for minute in 0..160 {
        host.write(minute, "failed", u64::from((120..125).contains(&minute)));
        if minute == 127 {
            host.write_late(121, "failed", 9, minute);
        }
        if minute == 140 {
            // Its turn is over.
            host.write_late(121, "failed", 50, minute);
        }
        host.count(minute).await;
    }
    assert_eq!(host.seen["ErrorLogBurst"], [(120, 14)]);
}

#[tokio::test]
async fn missed_minutes_are_unknown_and_their_backlog_is_no_burst() {
    let mut host = Host::new();
    for minute in 0..240 {
        if (100..120).contains(&minute) {
            host.logs.missed(at(minute), at(minute + 1));
        } else {
            // What was held back comes with the time of its arrival.
            host.write(minute, "failed", if minute == 120 { 84 } else { 4 });
        }
        host.count(minute).await;
        if minute == 124 {
            assert!(matches!(host.last["ErrorLogBurst"], Sighting::Unknown(_, DataState::Stale)), "{:?}", host.last);
        }
    }
    assert!(host.seen.is_empty(), "{:?}", host.seen);
    assert_eq!((host.failed[0], *host.failed.last().unwrap()), (100, 119), "{:?}", host.failed);
    assert!(matches!(host.last["ErrorLogBurst"], Sighting::Normal(_)));
}

#[tokio::test]
async fn groups_that_join_in_a_burst_stay_one_burst_of_one_name() {
    let mut host = Host::new();
    let mut names = std::collections::BTreeSet::new();
    for minute in 0..200_i64 {
        host.write(minute, "cache miss", 400);
        // Each host has its own kind of line until four are known: then they are one.
        for host_name in ["db.one", "db.two", "db.three", "db.four"].iter().take(if minute < 160 { 2 } else { 4 }) {
            host.write(minute, &format!("lost connection to host {host_name}"), if minute < 155 { 1 } else { 12 });
        }
        host.count(minute).await;
        names.extend(host.last.iter().filter(|(_, s)| matches!(s, Sighting::Firing(_))).map(|(name, _)| name.clone()));
        if minute >= 165 {
            assert!(host.last.values().any(|s| matches!(s, Sighting::Firing(_))), "minute {minute}: {:?}", host.last);
        }
    }
    let of = |host: &str| {
        format!("ErrorLogBurst/{}", fingerprint_line(format!("lost connection to host {host}").as_bytes()))
    };
    assert!(names.is_subset(&[of("db.one"), of("db.two")].into()), "{names:?}");
    assert_eq!(host.detector.tracked(), (1, 2), "the joined groups are one series");
}

#[tokio::test]
async fn bounds_hold() {
    let logs = ErrorLogs::new(at(-1));
    let detector = ErrorLogBurst::new(logs.clone()).max_services(2).max_groups(3);
    for service in ["a", "b", "c"] {
        for word in ["alpha", "beta"] {
            logs.push(&LogLine::new(at(0), service, word), at(0));
        }
    }
    detector.evaluate(Tick::new(at(3), at(4))).await.unwrap();
    assert_eq!(detector.tracked(), (2, 3));
}
