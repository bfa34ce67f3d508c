//! Detection and a channel are a complete pipeline: no triager, no responder, no other crate.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::RecordingNotifier;
use aiops_core::{Notice, NoticeKind, Pipeline};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{Labels, Mad, MemorySource, Sample, Series, SeriesDetector};

const EVERY: Duration = Duration::from_secs(30);

fn at(index: u32) -> Timestamp {
    aiops_core::time::plus("2025-05-05T08:00:00Z".parse().unwrap(), EVERY * index)
}

/// Three hours of latencies, slow for ten minutes.
fn recorded() -> MemorySource {
    let value = |index| if (240..260).contains(&index) { 0.9 } else { 0.1 + f64::from(index % 5) / 100.0 };
    let samples = (0..360).map(|index| Sample { at: at(index), value: value(index) }).collect();
    MemorySource::new("recorded", vec![Series::new(Labels::new(), samples)])
}

#[tokio::test]
async fn one_episode_is_one_page_and_one_resolve() {
    let pager = Arc::new(RecordingNotifier::new("pager"));

    let detector = SeriesDetector::builder("P99LatencyAnomaly", recorded(), Mad::default())
        .service("checkout")
        .every(EVERY)
        .unit("s")
        .build()
        .unwrap();
    let mut replay = Pipeline::builder().detector(detector).notify(Arc::clone(&pager)).replay(at(0)).unwrap();
    replay.run_to(at(360)).await.unwrap();
    replay.finish().await.unwrap();

    let told: Vec<Notice> = pager.notices();
    let kinds: Vec<&NoticeKind> = told.iter().map(|notice| &notice.kind).collect();
    assert!(matches!(kinds[..], [NoticeKind::Announced { .. }, NoticeKind::Resolved]), "{kinds:?}");
    assert!((at(240)..=at(242)).contains(&told[0].at), "paged at {}", told[0].at);
    assert!(
        told[0].line().contains("P99LatencyAnomaly on checkout: value 0.9 s, expected 0.12 s"),
        "{}",
        told[0].line()
    );
}
