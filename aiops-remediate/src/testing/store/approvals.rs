//! Approvals: one waits for each place, and the first word stays.

use aiops_core::Disposition;
use aiops_core::testing::{Violation, ensure};

use super::sample::{Sample, at};
use super::{answer, refused, same};
use crate::store::{Approval, ApprovalId, ApprovalOpened, ApprovalState, RemediationStore, Settled};

const STEP: &str = "an approval is asked for once for a step of a report";
const PLACE: &str = "one approval waits for an action on a target";
const CLOSED: &str = "nothing is asked for a report that is closed";
const FIRST: &str = "the first `settle_approval` stays, whoever comes later";
const TELLS: &str = "the first `note_asked` stays, and one that is not there is no matter";
const REMINDS: &str = "`note_reminder` is `true` once, and `false` where it no longer waits";
const KEPT: &str = "settled approvals are kept at least until their report is closed";
const OF_REPORT: &str = "`approvals_of` gives a report's approvals in the order of its steps";
const WAITS: &str = "`pending_approvals` gives what waits, the oldest first";

/// The approval as it is after it was settled.
fn settled(approval: &Approval, state: &ApprovalState) -> Approval {
    let mut settled = approval.clone();
    settled.state.clone_from(state);
    settled
}

pub(super) async fn check(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    for number in 1..=2 {
        answer("open_report", store.open_report(&sample.record(number))).await?;
    }
    let (second, first) = (sample.approval(1, 1, 1, "cart-2"), sample.approval(2, 1, 0, "cart-1"));
    let open = async |approval: &Approval| answer("open_approval", store.open_approval(approval)).await;
    same(&open(&second).await?, &ApprovalOpened::New, STEP, "the first")?;
    same(&open(&first).await?, &ApprovalOpened::New, STEP, "another step and place")?;
    let again = sample.approval(3, 1, 0, "cart-9");
    same(&open(&again).await?, &ApprovalOpened::Known(Box::new(first.clone())), STEP, "the same step")?;
    let other = sample.approval(4, 2, 0, "cart-1");
    same(&open(&other).await?, &ApprovalOpened::Occupied(Box::new(first.clone())), PLACE, "the same place")?;
    for absent in [&again.id, &other.id] {
        let found = answer("approval", store.approval(absent)).await?;
        ensure(found.is_none(), PLACE, || format!("what did not open is there: {found:?}"))?;
    }
    let found = answer("approval", store.approval(&first.id)).await?;
    same(&found, &Some(first.clone()), KEPT, "it waits")?;
    let both = vec![first.clone(), second.clone()];
    same(&answer("approvals_of", store.approvals_of(&first.report)).await?, &both, OF_REPORT, "two wait")?;
    let oldest = vec![second, first.clone()];
    same(&answer("pending_approvals", store.pending_approvals()).await?, &oldest, WAITS, "two wait")?;

    let approved = ApprovalState::Approved { by: "anna".to_owned(), at: at(30) };
    answer("settle_approval", store.settle_approval(&first.id, &approved)).await?;
    same(&open(&other).await?, &ApprovalOpened::New, PLACE, "the one that waited is settled")?;
    let known = ApprovalOpened::Known(Box::new(settled(&first, &approved)));
    same(&open(&first).await?, &known, STEP, "a settled step")?;

    answer("close_report", store.close_report(&sample.report(1), &sample.response(1, Disposition::Executed))).await?;
    let late = sample.approval(5, 1, 2, "cart-5");
    refused(CLOSED, store.open_approval(&late)).await
}

pub(super) async fn settle(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    answer("open_report", store.open_report(&sample.record(1))).await?;
    let approval = sample.approval(1, 1, 0, "cart-1");
    answer("open_approval", store.open_approval(&approval)).await?;
    let remind = async |seconds: u64| answer("note_reminder", store.note_reminder(&approval.id, at(seconds))).await;
    ensure(remind(900).await?, REMINDS, || "the first said false".to_owned())?;
    ensure(!remind(901).await?, REMINDS, || "the second said true".to_owned())?;
    for seconds in [890, 891] {
        answer("note_asked", store.note_asked(&approval.id, at(seconds))).await?;
    }
    let mut reminded = approval.clone();
    reminded.reminded_at = Some(at(900));
    reminded.told_at = Some(at(890));
    same(&answer("approval", store.approval(&approval.id)).await?, &Some(reminded.clone()), TELLS, "when")?;
    let found = answer("approval", store.approval(&approval.id)).await?;
    same(&found, &Some(reminded.clone()), REMINDS, "when")?;

    refused("settling as pending", store.settle_approval(&approval.id, &ApprovalState::Pending)).await?;
    let approved = ApprovalState::Approved { by: "anna".to_owned(), at: at(950) };
    let rejected = ApprovalState::Rejected { by: "ben".to_owned(), at: at(951), reason: "no".to_owned() };
    let first = answer("settle_approval", store.settle_approval(&approval.id, &approved)).await?;
    let kept = settled(&reminded, &approved);
    same(&first, &Settled::Now(Box::new(kept.clone())), FIRST, "the first")?;
    for state in [&rejected, &approved] {
        let later = answer("settle_approval", store.settle_approval(&approval.id, state)).await?;
        same(&later, &Settled::Before(Box::new(kept.clone())), FIRST, "a later one")?;
    }
    same(&answer("approval", store.approval(&approval.id)).await?, &Some(kept.clone()), KEPT, "it was settled")?;
    same(&answer("approvals_of", store.approvals_of(&approval.report)).await?, &vec![kept], KEPT, "of its report")?;
    let waiting = answer("pending_approvals", store.pending_approvals()).await?.len();
    ensure(waiting == 0, WAITS, || format!("{waiting} wait after it was settled"))?;

    let second = sample.approval(2, 1, 1, "cart-2");
    answer("open_approval", store.open_approval(&second)).await?;
    let void = ApprovalState::Void { at: at(952), reason: "resolved".to_owned() };
    answer("settle_approval", store.settle_approval(&second.id, &void)).await?;
    let late = answer("note_reminder", store.note_reminder(&second.id, at(953))).await?;
    ensure(!late, REMINDS, || "one that was settled was reminded".to_owned())?;
    let unknown = ApprovalId::new("no such approval");
    answer("note_asked", store.note_asked(&unknown, at(953))).await?;
    let nobody = answer("note_reminder", store.note_reminder(&unknown, at(953))).await?;
    ensure(!nobody, REMINDS, || "one that is not there was reminded".to_owned())?;
    let found = answer("approval", store.approval(&unknown)).await?;
    ensure(found.is_none(), KEPT, || format!("one that is not there was found: {found:?}"))?;
    refused("settling what is not there", store.settle_approval(&unknown, &approved)).await
}
