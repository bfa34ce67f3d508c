//! The webhook: the host's own body, encoded once, signed, tried again where that may help.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod http_double;

use std::time::Duration;

use aiops_core::testing::{ManualClock, check_notifier, samples};
use aiops_core::{
    Channel, Clock, Decision, Disposition, Notice, NoticeKind, Notifier, NotifyError, Plan, Response, Severity, Step,
    Target, error_chain,
};
use aiops_remediate::ActionCatalogue;
use aiops_remediate::notify::{HookError, WebhookBuilder, WebhookNotifier, reqwest};
use http_double::{Double, Reply};
use serde_json::{Value, json};

const CATALOGUE: &str = "actions:
  - {name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false, runbook: 'https://wiki.internal/restart'}
  - {name: drain_node, owner: infra, blast_radius: node, requires_approval: true}
";

fn client() -> reqwest::Client {
    reqwest::Client::new()
}

fn notice(clock: &ManualClock, kind: NoticeKind) -> Notice {
    let mut event = samples::event("checkout", "one", clock.now());
    event.severity = Severity::Critical;
    Notice::new(event.incident_id.clone().unwrap(), event, kind, clock.now())
}

fn announced(clock: &ManualClock) -> Notice {
    notice(clock, NoticeKind::Announced { held: 0, reason: None })
}

/// A report that the cool-down refused.
fn refused(clock: &ManualClock) -> Notice {
    let target = Target::new([("namespace", "shop"), ("pod", "checkout-1")]);
    let reason = "cool-down: it was started on this target at 08:00, cool-down 10m";
    let step = Step::new("restart_pod", Some(target), Decision::Deny, reason);
    let escalated = Disposition::Escalated { reason: reason.to_owned() };
    let response = Response::new("inc-one".into(), escalated, Plan::new(vec![step], vec![]), clock.now());
    notice(clock, NoticeKind::Escalated { reason: reason.to_owned(), response: Some(Box::new(response)) })
}

fn builder(double: &Double, clock: &ManualClock) -> WebhookBuilder {
    WebhookNotifier::builder(&double.url, client())
        .with_clock(clock.clone())
        .runbooks(ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap())
}

fn bodies(double: &Double) -> Vec<Value> {
    double.requests().iter().map(|request| serde_json::from_str(&request.body).unwrap()).collect()
}

/// What stands in an error, and in all errors below it.
fn says(error: &NotifyError) -> String {
    error_chain(error)
}

#[tokio::test]
async fn the_channel_passes_its_conformance_suite_for_each_reader() {
    for (text, active) in [
        (Channel::Terminal, &[][..]),
        (Channel::Slack, &["<script", "<http", "<!channel>", "http://"][..]),
        (Channel::Markdown, &["](http", "![i](", "http://"][..]),
        (Channel::Html, &["<script", "<http", "http://"][..]),
    ] {
        let clock = ManualClock::default();
        let double = Double::start(|_, _| Reply::ok("ok")).await;
        let notifier = builder(&double, &clock).text_for(text).build().unwrap();
        let sent = || bodies(&double).iter().map(|body| fields(body).join(" ")).collect();
        check_notifier(&notifier, sent, active).await.unwrap();
    }
    let clock = ManualClock::default();
    let double = Double::start(|_, _| Reply::ok("ok")).await;
    let slack = WebhookNotifier::slack(&double.url, client()).with_clock(clock.clone()).build().unwrap();
    let sent = || bodies(&double).iter().map(|body| body["text"].as_str().unwrap().to_owned()).collect();
    check_notifier(&slack, sent, &["<script", "<http", "<!channel>", "@channel", "http://"]).await.unwrap();
}

/// The strings of a body, decoded.
fn fields(body: &Value) -> Vec<String> {
    body.as_object().unwrap().values().map(|value| value.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_refusal_says_what_was_not_run_why_and_where_to_read_on() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| Reply::ok("ok")).await;
    let receipt = builder(&double, &clock).build().unwrap().notify(&refused(&clock), None).await.unwrap();
    assert_eq!(receipt.value(), &json!({"sent": 1}));
    let body = &bodies(&double)[0];
    assert_eq!((&body["incident_id"], &body["notice"]), (&json!("inc-one"), &json!("escalated")));
    assert_eq!(
        body["refused"],
        "restart_pod on namespace=shop,pod=checkout-1: refused: cool-down: it was started on this target at 08:00, \
         cool-down 10m"
    );
    assert_eq!(body["runbooks"], "https://wiki.internal/restart");
    assert!(body["evidence"].as_str().unwrap().contains("value 0.85 s, expected 0.12 s"), "{body}");
    let line = body["text"].as_str().unwrap();
    assert!(line.starts_with("escalated: cool-down: ") && line.contains("(not run: restart_pod)"), "{line}");
}

#[tokio::test]
async fn slack_gets_one_message_without_previews() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| Reply::ok("ok")).await;
    let slack = WebhookNotifier::slack(&double.url, client())
        .with_clock(clock.clone())
        .runbooks(ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap())
        .build()
        .unwrap();
    slack.notify(&refused(&clock), None).await.unwrap();
    let body = &bodies(&double)[0];
    assert_eq!((&body["unfurl_links"], &body["unfurl_media"]), (&json!(false), &json!(false)));
    let lines: Vec<&str> = body["text"].as_str().unwrap().lines().collect();
    assert_eq!(lines[1], "incident inc-one");
    assert!(
        lines[2].starts_with("step: restart_pod on namespace=shop,pod=checkout-1: refused: cool-down"),
        "{lines:?}"
    );
    assert_eq!(lines[3], "runbook of restart_pod: https://wiki.internal/restart");
}

#[tokio::test]
async fn a_template_is_filled_as_json_whatever_the_texts_hold() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| Reply::ok("ok")).await;
    let template = json!({
        "id": "{incident_id}", "n": 1, "flag": true, "none": null,
        "blocks": [{"text": "{{{severity}}} {service}: {evidence}"}, "{number}"],
    });
    let notifier = builder(&double, &clock).template(template).build().unwrap();
    let mut notice = announced(&clock);
    notice.event.service = "a\"},{\"x\":\"{reason}".into();
    let receipt = notifier.notify(&notice, None).await.unwrap();
    notifier.notify(&notice, Some(&receipt)).await.unwrap();
    let body = &bodies(&double)[1];
    assert_eq!((&body["n"], &body["flag"], &body["none"]), (&json!(1), &json!(true), &Value::Null));
    let text = body["blocks"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("{critical} a\"},{\"x\":\"{reason}: "), "what was filled in is not filled again: {text}");
    assert_eq!(body["blocks"][1], "2");
}

#[test]
fn every_fault_of_a_notifier_is_told_at_once() {
    let template = json!({"a": "{sumary}", "b": ["x", "{"], "c": "}"});
    let error = WebhookNotifier::builder("ftp://hooks.example/secret-path", client())
        .template(template)
        .sign_with("short")
        .header("bad name", "v")
        .build()
        .unwrap_err();
    let faults = error.faults();
    for (fault, wanted) in faults.iter().zip([
        "header \"bad name\" cannot stand in a request",
        "the key is shorter than 16 bytes",
        "the url is neither http nor https",
        "the template names no {incident_id}, by which the receiver folds notices",
        "template /a: there is no {sumary}; there are incident_id, notice, ",
        "template /b/1: a single \"{\"; write {{ for the sign itself",
        "template /c: a single \"}\"; write }} for the sign itself",
    ]) {
        assert!(fault.starts_with(wanted), "{fault}");
    }
    assert_eq!(faults.len(), 7);
    assert!(!error.to_string().contains("secret-path"));
}

#[tokio::test]
async fn each_notice_is_signed_over_time_and_body() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| Reply::ok("ok")).await;
    let template = json!({"id": "{incident_id}"});
    let key = "a key of more than sixteen bytes";
    let hook = builder(&double, &clock).template(template).sign_with(key).header("Authorization", "Bearer s3cret");
    let notifier = hook.build().unwrap();
    notifier.notify(&announced(&clock), None).await.unwrap();
    let request = &double.requests()[0];
    assert_eq!(request.body, r#"{"id":"inc-one"}"#);
    // hmac.new(key, b'1746432300.{"id":"inc-one"}', 'sha256').hexdigest() of Python.
    let signature =
        "x-aiops-signature: t=1746432300,v1=9b73e93b9e0706fd711ebd0e5e4ca42b82ff36990af3ab1ef11145507a760e80";
    assert!(request.head.contains(signature), "{}", request.head);
    assert!(request.head.contains("authorization: bearer s3cret"), "{}", request.head);
    let shown = format!("{notifier:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("sixteen"), "{shown}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_within_the_deadline() {
    let clock = ManualClock::default();
    let double = Double::start(|at, _| match at {
        0 => Reply::Body(503, "down".to_owned()),
        1 => Reply::WithHeader(429, "retry-after: 3", String::new()),
        _ => Reply::ok("ok"),
    })
    .await;
    let notifier = builder(&double, &clock).build().unwrap();
    let notice = announced(&clock);
    let sending = tokio::spawn(async move { notifier.notify(&notice, None).await });
    for wait in [Duration::from_millis(500), Duration::from_secs(3)] {
        http_double::pass(&clock, wait).await;
    }
    sending.await.unwrap().unwrap();
    assert_eq!(double.requests().len(), 3);
}

#[tokio::test]
async fn what_stays_wrong_is_an_error_that_tells_no_secret() {
    let clock = ManualClock::default();
    for (reply, retryable, wanted) in [
        (
            Reply::Body(403, "no s3cret-token here".to_owned()),
            false,
            "the server refused it, status 403: no [redacted] here",
        ),
        (Reply::Body(404, "<html>no such page</html>".to_owned()), false, "the server refused it, status 404: "),
        (Reply::Body(500, "oops".to_owned()), true, "the server failed, status 500: oops"),
        (
            Reply::WithHeader(429, "retry-after: 3600", String::new()),
            true,
            "the server takes no more for now, status 429",
        ),
        (Reply::Close, true, "could not reach the server: "),
    ] {
        let double = Double::start(move |_, _| reply.clone()).await;
        let url = format!("{}/services/T0/B0/hidden", double.url);
        let notifier = WebhookNotifier::builder(&url, client())
            .header("x-token", "s3cret-token")
            .with_clock(clock.clone())
            .retries(0)
            .build()
            .unwrap();
        let error = notifier.notify(&announced(&clock), None).await.unwrap_err();
        let text = says(&error);
        assert!(text.starts_with(&format!("channel \"webhook\" did not take the notice: {wanted}")), "{text}");
        assert_eq!(error.is_retryable(), retryable, "{text}");
        assert!(!text.contains("hidden"), "{text}");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.downcast_ref::<HookError>().unwrap().is_retryable(), retryable);
    }
}

#[tokio::test]
async fn a_redirect_is_no_acceptance() {
    let clock = ManualClock::default();
    for status in [301, 302, 307] {
        let double = Double::start(move |_, request| match request.target.as_str() {
            "/" => Reply::WithHeader(status, "location: /moved", String::new()),
            _ => Reply::ok("ok"),
        })
        .await;
        let error = builder(&double, &clock).build().unwrap().notify(&announced(&clock), None).await.unwrap_err();
        let text = says(&error);
        assert!(text.ends_with("it redirects to another address; configure that one"), "{text}");
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_url_with_a_name_and_a_fragment_is_no_redirect() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| Reply::ok("ok")).await;
    let url = double.url.replace("http://", "http://ops:s3cret@") + "/hook?x=1#part";
    let notifier = WebhookNotifier::builder(&url, client()).with_clock(clock.clone()).build().unwrap();
    notifier.notify(&announced(&clock), None).await.unwrap();
    assert_eq!(double.requests()[0].target, "/hook?x=1");
    assert!(!format!("{notifier:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_deadline_and_no_more() {
    let clock = ManualClock::default();
    let double = Double::start(|_, _| Reply::Hang).await;
    let notifier = builder(&double, &clock).deadline(Duration::from_secs(4)).build().unwrap();
    let notice = announced(&clock);
    let sending = tokio::spawn(async move { notifier.notify(&notice, None).await });
    clock.wait_for_sleepers(1).await;
    clock.advance(Duration::from_secs(4));
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!(says(&error), "channel \"webhook\" did not take the notice: the server did not answer within 4s");
}
