//! The process of one replica.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::jiff::{SignedDuration, Timestamp};
use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, BusError, BusSettings, CancellationToken, Confidence,
    Correlator, CorrelatorConfig, DETECTIONS, DetectionEvent, DetectionStage, Detector, DetectorError, Envelope,
    Evaluation, EventBus, EventKind, Inspection, Notice, NoticeKind, Notifier, NotifyError, Outcome, Precondition,
    Receipt, RedisStateStore, RemediationStage, Severity, Sighting, StageParts, Status, Subscription, Tick,
    TriageReport, TriageStage, error_chain, triager_fn,
};
use aiops_examples::three_services::connect;
use aiops_remediate::{ActionCatalogue, Dispatcher, Mode, Policy, RedisStore};
use async_trait::async_trait;

use super::ledger::Ledger;

pub(crate) const ENVIRONMENT: &str = "AIOPS_CHAOS_TEST_ORDER";
pub(crate) const SERVICES: [&str; 3] = ["detection", "triage", "remediation"];

/// An anomaly is there for so long: a pair of replicas may be gone for a while.
const STAYS: SignedDuration = SignedDuration::from_secs(15);
const CATALOGUE: &str = "actions:\n  - {name: restart, owner: shop, blast_radius: pod, requires_approval: false}\n";

/// What a process is to do.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) service: String,
    pub(crate) replica: String,
    pub(crate) bus: String,
    pub(crate) state: String,
    pub(crate) folder: PathBuf,
    /// Of the first event, in milliseconds of Unix time.
    pub(crate) origin: u128,
    /// Milliseconds between two events.
    pub(crate) every: u128,
    pub(crate) events: u64,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, replica, bus, state, folder, origin, every, events } = self;
        write!(f, "{service}\n{replica}\n{bus}\n{state}\n{}\n{origin}\n{every}\n{events}", folder.display())
    }
}

impl Order {
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut next = || lines.next().map(str::to_owned);
        Some(Self {
            service: next()?,
            replica: next()?,
            bus: next()?,
            state: next()?,
            folder: next()?.into(),
            origin: next()?.parse().ok()?,
            every: next()?.parse().ok()?,
            events: next()?.parse().ok()?,
        })
    }

    /// What it says of trouble.
    pub(crate) fn log(&self) -> Stdio {
        let file = self.folder.join(format!("{}.stderr", self.replica));
        OpenOptions::new().create(true).append(true).open(file).map_or_else(|_| Stdio::null(), Stdio::from)
    }
}

/// Not a test by itself: one replica, until it is killed or the test is gone.
#[tokio::test]
async fn child() {
    let Some(order) = std::env::var(ENVIRONMENT).ok().and_then(|text| Order::read(&text)) else { return };
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    if let Err(error) = run(order).await {
        let error = error_chain(&*error);
        eprintln!("{error}");
    }
    std::process::exit(2);
}

async fn run(order: Order) -> Result<(), aiops_core::BoxError> {
    // A killed server may be away at a start.
    let settings = || {
        BusSettings::default()
            .ack_deadline(Duration::from_secs(6))
            .publish_deadline(Duration::from_secs(30))
            .backoff(Duration::from_millis(200), Duration::from_secs(1))
            .max_attempts(100)
    };
    let ledger = Ledger::of(&order.folder);
    let bus = connect(&order.bus, settings()).await?;
    let bus: Arc<dyn EventBus> = Arc::new(Noted { bus, ledger: ledger.clone() });
    let parts = StageParts::builder()
        .notify(Person { ledger: ledger.clone() })
        .state(RedisStateStore::connect(&order.state, "chaos").await?)
        .replica(order.replica.as_str())
        .build();
    let never = CancellationToken::new();
    match order.service.as_str() {
        "detection" => {
            let mut stage = DetectionStage::builder(parts, Correlator::new(CorrelatorConfig::default())?)
                .detector(Feed { order })
                .build();
            stage.run(bus, never).await?;
        }
        "triage" => {
            let triager = triager_fn("rules", |_| async {
                let report = TriageReport::new("it hangs")
                    .recommended_actions(["restart"])
                    .confidence(Confidence::new(0.9)?)
                    .needs_human(false);
                Ok(report)
            });
            let mut stage = TriageStage::builder(parts, triager).group_wait(Duration::from_millis(50)).build();
            stage.run(bus, never).await?;
        }
        _ => {
            let dispatcher = Dispatcher::builder(
                ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml")?,
                Policy::threshold_only().mode(Mode::Active),
            )
            .handler(Restart { ledger })
            .store(RedisStore::connect(&order.state, "chaos-remediation").await?)
            .holder(order.replica.as_str())
            .inspect_deadline(Duration::from_secs(1))
            .execute_deadline(Duration::from_secs(1))
            .verify_after(Duration::ZERO)
            .lock_for(Duration::from_secs(6))
            .tell_again_after(Duration::from_secs(5))
            .build()?;
            RemediationStage::builder(parts, dispatcher)
                .at_once(16)
                .recover_every(Duration::from_secs(3))
                .build()
                .run(bus, never)
                .await?;
        }
    }
    Ok(())
}

/// The same data for each replica: every so often the anomaly of a service of its own begins.
#[derive(Debug)]
struct Feed {
    order: Order,
}

impl Feed {
    fn began(&self, number: u64) -> Option<Timestamp> {
        let at = self.order.origin + self.order.every * u128::from(number);
        Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()
    }
}

#[async_trait]
impl Detector for Feed {
    fn name(&self) -> &str {
        "feed"
    }

    fn every(&self) -> Duration {
        Duration::from_millis(250)
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let firing = (0..self.order.events).filter_map(|number| {
            let began = self.began(number)?;
            (began <= tick.now && tick.now.duration_since(began) < STAYS).then(|| {
                let service = format!("service-{number:05}");
                let kind = EventKind::MetricAnomaly;
                let event = DetectionEvent::builder(kind, service.as_str(), Severity::Critical, began, "feed");
                Sighting::Firing(Box::new(event.label("namespace", "shop").label("pod", service).build()))
            })
        });
        Ok(Evaluation::new(firing.collect()))
    }
}

/// Notes which detections the bus took.
#[derive(Debug)]
struct Noted {
    bus: Arc<dyn EventBus>,
    ledger: Ledger,
}

#[async_trait]
impl EventBus for Noted {
    async fn publish(&self, topic: &str, message: Envelope) -> Result<(), BusError> {
        let event = message.to_detection().ok().filter(|event| topic == DETECTIONS && event.status == Status::Firing);
        self.bus.publish(topic, message).await?;
        if let Some(event) = event {
            let incident = event.incident_id.as_ref().map_or("none", |incident| incident.as_str());
            self.ledger.note("taken", incident).unwrap();
        }
        Ok(())
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        self.bus.subscribe(topic, group).await
    }
}

/// Notes what people are told.
#[derive(Debug)]
struct Person {
    ledger: Ledger,
}

#[async_trait]
impl Notifier for Person {
    fn channel(&self) -> &str {
        "pager"
    }

    async fn notify(&self, notice: &Notice, _: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let incident = notice.incident_id.as_str();
        let noted = match &notice.kind {
            NoticeKind::Announced { .. } => self.ledger.note("announced", &format!("{incident} {}", notice.service())),
            NoticeKind::Updated { response: Some(response), .. }
            | NoticeKind::Escalated { response: Some(response), .. } => {
                // The same answer told again is the same answer; another one has another time.
                let (word, at) = (response.disposition.as_str(), response.at);
                self.ledger.note("answered", &format!("{incident} {word} {at}"))
            }
            _ => Ok(()),
        };
        noted.map_err(|error| NotifyError::retryable("pager", error))?;
        Ok(Receipt::new("one"))
    }
}

/// Acts whenever it is asked: only what stands before it keeps an action from running twice.
#[derive(Debug)]
struct Restart {
    ledger: Ledger,
}

#[async_trait]
impl ActionHandler for Restart {
    fn name(&self) -> &str {
        "restart"
    }

    async fn inspect(&self, _: &ActionRequest) -> Result<Inspection, ActionError> {
        Ok(Inspection::Ready { precondition: Precondition::default() })
    }

    async fn execute(&self, request: &ActionRequest, _: &Precondition) -> Result<Applied, ActionError> {
        let noted = self.ledger.note("acted", &request.key());
        noted.map_err(|error| ActionError::unknown(request, "note", error))?;
        Ok(Applied::new("restarted"))
    }

    async fn verify(&self, _: &ActionRequest, _: &Applied) -> Result<Outcome, ActionError> {
        Ok(Outcome::Helped)
    }
}
