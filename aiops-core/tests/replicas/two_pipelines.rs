//! Whole pipelines, each with a bus of its own, that share nothing but the state store.

use std::sync::Arc;

use aiops_core::{
    CancellationToken, MemoryStateStore, Pipeline, PipelineBuilder, StateStore, TriageReport, triager_fn,
};

use crate::common::{Journal, Pager, PausedClock, anomaly, run_for};

fn pipeline(name: &str, clock: PausedClock, journal: &Journal, store: Arc<dyn StateStore>) -> PipelineBuilder {
    let asked = journal.clone();
    let triager = triager_fn("rules", move |_| {
        asked.add("asks");
        async { Ok(TriageReport::new("slow")) }
    });
    Pipeline::builder()
        .with_clock(clock)
        .detector(anomaly("checkout", 10, 60, 900))
        .notify(Pager(journal.clone()))
        .triager(triager)
        .state(store)
        .replica(name)
}

#[tokio::test(start_paused = true)]
async fn say_what_one_would_while_one_stops_and_another_begins() {
    let (clock, journal) = (PausedClock::new(), Journal::default());
    let store: Arc<dyn StateStore> = Arc::new(MemoryStateStore::default());
    let build = |name| pipeline(name, clock, &journal, Arc::clone(&store)).build().unwrap();
    // A rolling restart in mid-episode: the second one runs all the time.
    let (second, stop) = (build("b"), CancellationToken::new());
    let second = tokio::spawn(second.run(stop.clone()));
    run_for(build("a"), 300).await.unwrap();
    assert_eq!(journal.lines(), ["announced checkout", "asks", "triaged checkout"]);
    run_for(build("c"), 1_200).await.unwrap();
    assert_eq!(journal.lines()[3..], ["resolved checkout"]);
    stop.cancel();
    second.await.unwrap().unwrap();
    assert_eq!(journal.lines().len(), 4);
}

#[test]
fn a_replica_without_a_store_is_told() {
    let built = Pipeline::builder().intake(1).notify(Pager(Journal::default())).replica("a").build();
    assert!(built.unwrap_err().to_string().contains("add .state(..) or drop .replica(..)"));
}
