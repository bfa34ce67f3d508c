//! Each call of a model is one span by OpenTelemetry's names, and holds nothing of what was said.
#![allow(clippy::unwrap_used)]

mod scripted;

use aiops_core::testing::{LogRecorder, SpanLine};
use aiops_llm::{ChatErrorKind, ChatReply, Usage, enforces_schema};
use scripted::{GOOD, Scripted, Turn, ask, builder, clock, request, say};

/// The spans of one triage of these turns.
async fn spans(turns: impl IntoIterator<Item = Turn>) -> Vec<SpanLine> {
    let (clock, log) = (clock(), LogRecorder::default());
    let _mine = tracing::subscriber::set_default(log.clone());
    let asked = request(&clock);
    ask(&builder(&Scripted::new(turns), &clock).build().unwrap(), &clock, &asked).await;
    for span in log.spans() {
        let shown = format!("{span:?}");
        for said in ["slow since", "restart_pod", "checkout", "You help the engineer", "p4ss"] {
            assert!(!shown.contains(said), "{said}: {shown}");
        }
    }
    log.spans()
}

/// The fields that a span has besides those that all have.
fn fields(span: &SpanLine) -> Vec<(&str, &str)> {
    let always = ["otel.name", "otel.kind", "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"];
    let given = span.fields.iter().map(|(name, value)| (*name, value.as_str()));
    given.filter(|(name, _)| !always.contains(name)).collect()
}

#[tokio::test]
async fn a_reply_tells_its_model_its_end_and_its_tokens() {
    let reply = ChatReply::new(GOOD, "end_turn").usage(Usage::new(1_200, 90)).model("scripted-1-20261001");
    let spans = spans([Ok(reply)]).await;
    let [span] = &spans[..] else { unreachable!("one call, one span: {spans:?}") };
    assert_eq!((span.name, span.target.as_str(), span.level), ("chat", "aiops_llm::gen_ai", tracing::Level::DEBUG));
    for (name, value) in [
        ("otel.name", "chat scripted-1"),
        ("otel.kind", "client"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "scripted"),
        ("gen_ai.request.model", "scripted-1"),
    ] {
        assert_eq!(span.fields.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(
        fields(span),
        [
            ("gen_ai.output.type", "json"),
            ("gen_ai.request.max_tokens", "4096"),
            ("gen_ai.response.finish_reasons", "[\"end_turn\"]"),
            ("gen_ai.response.model", "scripted-1-20261001"),
            ("gen_ai.usage.input_tokens", "1200"),
            ("gen_ai.usage.output_tokens", "90"),
        ]
    );
}

#[tokio::test]
async fn every_attempt_has_its_own_with_the_kind_of_its_error() {
    let spans = spans([Err((ChatErrorKind::Overloaded, "busy p4ss")), say(GOOD)]).await;
    assert_eq!(spans.len(), 2);
    let failed = &spans[0].fields;
    assert_eq!((failed["error.type"].as_str(), failed["otel.status_code"].as_str()), ("overloaded", "ERROR"));
    assert_eq!((failed["gen_ai.usage.input_tokens"].as_str(), failed.get("gen_ai.response.model")), ("7", None));
    assert!(!spans[1].fields.contains_key("error.type"));
}

#[tokio::test]
async fn a_model_that_hangs_ends_its_span_as_a_timeout() {
    let spans = spans([]).await;
    assert_eq!(spans[0].fields["error.type"], "timeout");
}

#[tokio::test]
async fn the_canary_is_a_call_too() {
    let log = LogRecorder::default();
    let _mine = tracing::subscriber::set_default(log.clone());
    let model = Scripted::new([say(r#"{"x":"alpha"}"#)]);
    enforces_schema(&model).await.unwrap();
    assert_eq!(log.spans().len(), 1);
    assert_eq!(log.spans()[0].fields["gen_ai.usage.output_tokens"], "10");
}
