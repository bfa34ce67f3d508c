//! An anomaly that returns every 6 minutes for 3 hours, each time as a new episode: the loop guard stops after
//! its three reports, one person is told once, and a restart changes neither.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aiops_core::{Disposition, EpisodeId, Responder, VirtualClock};
use aiops_remediate::{Dispatcher, Mode, Policy, RemediationStore};
use common::careless::{ACTIONS, Careless, catalogue};
use common::stores::{Kind, scratch_folder};
use common::{at, event, triaged};

/// The most that any guard may let through.
const AT_MOST: usize = 5;
/// Before these minutes the process is started anew: while it acts, when it has just stopped, and long after.
const RESTARTS: [i64; 3] = [6, 24, 96];

#[tokio::test]
async fn it_returns_every_six_minutes_for_three_hours() {
    for kind in Kind::ALL {
        let folder = scratch_folder(&format!("loop-{kind:?}"));
        let (effects, clock) = (Arc::new(AtomicUsize::new(0)), VirtualClock::new(at(0)));
        let start = |store: &Arc<dyn RemediationStore>| {
            let effects = Arc::clone(&effects);
            let act = move |_| {
                effects.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            Dispatcher::builder(catalogue(), Policy::default().mode(Mode::Active))
                .handler(Careless { name: ACTIONS[0], act })
                .store(Arc::<dyn RemediationStore>::clone(store))
                .with_clock(clock.clone())
                .verify_after(Duration::ZERO)
                .build()
                .unwrap()
        };
        let mut store = kind.open(&folder);
        let mut dispatcher = start(&store);
        let mut answers = Vec::new();
        for minute in (0..=180).step_by(6) {
            clock.set(at(minute * 60));
            if RESTARTS.contains(&minute) {
                drop(dispatcher);
                if kind.is_on_disk() {
                    drop(store);
                    store = kind.open(&folder);
                }
                dispatcher = start(&store);
                dispatcher.recover(at(minute * 60)).await.unwrap();
            }
            let labels = [("namespace", "shop"), ("pod", "cart-1")];
            let mut event = event(1, "cart", &labels, at(minute * 60));
            event.episode_id = Some(EpisodeId::new(format!("episode-{minute}")));
            let report = triaged(event.clone(), &[ACTIONS[0]]);
            answers.push(dispatcher.respond(&report, at(minute * 60)).await.unwrap().disposition);
            clock.advance(Duration::from_secs(120));
            dispatcher.resolved(&event, at(minute * 60 + 120)).await.unwrap();
        }
        let count = |wanted: &str| answers.iter().filter(|answer| answer.as_str() == wanted).count();
        let (returns, executed, escalated) = (answers.len(), count("executed"), count("escalated"));
        let (duplicate, restarts, effects) = (count("duplicate"), RESTARTS.len(), effects.load(Ordering::Relaxed));
        println!(
            "{kind:?}: returns {returns} restarts {restarts} executed {executed} escalated {escalated} \
             duplicate {duplicate} effects {effects}"
        );
        assert!(executed <= AT_MOST && effects == executed, "{kind:?}: {answers:?}");
        assert_eq!((executed, escalated, duplicate), (3, 1, returns - 4), "{kind:?}: {answers:?}");
        let told: Vec<&str> = answers.iter().filter_map(Disposition::reason).collect();
        assert_eq!(told, ["loop guard: acted on 3 times in 1h, at most 3; acting again would not help"]);
    }
}
