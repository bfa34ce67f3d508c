//! The timer ends what answered reports left behind, and what it found out is told, whatever fails after it.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::{Disposition, Plan, Responder, Response, VirtualClock};
use aiops_remediate::{ActionCatalogue, ApprovalState, Dispatcher, Mode, Policy, RemediationStore, ReportId};
use common::broken::{Broken, Fails};
use common::careless::{ACTIONS, Careless};
use common::{at, event, triaged};

fn dispatcher(store: &Arc<Broken>, clock: &VirtualClock, requires_approval: bool) -> Dispatcher {
    let text =
        format!("actions: [{{name: first, owner: shop, blast_radius: pod, requires_approval: {requires_approval}}}]");
    Dispatcher::builder(
        ActionCatalogue::from_yaml(&text, "a.yaml").unwrap(),
        Policy::threshold_only().mode(Mode::Active),
    )
    .handler(Careless { name: ACTIONS[0], act: |_| Ok(()) })
    .store(Arc::<Broken>::clone(store))
    .with_clock(clock.clone())
    .verify_after(Duration::from_secs(60))
    .build()
    .unwrap()
}

#[tokio::test]
async fn an_approval_of_an_answered_report_does_not_wait_for_ever() {
    let (store, clock) = (Arc::new(Broken::new(Fails::Before(usize::MAX))), VirtualClock::new(at(0)));
    let dispatcher = dispatcher(&store, &clock, true);
    let report = triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0)), &["first"]);
    let parked = dispatcher.respond(&report, at(0)).await.unwrap();
    assert_eq!(parked.disposition, Disposition::AwaitingApproval);
    let asked = store.pending_approvals().await.unwrap().remove(0);
    // Another process, which had lost sight of it, gives the answer.
    let answer = Disposition::Escalated { reason: "the store failed".to_owned() };
    let answer = Response::new(report.incident_id.clone(), answer, Plan::default(), at(1));
    assert!(store.close_report(&ReportId::of(&report), &answer).await.unwrap());
    assert!(dispatcher.recover(at(2)).await.unwrap().is_empty());
    let settled = store.approval(&asked.id).await.unwrap().unwrap().state;
    let reason = "the report was answered without it".to_owned();
    assert_eq!(settled, ApprovalState::Void { at: at(2), reason });
}

#[tokio::test]
async fn an_answer_is_told_also_where_the_store_fails_after_it() {
    let (store, clock) = (Arc::new(Broken::new(Fails::At("unfinished"))), VirtualClock::new(at(0)));
    let dispatcher = dispatcher(&store, &clock, false);
    let report = triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0)), &["first"]);
    assert_eq!(dispatcher.accept(&report, at(0)).await.unwrap(), None);
    assert!(dispatcher.recover(at(0)).await.unwrap().is_empty());
    clock.set(at(60));
    let found = dispatcher.recover(at(60)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].response.disposition, Disposition::Executed);
}
