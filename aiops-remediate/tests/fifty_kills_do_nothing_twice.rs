//! A process that is killed at random moments and started again with the same journal executes nothing
//! twice, and leaves no report without an answer.
//!
//! The handler here is careless: it always says that it is ready and acts whenever it is asked, so only
//! the journal stands between a restart and a second effect.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use aiops_core::{Responder, VirtualClock};
use aiops_remediate::{Dispatcher, JsonlStore, Mode, Policy, RemediationStore};
use common::careless::{ACTIONS, Careless, catalogue};
use common::{at, event, triaged};

const KILLS: u64 = 50;
const SEED: u64 = 0x00a1_0b5e_55ed;
/// What the child reads: its folder, its kind of store, which start it is, and how many reports it answers
/// (none: until killed).
const FOLDER: &str = "AIOPS_KILL_TEST_FOLDER";
const STORE: &str = "AIOPS_KILL_TEST_STORE";
const START: &str = "AIOPS_KILL_TEST_START";
const REPORTS: &str = "AIOPS_KILL_TEST_REPORTS";

/// Leaves a mark outside of the journal, on disk before it returns.
fn effect(file: &Path, key: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(format!("{key}\n").as_bytes())?;
    file.sync_data()
}

fn numbers(text: Option<String>) -> Option<u64> {
    text?.parse().ok()
}

/// Not a test by itself: the process that is killed.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let start = numbers(std::env::var(START).ok()).unwrap();
    // Each start is later than all locks of the one before.
    let now = at(1_200 * i64::try_from(start).unwrap());
    let effects = folder.join("effects.log");
    let careless = |name| {
        let effects = effects.clone();
        Careless { name, act: move |key: String| Ok(effect(&effects, &key)?) }
    };
    let store: Arc<dyn RemediationStore> = match std::env::var(STORE).unwrap().as_str() {
        #[cfg(feature = "sqlite")]
        "sqlite" => Arc::new(aiops_remediate::SqliteStore::open(folder.join("store.db")).unwrap()),
        _ => Arc::new(JsonlStore::open(folder.join("journal.jsonl")).unwrap()),
    };
    let dispatcher = Dispatcher::builder(catalogue(), Policy::threshold_only().mode(Mode::Active))
        .handler(careless(ACTIONS[0]))
        .handler(careless(ACTIONS[1]))
        .store(Arc::<dyn RemediationStore>::clone(&store))
        .with_clock(VirtualClock::new(now))
        .verify_after(Duration::ZERO)
        .holder(format!("start-{start}"))
        .build()
        .unwrap();
    dispatcher.recover(now).await.unwrap();
    let last = numbers(std::env::var(REPORTS).ok());
    for number in 0..last.unwrap_or(u64::MAX) {
        let labels = [("namespace", "shop"), ("pod", "cart-1")];
        let report = triaged(event(number, "cart", &labels, at(0)), &["first", "second"]);
        dispatcher.respond(&report, now).await.unwrap();
    }
    assert!(store.open_reports().await.unwrap().is_empty());
    assert!(store.unfinished().await.unwrap().is_empty());
}

fn spawn(folder: &Path, store: &str, start: u64, reports: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture"])
        .env(FOLDER, folder)
        .env(STORE, store)
        .env(START, start.to_string());
    if let Some(reports) = reports {
        command.env(REPORTS, reports.to_string());
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn effects(folder: &Path) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for key in fs::read_to_string(folder.join("effects.log")).unwrap_or_default().lines() {
        *counts.entry(key.to_owned()).or_default() += 1;
    }
    counts
}

#[test]
fn fifty_kills() {
    kills("jsonl");
}

#[cfg(feature = "sqlite")]
#[test]
fn fifty_kills_over_sqlite() {
    kills("sqlite");
}

fn kills(store: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fifty-kills-{store}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let mut random = SEED;
    for kill in 0..KILLS {
        // xorshift64: which moment it hits differs by machine, the property does not.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = spawn(&folder, store, kill, None);
        std::thread::sleep(Duration::from_micros(5_000 + random % 60_000));
        assert_eq!(child.try_wait().unwrap(), None, "kill {kill}: the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let killed = effects(&folder);
    assert!(!killed.is_empty(), "the kills came before anything was done");

    // Each report has two effects unless a kill cut it: more reports than those that were begun.
    let reports = u64::try_from(killed.len()).unwrap() + KILLS;
    let ended = spawn(&folder, store, KILLS, Some(reports)).wait().unwrap();
    assert!(ended.success(), "a report or a step was left without an end");
    let all = effects(&folder);
    assert!(all.len() > killed.len());
    let twice: Vec<&String> = all.iter().filter(|(_, count)| **count > 1).map(|(key, _)| key).collect();
    assert!(twice.is_empty(), "executed twice: {twice:?}");
}
