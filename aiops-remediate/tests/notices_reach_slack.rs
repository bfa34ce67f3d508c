//! Slack: one message for each incident, edited and threaded, with buttons that decide once.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod common;
mod http_double;

use std::sync::Arc;

use aiops_core::testing::{check_notifier, samples};
use aiops_core::{Clock, Notice, NoticeKind, Notifier, Receipt, Responder, error_chain};
use aiops_remediate::notify::{SlackClicks, SlackNotifier, SlackRefusal, SlackWord, reqwest};
use aiops_remediate::{Approval, ApprovalAuthoriser, ApprovalState, Dispatcher, Policy, RemediationStore};
use common::acts::{Site, report};
use common::at;
use hmac::{Hmac, KeyInit, Mac};
use http_double::{Double, Reply};
use serde_json::{Value, json};

const TOKEN: &str = "xoxb-not-a-token";
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// What Slack answers to each method, in the form of its reference.
fn slack(number: usize, target: &str) -> Reply {
    let answer = match target {
        "/api/chat.postMessage" => {
            json!({"ok": true, "channel": "C0123456789", "ts": format!("1503435956.{number:06}"), "message": {"type": "message"}})
        }
        "/api/chat.update" => json!({"ok": true, "channel": "C0123456789", "ts": "1503435956.000000", "text": "x"}),
        "/api/chat.postEphemeral" => json!({"ok": true, "message_ts": "1502210682.580145"}),
        other => panic!("{other}"),
    };
    Reply::ok(answer.to_string())
}

async fn double() -> Double {
    Double::start(|number, request| slack(number, &request.target)).await
}

fn api(double: &Double) -> String {
    format!("{}/api", double.url)
}

fn sent(double: &Double) -> Vec<(String, Value)> {
    let of = |request: http_double::Request| (request.target, serde_json::from_str(&request.body).unwrap());
    double.requests().into_iter().map(of).collect()
}

fn notice(site: &Site, kind: NoticeKind) -> Notice {
    Notice::new("inc-one".into(), samples::event("checkout", "one", site.clock.now()), kind, site.clock.now())
}

fn announced(site: &Site) -> Notice {
    notice(site, NoticeKind::Announced { held: 0, reason: None })
}

#[tokio::test]
async fn one_message_is_edited_and_has_the_news_in_its_thread() {
    let (double, site) = (double().await, Site::new());
    let slack = SlackNotifier::builder(TOKEN, "C0123456789", reqwest::Client::new()).api(api(&double)).build().unwrap();
    let receipt = slack.notify(&announced(&site), None).await.unwrap();
    assert_eq!(receipt.value(), &json!({"channel": "C0123456789", "ts": "1503435956.000000"}));
    let escalated = notice(&site, NoticeKind::Escalated { reason: "<!channel> *look*".to_owned(), response: None });
    let receipt = slack.notify(&escalated, Some(&receipt)).await.unwrap();
    slack.notify(&notice(&site, NoticeKind::Resolved), Some(&receipt)).await.unwrap();
    let sent = sent(&double);
    let methods: Vec<&str> = sent.iter().map(|(target, _)| target.strip_prefix("/api/chat.").unwrap()).collect();
    assert_eq!(methods, ["postMessage", "update", "postMessage", "update", "postMessage"]);
    for (target, body) in &sent {
        assert_eq!(body["channel"], "C0123456789");
        let (ts, thread) = (&body["ts"], &body["thread_ts"]);
        let first = json!("1503435956.000000");
        match target.as_str() {
            "/api/chat.update" => assert!(*ts == first && thread.is_null()),
            _ if sent[0].1 == *body => assert!(ts.is_null() && thread.is_null()),
            _ => assert!(ts.is_null() && *thread == first),
        }
        assert_eq!((&body["unfurl_links"], &body["unfurl_media"]), (&json!(false), &json!(false)));
    }
    let shown = sent[1].1.to_string();
    assert!(shown.contains("&lt;!channel&gt;") && !shown.contains("*look*"), "{shown}");
    assert!(double.requests()[0].head.contains("authorization: bearer xoxb-not-a-token"));
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_channel() {
    let double = double().await;
    let slack = SlackNotifier::builder(TOKEN, "C1", reqwest::Client::new()).api(api(&double)).build().unwrap();
    let texts = || sent(&double).iter().map(|(_, body)| texts(body)).collect();
    check_notifier(&slack, texts, &["<!", "<http", "http://", "https://", "@here"]).await.unwrap();
}

/// All texts of a message, decoded.
fn texts(body: &Value) -> String {
    match body {
        Value::String(text) => format!("{text} "),
        Value::Array(items) => items.iter().map(texts).collect(),
        Value::Object(fields) => fields.values().map(texts).collect(),
        _ => String::new(),
    }
}

#[tokio::test]
async fn a_deleted_message_is_posted_anew_and_what_opens_nothing_is_left_out() {
    let site = Site::new();
    let double = Double::start(|number, request| match request.target.as_str() {
        "/api/chat.update" => Reply::ok(r#"{"ok":false,"error":"message_not_found"}"#),
        target => slack(number, target),
    })
    .await;
    let slack = SlackNotifier::builder(TOKEN, "C1", reqwest::Client::new()).api(api(&double)).build().unwrap();
    let old = Receipt::new(json!({"channel": "C0123456789", "ts": "1.0"}));
    let receipt = slack.notify(&announced(&site), Some(&old)).await.unwrap();
    assert_eq!(receipt.value()["ts"], "1503435956.000001");
    let held = notice(&site, NoticeKind::Suppressed { summary: "3 by a deploy".to_owned() });
    assert_eq!(slack.notify(&held, None).await.unwrap(), Receipt::default());
    assert_eq!(double.requests().len(), 2);
}

#[tokio::test]
async fn what_slack_refuses_is_told_without_the_token() {
    let site = Site::new();
    for (reply, retryable, why) in [
        (Reply::ok(r#"{"ok":false,"error":"channel_not_found"}"#), false, "channel_not_found"),
        (Reply::ok(r#"{"ok":false,"error":"xoxb-not-a-token"}"#), false, "[redacted]"),
        (Reply::Body(403, "no xoxb-not-a-token".to_owned()), false, "no [redacted]"),
        (Reply::ok("<html>login</html>"), true, "none of this system's"),
    ] {
        let double = Double::start(move |_, _| reply.clone()).await;
        let slack = SlackNotifier::builder(TOKEN, "C1", reqwest::Client::new()).api(api(&double)).build().unwrap();
        let error = slack.notify(&announced(&site), None).await.unwrap_err();
        let text = error_chain(&error);
        assert_eq!(error.is_retryable(), retryable, "{text}");
        assert!(text.contains(why) && !text.contains(TOKEN), "{text}");
    }
    let error = SlackNotifier::builder("", "", reqwest::Client::new()).api("ftp://x").build().unwrap_err();
    assert_eq!(error.faults().len(), 2, "{error}");
}

/// Knows one person of one workspace.
#[derive(Debug)]
struct OnCall;

#[async_trait::async_trait]
impl ApprovalAuthoriser for OnCall {
    async fn authorise(&self, who: &str, _: &Approval, _: jiff::Timestamp) -> Result<(), aiops_core::BoxError> {
        if who == "slack:T9TK3CUKW/UADA" { Ok(()) } else { Err("only ada is on call".into()) }
    }
}

struct Waiting {
    site: Site,
    dispatcher: Arc<Dispatcher>,
    double: Double,
    clicks: SlackClicks,
    approval: Approval,
    /// As Slack shows it.
    message: Value,
}

async fn waiting() -> Waiting {
    let (site, double) = (Site::new(), double().await);
    let dispatcher = Arc::new(site.builder(Policy::default()).authoriser(OnCall).build().unwrap());
    let triaged = report(1, &["asked"]);
    let response = dispatcher.respond(&triaged, at(0)).await.unwrap();
    let approval = dispatcher.approvals().await.unwrap().remove(0);
    let slack = SlackNotifier::builder(TOKEN, "C0123456789", reqwest::Client::new())
        .api(api(&double))
        .approvals(Arc::clone(&dispatcher))
        .build()
        .unwrap();
    let kind = NoticeKind::AwaitingApproval { response: Box::new(response) };
    let notice = Notice::new(triaged.incident_id.clone(), triaged.event.clone(), kind, at(0));
    slack.notify(&notice, None).await.unwrap();
    let mut message = sent(&double).remove(0).1;
    message["ts"] = json!("1503435956.000000");
    let clicks = SlackClicks::builder(Arc::clone(&dispatcher), SECRET, TOKEN, reqwest::Client::new())
        .api(api(&double))
        .with_clock(site.clock.clone())
        .build()
        .unwrap();
    Waiting { site, dispatcher, double, clicks, approval, message }
}

impl Waiting {
    fn button(&self, action: &str) -> Value {
        let blocks = self.message["blocks"].as_array().unwrap();
        let buttons = blocks.iter().find(|block| block["type"] == "actions").unwrap();
        let element =
            buttons["elements"].as_array().unwrap().iter().find(|button| button["action_id"] == action).unwrap();
        let mut clicked = element.clone();
        clicked["block_id"] = buttons["block_id"].clone();
        clicked["action_ts"] = json!("1548426417.840180");
        clicked
    }

    /// The body of a click, in the form of Slack's reference of `block_actions`.
    fn body(&self, user: &str, action: &Value) -> String {
        let payload = json!({
            "type": "block_actions",
            "user": {"id": user, "username": "ada", "name": "ada", "team_id": "T9TK3CUKW"},
            "api_app_id": "A02",
            "token": "Shh_its_a_seekrit",
            "container": {"type": "message", "message_ts": "1503435956.000000", "channel_id": "C0123456789", "is_ephemeral": false},
            "trigger_id": "12466734323.1395872398",
            "team": {"id": "T9TK3CUKW", "domain": "example"},
            "enterprise": null,
            "channel": {"id": "C0123456789", "name": "ops"},
            "message": self.message,
            "state": {"values": {}},
            "response_url": "https://hooks.slack.com/actions/T9TK3CUKW/1/x",
            "actions": [action],
        });
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("payload", &payload.to_string());
        form.finish()
    }

    fn signed(&self, body: &str) -> (String, String) {
        let timestamp = self.site.clock.now().as_second().to_string();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("v0:{timestamp}:{body}").as_bytes());
        let bytes = mac.finalize().into_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        (timestamp, format!("v0={hex}"))
    }

    async fn click(&self, body: &str) -> Result<aiops_remediate::notify::SlackClick, SlackRefusal> {
        let (timestamp, signature) = self.signed(body);
        self.clicks.take(&timestamp, &signature, body.as_bytes()).await
    }

    async fn state(&self) -> ApprovalState {
        self.site.store.approval(&self.approval.id).await.unwrap().unwrap().state
    }
}

#[tokio::test]
async fn the_message_shows_exactly_what_would_run() {
    let waiting = waiting().await;
    let shown = waiting.message.to_string();
    for text in ["Approve asked?", "pod: cart-1", "observed version: v1", &waiting.approval.digest] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    assert_eq!(
        waiting.button("aiops_approve")["value"],
        format!("{}.{}", waiting.approval.id, waiting.approval.digest)
    );
}

#[tokio::test]
async fn a_click_decides_once_and_the_message_is_rewritten() {
    let waiting = waiting().await;
    let body = waiting.body("UADA", &waiting.button("aiops_approve"));
    let click = waiting.click(&body).await.unwrap();
    assert_eq!((click.who.as_str(), &click.word, click.shown), ("slack:T9TK3CUKW/UADA", &SlackWord::Approved, true));
    assert!(matches!(waiting.state().await, ApprovalState::Approved { by, .. } if by == "slack:T9TK3CUKW/UADA"));
    let (target, rewritten) = sent(&waiting.double).pop().unwrap();
    assert_eq!((target.as_str(), &rewritten["ts"]), ("/api/chat.update", &json!("1503435956.000000")));
    let blocks = rewritten["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), waiting.message["blocks"].as_array().unwrap().len());
    assert!(blocks.iter().all(|block| block["type"] != "actions"));
    assert!(rewritten.to_string().contains("approved by slack:T9TK3CUKW/UADA"), "{rewritten}");

    // The very same request again; then a new click on the old button, of either kind.
    assert_eq!(waiting.click(&body).await.unwrap_err(), SlackRefusal::Replayed);
    for action in ["aiops_approve", "aiops_reject"] {
        let again = waiting.body("UBOB", &waiting.button(action));
        let click = waiting.click(&again).await.unwrap();
        assert!(matches!(&click.word, SlackWord::Nothing(why) if why.starts_with("No longer waiting")), "{click:?}");
    }
    waiting.site.tick(&waiting.dispatcher, 2).await;
    assert_eq!(waiting.site.effects(), ["asked"]);
}

#[tokio::test]
async fn a_refusal_stops_the_plan() {
    let waiting = waiting().await;
    let click = waiting.click(&waiting.body("UADA", &waiting.button("aiops_reject"))).await.unwrap();
    assert_eq!(click.word, SlackWord::Rejected);
    waiting.site.tick(&waiting.dispatcher, 2).await;
    assert!(waiting.site.effects().is_empty());
}

#[tokio::test]
async fn who_may_not_decide_is_told_alone_and_the_buttons_stay() {
    let waiting = waiting().await;
    let click = waiting.click(&waiting.body("UEVE", &waiting.button("aiops_approve"))).await.unwrap();
    assert_eq!(click.word, SlackWord::Nothing("You may not decide on this.".to_owned()));
    let (target, whisper) = sent(&waiting.double).pop().unwrap();
    assert_eq!((target.as_str(), &whisper["user"]), ("/api/chat.postEphemeral", &json!("UEVE")));
    assert!(waiting.state().await.is_pending());
}

#[tokio::test]
async fn what_is_not_slacks_or_not_ours_decides_nothing() {
    let waiting = waiting().await;
    let good = waiting.body("UADA", &waiting.button("aiops_approve"));
    let (timestamp, signature) = waiting.signed(&good);
    let forged = [
        (timestamp.as_str(), "", good.as_str()),
        (&timestamp, "v0=00", &good),
        ("", &signature, &good),
        (&timestamp, &signature, &good[1..]),
    ];
    for (timestamp, signature, body) in forged {
        let refused = waiting.clicks.take(timestamp, signature, body.as_bytes()).await.unwrap_err();
        assert_eq!(refused, SlackRefusal::Unsigned);
    }
    waiting.site.clock.set(at(301));
    let refused = waiting.clicks.take(&timestamp, &signature, good.as_bytes()).await.unwrap_err();
    assert_eq!(refused, SlackRefusal::Stale);
    waiting.site.clock.set(at(1));

    // Signed, and yet: a button that was moved to another approval, another digest, a click of the host's own.
    let with = |field: &str, value: &str| {
        let mut button = waiting.button("aiops_approve");
        button[field] = json!(value);
        waiting.body("UADA", &button)
    };
    let moved = with("block_id", "aiops buttons 00000000000000000000000000000000");
    assert!(matches!(waiting.click(&moved).await.unwrap_err(), SlackRefusal::Malformed(_)));
    let digest = with("value", &format!("{}.0000", waiting.approval.id));
    let click = waiting.click(&digest).await.unwrap();
    assert!(matches!(&click.word, SlackWord::Nothing(why) if why.contains("not what the message shows")), "{click:?}");
    assert_eq!(waiting.click(&with("action_id", "lunch")).await.unwrap_err(), SlackRefusal::NotOurs);
    for body in ["", "payload=", "payload=%7B%7D", "payload=[]", "x=1"] {
        assert!(waiting.click(body).await.is_err(), "{body}");
    }
    // Too late.
    assert!(waiting.state().await.is_pending());
    waiting.site.clock.set(at(1_800));
    let click = waiting.click(&waiting.body("UADA", &waiting.button("aiops_approve"))).await.unwrap();
    assert!(matches!(&click.word, SlackWord::Nothing(why) if why.contains("expired")), "{click:?}");
    waiting.site.tick(&waiting.dispatcher, 1_801).await;
    assert!(waiting.site.effects().is_empty());
}

/// The message was not rewritten: the word stands.
#[tokio::test]
async fn a_slack_that_is_down_costs_the_rewriting_alone() {
    let waiting = waiting().await;
    let down = Double::start(|_, _| Reply::Body(503, String::new())).await;
    let clicks = SlackClicks::builder(Arc::clone(&waiting.dispatcher), SECRET, TOKEN, reqwest::Client::new())
        .api(api(&down))
        .with_clock(waiting.site.clock.clone())
        .build()
        .unwrap();
    let body = waiting.body("UADA", &waiting.button("aiops_approve"));
    let (timestamp, signature) = waiting.signed(&body);
    let click = clicks.take(&timestamp, &signature, body.as_bytes()).await.unwrap();
    assert_eq!((click.word, click.shown), (SlackWord::Approved, false));
    assert!(matches!(waiting.state().await, ApprovalState::Approved { .. }));
}
