//! The incident log suite passes the bundled log and catches broken ones.
#![allow(clippy::unwrap_used)]

use aiops_core::jiff::Timestamp;
use aiops_core::testing::check_incident_log;
use aiops_core::{
    Incident, IncidentEntry, IncidentLog, IncidentLogError, IncidentQuery, IncidentRecord, IncidentState,
    MemoryIncidentLog,
};
use async_trait::async_trait;

#[tokio::test(start_paused = true)]
async fn the_bundled_log_passes() {
    check_incident_log(&MemoryIncidentLog::default(), Timestamp::UNIX_EPOCH).await.unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    LosesReports,
    Reverses,
    EndsAtTheFirstResolve,
    StaysResolved,
    OldestFirst,
    IgnoresTheLimit,
    ClosedIntervals,
    IgnoresServices,
    IgnoresTheState,
    LosesWhatComesAtOnce,
    StaysBusyAfterADrop,
}

/// A log over [`MemoryIncidentLog`] with one fault.
#[derive(Debug)]
struct Broken {
    fault: Fault,
    log: MemoryIncidentLog,
    busy: std::sync::Mutex<bool>,
}

#[async_trait]
impl IncidentLog for Broken {
    async fn append(&self, record: IncidentRecord) -> Result<(), IncidentLogError> {
        match self.fault {
            Fault::LosesReports if matches!(record.entry, IncidentEntry::Triaged { .. }) => return Ok(()),
            Fault::LosesWhatComesAtOnce | Fault::StaysBusyAfterADrop => {
                if std::mem::replace(&mut *self.busy.lock().unwrap(), true) {
                    return match self.fault {
                        Fault::LosesWhatComesAtOnce => Ok(()),
                        _ => Err(IncidentLogError::retryable("append to", "still writing")),
                    };
                }
                let free = Free(self.fault == Fault::LosesWhatComesAtOnce, self);
                tokio::task::yield_now().await;
                *self.busy.lock().unwrap() = false;
                drop(free);
            }
            _ => {}
        }
        self.log.append(record).await
    }

    async fn query(&self, query: &IncidentQuery) -> Result<Vec<Incident>, IncidentLogError> {
        let mut asked = query.clone();
        match self.fault {
            Fault::IgnoresTheLimit => asked.limit = 0,
            Fault::ClosedIntervals => asked.to = query.to.map(|to| to + std::time::Duration::from_nanos(1)),
            Fault::IgnoresServices => asked.services = None,
            Fault::IgnoresTheState => asked.state = None,
            _ => {}
        }
        let mut found = self.log.query(&asked).await?;
        if self.fault == Fault::OldestFirst {
            found.reverse();
        }
        for incident in &mut found {
            let resolved = |record: &IncidentRecord| matches!(record.entry, IncidentEntry::Resolved { .. });
            let firing = incident.firing().len();
            match self.fault {
                Fault::Reverses => incident.records.reverse(),
                Fault::EndsAtTheFirstResolve if firing == 1 && incident.records.iter().any(resolved) => {
                    incident.state = IncidentState::Resolved;
                }
                Fault::StaysResolved if incident.records.iter().filter(|record| resolved(record)).count() == 2 => {
                    incident.state = IncidentState::Resolved;
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Makes the log free again when its append is dropped, where that is not the fault.
struct Free<'a>(bool, &'a Broken);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        if self.0 {
            *self.1.busy.lock().unwrap() = false;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn broken_logs_are_caught() {
    for (fault, line) in [
        (Fault::LosesReports, "`query` gives"),
        (Fault::Reverses, "in the order"),
        (Fault::EndsAtTheFirstResolve, "is open while"),
        (Fault::StaysResolved, "is open while"),
        (Fault::OldestFirst, "newest first"),
        (Fault::IgnoresTheLimit, "that match"),
        (Fault::ClosedIntervals, "that match"),
        (Fault::IgnoresServices, "that match"),
        (Fault::IgnoresTheState, "that match"),
        (Fault::LosesWhatComesAtOnce, "do not lose"),
        (Fault::StaysBusyAfterADrop, "dropped append"),
    ] {
        let broken = Broken { fault, log: MemoryIncidentLog::default(), busy: false.into() };
        let violation = check_incident_log(&broken, Timestamp::UNIX_EPOCH).await.unwrap_err();
        assert!(violation.contract.contains(line), "{fault:?}: {violation}");
    }
}
