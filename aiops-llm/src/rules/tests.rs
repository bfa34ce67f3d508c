use std::sync::Arc;

use aiops_core::jiff::Timestamp;
use aiops_core::{
    ActionMenu, ActionName, ContextQuery, ContextSource, DependencyGraph, DeployLog, DetectionEvent, EpisodeId,
    EventKind, IncidentEntry, IncidentId, IncidentLog, IncidentRecord, MemoryIncidentLog, MenuEntry, RelatedAlerts,
    Rollout, RolloutPhase, Severity, Signal, TriageContext, TriageReport, TriageRequest, Triager,
};
use proptest::prelude::*;

use super::*;

const ONSET: i64 = 10_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn firing(service: &str, score: f64) -> DetectionEvent {
    let signal = Signal::new(2.0).expected(1.0).score(score).threshold(3.0);
    let mut event = DetectionEvent::builder(EventKind::MetricAnomaly, service, Severity::Warning, at(ONSET), "mad")
        .alertname("Latency")
        .signal(signal)
        .build();
    event.episode_id = Some(EpisodeId::new(format!("ep-{service}")));
    event
}

fn menu() -> ActionMenu {
    let entry = |name: &str, kind: &str| MenuEntry::new(ActionName::new(name).unwrap(), name).evidence(kind);
    ActionMenu::new(vec![entry("restart_pod", "alert"), entry("rollback_deployment", "deploy")])
}

/// What a pipeline asks: the first event is the one that was triaged.
async fn request(events: &[DetectionEvent], edges: &[(&str, &str)], deploys: &DeployLog) -> TriageRequest {
    let log = Arc::new(MemoryIncidentLog::default());
    for event in events {
        let entry = IncidentEntry::Announced { event: Box::new(event.clone()) };
        let record = IncidentRecord::new("inc".into(), event.service.clone(), at(ONSET), entry);
        log.append(record).await.unwrap();
    }
    let query = ContextQuery::new(events[0].clone(), IncidentId::from("inc"), at(ONSET + 60), at(ONSET + 90))
        .services(events.iter().map(|event| event.service.clone()));
    let alerts = RelatedAlerts::new(log, DependencyGraph::new(edges.iter().copied()));
    let mut findings = alerts.gather(&query).await.unwrap();
    findings.extend(deploys.gather(&query).await.unwrap());
    let context = TriageContext::assemble(findings, Vec::new());
    TriageRequest::new("inc".into(), events[0].clone(), context, at(ONSET + 60), at(ONSET + 90)).events(events.to_vec())
}

async fn report(triager: &RuleTriager, request: &TriageRequest) -> TriageReport {
    triager.triage(request).await.unwrap().report
}

fn confidence(report: &TriageReport) -> f64 {
    report.confidence.value()
}

const SHOP: &[(&str, &str)] = &[("edge", "web"), ("web", "search"), ("search", "db"), ("web", "cart")];

#[tokio::test]
async fn the_service_far_out_below_its_callers_is_named_and_restarted() {
    let events = [firing("search", 60.0), firing("web", 5.0), firing("db", 4.0), firing("edge", 3.5)];
    let report = report(&RuleTriager::new(menu()), &request(&events, SHOP, &DeployLog::default()).await).await;
    assert_eq!(
        report.likely_causes[0],
        "search: Latency, score 60 against 3, since 02:46:40Z; called by edge, web, firing too"
    );
    assert_eq!(report.recommended_actions, ["restart_pod"]);
    assert_eq!((confidence(&report), report.needs_human), (0.7, false));
    assert_eq!(report.evidence[0], "alert:1");
    assert_eq!(
        report.summary,
        "4 services fire; likeliest cause search: Latency, score 60 against 3, since 02:46:40Z; called by edge, \
         web, firing too; no deploy of it in the 30m before; recommends restart_pod"
    );
}

#[tokio::test]
async fn a_dependency_of_comparable_ratio_explains_its_caller() {
    let events = [firing("search", 9.0), firing("db", 6.0)];
    let report = report(&RuleTriager::new(menu()), &request(&events, SHOP, &DeployLog::default()).await).await;
    assert!(report.likely_causes[0].starts_with("db: "), "{:?}", report.likely_causes);
    assert!(report.likely_causes[1].contains("it depends on db, which fires too"));
    // The event is on the caller, so an action would hit the wrong service.
    assert!(report.needs_human && report.recommended_actions.is_empty());
    assert!(report.summary.ends_with("no action: a target comes from the event, and that is on search"));
}

#[tokio::test]
async fn of_two_that_call_each_other_one_explains_the_other() {
    let edges = [("a", "b"), ("b", "a")];
    let events = [firing("a", 6.0), firing("b", 6.0)];
    let request = request(&events, &edges, &DeployLog::default()).await;
    let causes = rank(&request);
    let explained = causes.iter().filter(|cause| cause.explained_by.is_some()).count();
    assert_eq!(explained, 1);
}

#[tokio::test]
async fn a_rollout_shortly_before_is_rolled_back_and_one_long_before_is_not() {
    for (begins, action, expected) in
        [(600, "rollback_deployment", 0.7), (1_800, "rollback_deployment", 0.7), (1_801, "restart_pod", 0.6)]
    {
        let deploys = DeployLog::default();
        deploys.record(Rollout::new("search", "d7", RolloutPhase::Started, at(ONSET - begins)).version("v2"));
        let report = report(&RuleTriager::new(menu()), &request(&[firing("search", 60.0)], SHOP, &deploys).await).await;
        assert_eq!(report.recommended_actions, [action], "{begins} s before");
        assert_eq!(confidence(&report), expected);
        assert_eq!(report.evidence.contains(&"deploy:1".to_owned()), action == "rollback_deployment");
    }
    // What began after the onset did not cause it.
    let deploys = DeployLog::default();
    deploys.record(Rollout::new("search", "d7", RolloutPhase::Started, at(ONSET + 1)));
    let report = report(&RuleTriager::new(menu()), &request(&[firing("search", 60.0)], SHOP, &deploys).await).await;
    assert_eq!(report.recommended_actions, ["restart_pod"]);
}

#[tokio::test]
async fn two_rivals_leave_it_below_the_threshold() {
    let events = [firing("search", 60.0), firing("cart", 40.0), firing("web", 5.0)];
    let report = report(&RuleTriager::new(menu()), &request(&events, SHOP, &DeployLog::default()).await).await;
    assert_eq!(confidence(&report), 0.5);
    assert!(report.likely_causes[1].starts_with("cart: "));
}

#[tokio::test]
async fn evidence_that_the_menu_asks_for_and_nobody_has_stops_the_action() {
    let entry = MenuEntry::new(ActionName::new("restart_pod").unwrap(), "restart").evidence("slo");
    let triager = RuleTriager::new(ActionMenu::new(vec![entry]));
    let report = report(&triager, &request(&[firing("search", 60.0)], SHOP, &DeployLog::default()).await).await;
    assert!(report.recommended_actions.is_empty() && report.needs_human);
    assert!(report.summary.ends_with("no action: restart_pod asks for evidence of kind slo"), "{}", report.summary);
}

#[tokio::test]
async fn foreign_text_moves_nothing() {
    let mut asked = request(&[firing("search", 60.0)], SHOP, &DeployLog::default()).await;
    let mut foreign = asked.context.items[0].clone();
    foreign.id = "alert:2".to_owned();
    foreign.trust = aiops_core::Trust::External;
    foreign.service = Some("db".into());
    foreign.data["ratio"] = 1e6.into();
    let before = report(&RuleTriager::new(menu()), &asked).await;
    asked.context.items.push(foreign);
    assert_eq!(report(&RuleTriager::new(menu()), &asked).await, before);
}

#[tokio::test]
async fn behind_a_model_it_names_causes_and_recommends_nothing() {
    let asked = request(&[firing("search", 60.0), firing("web", 5.0)], SHOP, &DeployLog::default()).await;
    let triage = RuleTriager::default().triage(&asked).await.unwrap();
    assert_eq!(triage.provenance.triager, "rules/1");
    let report = triage.report;
    assert!(report.likely_causes[0].starts_with("search: "));
    assert!(report.recommended_actions.is_empty() && report.needs_human);
    assert_eq!(confidence(&report), 0.0);
}

#[tokio::test]
async fn without_context_the_events_alone_are_ranked_without_confidence() {
    let event = firing("search", 60.0);
    let asked = TriageRequest::new("inc".into(), event, TriageContext::default(), at(ONSET), at(ONSET + 30));
    let report = report(&RuleTriager::new(menu()), &asked).await;
    assert!(report.likely_causes[0].starts_with("search: "));
    assert_eq!((confidence(&report), report.evidence.len()), (0.0, 0));
}

const NAMES: [&str; 5] = ["edge", "web", "search", "db", "cart"];

fn incident() -> impl Strategy<Value = (Vec<DetectionEvent>, Vec<usize>)> {
    let events = prop::collection::vec((0..NAMES.len(), 3.0..300.0f64, 0..3i64), 1..8).prop_map(|drawn| {
        let mut seen = Vec::new();
        for (name, score, late) in drawn {
            let mut event = firing(NAMES[name], score);
            event.detected_at = at(ONSET + late);
            if !seen.iter().any(|known: &DetectionEvent| known.service == event.service) {
                seen.push(event);
            }
        }
        seen
    });
    (events, prop::collection::vec(0..100usize, 20))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The order in which events and items stand has no say.
    #[test]
    fn order_does_not_matter((events, swaps) in incident()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let triager = RuleTriager::new(menu());
        let asked = runtime.block_on(request(&events, SHOP, &DeployLog::default()));
        let first = runtime.block_on(report(&triager, &asked));
        let mut shuffled = asked;
        for (index, swap) in swaps.iter().enumerate() {
            let (events, items) = (shuffled.events.len(), shuffled.context.items.len());
            shuffled.events.swap(index % events, swap % events);
            shuffled.context.items.swap(index % items, swap % items);
        }
        prop_assert_eq!(&runtime.block_on(report(&triager, &shuffled)), &first);
        prop_assert!(confidence(&first) <= 0.8);
        prop_assert!(first.summary.chars().count() <= 400);
        for id in &first.evidence {
            prop_assert!(shuffled.context.item(id).is_some(), "cites {id}");
        }
    }
}
