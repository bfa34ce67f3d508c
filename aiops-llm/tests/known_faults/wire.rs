//! What an adapter, the schema or the reader of replies must do, in every wire format.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::{ActionMenu, ActionName, MenuEntry};
use aiops_llm::adapters::{Anthropic, ModelEndpoint, OpenAiChat, StructuredMode};
use aiops_llm::reply::{ReplyError, read_reply};
use aiops_llm::{
    ChatError, ChatErrorKind, ChatModel, ChatReply, ChatRequest, Enforced, OutputSchema, enforces_schema, report_schema,
};
use serde_json::{Value, json};

use crate::model_double::{Answer, Double, End, Format, KEY, Request, endpoint};

const REPORT: &str = r#"{"summary":"the pool is exhausted","likely_causes":["deploy v2"],"evidence":["deploy:1"],"recommended_actions":["restart_pod"],"confidence":0.8,"needs_human":false}"#;

fn schema() -> Arc<OutputSchema> {
    let entry = MenuEntry::new(ActionName::new("restart_pod").unwrap(), "restart the pod");
    Arc::new(report_schema(&ActionMenu::new(vec![entry])).unwrap())
}

fn request() -> ChatRequest {
    ChatRequest::new("rules", "evidence").schema(schema())
}

async fn ask(format: Format, answer: Answer) -> Result<ChatReply, ChatError> {
    let double = Double::answering(answer).await;
    format.model(&double.url).complete(&request()).await
}

async fn failed(format: Format, answer: Answer) -> ChatError {
    ask(format, answer).await.unwrap_err()
}

/// What each format sends.
async fn sent(format: Format) -> Request {
    let double = Double::answering(Answer::ok(format.whole(REPORT))).await;
    format.model(&double.url).complete(&request()).await.unwrap();
    double.last()
}

fn read(reply: &ChatReply) -> Result<aiops_core::TriageReport, ReplyError> {
    read_reply(&reply.text, reply.stop_reason.as_deref())
}

#[tokio::test]
async fn fault_01_the_reason_of_a_refusal_or_a_cut_is_kept() {
    for format in Format::ALL {
        for end in [End::Limit, End::Refusal] {
            let reply = ask(format, Answer::ok(format.ended(&REPORT[..40], format.word(end)))).await.unwrap();
            assert_eq!(reply.stop_reason.as_deref(), Some(format.word(end)));
            assert_eq!(reply.text, REPORT[..40], "what there is of the text is kept");
        }
    }
}

#[tokio::test]
async fn fault_02_a_cut_is_told_as_one_with_what_to_change() {
    for format in Format::ALL {
        let reply = ask(format, Answer::ok(format.ended(&REPORT[..40], format.word(End::Limit)))).await.unwrap();
        let said = read(&reply).unwrap_err().to_string();
        assert!(said.starts_with("the reply is truncated") && said.contains("allow more output tokens"), "{said}");
    }
}

#[tokio::test]
async fn fault_03_a_cut_reply_that_happens_to_be_valid_is_no_report() {
    for format in Format::ALL {
        let reply = ask(format, Answer::ok(format.ended(REPORT, format.word(End::Limit)))).await.unwrap();
        assert!(matches!(read(&reply), Err(ReplyError::Truncated { .. })), "{format:?}");
        let reply = ask(format, Answer::ok(format.ended(REPORT, format.word(End::Refusal)))).await.unwrap();
        assert!(matches!(read(&reply), Err(ReplyError::Refused { .. })), "{format:?}");
    }
}

#[tokio::test]
async fn fault_04_no_text_of_a_model_stands_in_an_error() {
    for format in Format::ALL {
        for (text, end) in
            [("c0nfidential", End::Whole), ("{\"c0nfidential\": ", End::Limit), ("{\"c0nfidential\"", End::Whole)]
        {
            let reply = ask(format, Answer::ok(format.ended(text, format.word(end)))).await.unwrap();
            let error = read(&reply).unwrap_err();
            assert!(!format!("{error} {reply:?}").contains("c0nfidential"), "{error} {reply:?}");
        }
        let cut = format.whole("c0nfidential").to_string();
        let error = failed(format, Answer::ok(&cut[..cut.len() - 1])).await;
        assert_eq!(error.kind, ChatErrorKind::BadAnswer);
        assert!(!format!("{error} {error:?}").contains("c0nfidential"), "{error:?}");
    }
}

#[tokio::test]
async fn fault_05_a_cut_or_an_empty_reply_is_never_an_empty_success() {
    for format in Format::ALL {
        for (text, end) in [("", End::Limit), ("", End::Whole), ("{}", End::Whole), ("{}", End::Limit)] {
            let reply = ask(format, Answer::ok(format.ended(text, format.word(end)))).await.unwrap();
            assert!(read(&reply).is_err(), "{format:?} {text}");
        }
    }
}

#[tokio::test]
async fn fault_06_the_same_half_reply_is_not_asked_for_again() {
    for format in Format::ALL {
        let reply = ask(format, Answer::ok(format.ended(&REPORT[..40], format.word(End::Limit)))).await.unwrap();
        assert!(!read(&reply).unwrap_err().is_retryable());
    }
}

#[tokio::test]
async fn fault_08_thoughts_that_used_up_the_tokens_are_no_reply() {
    let messages = json!({"content": [{"type": "thinking", "thinking": REPORT}], "stop_reason": "max_tokens",
        "usage": {"input_tokens": 10, "output_tokens": 4_096}});
    let chat =
        json!({"choices": [{"message": {"content": null, "reasoning_content": REPORT}, "finish_reason": "length"}]});
    let responses = json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": REPORT}]}]});
    let ollama = json!({"message": {"content": "", "thinking": REPORT}, "done": true, "done_reason": "length"});
    for (format, answer) in Format::ALL.into_iter().zip([messages, chat, responses, ollama]) {
        let reply = ask(format, Answer::ok(answer)).await.unwrap();
        assert_eq!(reply.text, "");
        assert!(matches!(read(&reply), Err(ReplyError::Truncated { .. })), "{format:?}");
    }
}

#[tokio::test]
async fn fault_16_used_up_quota_is_not_a_rate_limit() {
    for format in [Format::Chat, Format::Responses] {
        for (kind, code) in
            [("insufficient_quota", "insufficient_quota"), ("insufficient_quota", "credit_balance_exhausted")]
        {
            let error =
                failed(format, Answer::of(429, format.error(kind, Some(code), "m")).header("retry-after", "1")).await;
            assert_eq!((error.kind, error.reason.as_str(), error.is_retryable()), (ChatErrorKind::Quota, code, false));
        }
        let error = failed(format, Answer::of(429, format.error("requests", Some("rate_limit_exceeded"), "m"))).await;
        assert_eq!((error.kind, error.is_retryable()), (ChatErrorKind::RateLimited, true));
    }
    for (status, kind, code) in [
        (429, "rate_limit_error", Some("enforced_spend_limit_reached")),
        (429, "rate_limit_error", Some("contract_spend_limit_reached")),
        (402, "billing_error", None),
    ] {
        let error = failed(Format::Messages, Answer::of(status, Format::Messages.error(kind, code, "m"))).await;
        assert_eq!(
            (error.kind, error.is_retryable(), error.kind.is_configuration()),
            (ChatErrorKind::Quota, false, true)
        );
    }
    let ramp = Format::Messages.error("rate_limit_error", Some("ramp_limit_exceeded"), "m");
    let error = failed(Format::Messages, Answer::of(429, ramp).header("retry-after", "12")).await;
    assert_eq!((error.kind, error.retry_after), (ChatErrorKind::RateLimited, Some(Duration::from_secs(12))));
}

#[tokio::test]
async fn fault_17_no_room_is_one_kind_whatever_its_status() {
    for format in Format::ALL {
        for answer in [
            Answer::of(529, format.error("overloaded_error", None, "m")),
            Answer::of(529, "<html>busy</html>"),
            Answer::of(503, format.error("server_error", None, "m")),
        ] {
            let error = failed(format, answer).await;
            assert_eq!((error.kind, error.is_retryable()), (ChatErrorKind::Overloaded, true), "{format:?}");
        }
    }
    let slow = Format::Chat.error("server_error", Some("slow_down"), "m");
    assert_eq!(failed(Format::Chat, Answer::of(503, slow)).await.kind, ChatErrorKind::Overloaded);
}

#[tokio::test]
async fn fault_18_a_wait_is_read_on_any_status_and_capped() {
    for format in Format::ALL {
        for status in [408, 409, 429, 500, 502, 503, 504, 529] {
            let error =
                failed(format, Answer::of(status, "").header("retry-after", "7").header("x-request-id", "r1")).await;
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)), "{status}");
            assert!(error.is_retryable() && error.request_id.as_deref() == Some("r1"), "{error:?}");
        }
        let error = failed(format, Answer::of(503, "").header("retry-after", "86400")).await;
        assert_eq!(error.retry_after, Some(Duration::from_secs(60)));
        let error = failed(format, Answer::of(429, "").header("x-should-retry", "false")).await;
        assert!(!error.is_retryable(), "the provider's word wins");
        let error = failed(format, Answer::of(400, "").header("x-should-retry", "true")).await;
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn fault_20_no_tool_is_forced_unless_asked_for() {
    let body = sent(Format::Messages).await.json();
    assert!(body.get("tool_choice").is_none() && body.get("tools").is_none(), "{body}");
    assert_eq!(body["output_config"]["format"]["type"], "json_schema");
}

/// The adapter for servers from before `output_config`.
fn forced(url: &str) -> Anthropic {
    Anthropic::new(endpoint(url), "m").structured(StructuredMode::ForcedTool)
}

#[tokio::test]
async fn fault_21_a_forced_tool_comes_without_thinking() {
    let input = serde_json::value::RawValue::from_string(REPORT.to_owned()).unwrap();
    #[derive(serde::Serialize)]
    struct Block<'a> {
        r#type: &'a str,
        name: &'a str,
        input: &'a serde_json::value::RawValue,
    }
    let block = serde_json::to_string(&Block { r#type: "tool_use", name: "triage_report", input: &input }).unwrap();
    let double = Double::answering(Answer::ok(format!(
        r#"{{"content":[{{"type":"text","text":"I will report."}},{block}],"stop_reason":"tool_use"}}"#
    )))
    .await;
    let reply = forced(&double.url).complete(&request()).await.unwrap();
    let body = double.last().json();
    assert!(body.get("thinking").is_none() && body.get("output_config").is_none(), "{body}");
    assert_eq!(body["tool_choice"]["type"], "tool");
    assert_eq!(reply.text, REPORT, "the tool's input is the reply, byte for byte");
    assert_eq!(read(&reply).unwrap().recommended_actions, ["restart_pod"]);
}

#[tokio::test]
async fn fault_22_one_way_of_holding_to_a_schema_at_a_time_and_effort_is_sent_as_set() {
    let double = Double::answering(Answer::ok(Format::Messages.whole(REPORT))).await;
    forced(&double.url).effort("low").complete(&request()).await.unwrap();
    let body = double.last().json();
    assert_eq!(body["output_config"], json!({"effort": "low"}), "no format beside the tool, and nothing left out");
    assert_eq!(body["tools"][0]["name"], "triage_report");
}

#[tokio::test]
async fn fault_23_no_format_leaves_the_shape_to_the_model() {
    for format in Format::ALL {
        let body = sent(format).await.json();
        assert!(body.get("tools").is_none() && body.get("tool_choice").is_none(), "{body}");
        let at = match format {
            Format::Messages => "/output_config/format/schema",
            Format::Chat => "/response_format/json_schema/schema",
            Format::Responses => "/text/format/schema",
            Format::Ollama => "/format",
        };
        assert_eq!(body.pointer(at), Some(&serde_json::from_str::<Value>(schema().json()).unwrap()), "{format:?}");
    }
}

#[tokio::test]
async fn fault_24_the_schema_goes_out_byte_for_byte_in_reading_order() {
    for format in Format::ALL {
        let text = sent(format).await.text;
        assert!(text.contains(schema().json()), "{format:?} sorted the keys: {text}");
    }
    let at = |key: &str| schema().json().find(&format!("\"{key}\":{{")).unwrap();
    assert!(at("summary") < at("likely_causes") && at("likely_causes") < at("confidence"));
}

#[tokio::test]
async fn fault_25_a_schema_that_is_refused_is_an_error_and_never_free_text() {
    for format in Format::ALL {
        let double = Double::answering(Answer::of(400, format.error("invalid_request_error", None, "schema"))).await;
        let error = format.model(&double.url).complete(&request()).await.unwrap_err();
        assert_eq!((error.kind, error.is_retryable()), (ChatErrorKind::Refused, false), "{format:?}");
        assert!(error.kind.is_configuration(), "it fails until a person changes something");
        assert_eq!(double.requests().len(), 1, "nobody asks again without the schema");
    }
    let recorded = include_str!("../fixtures/llm_openai_error_bad_schema.json");
    assert_eq!(failed(Format::Chat, Answer::of(400, recorded)).await.kind, ChatErrorKind::Refused);
}

#[tokio::test]
async fn fault_26_strict_is_said_where_it_is_not_the_default() {
    assert_eq!(sent(Format::Chat).await.json()["response_format"]["json_schema"]["strict"], true);
    assert_eq!(sent(Format::Responses).await.json()["text"]["format"]["strict"], true);
    let double = Double::answering(Answer::ok(Format::Messages.whole(REPORT))).await;
    forced(&double.url).complete(&request()).await.unwrap();
    assert_eq!(double.last().json()["tools"][0]["strict"], true);
}

#[tokio::test]
async fn fault_27_nothing_is_wrapped_around_the_report() {
    let schema: Value = serde_json::from_str(schema().json()).unwrap();
    assert!(schema["properties"].get("summary").is_some(), "the root is the report");
    for format in Format::ALL {
        let reply = ask(format, Answer::ok(format.whole(&format!("{{\"report\":{REPORT}}}")))).await.unwrap();
        assert_eq!(read(&reply).unwrap_err().to_string(), "the report has no summary");
    }
}

#[tokio::test]
async fn fault_28_a_request_holds_the_schema_once_and_no_grammar() {
    for format in Format::ALL {
        let Request { text, .. } = sent(format).await;
        assert_eq!(text.matches(schema().json()).count(), 1, "{format:?}");
        let body: Value = serde_json::from_str(&text).unwrap();
        for key in ["grammar", "json_schema", "guided_json", "structured_outputs", "output_format"] {
            assert!(body.get(key).is_none(), "{format:?} {key}");
        }
    }
}

#[tokio::test]
async fn fault_29_a_server_that_ignores_the_schema_is_found_out() {
    for format in Format::ALL {
        for (text, end, found) in [
            ("{\"x\":\"alpha\"}", End::Whole, Enforced::Yes),
            ("{\n  \"x\": \"alpha\"\n}", End::Whole, Enforced::Yes),
            ("{\"x\":\"BANANA\"}", End::Whole, Enforced::No),
            ("BANANA", End::Whole, Enforced::No),
            ("{\"x\":\"alpha\",\"y\":1}", End::Whole, Enforced::No),
            ("BANANA BANANA", End::Limit, Enforced::No),
            ("", End::Limit, Enforced::NotKnown),
        ] {
            let double = Double::answering(Answer::ok(format.ended(text, format.word(end)))).await;
            assert_eq!(enforces_schema(&*format.model(&double.url)).await.unwrap(), found, "{format:?} {text}");
            let asked = double.last().text;
            assert!(asked.contains(r#""enum":["alpha"]"#) && asked.contains("BANANA"), "{asked}");
        }
    }
}

#[tokio::test]
async fn fault_30_ollama_thinks_in_another_field_and_words_errors_as_text() {
    let thought = json!({"message": {"content": "", "thinking": REPORT}, "done": true, "done_reason": "stop"});
    let reply = ask(Format::Ollama, Answer::ok(thought)).await.unwrap();
    assert!(matches!(read(&reply), Err(ReplyError::NoJson)), "a thought is no reply");
    for (status, kind) in [
        (400, ChatErrorKind::Refused),
        (404, ChatErrorKind::UnknownModel),
        (500, ChatErrorKind::Server),
        (503, ChatErrorKind::Overloaded),
    ] {
        let error =
            failed(Format::Ollama, Answer::of(status, json!({"error": "model 'x' not found, try pulling it"}))).await;
        assert_eq!((error.kind, error.reason.as_str()), (kind, ""));
    }
    let error = failed(Format::Ollama, Answer::ok(json!({"error": "unexpected EOF"}))).await;
    assert_eq!(error.kind, ChatErrorKind::Server, "an error with status 200");
    let part = json!({"message": {"content": REPORT}, "done": false});
    let reply = ask(Format::Ollama, Answer::ok(part)).await.unwrap();
    assert!(matches!(read(&reply), Err(ReplyError::Truncated { .. })), "a part of a stream is not whole");
    assert_eq!(sent(Format::Ollama).await.json()["stream"], false);
}

#[tokio::test]
async fn fault_31_endless_digits_or_spaces_end_at_the_limit() {
    for format in Format::ALL {
        let body = sent(format).await.json();
        let limit = match format {
            Format::Messages => &body["max_tokens"],
            Format::Chat => &body["max_completion_tokens"],
            Format::Responses => &body["max_output_tokens"],
            Format::Ollama => &body["options"]["num_predict"],
        };
        assert_eq!(limit, 4_096, "{format:?}");
        let digits = REPORT.replace("0.8", &format!("0.{}", "3".repeat(4_000)));
        let cut = digits.split(",\"needs_human\"").next().unwrap().to_owned();
        for text in [cut, format!("{}{}", &REPORT[..40], " ".repeat(4_000))] {
            let reply = ask(format, Answer::ok(format.ended(&text, format.word(End::Limit)))).await.unwrap();
            assert!(matches!(read(&reply), Err(ReplyError::Truncated { .. })));
        }
        let reply = ask(format, Answer::ok(format.whole(&digits))).await.unwrap();
        assert!(read(&reply).unwrap().confidence.value() < 0.34, "digits that end are a number");
    }
}

#[tokio::test]
async fn fault_32_the_schema_itself_is_no_report_and_is_named() {
    for format in Format::ALL {
        let echo = format!("Here it is:\n```json\n{}\n```", schema().json());
        for text in [schema().json(), &echo] {
            let reply = ask(format, Answer::ok(format.whole(text))).await.unwrap();
            assert!(matches!(read(&reply), Err(ReplyError::EchoedSchema)), "{format:?}");
        }
    }
}

#[tokio::test]
async fn fault_33_the_reply_is_the_text_blocks_wherever_they_stand() {
    let [head, tail] = [&REPORT[..30], &REPORT[30..]];
    let messages = json!({"stop_reason": "end_turn", "content": [{"type": "thinking", "thinking": "{}"},
        {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": head}, {"type": "new_block", "text": 7},
        {"type": "text", "text": tail}]});
    let chat = json!({"choices": [{"finish_reason": "stop", "message": {"content": [{"type": "text", "text": head},
        {"type": "image", "text": "{}"}, {"type": "text", "text": tail}]}}]});
    let responses = json!({"status": "completed", "output": [{"type": "reasoning"}, {"type": "web_search_call"},
        {"type": "message", "content": [{"type": "output_text", "text": head}, {"type": "other"},
            {"type": "output_text", "text": tail}]}]});
    let ollama = json!({"done": true, "done_reason": "stop", "message": {"content": REPORT, "thinking": "{}"}});
    for (format, answer) in Format::ALL.into_iter().zip([messages, chat, responses, ollama]) {
        let reply = ask(format, Answer::ok(answer)).await.unwrap();
        assert_eq!(reply.text, REPORT, "{format:?}");
        assert!(read(&reply).is_ok());
    }
}

#[tokio::test]
async fn fault_34_unknown_words_and_fields_break_no_reply() {
    for format in Format::ALL {
        let mut answer = format.ended(REPORT, "a_reason_of_next_year");
        answer["service_tier"] = json!({"a": ["tier", 7]});
        answer["usage"] = json!(["no", "usage"]);
        answer["prompt_eval_count"] = json!(-1.5);
        let reply = ask(format, Answer::ok(&answer)).await.unwrap();
        assert_eq!((reply.text.as_str(), reply.usage.input_tokens), (REPORT, 0), "{format:?}");
    }
    let reply = |reason: Value| json!({"choices": [{"finish_reason": reason, "message": {"content": REPORT}}]});
    let empty = ask(Format::Chat, Answer::ok(reply(json!("")))).await.unwrap();
    assert_eq!(empty.stop_reason.as_deref(), Some(""), "an empty reason stays empty");
    assert!(matches!(read(&empty), Err(ReplyError::NoStopReason)));
    let eos = ask(Format::Chat, Answer::ok(reply(json!("eos_token")))).await.unwrap();
    assert!(read(&eos).is_ok());
    let null = ask(Format::Chat, Answer::ok(reply(Value::Null))).await.unwrap();
    assert_eq!(null.stop_reason, None);
}

#[tokio::test]
async fn fault_35_no_sampling_parameter_is_sent() {
    for format in Format::ALL {
        let Request { text, .. } = sent(format).await;
        for word in ["temperature", "top_p", "top_k", "seed", "penalty", "logprobs"] {
            assert!(!text.contains(word), "{format:?} sends {word}");
        }
    }
}

#[tokio::test]
async fn fault_36_a_retired_model_is_a_fault_of_the_configuration() {
    for (format, kind, code) in [
        (Format::Messages, "not_found_error", None),
        (Format::Chat, "invalid_request_error", Some("model_not_found")),
        (Format::Responses, "invalid_request_error", Some("model_not_found")),
        (Format::Ollama, "", None),
    ] {
        let error = failed(format, Answer::of(404, format.error(kind, code, "m"))).await;
        assert_eq!(error.kind, ChatErrorKind::UnknownModel, "{format:?}");
        assert!(error.kind.is_configuration() && !error.is_retryable());
        assert!(error.to_string().contains("it may be retired"), "{error}");
        let reply = ask(format, Answer::ok(format.whole(REPORT))).await.unwrap();
        assert_eq!(reply.model.as_deref(), Some("the-model-7"), "who really answered is told");
    }
}

#[tokio::test]
async fn fault_37_a_key_stands_in_one_header_and_nowhere_else() {
    for format in Format::ALL {
        let request = sent(format).await;
        assert!(!request.target.contains(KEY) && !request.text.contains(KEY), "{format:?}");
        let holder = request.head.lines().filter(|line| line.contains(KEY)).count();
        assert_eq!(holder, 1, "{}", request.head);
        for (status, body) in [
            (401, format.error(KEY, Some(KEY), &format!("incorrect API key provided: {KEY}"))),
            (400, json!({"error": {"type": KEY, "code": KEY, "message": KEY}, "request_id": KEY})),
            (200, json!({"error": {"type": KEY, "message": KEY}})),
            (500, json!(KEY)),
            (200, json!(KEY)),
        ] {
            let double = Double::answering(Answer::of(status, body)).await;
            let model = format.model(&double.url);
            let error = model.complete(&self::request()).await.unwrap_err();
            let mut shown = format!("{error} {error:?} {model:?}");
            let mut source: Option<&dyn std::error::Error> = std::error::Error::source(&error);
            while let Some(below) = source {
                shown += &format!(" {below} {below:?}");
                source = below.source();
            }
            assert!(!shown.contains(KEY), "{format:?} {status}: {shown}");
        }
    }
    // A server that echoes the key in a header.
    let echo = Answer::of(500, "").header("x-request-id", KEY);
    let error = failed(Format::Chat, echo).await;
    assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    let text = sent_to_path_with_key().await;
    assert!(!text.contains("qu3ry"), "{text}");
}

/// What an error of an unreachable address that holds a key in its query shows.
async fn sent_to_path_with_key() -> String {
    let double = Double::answering(Answer::Close).await;
    let endpoint = ModelEndpoint::exact(&format!("{}/chat?key=qu3ry", double.url)).unwrap();
    let error = OpenAiChat::new(endpoint, "m").complete(&request()).await.unwrap_err();
    assert_eq!(error.kind, ChatErrorKind::Unreachable);
    let source = std::error::Error::source(&error).map(|source| format!("{source} {source:?}"));
    format!("{error} {error:?} {source:?}")
}
