//! A model of 135 M parameters, recorded once over llama.cpp, is evaluated from its cassette: without the model, a
//! network or a key, the same each time.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use aiops_examples::evaluate::args::Options;
use aiops_examples::evaluate::run;
use aiops_examples::features::workspace_root;
use serde_json::Value;

fn recording() -> PathBuf {
    workspace_root().join("examples/data/cassettes/smollm2")
}

/// The recorded model's part of `report.json`, without what differs from run to run.
async fn evaluated(name: &str) -> Value {
    let out = std::env::temp_dir().join(format!("aiops-recorded-{name}-{}", std::process::id()));
    let arguments: [OsString; 4] = ["--incidents".into(), recording().into(), "--out".into(), out.clone().into()];
    let options = Options::parse(arguments).unwrap().unwrap();
    run(&options, &mut Vec::new(), &mut Vec::new()).await.unwrap();
    let mut report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    std::fs::remove_dir_all(out).unwrap();
    let mut model = report["triagers"][1].take();
    model.as_object_mut().unwrap().remove("latency");
    for score in model["scores"].as_array_mut().unwrap() {
        score.as_object_mut().unwrap().remove("seconds");
        if let Some(provenance) = score["provenance"].as_object_mut() {
            provenance.remove("latency");
        }
    }
    model
}

#[tokio::test]
async fn every_prompt_is_found_again_and_every_reply_is_read_as_it_was() {
    let tape = std::fs::read_to_string(recording().join("cassette.jsonl")).unwrap();
    let lines: Vec<Value> = tape.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = evaluated("once").await;
    let again = "a prompt changed: record again, docs/guide/models.md says how";
    assert!(!report.to_string().contains("not_recorded"), "{again}: {report}");
    assert_eq!(report["incidents"], 4);
    // So small a model writes reports of the right shape, mostly, whose sense nobody judges.
    assert!(report["valid"]["hits"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["models"], serde_json::json!(["smollm2"]));
    for name in ["input_tokens", "output_tokens"] {
        // An answer that never became a report has no provenance, so what it took is not in the sum.
        let recorded: u64 = lines.iter().map(|line| line["reply"]["usage"][name].as_u64().unwrap()).sum();
        let (told, some) = (report["cost"][name].as_u64().unwrap(), recorded / 2);
        assert!(told > some && told <= recorded, "{name}: {told} of {recorded}; {again}");
    }
    assert_eq!(evaluated("twice").await, report);
}

#[test]
fn the_recording_is_small_whole_and_without_secrets_or_paths_of_a_machine() {
    let tape = std::fs::read_to_string(recording().join("cassette.jsonl")).unwrap();
    assert!(tape.len() < 100_000, "{} bytes", tape.len());
    for secret in ["/work", "/home", "/root", "Bearer", "AKIA", "hunter2"] {
        assert!(!tape.contains(secret), "{secret}");
    }
    // Its incidents are those of the repository as they were made.
    let lines = |path: PathBuf| -> BTreeSet<String> {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    };
    let all = lines(workspace_root().join("examples/data/incidents/incidents.jsonl"));
    assert!(lines(recording().join("incidents.jsonl")).is_subset(&all), "record again");
}
