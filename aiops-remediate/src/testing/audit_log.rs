//! The suite of [`AuditLog`].

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use aiops_core::testing::{Violation, ensure, samples};
use aiops_core::{Disposition, Plan, Recovered, Redactor, Response, error_chain};
use jiff::Timestamp;

use crate::audit::{AuditEntry, AuditLog, AuditReader, AuditRecord};
use crate::store::{JournalEntry, JournalState, KillSwitch, ReportId, ReportRecord, StepEnd};

const TAKES: &str = "an entry of every kind is taken";
const CHAIN: &str = "entries make one chain that `verify` accepts";
const OUTLIVES: &str = "once `append` returns `Ok`, the entry is there, behind all that were acknowledged before";
const PLACES: &str = "appends at the same time get different places";
const KEEPS: &str = "nothing is changed or removed";
const DROPPED: &str = "a dropped future leaves the entry there or not, never half";
/// Entries that are appended at the same time.
const AT_ONCE: usize = 16;

/// Checks an audit log; `text` reads it back, as JSON lines from the log's first record. The log may hold
/// records already.
///
/// # Errors
/// The first line of the contract of [`AuditLog`] that does not hold.
///
/// ```
/// use std::sync::Arc;
/// use aiops_remediate::{MemoryAudit, testing};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), aiops_core::testing::Violation> {
/// let log = Arc::new(MemoryAudit::default());
/// testing::check_audit_log(log.clone(), || log.text().into_bytes()).await
/// # }
/// ```
pub async fn check_audit_log(log: Arc<dyn AuditLog>, text: impl Fn() -> Vec<u8>) -> Result<(), Violation> {
    let mut before = text();
    for entry in entries() {
        taken(&*log, entry.clone()).await?;
        let after = text();
        ensure(after.starts_with(&before), KEEPS, || format!("after {}", entry.kind))?;
        let last = records(&after, CHAIN)?.pop();
        let there = last.as_ref().is_some_and(|record| record.entry == entry);
        ensure(there, OUTLIVES, || format!("{entry:?} was acknowledged, the last record is {last:?}"))?;
        before = after;
    }

    let before = records(&before, CHAIN)?.len();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let log = Arc::clone(&log);
        tasks.spawn(async move { taken(&*log, numbered(number)).await });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.map_err(|error| Violation::new(TAKES, error.to_string()))??;
    }
    let all = records(&text(), CHAIN)?;
    ensure(all.len() == before + AT_ONCE, PLACES, || format!("{} of {AT_ONCE} are there", all.len() - before))?;
    for number in 0..AT_ONCE {
        let count = all[before..].iter().filter(|record| record.entry == numbered(number)).count();
        ensure(count == 1, PLACES, || format!("entry {number} is there {count} times"))?;
    }

    poll_once(log.append(numbered(AT_ONCE))).await;
    taken(&*log, numbered(AT_ONCE + 1)).await?;
    let more = records(&text(), DROPPED)?.len() - all.len();
    ensure((1..=2).contains(&more), DROPPED, || format!("one dropped and one acknowledged made {more} records"))
}

async fn taken(log: &dyn AuditLog, entry: AuditEntry) -> Result<(), Violation> {
    let kind = entry.kind.clone();
    log.append(entry).await.map_err(|error| Violation::new(TAKES, format!("{kind}: {}", error_chain(&error))))
}

fn records(text: &[u8], line: &'static str) -> Result<Vec<AuditRecord>, Violation> {
    AuditReader::new(text).collect::<Result<_, _>>().map_err(|broken| Violation::new(line, error_chain(&broken)))
}

async fn poll_once<F: Future>(future: F) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
}

fn numbered(number: usize) -> AuditEntry {
    let switch = KillSwitch::on("suite", format!("entry {number}"), Timestamp::UNIX_EPOCH);
    AuditEntry::kill_switch(&switch, &Redactor::none())
}

/// One entry of each kind that the dispatcher writes, with text that JSON must escape.
fn entries() -> Vec<AuditEntry> {
    let at = Timestamp::UNIX_EPOCH;
    let redactor = Redactor::default();
    let triaged = samples::triaged(samples::event("cart \"\n\u{202e}é,\"hash\":\"", "audit", at), &["restart_pod"]);
    let escalated = Disposition::Escalated { reason: "no target: label pod\n".to_owned() };
    let response = Response::new(triaged.incident_id.clone(), escalated, Plan::default(), at);
    let record = ReportRecord::new(triaged.clone(), Plan::default(), at).versions("c1", "p1");
    let mut entries = vec![
        AuditEntry::decision(&record.response(Some(response.clone())), &redactor),
        AuditEntry::answer(&triaged, &response, &redactor),
        AuditEntry::recovered(&Recovered::new(triaged.clone(), response), &redactor),
        AuditEntry::approval(&triaged, "approved", "jane", "looks right", at, &redactor),
        AuditEntry::forced_release("restart_pod|pod=a|f", "pid-7", "jane", "it hangs", at, &redactor),
        AuditEntry::kill_switch(&KillSwitch::off("jane", "over", at), &redactor),
    ];
    if let Ok(action) = aiops_core::ActionName::new("restart_pod") {
        let event = &triaged.event;
        let request = aiops_core::ActionRequest::new(
            action,
            aiops_core::Target::new([("namespace", "shop"), ("pod", "cart-1")]),
            event.service.clone(),
            event.fingerprint.clone(),
            triaged.incident_id.clone(),
            at,
        );
        let entry = JournalEntry::new(ReportId::of(&triaged), 0, request.fencing_token(u64::MAX), at);
        let ended = JournalState::Ended(StepEnd::NotRun { reason: "blocked".to_owned() });
        for state in [JournalState::Executing { precondition: Default::default() }, ended] {
            entries.push(AuditEntry::step(&entry, &state, at, &redactor));
        }
    }
    entries
}
