//! What users of such systems reported on inhibition, maintenance and their order; the number is
//! that of the row in the list of reports.

use aiops_core::{
    CorrelationDecision as D, Correlator, DeployLog, DeployWindow, DetectionEvent, Live, MaintenanceWindow,
    MaintenanceWindows, Rollout, RolloutPhase, Severity,
};

use crate::support::{at, correlator, event, identity, show, shown, warning};

fn disk(seconds: i64, partition: Option<&str>, severity: Severity) -> DetectionEvent {
    let name = format!("Disk{severity}/{}", partition.unwrap_or("none"));
    let mut event = event(seconds, "db", &name, severity);
    event.labels.extend(partition.map(|partition| ("partition".to_owned(), partition.to_owned())));
    event
}

#[test]
fn row_15_a_higher_severity_inhibits_a_lower_one_on_equal_labels_only() {
    let mut subject = correlator(r#"{"inhibit":[{"equal":["service","partition"]}]}"#);
    assert_eq!(shown(&mut subject, disk(0, Some("/a"), Severity::Critical)), D::Announced);
    assert_eq!(shown(&mut subject, disk(0, None, Severity::Critical)), D::Announced);
    let inhibited = show(&mut subject, disk(1, Some("/a"), Severity::Warning));
    assert_eq!((inhibited.decision, inhibited.by.as_deref()), (D::Suppressed, Some("Diskcritical//a on db")));
    assert_eq!(shown(&mut subject, disk(1, Some("/b"), Severity::Warning)), D::Announced, "another partition");
    assert_eq!(shown(&mut subject, disk(1, None, Severity::Warning)), D::Announced, "an absent label equals nothing");
    subject.resolve(&identity("db", "Diskcritical//a"), at(60), at(60));
    let after = show(&mut subject, disk(61, Some("/a"), Severity::Warning));
    assert_eq!((after.decision, after.count), (D::Announced, 1), "what inhibited it is gone");
}

#[test]
fn row_15_an_alert_that_went_silent_inhibits_no_more() {
    let mut subject = correlator(r#"{"inhibit":[{"equal":["service"]}]}"#);
    shown(&mut subject, event(0, "db", "Down", Severity::Critical));
    assert_eq!(shown(&mut subject, event(599, "db", "Slow", Severity::Warning)), D::Suppressed);
    assert_eq!(shown(&mut subject, event(600, "db", "Slow", Severity::Warning)), D::Announced);
}

fn in_berlin(from: &str, to: &str) -> Correlator {
    let window = format!(r#"[{{"from":"{from}","to":"{to}","tz":"Europe/Berlin","services":["checkout"]}}]"#);
    let windows: Vec<MaintenanceWindow> = serde_json::from_str(&window).unwrap();
    correlator("{}").with_maintenance(Live::new(MaintenanceWindows::new(windows).unwrap()))
}

/// The minutes from midnight UTC on in which a window holds, as `(first, last)`.
fn held(subject: &mut Correlator, day: &str, hours: i64) -> (Option<String>, Option<String>, usize) {
    let midnight: aiops_core::jiff::Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
    let mut minutes = (0..hours * 60).filter_map(|minute| {
        let mut event = warning(0);
        let now = aiops_core::time::plus(midnight, std::time::Duration::from_secs(minute as u64 * 60));
        (event.detected_at, event.observed_at) = (now, Some(now));
        let held = subject.observe(event, now).decision == D::Suppressed;
        held.then(|| format!("{:02}:{:02}", minute / 60, minute % 60))
    });
    let first = minutes.next();
    let rest: Vec<String> = minutes.collect();
    (first, rest.last().cloned(), rest.len() + 1)
}

#[test]
fn row_16_windows_are_in_local_time_on_the_days_of_the_clock_change() {
    let window = |from: &str, to: &str| (Some(from.to_owned()), Some(to.to_owned()));
    let minutes = |day: &str, from: &str, to: &str| {
        let (first, last, count) = held(&mut in_berlin(from, to), day, 23);
        ((first, last), count)
    };
    // Winter: UTC+1. Summer: UTC+2.
    assert_eq!(minutes("2026-01-10", "03:00", "05:00"), (window("02:00", "03:59"), 120));
    assert_eq!(minutes("2026-07-10", "03:00", "05:00"), (window("01:00", "02:59"), 120));
    // 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC, the window is an hour short.
    assert_eq!(minutes("2026-03-29", "01:00", "04:00"), (window("00:00", "01:59"), 120));
    // 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC, the window is an hour long.
    assert_eq!(minutes("2026-10-25", "02:00", "03:00"), (window("00:00", "01:59"), 120));
    assert_eq!(minutes("2026-01-10", "20:00", "24:00"), (window("19:00", "22:59"), 240));
    let (first, last, count) = held(&mut in_berlin("22:00", "02:00"), "2026-01-10", 24);
    assert_eq!((first.as_deref(), last.as_deref(), count), (Some("00:00"), Some("23:59"), 240), "over midnight");
}

#[test]
fn row_17_suppression_comes_first_whatever_the_order_of_the_set_up() {
    let windows = || {
        let window = MaintenanceWindow::Once { from: at(0), to: at(100), services: vec!["*".into()] };
        Live::new(MaintenanceWindows::new([window]).unwrap())
    };
    let log = DeployLog::default();
    log.record(Rollout::new("checkout", "d1", RolloutPhase::Started, at(0)));
    log.record(Rollout::new("checkout", "d1", RolloutPhase::Failed, at(200)));
    let config = r#"{"rules":{"P99":{"min_count":2}}}"#;
    let subjects = [
        correlator(config).with_maintenance(windows()).with_deploys(log.clone(), DeployWindow::default()),
        correlator(config).with_deploys(log.clone(), DeployWindow::default()).with_maintenance(windows()),
    ];
    for mut subject in subjects {
        let first = show(&mut subject, warning(50));
        assert_eq!(first.decision, D::Suppressed, "before min_count");
        assert!(first.by.unwrap().starts_with("maintenance "));
        assert_eq!(show(&mut subject, warning(150)).by.as_deref(), Some("d1"));
        let after = show(&mut subject, warning(200));
        assert_eq!((after.decision, after.count), (D::Announced, 2), "held sightings count as sightings");
    }
}
