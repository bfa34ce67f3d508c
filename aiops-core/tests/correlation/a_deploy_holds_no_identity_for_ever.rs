//! Deploys: an identity is held for an hour in a row at the most, and what was held is counted on
//! what is announced next.

use aiops_core::{
    CorrelationDecision as D, Correlator, DeployLog, DeployWindow, Rollout, RolloutKind, RolloutPhase, Severity,
};
use proptest::prelude::*;

use crate::support::{HOUR, MINUTE, at, correlator, critical, event, show, shown, warning};

fn subject() -> (Correlator, DeployLog) {
    let log = DeployLog::default();
    (correlator("{}").with_deploys(log.clone(), DeployWindow::default()), log)
}

fn rollout(log: &DeployLog, deploy: &str, phase: RolloutPhase, seconds: i64) {
    log.record(Rollout::new("checkout", deploy, phase, at(seconds)));
}

proptest! {
    #![proptest_config(crate::support::cases())]
    #[test]
    fn not_for_ever_and_counted(
        deploys in prop::collection::vec((0..150i64, 0..45i64, 0..4u8), 0..8),
        seen_every in prop::sample::select(vec![5i64, 7, 9]),
    ) {
        let (mut subject, log) = subject();
        for (index, (start, takes, end)) in deploys.iter().enumerate() {
            let name = format!("d{index}");
            rollout(&log, &name, RolloutPhase::Started, start * MINUTE);
            match end {
                0 => {}
                1 => rollout(&log, &name, RolloutPhase::Failed, (start + takes) * MINUTE),
                _ => rollout(&log, &name, RolloutPhase::Completed, (start + takes) * MINUTE),
            }
        }
        // Written anew: minutes in which a deploy holds.
        let covered = |minute: i64| deploys.iter().any(|(start, takes, end)| {
            let until = match end { 0 => 30, 1 => *takes, _ => takes + 10 }.min(30);
            (*start..start + until).contains(&minute)
        });
        let (mut held, mut told, mut in_a_row, mut quiet_since) = (0, false, 0, 0);
        for minute in (0..240).step_by(seen_every as usize) {
            let got = show(&mut subject, warning(minute * MINUTE));
            if (quiet_since..=minute).any(|minute| !covered(minute)) {
                in_a_row = 0;
            }
            quiet_since = minute;
            match got.decision {
                D::Suppressed => {
                    prop_assert!(covered(minute), "held by nothing at {}", minute);
                    prop_assert!(in_a_row < 60, "held {} minutes in a row", in_a_row);
                    in_a_row += seen_every;
                    held += 1;
                    prop_assert_eq!(got.of.is_some(), told);
                }
                D::Announced => {
                    prop_assert!(!covered(minute) || in_a_row >= 60);
                    if !told {
                        prop_assert_eq!(got.count, held);
                        prop_assert_eq!(got.event.unwrap().detected_at, at(0), "held sightings were detected, too");
                    }
                    told = true;
                }
                D::Repeat => prop_assert!(told),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert!(told, "three hours after the last deploy");
    }
}

#[test]
fn four_deploys_in_a_row_hold_sixty_minutes() {
    let (mut subject, log) = subject();
    for (index, start) in [0, 18, 36, 54].into_iter().enumerate() {
        rollout(&log, &format!("d{index}"), RolloutPhase::Started, start * MINUTE);
        rollout(&log, &format!("d{index}"), RolloutPhase::Completed, (start + 10) * MINUTE);
    }
    for minute in 0..60 {
        assert_eq!(shown(&mut subject, warning(minute * MINUTE)), D::Suppressed, "minute {minute}");
    }
    let released = show(&mut subject, warning(HOUR));
    assert_eq!((released.decision, released.count), (D::Announced, 60));
    assert_eq!(released.reason.as_deref(), Some("held 60 min by 4 deploys"));
    assert_eq!(shown(&mut subject, warning(61 * MINUTE)), D::Repeat, "the run holds no more");
    // A gap without a window starts a new run.
    assert_eq!(shown(&mut subject, warning(80 * MINUTE)), D::Announced, "a new episode");
    rollout(&log, "d9", RolloutPhase::Started, 81 * MINUTE);
    assert_eq!(shown(&mut subject, warning(81 * MINUTE)), D::Suppressed);
}

#[test]
fn windows_are_half_open_and_end_with_the_rollout() {
    let (mut subject, log) = subject();
    rollout(&log, "d1", RolloutPhase::Started, 0);
    rollout(&log, "d1", RolloutPhase::Completed, 100);
    assert_eq!(shown(&mut subject, critical(0)), D::Suppressed, "critical is held, too");
    assert_eq!(show(&mut subject, critical(699)).by.as_deref(), Some("d1"));
    assert_eq!(shown(&mut subject, critical(700)), D::Announced);
    rollout(&log, "d2", RolloutPhase::Started, 1_000);
    rollout(&log, "d2", RolloutPhase::Completed, 1_100);
    rollout(&log, "d2", RolloutPhase::Failed, 1_200);
    assert_eq!(shown(&mut subject, critical(1_199)), D::Suppressed);
    assert_eq!(shown(&mut subject, critical(1_200)), D::Repeat, "a failure ends the window at once");
    rollout(&log, "d3", RolloutPhase::Started, 1_700);
    for minute in (0..30).step_by(5) {
        assert_eq!(shown(&mut subject, critical(1_700 + minute * MINUTE)), D::Suppressed);
    }
    assert_eq!(shown(&mut subject, critical(1_700 + 30 * MINUTE)), D::Repeat, "stuck: 30 min from the start");
}

#[test]
fn a_rise_that_was_held_is_announced_after_the_window() {
    let (mut subject, log) = subject();
    assert_eq!(shown(&mut subject, warning(0)), D::Announced);
    rollout(&log, "d1", RolloutPhase::Started, 60);
    rollout(&log, "d1", RolloutPhase::Failed, 120);
    assert_eq!(shown(&mut subject, critical(90)), D::Suppressed);
    let rise = show(&mut subject, critical(120));
    assert_eq!((rise.decision, rise.count), (D::Announced, 1));
}

#[test]
fn scaling_and_our_own_rollback_hold_nothing_nor_does_a_rollout_without_a_service() {
    let (mut subject, log) = subject();
    for (deploy, kind) in [("scale", RolloutKind::Scale), ("undo", RolloutKind::OwnRollback)] {
        log.record(Rollout::new("checkout", deploy, RolloutPhase::Started, at(0)).kind(kind));
    }
    log.record(Rollout::new("", "nameless", RolloutPhase::Started, at(0)));
    assert_eq!(shown(&mut subject, warning(1)), D::Announced);
    assert_eq!(shown(&mut subject, event(1, "", "P99", Severity::Warning)), D::Announced);
}

#[test]
fn critical_passes_where_the_host_says_so() {
    let log = DeployLog::default();
    let mut subject = correlator(r#"{"critical_passes":true}"#).with_deploys(log.clone(), DeployWindow::default());
    rollout(&log, "d1", RolloutPhase::Started, 0);
    assert_eq!(shown(&mut subject, warning(1)), D::Suppressed);
    assert_eq!(shown(&mut subject, critical(2)), D::Announced);
}

#[test]
fn detections_of_an_event_without_deploys_pass_two_hours_of_maintenance_only_after_it() {
    use aiops_core::{Live, MaintenanceWindow, MaintenanceWindows};
    let window = MaintenanceWindow::Once { from: at(0), to: at(2 * HOUR), services: vec!["*".into()] };
    let (subject, log) = subject();
    let mut subject = subject.with_maintenance(Live::new(MaintenanceWindows::new([window]).unwrap()));
    rollout(&log, "d1", RolloutPhase::Started, 0);
    for minute in 0..120 {
        assert_eq!(shown(&mut subject, warning(minute * MINUTE)), D::Suppressed, "a person set it: no longest hold");
    }
    let after = show(&mut subject, warning(2 * HOUR));
    assert_eq!((after.decision, after.count, after.reason), (D::Announced, 120, None));
}
