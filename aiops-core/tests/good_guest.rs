//! A host that owns its runtime, tracing subscriber, metrics recorder and panic hook runs a whole
//! pipeline: nothing global is set, no thread is started, and a success logs nothing above debug.
//!
//! One test in its own process, since it looks at what a process has only once.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aiops_core::testing::{LogRecorder, MetricRecorder, RecordingNotifier};
use aiops_core::{
    ActionMenu, ActionName, CancellationToken, Confidence, Disposition, MenuEntry, Observer, Pipeline, PipelineEvent,
    PlanOnly, Sighting, TriageReport, triager_fn,
};
use common::{PausedClock, identity, seeing};
use tracing::Level;

/// Panics that the host's hook saw.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Stops the pipeline once a report is answered, and keeps the answer.
#[derive(Debug, Clone, Default)]
struct UntilAnswered {
    stop: CancellationToken,
    answers: Arc<Mutex<Vec<Disposition>>>,
}

impl Observer for UntilAnswered {
    fn observe(&self, event: &PipelineEvent<'_>) {
        if let PipelineEvent::Responded { response, .. } = event {
            self.answers.lock().unwrap().push(response.disposition.clone());
            self.stop.cancel();
        }
    }
}

/// Threads of this process, where the system tells.
fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

/// What a host sees of one run.
struct Seen {
    log: LogRecorder,
    metrics: MetricRecorder,
    answers: Vec<Disposition>,
    pages: usize,
    most_threads: Option<usize>,
}

/// Detector, triager and responder on the host's own runtime, until the report is answered. The first
/// `failures` pages fail.
fn run(failures: usize) -> Seen {
    let (log, metrics, watch) = (LogRecorder::default(), MetricRecorder::default(), UntilAnswered::default());
    let (pager, most_threads) =
        (Arc::new(RecordingNotifier::new("pager").failing(failures)), Arc::new(Mutex::new(None)));
    let counted = Arc::clone(&most_threads);
    let detector = seeing("latency", 30, move |tick| {
        tracing::debug!("the host's own line");
        let mut most = counted.lock().unwrap();
        *most = threads().max(*most);
        match tick.now.as_second() % 60 {
            0 => Sighting::Normal(identity("cart")),
            _ => {
                let severity = aiops_core::Severity::Warning;
                Sighting::Firing(Box::new(common::event("checkout", severity, tick.now)))
            }
        }
    });
    let menu = ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod").unwrap(), "deletes one pod")]);
    let triager = triager_fn("rules", |_| async {
        let report = TriageReport::new("checkout hangs").recommended_actions(["restart_pod"]).needs_human(false);
        Ok(report.confidence(Confidence::new(0.8)?))
    });

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let whole = async {
        let pipeline = Pipeline::builder()
            .detector(detector)
            .notify(Arc::clone(&pager))
            .triager(triager)
            .responder(PlanOnly::new(menu))
            .observe(watch.clone())
            .with_clock(PausedClock::new())
            .build()
            .unwrap();
        pipeline.run(watch.stop.clone()).await.unwrap();
    };
    tracing::subscriber::with_default(log.clone(), || {
        metrics::with_local_recorder(&metrics, || runtime.block_on(whole));
    });
    let answers = watch.answers.lock().unwrap().clone();
    let most_threads = *most_threads.lock().unwrap();
    Seen { log, metrics, answers, pages: pager.notices().len(), most_threads }
}

fn louder_than_debug(log: &LogRecorder) -> Vec<String> {
    let loud = log.lines().into_iter().filter(|line| line.level < Level::DEBUG);
    loud.map(|line| format!("{} {}: {}", line.level, line.target, line.text)).collect()
}

#[test]
fn nothing_of_the_host_is_touched() {
    std::panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::SeqCst);
    }));
    let before = threads();
    let seen = run(0);

    assert_eq!(seen.answers, [Disposition::WouldExecute]);
    assert!(seen.pages >= 2, "announced and updated, not {}", seen.pages);
    assert_eq!(louder_than_debug(&seen.log), Vec::<String>::new());
    assert!(seen.log.lines().iter().any(|line| line.text == "the host's own line"), "the recorder saw the tasks");
    let names = seen.metrics.names();
    assert!(names.iter().all(|name| name.starts_with("aiops_")), "{names:?}");
    assert!(seen.metrics.value("aiops_bus_published_total").is_some_and(|count| count >= 2.0), "{names:?}");
    assert_eq!(seen.most_threads, before, "threads while it ran");

    // The same look sees what is wrong, where something is.
    let failing = run(1);
    let loud = louder_than_debug(&failing.log);
    assert!(loud.iter().any(|line| line.starts_with("WARN aiops_core")), "{loud:?}");

    // The hook is still the host's, and success never called it.
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    assert!(catch_unwind(|| panic!("the host's own")).is_err());
    assert_eq!(PANICS.load(Ordering::SeqCst), 1);
    // Each can be set once in a process: nobody did before.
    tracing::subscriber::set_global_default(LogRecorder::default()).unwrap();
    metrics::set_global_recorder(MetricRecorder::default()).map_err(|_| "a recorder was installed").unwrap();
}
