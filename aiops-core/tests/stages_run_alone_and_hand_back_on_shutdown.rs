//! Each stage alone over a bus: poison, failing responders, shutdown, a bus that is closed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{
    CancellationToken, Correlator, CorrelatorConfig, DETECTIONS, DetectionEvent, DetectionStage, Disposition, Envelope,
    EventBus, IncidentEntry, IncidentQuery, LogNotifier, MemoryBus, Notice, Notifier, NotifyError, Pipeline, Plan,
    RESPONSES, Receipt, Recovered, RemediationStage, RespondError, Responder, Response, Severity, StageError,
    StageParts, TRIAGE_GROUP, TRIAGED, TriageReport, TriageRequest, TriageStage, Triaged, triager_fn,
};
use common::{Journal, Pager, PausedClock, after, anomaly, event};

fn parts(clock: PausedClock, journal: &Journal) -> Arc<StageParts> {
    StageParts::builder().with_clock(clock).notify(Pager(journal.clone())).build()
}

fn bus(clock: PausedClock) -> Arc<MemoryBus> {
    Arc::new(MemoryBus::builder().with_clock(clock).build())
}

fn triage(parts: &Arc<StageParts>, journal: &Journal) -> TriageStage {
    let journal = journal.clone();
    let triager = triager_fn("rules", move |_| {
        journal.add("asks");
        async { Ok(TriageReport::new("slow")) }
    });
    TriageStage::builder(Arc::clone(parts), triager).build()
}

fn announced(service: &str, at: Timestamp) -> DetectionEvent {
    let mut event = event(service, Severity::Warning, at);
    event.incident_id = Some(format!("inc-{service}").into());
    event
}

fn triaged(service: &str) -> Triaged {
    let event = announced(service, after(0));
    let (id, context) = (event.incident_id.clone().unwrap(), aiops_core::TriageContext::default());
    let request = TriageRequest::new(id, event, context, after(0), after(60));
    let answer = aiops_core::Triage::new(TriageReport::new("slow"), aiops_core::Provenance::new("rules"));
    Triaged::new(&request, answer, after(60))
}

/// Lets a stage run for so many seconds.
async fn for_seconds<T>(seconds: u64, stop: CancellationToken, running: impl Future<Output = T>) -> T {
    let (outcome, ()) = tokio::join!(running, async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.cancel();
    });
    outcome
}

#[tokio::test(start_paused = true)]
async fn three_services_over_one_bus_make_one_pipeline() {
    let (clock, journal) = (PausedClock::new(), Journal::default());
    let (parts, bus) = (parts(clock, &journal), bus(clock));
    let correlator = Correlator::new(CorrelatorConfig::default()).unwrap();
    let mut detection =
        DetectionStage::builder(Arc::clone(&parts), correlator).detector(anomaly("checkout", 10, 60, 600)).build();
    let mut triage = triage(&parts, &journal);
    let mut remediation = RemediationStage::builder(Arc::clone(&parts), Flaky::new(0, false)).build();
    let stop = CancellationToken::new();
    let outcomes = for_seconds(1_200, stop.clone(), async {
        tokio::join!(
            triage.run(Arc::<MemoryBus>::clone(&bus), stop.clone()),
            remediation.run(Arc::<MemoryBus>::clone(&bus), stop.clone()),
            detection.run(Arc::<MemoryBus>::clone(&bus), stop.clone()),
        )
    })
    .await;
    assert!(outcomes.0.is_ok() && outcomes.1.is_ok() && outcomes.2.is_ok());
    let expected = ["announced checkout", "asks", "triaged checkout", "responded checkout", "resolved checkout"];
    let mut lines = journal.lines();
    // Two processes: the answer may be there before people hear of the report.
    lines[2..4].sort_by(|a, b| b.cmp(a));
    assert_eq!(lines, expected);
    assert!(bus.undelivered().is_empty());

    let incidents = parts.incident_log().query(&IncidentQuery::default()).await.unwrap();
    let mut kinds: Vec<&str> = incidents[0]
        .records
        .iter()
        .filter_map(|record| match record.entry {
            IncidentEntry::Announced { .. } => Some("announced"),
            IncidentEntry::Triaged { .. } => Some("triaged"),
            IncidentEntry::Responded { .. } => Some("responded"),
            IncidentEntry::Resolved { .. } => Some("resolved"),
            _ => None,
        })
        .collect();
    kinds[1..3].sort_by(|a, b| b.cmp(a));
    assert_eq!(kinds, ["announced", "triaged", "responded", "resolved"]);
}

#[tokio::test(start_paused = true)]
async fn triage_hands_back_what_has_no_report_and_the_next_process_makes_it_once() {
    let (clock, journal) = (PausedClock::new(), Journal::default());
    let (parts, bus) = (parts(clock, &journal), bus(clock));
    let stop = CancellationToken::new();
    // Stopped within the group's wait.
    bus.subscribe(DETECTIONS, TRIAGE_GROUP).await.unwrap();
    bus.publish(DETECTIONS, Envelope::detection(&announced("checkout", after(0)))).await.unwrap();
    for_seconds(20, stop.clone(), triage(&parts, &journal).run(Arc::<MemoryBus>::clone(&bus), stop)).await.unwrap();
    assert_eq!(journal.count("asks"), 0);
    assert_eq!(bus.undelivered().len(), 1);

    let stop = CancellationToken::new();
    for_seconds(120, stop.clone(), triage(&parts, &journal).run(Arc::<MemoryBus>::clone(&bus), stop)).await.unwrap();
    assert_eq!(journal.count("asks"), 1);
    assert!(bus.undelivered().is_empty());
}

#[tokio::test(start_paused = true)]
async fn poison_goes_to_the_dead_letter_with_its_reason_and_the_stream_goes_on() {
    let (clock, journal) = (PausedClock::new(), Journal::default());
    let (parts, bus) = (parts(clock, &journal), bus(clock));
    bus.subscribe(DETECTIONS, TRIAGE_GROUP).await.unwrap();
    let good = Envelope::detection(&announced("checkout", after(0)));
    let mut version = good.clone();
    version.specversion = "2.0".to_owned();
    let mut data = good.clone();
    data.data = "not an event".into();
    let mut kind = good.clone();
    kind.kind = "com.example.order.v1".to_owned();
    for message in [version, data, kind, good] {
        bus.publish(DETECTIONS, message).await.unwrap();
    }
    let stop = CancellationToken::new();
    for_seconds(120, stop.clone(), triage(&parts, &journal).run(Arc::<MemoryBus>::clone(&bus), stop)).await.unwrap();
    let reasons: Vec<String> =
        bus.dead_letters(DETECTIONS).iter().map(|letter| letter.extensions["deadletterreason"].to_string()).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    for (reason, part) in reasons.iter().zip(["specversion", "does not read", "com.example.order.v1"]) {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(journal.count("triaged checkout"), 1);
}

/// Fails, or panics, so many times before it answers.
#[derive(Debug)]
struct Flaky {
    failures: AtomicU32,
    panics: bool,
}

impl Flaky {
    fn new(failures: u32, panics: bool) -> Self {
        Self { failures: AtomicU32::new(failures), panics }
    }
}

#[async_trait::async_trait]
impl Responder for Flaky {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        let left = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            assert!(!self.panics, "responder bug");
            return Err(RespondError::retryable(triaged.incident_id.clone(), "store is down"));
        }
        Ok(Response::new(triaged.incident_id.clone(), Disposition::NoAction, Plan::default(), now))
    }

    async fn resolved(&self, _: &DetectionEvent, _: Timestamp) -> Result<(), RespondError> {
        Ok(())
    }
}

async fn dispositions(responder: Flaky, journal: &Journal) -> (Vec<String>, usize) {
    let clock = PausedClock::new();
    let (parts, bus) = (parts(clock, journal), bus(clock));
    bus.subscribe(TRIAGED, "remediation").await.unwrap();
    let mut answers = bus.subscribe(RESPONSES, "test").await.unwrap();
    bus.publish(TRIAGED, Envelope::triaged(&triaged("checkout"))).await.unwrap();
    let stop = CancellationToken::new();
    let mut stage = RemediationStage::builder(parts, responder).build();
    for_seconds(3_600, stop.clone(), stage.run(Arc::<MemoryBus>::clone(&bus), stop)).await.unwrap();
    bus.close();
    let mut found = Vec::new();
    while let Some(delivery) = answers.next().await {
        let delivery = delivery.unwrap();
        found.push(delivery.envelope().to_response().unwrap().disposition.as_str().to_owned());
        delivery.ack().await.unwrap();
    }
    (found, bus.dead_letters(TRIAGED).len())
}

#[tokio::test(start_paused = true)]
async fn a_responder_that_fails_for_a_while_gives_one_disposition() {
    for panics in [false, true] {
        let journal = Journal::default();
        let (found, dead) = dispositions(Flaky::new(4, panics), &journal).await;
        assert_eq!((found, dead), (vec!["no_action".to_owned()], 0));
        assert_eq!(journal.lines(), ["responded checkout"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_responder_that_always_fails_leaves_a_dead_letter_and_a_person_is_told() {
    let journal = Journal::default();
    let (found, dead) = dispositions(Flaky::new(u32::MAX, false), &journal).await;
    assert_eq!((found, dead), (vec!["escalated".to_owned()], 1));
    assert_eq!(journal.lines(), ["escalated checkout"]);
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_ends_unbidden_ends_the_pipeline_with_its_name() {
    let clock = PausedClock::new();
    let bus = bus(clock);
    let pipeline = Pipeline::builder()
        .with_clock(clock)
        .bus(Arc::<MemoryBus>::clone(&bus))
        .detector(anomaly("checkout", 10, 0, 60))
        .notify(LogNotifier)
        .triager(triager_fn("rules", |_| async { Ok(TriageReport::new("slow")) }))
        .build()
        .unwrap();
    let closing = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        bus.close();
    };
    let running = tokio::time::timeout(Duration::from_secs(600), pipeline.run(CancellationToken::new()));
    let (outcome, ()) = tokio::join!(running, closing);
    assert!(matches!(outcome.unwrap().unwrap_err(), StageError::BusClosed { stage: "triage" }));
}

/// Keeps one report without an answer until it is asked to recover, and notes what people were told.
#[derive(Debug)]
struct Forgetful(std::sync::Mutex<Vec<Recovered>>, Arc<std::sync::Mutex<Vec<Response>>>);

#[async_trait::async_trait]
impl Responder for Forgetful {
    async fn respond(&self, triaged: &Triaged, now: Timestamp) -> Result<Response, RespondError> {
        Ok(Response::new(triaged.incident_id.clone(), Disposition::NoAction, Plan::default(), now))
    }

    async fn resolved(&self, _: &DetectionEvent, _: Timestamp) -> Result<(), RespondError> {
        Ok(())
    }

    async fn recover(&self, _: Timestamp) -> Result<Vec<Recovered>, RespondError> {
        Ok(std::mem::take(&mut self.0.lock().unwrap()))
    }

    async fn told(&self, _: &Triaged, response: &Response, _: Timestamp) -> Result<(), RespondError> {
        self.1.lock().unwrap().push(response.clone());
        Ok(())
    }
}

/// A channel that is down.
#[derive(Debug)]
struct Down;

#[async_trait::async_trait]
impl Notifier for Down {
    fn channel(&self) -> &str {
        "down"
    }

    async fn notify(&self, _: &Notice, _: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        Err(NotifyError::retryable("down", "no route"))
    }
}

#[tokio::test(start_paused = true)]
async fn the_responder_is_told_once_people_were_told_and_not_where_no_channel_works() {
    for works in [true, false] {
        let (clock, journal) = (PausedClock::new(), Journal::default());
        let parts =
            if works { parts(clock, &journal) } else { StageParts::builder().with_clock(clock).notify(Down).build() };
        let bus = bus(clock);
        bus.subscribe(TRIAGED, "remediation").await.unwrap();
        bus.publish(TRIAGED, Envelope::triaged(&triaged("checkout"))).await.unwrap();
        let told = Arc::new(std::sync::Mutex::new(Vec::new()));
        let responder = Forgetful(std::sync::Mutex::default(), Arc::clone(&told));
        let mut remediation = RemediationStage::builder(parts, responder).build();
        let stop = CancellationToken::new();
        let running = remediation.run(Arc::<MemoryBus>::clone(&bus), stop.clone());
        for_seconds(120, stop, running).await.unwrap();
        let told: Vec<_> = told.lock().unwrap().iter().map(|response| response.disposition.clone()).collect();
        assert_eq!(told, if works { vec![Disposition::NoAction] } else { vec![] });
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_process_before_left_without_an_answer_is_told_once() {
    let (clock, journal) = (PausedClock::new(), Journal::default());
    let (parts, bus) = (parts(clock, &journal), bus(clock));
    let mut answers = bus.subscribe(RESPONSES, "audit").await.unwrap();
    let report = triaged("checkout");
    let reason = "interrupted".to_owned();
    let response =
        Response::new(report.incident_id.clone(), Disposition::Escalated { reason }, Plan::default(), after(0));
    let responder = Forgetful(std::sync::Mutex::new(vec![Recovered::new(report, response)]), Arc::default());
    let mut remediation = RemediationStage::builder(Arc::clone(&parts), responder).build();
    let stop = CancellationToken::new();
    let running = remediation.run(Arc::<MemoryBus>::clone(&bus), stop.clone());
    for_seconds(120, stop, running).await.unwrap();
    assert_eq!(journal.lines(), ["escalated checkout"]);
    assert_eq!(answers.next().await.unwrap().unwrap().envelope().data["disposition"]["disposition"], "escalated");
}
