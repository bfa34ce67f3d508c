//! Row 17 of the user reports, on a whole pipeline: a silencer named after the channel silences it.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use aiops_core::testing::RecordingNotifier;
use aiops_core::{DeployLog, DeployWindow, NoticeKind, Pipeline, PipelineBuilder, Rollout, RolloutPhase};
use common::{after, anomaly, start};

/// Notices of a pipeline over an anomaly from minute 1 to 25, during a deploy that ends in minute 5.
async fn notices(
    order: impl Fn(PipelineBuilder, Arc<RecordingNotifier>, DeployLog) -> PipelineBuilder,
) -> Vec<NoticeKind> {
    let (pager, deploys) = (Arc::new(RecordingNotifier::new("pager")), DeployLog::default());
    deploys.record(Rollout::new("checkout", "d1", RolloutPhase::Started, start()));
    deploys.record(Rollout::new("checkout", "d1", RolloutPhase::Completed, after(300)));
    let builder = order(Pipeline::builder(), Arc::clone(&pager), deploys);
    let mut replay = builder.replay(start()).unwrap();
    replay.run_to(after(1_500)).await.unwrap();
    replay.finish().await.unwrap();
    assert!(pager.notices().iter().all(|notice| notice.at >= after(900)), "{:?}", pager.notices());
    pager.notices().into_iter().map(|notice| notice.kind).collect()
}

#[tokio::test]
async fn row_17_a_silencer_named_after_the_channel_silences_it() {
    let sees = || anomaly("checkout", 60, 60, 3_600);
    let after_the_channel = notices(|builder, pager, deploys| {
        builder.notify(pager).detector(sees()).suppress(deploys, DeployWindow::default())
    });
    let before_it = notices(|builder, pager, deploys| {
        builder.suppress(deploys, DeployWindow::default()).detector(sees()).notify(pager)
    });
    // Minutes 1 to 14 are held; the window ends 10 min after the completion.
    let wanted = [NoticeKind::Announced { held: 14, reason: None }];
    assert_eq!(after_the_channel.await, wanted);
    assert_eq!(before_it.await, wanted);
}
