//! Bar: a durable step (journal started, executing, outcome: three calls, each synced before it answers) at
//! least 1,000 times a second in `SqliteStore` on this machine's disk. Beside it, in the same run, the store in
//! memory, and the disk alone: one write and one sync, again and again.
//!
//! One caller at a time, and 8 and 64 at once, as dispatchers are: those share the syncs.
#![allow(clippy::print_stdout)] // what it is for

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_core::testing::samples;
use aiops_core::{ActionName, ActionRequest, Outcome, Plan, Precondition, Target};
use aiops_remediate::{JournalEntry, JournalState, MemoryStore, RemediationStore, ReportRecord, SqliteStore, StepEnd};
use jiff::Timestamp;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long each run takes; one that warms up comes before them. Each has a fresh store, since what has no end of
/// its report is kept.
const FOR: Duration = Duration::from_secs(1);
const RUNS: usize = 5;
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// One step of its own report, begun and ended.
async fn step(store: &dyn RemediationStore, record: &ReportRecord, number: usize) -> Result<(), Failure> {
    let event = &record.triaged.event;
    let target =
        Target::new([("namespace".to_owned(), "shop".to_owned()), ("pod".to_owned(), format!("cart-{number}"))]);
    let request = ActionRequest::new(
        ActionName::new("restart_pod")?,
        target,
        event.service.clone(),
        event.fingerprint.clone(),
        record.triaged.incident_id.clone(),
        NOW,
    );
    let entry = JournalEntry::new(record.id.clone(), number, request, NOW);
    store.begin(&entry).await?;
    let precondition = Precondition::new([("uid", "0b3f6a52-7c3e-4b0e-9a43-6f1d1f0a7c11"), ("phase", "Running")]);
    store.advance(&entry.key(), 0, &JournalState::Executing { precondition }, NOW).await?;
    let end = StepEnd::Executed { outcome: Outcome::Helped, proof: "a9a1c2f0-2d1c-4f0b-8d1e-33c8b4e0a5d7".to_owned() };
    store.advance(&entry.key(), 0, &JournalState::Ended(end), NOW).await?;
    Ok(())
}

/// Steps a second of so many callers at once, the median of some runs.
async fn rate(make: impl Fn() -> Result<Arc<dyn RemediationStore>, Failure>, callers: usize) -> Result<f64, Failure> {
    let mut rates = Vec::new();
    for run in 0..=RUNS {
        let store = make()?;
        let began = Instant::now();
        let mut race = tokio::task::JoinSet::new();
        for caller in 0..callers {
            let store = Arc::clone(&store);
            let event = samples::event("cart", &caller.to_string(), NOW);
            let record = ReportRecord::new(samples::triaged(event, &["restart_pod"]), Plan::default(), NOW);
            race.spawn(async move {
                let mut steps = 0_usize;
                while began.elapsed() < FOR {
                    step(&*store, &record, steps * callers + caller).await?;
                    steps += 1;
                }
                Ok::<_, Failure>(steps)
            });
        }
        let mut steps = 0;
        while let Some(done) = race.join_next().await {
            steps += done??;
        }
        if run > 0 {
            rates.push(steps as f64 / began.elapsed().as_secs_f64());
        }
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[RUNS / 2])
}

/// Writes of a journal line and syncs a second.
fn disk(file: &Path) -> Result<f64, Failure> {
    let mut file = std::fs::File::create(file)?;
    let (began, line) = (Instant::now(), [b'x'; 1_000]);
    let mut writes = 0_u32;
    while began.elapsed() < FOR {
        file.write_all(&line)?;
        file.sync_data()?;
        writes += 1;
    }
    Ok(f64::from(writes) / began.elapsed().as_secs_f64())
}

fn fresh(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    for end in ["", "-wal"] {
        let mut file = path.as_os_str().to_owned();
        file.push(end);
        let _ = std::fs::remove_file(file);
    }
    path
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    println!("disk: {:.0} writes of 1,000 bytes, each synced, a second", disk(&fresh("disk.bin"))?);
    for callers in [1, 8, 64] {
        let in_memory = rate(|| Ok(Arc::new(MemoryStore::default())), callers).await?;
        let durable = rate(|| Ok(Arc::new(SqliteStore::open(fresh("steps.db"))?)), callers).await?;
        println!("{callers:>2} callers: SqliteStore {durable:.0} steps a second, MemoryStore {in_memory:.0}");
    }
    Ok(())
}
