//! Each fault of an endpoint, a key, a clock, a model and a schema has its line, with what to do about it.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "client-no-provider")]

mod model_double;

use aiops_core::doctor::{Check, Health};
use aiops_core::jiff::Timestamp;
use aiops_core::testing::ManualClock;
use aiops_llm::adapters::{Anthropic, ModelEndpoint, OpenAiChat};
use aiops_llm::doctor;
use model_double::{Answer, Double, Format, KEY};
use serde_json::json;

const NOW: &str = "Fri, 27 Nov 2026 10:00:00 GMT";

fn clock() -> ManualClock {
    ManualClock::new("2026-11-27T10:00:00Z".parse::<Timestamp>().unwrap())
}

/// Of a server that answers this: address, key, clock.
async fn asked(answer: Answer) -> (Vec<Check>, Double) {
    let server = Double::answering(answer).await;
    // Our own client, which follows no redirect.
    let endpoint = ModelEndpoint::new(&server.url).unwrap().bearer(KEY).unwrap();
    let model = OpenAiChat::new(endpoint.clone(), "m");
    (doctor::endpoint(&model, &endpoint, &clock()).await, server)
}

fn lines(checks: &[Check]) -> Vec<String> {
    checks.iter().map(Check::to_string).collect()
}

#[tokio::test]
async fn a_server_that_answers_is_well_whatever_stands_at_its_base_and_is_not_told_the_key() {
    let (checks, server) = asked(Answer::of(404, KEY).header("date", NOW)).await;
    let told = lines(&checks);
    assert_eq!(told[0], format!("ok    endpoint: {} answers (HTTP 404)", server.url));
    assert_eq!(told[1..], ["ok    key: set (authorization)", "ok    clock: as the server's"]);
    let sent = server.last();
    assert!(sent.head.starts_with("GET / ") && !sent.head.contains(KEY), "{}", sent.head);
}

#[tokio::test]
async fn what_does_not_answer_or_leads_elsewhere_is_told() {
    for (answer, wanted) in [
        (Answer::Close, "FAIL  endpoint: unreachable: "),
        (Answer::of(302, "").header("location", "http://elsewhere"), "a redirect is not followed"),
        (Answer::of(502, "<html>"), "warn  endpoint: http://127.0.0.1:"),
    ] {
        let (checks, _server) = asked(answer).await;
        let told = lines(&checks);
        assert!(told[0].contains(wanted) && told[2].starts_with("warn  clock: "), "{told:?}");
    }
    let gone = ModelEndpoint::new("http://127.0.0.1:1").unwrap();
    let checks = doctor::endpoint(&OpenAiChat::new(gone.clone(), "m"), &gone, &clock()).await;
    assert_eq!(checks[0].health, Health::Fail);
    assert!(checks[0].to_string().ends_with("; check the address and the network"), "{}", checks[0]);
    assert_eq!(checks[1].to_string(), "ok    key: none, for a server on this machine");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let (checks, _server) = asked(Answer::Hang).await;
    assert!(checks[0].to_string().starts_with("FAIL  endpoint: timeout"), "{}", checks[0]);
}

#[tokio::test]
async fn a_clock_is_held_against_the_servers() {
    for (date, wanted) in [
        ("Fri, 27 Nov 2026 10:00:09 GMT", "ok    clock: as the server's"),
        ("Fri, 27 Nov 2026 10:01:00 GMT", "warn  clock: 60 s behind the server's; set this machine's time"),
        ("Fri, 27 Nov 2026 09:50:00 GMT", "FAIL  clock: 600 s ahead of the server's; set this machine's time"),
        ("soon", "warn  clock: the server tells no time to compare with"),
    ] {
        let (checks, _server) = asked(Answer::ok("{}").header("date", date)).await;
        assert!(checks[2].to_string().starts_with(wanted), "{}", checks[2]);
    }
}

#[tokio::test]
async fn whether_the_schema_holds_is_told_and_so_is_a_model_that_does_not_answer() {
    let error = |kind: &str, code| Format::Chat.error(kind, Some(code), KEY);
    for (answer, wanted) in [
        (
            Answer::ok(Format::Chat.whole(r#"{"x":"alpha"}"#)),
            "ok    schema: the model answers, and the server holds it",
        ),
        (
            Answer::ok(Format::Chat.whole(r#"{"x":"BANANA"}"#)),
            "warn  schema: the model answers, and the server does not",
        ),
        (Answer::ok(Format::Chat.ended("", "length")), "warn  schema: the model answered without text"),
        (
            Answer::of(401, error("invalid_request_error", "invalid_api_key")),
            "FAIL  schema: auth, HTTP 401 (invalid_api_key); check the key and what it may do",
        ),
        (
            Answer::of(404, error("invalid_request_error", "model_not_found")),
            "FAIL  schema: unknown model, HTTP 404 (model_not_found); check the model's id: it may be retired",
        ),
        (
            Answer::of(400, error("invalid_request_error", "unsupported_parameter")),
            "FAIL  schema: refused, HTTP 400 (unsupported_parameter); the server takes no schema",
        ),
    ] {
        let server = Double::answering(answer).await;
        let check = doctor::schema(&*Format::Chat.model(&server.url)).await;
        assert!(check.to_string().starts_with(wanted), "{check}");
        assert!(!check.to_string().contains(KEY));
    }
}

#[tokio::test]
async fn the_days_that_a_model_has_left_are_told() {
    for (answer, wanted) in [
        (
            json!({"lifecycle": "active", "retires_at": "2027-11-27T10:00:00Z"}),
            "ok    lifecycle: the model is active, 365 days left",
        ),
        (json!({"lifecycle": "active"}), "ok    lifecycle: the model is active"),
        (
            json!({"lifecycle": "active", "retires_at": "2026-12-27T10:00:00Z"}),
            "warn  lifecycle: the model is active, 30 days left; name a newer model",
        ),
        (json!({"lifecycle": "deprecated"}), "warn  lifecycle: the model is deprecated; name a newer model"),
        (
            json!({"lifecycle": "retired", "retires_at": "2026-11-01T10:00:00Z"}),
            "FAIL  lifecycle: the model is retired, -26 days left",
        ),
        (
            json!({"lifecycle": "active", "capabilities": {"structured_outputs": {"supported": false}}}),
            "warn  lifecycle: the model is active; the provider holds it to no schema",
        ),
        (json!({}), "ok    lifecycle: the model is of no known state"),
    ] {
        let server = Double::answering(Answer::ok(answer)).await;
        let check = doctor::lifecycle(&Anthropic::new(model_double::endpoint(&server.url), "m"), &clock()).await;
        assert!(check.to_string().starts_with(wanted), "{check}");
    }
    let server = Double::answering(Answer::of(404, "")).await;
    for endpoint in [model_double::endpoint(&server.url), ModelEndpoint::exact(&server.url).unwrap()] {
        let check = doctor::lifecycle(&Anthropic::new(endpoint, "m"), &clock()).await;
        assert_eq!(
            check.to_string(),
            "warn  lifecycle: the server does not list the model; check its id: it may be retired"
        );
    }
    let server = Double::answering(Answer::of(401, "")).await;
    let check = doctor::lifecycle(&Anthropic::new(model_double::endpoint(&server.url), "m"), &clock()).await;
    assert_eq!(check.to_string(), "FAIL  lifecycle: auth, HTTP 401; check the key and what it may do");
}
