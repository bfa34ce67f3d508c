//! The suite of [`Responder`].

use std::fmt::Debug;

use jiff::Timestamp;

use super::{PATIENCE, answered, poll_once, within};
use crate::responder::{Disposition, Responder, Response};
use crate::testing::{Violation, ensure};
use crate::triage::Triaged;

const ONE: &str = "`respond` gives exactly one disposition for each report";
const AGAIN: &str = "the second delivery is a duplicate, or has the same answer and no second effect";
const UNKNOWN: &str = "names that are not in its catalogue reject the whole report";
const RESOLVED: &str = "`resolved` tells that an episode ended";
const CONCURRENT: &str = "both may be called concurrently for different incidents";
const RECOVERS: &str = "`recover` must do nothing a second time";
const DROPPED: &str = "an answer that was not waited for leaves the report answerable";

/// On no catalogue.
const NO_SUCH: &str = "conformance_no_such_action";

/// Checks a responder: that an unknown action rejects the whole report and nothing of it runs, that a
/// report which comes again has no second effect, that incidents do not wait on each other, that recovery
/// has no effect, and that resolves may come twice and without a report.
///
/// `make` gives a report that the responder accepts, on another incident for each name;
/// [`samples::triaged`](crate::testing::samples::triaged) makes such reports. `outside` tells what the
/// responder's actions have changed so far, in whatever form compares.
///
/// # Errors
/// The first line of the contract of [`Responder`] that does not hold.
///
/// ```
/// use aiops_core::{ActionMenu, ActionName, MenuEntry, PlanOnly, jiff::Timestamp, testing};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let menu = ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod")?, "deletes one pod")]);
/// let now = Timestamp::UNIX_EPOCH;
/// let make = |name: &str| testing::samples::triaged(testing::samples::event("shop", name, now), &["restart_pod"]);
/// testing::check_responder(&PlanOnly::new(menu), make, now, || "it never acts").await?;
/// # Ok(()) }
/// ```
pub async fn check_responder<S: PartialEq + Debug>(
    responder: &dyn Responder,
    make: impl Fn(&str) -> Triaged,
    now: Timestamp,
    outside: impl Fn() -> S,
) -> Result<(), Violation> {
    let unchanged = |before: S, line: &'static str| {
        let after = outside();
        ensure(before == after, line, || format!("the outside changed from {before:?} to {after:?}"))
    };

    for (name, known) in [("unknown", false), ("half-unknown", true)] {
        let (mut triaged, before) = (make(name), outside());
        let actions = &mut triaged.report.recommended_actions;
        actions.truncate(usize::from(known));
        actions.push(NO_SUCH.to_owned());
        let response = respond(responder, &triaged, now, UNKNOWN).await?;
        let rejected = matches!(&response.disposition, Disposition::Rejected { reason } if reason.contains(NO_SUCH));
        ensure(rejected, UNKNOWN, || format!("{NO_SUCH} gave {:?}", response.disposition))?;
        unchanged(before, UNKNOWN)?;
    }

    let triaged = make("twice");
    let first = respond(responder, &triaged, now, ONE).await?;
    let refused = matches!(first.disposition, Disposition::Rejected { .. } | Disposition::Duplicate);
    ensure(!refused, ONE, || format!("a report that it accepts gave {:?}", first.disposition))?;
    let before = outside();
    let second = respond(responder, &triaged, now, AGAIN).await?;
    let same = second.disposition == Disposition::Duplicate || second.disposition == first.disposition;
    ensure(same, AGAIN, || format!("{:?}, then {:?}", first.disposition, second.disposition))?;
    unchanged(before, AGAIN)?;

    let (one, two) = (make("left"), make("right"));
    let both =
        async { tokio::join!(respond(responder, &one, now, CONCURRENT), respond(responder, &two, now, CONCURRENT)) };
    let (one, two) = within(PATIENCE, CONCURRENT, "one of two incidents", both).await?;
    for response in [one?, two?] {
        let answered = !matches!(response.disposition, Disposition::Rejected { .. } | Disposition::Duplicate);
        ensure(answered, CONCURRENT, || format!("another incident's report gave {:?}", response.disposition))?;
    }

    let before = outside();
    for _ in 0..2 {
        answered(RECOVERS, RECOVERS, "recover", responder.recover(now)).await?;
    }
    unchanged(before, RECOVERS)?;

    let dropped = make("dropped");
    let _ = poll_once(responder.respond(&dropped, now)).await;
    respond(responder, &dropped, now, DROPPED).await?;

    for event in [&triaged.event, &triaged.event, &make("never-answered").event] {
        answered(RESOLVED, RESOLVED, "resolved", responder.resolved(event, now)).await?;
    }
    Ok(())
}

async fn respond(
    responder: &dyn Responder,
    triaged: &Triaged,
    now: Timestamp,
    line: &'static str,
) -> Result<Response, Violation> {
    let response = answered(line, line, "respond", responder.respond(triaged, now)).await?;
    ensure(response.incident_id == triaged.incident_id, ONE, || {
        format!("asked about {}, answered about {}", triaged.incident_id, response.incident_id)
    })?;
    Ok(response)
}
