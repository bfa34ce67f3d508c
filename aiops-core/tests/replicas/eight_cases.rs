//! The eight ways in which replicated alerting pages twice (each is an open or closed issue of
//! Alertmanager or Grafana), and what comes of them here.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use aiops_core::jiff::SignedDuration;
use aiops_core::{MemoryStateStore, StateError, StateStore, Versioned};
use async_trait::async_trait;

use crate::support::{Cluster, EVERY, Page, after};

const SERVICE: &str = "checkout";

fn services() -> [String; 1] {
    [SERVICE.to_owned()]
}

fn count(pages: &[Page], word: &str) -> usize {
    pages.iter().filter(|page| page.word == word).count()
}

/// Evaluates all replicas from one round to another.
async fn rounds(cluster: &mut Cluster, rounds: std::ops::Range<u64>) {
    for round in rounds {
        cluster.round(after(round * EVERY)).await;
    }
}

/// The anomaly ends, and everybody sees it.
async fn end(cluster: &mut Cluster, from: u64) -> Vec<Page> {
    cluster.set(&services(), false);
    rounds(cluster, from..from + 6).await;
    cluster.receiver.take()
}

async fn a_receiver_that_recovers_while_both_retry(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    cluster.receiver.down.store(true, Ordering::Relaxed);
    rounds(&mut cluster, 0..3).await;
    assert_eq!(cluster.receiver.take(), []);
    cluster.receiver.down.store(false, Ordering::Relaxed);
    rounds(&mut cluster, 3..6).await;
    assert_eq!(count(&cluster.receiver.take(), "announced"), 1);
}

async fn b_both_decide_at_the_same_moment(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    let (first, rest) = cluster.replicas.split_at_mut(1);
    // Their loads and saves take turns.
    tokio::join!(first[0].tick(after(0), &cluster.bus), rest[0].tick(after(0), &cluster.bus));
    rounds(&mut cluster, 1..3).await;
    assert_eq!(count(&cluster.receiver.take(), "announced"), 1);
    assert_eq!(cluster.bus_ids(), 1, "one event for triage");
}

async fn c_they_disagree_about_the_end(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    rounds(&mut cluster, 0..2).await;
    // One sees it end half a minute before the other does.
    cluster.replicas[0].own_view.lock().unwrap().insert(SERVICE.to_owned(), false);
    rounds(&mut cluster, 2..5).await;
    let pages = cluster.receiver.take();
    assert_eq!((count(&pages, "announced"), count(&pages, "resolved")), (1, 0));
    let pages = end(&mut cluster, 5).await;
    assert_eq!((count(&pages, "announced"), count(&pages, "resolved")), (0, 1));
}

async fn d_they_evaluate_at_different_times(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    for round in 0..4 {
        cluster.tick(0, after(round * EVERY)).await;
        cluster.tick(1, after(round * EVERY + 7)).await;
    }
    assert_eq!(count(&cluster.receiver.take(), "announced"), 1);
    let pages = end(&mut cluster, 4).await;
    assert_eq!((count(&pages, "announced"), count(&pages, "resolved")), (0, 1));
}

async fn e_one_restarts_in_mid_episode(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    rounds(&mut cluster, 0..2).await;
    assert_eq!(count(&cluster.receiver.take(), "announced"), 1);
    cluster.restart(0, "detection-0");
    rounds(&mut cluster, 2..4).await;
    cluster.restart(1, "detection-of-another-name");
    rounds(&mut cluster, 4..9).await;
    assert_eq!(cluster.receiver.take(), []);
    assert_eq!(count(&end(&mut cluster, 9).await, "resolved"), 1);
}

async fn f_their_clocks_differ(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.replicas[1].skew = SignedDuration::from_secs(90);
    cluster.set(&services(), true);
    rounds(&mut cluster, 0..4).await;
    assert_eq!(count(&cluster.receiver.take(), "announced"), 1);
    let pages = end(&mut cluster, 4).await;
    assert_eq!((count(&pages, "announced"), count(&pages, "resolved")), (0, 1));
}

async fn g_one_does_not_reach_the_store(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    rounds(&mut cluster, 0..1).await;
    cluster.replicas[1].faults.cut.store(true, Ordering::Relaxed);
    cluster.set(&services(), true);
    rounds(&mut cluster, 1..4).await;
    let pages = cluster.receiver.take();
    let by: Vec<&str> = pages.iter().map(|page| page.replica.as_str()).collect();
    assert_eq!(by, ["detection-0", "detection-1"], "one on each side");
    assert_eq!(pages[0].incident, pages[1].incident, "the receiver folds the second one");
    cluster.replicas[1].faults.cut.store(false, Ordering::Relaxed);
    rounds(&mut cluster, 4..7).await;
    assert_eq!(cluster.receiver.take(), [], "nothing new once it is back");
    assert_eq!(count(&end(&mut cluster, 7).await, "resolved"), 1);
}

async fn h_it_dies_once_the_receiver_has_the_page(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    cluster.replicas[0].faults.dies_after_a_page.store(true, Ordering::Relaxed);
    assert!(!cluster.tick(0, after(0)).await, "it died");
    cluster.restart(0, "detection-0");
    rounds(&mut cluster, 1..8).await;
    let pages = cluster.receiver.take();
    assert_eq!(count(&pages, "announced"), 2, "once more, since nobody knows");
    assert_eq!(pages[0].incident, pages[1].incident);
}

/// The same before the receiver has it, and the one that died does not come back.
async fn h_it_dies_before_the_receiver_has_the_page(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    cluster.replicas[0].faults.dies_before_a_page.store(true, Ordering::Relaxed);
    assert!(!cluster.tick(0, after(0)).await, "it died");
    for round in 1..3 {
        cluster.tick(1, after(round * EVERY)).await;
    }
    assert_eq!(cluster.receiver.take(), [], "it may be slow");
    for round in 3..6 {
        cluster.tick(1, after(round * EVERY)).await;
    }
    let pages = cluster.receiver.take();
    assert_eq!(count(&pages, "announced"), 1);
    assert_eq!(pages[0].replica, "detection-1");
    assert_eq!(cluster.bus_ids(), 1, "triage has it too");
}

/// As a process that is stopped and goes on: another one has told people meanwhile.
async fn one_that_stood_still_tells_nothing_that_was_taken_over(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    cluster.receiver.down.store(true, Ordering::Relaxed);
    rounds(&mut cluster, 0..2).await;
    cluster.receiver.down.store(false, Ordering::Relaxed);
    for round in 2..7 {
        cluster.tick(1, after(round * EVERY)).await;
    }
    let pages = cluster.receiver.take();
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0].replica, "detection-1", "which had nothing of its own to tell");
    rounds(&mut cluster, 7..9).await;
    assert_eq!(cluster.receiver.take(), []);
    assert_eq!(count(&end(&mut cluster, 9).await, "resolved"), 1);
}

async fn a_save_whose_answer_got_lost(store: impl StateStore) {
    let mut cluster = Cluster::new(store, 2);
    cluster.set(&services(), true);
    cluster.replicas[0].faults.loses_an_answer.store(true, Ordering::Relaxed);
    rounds(&mut cluster, 0..4).await;
    assert_eq!(count(&cluster.receiver.take(), "announced"), 1);
    assert_eq!(count(&end(&mut cluster, 4).await, "resolved"), 1);
}

/// As a Redis that is full: it is read, and takes nothing.
#[tokio::test]
async fn a_store_that_takes_no_save_delays_no_page() {
    let mut cluster = Cluster::new(MemoryStateStore::default(), 1);
    rounds(&mut cluster, 0..1).await;
    cluster.replicas[0].faults.takes_no_save.store(true, Ordering::Relaxed);
    cluster.set(&services(), true);
    rounds(&mut cluster, 1..2).await;
    assert_eq!(count(&cluster.receiver.take(), "announced"), 1);
    rounds(&mut cluster, 2..4).await;
    cluster.replicas[0].faults.takes_no_save.store(false, Ordering::Relaxed);
    rounds(&mut cluster, 4..6).await;
    assert_eq!(cluster.receiver.take(), []);
    cluster.restart(0, "detection-0");
    rounds(&mut cluster, 6..8).await;
    assert_eq!(cluster.receiver.take(), [], "what was decided alone is in the store since");
}

#[tokio::test]
async fn what_ended_while_the_store_was_away_ends_once() {
    let mut cluster = Cluster::new(MemoryStateStore::default(), 1);
    cluster.set(&services(), true);
    rounds(&mut cluster, 0..2).await;
    cluster.receiver.take();
    cluster.replicas[0].faults.cut.store(true, Ordering::Relaxed);
    cluster.set(&services(), false);
    rounds(&mut cluster, 2..5).await;
    assert_eq!(count(&cluster.receiver.take(), "resolved"), 1);
    cluster.replicas[0].faults.cut.store(false, Ordering::Relaxed);
    rounds(&mut cluster, 5..9).await;
    assert_eq!(cluster.receiver.take(), []);
}

/// A store that can lose everything, as a Redis without `appendonly` does when it is started anew.
#[derive(Debug, Default)]
struct Forgetful(Mutex<Arc<MemoryStateStore>>);

impl Forgetful {
    fn now(&self) -> Arc<MemoryStateStore> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

#[async_trait]
impl StateStore for Forgetful {
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
        self.now().load(key).await
    }

    async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        self.now().save(key, bytes, expected).await
    }
}

#[tokio::test]
async fn a_store_that_lost_everything_is_written_again() {
    let store = Arc::new(Forgetful::default());
    let mut cluster = Cluster::new(Arc::clone(&store), 2);
    cluster.set(&services(), true);
    rounds(&mut cluster, 0..2).await;
    assert_eq!(count(&cluster.receiver.take(), "announced"), 1);
    *store.0.lock().unwrap() = Arc::default();
    rounds(&mut cluster, 2..4).await;
    cluster.restart(0, "detection-0");
    rounds(&mut cluster, 4..6).await;
    assert_eq!(cluster.receiver.take(), [], "those that run knew better, and have told the new one");
    assert_eq!(count(&end(&mut cluster, 6).await, "resolved"), 1);
}

macro_rules! in_memory {
    ($($case:ident),* $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(aiops_core::MemoryStateStore::default()).await;
            })*
        }
    };
}
in_memory!(
    a_receiver_that_recovers_while_both_retry,
    b_both_decide_at_the_same_moment,
    c_they_disagree_about_the_end,
    d_they_evaluate_at_different_times,
    e_one_restarts_in_mid_episode,
    f_their_clocks_differ,
    g_one_does_not_reach_the_store,
    h_it_dies_once_the_receiver_has_the_page,
    h_it_dies_before_the_receiver_has_the_page,
    a_save_whose_answer_got_lost,
    one_that_stood_still_tells_nothing_that_was_taken_over,
);

/// Each case with keys of its own.
#[cfg(feature = "redis")]
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn all_cases_on_redis() {
    use crate::support::redis;

    a_receiver_that_recovers_while_both_retry(redis("case-0").await).await;
    b_both_decide_at_the_same_moment(redis("case-1").await).await;
    c_they_disagree_about_the_end(redis("case-2").await).await;
    d_they_evaluate_at_different_times(redis("case-3").await).await;
    e_one_restarts_in_mid_episode(redis("case-4").await).await;
    f_their_clocks_differ(redis("case-5").await).await;
    g_one_does_not_reach_the_store(redis("case-6").await).await;
    h_it_dies_once_the_receiver_has_the_page(redis("case-7").await).await;
    h_it_dies_before_the_receiver_has_the_page(redis("case-8").await).await;
    a_save_whose_answer_got_lost(redis("case-9").await).await;
    one_that_stood_still_tells_nothing_that_was_taken_over(redis("case-10").await).await;
}
