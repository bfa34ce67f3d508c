//! A correlator that is saved and restored at any point decides as one that never stopped.

use aiops_core::{
    Correlated, CorrelationDecision as D, Correlator, DataState, DeployLog, DeployWindow, IncidentChange, Live,
    MaintenanceWindow, MaintenanceWindows, RestoreError, Rollout, RolloutPhase, Severity, Sighting,
};
use proptest::prelude::*;

use crate::support::{EVERY, at, correlator, critical, event, identity, seconds, show, shown, warning};

const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];
const PHASES: [RolloutPhase; 3] = [RolloutPhase::Started, RolloutPhase::Completed, RolloutPhase::Failed];

#[derive(Debug, Clone)]
enum Op {
    Fire { service: usize, alert: usize, severity: usize, lag: i64, upstream: bool },
    Resolve(usize, usize),
    Normal(usize, usize),
    Unknown(usize, usize),
    Rollout(usize, usize, usize),
    Advance,
}

const SERVICES: [&str; 3] = ["a", "b", ""];
const ALERTS: [&str; 3] = ["x", "Rare", "Slow"];

fn op() -> impl Strategy<Value = Op> {
    let lag = prop_oneof![5 => Just(0i64), 1 => prop::sample::select(vec![60, 599, 601, 3_600, 3_601, -300])];
    prop_oneof![
        8 => (0..3usize, 0..3usize, 0..3usize, lag, prop::bool::weighted(0.1)).prop_map(
            |(service, alert, severity, lag, upstream)| Op::Fire { service, alert, severity, lag, upstream }
        ),
        3 => (0..3usize, 0..3usize).prop_map(|(service, alert)| Op::Resolve(service, alert)),
        2 => (0..3usize, 0..3usize).prop_map(|(service, alert)| Op::Normal(service, alert)),
        1 => (0..3usize, 0..3usize).prop_map(|(service, alert)| Op::Unknown(service, alert)),
        2 => (0..2usize, 0..3usize, 0..3usize).prop_map(|(service, deploy, phase)| Op::Rollout(service, deploy, phase)),
        1 => Just(Op::Advance),
    ]
}

fn subject() -> (Correlator, DeployLog) {
    let log = DeployLog::default();
    let window = MaintenanceWindow::Once { from: at(1_000), to: at(2_000), services: vec!["b".into()] };
    let subject = correlator(
        r#"{"rules":{"Rare":{"min_count":2,"within":"5m"},"Slow":{"min_duration":"2m","clear_after":"0s"}},
            "inhibit":[{"equal":["service"]}],"flapping":{"changes":4,"window":"20m"},"max_identities":4}"#,
    );
    let subject = subject
        .with_deploys(log.clone(), DeployWindow::default())
        .with_maintenance(Live::new(MaintenanceWindows::new([window]).unwrap()));
    (subject, log)
}

fn run((subject, log): &mut (Correlator, DeployLog), op: &Op, now: i64) -> Vec<Correlated> {
    let of = |service: usize, alert: usize| identity(SERVICES[service], ALERTS[alert]);
    match op {
        Op::Fire { service, alert, severity, lag, upstream } => {
            let mut event = event(now - lag, SERVICES[*service], ALERTS[*alert], SEVERITIES[*severity]);
            event.upstream_id = upstream.then(|| "upstream".to_owned());
            vec![subject.observe(event, at(now))]
        }
        Op::Resolve(service, alert) => vec![subject.resolve(&of(*service, *alert), at(now), at(now))],
        Op::Normal(service, alert) => {
            subject.sight(Sighting::Normal(of(*service, *alert)), EVERY, at(now)).into_iter().collect()
        }
        Op::Unknown(service, alert) => {
            let sighting = Sighting::Unknown(of(*service, *alert), DataState::NoData);
            subject.sight(sighting, EVERY, at(now)).into_iter().collect()
        }
        Op::Rollout(service, deploy, phase) => {
            log.record(Rollout::new(SERVICES[*service], format!("d{deploy}"), PHASES[*phase], at(now)));
            Vec::new()
        }
        Op::Advance => subject.advance(at(now)),
    }
}

proptest! {
    #![proptest_config(crate::support::cases())]
    #[test]
    fn at_random_points(
        steps in prop::collection::vec(
            (prop::sample::select(vec![0, 1, 30, 60, 120, 300, 599, 600, 601, 1_800]), op(), prop::bool::weighted(0.2)),
            1..24,
        )
    ) {
        let (mut steady, mut restarted) = (subject(), subject());
        let mut now = 0;
        for (pause, op, restart) in steps {
            now += pause;
            let expected = run(&mut steady, &op, now);
            prop_assert_eq!(expected, run(&mut restarted, &op, now), "{:?} at {}", op, now);
            if restart {
                let saved = restarted.0.save();
                restarted = subject();
                restarted.0.restore(&saved).unwrap();
                prop_assert_eq!(saved, restarted.0.save());
            }
        }
        prop_assert_eq!(steady.0.advance(at(now + 90_000)), restarted.0.advance(at(now + 90_000)));
    }
}

#[test]
fn a_restart_in_mid_episode_announces_nothing_again() {
    let mut before = correlator("{}");
    let announced = show(&mut before, warning(0));
    assert_eq!(announced.decision, D::Announced);
    let mut after = correlator("{}");
    after.restore(&before.save()).unwrap();
    let repeat = show(&mut after, warning(30));
    assert_eq!((repeat.decision, repeat.count), (D::Repeat, 1));
    assert_eq!((repeat.episode_id(), repeat.incident_id()), (announced.episode_id(), announced.incident_id()));
    let rise = show(&mut after, critical(60));
    assert_eq!((rise.decision, rise.incident), (D::Announced, IncidentChange::Raised), "a rise is still told");
    let resolved = after.resolve(&identity("checkout", "P99"), at(90), at(90));
    assert_eq!((resolved.decision, resolved.incident), (D::Resolved, IncidentChange::Closed));
}

#[test]
fn what_ended_and_was_not_given_out_yet_is_saved() {
    let mut before = correlator("{}");
    shown(&mut before, warning(0));
    shown(&mut before, warning(700));
    let mut after = correlator("{}");
    after.restore(&before.save()).unwrap();
    let ended = after.advance(at(700));
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].reason.as_deref(), Some("no sighting for 10m"));
    assert_eq!(seconds(ended[0].event.as_ref().unwrap().observed()), 600);
}

#[test]
fn a_number_that_is_not_finite_does_not_spoil_the_state() {
    let mut before = correlator("{}");
    let mut event = warning(0);
    event.signal = aiops_core::Signal::new(1.0).band(0.0, 2.0);
    event.signal.score = Some(f64::NAN);
    if let Some(band) = &mut event.signal.band {
        band.high = f64::INFINITY;
    }
    let got = show(&mut before, event);
    assert_eq!(got.event.unwrap().signal, aiops_core::Signal::new(1.0));
    correlator("{}").restore(&before.save()).unwrap();
}

#[test]
fn broken_and_foreign_bytes_are_errors_and_change_nothing() {
    let mut subject = correlator("{}");
    shown(&mut subject, warning(0));
    let saved = subject.save();
    for bad in [&b""[..], b"{", b"null", b"{\"version\":1}", &saved[..saved.len() - 1]] {
        assert!(matches!(subject.restore(bad), Err(RestoreError::Corrupt(_))));
    }
    let error = subject.restore(b"{\"version\":99,\"later\":true}").unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
    assert_eq!(subject.save(), saved);
    assert_eq!(shown(&mut subject, warning(1)), D::Repeat);
}
