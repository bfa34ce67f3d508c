//! A report that a bus delivers a hundred times at once, to four dispatchers over one store, is executed once.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aiops_core::{Clock, Disposition, Responder, VirtualClock};
use aiops_remediate::{Dispatcher, Mode, Policy, RemediationStore};
use common::careless::{ACTIONS, Careless, catalogue};
use common::stores::{Kind, scratch_folder};
use common::{at, event, triaged};

const DELIVERIES: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_executes_and_the_others_are_duplicates() {
    for kind in Kind::ALL {
        let folder = scratch_folder(&format!("hundred-{kind:?}"));
        let (store, effects, clock) = (kind.open(&folder), Arc::new(AtomicUsize::new(0)), VirtualClock::new(at(0)));
        let dispatchers: Vec<Arc<Dispatcher>> = (0..4)
            .map(|number| {
                let effects = Arc::clone(&effects);
                let act = move |_| {
                    effects.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                let dispatcher = Dispatcher::builder(catalogue(), Policy::default().mode(Mode::Active))
                    .handler(Careless { name: ACTIONS[0], act })
                    .store(Arc::<dyn RemediationStore>::clone(&store))
                    .with_clock(clock.clone())
                    .verify_after(Duration::ZERO)
                    .holder(format!("process-{number}"))
                    .build();
                Arc::new(dispatcher.unwrap())
            })
            .collect();
        let report = triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0)), &[ACTIONS[0]]);
        let mut deliveries = tokio::task::JoinSet::new();
        for number in 0..DELIVERIES {
            let (dispatcher, report) = (Arc::clone(&dispatchers[number % 4]), report.clone());
            let now = clock.now();
            deliveries.spawn(async move { dispatcher.respond(&report, now).await.unwrap().disposition });
        }
        let answers = deliveries.join_all().await;
        let count = |wanted| answers.iter().filter(|answer| **answer == wanted).count();
        let (executed, duplicate) = (count(Disposition::Executed), count(Disposition::Duplicate));
        let effects = effects.load(Ordering::Relaxed);
        println!("{kind:?}: deliveries {DELIVERIES} executed {executed} duplicate {duplicate} effects {effects}");
        assert_eq!((executed, duplicate, effects), (1, DELIVERIES - 1, 1), "{kind:?}: {answers:?}");
    }
}
