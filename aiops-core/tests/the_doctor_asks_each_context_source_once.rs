//! Each context source is asked once, and says what it has or why it has nothing.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aiops_core::doctor::{Check, Health, context_sources};
use aiops_core::jiff::Timestamp;
use aiops_core::testing::{ManualClock, samples};
use aiops_core::{ContextFinding, ContextKind, ContextQuery, ContextSource, Trust, context_fn, time};

fn finding(kind: ContextKind) -> ContextFinding {
    ContextFinding::new(kind, Trust::System, "x")
}

#[tokio::test]
async fn a_source_tells_its_items_its_error_its_panic_or_that_it_is_late() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let sources: Vec<Arc<dyn ContextSource>> = vec![
        Arc::new(context_fn("deploys", move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok(vec![finding(ContextKind::Log), finding(ContextKind::Deploy), finding(ContextKind::Log)]) }
        })),
        Arc::new(context_fn("notes", |_| async { Ok(Vec::new()) })),
        Arc::new(context_fn("loki", |_| async {
            Err("HTTP 401\u{1b}[31m from http://u:pa55word-of-loki@loki, token=ghp_0123456789abcdefghijABCDEFGHIJ012345".into())
        })),
        Arc::new(context_fn("tempo", |_| async { std::panic::panic_any("boom".to_owned()) })),
        Arc::new(context_fn("slo", |_| std::future::pending())),
    ];
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    let event = samples::event("checkout", "P99LatencyAnomaly", Timestamp::UNIX_EPOCH);
    let deadline = time::plus(Timestamp::UNIX_EPOCH, Duration::from_secs(10));
    let query = ContextQuery::new(event, "doctor".into(), Timestamp::UNIX_EPOCH, deadline);
    let asking = context_sources(&sources, &query, &clock);
    let late = async {
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(10));
    };
    let (checks, ()) = tokio::join!(asking, late);

    let lines: Vec<String> = checks.iter().map(Check::to_string).collect();
    assert_eq!(lines[0], "ok    context source deploys: found 1 deploy, 2 log");
    assert_eq!(lines[1], "ok    context source notes: found nothing");
    for (line, why) in lines[2..].iter().zip(["HTTP 401", "panicked: boom", "gave no answer within 10s"]) {
        assert!(line.starts_with("FAIL  context source ") && line.contains(why), "{line}");
        assert!(line.ends_with("; reports lack what it tells: mend it, or leave it out"), "{line}");
        assert!(!line.contains("pa55word") && !line.contains("ghp_") && !line.contains('\u{1b}'), "{line}");
    }
    assert_eq!(checks.iter().map(|check| check.health).max(), Some(Health::Fail));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
