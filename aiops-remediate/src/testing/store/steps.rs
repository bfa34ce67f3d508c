//! The journal: a key begins once, older tokens are fenced, ends stay.

use aiops_core::testing::{Violation, ensure};
use aiops_core::{Disposition, Outcome, Precondition};

use super::sample::{Sample, at};
use super::{answer, outcome, refused, same};
use crate::store::{Begun, JournalState, RemediationStore, StepEnd, StepKey, StoreError};

const ONCE: &str = "what began once is `Exists` from then on, also after it ended, whoever asks";
const CLOSED: &str = "nothing begins for a report that is closed";
const UNFINISHED: &str = "`unfinished` gives the steps without an end as they are, the oldest first";
const OF_REPORT: &str = "`steps_of` gives all steps of a report that began, in order";
const FENCED: &str =
    "`advance` with a token smaller than the newest that the step has seen is `Fenced` and changes nothing";
const NEWEST: &str = "a greater token becomes the newest of its step";
const TAKEN: &str = "`take_over` takes a step over: it gives it as it is, and fences older tokens from then on";
const ENDED: &str = "a step that has ended stays as it ended";

pub(super) async fn begin_once(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    answer("open_report", store.open_report(&sample.record(1))).await?;
    let entry = sample.entry(1, 0, "cart-1", 1);
    let second = sample.entry(1, 1, "cart-2", 1);
    let unended = Begun::Exists { at: entry.at, end: None };
    same(&answer("begin", store.begin(&entry)).await?, &Begun::New, ONCE, "the first")?;
    same(&answer("begin", store.begin(&entry)).await?, &unended, ONCE, "the second")?;
    let foreign = sample.entry(2, 0, "cart-1", 1);
    same(&answer("begin", store.begin(&foreign)).await?, &unended, ONCE, "another report's, of the same key")?;
    same(&answer("begin", store.begin(&second)).await?, &Begun::New, ONCE, "another target")?;
    let both = vec![entry.clone(), second.clone()];
    same(&answer("unfinished", store.unfinished()).await?, &both, UNFINISHED, "two began")?;

    let mut advanced = entry.clone();
    advanced.state = JournalState::Executing { precondition: Precondition::new([("uid", "u1")]) };
    answer("advance", store.advance(&entry.key(), 1, &advanced.state, at(1))).await?;
    let steps = answer("steps_of", store.steps_of(&entry.report)).await?;
    same(&steps, &vec![advanced.clone(), second.clone()], OF_REPORT, "one went on")?;
    advanced.state = JournalState::Verifying {
        precondition: Precondition::new([("uid", "u1")]),
        proof: "u2".to_owned(),
        verify_at: at(120),
    };
    answer("advance", store.advance(&entry.key(), 1, &advanced.state, at(2))).await?;
    same(&answer("unfinished", store.unfinished()).await?, &vec![advanced, second.clone()], UNFINISHED, "it went on")?;

    let end = StepEnd::Executed { outcome: Outcome::Helped, proof: "u2".to_owned() };
    answer("advance", store.advance(&entry.key(), 1, &JournalState::Ended(end.clone()), at(3))).await?;
    let ended = Begun::Exists { at: entry.at, end: Some(end) };
    same(&answer("begin", store.begin(&entry)).await?, &ended, ONCE, "it ended")?;
    same(&answer("unfinished", store.unfinished()).await?, &vec![second.clone()], UNFINISHED, "one ended")?;
    let over = JournalState::Ended(StepEnd::NotRun { reason: "late".to_owned() });
    refused("advancing a step that has ended", store.advance(&entry.key(), 2, &over, at(4))).await?;

    let response = sample.response(1, Disposition::Executed);
    answer("close_report", store.close_report(&entry.report, &response)).await?;
    same(&answer("begin", store.begin(&entry)).await?, &ended, ONCE, "its report closed")?;
    refused("advancing a step of a closed report that has ended", store.advance(&entry.key(), 2, &over, at(5))).await?;
    same(&answer("begin", store.begin(&entry)).await?, &ended, ENDED, "advanced in vain")?;
    let late = sample.entry(1, 2, "cart-3", 1);
    match outcome("begin", store.begin(&late)).await? {
        Err(StoreError::Refused { .. }) => {}
        other => return Err(Violation::new(CLOSED, format!("it gave {other:?}"))),
    }
    same(&answer("unfinished", store.unfinished()).await?, &vec![second], CLOSED, "what is left")
}

pub(super) async fn end_late(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let (entry, response) = (sample.entry(1, 0, "cart-1", 1), sample.response(1, Disposition::Executed));
    answer("open_report", store.open_report(&sample.record(1))).await?;
    answer("begin", store.begin(&entry)).await?;
    answer("close_report", store.close_report(&entry.report, &response)).await?;
    same(
        &answer("unfinished", store.unfinished()).await?,
        &vec![entry.clone()],
        UNFINISHED,
        "the report closed first",
    )?;
    let end = StepEnd::Unknown { reason: "nobody knows".to_owned() };
    answer("advance", store.advance(&entry.key(), 1, &JournalState::Ended(end.clone()), at(2))).await?;
    let left = answer("unfinished", store.unfinished()).await?.len();
    ensure(left == 0, UNFINISHED, || format!("{left} are left after it ended late"))?;
    let ended = Begun::Exists { at: entry.at, end: Some(end) };
    same(&answer("begin", store.begin(&entry)).await?, &ended, ONCE, "it ended after its report")
}

pub(super) async fn fence(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let entry = sample.entry(1, 0, "cart-1", 5);
    let executing = JournalState::Executing { precondition: Precondition::default() };
    answer("open_report", store.open_report(&sample.record(1))).await?;
    answer("begin", store.begin(&entry)).await?;
    let fenced = |answer: Result<(), StoreError>, what: &str| match answer {
        Err(StoreError::Fenced { .. }) => Ok(()),
        other => Err(Violation::new(FENCED, format!("{what} gave {other:?}"))),
    };
    fenced(outcome("advance", store.advance(&entry.key(), 4, &executing, at(1))).await?, "4 after it began with 5")?;
    same(&answer("unfinished", store.unfinished()).await?, &vec![entry.clone()], FENCED, "a fenced call")?;
    answer("advance", store.advance(&entry.key(), 5, &JournalState::Started, at(1))).await?;
    answer("advance", store.advance(&entry.key(), 7, &JournalState::Started, at(1))).await?;
    let seen = answer("unfinished", store.unfinished()).await?.first().map(|entry| entry.token);
    ensure(seen == Some(7), NEWEST, || format!("token 7 was taken, the step says {seen:?}"))?;
    fenced(outcome("advance", store.advance(&entry.key(), 6, &executing, at(2))).await?, "6 after 7")?;
    let state = answer("steps_of", store.steps_of(&entry.report)).await?.first().map(|entry| entry.state.clone());
    ensure(state == Some(JournalState::Started), FENCED, || format!("the fenced call changed it to {state:?}"))?;
    let unknown = StepKey::of(&sample.request("cart-9", 9));
    refused("advancing a step that never began", store.advance(&unknown, 9, &executing, at(2))).await
}

pub(super) async fn take_over(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let mut entry = sample.entry(1, 0, "cart-1", 5);
    let key = entry.key();
    let taken = answer("take_over", store.take_over(&key, 5)).await?;
    same(&taken, &None, TAKEN, "a step that never began")?;
    answer("open_report", store.open_report(&sample.record(1))).await?;
    answer("begin", store.begin(&entry)).await?;
    entry.state = JournalState::Executing { precondition: Precondition::new([("uid", "u1")]) };
    answer("advance", store.advance(&key, 5, &entry.state, at(1))).await?;
    for token in [5, 8] {
        entry.token = token;
        let taken = answer("take_over", store.take_over(&key, token)).await?;
        same(&taken, &Some(entry.clone()), TAKEN, "a step that began with 5")?;
    }
    let end = JournalState::Ended(StepEnd::NotRun { reason: "late".to_owned() });
    for (what, answer) in [
        ("`advance` with 7", outcome("advance", store.advance(&key, 7, &end, at(2))).await?),
        ("`take_over` with 7", outcome("take_over", store.take_over(&key, 7)).await?.map(drop)),
    ] {
        let fenced = matches!(answer, Err(StoreError::Fenced { token: 7, newest: 8, .. }));
        ensure(fenced, TAKEN, || format!("{what} after 8 took it over gave {answer:?}"))?;
    }
    same(&answer("steps_of", store.steps_of(&entry.report)).await?, &vec![entry.clone()], TAKEN, "fenced calls")?;
    entry.state = end.clone();
    answer("advance", store.advance(&key, 8, &end, at(3))).await?;
    let taken = answer("take_over", store.take_over(&key, 8)).await?;
    same(&taken, &Some(entry.clone()), TAKEN, "a step that has ended")?;
    let response = sample.response(1, Disposition::Escalated { reason: "late".to_owned() });
    answer("close_report", store.close_report(&entry.report, &response)).await?;
    same(&answer("take_over", store.take_over(&key, 9)).await?, &None, TAKEN, "its report closed")
}
