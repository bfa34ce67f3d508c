//! Ready-made contract values for tests: one warning on `checkout`, and what follows from it.

use std::time::Duration;

use jiff::Timestamp;

use crate::context::{ContextFinding, ContextKind, TriageContext, Trust};
use crate::event::{DetectionEvent, EventKind, Severity};
use crate::names::{Confidence, EpisodeId, EventId, IncidentId};
use crate::notify::{Notice, NoticeKind};
use crate::responder::{Decision, Disposition, Plan, Response, Step};
use crate::signal::Signal;
use crate::triage::{Provenance, Triage, TriageReport, TriageRequest, Triaged};

/// A `P99LatencyAnomaly` warning on a service, with episode and incident, whose ids are made from
/// `name`: two names make two incidents.
#[must_use]
pub fn event(service: &str, name: &str, at: Timestamp) -> DetectionEvent {
    let mut event = DetectionEvent::builder(EventKind::MetricAnomaly, service, Severity::Warning, at, "zscore")
        .event_id(EventId::new(format!("ev-{name}")))
        .alertname("P99LatencyAnomaly")
        .signal(
            Signal::new(0.85)
                .expected(0.12)
                .score(7.1)
                .threshold(3.0)
                .unit("s")
                .window(Duration::from_secs(3_600))
                .n(12),
        )
        .build();
    event.episode_id = Some(EpisodeId::new(format!("ep-{name}")));
    event.incident_id = Some(IncidentId::new(format!("inc-{name}")));
    event
}

/// A context of one deploy of the event's service and one line of foreign log text.
#[must_use]
pub fn context(event: &DetectionEvent) -> TriageContext {
    let deployed_at = crate::time::minus(event.detected_at, Duration::from_secs(360));
    TriageContext::assemble(
        vec![
            ContextFinding::new(ContextKind::Deploy, Trust::System, "deployed v2, 6m before")
                .service(event.service.clone())
                .at(deployed_at)
                .data(serde_json::json!({"deploy_id": "d-2", "version": "v2"})),
            ContextFinding::new(ContextKind::Log, Trust::External, "pool exhausted (40 in 5m)")
                .service(event.service.clone())
                .weight(40.0),
        ],
        Vec::new(),
    )
}

/// A request about an event with [`context`], to be answered within 30 seconds.
#[must_use]
pub fn request(event: DetectionEvent) -> TriageRequest {
    let now = event.observed();
    let incident = event.incident_id.clone().unwrap_or_default();
    let context = context(&event);
    TriageRequest::new(incident, event, context, now, crate::time::plus(now, Duration::from_secs(30)))
}

/// A confident report on an event that recommends these actions and cites the deploy.
#[must_use]
pub fn triaged(event: DetectionEvent, actions: &[&str]) -> Triaged {
    let request = request(event);
    let report = TriageReport::new("checkout is slow since its deploy of v2")
        .likely_causes(["checkout: deployed v2 6 min before"])
        .recommended_actions(actions.iter().copied())
        .confidence(Confidence::new(0.8).unwrap_or(Confidence::ZERO))
        .needs_human(false)
        .evidence(["deploy:1"]);
    let at = request.now;
    Triaged::new(&request, Triage::new(report, Provenance::new("sample")), at)
}

/// A notice of every kind about an event, with `text` wherever a host or a model may write text.
#[must_use]
pub fn notice_kinds(event: &DetectionEvent, text: &str) -> Vec<NoticeKind> {
    let mut triaged = triaged(event.clone(), &[text]);
    triaged.report.summary = text.to_owned();
    let step = Step::new(text, None, Decision::RequireApproval, text);
    let plan = Plan::new(vec![step], Vec::new());
    let response = Response::new(triaged.incident_id.clone(), Disposition::AwaitingApproval, plan, event.observed());
    let response = Box::new(response);
    let denied = Plan::new(vec![Step::new(text, None, Decision::Deny, text)], Vec::new());
    let escalated = Disposition::Escalated { reason: text.to_owned() };
    let refused = Box::new(Response::new(response.incident_id.clone(), escalated, denied, event.observed()));
    vec![
        NoticeKind::Announced { held: 2, reason: Some(text.to_owned()) },
        NoticeKind::Updated { triaged: Some(Box::new(triaged)), response: None },
        NoticeKind::Updated { triaged: None, response: Some(response.clone()) },
        NoticeKind::Suppressed { summary: text.to_owned() },
        NoticeKind::Escalated { reason: text.to_owned(), response: Some(refused) },
        NoticeKind::AwaitingApproval { response },
        NoticeKind::Resolved,
    ]
}

/// The announcement of an event.
#[must_use]
pub fn notice(event: DetectionEvent) -> Notice {
    let (incident, at) = (event.incident_id.clone().unwrap_or_default(), event.observed());
    Notice::new(incident, event, NoticeKind::Announced { held: 0, reason: None }, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_sample_of_every_kind_of_notice() {
        let kinds = notice_kinds(&event("checkout", "1", Timestamp::UNIX_EPOCH), "text");
        let mut sampled: Vec<usize> = kinds
            .iter()
            .map(|kind| match kind {
                // Whoever adds a kind adds its sample: the suites of channels and notices rest on it.
                NoticeKind::Announced { .. } => 0,
                NoticeKind::Updated { .. } => 1,
                NoticeKind::Suppressed { .. } => 2,
                NoticeKind::Escalated { .. } => 3,
                NoticeKind::AwaitingApproval { .. } => 4,
                NoticeKind::Resolved => 5,
            })
            .collect();
        sampled.dedup();
        assert_eq!(sampled, (0..6).collect::<Vec<_>>());
    }
}
