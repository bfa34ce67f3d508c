//! Rows 31 to 42 of the faults that users of other tools reported, one test each.
#![allow(clippy::unwrap_used)]

mod scripted;

use std::time::Duration;

use aiops_core::{ContextFinding, ContextKind, Placeholders, TriageContext, Triager, Trust, jiff::Timestamp};
use aiops_llm::{LlmTriager, RuleTriager, report_schema};
use scripted::{GOOD, Scripted, ask, builder, clock, cut, menu, one, reason, request, say};

fn log(text: impl Into<String>) -> ContextFinding {
    ContextFinding::new(ContextKind::Log, Trust::External, text)
}

#[test]
fn row_31_the_schema_has_no_bound_and_requires_every_key() {
    // Both dialects' own checkers: `the_report_schema_is_taken_by_every_strict_mode`.
    let schema: serde_json::Value = serde_json::from_str(report_schema(&menu()).unwrap().json()).unwrap();
    let keys: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(schema["required"].as_array().unwrap().len(), keys.len());
    assert_eq!(schema["additionalProperties"], false);
    for word in ["minimum", "maximum", "maxLength", "minLength", "maxItems", "uniqueItems"] {
        assert!(!schema.to_string().contains(word), "{word}");
    }
}

#[tokio::test]
async fn row_32_a_tool_call_for_an_answer_is_no_report() {
    for stop in ["tool_use", "tool_calls", "function_call"] {
        let mut turn = say(GOOD).unwrap();
        turn.stop_reason = Some(stop.to_owned());
        let (triage, _) = one([Ok(turn)]).await;
        assert!(triage.report.needs_human && reason(&triage).contains(stop), "{}", reason(&triage));
    }
    let (triage, asked) = one([say("call restart_pod()"), say(GOOD)]).await;
    assert_eq!((asked.len(), reason(&triage)), (2, ""), "one corrective attempt");
}

#[tokio::test]
async fn row_33_much_evidence_is_cut_at_items_and_the_prompt_says_so() {
    let (clock, model) = (clock(), Scripted::new([say(GOOD)]));
    let mut asked = request(&clock);
    let line = |n: u32| log(format!("kind {n} {}", "x".repeat(1_000_000))).weight(f64::from(n));
    asked.context = TriageContext::assemble((0..40).map(line).collect(), Vec::new());
    ask(&builder(&model, &clock).max_evidence_bytes(2_000).build().unwrap(), &clock, &asked).await;
    let sent = &model.asked()[0].user;
    assert!(sent.len() < 2_300 && sent.contains("10 of 40 shown") && sent.contains("kind 39 "), "{sent}");
    assert!(!sent.contains("kind 0 "), "the most frequent are kept");
    let whole = sent.lines().filter(|line| line.starts_with('{')).all(|line| line.ends_with("\"}"));
    assert!(whole, "{sent}");
}

#[tokio::test]
async fn row_34_what_cannot_fit_is_said_before_anything_is_sent() {
    let (clock, model) = (clock(), Scripted::new([say(GOOD)]));
    let triager = builder(&model, &clock).max_evidence_bytes(50).build().unwrap();
    let triage = ask(&triager, &clock, &request(&clock)).await;
    assert!(reason(&triage).contains("the budget max_evidence_bytes is 50: raise it"), "{}", reason(&triage));
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn row_35_prose_is_kept_for_the_person_who_is_asked() {
    let (triage, asked) = one([say("I would restart it; password=hunter2hunter2")]).await;
    assert_eq!(asked.len(), 2, "bounded");
    assert!(triage.report.needs_human);
    let kept = triage.provenance.unread_reply.unwrap();
    assert!(kept.starts_with("I would restart it") && !kept.contains("hunter2"), "{kept}");
}

#[tokio::test]
async fn row_36_broken_strings_are_refused_with_their_place_and_never_repaired() {
    let broken = GOOD.replace("slow since v2", "slow\nsince v2");
    let (triage, asked) = one([say(&broken)]).await;
    assert!(reason(&triage).contains("broken at line 2"), "{}", reason(&triage));
    assert!(asked[1].user.ends_with("its JSON was broken at line 2, column 0.\n"), "{}", asked[1].user);
    let escaped = GOOD.replace('"', "\\\"");
    let (triage, _) = one([say(&escaped)]).await;
    assert!(triage.report.needs_human && triage.report.recommended_actions.is_empty());
}

#[tokio::test]
async fn row_37_a_reply_that_hit_the_cap_is_an_escalation_and_not_silence() {
    let (triage, _) = one([cut("{\"summary\":")]).await;
    assert!(triage.report.needs_human && reason(&triage).contains("truncated"), "{}", reason(&triage));
}

#[tokio::test]
async fn row_38_context_is_encoded_exactly_once() {
    let (clock, model) = (clock(), Scripted::new([say(GOOD)]));
    let mut asked = request(&clock);
    let text = "a < b && c > \"d\" 'e' \\n \u{1f525} \u{65e5}\u{672c}\u{8a9e} &amp;";
    asked.context = TriageContext::assemble(vec![log(text)], Vec::new());
    ask(&builder(&model, &clock).build().unwrap(), &clock, &asked).await;
    let sent = model.asked()[0].user.clone();
    let line = sent.lines().find(|line| line.contains("log:1")).unwrap();
    let golden = "{\"id\":\"log:1\",\"trust\":\"external\",\"text\":\"a \\u003c b && c \\u003e \\\"d\\\" 'e' \\\\n \u{1f525} \u{65e5}\u{672c}\u{8a9e} &amp;\"}";
    assert_eq!(line, golden);
    let value: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["text"], text, "read back, it is what it was");
}

#[tokio::test]
async fn row_39_names_are_hidden_from_the_provider_and_back_in_the_report() {
    let names = || Placeholders::new([("pod", "checkout-7d9f-x2"), ("service", "checkout")]).unwrap();
    let reply = GOOD.replace("slow since v2", "<POD_0> of <SERVICE_0> hangs, not <POD_7>");
    let (clock, model) = (clock(), Scripted::new([say(&reply)]));
    let mut asked = request(&clock);
    asked.event.labels.insert("pod".into(), "checkout-7d9f-x2".into());
    asked.context = TriageContext::assemble(vec![log("checkout-7d9f-x2 is slow")], Vec::new());
    let triager = builder(&model, &clock).placeholders(names()).build().unwrap();
    let triage = ask(&triager, &clock, &asked).await;
    let sent = &model.asked()[0].user;
    assert!(!sent.contains("checkout") && sent.contains("POD_0") && sent.contains("SERVICE_0"), "{sent}");
    assert_eq!(triage.report.summary, "checkout-7d9f-x2 of checkout hangs, not <POD_7>", "unknown ones stay");
    assert_eq!(triager.preview(&asked).unwrap().request.user, *sent, "the same each time");
}

#[tokio::test]
async fn row_40_what_would_be_sent_can_be_seen_without_sending_it() {
    let (clock, model) = (clock(), Scripted::new([say(GOOD)]));
    let (triager, asked) = (builder(&model, &clock).build().unwrap(), request(&clock));
    let preview = triager.preview(&asked).unwrap();
    assert!(model.asked().is_empty());
    ask(&triager, &clock, &asked).await;
    assert_eq!(model.asked(), [preview.request]);
}

#[tokio::test]
async fn row_41_prompt_and_schema_ask_for_the_same_keys_and_names() {
    let (clock, model) = (clock(), Scripted::new([say(GOOD)]));
    let preview = builder(&model, &clock).build().unwrap().preview(&request(&clock)).unwrap().request;
    let schema = preview.schema.unwrap();
    let keys = ["summary", "likely_causes", "evidence", "recommended_actions", "confidence", "needs_human"];
    let places: Vec<usize> = keys.iter().map(|key| schema.json().find(&format!("\"{key}\":{{")).unwrap()).collect();
    assert!(places.is_sorted(), "in this order");
    let told = preview.system.split("its keys in this order: ").nth(1).unwrap();
    let places: Vec<usize> = keys.iter().map(|key| told.find(key).unwrap()).collect();
    assert!(places.is_sorted(), "{told}");
    assert!(told.contains("confidence (number)") && schema.json().contains("\"confidence\":{\"type\":\"number\""));
    for entry in menu().entries() {
        assert!(preview.system.contains(&format!("- {}: ", entry.name)) && schema.json().contains(entry.name.as_str()));
    }
}

/// Equal incidents for each model, and for each what passed, what it cost and how long it took.
#[cfg(feature = "evaluate")]
#[tokio::test]
async fn row_42_models_are_compared_on_the_same_recorded_incidents_with_pass_cost_and_latency() {
    use aiops_core::testing::samples;
    use aiops_llm::cassette::{Cassette, Recorder};
    use aiops_llm::evaluate::{Evaluation, IncidentSet, RecordedIncident};
    use aiops_llm::{ModelPrice, Prices};

    let incident = |name: &str| {
        let event = samples::event("checkout", name, Timestamp::UNIX_EPOCH);
        let context = samples::context(&event);
        let mut incident = RecordedIncident::new(name, event, context);
        incident.expected = serde_json::from_str(r#"{"causes": [{"required": ["v2"]}]}"#).unwrap();
        incident
    };
    let mut set = IncidentSet::default();
    set.incidents = ["first", "second", "third"].map(incident).into();
    set.menu = Some(menu());
    let folder = std::env::temp_dir().join(format!("aiops-row-42-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let wrong = GOOD.replace("v2 [deploy:1]", "the moon [deploy:1]");
    let mut compared = Vec::new();
    for (name, replies) in [("right", [GOOD, GOOD, GOOD]), ("worse", [GOOD, &wrong, "prose"])] {
        let tape = folder.join(name);
        let triager = |model: Box<dyn aiops_llm::ChatModel>| {
            let prices = Prices::default().model("scripted-1", ModelPrice::new(1.0, 10.0));
            LlmTriager::builder(model, menu()).salt("t").cache_for(Duration::ZERO).attempts(1).prices(prices).build()
        };
        let model = Recorder::to_file(Scripted::new(replies.map(say)), &tape).unwrap();
        let live = Evaluation::default().run(&triager(Box::new(model)).unwrap(), &set).await;
        let replayed = triager(Box::new(Cassette::open(&tape).unwrap())).unwrap();
        let replayed = Evaluation::default().run(&replayed, &set).await;
        assert_eq!((replayed.valid, replayed.top1, replayed.cost), (live.valid, live.top1, live.cost), "{name}");
        compared.push(replayed);
    }
    std::fs::remove_dir_all(folder).unwrap();
    let asked = |report: &aiops_llm::evaluate::EvaluationReport| -> Vec<String> {
        report.scores.iter().map(|score| score.incident.clone()).collect()
    };
    assert_eq!(asked(&compared[0]), ["first", "second", "third"]);
    assert_eq!(asked(&compared[0]), asked(&compared[1]), "the same incidents");
    assert_eq!(compared.iter().map(|report| report.top1.hits).collect::<Vec<_>>(), [3, 1]);
    for report in &compared {
        let table = report.to_markdown();
        for row in ["valid answers", "first cause right", "latency", "tokens", "cost"] {
            assert!(table.contains(row), "{row}: {table}");
        }
        assert!(report.cost.dollars > 0.0 && report.latency.is_some());
    }
}

#[tokio::test]
async fn a_triager_without_a_clock_of_its_own_answers_too() {
    let triager =
        LlmTriager::builder(Scripted::new([say(GOOD)]), menu()).fallback(RuleTriager::default()).build().unwrap();
    let at = Timestamp::now();
    let mut asked = aiops_core::testing::samples::request(aiops_core::testing::samples::event("checkout", "a", at));
    asked.deadline = aiops_core::time::plus(at, Duration::from_secs(60));
    assert_eq!(triager.triage(&asked).await.unwrap().report.recommended_actions, ["restart_pod"]);
}
