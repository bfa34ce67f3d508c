//! Reports open once and close once.

use aiops_core::Disposition;
use aiops_core::testing::{Violation, ensure};

use super::sample::Sample;
use super::{answer, refused, same};
use crate::store::{Opened, RemediationStore};

const OPENS: &str = "the first `open_report` of an id is `New`, every other is `Known`";
const CLOSES: &str = "the first `close_report` says `true`, every other `false`, and its answer stays";
const ANSWERED: &str = "a record that carries a response is closed at once";
const LISTS: &str = "`open_reports` gives the reports without an answer as they were opened, the oldest first";
const TELLS: &str = "`untold` gives the reports that were closed, but for duplicates, with their responses, the oldest first, until `note_told`";
const READS: &str = "`open_report_of` gives a report while it has no answer";

pub(super) async fn check(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let (first, second) = (sample.record(1), sample.record(2));
    same(&answer("open_report", store.open_report(&first)).await?, &Opened::New, OPENS, "the first")?;
    same(&answer("open_report", store.open_report(&first)).await?, &Opened::Known(None), OPENS, "the second")?;
    same(&answer("open_report", store.open_report(&second)).await?, &Opened::New, OPENS, "another report")?;
    let open = answer("open_reports", store.open_reports()).await?;
    same(&open, &vec![first.clone(), second.clone()], LISTS, "two are open")?;

    let read = answer("open_report_of", store.open_report_of(&second.id)).await?;
    same(&read, &Some(second.clone()), READS, "an open one")?;

    let executed = sample.response(1, Disposition::Executed);
    let closed = answer("close_report", store.close_report(&first.id, &executed)).await?;
    ensure(closed, CLOSES, || "the first said false".to_owned())?;
    let mut told = vec![first.clone().response(Some(executed))];
    same(&answer("untold", store.untold()).await?, &told, TELLS, "one was closed")?;
    let other = sample.response(1, Disposition::NoAction);
    let closed = answer("close_report", store.close_report(&first.id, &other)).await?;
    ensure(!closed, CLOSES, || "the second said true".to_owned())?;
    let known = answer("open_report", store.open_report(&first)).await?;
    same(&known, &Opened::Known(Some(Disposition::Executed)), CLOSES, "opened again")?;
    same(&answer("open_reports", store.open_reports()).await?, &vec![second], LISTS, "one was closed")?;

    for number in [1, 9] {
        let read = answer("open_report_of", store.open_report_of(&sample.report(number))).await?;
        same(&read, &None, READS, "one that is closed, or never was opened")?;
    }

    let parked = sample.response(3, Disposition::AwaitingApproval);
    let third = sample.record(3).response(Some(parked));
    told.push(third.clone());
    same(&answer("open_report", store.open_report(&third)).await?, &Opened::New, OPENS, "one with its answer")?;
    let known = answer("open_report", store.open_report(&third)).await?;
    same(&known, &Opened::Known(Some(Disposition::AwaitingApproval)), ANSWERED, "opened again")?;
    let open = answer("open_reports", store.open_reports()).await?.len();
    ensure(open == 1, ANSWERED, || format!("{open} reports are open instead of 1"))?;

    same(&answer("untold", store.untold()).await?, &told, TELLS, "another one was answered at once")?;
    for _ in 0..2 {
        answer("note_told", store.note_told(&first.id)).await?;
        same(&answer("untold", store.untold()).await?, &vec![third.clone()], TELLS, "people were told of one")?;
    }
    answer("note_told", store.note_told(&sample.report(9))).await?;
    same(&answer("untold", store.untold()).await?, &vec![third.clone()], TELLS, "one was told that never was opened")?;
    answer("note_told", store.note_told(&third.id)).await?;

    let held = sample.record(5).response(Some(sample.response(5, Disposition::Duplicate)));
    answer("open_report", store.open_report(&held)).await?;
    answer("open_report", store.open_report(&sample.record(6))).await?;
    let duplicate = sample.response(6, Disposition::Duplicate);
    answer("close_report", store.close_report(&sample.report(6), &duplicate)).await?;
    same(&answer("untold", store.untold()).await?, &vec![], TELLS, "two duplicates")?;

    let never = sample.response(4, Disposition::Executed);
    refused("closing a report that was never opened", store.close_report(&sample.report(4), &never)).await
}
