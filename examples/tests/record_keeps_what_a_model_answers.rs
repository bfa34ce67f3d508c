//! What `record` keeps of a model, `evaluate` finds again, with the limits that it was asked with.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "model")]

#[path = "../../aiops-llm/tests/model_double/mod.rs"]
mod model_double;

use std::path::{Path, PathBuf};

use aiops_examples::evaluate;
use aiops_examples::features::workspace_root;
use aiops_examples::model::{ModelArguments, ModelSettings};
use aiops_examples::record::{Options, run};
use model_double::{Answer, Double, Format, KEY};
use serde_json::json;

fn data() -> PathBuf {
    workspace_root().join("examples/data/incidents")
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("aiops-record-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn settings(url: &str) -> ModelSettings {
    let variables = [
        ("AIOPS_MODEL_PROVIDER", "openai"),
        ("AIOPS_MODEL_ID", "m"),
        ("AIOPS_MODEL_URL", url),
        ("AIOPS_MODEL_KEY", KEY),
        ("AIOPS_MODEL_BOUNDED", "1"),
        ("AIOPS_MODEL_MAX_OUTPUT", "300"),
        ("AIOPS_MODEL_MAX_EVIDENCE", "3000"),
        ("AIOPS_MODEL_TIMEOUT", "7"),
    ];
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    ModelArguments::default().settings(find).unwrap()
}

async fn recorded(incidents: &Path, only: &str, to: &Path, server: &Double) -> Result<String, String> {
    let mut told = Vec::new();
    let only: Vec<String> = only.split(',').map(str::to_owned).collect();
    run(incidents, &only, to, &settings(&server.url), &mut told).await?;
    Ok(String::from_utf8(told).unwrap())
}

#[tokio::test]
async fn what_is_recorded_is_found_again_without_the_server() {
    let reply = json!({"summary": "slow", "likely_causes": ["a deploy [deploy:1]"], "evidence": ["deploy:1"],
        "recommended_actions": [], "confidence": 0.5, "needs_human": true})
    .to_string();
    let server = Double::answering(Answer::ok(Format::Chat.whole(&reply))).await;
    let (to, out) = (folder("tape"), folder("out"));
    let told = recorded(&data(), "fault-01,attack-18", &to, &server).await.unwrap();
    assert!(told.starts_with("llm (the-model-7)") && told.contains("2 of 2"), "{told}");
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.last().json()["max_completion_tokens"], 300);
    // A second recording takes the place of the first, and in its own folder loses no incident.
    recorded(&to, "attack-18", &to.join("."), &server).await.unwrap();
    recorded(&to, "fault-01,attack-18", &to, &server).await.unwrap();
    let tape = std::fs::read_to_string(to.join("cassette.jsonl")).unwrap();
    assert_eq!(tape.lines().count(), 2);
    assert!(!tape.contains(KEY) && !tape.contains("AKIAIOSFODNN7EXAMPLE") && tape.contains("[REDACTED:"));

    let arguments: [std::ffi::OsString; 4] =
        ["--incidents".into(), to.clone().into(), "--out".into(), out.clone().into()];
    let options = evaluate::args::Options::parse(arguments).unwrap().unwrap();
    let mut told = Vec::new();
    evaluate::run(&options, &mut told, &mut Vec::new()).await.unwrap();
    let told = String::from_utf8(told).unwrap();
    let of_model = told.split("llm (the-model-7)").nth(1).unwrap();
    assert!(of_model.contains("valid answers             2 of 2"), "{told}");
    // Broken limits are named; without them the prompts are others.
    std::fs::write(to.join("triager.json"), "{\"bound\": true}").unwrap();
    let error = evaluate::run(&options, &mut Vec::new(), &mut Vec::new()).await.unwrap_err();
    assert!(error.contains("triager.json: unknown field `bound`"), "{error}");
    for folder in [to, out] {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_named_before_anything_is_asked_or_written() {
    let server = Double::answering(Answer::Close).await;
    let to = folder("nothing");
    let error = recorded(&data(), "fault-01,fault-99", &to, &server).await.unwrap_err();
    assert!(error.ends_with("no incident is named \"fault-99\""), "{error}");
    assert!(server.requests().is_empty() && !to.exists());
    let parse = |line: &str| Options::parse(line.split_whitespace().map(str::to_owned));
    assert!(parse("--help").unwrap().is_none());
    let options = parse("--incidents a --only x,y --model m --bounded --out b").unwrap().unwrap();
    assert_eq!((options.only.as_slice(), options.out), (&["x".to_owned(), "y".to_owned()][..], Some("b".into())));
    for (line, wanted) in [
        ("--out b", "--incidents DIR is missing"),
        ("--incidents", "--incidents lacks its value"),
        ("--incidents a --speed 3", "unexpected \"--speed\""),
        ("--incidents a --model", "--model lacks its value"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(wanted), "{line}: {error}");
    }
}
