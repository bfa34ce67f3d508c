//! A triager, context source, channel or detector that hangs, panics or fails delays no announcement
//! and loses none.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aiops_core::testing::MetricRecorder;
use aiops_core::{
    BoxError, BusError, DETECTIONS, Envelope, Evaluation, EventBus, MemoryBus, Notice, Notifier, NotifyError, Pipeline,
    PipelineBuilder, Receipt, Subscription, TriageReport, context_fn, detector_fn, triager_fn,
};
use common::{Journal, Pager, PausedClock, anomaly, run_for};

#[derive(Debug, Clone, Copy)]
enum Bad {
    Hangs,
    Panics,
    Fails,
}

const ALL: [Bad; 3] = [Bad::Hangs, Bad::Panics, Bad::Fails];

impl Bad {
    async fn behave<T>(self) -> Result<T, BoxError> {
        match self {
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("plugin bug"),
            Self::Fails => Err("connection refused".into()),
        }
    }
}

#[derive(Debug)]
struct BadChannel(Bad, Arc<AtomicU32>);

#[async_trait::async_trait]
impl Notifier for BadChannel {
    fn channel(&self) -> &str {
        "bad"
    }

    async fn notify(&self, _: &Notice, _: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.behave().await.map_err(|source| NotifyError::retryable("bad", source))
    }
}

/// Notes the second at which each service was announced.
#[derive(Debug)]
struct Timed(Journal, PausedClock);

#[async_trait::async_trait]
impl Notifier for Timed {
    fn channel(&self) -> &str {
        "timed"
    }

    async fn notify(&self, notice: &Notice, _: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        self.0.add(format!("{} {} {}", common::word(&notice.kind), notice.service(), self.1.seconds()));
        Ok(Receipt::default())
    }
}

/// Two services whose anomalies begin after a minute.
fn pipeline(clock: PausedClock) -> PipelineBuilder {
    Pipeline::builder()
        .with_clock(clock)
        .detector(anomaly("checkout", 10, 60, 3_600))
        .detector(anomaly("search", 10, 120, 3_600))
}

fn announced_on_time(journal: &Journal, slack: u64) {
    for (service, begins) in [("checkout", 60), ("search", 120)] {
        let start = format!("announced {service} ");
        let lines = journal.lines();
        let seconds: Vec<u64> =
            lines.iter().filter_map(|line| line.strip_prefix(&start)).map(|s| s.parse().unwrap()).collect();
        assert_eq!(seconds.len(), 1, "{lines:?}");
        assert!((begins..=begins + 11 + slack).contains(&seconds[0]), "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_triager_does() {
    for bad in ALL {
        let (clock, journal) = (PausedClock::new(), Journal::default());
        let triager = triager_fn("bad", move |_| async move { bad.behave::<TriageReport>().await });
        let built = pipeline(clock).notify(Timed(journal.clone(), clock)).triager(triager).build().unwrap();
        run_for(built, 600).await.unwrap();
        announced_on_time(&journal, 0);
        // Without a report the incident is escalated, once.
        assert_eq!(journal.count("escalated checkout"), 1, "{bad:?} {:?}", journal.lines());
        assert_eq!(journal.count("escalated search"), 1, "{bad:?} {:?}", journal.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_context_source_does_and_the_report_is_made_without_it() {
    for bad in ALL {
        let (clock, journal) = (PausedClock::new(), Journal::default());
        let seen = Journal::default();
        let missing = seen.clone();
        let triager = triager_fn("rules", move |request| {
            missing
                .add(request.context.missing.iter().map(|m| format!("{}: {}", m.what, m.reason)).collect::<String>());
            async { Ok(TriageReport::new("slow")) }
        });
        let built = pipeline(clock)
            .notify(Timed(journal.clone(), clock))
            .context(context_fn("logs", move |_| async move { bad.behave().await }))
            .triager(triager)
            .build()
            .unwrap();
        run_for(built, 600).await.unwrap();
        announced_on_time(&journal, 0);
        let reason = match bad {
            Bad::Hangs => "logs: gave no answer within 10s",
            Bad::Panics => "logs: panicked",
            Bad::Fails => "logs: failed",
        };
        assert_eq!(seen.lines(), [reason, reason]);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_first_channel_does_the_next_one_takes_it() {
    for bad in ALL {
        let (clock, journal, asked) = (PausedClock::new(), Journal::default(), Arc::new(AtomicU32::new(0)));
        let built = pipeline(clock)
            .notify(BadChannel(bad, Arc::clone(&asked)))
            .notify(Timed(journal.clone(), clock))
            .notify_deadline(Duration::from_secs(5))
            .build()
            .unwrap();
        run_for(built, 600).await.unwrap();
        announced_on_time(&journal, 6);
        assert!(asked.load(Ordering::Relaxed) > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_another_detector_does() {
    for bad in ALL {
        let (clock, journal) = (PausedClock::new(), Journal::default());
        let detector =
            detector_fn("bad", Duration::from_secs(10), move |_| async move { bad.behave::<Evaluation>().await });
        let built = pipeline(clock).detector(detector).notify(Timed(journal.clone(), clock)).build().unwrap();
        run_for(built, 600).await.unwrap();
        announced_on_time(&journal, 0);
    }
}

/// Fails until the clock shows `until`.
#[derive(Debug)]
struct DownUntil(u64, PausedClock, Pager);

#[async_trait::async_trait]
impl Notifier for DownUntil {
    fn channel(&self) -> &str {
        "down"
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        if self.1.seconds() < self.0 {
            return Err(NotifyError::retryable("down", "503"));
        }
        self.2.notify(notice, previous).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_no_channel_took_is_sent_once_a_channel_is_back() {
    let (clock, journal) = (PausedClock::new(), Journal::default());
    let channel = DownUntil(300, clock, Pager(journal.clone()));
    let built = pipeline(clock).notify(channel).build().unwrap();
    run_for(built, 600).await.unwrap();
    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["announced checkout", "announced search"]);
}

#[tokio::test(start_paused = true)]
async fn detection_and_a_channel_alone_need_nothing_else() {
    let (clock, journal) = (PausedClock::new(), Journal::default());
    let detector = anomaly("checkout", 10, 60, 120);
    let built =
        Pipeline::builder().with_clock(clock).detector(detector).notify(Pager(journal.clone())).build().unwrap();
    run_for(built, 1_200).await.unwrap();
    assert_eq!(journal.lines(), ["announced checkout", "resolved checkout"]);
}

/// Takes no event of one service.
#[derive(Debug)]
struct NarrowBus(MemoryBus);

#[async_trait::async_trait]
impl EventBus for NarrowBus {
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
        if message.to_detection().is_ok_and(|event| event.service == "huge") {
            return Err(BusError::TooLarge { topic: topic.to_owned(), bytes: 2_000_000, limit: 1_000_000 });
        }
        self.0.publish(topic, message).await
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        self.0.subscribe(topic, group).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_for_the_bus_is_announced_and_holds_up_none_behind_it() {
    let metrics: &'static MetricRecorder = Box::leak(Box::default());
    let _guard = metrics::set_default_local_recorder(metrics);
    let (clock, journal, bus) = (PausedClock::new(), Journal::default(), MemoryBus::default());
    let mut inbox = bus.subscribe(DETECTIONS, "test").await.unwrap();
    let pipeline = Pipeline::builder()
        .with_clock(clock)
        .detector(anomaly("huge", 10, 0, 3_600))
        .detector(anomaly("checkout", 10, 10, 3_600))
        .notify(Pager(journal.clone()))
        .bus(NarrowBus(bus));
    run_for(pipeline.build().unwrap(), 60).await.unwrap();
    assert_eq!(journal.lines(), ["announced huge", "announced checkout"]);
    let delivery = inbox.next().await.unwrap().unwrap();
    assert_eq!(delivery.envelope().to_detection().unwrap().service, "checkout");
    assert_eq!(metrics.value("aiops_detection_outbox_dropped_total"), Some(1.0));
    assert_eq!(metrics.value("aiops_detection_publish_failed_total"), Some(1.0));
}
