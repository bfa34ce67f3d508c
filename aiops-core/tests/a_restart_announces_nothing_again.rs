//! State outlives the process: a restart in mid-episode announces nothing again and loses nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use aiops_core::{
    BusError, CancellationToken, DETECTIONS, Envelope, EventBus, FileStateStore, MemoryBus, Notice, Notifier,
    NotifyError, Pipeline, Receipt, StageError, StateStore, Subscription, TriageReport, triager_fn,
};
use common::{Journal, Pager, PausedClock, anomaly, run_for};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aiops-{name}-{}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[tokio::test(start_paused = true)]
async fn in_mid_episode_with_the_saved_state() {
    let (folder, clock, journal) = (Folder::new("restart"), PausedClock::new(), Journal::default());
    for run in 0..3 {
        let asked = journal.clone();
        let triager = triager_fn("rules", move |_| {
            asked.add("asks");
            async { Ok(TriageReport::new("slow")) }
        });
        let built = Pipeline::builder()
            .with_clock(clock)
            .detector(anomaly("checkout", 10, 60, 900))
            .notify(Pager(journal.clone()))
            .triager(triager)
            .state(FileStateStore::open(&folder.0).unwrap())
            .build()
            .unwrap();
        run_for(built, 300).await.unwrap();
        assert_eq!(journal.lines(), ["announced checkout", "asks", "triaged checkout"], "run {run}");
    }
    // The episode's end is told by a process that has not seen its beginning.
    let last = Pipeline::builder()
        .with_clock(clock)
        .detector(anomaly("checkout", 10, 60, 900))
        .notify(Pager(journal.clone()))
        .state(FileStateStore::open(&folder.0).unwrap())
        .build()
        .unwrap();
    run_for(last, 600).await.unwrap();
    assert_eq!(journal.lines().last().unwrap(), "resolved checkout");
    assert_eq!(journal.count("announced"), 1);
}

/// Takes nothing.
#[derive(Debug)]
struct DownBus;

#[async_trait::async_trait]
impl EventBus for DownBus {
    async fn publish(&self, topic: &str, _: Envelope) -> Result<(), BusError> {
        Err(BusError::Broker { topic: topic.to_owned(), source: "no leader".into() })
    }

    async fn subscribe(&self, topic: &str, _: &str) -> Result<Box<dyn Subscription>, BusError> {
        Err(BusError::Broker { topic: topic.to_owned(), source: "no leader".into() })
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_the_bus_did_not_take_is_published_by_the_next_process() {
    let (folder, clock, journal) = (Folder::new("outbox"), PausedClock::new(), Journal::default());
    let bus = MemoryBus::default();
    let mut inbox = bus.subscribe(DETECTIONS, "test").await.unwrap();
    let builder = || {
        Pipeline::builder()
            .with_clock(clock)
            .detector(anomaly("checkout", 10, 0, 3_600))
            .notify(Pager(journal.clone()))
            .state(FileStateStore::open(&folder.0).unwrap())
    };
    run_for(builder().bus(DownBus).build().unwrap(), 60).await.unwrap();
    assert_eq!(journal.lines(), ["announced checkout"]);
    run_for(builder().bus(bus).build().unwrap(), 60).await.unwrap();
    assert_eq!(journal.lines(), ["announced checkout"]);
    let delivery = inbox.next().await.unwrap().unwrap();
    assert_eq!(delivery.envelope().to_detection().unwrap().service, "checkout");
}

/// Takes nothing.
#[derive(Debug)]
struct Down;

#[async_trait::async_trait]
impl Notifier for Down {
    fn channel(&self) -> &str {
        "pager"
    }

    async fn notify(&self, _: &Notice, _: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        Err(NotifyError::retryable("pager", "503"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_no_channel_took_is_sent_by_the_next_process() {
    let (folder, clock, journal) = (Folder::new("notice"), PausedClock::new(), Journal::default());
    let builder = || {
        Pipeline::builder()
            .with_clock(clock)
            .detector(anomaly("checkout", 10, 0, 3_600))
            .state(FileStateStore::open(&folder.0).unwrap())
    };
    run_for(builder().notify(Down).build().unwrap(), 60).await.unwrap();
    run_for(builder().notify(Pager(journal.clone())).build().unwrap(), 60).await.unwrap();
    assert_eq!(journal.lines(), ["announced checkout"]);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_does_not_read_stops_the_start_and_says_what_to_do() {
    let (folder, clock) = (Folder::new("corrupt"), PausedClock::new());
    let store = FileStateStore::open(&folder.0).unwrap();
    store.save("aiops/detection/outbox", b"{".to_vec(), 0).await.unwrap();
    let built = Pipeline::builder()
        .with_clock(clock)
        .detector(anomaly("checkout", 10, 0, 10))
        .notify(Pager(Journal::default()))
        .state(store)
        .build()
        .unwrap();
    let running = tokio::time::timeout(Duration::from_secs(60), built.run(CancellationToken::new()));
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, StageError::Restore { stage: "detection", .. }));
    assert!(aiops_core::error_chain(&error).contains("move it away to start without it"));
}
