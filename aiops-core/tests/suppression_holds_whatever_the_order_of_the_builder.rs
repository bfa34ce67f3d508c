//! Row 17 of the user reports, on a whole pipeline: a silencer named after the channel silences it.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use aiops_core::testing::RecordingNotifier;
use aiops_core::{DeployLog, DeployWindow, NoticeKind, Pipeline, PipelineBuilder, Rollout, RolloutPhase};
use common::{after, anomaly, start};

/// Notices of a pipeline over an anomaly from minute 1 on, during a deploy that ends in minute 5.
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
    let announced = |kind: &NoticeKind| matches!(kind, NoticeKind::Announced { .. });
    let early = pager.notices().into_iter().find(|notice| notice.at < after(900) && announced(&notice.kind));
    assert!(early.is_none(), "{early:?}");
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

#[tokio::test]
async fn what_a_deploy_held_from_start_to_end_is_told_once_and_opens_nothing() {
    // It is seen in minutes 1 to 8, normal after; the window ends in minute 15.
    let told = notices(|builder, pager, deploys| {
        let sees = anomaly("checkout", 60, 60, 540);
        builder.notify(pager).detector(sees).suppress(deploys, DeployWindow::default()).triager(Never)
    });
    let summary = "d1: 8 sightings in 7m, nothing was announced".to_owned();
    assert_eq!(told.await, [NoticeKind::Suppressed { summary }]);
}

/// Triage of what nobody was told of.
#[derive(Debug)]
struct Never;

#[async_trait::async_trait]
impl aiops_core::Triager for Never {
    fn name(&self) -> &str {
        "never"
    }

    async fn triage(&self, request: &aiops_core::TriageRequest) -> Result<aiops_core::Triage, aiops_core::TriageError> {
        unreachable!("{request:?}")
    }
}
