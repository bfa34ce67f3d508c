//! What outlives a process, and the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::{
    ActionRequest, BoxError, Clock, DetectionEvent, Disposition, MemoryProbe, Plan, Responder, Response, Triaged,
    VirtualClock,
};
use aiops_remediate::testing::{
    FailingAudit, FailingAuthoriser, FailingHandler, FailingProbe, FailingStore, Failpoints, OneFailpoint,
};
use aiops_remediate::{
    Approval, ApprovalAuthoriser, ApprovalId, AuditLog, AuditReader, Begun, Dispatcher, FileAudit, JournalEntry,
    JournalState, MemoryAudit, MemoryStore, Opened, Policy, RemediationStore, ReportId, ReportRecord, StepEnd,
};
use async_trait::async_trait;
use jiff::Timestamp;

use super::hand::{Hand, catalogue};
use crate::common::stores::Kind;
use crate::common::{at, event, once_free, triaged};

/// How long a lock lasts here, and how long after a death the next process looks.
const LOCK: Duration = Duration::from_secs(350);
const BEYOND_THE_LOCK: Duration = Duration::from_secs(700);
/// Of these rounds of recovery the last is later than any approval and than an hour of failing inspections.
const ROUNDS: usize = 6;

/// What actions change.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) clock: VirtualClock,
    pub(crate) probe: MemoryProbe,
    effects: Mutex<BTreeMap<String, Vec<ActionRequest>>>,
}

impl Outside {
    pub(crate) fn act(&self, request: &ActionRequest) {
        self.effects.lock().unwrap().entry(request.key()).or_default().push(request.clone());
    }

    pub(crate) fn has_effect(&self, key: &str) -> bool {
        self.effects.lock().unwrap().contains_key(key)
    }

    /// What was done for each key.
    pub(crate) fn effects(&self) -> BTreeMap<String, Vec<ActionRequest>> {
        self.effects.lock().unwrap().clone()
    }
}

/// Where a world's store is.
enum Place {
    /// In a process' memory or on a server, which do not die with it.
    Shared(Arc<dyn RemediationStore>, Arc<MemoryAudit>),
    /// In files of this folder.
    Files(Kind, PathBuf),
}

/// All that a process leaves behind when it dies.
pub(crate) struct World {
    pub(crate) outside: Arc<Outside>,
    place: Place,
    /// The store ends locks by a clock of its own.
    own_clock: bool,
    policy: Policy,
    /// What the bus delivers again: every report that was sent.
    sent: Mutex<Vec<Triaged>>,
    /// What people were told of each report, its last word.
    told: Mutex<BTreeMap<ReportId, Vec<Disposition>>>,
}

impl World {
    pub(crate) fn new(kind: Kind, folder: &str, policy: Policy) -> Self {
        if !kind.is_on_disk() {
            return Self::at(Place::Shared(Arc::new(MemoryStore::default()), Arc::default()), false, policy);
        }
        // A process dies here, not the machine: what is synced plays no part, so the files may be in memory.
        let shared = PathBuf::from("/dev/shm");
        let base = if shared.is_dir() { shared } else { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) };
        let folder = base.join(format!("aiops-crash-{}-{folder}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self::at(Place::Files(kind, folder), false, policy)
    }

    /// Over an empty store of a server, which ends locks by its own clock.
    #[cfg(feature = "redis")]
    pub(crate) fn on_a_server(store: Arc<dyn RemediationStore>, policy: Policy) -> Self {
        Self::at(Place::Shared(store, Arc::default()), true, policy)
    }

    fn at(place: Place, own_clock: bool, policy: Policy) -> Self {
        let outside = Arc::new(Outside {
            clock: VirtualClock::new(at(0)),
            probe: MemoryProbe::default(),
            effects: Mutex::default(),
        });
        for number in ["precondition", "verification", "share"] {
            outside.probe.set(number, 1.0);
        }
        let (sent, told) = Default::default();
        Self { outside, place, own_clock, policy, sent, told }
    }

    fn store(&self) -> Arc<dyn RemediationStore> {
        match &self.place {
            Place::Shared(store, _) => Arc::clone(store),
            Place::Files(kind, folder) => kind.open(folder),
        }
    }

    fn audit(&self) -> Arc<dyn AuditLog> {
        match &self.place {
            Place::Shared(_, audit) => Arc::<MemoryAudit>::clone(audit),
            Place::Files(_, folder) => Arc::new(once_free(|| FileAudit::open(folder.join("audit.jsonl")))),
        }
    }

    fn audit_text(&self) -> Vec<u8> {
        match &self.place {
            Place::Shared(_, audit) => audit.text().into_bytes(),
            Place::Files(_, folder) => fs::read(folder.join("audit.jsonl")).unwrap(),
        }
    }

    /// Time passes until every lock of a dead process is over.
    pub(crate) async fn beyond_the_locks(&self) {
        self.outside.clock.advance(BEYOND_THE_LOCK);
        if let (true, Place::Shared(store, _)) = (self.own_clock, &self.place) {
            for lease in store.leases(self.outside.clock.now()).await.unwrap() {
                store.force_release(&lease.key).await.unwrap();
            }
        }
    }

    /// A process that starts over what is there.
    pub(crate) fn start(&self, name: &str, failpoint: OneFailpoint) -> Process<'_> {
        let failpoint = Arc::new(failpoint);
        let points = || -> Arc<dyn Failpoints> { Arc::<OneFailpoint>::clone(&failpoint) };
        let store = self.store();
        let mut builder = Dispatcher::builder(catalogue(), self.policy.clone())
            .store(FailingStore::new(Arc::<dyn RemediationStore>::clone(&store), points()))
            .audit(FailingAudit::new(self.audit(), points()))
            .probe(FailingProbe::new(Shared(Arc::clone(&self.outside)), points()))
            .authoriser(FailingAuthoriser::new(Anyone, points()))
            .with_clock(self.outside.clock.clone())
            .lock_for(LOCK)
            .verify_after(Duration::from_secs(45))
            .holder(name);
        for hand in Hand::all(&self.outside) {
            builder = builder.handler(FailingHandler::new(hand, points()));
        }
        Process { world: self, dispatcher: builder.build().unwrap(), store, failpoint }
    }

    /// Another process finds out what is left, over hours; the bus delivers again what was not acknowledged.
    /// Says what is not as it must be.
    pub(crate) async fn mended(&self) -> Result<Mended, String> {
        let process = self.start("mender", OneFailpoint::none());
        let sent = self.sent.lock().unwrap().clone();
        for _ in 0..ROUNDS {
            self.beyond_the_locks().await;
            process.recover().await;
            for triaged in &sent {
                process.respond(triaged).await;
            }
        }
        let store = &process.store;
        let open = store.unfinished().await.unwrap();
        if !open.is_empty() || !store.open_reports().await.unwrap().is_empty() {
            return Err(format!("unfinished: {open:?}"));
        }
        if !store.pending_approvals().await.unwrap().is_empty() {
            return Err("an approval still waits".to_owned());
        }
        if !store.untold().await.unwrap().is_empty() {
            return Err("an answer still waits to be told".to_owned());
        }
        let held = store.leases(self.outside.clock.now()).await.unwrap();
        if !held.is_empty() {
            return Err(format!("still locked: {held:?}"));
        }

        let mut mended = Mended::default();
        for triaged in &sent {
            let record = ReportRecord::new(triaged.clone(), Plan::default(), at(0));
            let told = self.told.lock().unwrap().get(&record.id).map_or(0, Vec::len);
            match store.open_report(&record).await.unwrap() {
                // Of a loop people are told once, with the first report that it holds back.
                Opened::Known(Some(Disposition::Duplicate)) => mended.untold += usize::from(!self.told_of_a_loop()),
                Opened::Known(Some(_)) => mended.untold += usize::from(told == 0),
                _ => mended.without += 1,
            }
            mended.told_twice += usize::from(told > 1);
        }
        let effects = self.outside.effects();
        let audited = self.audited()?;
        for (key, requests) in &effects {
            mended.second += usize::from(requests.len() > 1);
            if !audited.announced.contains(key) {
                return Err(format!("{key} has an effect that the audit log did not announce"));
            }
            // Nobody's report: what began for another one exists, whatever became of that.
            let stranger = ReportId::of(&triaged(event(1_000, "cart", &[], at(0)), &[]));
            let begun = store.begin(&JournalEntry::new(stranger, 0, requests[0].clone(), at(0))).await.unwrap();
            if !matches!(begun, Begun::Exists { end: Some(_), .. }) {
                return Err(format!("{key} has an effect, and in the journal {begun:?}"));
            }
        }
        match audited.done.iter().find(|key| !effects.contains_key(*key)) {
            Some(key) => Err(format!("{key} is recorded as done, and has no effect")),
            None => Ok(mended),
        }
    }

    fn told_of_a_loop(&self) -> bool {
        let of_a_loop = |told: &Disposition| told.reason().is_some_and(|reason| reason.contains("loop guard"));
        self.told.lock().unwrap().values().flatten().any(of_a_loop)
    }

    /// What the audit log says, in a chain that holds.
    fn audited(&self) -> Result<Audited, String> {
        let mut audited = Audited::default();
        for record in AuditReader::new(&*self.audit_text()) {
            let entry = record.map_err(|broken| format!("the audit log: {broken}"))?.entry;
            let (Some(step), Some(fingerprint)) = (entry.step, entry.fingerprint) else { continue };
            let key = format!("{}|{}|{fingerprint}", step.action, step.target);
            match step.state {
                JournalState::Executing { .. } => audited.announced.insert(key),
                JournalState::Ended(StepEnd::Executed { .. }) => audited.done.insert(key),
                _ => false,
            };
        }
        Ok(audited)
    }
}

#[derive(Debug, Default)]
struct Audited {
    /// Steps that were about to be executed.
    announced: BTreeSet<String>,
    /// Steps that were recorded as done.
    done: BTreeSet<String>,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Place::Files(_, folder) = &self.place {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// What was found in the end.
#[derive(Debug, Default)]
pub(crate) struct Mended {
    /// Actions that were executed a second time.
    pub(crate) second: usize,
    /// Reports without a disposition in the store.
    pub(crate) without: usize,
    /// Reports whose disposition no caller was told.
    pub(crate) untold: usize,
    /// Reports whose disposition was told twice.
    pub(crate) told_twice: usize,
}

/// One process over the world.
pub(crate) struct Process<'w> {
    world: &'w World,
    pub(crate) dispatcher: Dispatcher,
    /// The store without boundaries.
    pub(crate) store: Arc<dyn RemediationStore>,
    pub(crate) failpoint: Arc<OneFailpoint>,
}

impl Process<'_> {
    pub(crate) fn now(&self) -> Timestamp {
        self.world.outside.clock.now()
    }

    pub(crate) fn later(&self, seconds: u64) {
        self.world.outside.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) fn set_probe(&self, what: &str, value: f64) {
        self.world.outside.probe.set(what, value);
    }

    fn send(&self, triaged: &Triaged) {
        let mut sent = self.world.sent.lock().unwrap();
        if !sent.contains(triaged) {
            sent.push(triaged.clone());
        }
    }

    async fn tell(&self, triaged: &Triaged, response: &Response) {
        if !matches!(response.disposition, Disposition::AwaitingApproval | Disposition::Duplicate) {
            let mut told = self.world.told.lock().unwrap();
            told.entry(ReportId::of(triaged)).or_default().push(response.disposition.clone());
        }
        let _ = self.dispatcher.told(triaged, response, self.now()).await;
    }

    /// As the remediation stage delivers a report; what has to be verified is left to `recover`. An error is
    /// delivered again later.
    pub(crate) async fn respond(&self, triaged: &Triaged) {
        self.send(triaged);
        let accepted = self.dispatcher.accept(triaged, self.now()).await;
        let answer = match accepted {
            Ok(None) => self.dispatcher.finish(triaged, self.now()).await,
            accepted => accepted,
        };
        if let Ok(Some(response)) = answer {
            self.tell(triaged, &response).await;
        }
    }

    pub(crate) async fn recover(&self) {
        for recovered in self.dispatcher.recover(self.now()).await.unwrap_or_default() {
            self.tell(&recovered.triaged, &recovered.response).await;
        }
    }

    pub(crate) async fn resolved(&self, event: &DetectionEvent) {
        let _ = self.dispatcher.resolved(event, self.now()).await;
    }

    /// What a person is shown first.
    pub(crate) async fn asked(&self) -> Option<ApprovalId> {
        Some(self.dispatcher.approvals().await.ok()?.first()?.id.clone())
    }
}

/// The world's numbers, which outlive a process.
#[derive(Debug)]
struct Shared(Arc<Outside>);

#[async_trait]
impl aiops_core::Probe for Shared {
    async fn read(&self, query: &aiops_core::ProbeQuery) -> Result<aiops_core::Reading, aiops_core::ProbeError> {
        self.0.probe.read(query).await
    }
}

#[derive(Debug)]
struct Anyone;

#[async_trait]
impl ApprovalAuthoriser for Anyone {
    async fn authorise(&self, _: &str, _: &Approval, _: Timestamp) -> Result<(), BoxError> {
        Ok(())
    }
}
