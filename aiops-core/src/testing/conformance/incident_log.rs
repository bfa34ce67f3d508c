//! The suite of [`IncidentLog`].

use std::time::Duration;

use jiff::Timestamp;

use super::{answered, poll_once};
use crate::event::DetectionEvent;
use crate::incident_log::{Incident, IncidentEntry, IncidentLog, IncidentQuery, IncidentRecord, IncidentState};
use crate::names::{EpisodeId, IncidentId};
use crate::notify::NoticeKind;
use crate::plugin::{Boxed, join_all};
use crate::responder::{Disposition, Plan, Response};
use crate::testing::{Violation, ensure, samples};

const GIVES: &str = "what `append` took, `query` gives, in the order of the appends of one incident";
const STATE: &str = "an incident is open while an announced episode of it has not been resolved";
const FILTERS: &str = "`query` gives the incidents that match, the newest first";
const CONCURRENT: &str = "appends of different incidents do not lose each other's lines";
const DROPPED: &str = "a dropped append leaves the log usable";

/// Incidents appended to at a time.
const AT_ONCE: usize = 8;

/// Checks a log: that lines of every kind come back as they were, in order; when an incident is open;
/// every filter, half-open in time; concurrent and dropped appends. It must have room for a dozen
/// incidents; the suite's begin with `inc-conformance-` and stand at `at` and in the hour after it.
///
/// # Errors
/// The first line of the contract of [`IncidentLog`] that does not hold.
///
/// ```
/// use aiops_core::{MemoryIncidentLog, jiff::Timestamp, testing};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), testing::Violation> {
/// testing::check_incident_log(&MemoryIncidentLog::default(), Timestamp::UNIX_EPOCH).await
/// # }
/// ```
pub async fn check_incident_log(log: &dyn IncidentLog, at: Timestamp) -> Result<(), Violation> {
    every_kind_of_line(log, at).await?;
    open_until_all_episodes_ended(log, at).await?;
    filters(log, at).await?;
    concurrent(log, at).await
}

fn event(service: &str, name: &str, at: Timestamp) -> DetectionEvent {
    samples::event(service, &format!("conformance-{name}"), at)
}

fn record(event: &DetectionEvent, at: Timestamp, entry: IncidentEntry) -> IncidentRecord {
    IncidentRecord::new(event.incident_id.clone().unwrap_or_default(), event.service.clone(), at, entry)
}

fn announced(event: &DetectionEvent) -> IncidentRecord {
    record(event, event.observed(), IncidentEntry::Announced { event: Box::new(event.clone()) })
}

fn resolved(event: &DetectionEvent) -> IncidentRecord {
    record(event, event.observed(), IncidentEntry::Resolved { event: Box::new(event.clone()) })
}

async fn append(log: &dyn IncidentLog, record: IncidentRecord, line: &'static str) -> Result<(), Violation> {
    answered(line, line, "append", log.append(record)).await
}

async fn query(log: &dyn IncidentLog, query: &IncidentQuery, line: &'static str) -> Result<Vec<Incident>, Violation> {
    answered(line, line, "query", log.query(query)).await
}

async fn one(log: &dyn IncidentLog, event: &DetectionEvent, line: &'static str) -> Result<Incident, Violation> {
    let id = event.incident_id.clone().unwrap_or_default();
    let mut found = query(log, &IncidentQuery::incident(id.clone()), line).await?;
    ensure(found.len() == 1, line, || format!("{id} is found {} times", found.len()))?;
    Ok(found.remove(0))
}

async fn every_kind_of_line(log: &dyn IncidentLog, at: Timestamp) -> Result<(), Violation> {
    let event = event("checkout", "lines", at);
    let triaged = samples::triaged(event.clone(), &["restart_pod"]);
    let disposition = Disposition::Escalated { reason: "\"quoted\"\n<é>".to_owned() };
    let response = Response::new(triaged.incident_id.clone(), disposition, Plan::default(), at);
    let notice = NoticeKind::Announced { held: 3, reason: None };
    let lines = [
        announced(&event),
        record(&event, at, IncidentEntry::Triaged { triaged: Box::new(triaged) }),
        record(&event, at, IncidentEntry::Responded { response: Box::new(response) }),
        record(&event, at, IncidentEntry::Notified { channel: "log".to_owned(), notice: Box::new(notice) }),
        resolved(&event),
    ];
    for line in &lines {
        append(log, line.clone(), GIVES).await?;
    }
    let found = one(log, &event, GIVES).await?.records;
    ensure(found == lines, GIVES, || format!("appended {lines:?}, found {found:?}"))
}

async fn open_until_all_episodes_ended(log: &dyn IncidentLog, at: Timestamp) -> Result<(), Violation> {
    let first = event("checkout", "state", at);
    let mut second = event("cart", "state", at);
    second.episode_id = Some(EpisodeId::new("ep-conformance-second"));
    let steps = [
        (announced(&first), IncidentState::Open, 1),
        (announced(&second), IncidentState::Open, 2),
        (resolved(&first), IncidentState::Open, 1),
        (resolved(&second), IncidentState::Resolved, 0),
        (announced(&first), IncidentState::Open, 1),
        (resolved(&first), IncidentState::Resolved, 0),
    ];
    for (place, (step, state, firing)) in steps.into_iter().enumerate() {
        append(log, step, STATE).await?;
        let found = one(log, &first, STATE).await?;
        let holds = found.state == state && found.firing().len() == firing;
        ensure(holds, STATE, || format!("after step {place}: {:?}, {} fire", found.state, found.firing().len()))?;
    }
    let services = one(log, &first, FILTERS).await?.services;
    ensure(services == ["checkout", "cart"], FILTERS, || format!("services are {services:?}"))
}

async fn filters(log: &dyn IncidentLog, at: Timestamp) -> Result<(), Violation> {
    let minute = |minutes: u64| crate::time::plus(at, Duration::from_secs(1_800 + minutes * 60));
    // Only this check's incidents are on these services.
    let old = event("conformance-a", "old", minute(0));
    let new = event("conformance-b", "new", minute(10));
    for record in [announced(&old), announced(&new), resolved(&old)] {
        append(log, record, FILTERS).await?;
    }
    let both = || IncidentQuery::default().services(["conformance-a".into(), "conformance-b".into()]);
    let asked = [
        (both(), vec![&new, &old]),
        (both().limit(1), vec![&new]),
        (both().state(IncidentState::Open), vec![&new]),
        (both().state(IncidentState::Resolved), vec![&old]),
        (IncidentQuery::default().services(["conformance-a".into()]), vec![&old]),
        (IncidentQuery::default().services(["conformance-none".into()]), vec![]),
        (both().between(minute(0), minute(10)), vec![&old]),
        (both().between(minute(10), minute(20)), vec![&new]),
        (both().between(minute(1), minute(10)), vec![]),
        (IncidentQuery::incident("inc-conformance-none".into()), vec![]),
    ];
    for (asked, wanted) in asked {
        let found: Vec<IncidentId> =
            query(log, &asked, FILTERS).await?.into_iter().map(|incident| incident.incident_id).collect();
        let wanted: Vec<IncidentId> = wanted.into_iter().filter_map(|event| event.incident_id.clone()).collect();
        ensure(found == wanted, FILTERS, || format!("{asked:?} gave {found:?} instead of {wanted:?}"))?;
    }
    Ok(())
}

async fn concurrent(log: &dyn IncidentLog, at: Timestamp) -> Result<(), Violation> {
    let dropped = event("checkout", "dropped", at);
    let _ = poll_once(log.append(announced(&dropped))).await;
    append(log, resolved(&dropped), DROPPED).await?;
    let last = one(log, &dropped, DROPPED).await?.records.pop();
    ensure(last == Some(resolved(&dropped)), DROPPED, || format!("the next line was appended, the last is {last:?}"))?;

    let events: Vec<DetectionEvent> =
        (0..AT_ONCE).map(|number| event("checkout", &format!("many-{number}"), at)).collect();
    let appends = events
        .iter()
        .flat_map(|event| [announced(event), resolved(event)])
        .map(|record| Box::pin(append(log, record, CONCURRENT)) as Boxed<'_, Result<(), Violation>>);
    for outcome in join_all(appends.collect(), AT_ONCE).await {
        outcome?;
    }
    for event in &events {
        let lines = one(log, event, CONCURRENT).await?.records.len();
        ensure(lines == 2, CONCURRENT, || format!("2 lines were appended at once, {lines} are there"))?;
    }
    Ok(())
}
