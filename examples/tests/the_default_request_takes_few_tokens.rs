//! Bar: the default triage request for a full context takes at most 2,200 tokens: the event, three deploys, ten kinds
//! of error lines, three alerts and an SLO, with the menu of the example catalogue. Counted by o200k, OpenAI's
//! tokenizer; other tokenizers count up to a third more.
//!
//! `cargo test -p aiops-examples --test the_default_request_takes_few_tokens -- --nocapture` prints the count.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::testing::samples;
use aiops_core::{
    ContextFinding, ContextKind, ContextQuery, ContextSource, DependencyGraph, DeployLog, DetectionEvent, EventKind,
    MemoryIncidentLog, RelatedAlerts, Rollout, RolloutPhase, Severity, Signal, TriageContext, TriageRequest, Trust,
    time,
};
use aiops_detectors::{ErrorLogContext, ErrorLogs, LogLine};
use aiops_llm::{ChatError, ChatErrorKind, ChatModel, ChatReply, ChatRequest, LlmTriager};
use aiops_remediate::ActionCatalogue;

/// The bar, in tokens.
const BAR: usize = 2_200;

/// Kinds of error lines of a shop's checkout whose database is slow, each with how often it is written in 15 minutes.
const LINES: [(&str, usize); 10] = [
    ("ERROR c.s.checkout.OrderService - could not place order {n}: connection pool exhausted after 30000 ms", 40),
    (
        "ERROR o.h.e.jdbc.spi.SqlExceptionHelper - HikariPool-1 - Connection is not available, request timed out after {n}ms.",
        30,
    ),
    (
        "WARN  c.s.checkout.PaymentClient - POST http://payments/v1/charges answered 504 after {n} ms, attempt 2 of 3",
        20,
    ),
    ("ERROR c.s.checkout.CartController - unhandled java.util.concurrent.TimeoutException for cart {n}", 15),
    ("ERROR io.netty.channel.AbstractChannel - connection reset by peer: inventory.shop.svc/10.0.{n}.7:8080", 12),
    (
        "WARN  c.z.hikari.pool.ProxyConnection - connection marked as broken because of SQLSTATE(08006), ErrorCode({n})",
        9,
    ),
    ("ERROR c.s.checkout.outbox.Publisher - giving up on event {n} for topic orders.placed after 5 attempts", 8),
    (
        "ERROR o.a.kafka.clients.producer.Sender - got error produce response with correlation id {n} on topic-partition orders-3",
        6,
    ),
    ("WARN  c.s.checkout.Health - readiness probe failed: database ping took {n} ms, limit 1000 ms", 5),
    (
        "ERROR c.s.checkout.SessionStore - redis command timed out for session {n}; nested exception is RedisCommandTimeoutException",
        4,
    ),
];

/// A model that nobody asks.
#[derive(Debug)]
struct Unasked;

#[async_trait::async_trait]
impl ChatModel for Unasked {
    fn provider(&self) -> &str {
        "none"
    }

    fn model(&self) -> &str {
        "none"
    }

    async fn complete(&self, _: &ChatRequest) -> Result<ChatReply, ChatError> {
        Err(ChatError::new("none", ChatErrorKind::Refused))
    }
}

fn event(now: Timestamp) -> DetectionEvent {
    let mut event = samples::event("checkout", "1", now);
    for (label, value) in [
        ("namespace", "shop"),
        ("pod", "checkout-7d9f6c5b8-x2x4q"),
        ("node", "ip-10-0-3-17.eu-west-1.compute.internal"),
        ("region", "eu-west-1"),
    ] {
        event.labels.insert(label.to_owned(), value.to_owned());
    }
    event
}

/// Deploys as their log tells them.
async fn deploys(query: &ContextQuery) -> Vec<ContextFinding> {
    let log = DeployLog::default();
    for (id, version, minutes) in
        [("rel-4812", "v2.41.0", 6), ("rel-4809", "v2.40.3", 190), ("rel-4801", "v2.40.2", 1_500)]
    {
        for (phase, later) in [(RolloutPhase::Started, 0), (RolloutPhase::Completed, 2)] {
            let at = time::minus(query.now, Duration::from_secs(60 * (minutes - later)));
            log.record(Rollout::new("checkout", id, phase, at).version(version));
        }
    }
    log.gather(query).await.unwrap()
}

/// Error lines as their store tells them: without raw lines.
async fn errors(query: &ContextQuery) -> Vec<ContextFinding> {
    let logs = ErrorLogs::new(time::minus(query.now, Duration::from_secs(7_200)));
    for (kind, (line, count)) in LINES.iter().enumerate() {
        for n in 0..*count {
            let at = time::minus(query.now, Duration::from_secs(20 * n as u64 + 1));
            let number = (1_000 + 37 * n + 101 * kind).to_string();
            logs.push(&LogLine::new(at, "checkout", line.replace("{n}", &number)), query.now);
        }
    }
    ErrorLogContext::new(logs).gather(query).await.unwrap()
}

/// Alerts of other systems.
async fn alerts(query: &ContextQuery) -> Vec<ContextFinding> {
    let graph = DependencyGraph::new([("frontend", "checkout"), ("checkout", "payments"), ("checkout", "orders-db")]);
    let alert = |service: &str, name: &str, signal: Signal, minutes: u64| {
        let at = time::minus(query.now, Duration::from_secs(60 * minutes));
        DetectionEvent::builder(EventKind::Other("alert".to_owned()), service, Severity::Critical, at, "alertmanager")
            .alertname(name)
            .signal(signal)
            .build()
    };
    let firing = [
        alert("orders-db", "PostgresConnectionsHigh", Signal::new(498.0).threshold(450.0), 9),
        alert("payments", "HttpErrorRateHigh", Signal::new(0.062).threshold(0.01), 4),
        alert("frontend", "ApdexLow", Signal::new(0.71).threshold(0.85), 3),
    ];
    let alerts = RelatedAlerts::new(std::sync::Arc::new(MemoryIncidentLog::default()), graph);
    alerts.among(query, &firing).await.unwrap()
}

/// A burn rate as `SloBurnRate` words it.
fn slo() -> ContextFinding {
    let text = "checkout availability (99.9 %) burns its error budget 21.4 times as fast as allowed over 1h and 30.2 \
                times over 5m (critical above 14.4)";
    ContextFinding::new(ContextKind::Slo, Trust::System, text).service("checkout")
}

async fn request() -> TriageRequest {
    let now: Timestamp = "2026-11-27T10:00:00Z".parse().unwrap();
    let event = event(now);
    let incident = event.incident_id.clone().unwrap();
    let query = ContextQuery::new(event.clone(), incident.clone(), now, time::plus(now, Duration::from_secs(10)));
    let mut findings = deploys(&query).await;
    findings.extend(errors(&query).await);
    findings.extend(alerts(&query).await);
    findings.push(slo());
    let context = TriageContext::assemble(findings, Vec::new());
    let of = |kind: &str| context.items.iter().filter(|item| item.kind.as_str() == kind).count();
    assert_eq!([of("deploy"), of("log"), of("alert"), of("slo")], [3, 10, 3, 1], "{:?}", context.items);
    TriageRequest::new(incident, event, context, now, time::plus(now, Duration::from_secs(120)))
}

#[tokio::test]
async fn at_most_2200_of_o200k() {
    let catalogue = include_str!("../catalogue/actions.yaml");
    let menu = ActionCatalogue::from_yaml(catalogue, "actions.yaml").unwrap().menu();
    assert_eq!(menu.entries().len(), 5);
    let triager = LlmTriager::builder(Unasked, menu).salt("test").build().unwrap();
    let sent = triager.preview(&request().await).unwrap().request;
    let schema = sent.schema.as_ref().unwrap().json();
    assert!(!sent.user.contains("Not shown"), "{}", sent.user);

    let tokens = tiktoken_rs::o200k_base().unwrap();
    let count = |text: &str| tokens.encode_ordinary(text).len();
    let [rules, evidence, shape] = [&sent.system, &sent.user, schema].map(count);
    let all = rules + evidence + shape;
    println!("tokens (o200k): {all} = rules and menu {rules} + evidence {evidence} + schema {shape}; bar {BAR}");
    assert!(all <= BAR, "{all} tokens\n{}{}", sent.system, sent.user);
}
