//! Many calls at once, and calls whose caller gave up.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aiops_core::Disposition;
use aiops_core::testing::{Violation, ensure};
use tokio::task::JoinSet;

use super::marks::all_marks;
use super::sample::{Sample, at};
use super::{ANSWERS, answer};
use crate::store::{
    Acquired, ApprovalOpened, ApprovalState, Begun, Budget, BudgetScope, JournalState, Opened, RemediationStore,
    Reservation, Reserved, Settled, StoreError,
};

const CALLERS: u64 = 100;
const BUDGET: u32 = 7;

const ONE: &str = "of calls at the same time exactly one is the first";
const BUDGETS: &str = "of reservations at the same time a budget grants as many as it holds";
const DROPPED: &str = "a dropped future leaves the change done or not done, never half";

/// Runs all calls at once and counts those that say yes.
async fn count<F>(calls: impl Iterator<Item = F>) -> Result<usize, Violation>
where
    F: Future<Output = Result<bool, StoreError>> + Send + 'static,
{
    let mut race: JoinSet<Result<bool, StoreError>> = calls.collect();
    let mut count = 0;
    while let Some(call) = race.join_next().await {
        let said = call.map_err(|error| Violation::new(ANSWERS, error.to_string()))?;
        count += usize::from(answer("a call among many", async { said }).await?);
    }
    Ok(count)
}

fn one(count: usize, what: &str) -> Result<(), Violation> {
    ensure(count == 1, ONE, || format!("{count} of {CALLERS} {what}"))
}

/// The same call, made by all callers at once.
macro_rules! race {
    ($store:expr, |$each:ident, $number:ident| $call:expr) => {
        count((0..CALLERS).map(|$number| {
            let $each = Arc::<dyn RemediationStore>::clone($store);
            $call
        }))
        .await?
    };
}

pub(super) async fn check(
    make: &impl AsyncFn() -> Arc<dyn RemediationStore>,
    sample: &Sample,
) -> Result<(), Violation> {
    firsts(&make().await, sample).await?;
    budget(&make().await, sample).await?;
    approvals(&make().await, sample).await?;
    dropped(&*make().await, sample).await
}

async fn firsts(store: &Arc<dyn RemediationStore>, sample: &Sample) -> Result<(), Violation> {
    let record = sample.record(1);
    let opened = race!(store, |store, _number| {
        let record = record.clone();
        async move { Ok(store.open_report(&record).await? == Opened::New) }
    });
    one(opened, "opened one report")?;
    let begun = race!(store, |store, number| {
        let entry = sample.entry(1, 0, "cart-1", number);
        async move { Ok(store.begin(&entry).await? == Begun::New) }
    });
    one(begun, "began one step")?;
    let granted = race!(store, |store, number| async move {
        let lock = store.acquire("key", &format!("holder {number}"), at(0), Duration::from_secs(600)).await?;
        Ok(matches!(lock, Acquired::Granted(_)))
    });
    one(granted, "got one lock")?;
    let response = sample.response(1, Disposition::Executed);
    let closed = race!(store, |store, _number| {
        let (id, response) = (record.id.clone(), response.clone());
        async move { store.close_report(&id, &response).await }
    });
    one(closed, "closed one report")
}

async fn budget(store: &Arc<dyn RemediationStore>, sample: &Sample) -> Result<(), Violation> {
    let budgets = vec![Budget::new(BudgetScope::Overall, BUDGET, Duration::from_secs(3_600))];
    let granted = race!(store, |store, number| {
        let run = sample.run(number, &format!("cart-{number}"), 0);
        let reservation = Reservation::new(vec![(run, None)], None).budgets(budgets.clone());
        async move { Ok(store.reserve(&reservation).await? == Reserved::Granted) }
    });
    let marks = all_marks(&**store, sample).await?.len();
    let wanted = usize::try_from(BUDGET).unwrap_or(usize::MAX);
    ensure(granted == wanted && marks == wanted, BUDGETS, || {
        format!("{granted} of {CALLERS} were granted and {marks} marks taken, the budget is {BUDGET}")
    })
}

async fn approvals(store: &Arc<dyn RemediationStore>, sample: &Sample) -> Result<(), Violation> {
    for number in 0..CALLERS {
        answer("open_report", store.open_report(&sample.record(number))).await?;
    }
    let opened = race!(store, |store, number| {
        let approval = sample.approval(u8::try_from(number).unwrap_or(u8::MAX), number, 0, "cart-1");
        async move { Ok(store.open_approval(&approval).await? == ApprovalOpened::New) }
    });
    one(opened, "let an approval wait for one place")?;
    let pending = answer("pending_approvals", store.pending_approvals()).await?;
    let Some(waiting) = pending.first() else {
        return Err(Violation::new(ONE, "an approval was opened, and none waits"));
    };
    let settled = race!(store, |store, number| {
        let id = waiting.id.clone();
        let state = ApprovalState::Approved { by: format!("approver {number}"), at: at(number) };
        async move { Ok(matches!(store.settle_approval(&id, &state).await?, Settled::Now(_))) }
    });
    one(settled, "settled one approval")
}

/// Polls once and drops: what happens to a future whose caller ran out of time.
async fn poll_once<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

async fn dropped(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    answer("open_report", store.open_report(&sample.record(1))).await?;
    for number in 0..20 {
        let entry = sample.entry(1, number, &format!("cart-{number}"), 1);
        poll_once(store.begin(&entry)).await;
        answer("begin", store.begin(&entry)).await?;
        let steps = answer("steps_of", store.steps_of(&entry.report)).await?;
        let found = steps.iter().filter(|step| step.key() == entry.key()).count();
        ensure(found == 1 && steps.len() == number + 1, DROPPED, || format!("{found} steps of one key: {steps:?}"))?;
        let executing = JournalState::Executing { precondition: aiops_core::Precondition::default() };
        poll_once(store.advance(&entry.key(), 1, &executing, at(1))).await;
        answer("advance", store.advance(&entry.key(), 1, &executing, at(1))).await?;
        let state = answer("steps_of", store.steps_of(&entry.report)).await?.pop().map(|step| step.state);
        ensure(state.as_ref() == Some(&executing), DROPPED, || format!("advanced twice, it is {state:?}"))?;
    }
    Ok(())
}
