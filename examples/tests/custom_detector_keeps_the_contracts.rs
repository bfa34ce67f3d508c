//! The host's own parts of `examples/custom_detector.rs` pass the conformance suites, and
//! together they end an outage.
#![allow(clippy::unwrap_used, clippy::wildcard_imports)]

#[path = "../examples/custom_detector.rs"]
#[allow(dead_code, reason = "the program's own main is not called from here")]
mod custom_detector;

use aiops_core::testing::{
    ActionCase, check_action_handler, check_context_source, check_detector, check_triager, samples,
};
use aiops_core::{
    ActionMenu, ActionName, ActionRequest, ContextQuery, IdentityScheme, MenuEntry, Target, Tick, jiff::Timestamp,
};
use aiops_remediate::parameters::with_observed;
use custom_detector::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn the_detector() {
    let broker = Broker::default();
    let detector = QueueDepth(broker.clone());
    for depth in [0, 4_000] {
        broker.with(|state| state.0 = depth);
        check_detector(&detector, &IdentityScheme::default(), [Tick::new(at(0), at(30)), Tick::new(at(30), at(60))])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn the_context_source() {
    let query = ContextQuery::new(samples::event("orders", "QueueDepth", at(0)), "inc-1".into(), at(0), at(30));
    check_context_source(&Consumers(Broker::default()), &query, &[]).await.unwrap();
}

#[tokio::test]
async fn the_triager() {
    let restart = MenuEntry::new(ActionName::new("restart_consumers").unwrap(), "restarts the consumers");
    let request = samples::request(samples::event("orders", "QueueDepth", at(0)));
    check_triager(&QueueTriager, &request, &ActionMenu::new(vec![restart])).await.unwrap();
}

#[tokio::test]
async fn the_action_handler() {
    check_action_handler(|| {
        let broker = Broker::default();
        let event = samples::event("orders", "QueueDepth", at(0));
        let name = ActionName::new("restart_consumers").unwrap();
        let target = Target::new([("namespace", "shop"), ("deployment", "orders")]);
        let request = ActionRequest::new(name, target, "orders".into(), event.fingerprint, "inc-1".into(), at(60));
        let (outside, disturb) = (broker.clone(), broker.clone());
        let outside = move || format!("{:?}", outside.with(|state| *state));
        let disturb = move || disturb.with(|state| state.1 += 1);
        ActionCase::new(std::sync::Arc::new(RestartConsumers(broker)), request, outside, disturb)
            .ask_again(with_observed)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn together_they_end_the_outage() {
    let timeline = outage().await.unwrap().join("\n");
    for part in
        ["announced: queue-depth on orders", "executed; restart_consumers: done and it helped", "ended: queue-depth"]
    {
        assert!(timeline.contains(part), "{part:?} is not in\n{timeline}");
    }
}
