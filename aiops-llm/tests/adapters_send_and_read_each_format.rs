//! What each adapter sends, byte for byte, and what it makes of answers that real servers gave and of servers
//! that fail.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "client-no-provider")]

mod model_double;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_llm::adapters::{Anthropic, ModelEndpoint, Ollama, OpenAiChat, OpenAiResponses, StructuredMode};
use aiops_llm::{ChatErrorKind, ChatModel, ChatRequest, OutputSchema, Usage};
use model_double::{Answer, Double, Format, KEY, endpoint};
use serde_json::{Value, json};

/// Keys out of alphabetical order.
const SCHEMA: &str = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}"#;

fn request() -> ChatRequest {
    let schema = Arc::new(OutputSchema::new("zebra", SCHEMA).unwrap());
    ChatRequest::new("rules", "evi\"dence").schema(schema).max_output_tokens(99)
}

/// Without a schema.
fn plain() -> ChatRequest {
    ChatRequest::new("rules", "evidence").max_output_tokens(99)
}

fn nowhere() -> ModelEndpoint {
    endpoint("http://127.0.0.1:9")
}

fn with(text: &str) -> String {
    text.replace("SCHEMA", SCHEMA)
}

#[test]
fn anthropic_sends() {
    let model = Anthropic::new(nowhere(), "m");
    let head = r#"{"model":"m","max_tokens":99,"system":[{"text":"rules","type":"text"}],"#;
    let asked = r#""messages":[{"content":[{"text":"evi\"dence","type":"text"}],"role":"user"}],"#;
    assert_eq!(
        model.body(&request()).unwrap(),
        with(&format!(r#"{head}{asked}"output_config":{{"format":{{"type":"json_schema","schema":SCHEMA}}}}}}"#))
    );
    let forced = model.clone().structured(StructuredMode::ForcedTool);
    assert_eq!(
        forced.body(&request()).unwrap(),
        with(&format!(
            r#"{head}{asked}"tools":[{{"name":"zebra","description":"Hands in the reply.","strict":true,"input_schema":SCHEMA}}],"tool_choice":{{"disable_parallel_tool_use":true,"name":"zebra","type":"tool"}}}}"#
        ))
    );
    let text = model.clone().effort("low").cache_prompt().body(&plain()).unwrap();
    assert!(text.ends_with(r#","output_config":{"effort":"low"}}"#), "{text}");
    assert!(
        text.contains(r#""system":[{"cache_control":{"type":"ephemeral"},"text":"rules","type":"text"}]"#),
        "{text}"
    );
    assert!(!model.body(&plain()).unwrap().contains("output_config"));
    let text = model.version_in_body("cloud-1").body(&plain()).unwrap();
    assert!(text.starts_with(r#"{"anthropic_version":"cloud-1","max_tokens":99,"#), "{text}");
}

#[test]
fn openai_chat_sends() {
    let model = OpenAiChat::new(nowhere(), "m");
    let head =
        r#"{"model":"m","messages":[{"content":"rules","role":"system"},{"content":"evi\"dence","role":"user"}],"#;
    assert_eq!(
        model.body(&request()).unwrap(),
        with(&format!(
            r#"{head}"max_completion_tokens":99,"response_format":{{"type":"json_schema","json_schema":{{"name":"zebra","strict":true,"schema":SCHEMA}}}}}}"#
        ))
    );
    assert_eq!(
        model.clone().effort("low").max_tokens().json_mode().body(&request()).unwrap(),
        format!(r#"{head}"max_tokens":99,"reasoning_effort":"low","response_format":{{"type":"json_object"}}}}"#)
    );
    assert!(!model.body(&plain()).unwrap().contains("response_format"));
}

#[test]
fn openai_responses_sends() {
    let model = OpenAiResponses::new(nowhere(), "m").effort("low");
    assert_eq!(
        model.body(&request()).unwrap(),
        with(
            r#"{"model":"m","instructions":"rules","input":"evi\"dence","max_output_tokens":99,"reasoning":{"effort":"low"},"text":{"format":{"type":"json_schema","name":"zebra","strict":true,"schema":SCHEMA}},"store":false}"#
        )
    );
}

#[test]
fn ollama_sends() {
    let model = Ollama::new(nowhere(), "m");
    let head = r#"{"model":"m","messages":[{"content":"rules","role":"system"},{"content":"evi\"dence","role":"user"}],"stream":false,"#;
    assert_eq!(
        model.body(&request()).unwrap(),
        with(&format!(r#"{head}"format":SCHEMA,"options":{{"num_predict":99}}}}"#))
    );
    let text = model.think(false).context_tokens(8_192).body(&request()).unwrap();
    assert_eq!(
        text,
        with(&format!(r#"{head}"think":false,"format":SCHEMA,"options":{{"num_predict":99,"num_ctx":8192}}}}"#))
    );
}

#[test]
fn parameters_of_the_day_are_added_or_win() {
    let Value::Object(extra) = json!({"max_completion_tokens": 5, "verbosity": "low"}) else { unreachable!() };
    let text = OpenAiChat::new(nowhere().extra(extra), "m").body(&plain()).unwrap();
    assert!(text.ends_with(r#""max_completion_tokens":5,"verbosity":"low"}"#), "{text}");
}

#[tokio::test]
async fn headers_and_paths_are_those_of_the_format() {
    let double = Double::start(|_, request| {
        let format = Format::ALL.into_iter().find(|format| request.target.ends_with(format.path())).unwrap();
        Answer::ok(format.whole("hello")).header("request-id", "req_9")
    })
    .await;
    for format in Format::ALL {
        let model = format.model(&format!("{}/gate", double.url));
        let reply = model.complete(&plain()).await.unwrap();
        let asked = double.last();
        assert_eq!(asked.target, format!("/gate{}", format.path()));
        assert_eq!(asked.header("content-type"), Some("application/json"));
        let version = if format == Format::Messages { Some("2026-10-21") } else { None };
        assert_eq!(asked.header("anthropic-version"), version);
        let key = if format == Format::Messages { asked.header("x-api-key") } else { asked.header("authorization") };
        assert!(key.unwrap().ends_with(KEY));
        assert_eq!((reply.text.as_str(), reply.request_id.as_deref()), ("hello", Some("req_9")));
        assert_eq!((reply.model.as_deref(), model.model()), (Some("the-model-7"), "the-model"));
        let usage = if format == Format::Ollama {
            Usage::new(150, 50)
        } else {
            let mut usage = Usage::new(150, 50);
            (usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens) = (30, 20, 10);
            usage
        };
        assert_eq!(reply.usage, usage, "{format:?}");
    }
}

#[tokio::test]
async fn a_cloud_whose_address_names_the_model_is_asked_there() {
    let double = Double::answering(Answer::ok(Format::Messages.whole("hello"))).await;
    let address = format!("{}/publishers/x/models/m:rawPredict?alt=json", double.url);
    let endpoint = ModelEndpoint::exact(&address).unwrap().bearer("token").unwrap().provider("gcp.vertex_ai");
    let model = Anthropic::new(endpoint, "m").version_in_body("cloud-1");
    model.complete(&plain()).await.unwrap();
    let asked = double.last();
    assert_eq!(asked.target, "/publishers/x/models/m:rawPredict?alt=json");
    assert_eq!(
        (asked.header("anthropic-version"), asked.json()["anthropic_version"].as_str()),
        (None, Some("cloud-1"))
    );
    assert_eq!((model.provider(), asked.header("authorization")), ("gcp.vertex_ai", Some("Bearer token")));
}

#[test]
fn recorded_answers_of_llama_cpp_are_read() {
    let chat = OpenAiChat::new(nowhere(), "m");
    let reply = chat.read_answer(200, include_bytes!("fixtures/llm_openai_chat_json_schema.json")).unwrap();
    assert_eq!(
        (reply.stop_reason.as_deref(), reply.usage.input_tokens, reply.usage.output_tokens),
        (Some("stop"), 193, 133)
    );
    assert_eq!(reply.usage.cache_read_tokens, 192);
    assert_eq!(serde_json::from_str::<Value>(&reply.text).unwrap()["confidence"], 0.8);
    let reply = chat.read_answer(200, include_bytes!("fixtures/llm_openai_truncated.json")).unwrap();
    assert_eq!(reply.stop_reason.as_deref(), Some("length"));

    let anthropic = Anthropic::new(nowhere(), "m");
    let reply = anthropic.read_answer(200, include_bytes!("fixtures/llm_anthropic_messages.json")).unwrap();
    assert!(reply.text.starts_with("Hi there!"));
    assert_eq!(
        (reply.stop_reason.as_deref(), reply.usage.input_tokens, reply.usage.output_tokens),
        (Some("end_turn"), 53, 21)
    );
    let ignored =
        anthropic.read_answer(200, include_bytes!("fixtures/llm_anthropic_output_config_ignored.json")).unwrap();
    assert_eq!(ignored.stop_reason.as_deref(), Some("max_tokens"));

    let kind = |status, body: &[u8]| chat.read_answer(status, body).unwrap_err().kind;
    assert_eq!(
        kind(400, include_bytes!("fixtures/llm_openai_error_context_overflow.json")),
        ChatErrorKind::ContextTooLong
    );
    assert_eq!(kind(400, include_bytes!("fixtures/llm_openai_error_bad_schema.json")), ChatErrorKind::Refused);
    assert_eq!(kind(401, include_bytes!("fixtures/llm_openai_error_401.json")), ChatErrorKind::Auth);
    // The compatible route words errors as OpenAI does.
    let kind = |status, body: &[u8]| anthropic.read_answer(status, body).unwrap_err().kind;
    assert_eq!(kind(401, include_bytes!("fixtures/llm_anthropic_error_401.json")), ChatErrorKind::Auth);
    assert_eq!(kind(500, include_bytes!("fixtures/llm_anthropic_error.json")), ChatErrorKind::Server);
}

#[test]
fn a_refusal_in_a_field_of_its_own_is_one() {
    let chat = json!({"choices": [{"finish_reason": "stop", "message": {"content": null, "refusal": "I cannot"}}]});
    let reply = OpenAiChat::new(nowhere(), "m").read_answer(200, chat.to_string().as_bytes()).unwrap();
    assert_eq!((reply.text.as_str(), reply.stop_reason.as_deref()), ("", Some("refusal")));
    let responses = json!({"status": "completed", "output": [{"type": "message",
        "content": [{"type": "refusal", "refusal": "I cannot"}]}]});
    let reply = OpenAiResponses::new(nowhere(), "m").read_answer(200, responses.to_string().as_bytes()).unwrap();
    assert_eq!((reply.text.as_str(), reply.stop_reason.as_deref()), ("", Some("refusal")));
}

#[test]
fn a_forced_tool_is_the_reply_and_of_two_none_is_chosen() {
    let model = Anthropic::new(nowhere(), "m").structured(StructuredMode::ForcedTool);
    let read = |calls: &str, reason: &str| {
        let body = format!(r#"{{"content":[{{"type":"text","text":"So:"}}{calls}],"stop_reason":"{reason}"}}"#);
        let reply = model.read_answer(200, body.as_bytes()).unwrap();
        (reply.text, reply.stop_reason.unwrap())
    };
    let call = r#",{"type":"tool_use","id":"1","name":"zebra","input":{"z": 1, "a":2, "z":3}}"#;
    let (input, end) = (r#"{"z": 1, "a":2, "z":3}"#, "end_turn".to_owned());
    assert_eq!(read(call, "tool_use"), (input.to_owned(), end.clone()), "a key that stands twice is seen");
    assert_eq!(read(&call.repeat(2), "tool_use"), (format!("{input}\n{input}"), end));
    assert_eq!(read(call, "max_tokens"), (input.to_owned(), "max_tokens".to_owned()));
    assert_eq!(read("", "tool_use"), ("So:".to_owned(), "tool_use".to_owned()), "no tool was called");
}

#[test]
fn responses_says_by_two_fields_how_it_ended() {
    let model = OpenAiResponses::new(nowhere(), "m");
    let read = |body: Value| model.read_answer(200, body.to_string().as_bytes());
    let stop = |body| read(body).unwrap().stop_reason.unwrap();
    for (reason, word) in [
        (json!({"reason": "max_output_tokens"}), "max_output_tokens"),
        (json!({"reason": "content_filter"}), "content_filter"),
        (json!({"reason": "steered"}), "incomplete"),
        (Value::Null, "incomplete"),
    ] {
        assert_eq!(stop(json!({"status": "incomplete", "incomplete_details": reason, "output": []})), word);
    }
    assert_eq!(stop(json!({"status": "in_progress"})), "in_progress");
    for (code, kind) in [
        ("server_error", ChatErrorKind::Server),
        ("rate_limit_exceeded", ChatErrorKind::RateLimited),
        ("a_code_of_next_year", ChatErrorKind::Server),
    ] {
        let error = read(json!({"status": "failed", "error": {"code": code, "message": "m"}})).unwrap_err();
        assert_eq!((error.kind, error.reason.as_str()), (kind, code));
    }
}

#[tokio::test]
async fn what_is_no_answer_is_told_by_what_it_is() {
    for format in Format::ALL {
        for (body, said) in [
            ("<html>hello</html>", "not JSON, text/html"),
            ("", "the body ends early, text/html"),
            ("{\"status\":", "the body ends early, text/html"),
            ("[]", "JSON of another shape, text/html"),
            ("null", "JSON of another shape, text/html"),
            ("{}", ", text/html"),
        ] {
            let answer = Answer::Of(200, vec![("content-type", "text/html"), ("request-id", "r")], body.to_owned());
            let double = Double::answering(answer).await;
            let error = format.model(&double.url).complete(&plain()).await.unwrap_err();
            assert_eq!((error.kind, error.status), (ChatErrorKind::BadAnswer, Some(200)), "{format:?} {body}");
            assert!(error.reason.ends_with(said) && error.request_id.as_deref() == Some("r"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_fails_is_told_by_how() {
    for format in Format::ALL {
        let kind = async |answer: Answer, timeout| {
            let double = Double::answering(answer).await;
            format.model(&double.url).complete(&plain().timeout(timeout)).await.unwrap_err().kind
        };
        let minute = Duration::from_secs(60);
        assert_eq!(kind(Answer::Close, minute).await, ChatErrorKind::Unreachable);
        assert_eq!(kind(Answer::Cut(format.whole("hello").to_string()), minute).await, ChatErrorKind::Unreachable);
        assert_eq!(kind(Answer::Hang, Duration::ZERO).await, ChatErrorKind::Timeout);
        let error = format.model("http://127.0.0.1:9").complete(&plain()).await.unwrap_err();
        assert_eq!((error.kind, error.is_retryable()), (ChatErrorKind::Unreachable, true));
        assert!(std::error::Error::source(&error).is_some(), "the cause is kept");
    }
}

#[tokio::test]
async fn our_client_carries_a_key_to_no_other_address() {
    let double = Double::answering(Answer::of(302, "").header("location", "/elsewhere")).await;
    let endpoint = ModelEndpoint::new(&double.url).unwrap().header("x-api-key", KEY).unwrap();
    let error = Anthropic::new(endpoint, "m").complete(&plain()).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ChatErrorKind::BadAnswer, Some(302)));
    assert_eq!(double.requests().len(), 1);
    assert!(double.last().header("user-agent").unwrap().starts_with("aiops/"));
}

#[tokio::test]
async fn the_days_of_a_model_are_asked_for() {
    let now: Timestamp = "2026-11-27T10:00:00Z".parse().unwrap();
    let told = json!({"id": "m-20260801", "lifecycle": "deprecated", "retires_at": "2026-11-30T10:00:00Z",
        "capabilities": {"structured_outputs": {"supported": true}}, "max_input_tokens": 1_000_000, "more": []});
    let double = Double::start(move |number, _| match number {
        0 => Answer::ok(&told),
        1 => Answer::ok(json!({"id": "other", "retires_at": "soon"})),
        2 => Answer::of(404, Format::Messages.error("not_found_error", None, "m")),
        _ => Answer::ok("<html>"),
    })
    .await;
    let model = Anthropic::new(endpoint(&double.url).header("x-api-key", KEY).unwrap(), "a/b model");
    let lifecycle = model.lifecycle(now).await.unwrap();
    assert_eq!((lifecycle.state.as_deref(), lifecycle.days_left(now)), (Some("deprecated"), Some(3.0)));
    assert_eq!((lifecycle.structured_outputs, lifecycle.max_input_tokens), (Some(true), Some(1_000_000)));
    let asked = double.last();
    assert_eq!(asked.target, "/v1/models/a%2Fb%20model");
    assert_eq!((asked.header("x-api-key"), asked.header("anthropic-version")), (Some(KEY), Some("2026-10-21")));
    let little = model.lifecycle(now).await.unwrap();
    assert_eq!((little.id.as_deref(), little.retires_at, little.days_left(now)), (Some("other"), None, None));
    assert_eq!(model.lifecycle(now).await.unwrap_err().kind, ChatErrorKind::UnknownModel);
    assert_eq!(model.lifecycle(now).await.unwrap_err().kind, ChatErrorKind::BadAnswer);
    let exact = Anthropic::new(ModelEndpoint::exact("http://h/m:rawPredict").unwrap(), "m");
    assert_eq!(exact.lifecycle(now).await.unwrap_err().kind, ChatErrorKind::Refused);
}

/// In a container there may be none: the test above runs again in a process that finds none.
#[test]
fn plain_http_needs_no_certificates() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "our_client_carries_a_key_to_no_other_address"])
        .envs([("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nonexistent")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    let answer = Format::Chat.whole(&"x".repeat(2_000)).to_string();
    let double = Double::answering(Answer::ok(&answer)).await;
    let model = |max| OpenAiChat::new(endpoint(&double.url).max_body(max), "m");
    let error = model(1_000).complete(&plain()).await.unwrap_err();
    assert_eq!((error.kind, error.reason.as_str()), (ChatErrorKind::BadAnswer, "more than 1000 bytes"));
    assert!(model(answer.len()).complete(&plain()).await.is_ok());
}

#[test]
fn debug_shows_no_key() {
    for format in Format::ALL {
        let shown = format!("{:?}", format.model("http://h"));
        assert!(!shown.contains(KEY) && shown.contains("the-model"), "{shown}");
    }
}

/// Ids of models, versions and prices are configuration.
#[test]
fn no_id_of_a_model_stands_in_the_code() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            read += 1;
            for id in ["claude-", "gpt-", "gemini-", "llama-3"] {
                assert!(!text.contains(id), "{} names {id}", path.display());
            }
        }
    }
    assert!(read > 20, "{read} files");
}
