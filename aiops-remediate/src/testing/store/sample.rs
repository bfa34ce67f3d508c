//! The records that the suite stores.

use std::time::Duration;

use aiops_core::testing::{Violation, samples};
use aiops_core::{ActionName, ActionRequest, Disposition, IncidentId, Plan, Precondition, Response, Target};
use jiff::Timestamp;

use crate::catalogue::BlastRadius;
use crate::store::{Approval, ApprovalId, EpisodeKey, JournalEntry, ReportId, ReportRecord, Run};

/// 2025-05-05 08:00 UTC and so many seconds.
pub(super) fn at(seconds: u64) -> Timestamp {
    const START: Duration = Duration::from_secs(1_746_432_000);
    aiops_core::time::plus(Timestamp::UNIX_EPOCH, START + Duration::from_secs(seconds))
}

/// All marks of the sample are of this identity.
pub(super) const IDENTITY: &str = "metric_anomaly|cart|A";

#[derive(Debug)]
pub(super) struct Sample {
    pub(super) restart: ActionName,
    pub(super) scale: ActionName,
}

impl Sample {
    pub(super) fn new() -> Result<Self, Violation> {
        let name = |text| ActionName::new(text).map_err(|error| Violation::new("a sample is valid", error.to_string()));
        Ok(Self { restart: name("restart_pod")?, scale: name("scale_deployment")? })
    }

    /// A report with a plan to run.
    pub(super) fn record(&self, number: u64) -> ReportRecord {
        let event = samples::event("cart", &number.to_string(), at(0));
        ReportRecord::new(samples::triaged(event, &[self.restart.as_str()]), Plan::default(), at(number))
            .versions("catalogue-1", "policy-1")
    }

    pub(super) fn report(&self, number: u64) -> ReportId {
        self.record(number).id
    }

    pub(super) fn response(&self, number: u64, disposition: Disposition) -> Response {
        Response::new(self.record(number).triaged.incident_id, disposition, Plan::default(), at(1))
    }

    pub(super) fn request(&self, pod: &str, token: u64) -> ActionRequest {
        let event = samples::event("cart", "1", at(0));
        let incident = IncidentId::new("inc-1");
        ActionRequest::new(self.restart.clone(), target(pod), event.service, event.fingerprint, incident, at(60))
            .fencing_token(token)
            .dry_run(false)
    }

    /// A step of a report on a pod.
    pub(super) fn entry(&self, number: u64, index: usize, pod: &str, token: u64) -> JournalEntry {
        JournalEntry::new(self.report(number), index, self.request(pod, token), at(0))
    }

    /// A mark of a report on a pod.
    pub(super) fn run(&self, number: u64, pod: &str, seconds: u64) -> Run {
        Run::new(self.report(number), IDENTITY, self.restart.clone(), target(pod), at(seconds))
            .blast_radius(BlastRadius::Pod)
    }

    pub(super) fn approval(&self, id: u8, number: u64, index: usize, pod: &str) -> Approval {
        let observed = Precondition::new([("uid", "u1")]);
        let episode = EpisodeKey::of(&self.record(number).triaged.event);
        let (id, times) = (ApprovalId::of_random([id; 16]), (at(u64::from(id)), at(1_800)));
        Approval::new(id, self.report(number), index, episode, self.request(pod, 1), observed, times)
    }
}

pub(super) fn target(pod: &str) -> Target {
    Target::new([("namespace", "shop"), ("pod", pod)])
}
