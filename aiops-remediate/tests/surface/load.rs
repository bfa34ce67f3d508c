//! A surface on loopback under load, while the dispatcher behind it works.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aiops_core::{Clock, MemoryIncidentLog, Responder};
use aiops_remediate::notify::reqwest;
use aiops_remediate::server::axum::Router;
use aiops_remediate::server::{Surface, axum};
use aiops_remediate::{FileAudit, Policy, SqliteStore};
use serde_json::json;

use crate::common::acts::{Site, on_pod, report};
use crate::common::{at, scratch, scratch_database, triaged};
use crate::site::{ByHeader, Host};

/// Requests a second, and for how long.
const RATE: u32 = 1_000;
const SECONDS: u32 = 30;
/// Between two reports that the pipeline acts on.
const PAUSE: Duration = Duration::from_millis(50);
/// Reports that it acts on before: SQLite's cache of pages and the allocator's fill until then.
const FIRST: u64 = 1_000;
/// What the process may have more of afterwards, in kB.
const MORE: usize = 2_000;
/// Clients, each with a connection of its own.
const CLIENTS: u32 = 20;

/// Kilobytes that this process has in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// A host whose reports, journal and audit are on disk, as they are in production: in memory they would grow with
/// each report, up to their bounds.
fn on_disk() -> Host {
    let site = Site::new();
    let store = Arc::new(SqliteStore::open(scratch_database("load")).unwrap());
    let audit = FileAudit::open(scratch("load-audit")).unwrap();
    let builder = site.builder(Policy::default()).store(Arc::<SqliteStore>::clone(&store)).audit(audit);
    let dispatcher = Arc::new(builder.build().unwrap());
    let log = Arc::new(MemoryIncidentLog::default());
    let surface = Surface::new(Arc::clone(&dispatcher), store, Arc::<MemoryIncidentLog>::clone(&log), ByHeader)
        .with_clock(site.clock.clone());
    let router = Router::new().nest("/aiops", surface.router().unwrap());
    Host { site, dispatcher, log, router }
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicUsize,
    wrong: AtomicUsize,
    unwell: AtomicUsize,
}

/// What one client asks, again and again: honest reading, and all that should do nothing.
async fn client(number: u32, base: String, approval: (String, String, String), counts: Arc<Counts>, until: Instant) {
    let http = reqwest::Client::new();
    // The server closes on a body that is too long: what comes next on that connection would be cut off.
    let alone = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let (id, incident, digest) = approval;
    let mut tick = tokio::time::interval(Duration::from_secs(1) * CLIENTS / RATE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut turn = number;
    while Instant::now() < until {
        tick.tick().await;
        turn += 1;
        let approve = format!("{base}/v1/approvals/{id}/approve");
        let right = json!({"incident_id": incident, "digest": digest}).to_string();
        let wrong = json!({"incident_id": "other", "digest": digest}).to_string();
        let json = |request: reqwest::RequestBuilder| request.header("content-type", "application/json");
        let (request, status) = match turn % 10 {
            0 => (http.get(format!("{base}/health")), 200),
            1 => (http.get(format!("{base}/ready")), 200),
            2 => (http.get(format!("{base}/page")).header("x-user", "bob"), 200),
            3 => (http.get(format!("{base}/v1/approvals/{id}")).header("x-user", "bob"), 200),
            4 => (json(http.post(&approve)).body(right), 401),
            5 => (json(http.post(&approve)).header("x-user", "bob").body(right), 403),
            6 => (json(http.post(&approve)).header("x-user", "ada").body(wrong), 409),
            7 => (json(alone.post(&approve)).header("x-user", "ada").body(vec![b' '; 100_000]), 413),
            8 => (http.post(format!("{base}/page/approvals/{id}")).header("x-user", "ada").body(right), 415),
            _ => (http.get(format!("{base}/page/incidents/{incident}")).header("x-user", "bob"), 200),
        };
        let answered = request.send().await;
        counts.sent.fetch_add(1, Ordering::Relaxed);
        let as_wanted = match answered {
            Ok(answer) => answer.status() == status && answer.bytes().await.is_ok(),
            // The client may hear of the closing instead of the answer.
            Err(_) => status == 413,
        };
        if !as_wanted {
            let bad = if turn % 10 < 2 { &counts.unwell } else { &counts.wrong };
            bad.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute of a machine that does nothing else"]
async fn a_thousand_requests_a_second_do_nothing_that_they_should_not() {
    let seconds = std::env::var("LOAD_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let host = on_disk();
    let approval = host.waiting(1, "asked").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/aiops", listener.local_addr().unwrap());
    let router = host.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    // The pipeline: reports come in, are acted on and are told the whole time.
    let dispatcher = Arc::clone(&host.dispatcher);
    let act = async move |number: u64| {
        let triaged = triaged(on_pod(1_000 + number, &format!("pod-{number}"), 0), &["first"]);
        let response = dispatcher.respond(&triaged, at(0)).await.unwrap();
        dispatcher.told(&triaged, &response, at(0)).await.unwrap();
    };
    for number in 0..FIRST {
        act(number).await;
    }
    let (stop, mut stopped) = tokio::sync::watch::channel(());
    let pipeline = tokio::spawn(async move {
        let mut acted = 0_u64;
        while stopped.has_changed().is_ok() {
            act(FIRST + acted).await;
            acted += 1;
            let _ended = tokio::time::timeout(PAUSE, stopped.changed()).await;
        }
        acted
    });

    let counts = Arc::<Counts>::default();
    let target = (approval.id.to_string(), approval.incident_id.to_string(), approval.digest.clone());
    let run = async |seconds: u32| {
        let until = Instant::now() + Duration::from_secs(seconds.into());
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client(number, base.clone(), target.clone(), Arc::clone(&counts), until));
        }
        clients.join_all().await;
    };
    // Pools and buffers fill first.
    run(5).await;
    let (before, sent_before) = (resident(), counts.sent.load(Ordering::Relaxed));
    let began = Instant::now();
    run(seconds).await;
    let (took, after) = (began.elapsed(), resident());
    drop(stop);
    let acted = pipeline.await.unwrap();
    server.abort();

    let sent = counts.sent.load(Ordering::Relaxed) - sent_before;
    let (wrong, unwell) = (counts.wrong.load(Ordering::Relaxed), counts.unwell.load(Ordering::Relaxed));
    let rate = sent as f64 / took.as_secs_f64();
    println!(
        "{sent} requests in {:.1} s ({rate:.0} a second), {wrong} answered otherwise, {unwell} unwell; \
         {acted} reports acted on; {before} kB before, {after} kB after",
        took.as_secs_f64()
    );
    assert_eq!((wrong, unwell), (0, 0));
    assert!(!host.site.effects().contains(&"asked".to_owned()), "nobody granted it");
    assert_eq!(host.dispatcher.approvals().await.unwrap().len(), 1);
    assert!(host.site.clock.now() == at(0) && report(1, &[]).incident_id == approval.incident_id);
    // Without optimisation, clients and server together do not get so far on two cores.
    assert!(cfg!(debug_assertions) || rate > 0.99 * f64::from(RATE), "{rate:.0} a second");
    assert!(after < before + MORE, "{before} kB grew to {after} kB");
}
