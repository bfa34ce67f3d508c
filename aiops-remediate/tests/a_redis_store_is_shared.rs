//! The Redis store on real servers: the suite, two processes at once, and servers that restart or forget.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test]

mod common;

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aiops_core::{Plan, Precondition};
use aiops_remediate::{
    Acquired, Begun, Budget, BudgetScope, JournalEntry, JournalState, KillSwitch, Lease, Opened, RedisFinding,
    RedisStore, RemediationStore, ReportRecord, Reservation, Reserved, Run, StepEnd, StoreError, testing,
};
use common::{at, event, name, request, triaged};
use redis::Client;

const TTL: Duration = Duration::from_secs(600);

fn shared_url() -> String {
    std::env::var("REDIS_URL").unwrap()
}

/// A prefix that no other test has, nor an earlier run on the same server.
fn fresh(test: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{test}-{}-{now}-{number}", std::process::id())
}

/// A server of one test, in a folder that it keeps over restarts.
struct Server {
    child: Child,
    folder: PathBuf,
    port: u16,
    settings: Vec<&'static str>,
}

impl Server {
    fn start(test: &str, settings: &[&'static str]) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{test}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::spawn(&folder, port, settings);
        Self { child, folder, port, settings: settings.to_vec() }
    }

    fn spawn(folder: &PathBuf, port: u16, settings: &[&str]) -> Child {
        let child = Command::new(std::env::var("REDIS_SERVER").unwrap())
            .env("LD_LIBRARY_PATH", std::env::var("REDIS_LIBRARIES").unwrap())
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .arg("--dir")
            .arg(folder)
            .args(settings)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "redis does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    /// Kills the server as a crash does, and starts it again.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = Self::spawn(&self.folder, self.port, &self.settings);
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    async fn command(&self, words: &[&str]) {
        let mut connection = Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut connection).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const KEPT: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

fn record(number: u64) -> ReportRecord {
    ReportRecord::new(triaged(event(number, "cart", &[], at(0)), &["restart_pod"]), Plan::default(), at(0))
}

fn entry(token: u64) -> JournalEntry {
    JournalEntry::new(record(1).id, 0, request("restart_pod", "cart-1", 1).fencing_token(token), at(0))
}

async fn granted(store: &RedisStore, key: &str) -> Lease {
    match store.acquire(key, "one", at(0), TTL).await.unwrap() {
        Acquired::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

/// Calls until the connection is there again.
async fn back(store: &RedisStore) -> KillSwitch {
    for _ in 0..200 {
        match store.kill_switch().await {
            Ok(switch) => return switch,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the connection did not come back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis: .ci/services up redis"]
async fn the_redis_store_keeps_the_contract() {
    let make = async || Arc::new(RedisStore::connect(&shared_url(), &fresh("contract")).await.unwrap()) as _;
    // The server's clock is the wall's: a little more than asked for, since it counts milliseconds.
    let pass = async |by: Duration| tokio::time::sleep(by + Duration::from_millis(20)).await;
    testing::check_remediation_store(make, pass).await.unwrap();

    let prefix = fresh("lasts");
    let open = async || Arc::new(RedisStore::connect(&shared_url(), &prefix).await.unwrap()) as _;
    testing::check_remediation_store_lasts(open).await.unwrap();
}

/// Two stores with connections of their own are what two processes are.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis: .ci/services up redis"]
async fn of_two_processes_at_once_one_is_first() {
    const CALLS: u64 = 50;
    let prefix = fresh("two");
    let stores = [
        Arc::new(RedisStore::connect(&shared_url(), &prefix).await.unwrap()),
        Arc::new(RedisStore::connect(&shared_url(), &prefix).await.unwrap()),
    ];
    let mut race = tokio::task::JoinSet::new();
    for (process, store) in (0_u64..).zip(&stores) {
        for call in 0..CALLS {
            let (store, number) = (Arc::clone(store), process * CALLS + call);
            race.spawn(async move {
                let run = Run::new(record(number).id, "id", name("restart_pod"), entry(1).request.target, at(0));
                let budget = Budget::new(BudgetScope::Overall, 7, TTL);
                let asked = Reservation::new(vec![(run, None)], None).budgets(vec![budget]);
                // A store that is contended says so, and the caller may ask again.
                let reserved = loop {
                    match store.reserve(&asked).await {
                        Err(StoreError::Contended { .. }) => {}
                        reserved => break reserved.unwrap() == Reserved::Granted,
                    }
                };
                let begun = store.begin(&entry(number)).await.unwrap() == Begun::New;
                let lock = store.acquire("key", &number.to_string(), at(0), TTL).await.unwrap();
                (reserved, begun, matches!(lock, Acquired::Granted(_)))
            });
        }
    }
    let (mut reserved, mut begun, mut locked) = (0, 0, 0);
    while let Some(done) = race.join_next().await {
        let done = done.unwrap();
        reserved += u32::from(done.0);
        begun += u32::from(done.1);
        locked += u32::from(done.2);
    }
    assert_eq!((reserved, begun, locked), (7, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis: .ci/services up redis"]
async fn a_killed_server_is_unavailable_and_loses_nothing() {
    let mut server = Server::start("killed", &KEPT);
    let store = RedisStore::connect(&server.url(), "night").await.unwrap();
    assert_eq!(store.findings(), []);
    store.open_report(&record(1)).await.unwrap();
    let lease = granted(&store, "key").await;
    store.begin(&entry(lease.token)).await.unwrap();
    server.kill();
    for _ in 0..3 {
        let began = Instant::now();
        let error = store.begin(&entry(lease.token)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { doing: "begin a step", .. }), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(4), "a call hung for {:?}", began.elapsed());
    }
    server.start_again();
    back(&store).await;
    assert_eq!(store.open_reports().await.unwrap(), [record(1)]);
    assert_eq!(store.begin(&entry(lease.token)).await.unwrap(), Begun::Exists { at: at(0), end: None });
    assert!(matches!(store.acquire("key", "two", at(1), TTL).await.unwrap(), Acquired::Held { .. }));
    assert!(granted(&store, "other").await.token > lease.token);
}

/// A server that hangs instead of dying: the call ends in its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis: .ci/services up redis"]
async fn a_server_that_hangs_is_unavailable_in_time() {
    let server = Server::start("hangs", &KEPT);
    let store = RedisStore::connect(&server.url(), "night").await.unwrap().timeout(Duration::from_millis(300));
    let stop = |signal: &str| {
        let status = Command::new("kill").args([signal, &server.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    };
    stop("-STOP");
    let began = Instant::now();
    let error = store.kill_switch().await.unwrap_err();
    let took = began.elapsed();
    let budget = Budget::new(BudgetScope::Overall, 7, TTL);
    let run = Run::new(record(1).id, "id", name("restart_pod"), entry(1).request.target, at(0));
    let asked = Reservation::new(vec![(run, None)], None).budgets(vec![budget]);
    assert!(store.reserve(&asked).await.unwrap_err().is_retryable());
    stop("-CONT");
    assert!(error.is_retryable() && took < Duration::from_secs(2), "{took:?}: {error}");
    assert_eq!(back(&store).await, KillSwitch::default());
    assert_eq!(store.reserve(&asked).await.unwrap(), Reserved::Granted);
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn a_script_that_the_server_lost_is_loaded_again() {
    let server = Server::start("script", &KEPT);
    let store = RedisStore::connect(&server.url(), "night").await.unwrap();
    for _ in 0..3 {
        server.command(&["SCRIPT", "FLUSH"]).await;
        store.set_kill_switch(KillSwitch::on("ops", "night", at(0))).await.unwrap();
    }
    assert!(store.kill_switch().await.unwrap().on);
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn a_holder_whose_lock_was_lost_is_fenced() {
    let server = Server::start("lost", &KEPT);
    let store = RedisStore::connect(&server.url(), "night").await.unwrap();
    store.open_report(&record(1)).await.unwrap();
    let old = granted(&store, "key").await;
    store.begin(&entry(old.token)).await.unwrap();
    server.command(&["DEL", "{night}:lock:key"]).await;
    let new = granted(&store, "key").await;
    assert!(new.token > old.token);
    store.advance(&entry(0).key(), new.token, &JournalState::Started, at(1)).await.unwrap();
    let executing = JournalState::Executing { precondition: Precondition::default() };
    let error = store.advance(&entry(0).key(), old.token, &executing, at(2)).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");
    assert!(!store.release(&old).await.unwrap() && store.renew(&old, at(2), TTL).await.unwrap().is_none());
    assert_eq!(store.leases(at(2)).await.unwrap().len(), 1);

    // Everything is lost: what the old holder writes meets no step, and then one that a newer token began.
    server.command(&["FLUSHALL"]).await;
    let ended = JournalState::Ended(StepEnd::NotRun { reason: "late".to_owned() });
    let error = store.advance(&entry(0).key(), new.token, &ended, at(3)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { why: "it never began", .. }), "{error:?}");
    let newest = granted(&store, "key").await;
    assert!(newest.token > new.token, "tokens do not go back: {} after {}", newest.token, new.token);
    assert_eq!(store.begin(&entry(newest.token)).await.unwrap(), Begun::New);
    let error = store.advance(&entry(0).key(), new.token, &ended, at(4)).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn settings_that_lose_records_are_told() {
    let server = Server::start("settings", &["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]);
    let store = RedisStore::connect(&server.url(), "night").await.unwrap();
    assert_eq!(store.findings(), [RedisFinding::NotKept, RedisFinding::Evicts { policy: "allkeys-lru".to_owned() }]);
    let server = Server::start("second", &["--appendonly", "yes", "--appendfsync", "everysec"]);
    let store = RedisStore::connect(&server.url(), "night").await.unwrap();
    assert_eq!(store.findings(), [RedisFinding::KeptLate { appendfsync: "everysec".to_owned() }]);
    let server = Server::start("untold", &["--appendonly", "yes", "--rename-command", "CONFIG", ""]);
    let store = RedisStore::connect(&server.url(), "night").await.unwrap();
    assert_eq!(store.findings().len(), 3);
    assert_eq!(
        store.findings()[0].to_string(),
        "redis does not tell its appendonly: ask whoever runs it (docs/guide/operating.md)"
    );
}

#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn what_cannot_be_connected_to_is_an_error() {
    let refused = RedisStore::connect(&shared_url(), "{brace}").await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = RedisStore::connect(&format!("redis://:secret@127.0.0.1:{port}/"), "night").await.unwrap_err();
    assert!(nobody.is_retryable() && !aiops_core::error_chain(&nobody).contains("secret"), "{nobody:?}");
    let text = RedisStore::connect("no url", "night").await.unwrap_err();
    assert!(matches!(text, StoreError::Unavailable { doing: "open the store", .. }), "{text:?}");
}

/// All bounds hold on the server, and what was forgotten is not there any more.
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn what_is_beyond_the_bounds_is_forgotten() {
    // Of its own, since it is kept busy.
    let server = Server::start("bounds", &["--appendonly", "no"]);
    let store = RedisStore::connect(&server.url(), "night").await.unwrap();
    let mut connection = Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    // As if 100,000 reports had been closed, in pieces that the server does not take long for.
    let fill = redis::Script::new(
        "for n = ARGV[1] + 1, ARGV[1] + 5000 do
           redis.call('HSET', KEYS[1] .. ':closed', n, '{}')
           redis.call('ZADD', KEYS[1] .. ':closed_order', -n, n)
         end",
    );
    for first in (0..100_000).step_by(5_000) {
        fill.key("{night}").arg(first).invoke_async::<()>(&mut connection).await.unwrap();
    }
    let response = |record: &ReportRecord| {
        aiops_core::Response::new(
            record.triaged.incident_id.clone(),
            aiops_core::Disposition::NoAction,
            Plan::default(),
            at(1),
        )
    };
    for number in 0..3 {
        let record = record(number);
        let answered = record.clone().response(Some(response(&record)));
        assert_eq!(store.open_report(&answered).await.unwrap(), Opened::New);
    }
    let mut count = redis::cmd("HLEN");
    count.arg("{night}:closed");
    assert_eq!(count.query_async::<u64>(&mut connection).await.unwrap(), 100_000);
    let known = store.open_report(&record(0)).await.unwrap();
    assert_eq!(known, Opened::Known(Some(aiops_core::Disposition::NoAction)), "the newest stays");
}
