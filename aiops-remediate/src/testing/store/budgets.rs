//! Budgets in each scope with a sliding window, and how many reports may be open.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::Disposition;
use aiops_core::testing::Violation;

use super::answer;
use super::marks::{give_back, reserve};
use super::sample::{Sample, at, target};
use crate::catalogue::BlastRadius;
use crate::store::{Budget, BudgetScope, RemediationStore, Reservation, Run};

const HOUR: Duration = Duration::from_secs(3_600);

const SCOPES: &str = "a budget counts the runs of its scope, each share by itself";
const SLIDES: &str = "a run counts against a budget until it is exactly as old as the window";
const WHOLE: &str = "a plan draws on a budget with all its runs, or with none";
const OWN: &str = "a report's own marks do not stand in its way";
const CROWDED: &str = "`max_open` counts the reports that were opened before and are still open";

pub(super) async fn check(
    make: &impl AsyncFn() -> Arc<dyn RemediationStore>,
    sample: &Sample,
) -> Result<(), Violation> {
    scopes(make, sample).await?;
    window(&*make().await, sample).await
}

fn ask(runs: Vec<Run>, budgets: &[Budget]) -> Reservation {
    Reservation::new(runs.into_iter().map(|run| (run, None)).collect(), None).budgets(budgets.to_vec())
}

/// For each scope: two of two are used, the third of the same share is refused, another share is not.
async fn scopes(make: &impl AsyncFn() -> Arc<dyn RemediationStore>, sample: &Sample) -> Result<(), Violation> {
    let elsewhere = |change: fn(&mut Run, &Sample)| {
        let mut run = sample.run(9, "cart-1", 90);
        change(&mut run, sample);
        run
    };
    let cases = [
        (BudgetScope::Overall, None),
        (BudgetScope::Action(None), Some(elsewhere(|run, sample| run.action = sample.scale.clone()))),
        (
            BudgetScope::Action(Some(sample.restart.clone())),
            Some(elsewhere(|run, sample| run.action = sample.scale.clone())),
        ),
        (BudgetScope::Target, Some(elsewhere(|run, _| run.target = target("cart-2")))),
        (BudgetScope::BlastRadius(None), Some(elsewhere(|run, _| run.blast_radius = Some(BlastRadius::Node)))),
        (
            BudgetScope::BlastRadius(Some(BlastRadius::Pod)),
            Some(elsewhere(|run, _| run.blast_radius = Some(BlastRadius::Node))),
        ),
    ];
    for (scope, other_share) in cases {
        let store = make().await;
        let what = format!("{scope:?}");
        let budgets = [Budget::new(scope, 2, HOUR)];
        for number in 0..2 {
            reserve(&*store, &ask(vec![sample.run(number, "cart-1", number)], &budgets), true, SCOPES, &what).await?;
        }
        reserve(&*store, &ask(vec![sample.run(2, "cart-1", 2)], &budgets), false, SCOPES, &what).await?;
        reserve(&*store, &ask(vec![sample.run(1, "cart-1", 1)], &budgets), true, OWN, &what).await?;
        if let Some(run) = other_share {
            reserve(&*store, &ask(vec![run], &budgets), true, SCOPES, &format!("{what}, another share")).await?;
        }
    }
    Ok(())
}

async fn window(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let budgets = [Budget::new(BudgetScope::Overall, 3, HOUR)];
    let plan = |number: u64, seconds: u64, pods: &[&str]| {
        ask(pods.iter().map(|pod| sample.run(number, pod, seconds)).collect(), &budgets)
    };
    reserve(store, &plan(1, 0, &["cart-1", "cart-2"]), true, WHOLE, "two of three").await?;
    reserve(store, &plan(2, 10, &["cart-3", "cart-4"]), false, WHOLE, "two where one is left").await?;
    reserve(store, &plan(3, 10, &["cart-5"]), true, WHOLE, "a refused plan drew on the budget").await?;
    reserve(store, &plan(4, 3_599, &["cart-6"]), false, SLIDES, "one second too early").await?;
    reserve(store, &plan(4, 3_600, &["cart-6", "cart-7"]), true, SLIDES, "two are exactly an hour old").await?;
    reserve(store, &plan(5, 3_600, &["cart-8"]), false, SLIDES, "one is younger, two are new").await?;
    give_back(store, &sample.run(4, "cart-7", 3_600)).await?;
    reserve(store, &plan(5, 3_600, &["cart-8"]), true, WHOLE, "a share was given back").await
}

pub(super) async fn crowd(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    for number in 1..=3 {
        answer("open_report", store.open_report(&sample.record(number))).await?;
    }
    let ask = |number: u64| ask(vec![sample.run(number, &format!("cart-{number}"), number)], &[]).max_open(Some(2));
    reserve(store, &ask(3), false, CROWDED, "two were opened before").await?;
    reserve(store, &ask(2), true, CROWDED, "one was opened before, one after").await?;
    answer("close_report", store.close_report(&sample.report(1), &sample.response(1, Disposition::Executed))).await?;
    let closed = sample.record(4).response(Some(sample.response(4, Disposition::NoAction)));
    answer("open_report", store.open_report(&closed)).await?;
    reserve(store, &ask(3), true, CROWDED, "one of the two is closed").await?;
    let waiting = sample.approval(1, 2, 0, "cart-2");
    answer("open_approval", store.open_approval(&waiting)).await?;
    answer("open_report", store.open_report(&sample.record(5))).await?;
    let run = sample.run(5, "cart-5", 5);
    let five = Reservation::new(vec![(run, None)], None).max_open(Some(2));
    reserve(store, &five, false, CROWDED, "one runs and one waits for approval").await?;
    let state = crate::store::ApprovalState::Expired { at: at(9) };
    answer("settle_approval", store.settle_approval(&waiting.id, &state)).await?;
    answer("close_report", store.close_report(&sample.report(2), &sample.response(2, Disposition::Executed))).await?;
    reserve(store, &five, true, CROWDED, "one was settled and closed").await
}
