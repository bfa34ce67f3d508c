//! The process that is stopped or killed while it holds a step, and the dispatcher of every process.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_core::{ActionRequest, Clock, Disposition, Precondition, Responder, Response, SystemClock, Triaged};
use aiops_remediate::{
    ActionCatalogue, Dispatcher, JournalState, Mode, Policy, RedisStore, RemediationStore, StepEnd, StepKey, StoreError,
};
use jiff::Timestamp;

use super::thing::{LONG, Replace, Stay, Thing};
use crate::common::{event, triaged};

const SETUP: &str = "AIOPS_TAKEOVER_TEST";
const CATALOGUE: &str = "
actions:
  - {name: first, owner: shop, blast_radius: pod, requires_approval: false}
  - {name: second, owner: shop, blast_radius: pod, requires_approval: false}
";

/// How long locks last, and what a step may take of that.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Times {
    pub(crate) lock: Duration,
    inspect: Duration,
    execute: Duration,
}

impl Times {
    /// A step fits in with room for a machine that is busy.
    pub(crate) const SHORT: Self = Self::of(4_000);
    pub(crate) const WIDE: Self = Self::of(12_000);

    const fn of(lock: u64) -> Self {
        let [inspect, execute] = [lock / 100 * 4, lock / 100 * 45];
        Self {
            lock: Duration::from_millis(lock),
            inspect: Duration::from_millis(inspect),
            execute: Duration::from_millis(execute),
        }
    }
}

/// All that a process needs to know.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Setup {
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) folder: PathBuf,
    pub(crate) times: Times,
    pub(crate) actions: Vec<String>,
    pub(crate) stay: Stay,
    /// Whether the holder's timer goes on with what others looked at meanwhile; else it writes at once with the token
    /// that it had.
    pub(crate) timer: bool,
    pub(crate) detected_at: Timestamp,
}

impl Setup {
    pub(crate) fn report(&self) -> Triaged {
        let labels = [("namespace", "shop"), ("pod", "cart-1")];
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        triaged(event(1, "cart", &labels, self.detected_at), &actions)
    }

    pub(crate) fn thing(&self) -> Thing {
        Thing { folder: self.folder.clone() }
    }

    pub(crate) async fn store(&self) -> Arc<RedisStore> {
        Arc::new(RedisStore::connect(&self.url, &self.prefix).await.unwrap())
    }

    /// The dispatcher of a process; the action `stays` inside, all others do not.
    pub(crate) fn dispatcher(&self, store: &Arc<RedisStore>, by: &str, stays: &str, clock: impl Clock) -> Dispatcher {
        let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
        let mut builder = Dispatcher::builder(catalogue, Policy::threshold_only().mode(Mode::Active))
            .store(Arc::<RedisStore>::clone(store))
            .holder(by)
            .lock_for(self.times.lock)
            .inspect_deadline(self.times.inspect)
            .execute_deadline(self.times.execute)
            .verify_after(Duration::ZERO)
            .with_clock(clock);
        for name in ["first", "second"] {
            let stay = if name == stays { self.stay } else { Stay::No };
            builder = builder.handler(Replace { name, thing: self.thing(), by: by.to_owned(), stay });
        }
        builder.build().unwrap()
    }
}

/// A process that answers a report, and that a signal can reach.
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn start(setup: &Setup) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(SETUP, serde_json::to_string(setup).unwrap())
            .stdout(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Stops it; returns once none of its threads runs any more.
    pub(crate) async fn stop(&self) {
        self.signal("-STOP");
        let tasks = format!("/proc/{}/task", self.0.id());
        let stands = |task: std::io::Result<std::fs::DirEntry>| {
            // The state comes after the name, which is in brackets.
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        until("all threads stand", || std::fs::read_dir(&tasks).unwrap().all(stands).then_some(())).await;
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) {
        let status = until("the holder ends", || self.0.try_wait().unwrap()).await;
        assert!(status.success(), "the holder failed");
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks until something is there.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LONG, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Calls recovery, as a timer does, until the report is answered and no step is without an end; the answers that
/// it gave.
pub(crate) async fn recovered(
    dispatcher: &Dispatcher,
    store: &RedisStore,
    now: impl Fn() -> Timestamp,
) -> Vec<Response> {
    let (began, mut answers) = (Instant::now(), Vec::new());
    loop {
        // A server that comes back is not there at once.
        let found = dispatcher.recover(now()).await.unwrap_or_default();
        answers.extend(found.into_iter().map(|recovered| recovered.response));
        let open = store.open_reports().await.map_or(1, |open| open.len());
        let unfinished = store.unfinished().await.map_or(1, |steps| steps.len());
        if open + unfinished == 0 {
            return answers;
        }
        assert!(began.elapsed() < LONG, "{open} reports and {unfinished} steps are left");
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// What a store says to a holder who writes with the token that it was given.
pub(crate) async fn old_writes(store: &RedisStore, request: &ActionRequest) -> Vec<&'static str> {
    let precondition = Precondition::default();
    let late = JournalState::Verifying { precondition, proof: "late".to_owned(), verify_at: Timestamp::now() };
    let ended = JournalState::Ended(StepEnd::NotRun { reason: "late".to_owned() });
    let mut said = Vec::new();
    for state in [late, ended] {
        said.push(match store.advance(&StepKey::of(request), request.fencing_token, &state, Timestamp::now()).await {
            Ok(()) => "accepted",
            Err(StoreError::Fenced { .. }) => "fenced",
            Err(StoreError::Refused { .. }) => "refused",
            Err(error) => panic!("{error:?}"),
        });
    }
    said
}

/// What the process does: it answers the report, and writes once more with its old token.
pub(crate) async fn child() {
    let Ok(setup) = std::env::var(SETUP) else { return };
    let setup: Setup = serde_json::from_str(&setup).unwrap();
    let (thing, store) = (setup.thing(), setup.store().await);
    let dispatcher = setup.dispatcher(&store, "holder", "first", SystemClock);
    let response = dispatcher.respond(&setup.report(), Timestamp::now()).await.unwrap();
    thing.note("answers", response.disposition.as_str());
    if setup.timer && response.disposition == Disposition::Duplicate {
        // Another process looked at the report between two of its steps: the timer goes on with it.
        for answer in recovered(&dispatcher, &store, Timestamp::now).await {
            thing.note("answers", answer.disposition.as_str());
        }
    }
    let request = thing.inside("first").unwrap();
    let own = format!("{}\t", request.fencing_token);
    let tried = || [thing.lines("changes"), thing.lines("refused")].concat().iter().any(|line| line.starts_with(&own));
    until("its call to the object ends", || tried().then_some(())).await;
    for said in old_writes(&store, &request).await {
        thing.note("old_writes", said);
    }
}
