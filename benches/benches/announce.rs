//! Bar: with a model's server that hangs, resets, answers with a page or is overloaded for ever, the time from
//! detection to announcement is at most 1.10 times (median) and 1.25 times (99th percentile) that without triage; the
//! breaker opens, and no event is lost.
//!
//! `cargo bench -p aiops-benches --features client --bench announce` prints the table of docs/PERFORMANCE.md;
//! `-- --test` runs one short round.
//!
//! Each block is a pipeline of its own on a runtime of two threads, in real time: detectors that see one new anomaly
//! in each evaluation, a channel that takes notices at once, and the triager with its adapter and its rules as
//! fallback. The servers run on a thread of their own. Blocks of the kinds follow each other in turns.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aiops_core::{
    ActionMenu, ActionName, CancellationToken, ContextFinding, ContextKind, CorrelatorConfig, DetectionEvent,
    Evaluation, EventKind, MenuEntry, Notice, NoticeKind, Notifier, NotifyError, Pipeline, PipelineBuilder, Receipt,
    Severity, Sighting, Signal, Trust, context_fn, detector_fn,
};
use aiops_llm::adapters::{Anthropic, ModelEndpoint};
use aiops_llm::{LlmTriager, RuleTriager};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The bars: the ratios of medians and of 99th percentiles.
const BARS: (f64, f64) = (1.10, 1.25);
/// Rounds, each with a block of each kind.
const ROUNDS: usize = 12;
/// Events of a block.
const EVENTS: usize = 400;
const DETECTORS: usize = 32;
/// Between two evaluations of a detector, and the most by which one puts off what it sees, so that events come one
/// by one and at odd times.
const EVERY: Duration = Duration::from_millis(250);
const SPREAD: u64 = 120_000;
/// In place of the default of a minute, so that a block's triages run while its events are announced.
const GROUP_WAIT: Duration = Duration::from_millis(20);
/// In place of the default of 30 s: most of a block passes before the third timeout opens the breaker.
const TIMEOUT: Duration = Duration::from_millis(2_500);
/// For the reports that are still to come once all events are announced.
const PATIENCE: Duration = Duration::from_secs(30);

type Failed = Box<dyn Error + Send + Sync>;

/// What answers as the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Takes requests and never answers.
    Hang,
    /// Resets the connection.
    Reset,
    /// Answers 200 with HTML.
    Page,
    /// Answers 529.
    Overloaded,
}

/// The kinds of block: without triage, twice, which shows the noise, and with it.
const KINDS: [(&str, Option<Server>); 6] = [
    ("no triage", None),
    ("hangs", Some(Server::Hang)),
    ("resets", Some(Server::Reset)),
    ("no triage, again", None),
    ("200 with HTML", Some(Server::Page)),
    ("529 for ever", Some(Server::Overloaded)),
];

/// What happened to one event.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    detected: Option<Instant>,
    announced: Option<Instant>,
    announcements: u32,
    /// Reports by the fallback, that ask for a person.
    reports: u32,
    /// Whether the report was made without asking, since the breaker was open.
    shut: bool,
}

/// Detectors, and the channel: both ends of what is measured.
#[derive(Debug)]
struct Journal {
    next: AtomicUsize,
    fates: Vec<Mutex<Fate>>,
}

impl Journal {
    fn new(events: usize) -> Arc<Self> {
        Arc::new(Self { next: AtomicUsize::new(0), fates: (0..events).map(|_| Mutex::default()).collect() })
    }

    fn fate(&self, event: usize) -> Option<MutexGuard<'_, Fate>> {
        self.fates.get(event).map(|fate| fate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn all(&self, ended: impl Fn(&Fate) -> bool) -> bool {
        (0..self.fates.len()).all(|event| self.fate(event).is_some_and(|fate| ended(&fate)))
    }
}

#[derive(Debug)]
struct Channel(Arc<Journal>);

#[async_trait::async_trait]
impl Notifier for Channel {
    fn channel(&self) -> &str {
        "bench"
    }

    async fn notify(&self, notice: &Notice, _: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let at = Instant::now();
        let event = notice.service().as_str().strip_prefix("service-").and_then(|number| number.parse().ok());
        let Some(mut fate) = event.and_then(|event| self.0.fate(event)) else {
            return Err(NotifyError::permanent("bench", "not an event of this bench"));
        };
        match &notice.kind {
            NoticeKind::Announced { .. } => {
                fate.announced = Some(at);
                fate.announcements += 1;
            }
            NoticeKind::Updated { triaged: Some(triaged), .. } if triaged.report.needs_human => {
                let reason = triaged.provenance.fallback_reason.as_deref();
                fate.reports += u32::from(reason.is_some());
                fate.shut |= reason.is_some_and(|reason| reason.contains("the endpoint failed before"));
            }
            _ => {}
        }
        Ok(Receipt::default())
    }
}

/// Sees the next anomaly in each evaluation, somewhat later than it was asked.
fn detector(number: usize, journal: Arc<Journal>) -> impl aiops_core::Detector {
    detector_fn(format!("detector-{number}"), EVERY, move |tick| {
        let journal = Arc::clone(&journal);
        async move {
            let event = journal.next.fetch_add(1, Ordering::Relaxed);
            // Fibonacci hashing: any spread will do.
            let delay = (event as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % SPREAD;
            tokio::time::sleep(Duration::from_micros(delay)).await;
            let Some(mut fate) = journal.fate(event) else { return Ok(Evaluation::default()) };
            let signal = Signal::new(0.85).expected(0.12).score(7.1).threshold(3.0).unit("s");
            let service = format!("service-{event}");
            let seen =
                DetectionEvent::builder(EventKind::MetricAnomaly, service, Severity::Warning, tick.now, "zscore")
                    .alertname("P99LatencyAnomaly")
                    .signal(signal)
                    .build();
            let evaluation = Evaluation::new(vec![Sighting::Firing(Box::new(seen))]);
            fate.detected = Some(Instant::now());
            Ok(evaluation)
        }
    })
}

fn with_triage(pipeline: PipelineBuilder, url: &str) -> Result<PipelineBuilder, Failed> {
    let model = Anthropic::new(ModelEndpoint::new(url)?.header("x-api-key", "none")?, "the-model");
    let menu = ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod")?, "restarts the pod")]);
    let triager = LlmTriager::builder(model, menu).fallback(RuleTriager::default()).timeout(TIMEOUT).build()?;
    let deploys = context_fn("deploys", |_| async {
        Ok(vec![ContextFinding::new(ContextKind::Deploy, Trust::System, "deployed v2, 6m before")])
    });
    Ok(pipeline.context(deploys).triager(triager))
}

/// One pipeline, until all of its events are announced and have their reports.
async fn block(url: Option<&str>, events: usize) -> Result<Vec<Fate>, Failed> {
    let journal = Journal::new(events);
    let mut config = CorrelatorConfig::default();
    config.group_wait = GROUP_WAIT;
    let mut pipeline = Pipeline::builder().correlator_config(config).notify(Channel(Arc::clone(&journal)));
    for number in 0..DETECTORS {
        pipeline = pipeline.detector(detector(number, Arc::clone(&journal)));
    }
    if let Some(url) = url {
        pipeline = with_triage(pipeline, url)?;
    }
    let pipeline = pipeline.build()?;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(shutdown.clone()));
    let mut began = Instant::now();
    while began.elapsed() < PATIENCE
        && !journal.all(|fate| fate.announced.is_some() && (url.is_none() || fate.reports > 0))
    {
        if journal.next.load(Ordering::Relaxed) < events {
            began = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
    running.await??;
    Ok((0..events).filter_map(|event| journal.fate(event).map(|fate| *fate)).collect())
}

/// A model's server on a thread of its own; its address, and how many requests came.
fn serve(server: Server) -> Result<(String, Arc<AtomicUsize>), Failed> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    let asked = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let count = Arc::clone(&asked);
    // It ends with the process.
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(answer(server, stream, Arc::clone(&count)));
            }
            #[allow(unreachable_code)]
            Ok::<(), std::io::Error>(())
        })
    });
    Ok((url, asked))
}

async fn answer(server: Server, mut stream: TcpStream, asked: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !is_whole(&request) {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    asked.fetch_add(1, Ordering::Relaxed);
    let (status, kind, body) = match server {
        Server::Hang => {
            while stream.read_buf(&mut request).await? > 0 {}
            return Ok(());
        }
        Server::Reset => return stream.set_zero_linger(),
        Server::Page => ("200 OK", "text/html", "<html><body>Welcome to the gateway</body></html>"),
        Server::Overloaded => (
            "529 Overloaded",
            "application/json",
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
        ),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\ncontent-length: ");
    stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    stream.shutdown().await
}

/// Whether head and body of a request are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().filter_map(|line| line.split_once(": "));
    let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    length.map(|(_, value)| value.parse().unwrap_or(0)).sum::<usize>() <= body.len()
}

/// What all blocks of a kind showed.
#[derive(Debug, Default)]
struct Figures {
    /// The median of each block, in microseconds.
    medians: Vec<f64>,
    /// The times of all events, in microseconds.
    times: Vec<f64>,
    lost: usize,
    twice: usize,
    reports: usize,
    shut: usize,
}

/// The value below which this share of values lies.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share) as usize;
    values.get(place.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

impl Figures {
    fn add(&mut self, fates: &[Fate]) {
        let took = |fate: &Fate| Some(fate.announced?.duration_since(fate.detected?).as_secs_f64() * 1e6);
        let mut times: Vec<f64> = fates.iter().filter_map(took).collect();
        self.times.extend(&times);
        self.medians.push(quantile(&mut times, 0.5));
        self.lost += fates.iter().filter(|fate| fate.announcements == 0).count();
        self.twice += fates.iter().filter(|fate| fate.announcements > 1 || fate.reports > 1).count();
        self.reports += fates.iter().filter(|fate| fate.reports > 0).count();
        self.shut += fates.iter().filter(|fate| fate.shut).count();
    }
}

/// One run: whether all bars are reached.
fn run(rounds: usize, events: usize) -> Result<bool, Failed> {
    let servers = KINDS.map(|(_, server)| server.map(serve));
    let servers = servers.into_iter().map(Option::transpose).collect::<Result<Vec<_>, _>>()?;
    let mut kinds = KINDS.map(|_| Figures::default());
    for round in 0..rounds {
        // Each round begins with another kind: what the one before leaves behind meets each of them.
        for place in 0..KINDS.len() {
            let kind = (place + round) % KINDS.len();
            let url = servers[kind].as_ref().map(|(url, _)| url.as_str());
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            kinds[kind].add(&runtime.block_on(block(url, events))?);
        }
    }
    let figures = |kind: &mut Figures| (quantile(&mut kind.medians, 0.5), quantile(&mut kind.times, 0.99));
    let mut alone = Figures::default();
    for (kind, _) in kinds.iter().zip(KINDS).filter(|(_, (_, server))| server.is_none()) {
        alone.medians.extend(&kind.medians);
        alone.times.extend(&kind.times);
    }
    let alone = figures(&mut alone);
    println!(
        "| model's server | events | median, µs | ratio | 99th percentile, µs | ratio | lost or twice | reports by the fallback | without asking | requests |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut reached = true;
    for ((kind, (name, server)), counted) in kinds.iter_mut().zip(KINDS).zip(&servers) {
        let (median, high) = figures(kind);
        let ratios = (median / alone.0, high / alone.1);
        let (all, wrong) = (rounds * events, kind.lost + kind.twice);
        let asked = counted.as_ref().map_or(0, |(_, asked)| asked.load(Ordering::Relaxed));
        println!(
            "| {name} | {all} | {median:.0} | {:.2} | {high:.0} | {:.2} | {wrong} | {} | {} | {asked} |",
            ratios.0, ratios.1, kind.reports, kind.shut
        );
        let triaged = server.is_none() || (kind.reports == all && kind.shut > 0);
        reached &= wrong == 0 && triaged && (server.is_none() || (ratios.0 <= BARS.0 && ratios.1 <= BARS.1));
    }
    Ok(reached)
}

fn main() -> Result<(), Failed> {
    let short = std::env::args().any(|argument| argument == "--test");
    let reached = if short { run(1, 40)? } else { run(ROUNDS, EVENTS)? };
    println!(
        "bars of {} (median) and {} (99th percentile): {}",
        BARS.0,
        BARS.1,
        if reached { "reached" } else { "MISSED" }
    );
    Ok(())
}
