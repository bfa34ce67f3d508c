//! The quickstart with a model: its reports where it gives any, those of the rules where it does not, and a plan
//! either way.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "model")]

#[path = "../../aiops-llm/tests/model_double/mod.rs"]
mod model_double;

use aiops_core::VirtualClock;
use aiops_examples::model::{ModelArguments, ModelSettings};
use aiops_examples::petshop::{self, Incident};
use aiops_examples::quickstart::{self, Outcome, Timeline};
use model_double::{Answer, Double, Format, KEY};
use serde_json::{Value, json};

/// The settings of a user who sets these variables.
fn settings(variables: &[(&str, &str)]) -> ModelSettings {
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    ModelArguments::default().settings(find).unwrap()
}

fn incident() -> Incident {
    petshop::embedded().unwrap().remove(0)
}

async fn run(incident: &Incident, settings: &ModelSettings) -> Outcome {
    quickstart::run_with(incident, |menu, clock: VirtualClock| settings.triager(menu, clock)).await.unwrap()
}

fn one<'a>(outcome: &'a Outcome, kind: &'a str) -> &'a Value {
    let mut found = outcome.of_type(kind);
    let first = found.next().unwrap();
    assert!(found.next().is_none(), "one {kind}");
    first
}

fn shown(outcome: &Outcome) -> String {
    let mut text = Vec::new();
    for record in &outcome.records {
        Timeline { colours: false }.write(&mut text, record).unwrap();
    }
    String::from_utf8(text).unwrap()
}

fn reply() -> String {
    let cause = "PetSearch_AWS::ECS::Fargate is slow [alert:1]";
    json!({"summary": "slow", "likely_causes": [cause], "evidence": ["alert:1"],
        "recommended_actions": ["restart_pod"], "confidence": 0.9, "needs_human": false})
    .to_string()
}

#[tokio::test]
async fn the_models_report_is_planned_on_in_each_wire_format() {
    for (provider, format) in [("anthropic", Format::Messages), ("openai", Format::Chat), ("ollama", Format::Ollama)] {
        let server = Double::answering(Answer::ok(format.whole(&reply()))).await;
        let variables = [
            ("AIOPS_MODEL_PROVIDER", provider),
            ("AIOPS_MODEL_ID", "the-model"),
            ("AIOPS_MODEL_URL", &*server.url),
            ("AIOPS_MODEL_KEY", KEY),
        ];
        let outcome = run(&incident(), &settings(&variables)).await;
        let report = one(&outcome, "report");
        assert_eq!(report["report"]["likely_causes"][0], "PetSearch_AWS::ECS::Fargate is slow [alert:1]");
        assert_eq!(report["provenance"]["fallback_reason"], Value::Null);
        assert_eq!(one(&outcome, "plan")["disposition"], "would_execute", "{provider}");
        assert_eq!((&outcome.summary()["triages"], &outcome.summary()["by_model"]), (&json!(1), &json!(1)));
        assert!(shown(&outcome).contains("by the model the-model-7: 150 tokens in, 50 out, "), "{}", shown(&outcome));
        let (asked, sent) = (server.requests().len(), server.last());
        assert_eq!((asked, sent.target.as_str()), (1, format.path()), "{provider}");
        assert!(sent.head.contains(KEY) && !sent.text.contains(KEY), "the key goes in a header");
        assert!(!outcome.records.iter().any(|record| record.to_string().contains(KEY)), "and nowhere else");
    }
}

/// One run against a server that answers this, and the timeline of it.
async fn failing(answer: Answer) -> String {
    let server = Double::answering(answer).await;
    let variables = [("AIOPS_MODEL_PROVIDER", "openai"), ("AIOPS_MODEL_ID", "m"), ("AIOPS_MODEL_URL", &*server.url)];
    let outcome = run(&incident(), &settings(&variables)).await;
    let report = one(&outcome, "report");
    assert_eq!((&report["report"]["needs_human"], &report["report"]["confidence"]), (&json!(true), &json!(0.0)));
    assert_eq!(one(&outcome, "plan")["disposition"], "escalated");
    assert_eq!(outcome.summary()["by_model"], 0);
    shown(&outcome)
}

#[tokio::test]
async fn the_rules_answer_for_a_model_that_fails_and_the_timeline_says_why() {
    let refused = Format::Chat.error("invalid_request_error", Some("invalid_api_key"), KEY);
    for (answer, why) in [
        (Answer::of(401, refused), "check the key"),
        (Answer::of(503, "<html>").header("retry-after-ms", "0"), "after 2 attempts: openai gave no reply: overloaded"),
    ] {
        let shown = failing(answer).await;
        assert!(shown.contains("by rules/1 in the model's place: ") && shown.contains(why), "{why}: {shown}");
    }
}

/// The replay's time stands still: the machine's, here paused, ends the wait.
#[tokio::test(start_paused = true)]
async fn a_model_that_hangs_costs_the_replay_its_timeout_and_no_more() {
    let shown = failing(Answer::Hang).await;
    assert!(shown.contains("openai gave no reply: timeout") && shown.contains("by rules/1"), "{shown}");
}

/// What a model of 135 M parameters writes is junk: only that it is asked, and that a plan comes of it.
#[tokio::test]
#[ignore = "needs llm: .ci/services up llm"]
async fn a_model_on_this_machine_is_asked_without_a_key() {
    let url = format!("{}/v1", std::env::var("LLM_URL").unwrap());
    let mut variables =
        vec![("AIOPS_MODEL_PROVIDER", "openai"), ("AIOPS_MODEL_ID", "smollm2"), ("AIOPS_MODEL_URL", &url)];
    variables.extend([("AIOPS_MODEL_BOUNDED", "1"), ("AIOPS_MODEL_TIMEOUT", "240")]);
    let outcome = run(&incident(), &settings(&variables)).await;
    let provenance = &one(&outcome, "report")["provenance"];
    assert!(provenance["input_tokens"].as_u64().unwrap() > 500, "{provenance}");
    assert!(provenance["output_tokens"].as_u64().unwrap() > 10, "{provenance}");
    assert!(
        ["would_execute", "escalated", "awaiting_approval", "no_action"]
            .contains(&one(&outcome, "plan")["disposition"].as_str().unwrap())
    );
}
