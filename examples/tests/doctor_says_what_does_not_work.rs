//! The doctor's lines for a model, the context sources and the catalogue.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "model")]

#[path = "../../aiops-llm/tests/model_double/mod.rs"]
mod model_double;

use aiops_core::doctor::{Check, Health};
use aiops_core::testing::ManualClock;
use aiops_core::{SystemClock, jiff::Timestamp};
use aiops_examples::doctor;
use aiops_examples::model::{ModelArguments, ModelSettings};
use model_double::{Answer, Double, Format, KEY};
use serde_json::json;

fn settings(provider: &str, url: &str) -> Result<ModelSettings, String> {
    let variables = [
        ("AIOPS_MODEL_PROVIDER", provider),
        ("AIOPS_MODEL_ID", "the-model"),
        ("AIOPS_MODEL_URL", url),
        ("AIOPS_MODEL_KEY", KEY),
    ];
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    ModelArguments::default().settings(find)
}

fn lines(checks: &[Check]) -> Vec<String> {
    checks.iter().map(Check::to_string).collect()
}

#[tokio::test]
async fn a_hosted_model_that_retires_soon_is_one_warning_among_what_is_well() {
    let server = Double::start(|_, asked| {
        match asked.target.as_str() {
            "/v1/models/the-model" => {
                Answer::ok(json!({"lifecycle": "deprecated", "retires_at": "2026-12-07T10:00:00Z"}))
            }
            "/v1/messages" => Answer::ok(Format::Messages.whole(r#"{"x":"alpha"}"#)),
            _ => Answer::of(404, ""),
        }
        .header("date", "Fri, 27 Nov 2026 10:00:00 GMT")
    })
    .await;
    let clock = ManualClock::new("2026-11-27T10:00:00Z".parse::<Timestamp>().unwrap());
    let told = lines(&doctor::model(settings("anthropic", &server.url), &clock).await);
    assert_eq!(
        told,
        [
            format!("ok    endpoint: {} answers (HTTP 404)", server.url),
            "ok    key: set (x-api-key)".to_owned(),
            "ok    clock: as the server's".to_owned(),
            "warn  lifecycle: the model is deprecated, 10 days left; name a newer model, evaluate it, and let its \
             confidences be measured anew"
                .to_owned(),
            "ok    schema: the model answers, and the server holds it to the schema".to_owned(),
        ]
    );
    assert!(!told.join("\n").contains(KEY));
}

#[tokio::test]
async fn a_model_that_nobody_named_and_a_key_that_is_wrong_fail() {
    let told = lines(&doctor::model(ModelArguments::default().settings(|_| None), &SystemClock).await);
    let set = "set AIOPS_MODEL_PROVIDER (or --provider) and AIOPS_MODEL_ID (or --model)";
    assert_eq!(told, [format!("FAIL  model: no model is named: {set}; --help lists the settings")]);
    let server = Double::answering(Answer::of(401, Format::Chat.error("x", Some("invalid_api_key"), KEY))).await;
    let checks = doctor::model(settings("openai", &server.url), &SystemClock).await;
    let last = checks.last().unwrap();
    assert_eq!(last.to_string(), "FAIL  schema: auth, HTTP 401 (invalid_api_key); check the key and what it may do");
}

#[tokio::test]
async fn sources_and_catalogue_of_the_examples_are_well_and_another_catalogue_is_held_against_the_handlers() {
    let told = lines(&doctor::sources(&SystemClock).await);
    assert_eq!(
        told,
        ["ok    context source deploys: found nothing", "ok    context source related-alerts: found 1 alert"]
    );
    assert_eq!(lines(&doctor::catalogue(None)), ["ok    catalogue: 5 actions, each with its handler"]);

    let file = std::env::temp_dir().join(format!("aiops-doctor-{}.yaml", std::process::id()));
    let text = "actions:\n  - {name: page_vendor, owner: shop, blast_radius: service, requires_approval: true}\n";
    std::fs::write(&file, text.replace("service", "deployment")).unwrap();
    let told = doctor::catalogue(Some(&file));
    assert!(told[0].to_string().starts_with("FAIL  catalogue: action page_vendor has no handler; "), "{}", told[0]);
    assert_eq!(told[1..].iter().filter(|check| check.health == Health::Warn).count(), 5, "handlers without an entry");
    std::fs::write(&file, text).unwrap();
    let told = doctor::catalogue(Some(&file));
    assert!(
        told[0].health == Health::Fail && told[0].to_string().contains(":2:"),
        "the place of the fault: {}",
        told[0]
    );
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
#[ignore = "needs llm: .ci/services up llm"]
async fn llama_cpp_is_well_on_its_openai_route_and_holds_to_no_schema_on_the_other() {
    let url = std::env::var("LLM_URL").unwrap();
    let told = lines(&doctor::model(settings("openai", &format!("{url}/v1")), &SystemClock).await);
    assert!(told[0].starts_with("ok    endpoint: http://127.0.0.1:"), "{told:?}");
    assert!(told[2].starts_with("warn  clock: the server tells no time"), "{told:?}");
    assert!(told[3].starts_with("ok    schema: "), "{told:?}");
    let told = lines(&doctor::model(settings("anthropic", &url), &SystemClock).await);
    assert!(told[3].starts_with("warn  lifecycle: "), "{told:?}");
    assert!(told[4].starts_with("warn  schema: the model answers, and the server does not hold it"), "{told:?}");
    assert!(told.iter().all(|line| !line.starts_with("FAIL")), "{told:?}");
}
