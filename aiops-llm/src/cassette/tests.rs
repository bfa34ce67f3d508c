use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::testing::samples;
use aiops_core::{ActionMenu, ActionName, MenuEntry, Triager, error_chain, jiff::Timestamp};
use async_trait::async_trait;

use super::*;
use crate::chat::{ChatError, ChatErrorKind, ChatModel, ChatReply, ChatRequest, OutputSchema, Usage};
use crate::{LlmTriager, LlmTriagerBuilder};

const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";

/// Counts its replies; fails when asked to.
#[derive(Debug, Default)]
struct Counting(Mutex<u64>);

#[async_trait]
impl ChatModel for Counting {
    fn provider(&self) -> &str {
        "double"
    }

    fn model(&self) -> &str {
        "double-1"
    }

    async fn complete(&self, request: &ChatRequest) -> Result<ChatReply, ChatError> {
        if request.user.contains("fail") {
            return Err(ChatError::new("double", ChatErrorKind::Server));
        }
        let mut count = self.0.lock().unwrap();
        *count += 1;
        let text = format!(
            r#"{{"summary":"reply {count} {SECRET}","likely_causes":["v2 [deploy:1]"],"evidence":["deploy:1"],"recommended_actions":[],"confidence":0.9,"needs_human":false}}"#
        );
        Ok(ChatReply::new(text, "stop").usage(Usage::new(10, *count)))
    }
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn request(user: &str) -> ChatRequest {
    ChatRequest::new("rules\nmenu", user)
}

async fn recorded(requests: &[ChatRequest]) -> String {
    let tape = Shared::default();
    let recorder = Recorder::new(Counting::default(), tape.clone());
    for request in requests {
        let _ = recorder.complete(request).await;
    }
    let bytes = tape.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn cassette(tape: &str) -> Cassette {
    Cassette::read("tape.jsonl", tape.as_bytes()).unwrap()
}

#[tokio::test]
async fn what_was_recorded_is_given_again_in_order_and_then_from_the_first() {
    let asked = [request("a"), request("b"), request("a"), request("fail")];
    let cassette = cassette(&recorded(&asked).await);
    assert_eq!((cassette.requests(), cassette.provider(), cassette.model()), (2, "double", "double-1"));
    let mut tokens = Vec::new();
    for user in ["a", "a", "a", "b", "b"] {
        tokens.push(cassette.complete(&request(user)).await.unwrap().usage.output_tokens);
    }
    assert_eq!(tokens, [1, 3, 1, 2, 2]);
}

#[tokio::test]
async fn secrets_are_not_written_and_requests_that_hold_them_are_found_all_the_same() {
    let asked = request(&format!("log line with {SECRET} in it"));
    let tape = recorded(std::slice::from_ref(&asked)).await;
    assert!(!tape.contains(SECRET), "{tape}");
    assert_eq!(tape.matches("[REDACTED:").count(), 2, "request and reply: {tape}");
    assert!(cassette(&tape).complete(&asked).await.is_ok());
}

#[tokio::test]
async fn a_miss_names_the_difference_to_the_nearest_request() {
    let schema = Arc::new(OutputSchema::new("report", "{\"type\":\"object\"}").unwrap());
    let base = request("one\ntwo\nthree").schema(schema);
    let other = ChatRequest::new("quite\nanother", "prompt");
    let cassette = cassette(&recorded(&[other, base.clone()]).await);
    let mut cases = Vec::new();
    let changed = |change: &dyn Fn(&mut ChatRequest)| {
        let mut request = base.clone();
        change(&mut request);
        request
    };
    cases.push((changed(&|it| it.user = "one\ntwo\nfour".into()), "user, line 3: recorded \"three\", asked \"four\""));
    cases.push((changed(&|it| it.user = "one\ntwo".into()), "user, line 3: recorded \"three\", asked \"\""));
    cases.push((
        changed(&|it| it.system = "rules\nmenu 2".into()),
        "system, line 2: recorded \"menu\", asked \"menu 2\"",
    ));
    cases.push((changed(&|it| it.schema = None), "schema, line 1: recorded \"report\", asked \"\""));
    cases.push((changed(&|it| it.max_output_tokens = 9), "limits, max_output_tokens: recorded 4096, asked 9"));
    cases.push((
        changed(&|it| it.timeout = Duration::from_secs(9)),
        "limits, timeout: recorded 30000 ms, asked 9000 ms",
    ));
    for (request, difference) in cases {
        let error = cassette.complete(&request).await.unwrap_err();
        assert!(error.kind == ChatErrorKind::NotRecorded && !error.is_retryable());
        let told = error_chain(&error);
        assert!(told.ends_with(&format!("the nearest one differs in {difference}")), "{told}");
    }
    let both = changed(&|it| (it.max_output_tokens, it.timeout) = (9, Duration::from_secs(9)));
    assert_eq!(cassette.reply(&both).unwrap_err().differences.len(), 2);
}

#[tokio::test]
async fn long_lines_are_shown_around_what_differs() {
    let line = |end: &str| format!("{}{end}", "x".repeat(500));
    let cassette = cassette(&recorded(&[request(&line("one"))]).await);
    let told = cassette.reply(&request(&line("other"))).unwrap_err().to_string();
    assert!(told.contains("xxxone\"") && told.contains("xxxother\"") && told.len() < 300, "{told}");
}

#[tokio::test]
async fn a_file_that_is_no_cassette_is_an_error_that_names_its_line() {
    let tape = recorded(&[request("a"), request("b")]).await;
    let lines: Vec<&str> = tape.lines().collect();
    let edited = lines[1].replace("\"user\":\"b\"", "\"user\":\"c\"");
    let another = lines[1].replace("double-1", "double-2");
    let of = serde_json::from_str::<entry::Entry>(&another).unwrap();
    let another = another.replace(&of.digest, &of.request.digest(&of.provider, &of.model));
    for (bytes, wanted) in [
        (String::new(), "cassette tape.jsonl: it holds no reply".to_owned()),
        (format!("{}\n\n{{", lines[0]), "cassette tape.jsonl, line 3: it is no recorded reply".to_owned()),
        (format!("{}\n{edited}", lines[0]), "line 2: its request is not the one that was recorded".to_owned()),
        (
            format!("{}\n{another}", lines[0]),
            "line 2: its model is double double-2, that of the lines before is double double-1".to_owned(),
        ),
    ] {
        let error = Cassette::read("tape.jsonl", bytes.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(&wanted), "{error}");
    }
    let error = Cassette::open("/nowhere/tape.jsonl").unwrap_err();
    assert!(matches!(error.fault, CassetteFault::Io(_)) && error.to_string().contains("/nowhere/tape.jsonl"));
}

#[tokio::test]
async fn a_reply_that_cannot_be_written_reaches_the_caller() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("no space"))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(Recorder::new(Counting::default(), Full).complete(&request("a")).await.is_ok());
}

#[tokio::test]
async fn a_triager_with_a_salt_gets_its_reports_again_and_one_without_does_not() {
    let menu = || ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod").unwrap(), "restarts the pod")]);
    let build = |builder: LlmTriagerBuilder| builder.cache_for(Duration::ZERO).build().unwrap();
    let asked = samples::request(samples::event("checkout", "a", Timestamp::now()));
    let tape = Shared::default();
    let recorder = Recorder::new(Counting::default(), tape.clone());
    let first = build(LlmTriager::builder(recorder, menu()).salt("s")).triage(&asked).await.unwrap();

    let bytes = tape.0.lock().unwrap().clone();
    let replay = || Cassette::read("tape", &*bytes).unwrap();
    let again = build(LlmTriager::builder(replay(), menu()).salt("s")).triage(&asked).await.unwrap();
    assert_eq!(again.report.likely_causes, first.report.likely_causes);
    let other = build(LlmTriager::builder(replay(), menu()).salt("t"));
    // A miss says nothing of the next request: the breaker stays closed.
    for _ in 0..6 {
        let error = error_chain(&other.triage(&asked).await.unwrap_err());
        assert!(error.contains("has no such request") && error.contains("user, line 1"), "{error}");
    }
}
