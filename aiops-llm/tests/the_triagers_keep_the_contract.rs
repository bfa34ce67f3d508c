//! The rule triager and the fallback pass the conformance suite of triagers.
#![allow(clippy::unwrap_used)]

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{check_triager, samples};
use aiops_core::{ActionMenu, ActionName, MenuEntry, triager_fn};
use aiops_llm::{RuleTriager, WithFallback};

fn menu() -> ActionMenu {
    let entry = |name: &str, kind: &str| MenuEntry::new(ActionName::new(name).unwrap(), name).evidence(kind);
    ActionMenu::new(vec![entry("restart_pod", "alert"), entry("rollback_deployment", "deploy")])
}

#[tokio::test(start_paused = true)]
async fn all_pass() {
    let request = samples::request(samples::event("checkout", "P99LatencyAnomaly", Timestamp::UNIX_EPOCH));
    check_triager(&RuleTriager::new(menu()), &request, &menu()).await.unwrap();
    check_triager(&RuleTriager::default(), &request, &ActionMenu::default()).await.unwrap();
    let down = triager_fn("model", |_| async { Err("no route to the model".into()) });
    let clock = aiops_core::testing::ManualClock::new(Timestamp::UNIX_EPOCH);
    let triager = WithFallback::new(down, RuleTriager::default()).with_clock(clock);
    check_triager(&triager, &request, &menu()).await.unwrap();
}
