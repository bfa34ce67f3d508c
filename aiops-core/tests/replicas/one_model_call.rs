//! Of several triage replicas, one asks the model about an incident.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aiops_core::{
    CancellationToken, DETECTIONS, DetectionEvent, Envelope, EventBus, EventKind, LogNotifier, MemoryBus,
    MemoryStateStore, Severity, StageParts, StateStore, TRIAGED, TriageReport, TriageStage, VirtualClock, triager_fn,
};
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::support::{after, base};

/// Two processes of one consumer group.
struct Group {
    bus: MemoryBus,
    clock: VirtualClock,
    calls: Arc<AtomicU32>,
    /// The model answers then.
    answer: Arc<Notify>,
    shutdown: CancellationToken,
    stages: tokio::task::JoinSet<()>,
}

impl Group {
    fn new() -> Self {
        let clock = VirtualClock::new(base());
        let bus = MemoryBus::builder().ack_deadline(Duration::from_secs(600)).with_clock(clock.clone()).build();
        let stages = tokio::task::JoinSet::new();
        let (calls, answer, shutdown) = (Arc::default(), Arc::default(), CancellationToken::new());
        Self { bus, clock, calls, answer, shutdown, stages }
    }

    fn start(&mut self, name: &str, store: impl StateStore) {
        let (calls, answer) = (Arc::clone(&self.calls), Arc::clone(&self.answer));
        let triager = triager_fn("model", move |_| {
            calls.fetch_add(1, Ordering::Relaxed);
            let answer = Arc::clone(&answer);
            async move {
                answer.notified().await;
                Ok(TriageReport::new("the database is slow"))
            }
        });
        let parts = StageParts::builder().with_clock(self.clock.clone()).state(store).replica(name);
        let parts = parts.notify(LogNotifier).build();
        let mut stage = TriageStage::builder(parts, triager).group_wait(Duration::from_secs(5)).build();
        let (bus, shutdown) = (Arc::new(self.bus.clone()), self.shutdown.clone());
        self.stages.spawn(async move { stage.run(bus, shutdown).await.unwrap() });
    }

    /// Lets everything happen that happens at `seconds`.
    async fn at(&self, seconds: u64) {
        self.clock.set(after(seconds));
        for _ in 0..500 {
            yield_now().await;
        }
    }

    async fn publish(&self, service: &str, severity: Severity, second: u64) {
        let mut event = DetectionEvent::builder(EventKind::LogBurst, service, severity, after(second), "loki").build();
        event.incident_id = Some("inc-1".into());
        self.bus.publish(DETECTIONS, Envelope::detection(&event)).await.unwrap();
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn stop(mut self) -> usize {
        self.shutdown.cancel();
        while self.stages.join_next().await.is_some() {}
        self.bus.undelivered().into_iter().filter(|left| left.topic == DETECTIONS).count()
    }
}

async fn two_replicas(store: Arc<dyn StateStore>) {
    let mut group = Group::new();
    group.bus.subscribe(TRIAGED, "counter").await.unwrap();
    group.start("triage-0", Arc::clone(&store));
    group.start("triage-1", store);
    group.at(0).await;
    // The bus spreads the events of one incident over the group.
    for service in ["checkout", "cart", "payment", "stock"] {
        group.publish(service, Severity::Warning, 0).await;
    }
    group.at(1).await;
    for second in (5..30).step_by(5) {
        group.at(second).await;
    }
    assert_eq!(group.calls(), 1, "one is asked, the other waits");
    group.answer.notify_one();
    for second in (30..60).step_by(5) {
        group.at(second).await;
    }
    assert_eq!(group.calls(), 1, "and takes its report");
    // It gets worse: one report more.
    group.publish("checkout", Severity::Critical, 60).await;
    group.at(60).await;
    group.answer.notify_one();
    group.at(65).await;
    assert_eq!(group.calls(), 2);
    let reports = group.bus.undelivered().into_iter().filter(|left| left.topic == TRIAGED).count();
    assert_eq!(reports, 2, "as many reports as calls");
    assert_eq!(group.stop().await, 0, "every event is settled");
}

#[tokio::test]
async fn two_replicas_make_one_model_call() {
    two_replicas(Arc::new(MemoryStateStore::default())).await;
}

/// The one that claimed it is gone, and its message is with the other one: once it is back under its name, it gives its
/// claims back, and the other one need not wait for their end.
#[tokio::test]
async fn a_replica_that_is_back_gives_its_claims_back() {
    let store = Arc::new(MemoryStateStore::default());
    let mut gone = Group::new();
    gone.start("triage-0", Arc::clone(&store));
    gone.at(0).await;
    gone.publish("checkout", Severity::Warning, 0).await;
    gone.at(1).await;
    gone.at(5).await;
    assert_eq!(gone.calls(), 1);
    gone.stages.abort_all();

    let mut group = Group::new();
    group.start("triage-1", Arc::clone(&store));
    group.at(10).await;
    group.publish("checkout", Severity::Warning, 10).await;
    group.at(15).await;
    group.at(20).await;
    assert_eq!(group.calls(), 0, "it is claimed");
    // On a bus of its own: it is given nothing.
    let mut back = Group::new();
    back.start("triage-0", store);
    back.at(20).await;
    group.at(25).await;
    assert_eq!(group.calls(), 1);
    group.answer.notify_one();
    group.at(30).await;
    assert_eq!((back.calls(), back.stop().await), (0, 0));
    assert_eq!(group.stop().await, 0);
}

/// The one that claimed it is gone: the other one writes the report once no report could take longer.
#[tokio::test]
async fn a_claim_of_a_replica_that_is_gone_ends() {
    let store = Arc::new(MemoryStateStore::default());
    let mut gone = Group::new();
    gone.start("triage-0", Arc::clone(&store));
    gone.at(0).await;
    gone.publish("checkout", Severity::Warning, 0).await;
    gone.at(1).await;
    gone.at(5).await;
    assert_eq!(gone.calls(), 1);
    // Without a word, as a node that loses its power.
    gone.stages.abort_all();

    let mut group = Group::new();
    group.start("triage-1", store);
    group.at(10).await;
    group.publish("checkout", Severity::Warning, 10).await;
    for second in (15..230).step_by(5) {
        group.at(second).await;
        assert_eq!(group.calls(), 0, "{second} s");
    }
    for second in (230..260).step_by(5) {
        group.at(second).await;
    }
    assert_eq!(group.calls(), 1);
    group.answer.notify_one();
    group.at(260).await;
    assert_eq!(group.stop().await, 0);
}
