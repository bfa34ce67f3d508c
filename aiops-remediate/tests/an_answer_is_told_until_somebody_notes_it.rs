//! A process that dies between an answer and the notice has told nobody: the next one tells it, and nobody does
//! once it is noted that people were told.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::{Disposition, Recovered, Responder, Triaged, VirtualClock};
use aiops_remediate::{ActionCatalogue, Dispatcher, MemoryStore, Mode, Policy, RemediationStore};
use common::careless::{ACTIONS, Careless};
use common::{at, event, triaged};

struct Site {
    store: Arc<MemoryStore>,
    clock: VirtualClock,
}

impl Site {
    fn new() -> Self {
        Self { store: Arc::default(), clock: VirtualClock::new(at(0)) }
    }

    /// One more process.
    fn process(&self) -> Dispatcher {
        let text = "actions: [{name: first, owner: shop, blast_radius: pod, requires_approval: true}]";
        let policy = Policy::threshold_only().mode(Mode::Active);
        Dispatcher::builder(ActionCatalogue::from_yaml(text, "a.yaml").unwrap(), policy)
            .handler(Careless { name: ACTIONS[0], act: |_| Ok(()) })
            .store(Arc::<MemoryStore>::clone(&self.store))
            .with_clock(self.clock.clone())
            .build()
            .unwrap()
    }

    async fn recovered(&self, process: &Dispatcher, seconds: i64) -> Vec<Recovered> {
        self.clock.set(at(seconds));
        process.recover(at(seconds)).await.unwrap()
    }
}

fn report(actions: &[&str]) -> Triaged {
    triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0)), actions)
}

#[tokio::test]
async fn an_answer_of_a_process_that_died_is_told_by_another_one_until_that_is_noted() {
    let site = Site::new();
    let report = report(&["never heard of"]);
    let answer = site.process().accept(&report, at(0)).await.unwrap().unwrap();
    assert_eq!(answer.disposition.as_str(), "rejected");
    let other = site.process();
    assert!(site.recovered(&other, 59).await.is_empty(), "the first may still be telling");
    let found = site.recovered(&other, 60).await;
    assert_eq!(found, [Recovered::new(report.clone(), answer.clone())]);
    assert!(site.recovered(&other, 659).await.is_empty(), "it is being told, or waits for a channel");
    assert_eq!(site.recovered(&other, 660).await.len(), 1, "who has lost it is given it once more");
    other.told(&report, &answer, at(661)).await.unwrap();
    assert!(site.recovered(&other, 10_000).await.is_empty());
    assert!(site.recovered(&site.process(), 10_000).await.is_empty());
}

#[tokio::test]
async fn a_duplicate_is_no_news_and_does_not_stand_for_the_answer() {
    let site = Site::new();
    let (report, process) = (report(&["never heard of"]), site.process());
    process.accept(&report, at(0)).await.unwrap().unwrap();
    let duplicate = process.accept(&report, at(1)).await.unwrap().unwrap();
    assert_eq!(duplicate.disposition, Disposition::Duplicate);
    process.told(&report, &duplicate, at(2)).await.unwrap();
    assert_eq!(site.recovered(&site.process(), 60).await.len(), 1);
}

#[tokio::test]
async fn a_request_for_approval_is_told_until_it_is_noted_and_reminded_once() {
    let site = Site::new();
    let report = report(&["first"]);
    {
        let first = site.process();
        assert_eq!(first.accept(&report, at(0)).await.unwrap(), None);
        let asked = first.finish(&report, at(0)).await.unwrap().unwrap();
        assert_eq!(asked.disposition, Disposition::AwaitingApproval);
    }
    let other = site.process();
    assert!(site.recovered(&other, 59).await.is_empty());
    let asked = site.recovered(&other, 60).await.remove(0).response;
    assert_eq!(asked.disposition, Disposition::AwaitingApproval);
    let reason = &asked.plan.steps[0].reason;
    assert!(reason.starts_with("waits for approval "), "{reason}");
    other.told(&report, &asked, at(61)).await.unwrap();
    let approval = site.store.pending_approvals().await.unwrap().remove(0);
    assert_eq!(approval.told_at, Some(at(61)));
    assert!(site.recovered(&site.process(), 200).await.is_empty());
    let half = approval.half_time() + Duration::from_secs(1);
    let reminded = site.recovered(&other, half.as_second() - at(0).as_second()).await.remove(0).response;
    assert!(reminded.plan.steps[0].reason.starts_with("still waits for approval "));
}
