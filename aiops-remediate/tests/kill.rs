//! A process that is killed at random moments, with `SIGKILL`, and another one that starts over its files: no
//! action has an effect twice, none is lost that the journal says is done, every report gets one disposition, and
//! the audit chain holds.
//!
//! `KILLS` says how often (default 50, and a fifth of them more over the journal of JSON lines). The handler acts
//! whenever it is asked, and leaves its mark in a file of its own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // helpers outside `#[test]`

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, Clock, Disposition, Inspection, Outcome, Plan, Precondition,
    Responder, Triaged, VirtualClock,
};
use aiops_remediate::{
    AuditKind, AuditReader, Dispatcher, FileAudit, JournalState, Mode, Opened, Policy, RemediationStore, ReportRecord,
    StepEnd, parameters,
};
use async_trait::async_trait;
use common::careless::{ACTIONS, catalogue};
use common::stores::{Kind, scratch_folder};
use common::{at, event, once_free, triaged};

const SEED: u64 = 0x00a1_0b5e_55ed;
/// Processes that are killed at the same time, each over files of its own.
const LANES: u64 = 8;
/// After so many kills a lane begins with new files: every start checks the whole chain.
const OF_ONE_FOLDER: u64 = 20;
/// The longest that a process lives once it is ready.
const LONGEST: u64 = 200_000;
/// What the child reads: its folder, its store, and which start it is.
const FOLDER: &str = "AIOPS_KILL_TEST_FOLDER";
const STORE: &str = "AIOPS_KILL_TEST_STORE";
const START: &str = "AIOPS_KILL_TEST_START";

/// Leaves a mark outside of the journal, on disk before it returns. The second action sees its mark when it is
/// asked again, the first never does.
#[derive(Debug)]
struct Marks {
    name: &'static str,
    file: PathBuf,
}

#[async_trait]
impl ActionHandler for Marks {
    fn name(&self) -> &str {
        self.name
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        let looks = self.name == ACTIONS[1] && parameters::observed(request).is_some();
        if looks && effects(&self.file).contains_key(&request.key()) {
            return Ok(Inspection::AlreadyDone { proof: "its mark".to_owned() });
        }
        Ok(Inspection::Ready { precondition: Precondition::default() })
    }

    async fn execute(&self, request: &ActionRequest, _: &Precondition) -> Result<Applied, ActionError> {
        let mark = || {
            let mut file = OpenOptions::new().create(true).append(true).open(&self.file)?;
            file.write_all(format!("{}\n", request.key()).as_bytes())?;
            file.sync_data()
        };
        mark().map_err(|error: std::io::Error| ActionError::unknown(request, "leave a mark", error))?;
        Ok(Applied::new("its mark"))
    }

    async fn verify(&self, _: &ActionRequest, _: &Applied) -> Result<Outcome, ActionError> {
        Ok(Outcome::Helped)
    }
}

fn effects(file: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for key in fs::read_to_string(file).unwrap_or_default().lines() {
        *counts.entry(key.to_owned()).or_default() += 1;
    }
    counts
}

/// A process over the files of a folder. Each start is later than all locks of the one before.
fn process(folder: &Path, store: &str, now: VirtualClock) -> (Dispatcher, Arc<dyn RemediationStore>) {
    let kind = Kind::ALL.iter().find(|kind| format!("{kind:?}") == store);
    let store = kind.unwrap().open(folder);
    let mut builder = Dispatcher::builder(catalogue(), Policy::threshold_only().mode(Mode::Active))
        .store(Arc::<dyn RemediationStore>::clone(&store))
        .audit(once_free(|| FileAudit::open(folder.join("audit.jsonl"))))
        .with_clock(now)
        .verify_after(Duration::ZERO);
    for name in ACTIONS {
        builder = builder.handler(Marks { name, file: folder.join("effects.log") });
    }
    (builder.build().unwrap(), store)
}

fn clock(start: u64) -> VirtualClock {
    VirtualClock::new(at(1_200 * i64::try_from(start).unwrap()))
}

fn report(start: u64, number: u64) -> Triaged {
    let labels = [("namespace", "shop"), ("pod", "cart-1")];
    triaged(event(start * 1_000_000 + number, "cart", &labels, at(0)), &ACTIONS)
}

/// Not a test by itself: the process that is killed.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let start = std::env::var(START).unwrap().parse().unwrap();
    let clock = clock(start);
    let (dispatcher, _) = process(&folder, &std::env::var(STORE).unwrap(), clock.clone());
    std::io::stderr().write_all(b"r").unwrap();
    // Far more than it comes to, unless the one who was to kill it is gone.
    for number in 0..1_000 {
        dispatcher.respond(&report(start, number), clock.now()).await.unwrap();
    }
}

/// What was seen of the kills.
#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    kills: u64,
    started: u64,
    executing: u64,
    verifying: u64,
    ended: u64,
    effects: u64,
    twice: u64,
    lost: u64,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.started += other.started;
        self.executing += other.executing;
        self.verifying += other.verifying;
        self.ended += other.ended;
        self.effects += other.effects;
        self.twice += other.twice;
        self.lost += other.lost;
    }
}

/// Starts a process, lets it get ready, and kills it `after` so many microseconds.
fn killed(folder: &Path, store: &str, start: u64, after: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(FOLDER, folder)
        .env(STORE, store)
        .env(START, start.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = child.stderr.take().unwrap();
    let mut ready = [0];
    said.read_exact(&mut ready).unwrap();
    std::thread::sleep(Duration::from_micros(after));
    if child.try_wait().unwrap().is_some() {
        let mut why = String::new();
        said.read_to_string(&mut why).unwrap();
        panic!("start {start} ended by itself: {}{why}", char::from(ready[0]));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Finds out what the process left, goes on with it, and looks whether all is as it must be.
async fn recovered(folder: &Path, store: &str, start: u64, seen: &mut Seen) {
    let later = clock(start);
    later.advance(Duration::from_secs(700));
    let (dispatcher, store) = process(folder, store, later.clone());
    let left = store.unfinished().await.unwrap();
    for entry in &left {
        match entry.state {
            JournalState::Started => seen.started += 1,
            JournalState::Executing { .. } => seen.executing += 1,
            JournalState::Verifying { .. } => seen.verifying += 1,
            _ => panic!("{entry:?} is unfinished"),
        }
    }

    dispatcher.recover(later.now()).await.unwrap();
    assert!(store.unfinished().await.unwrap().is_empty(), "start {start}: a step has no end");
    assert!(store.open_reports().await.unwrap().is_empty(), "start {start}: a report has no answer");
    let mut audited = audited(&folder.join("audit.jsonl"));
    let marks = folder.join("effects.log");
    let unannounced: Vec<String> = effects(&marks).into_keys().filter(|key| !audited.announced.contains(key)).collect();
    assert!(unannounced.is_empty(), "start {start}: done before it was written down: {unannounced:?}");
    let mut answered = 0;
    // The bus delivers again what was not acknowledged: nothing of it runs again, up to the first that is new.
    for number in 0.. {
        let report = report(start, number);
        let response = dispatcher.respond(&report, later.now()).await.unwrap();
        let record = ReportRecord::new(report, Plan::default(), later.now());
        let opened = store.open_report(&record).await.unwrap();
        assert!(matches!(opened, Opened::Known(Some(_))), "start {start}: report {number} has no disposition");
        if response.disposition != Disposition::Duplicate {
            break;
        }
        let answers = audited.answers.get(record.id.as_str()).map_or(0, BTreeSet::len);
        assert_eq!(answers, 1, "start {start}: report {number} has {answers} dispositions");
        answered += 1;
        for entry in store.steps_of(&record.id).await.unwrap() {
            if matches!(entry.state, JournalState::Ended(StepEnd::Executed { .. })) {
                audited.done.insert(entry.request.key());
            }
        }
    }
    seen.ended += u64::from(left.is_empty() && answered > 0);

    let effects = effects(&marks);
    let lost: Vec<&String> = audited.done.iter().filter(|key| !effects.contains_key(*key)).collect();
    let twice: Vec<&String> = effects.iter().filter(|(_, times)| **times > 1).map(|(key, _)| key).collect();
    if !lost.is_empty() || !twice.is_empty() {
        println!("start {start}: lost {lost:?}, twice {twice:?}");
    }
    seen.kills += 1;
    seen.lost += u64::try_from(lost.len()).unwrap();
    seen.twice += u64::try_from(twice.len()).unwrap();
}

/// What an audit log says.
#[derive(Debug, Default)]
struct Audited {
    /// Steps that were about to be executed.
    announced: BTreeSet<String>,
    /// Steps that were recorded as done.
    done: BTreeSet<String>,
    /// The dispositions of each report.
    answers: BTreeMap<String, BTreeSet<String>>,
}

/// Reads a log whose chain must hold.
fn audited(path: &Path) -> Audited {
    let mut audited = Audited::default();
    for record in AuditReader::new(BufReader::new(File::open(path).unwrap())) {
        let entry = record.unwrap().entry;
        if let (Some(step), Some(fingerprint)) = (&entry.step, &entry.fingerprint) {
            let key = format!("{}|{}|{fingerprint}", step.action, step.target);
            match step.state {
                JournalState::Executing { .. } => audited.announced.insert(key),
                JournalState::Ended(StepEnd::Executed { .. }) => audited.done.insert(key),
                _ => false,
            };
        }
        if let (AuditKind::Answer, Some(report), Some(disposition)) = (entry.kind, entry.report, entry.disposition) {
            let answers = audited.answers.entry(report.as_str().to_owned()).or_default();
            answers.insert(disposition.as_str().to_owned());
        }
    }
    audited
}

/// Kills one process after the other; `lane` draws the moments.
fn lane(store: &str, lane: u64, kills: u64) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let name = format!("kill-{}-{store}-{lane}", std::process::id());
    let (mut folder, mut seen, mut random) = (PathBuf::new(), Seen::default(), SEED + lane);
    for kill in 0..kills {
        let start = kill % OF_ONE_FOLDER;
        if start == 0 {
            folder = scratch_folder(&name);
        }
        // xorshift64: which moment it hits differs by machine, the property does not.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        killed(&folder, store, start, random % LONGEST);
        runtime.block_on(recovered(&folder, store, start, &mut seen));
        if start + 1 == OF_ONE_FOLDER || kill + 1 == kills {
            seen.effects += u64::try_from(effects(&folder.join("effects.log")).len()).unwrap();
        }
    }
    let _ = fs::remove_dir_all(&folder);
    seen
}

/// Kills so many processes over a store, and tells what was seen.
fn kills(store: Kind, kills: u64) {
    let of = move |lane| kills / LANES + u64::from(lane < kills % LANES);
    let lanes: Vec<_> =
        (0..LANES).map(|at| std::thread::spawn(move || lane(&format!("{store:?}"), at, of(at)))).collect();
    let mut all = Seen::default();
    for lane in lanes {
        all.add(lane.join().unwrap());
    }
    let Seen { kills, started, executing, verifying, ended, effects, twice, lost } = all;
    println!(
        "kill: kills {kills} started {started} executing {executing} verifying {verifying} ended {ended} \
         effects {effects} twice {twice} lost {lost}"
    );
    assert_eq!((twice, lost), (0, 0));
    assert!(effects > kills, "the kills came before anything was done");
    let least = [started, executing, verifying, ended].into_iter().min();
    assert!(least >= Some(kills / 100), "each state of the journal is hit once in a hundred kills");
}

fn wanted() -> u64 {
    std::env::var("KILLS").ok().map_or(50, |kills| kills.parse().unwrap())
}

#[cfg(feature = "sqlite")]
#[test]
fn killed_over_a_sqlite_store() {
    kills(Kind::Sqlite, wanted());
}

#[test]
fn killed_over_a_journal_of_json_lines() {
    kills(Kind::Jsonl, wanted() / 5);
}
