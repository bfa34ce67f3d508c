//! What context sources find loses its secrets before a triager sees it.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};

use aiops_core::testing::MetricRecorder;
use aiops_core::{
    ContextFinding, ContextKind, Pipeline, Redactor, TriageContext, TriageReport, Trust, context_fn, triager_fn,
};
use common::{Journal, Pager, after, anomaly, start};
use serde_json::json;

fn seen_by_triage(redactor: Option<Redactor>) -> TriageContext {
    let notes = context_fn("notes", |_| async {
        let line = "key AKIA\u{200b}IOSFODNN7EXAMPLE of jane@example.org refused at db-1";
        let data = json!({"count": 3, "url": "redis://:s3cret@cache:6379", "env": {"DB_PASSWORD": "hunter2"}});
        Ok(vec![ContextFinding::new(ContextKind::Log, Trust::External, line).data(data)])
    });
    let seen: Arc<Mutex<Option<TriageContext>>> = Arc::default();
    let shown = Arc::clone(&seen);
    let triager = triager_fn("rules", move |request| {
        *shown.lock().unwrap() = Some(request.context);
        async move { Ok(TriageReport::new("a key was refused")) }
    });
    let mut pipeline = Pipeline::builder()
        .notify(Pager(Journal::default()))
        .detector(anomaly("checkout", 30, 60, 300))
        .context(notes)
        .triager(triager);
    if let Some(redactor) = redactor {
        pipeline = pipeline.with_redactor(redactor);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut replay = pipeline.replay(start()).unwrap();
        replay.run_to(after(1_800)).await.unwrap();
        replay.finish().await.unwrap();
    });
    seen.lock().unwrap().take().unwrap()
}

#[test]
fn by_default_every_secret_is_taken_out_and_counted() {
    let metrics = MetricRecorder::default();
    let context = metrics::with_local_recorder(&metrics, || seen_by_triage(None));
    let item = context.item("log:1").unwrap();
    assert_eq!(item.text, "key [REDACTED:aws_access_key] of [REDACTED:email] refused at db-1");
    let expected = json!({
        "count": 3, "url": "redis://:[REDACTED:url_password]@cache:6379", "env": {"DB_PASSWORD": "[REDACTED:password]"},
    });
    assert_eq!(item.data, expected);
    // Four pieces, under four kinds.
    assert_eq!(metrics.value("aiops_redactions_total"), Some(4.0));
}

#[test]
fn a_host_decides_what_stays() {
    let redactor = Redactor::builder().without("email").literal("db-1").build().unwrap();
    let context = seen_by_triage(Some(redactor));
    assert_eq!(
        context.items[0].text,
        "key [REDACTED:aws_access_key] of jane@example.org refused at [REDACTED:literal]"
    );
    let context = seen_by_triage(Some(Redactor::none()));
    assert_eq!(context.items[0].text, "key AKIAIOSFODNN7EXAMPLE of jane@example.org refused at db-1");
    assert_eq!(context.items[0].data["env"]["DB_PASSWORD"], "hunter2");
}
