//! A store that fails at any one of its calls: what runs was journalled, runs once, and gets an end.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::{Decision, Disposition, Responder, VirtualClock};
use aiops_remediate::{Dispatcher, Mode, Policy, RemediationStore};
use common::broken::{Broken, Fails};
use common::careless::{ACTIONS, Careless, catalogue};
use common::{at, event, triaged};

type Done = Arc<Mutex<Vec<String>>>;

fn dispatcher(store: &Arc<Broken>, done: &Done, clock: VirtualClock) -> Dispatcher {
    let mut builder = Dispatcher::builder(catalogue(), Policy::threshold_only().mode(Mode::Active))
        .store(Arc::<Broken>::clone(store))
        .with_clock(clock)
        .verify_after(Duration::ZERO);
    for name in ACTIONS {
        let done = Arc::clone(done);
        let act = move |key| {
            done.lock().unwrap().push(key);
            Ok(())
        };
        builder = builder.handler(Careless { name, act });
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn whichever_call_fails() {
    let report = triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0)), &["first", "second"]);
    let mut again = report.clone();
    again.incident_id = "another".into();
    for fails in [Fails::Before, Fails::After] {
        let mut ran = [0_usize; 3];
        for call in 0.. {
            let (store, done) = (Arc::new(Broken::new(fails(call))), Arc::default());
            let clock = VirtualClock::new(at(0));
            let dispatcher = dispatcher(&store, &done, clock);
            let response = dispatcher.respond(&report, at(0)).await.unwrap();
            let calls = store.calls();
            // The delivery again, a recovery while locks last, one after, and the delivery once more.
            dispatcher.respond(&report, at(1)).await.unwrap();
            for later in [2, 1_300] {
                let _ = dispatcher.recover(at(later)).await;
            }
            dispatcher.recover(at(5_000)).await.unwrap();
            dispatcher.respond(&report, at(5_001)).await.unwrap();
            let all = done.lock().unwrap().len();
            // Another triage of the same event: another report on the same actions, targets and fingerprint.
            dispatcher.respond(&again, at(5_002)).await.unwrap();
            let mut done = done.lock().unwrap().clone();
            let started = done.len();
            done.sort();
            done.dedup();
            assert_eq!(done.len(), started, "{:?}: executed twice", fails(call));
            assert!(store.inner.unfinished().await.unwrap().is_empty(), "{:?}", fails(call));
            assert!(store.inner.open_reports().await.unwrap().is_empty(), "{:?}", fails(call));
            ran[all] += 1;
            if call >= calls {
                assert_eq!((response.disposition, all), (Disposition::Executed, 2), "nothing failed, and both run");
                break;
            }
        }
        assert!(ran.iter().all(|times| *times > 0), "a failure stops the plan before, between and after: {ran:?}");
    }
}

#[tokio::test]
async fn a_refused_reservation_denies_the_whole_plan() {
    let report = triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0)), &["first", "second"]);
    let store = Arc::new(Broken::new(Fails::Refused));
    let done = Arc::default();
    let response = dispatcher(&store, &done, VirtualClock::new(at(0))).respond(&report, at(0)).await.unwrap();
    let reason = "another report was faster".to_owned();
    assert!(response.plan.steps.iter().all(|step| step.decision == Decision::Deny && step.reason == reason));
    assert_eq!(response.disposition, Disposition::Escalated { reason });
    assert!(done.lock().unwrap().is_empty());
}
