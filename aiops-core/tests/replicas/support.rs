//! Replicas in the test's hand: what they see, whom they tell, and what goes wrong between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::jiff::{SignedDuration, Timestamp};
use aiops_core::{
    BusError, Correlator, CorrelatorConfig, DetectionEvent, DetectionStage, Envelope, Evaluation, EventBus, EventKind,
    Identity, Notice, NoticeKind, Notifier, NotifyError, Receipt, Severity, Sighting, StageParts, StateError,
    StateStore, Subscription, Versioned, VirtualClock, detector_fn,
};
use async_trait::async_trait;
use tokio::sync::Notify;

/// How often each replica evaluates.
pub(crate) const EVERY: u64 = 10;

/// A store as one replica reaches it.
#[derive(Debug)]
struct Link {
    store: Arc<dyn StateStore>,
    faults: Arc<Faults>,
}

impl Link {
    async fn travel(&self, key: &str) -> Result<(), StateError> {
        // Others get their turn here, on the way there and back.
        tokio::task::yield_now().await;
        if self.faults.cut.load(Ordering::Relaxed) { Err(unreachable(key)) } else { Ok(()) }
    }
}

fn unreachable(key: &str) -> StateError {
    StateError::Unavailable { doing: "reach", key: key.to_owned(), source: "partition".into() }
}

#[async_trait]
impl StateStore for Link {
    async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
        self.travel(key).await?;
        let found = self.store.load(key).await;
        tokio::task::yield_now().await;
        found
    }

    async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
        self.travel(key).await?;
        if self.faults.takes_no_save.load(Ordering::Relaxed) {
            return Err(unreachable(key));
        }
        let saved = self.store.save(key, bytes, expected).await;
        self.travel(key).await?;
        if self.faults.loses_an_answer.swap(false, Ordering::Relaxed) { Err(unreachable(key)) } else { saved }
    }
}

/// What goes wrong with one replica.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// It does not reach the store.
    pub(crate) cut: AtomicBool,
    /// The answer to its next save gets lost.
    pub(crate) loses_an_answer: AtomicBool,
    /// The store can be read by it, and takes nothing.
    pub(crate) takes_no_save: AtomicBool,
    /// It stops for ever once the receiver has its next page.
    pub(crate) dies_after_a_page: AtomicBool,
    /// It stops for ever before the receiver has its next page.
    pub(crate) dies_before_a_page: AtomicBool,
}

/// What people were told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) replica: String,
    pub(crate) word: &'static str,
    pub(crate) service: String,
    pub(crate) incident: String,
}

/// The receiver of all replicas.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    pub(crate) pages: Mutex<Vec<Page>>,
    /// It answers with 5xx.
    pub(crate) down: AtomicBool,
}

impl Receiver {
    pub(crate) fn take(&self) -> Vec<Page> {
        std::mem::take(&mut self.pages.lock().unwrap())
    }
}

#[derive(Debug)]
struct Channel {
    replica: String,
    receiver: Arc<Receiver>,
    faults: Arc<Faults>,
    dead: Arc<Notify>,
}

impl Channel {
    async fn die(&self) {
        self.dead.notify_one();
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl Notifier for Channel {
    fn channel(&self) -> &str {
        "pager"
    }

    async fn notify(&self, notice: &Notice, _: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        tokio::task::yield_now().await;
        if self.faults.dies_before_a_page.load(Ordering::Relaxed) {
            self.die().await;
        }
        if self.receiver.down.load(Ordering::Relaxed) {
            return Err(NotifyError::retryable("pager", "503 Service Unavailable"));
        }
        let word = match notice.kind {
            NoticeKind::Announced { .. } => "announced",
            NoticeKind::Resolved => "resolved",
            _ => "other",
        };
        let page = Page {
            replica: self.replica.clone(),
            word,
            service: notice.service().to_string(),
            incident: notice.incident_id.to_string(),
        };
        self.receiver.pages.lock().unwrap().push(page);
        if self.faults.dies_after_a_page.load(Ordering::Relaxed) {
            self.die().await;
        }
        Ok(Receipt::new("message-1"))
    }
}

/// Notes what was handed on to triage.
#[derive(Debug, Default)]
pub(crate) struct Ids(pub Mutex<BTreeSet<String>>);

#[async_trait]
impl EventBus for Ids {
    async fn publish(&self, _: &str, message: Envelope) -> Result<(), BusError> {
        self.0.lock().unwrap().insert(message.id);
        Ok(())
    }

    async fn subscribe(&self, topic: &str, _: &str) -> Result<Box<dyn Subscription>, BusError> {
        Err(BusError::Closed { topic: topic.to_owned() })
    }
}

/// By service, whether its anomaly is there.
pub(crate) type World = Arc<Mutex<BTreeMap<String, bool>>>;

pub(crate) fn base() -> Timestamp {
    "2025-05-05T08:00:00Z".parse().unwrap()
}

/// One process.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) name: String,
    pub(crate) faults: Arc<Faults>,
    /// What this one sees otherwise than the others.
    pub(crate) own_view: World,
    /// Its clock is ahead by so much.
    pub(crate) skew: SignedDuration,
    stage: DetectionStage,
    clock: VirtualClock,
    dead: Arc<Notify>,
}

/// All replicas, their store and their receiver.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) world: World,
    pub(crate) bus: Arc<Ids>,
    pub(crate) replicas: Vec<Replica>,
}

impl Cluster {
    pub(crate) fn new(store: impl StateStore, replicas: usize) -> Self {
        let mut cluster = Self {
            store: Arc::new(store),
            receiver: Arc::default(),
            world: Arc::default(),
            bus: Arc::default(),
            replicas: Vec::new(),
        };
        for number in 0..replicas {
            let replica = cluster.start(&format!("detection-{number}"));
            cluster.replicas.push(replica);
        }
        cluster
    }

    /// A process that begins with nothing but the store.
    pub(crate) fn start(&self, name: &str) -> Replica {
        let (faults, dead) = (Arc::<Faults>::default(), Arc::<Notify>::default());
        let (clock, own_view) = (VirtualClock::new(base()), World::default());
        let parts = StageParts::builder()
            .with_clock(clock.clone())
            .state(Link { store: Arc::clone(&self.store), faults: Arc::clone(&faults) })
            .replica(name)
            .notify(Channel {
                replica: name.to_owned(),
                receiver: Arc::clone(&self.receiver),
                faults: Arc::clone(&faults),
                dead: Arc::clone(&dead),
            })
            .build();
        let config: CorrelatorConfig =
            serde_json::from_str(r#"{"default_rule":{"clear_after":"10s"},"flapping":{"changes":0,"window":"30m"}}"#)
                .unwrap();
        let (world, own) = (Arc::clone(&self.world), Arc::clone(&own_view));
        let sees = detector_fn("world", Duration::from_secs(EVERY), move |tick| {
            let mut seen = world.lock().unwrap().clone();
            seen.extend(own.lock().unwrap().clone());
            let sightings = seen.into_iter().map(|(service, firing)| sighting(&service, firing, tick.now)).collect();
            async move { Ok(Evaluation::new(sightings)) }
        });
        let stage = DetectionStage::builder(parts, Correlator::new(config).unwrap()).detector(sees).build();
        Replica { name: name.to_owned(), faults, own_view, skew: SignedDuration::ZERO, stage, clock, dead }
    }

    /// The process is gone, and another one takes its place.
    pub(crate) fn restart(&mut self, place: usize, name: &str) {
        let mut fresh = self.start(name);
        fresh.skew = self.replicas[place].skew;
        self.replicas[place] = fresh;
    }

    pub(crate) fn set(&self, services: &[String], firing: bool) {
        let mut world = self.world.lock().unwrap();
        for service in services {
            world.insert(service.clone(), firing);
        }
    }

    /// One evaluation of one replica; whether it lived through it.
    pub(crate) async fn tick(&mut self, place: usize, at: Timestamp) -> bool {
        self.replicas[place].tick(at, &self.bus).await
    }

    /// One evaluation of each replica, one after the other; those that die come back under their name.
    pub(crate) async fn round(&mut self, at: Timestamp) {
        self.round_without(None, at).await;
    }

    /// One that stands still is left out.
    pub(crate) async fn round_without(&mut self, stopped: Option<usize>, at: Timestamp) {
        for place in (0..self.replicas.len()).filter(|place| Some(*place) != stopped) {
            if !self.tick(place, at).await {
                let name = self.replicas[place].name.clone();
                self.restart(place, &name);
            }
        }
    }

    pub(crate) fn bus_ids(&self) -> usize {
        self.bus.0.lock().unwrap().len()
    }
}

impl Replica {
    pub(crate) async fn tick(&mut self, at: Timestamp, bus: &Arc<Ids>) -> bool {
        let now = at.checked_add(self.skew).unwrap();
        self.clock.set(now);
        tokio::select! {
            biased;
            outcome = self.stage.tick(now, &**bus) => {
                outcome.unwrap();
                true
            }
            () = self.dead.notified() => false,
        }
    }
}

fn sighting(service: &str, firing: bool, at: Timestamp) -> Sighting {
    if !firing {
        return Sighting::Normal(Identity::new(EventKind::MetricAnomaly, service, "P99LatencyAnomaly"));
    }
    let event = DetectionEvent::builder(EventKind::MetricAnomaly, service, Severity::Warning, at, "world")
        .alertname("P99LatencyAnomaly")
        .build();
    Sighting::Firing(Box::new(event))
}

pub(crate) fn after(seconds: u64) -> Timestamp {
    aiops_core::time::plus(base(), Duration::from_secs(seconds))
}

/// A real server, where the test asks for it.
#[cfg(feature = "redis")]
pub(crate) async fn redis(test: &str) -> aiops_core::RedisStateStore {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let prefix = format!("{test}-{}-{now}", std::process::id());
    aiops_core::RedisStateStore::connect(&std::env::var("REDIS_URL").unwrap(), &prefix).await.unwrap()
}
