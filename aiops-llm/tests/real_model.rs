//! A real model behind llama.cpp's server: the wire formats as a server speaks them that nobody scripted. What
//! it writes is junk, and no test judges it.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`
#![cfg(feature = "client-no-provider")]

use std::sync::Arc;
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{ManualClock, samples};
use aiops_core::time::plus;
use aiops_core::{ActionMenu, ActionName, MenuEntry, Triage, Triager};
use aiops_llm::adapters::{Anthropic, ModelEndpoint, OpenAiChat, StructuredMode};
use aiops_llm::reply::{ReplyError, read_reply};
use aiops_llm::{
    ChatErrorKind, ChatModel, ChatRequest, Enforced, LlmTriager, OutputSchema, RuleTriager, bounded_report_schema,
    enforces_schema, report_schema,
};
use tokio::sync::{Mutex, MutexGuard};

/// An example, since so small a model finds no confidence below 1 by itself.
const SYSTEM: &str = r#"You write a triage report in JSON, like this one: {"summary":"Checkout is slow since the deploy.","likely_causes":["the deploy of v2"],"evidence":["deploy:1"],"recommended_actions":["restart_pod"],"confidence":0.7,"needs_human":false}"#;

/// The server's address below `path`; a machine that is busy is slow.
fn endpoint(path: &str) -> ModelEndpoint {
    let url = std::env::var("LLM_URL").unwrap_or_else(|_| panic!("LLM_URL: run .ci/services up llm"));
    ModelEndpoint::new(&format!("{url}{path}")).unwrap()
}

/// The server answers one request at a time: a test has it alone, so that none waits for another's.
async fn alone() -> MutexGuard<'static, ()> {
    static SERVER: Mutex<()> = Mutex::const_new(());
    SERVER.lock().await
}

fn openai() -> OpenAiChat {
    OpenAiChat::new(endpoint("/v1"), "smollm2")
}

fn anthropic() -> Anthropic {
    Anthropic::new(endpoint(""), "smollm2")
}

fn menu() -> ActionMenu {
    let entry = |name: &str| MenuEntry::new(ActionName::new(name).unwrap(), name);
    ActionMenu::new(vec![entry("restart_pod"), entry("drain_node"), entry("scale_deployment")])
}

fn schema() -> Arc<OutputSchema> {
    Arc::new(bounded_report_schema(&menu()).unwrap())
}

fn request(service: &str) -> ChatRequest {
    ChatRequest::new(SYSTEM, format!("Service {service}: P99LatencyAnomaly. log:1 pool exhausted x 300. Report:"))
        .schema(schema())
        .max_output_tokens(400)
        .timeout(Duration::from_secs(120))
}

#[tokio::test]
#[ignore = "needs llm: .ci/services up llm"]
async fn the_openai_route_gives_reports_that_keep_the_schema_and_counts_tokens() {
    let _alone = alone().await;
    let model = openai();
    assert_eq!(enforces_schema(&model).await.unwrap(), Enforced::Yes);
    let validator = jsonschema::validator_for(&serde_json::from_str(schema().json()).unwrap()).unwrap();
    let mut reports = 0;
    for service in ["checkout", "cart", "search"] {
        let reply = model.complete(&request(service)).await.unwrap();
        assert_eq!(reply.stop_reason.as_deref(), Some("stop"), "{}", reply.text);
        assert!(validator.is_valid(&serde_json::from_str(&reply.text).unwrap()), "{}", reply.text);
        assert!(reply.usage.input_tokens > 50 && reply.usage.output_tokens > 10, "{:?}", reply.usage);
        assert!(reply.model.is_some());
        match read_reply(&reply.text, reply.stop_reason.as_deref()) {
            Ok(report) => {
                reports += 1;
                assert!(report.recommended_actions.iter().all(|name| menu().get(name).is_some()));
            }
            // What no grammar of this server holds: a number's range.
            Err(ReplyError::Wrong { field: "confidence", .. }) => {}
            Err(other) => panic!("{other}: {}", reply.text),
        }
    }
    assert!(reports > 0, "no report in three");
}

#[tokio::test]
#[ignore = "needs llm: .ci/services up llm"]
async fn a_grammar_is_made_of_catalogues_of_0_200_and_1000_actions() {
    let _alone = alone().await;
    for count in [0, 200, 1_000] {
        let entry = |i| MenuEntry::new(ActionName::new(format!("action_{i:04}")).unwrap(), "an action");
        let menu = ActionMenu::new((0..count).map(entry).collect());
        for schema in [report_schema(&menu).unwrap(), bounded_report_schema(&menu).unwrap()] {
            let reply =
                openai().complete(&request("checkout").schema(Arc::new(schema)).max_output_tokens(5)).await.unwrap();
            assert!(reply.text.starts_with('{'), "{count} actions: {}", reply.text);
        }
    }
}

#[tokio::test]
#[ignore = "needs llm: .ci/services up llm"]
async fn the_anthropic_route_holds_to_no_schema_and_the_canary_says_so() {
    let _alone = alone().await;
    for model in [anthropic(), anthropic().structured(StructuredMode::ForcedTool)] {
        assert_eq!(enforces_schema(&model).await.unwrap(), Enforced::No);
    }
    let free = ChatRequest::new("You are a poet.", "Write about rain.").schema(schema()).max_output_tokens(40);
    let reply = anthropic().complete(&free.timeout(Duration::from_secs(120))).await.unwrap();
    assert!(reply.usage.input_tokens > 10 && reply.usage.output_tokens > 10, "{:?}", reply.usage);
    assert!(read_reply(&reply.text, reply.stop_reason.as_deref()).is_err(), "prose is no report: {}", reply.text);
}

#[tokio::test]
#[ignore = "needs llm: .ci/services up llm"]
async fn a_reply_that_is_cut_is_told_as_cut_on_both_routes() {
    let _alone = alone().await;
    for model in [&openai() as &dyn ChatModel, &anthropic()] {
        let reply = model.complete(&request("checkout").max_output_tokens(10)).await.unwrap();
        let error = read_reply(&reply.text, reply.stop_reason.as_deref()).unwrap_err();
        assert!(matches!(error, ReplyError::Truncated { .. }), "{error}");
        assert_eq!(reply.usage.output_tokens, 10);
    }
}

#[tokio::test]
#[ignore = "needs llm: .ci/services up llm"]
async fn a_request_beyond_the_context_and_a_schema_that_is_none_are_errors_of_their_kind() {
    let _alone = alone().await;
    let long = ChatRequest::new(SYSTEM, "a pool is exhausted. ".repeat(2_000)).timeout(Duration::from_secs(120));
    for model in [&openai() as &dyn ChatModel, &anthropic()] {
        let error = model.complete(&long).await.unwrap_err();
        assert_eq!((error.kind, error.status), (ChatErrorKind::ContextTooLong, Some(400)), "{error}");
        assert!(!error.is_retryable());
    }
    let wrong = Arc::new(OutputSchema::new("wrong", r#"{"type":"frob"}"#).unwrap());
    let error = openai().complete(&request("checkout").schema(wrong)).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ChatErrorKind::Refused, Some(400)), "{error}");
}

#[tokio::test]
#[ignore = "needs llm: .ci/services up llm"]
async fn the_fallback_answers_where_the_schema_is_ignored_and_tokens_are_counted_on_both_routes() {
    let _alone = alone().await;
    let mut request = samples::request(samples::event("checkout", "P99LatencyAnomaly", Timestamp::UNIX_EPOCH));
    request.deadline = plus(request.now, Duration::from_secs(180));
    for (model, schema_holds) in [(Arc::new(anthropic()) as Arc<dyn ChatModel>, false), (Arc::new(openai()), true)] {
        let triager = LlmTriager::builder(model, menu())
            .fallback(RuleTriager::default())
            .bounded_schema()
            .max_output_tokens(if schema_holds { 400 } else { 60 })
            .attempts(1)
            .timeout(Duration::from_secs(120))
            .with_clock(ManualClock::new(request.now))
            .build()
            .unwrap();
        let Triage { report, provenance, .. } = triager.triage(&request).await.unwrap();
        assert!(provenance.input_tokens > 100 && provenance.output_tokens > 10, "{provenance:?}");
        // A junk reply of the right shape may be a report or not: only its names are sure.
        assert!(report.recommended_actions.iter().all(|name| menu().get(name).is_some()));
        if !schema_holds {
            assert!(provenance.fallback_reason.is_some(), "{provenance:?}");
        }
        if provenance.fallback_reason.is_some() {
            assert!(report.recommended_actions.is_empty() && report.needs_human && report.confidence.value() == 0.0);
        }
    }
}
