//! Actions by a host's own automation: what it is sent, how its answers are taken, and what is known after a failure.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod common;
mod http_double;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::testing::{ActionCase, ManualClock, check_action_handler};
use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, Compensation, IncidentId, Inspection, Outcome, Precondition,
    Target, error_chain,
};
use aiops_remediate::notify::reqwest;
use aiops_remediate::webhook::{WebhookHandler, WebhookHandlerBuilder};
use common::{at, event, name};
use http_double::{Double, Reply, Request, pass};
use serde_json::{Value, json};

const KEY: &str = "a key of more than sixteen bytes";

fn builder(double: &Double, clock: &ManualClock) -> WebhookHandlerBuilder {
    WebhookHandler::builder("restart_pod", &format!("{}/hooks/s3cret", double.url), reqwest::Client::new())
        .sign_with(KEY)
        .with_clock(clock.clone())
}

fn request() -> ActionRequest {
    let event = event(1, "cart", &[], at(0));
    let target = Target::new([("namespace", "shop"), ("pod", "cart-1")]);
    ActionRequest::new(name("restart_pod"), target, event.service, event.fingerprint, IncidentId::new("inc-1"), at(60))
        .dry_run(false)
}

fn seen() -> Precondition {
    Precondition::new([("uid", "7")])
}

fn command(request: &Request) -> (String, Value) {
    let body: Value = serde_json::from_str(&request.body).unwrap();
    (body["command"].as_str().unwrap().to_owned(), body)
}

/// An automation that keeps its contract over a small world.
#[derive(Debug, Default)]
struct World {
    revision: u64,
    done: Vec<String>,
}

impl World {
    fn answer(&mut self, request: &Request) -> Value {
        let (command, body) = command(request);
        let key = request.head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap().to_owned();
        let known = self.done.contains(&key);
        match command.as_str() {
            "inspect" if body["service"] != "cart" => json!({"state": "blocked", "reason": "it belongs to cart"}),
            "inspect" if known => json!({"state": "already_done", "proof": "job 1"}),
            "inspect" => json!({"state": "ready", "precondition": {"revision": self.revision.to_string()}}),
            "execute" if known => json!({"state": "applied", "proof": "job 1"}),
            "execute" if body["observed"]["revision"].as_str() != Some(&self.revision.to_string()) => {
                json!({"state": "refused", "reason": "the revision moved"})
            }
            "execute" => {
                self.done.push(key);
                json!({"state": "applied", "proof": "job 1"})
            }
            "verify" => json!({"outcome": "helped"}),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_handler() {
    let worlds: Arc<Mutex<Vec<Arc<Mutex<World>>>>> = Arc::default();
    let serving = Arc::clone(&worlds);
    // One double for all worlds: the case that was made last is the one at work.
    let double = Double::start(move |_, request| {
        let world = Arc::clone(serving.lock().unwrap().last().unwrap());
        Reply::ok(world.lock().unwrap().answer(request).to_string())
    })
    .await;
    let clock = ManualClock::new(at(0));
    check_action_handler(|| {
        let world = Arc::new(Mutex::new(World::default()));
        worlds.lock().unwrap().push(Arc::clone(&world));
        let outside = Arc::clone(&world);
        ActionCase::new(
            builder(&double, &clock).build().unwrap(),
            request(),
            move || format!("{:?}", outside.lock().unwrap().done),
            move || world.lock().unwrap().revision += 1,
        )
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_call_is_signed_and_names_what_is_asked() {
    let double = Double::start(|_, _| Reply::ok(r#"{"state": "applied", "proof": "job 7"}"#)).await;
    let clock = ManualClock::new(at(0));
    let handler = builder(&double, &clock).header("authorization", "Bearer t0ken").build().unwrap();
    let applied = handler.execute(&request(), &seen()).await.unwrap();
    assert_eq!(applied, Applied::new("job 7"));
    let sent = double.requests().remove(0);
    assert!(sent.head.contains("authorization: bearer t0ken") && sent.method == "POST");
    let (command, body) = command(&sent);
    assert_eq!(command, "execute");
    assert_eq!(body["target"], json!({"namespace": "shop", "pod": "cart-1"}));
    assert_eq!(body["observed"], json!({"uid": "7"}));
    assert_eq!(body["dry_run"], json!(false));
    let signature = sent.head.lines().find_map(|line| line.strip_prefix("x-aiops-signature: ")).unwrap();
    let seconds = at(0).as_second();
    let mac = signature.strip_prefix(&format!("t={seconds},v1=")).unwrap();
    assert!(mac.len() == 64 && mac.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!format!("{handler:?}").contains("s3cret"));

    // Nothing is sent in a dry run, or when its time is over.
    handler.execute(&request().dry_run(true), &seen()).await.unwrap();
    let mut late = request();
    late.deadline = at(0);
    assert!(handler.execute(&late, &seen()).await.unwrap_err().nothing_changed);
    assert_eq!(double.requests().len(), 1);
}

async fn executed(
    script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    waits: &[u64],
) -> Result<Applied, ActionError> {
    let double = Double::start(move |number, _| script(number)).await;
    let clock = ManualClock::new(at(0));
    let handler = builder(&double, &clock).build().unwrap();
    let time = async {
        for wait in waits {
            pass(&clock, Duration::from_millis(*wait)).await;
        }
    };
    let request = request();
    let seen = seen();
    tokio::join!(handler.execute(&request, &seen), time).0
}

#[tokio::test]
async fn only_what_is_certain_is_said_to_have_changed_nothing() {
    let refused = || Reply::Body(409, "no such job".into());
    let error = executed(move |_| refused(), &[]).await.unwrap_err();
    assert!(error.nothing_changed && error_chain(&error).contains("status 409: no such job"));
    // The first try may have come through.
    let error = executed(move |number| if number == 0 { Reply::Close } else { refused() }, &[500]).await.unwrap_err();
    assert!(!error.nothing_changed, "{}", error_chain(&error));
    // Tried again, and done once by the automation's own word.
    let again =
        |number| if number == 0 { Reply::Close } else { Reply::ok(r#"{"state": "applied", "proof": "job 1"}"#) };
    assert_eq!(executed(again, &[500]).await.unwrap(), Applied::new("job 1"));

    for (answer, nothing_changed, why) in [
        (r#"{"state": "refused", "reason": "the pod moved"}"#, true, "refused: the pod moved"),
        (r#"{"state": "failed", "reason": "exit 1"}"#, false, "failed: exit 1"),
        (r#"{"state": "maybe"}"#, false, "none of this system's"),
        ("<html>login</html>", false, "none of this system's"),
    ] {
        let error =
            executed(move |_| Reply::ok(answer), &[500, 1_000][..if answer.contains("ed\"") { 0 } else { 2 }]).await;
        let error = error.unwrap_err();
        assert_eq!(error.nothing_changed, nothing_changed, "{answer}");
        assert!(error_chain(&error).contains(why), "{}", error_chain(&error));
    }
    let error = executed(|_| Reply::Body(503, String::new()), &[500, 1_000]).await.unwrap_err();
    assert!(!error.nothing_changed);
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    let running = || Reply::ok(r#"{"state": "running"}"#);
    let done = || Reply::ok(r#"{"state": "applied", "proof": "job 9"}"#);
    let script = move |number| if number < 3 { running() } else { done() };
    assert_eq!(executed(script, &[5_000, 5_000, 5_000]).await.unwrap(), Applied::new("job 9"));

    // Asking may fail: the run goes on. A refusal of the question says nothing of the run.
    let script = move |number| match number {
        0 => running(),
        1..4 => Reply::Body(503, String::new()),
        _ => Reply::Body(404, "no such run".into()),
    };
    let error = executed(script, &[5_000, 500, 1_000, 5_000]).await.unwrap_err();
    assert!(!error.nothing_changed && error_chain(&error).contains("404"), "{}", error_chain(&error));

    // At the deadline it is not known.
    let waits = [&[5_000; 11][..], &[5_000]].concat();
    let error = executed(move |_| running(), &waits).await.unwrap_err();
    assert!(
        !error.nothing_changed && error_chain(&error).contains("the deadline came after 1m"),
        "{}",
        error_chain(&error)
    );
}

#[tokio::test]
async fn it_looks_verifies_and_takes_back() {
    let double = Double::start(|_, request| {
        Reply::ok(match command(request).0.as_str() {
            "inspect" => json!({"state": "blocked", "reason": "frozen\u{202e} <b>"}).to_string(),
            "verify" => json!({"outcome": "worse"}).to_string(),
            _ => json!({"taken_back": "uncordoned n1"}).to_string(),
        })
    })
    .await;
    let clock = ManualClock::new(at(0));
    let handler = builder(&double, &clock).build().unwrap();
    let found = handler.inspect(&request()).await.unwrap();
    assert_eq!(found, Inspection::Blocked { reason: "frozen <b>".to_owned() });
    let outcome = handler.verify(&request(), &Applied::new("job 1")).await.unwrap();
    assert_eq!(outcome, Outcome::Worse);
    assert_eq!(command(double.requests().last().unwrap()).1["proof"], "job 1");
    assert_eq!(handler.compensate(&request()).await.unwrap(), Compensation::None);
    let handler = builder(&double, &clock).compensates().build().unwrap();
    let back = handler.compensate(&request()).await.unwrap();
    assert_eq!(back, Compensation::Done("uncordoned n1".to_owned()));

    let facts: serde_json::Map<String, Value> = (0..65).map(|number| (format!("f{number}"), json!("x"))).collect();
    let answer = json!({"state": "ready", "precondition": facts}).to_string();
    let double = Double::start(move |_, _| Reply::ok(answer.clone())).await;
    let error = builder(&double, &clock).build().unwrap().inspect(&request()).await.unwrap_err();
    assert!(error_chain(&error).contains("more than 64 facts"));
}

#[test]
fn faults_are_told_at_once() {
    let client = reqwest::Client::new;
    let error = WebhookHandler::builder("Restart", "ftp://x", client()).poll_every(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.faults().len(), 4, "{error}");
    let short = WebhookHandler::builder("x", "https://x", client()).sign_with("short").header("a b", "c").build();
    let error = short.unwrap_err();
    assert_eq!(error.faults().len(), 2, "{error}");
    assert!(!error.to_string().contains("short\""));
}
