//! What a new process finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::{Violation, ensure};
use aiops_core::{Disposition, Precondition};

use super::marks::give_back;
use super::sample::{IDENTITY, Sample, at};
use super::{answer, outcome, same};
use crate::store::{
    Acquired, ApprovalState, Begun, EpisodeKey, GuardState, JournalState, KillSwitch, Opened, RemediationStore,
    Reservation, Snapshot, SnapshotQuery, StepEnd, StoreError,
};

const LASTS: &str = "once a method returns `Ok`, a new process sees the change";
const TOKENS: &str = "each granted lease carries a greater token than all before it, also after a restart";

/// Checks that a store outlives its process. `open` opens the same store each time, as the next process
/// would; it is called when everything that it gave before has been dropped. The store must be fresh.
///
/// # Errors
/// The first line of the contract of [`RemediationStore`] that does not hold.
pub async fn check_remediation_store_lasts(open: impl AsyncFn() -> Arc<dyn RemediationStore>) -> Result<(), Violation> {
    let sample = Sample::new()?;
    let mut token = 0;
    write(&*open().await, &sample).await?;
    // More restarts than one, so that a mark that is written ahead is met from both sides.
    for round in 0..3 {
        let store = open().await;
        read(&*store, &sample).await?;
        for number in 0..40 {
            let key = format!("{round}/{number}");
            let lock = answer("acquire", store.acquire(&key, "one", at(0), Duration::from_secs(60))).await?;
            let Acquired::Granted(lease) = lock else {
                return Err(Violation::new(TOKENS, format!("a fresh key: {lock:?}")));
            };
            ensure(lease.token > token && lease.token > 1_000, TOKENS, || {
                format!("{} after {token}, and a step had seen 1000", lease.token)
            })?;
            token = lease.token;
        }
    }
    Ok(())
}

async fn write(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    for number in 1..=3 {
        answer("open_report", store.open_report(&sample.record(number))).await?;
    }
    answer("close_report", store.close_report(&sample.report(1), &sample.response(1, Disposition::Executed))).await?;
    for (number, pod) in [(2, "cart-2"), (3, "cart-3")] {
        answer("begin", store.begin(&sample.entry(number, 0, pod, 1_000))).await?;
    }
    let (second, third) = (sample.entry(2, 0, "cart-2", 1_000), sample.entry(3, 0, "cart-3", 1_000));
    answer("advance", store.advance(&second.key(), 1_000, &executing(), at(1))).await?;
    answer("advance", store.advance(&third.key(), 1_000, &JournalState::Ended(ended()), at(2))).await?;
    for number in 2..=3 {
        let runs = vec![(sample.run(number, "cart-1", number), None)];
        answer("reserve", store.reserve(&Reservation::new(runs, None))).await?;
    }
    give_back(store, &sample.run(3, "cart-1", 3)).await?;
    answer("set_kill_switch", store.set_kill_switch(switch())).await?;
    answer("set_guard", store.set_guard("nodes", &GuardState::tripped(at(1), at(2)))).await?;
    answer("resolve", store.resolve(&EpisodeKey::of(&sample.record(1).triaged.event), at(7))).await?;
    for (id, number) in [(1, 2), (2, 3)] {
        let approval = sample.approval(id, number, 0, &format!("cart-{number}"));
        answer("open_approval", store.open_approval(&approval)).await?;
        answer("note_asked", store.note_asked(&approval.id, at(800))).await?;
        answer("note_reminder", store.note_reminder(&approval.id, at(900))).await?;
        if number == 3 {
            answer("settle_approval", store.settle_approval(&approval.id, &rejected())).await?;
        }
    }
    Ok(())
}

async fn read(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let known = answer("open_report", store.open_report(&sample.record(1))).await?;
    same(&known, &Opened::Known(Some(Disposition::Executed)), LASTS, "a closed report")?;
    let open = answer("open_reports", store.open_reports()).await?;
    same(&open, &vec![sample.record(2), sample.record(3)], LASTS, "open reports")?;
    let told = sample.record(1).response(Some(sample.response(1, Disposition::Executed)));
    same(&answer("untold", store.untold()).await?, &vec![told], LASTS, "what was not told")?;
    let mut second = sample.entry(2, 0, "cart-2", 1_000);
    second.state = executing();
    same(&answer("unfinished", store.unfinished()).await?, &vec![second.clone()], LASTS, "unfinished steps")?;
    same(
        &answer("steps_of", store.steps_of(&second.report)).await?,
        &vec![second.clone()],
        LASTS,
        "steps of a report",
    )?;
    let stale = outcome("advance", store.advance(&second.key(), 999, &executing(), at(3))).await?;
    ensure(matches!(stale, Err(StoreError::Fenced { .. })), LASTS, || format!("an older token gave {stale:?}"))?;
    let third = sample.entry(3, 0, "cart-3", 1_000);
    let exists = Begun::Exists { at: third.at, end: Some(ended()) };
    same(&answer("begin", store.begin(&third)).await?, &exists, LASTS, "a step that ended")?;

    let episode = EpisodeKey::of(&sample.record(1).triaged.event);
    let query = SnapshotQuery::new(episode, IDENTITY, Vec::new(), at(0));
    let snapshot = Snapshot {
        kill_switch: switch(),
        resolved_at: Some(at(7)),
        runs: vec![sample.run(2, "cart-1", 2)],
        guards: BTreeMap::from([("nodes".to_owned(), GuardState::tripped(at(1), at(2)))]),
    };
    same(&answer("snapshot", store.snapshot(&query)).await?, &snapshot, LASTS, "a snapshot")?;

    let mut approval = sample.approval(1, 2, 0, "cart-2");
    approval.told_at = Some(at(800));
    approval.reminded_at = Some(at(900));
    let pending = answer("pending_approvals", store.pending_approvals()).await?;
    same(&pending, &vec![approval], LASTS, "approvals that wait")?;
    let settled = answer("approvals_of", store.approvals_of(&sample.report(3))).await?.pop();
    let state = settled.map(|approval| approval.state);
    same(&state, &Some(rejected()), LASTS, "a settled approval")
}

fn executing() -> JournalState {
    JournalState::Executing { precondition: Precondition::new([("uid", "u1")]) }
}

fn ended() -> StepEnd {
    StepEnd::AlreadyDone { proof: "two replicas".to_owned() }
}

fn rejected() -> ApprovalState {
    ApprovalState::Rejected { by: "anna".to_owned(), at: at(950), reason: "not tonight".to_owned() }
}

fn switch() -> KillSwitch {
    KillSwitch::on("ops", "failing over by hand", at(5))
}
