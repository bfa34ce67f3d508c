//! What stands above one attempt: attempts, prompts, budgets, sharing, what a report may carry.

use std::time::Duration;

use aiops_core::{Clock, ContextFinding, ContextKind, TriageContext, Triager, Trust, time};
use aiops_llm::{Budget, ChatErrorKind, ModelPrice, Prices};

use crate::scripted::{GOOD, Scripted, ask, builder, clock, cut, one, reason, request, say};

#[tokio::test]
async fn fault_07_a_cut_reply_is_not_asked_for_again_with_the_same_limit() {
    let (triage, asked) = one([cut(GOOD), say(GOOD)]).await;
    assert_eq!(asked.len(), 1);
    assert!(reason(&triage).contains("allow more output tokens"), "{}", reason(&triage));
}

#[tokio::test]
async fn fault_09_no_attempt_makes_the_prompt_longer_than_the_one_before() {
    let junk = "{\"summary\": \"padding padding padding padding padding padding padding\"}";
    let (clock, model) = (clock(), Scripted::new([say(junk)]));
    let triager = builder(&model, &clock).attempts(5).build().unwrap();
    ask(&triager, &clock, &request(&clock)).await;
    let lengths: Vec<usize> = model.asked().iter().map(|asked| asked.user.len()).collect();
    assert_eq!(lengths.len(), 5);
    assert!(lengths[1] < lengths[0] + 150 && lengths[1..].iter().all(|length| *length == lengths[1]), "{lengths:?}");
    assert!(model.asked().iter().all(|asked| !asked.user.contains("padding")));
}

#[tokio::test]
async fn fault_10_what_a_provider_says_of_a_failure_never_enters_a_prompt() {
    let (triage, asked) = one([Err((ChatErrorKind::RateLimited, "slow_down_please")), say(GOOD)]).await;
    assert_eq!((reason(&triage), asked.len()), ("", 2));
    assert_eq!(asked[0], asked[1], "the same request again");
}

#[tokio::test]
async fn fault_11_a_second_attempt_fits_where_the_first_did() {
    let (clock, model) = (clock(), Scripted::new([say("no report")]));
    let mut asked = request(&clock);
    let line = |n: usize| ContextFinding::new(ContextKind::Log, Trust::External, format!("{n} {}", "x".repeat(490)));
    asked.context = TriageContext::assemble((0..10).map(line).collect(), Vec::new());
    ask(&builder(&model, &clock).max_evidence_bytes(3_000).build().unwrap(), &clock, &asked).await;
    let lengths: Vec<usize> = model.asked().iter().map(|asked| asked.user.len()).collect();
    assert!(lengths.len() == 2 && lengths.iter().all(|length| *length < 3_400), "{lengths:?}");
}

#[tokio::test]
async fn fault_12_bad_replies_cannot_make_an_incident_dear() {
    let (clock, model) = (clock(), Scripted::new([say("no report")]));
    let triager = builder(&model, &clock).cache_for(Duration::ZERO).budget(Budget::default().tokens_per_minute(12_000));
    let triager = triager.build().unwrap();
    let mut told = Vec::new();
    for _ in 0..200 {
        told.push(ask(&triager, &clock, &request(&clock)).await);
    }
    // Each attempt reserves some 5,000 tokens and settles 110 of them.
    assert!(model.asked().len() < 110, "{}", model.asked().len());
    assert!(reason(told.last().unwrap()).starts_with("not asked: tokens_per_minute is 12000"));
    let spent: u64 = told.iter().map(|triage| triage.provenance.input_tokens + triage.provenance.output_tokens).sum();
    assert!(spent <= 12_000, "{spent}");
}

#[tokio::test]
async fn fault_13_usage_counts_every_attempt() {
    let (triage, _) = one([Err((ChatErrorKind::Server, "")), say(GOOD)]).await;
    assert_eq!((triage.provenance.input_tokens, triage.provenance.output_tokens), (107, 10));
    let (triage, _) = one([say("no report")]).await;
    assert_eq!((triage.provenance.input_tokens, triage.provenance.output_tokens), (200, 20), "also in vain");
}

#[tokio::test]
async fn fault_14_one_more_attempt_and_then_a_hard_stop() {
    let (triage, asked) = one([say("no report")]).await;
    assert_eq!(asked.len(), 2);
    assert!(reason(&triage).starts_with("after 2 attempts: "), "{}", reason(&triage));
}

#[tokio::test]
async fn fault_15_transport_and_content_share_one_budget() {
    let (_, asked) = one([Err((ChatErrorKind::Overloaded, "")), say("no report"), say(GOOD)]).await;
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn fault_19_equal_questions_in_flight_are_one_call() {
    let (clock, model) = (clock(), Scripted::new([say(GOOD)]));
    let (triager, asked) = (builder(&model, &clock).build().unwrap(), request(&clock));
    let (one, other) = tokio::join!(triager.triage(&asked), triager.triage(&asked));
    assert_eq!((one.unwrap().report, model.asked().len()), (other.unwrap().report, 1));
}

#[tokio::test]
async fn fault_32_a_reply_that_is_the_schema_is_named_as_such() {
    let echo = r#"{"type":"object","properties":{"summary":{"type":"string"}},"required":["summary"]}"#;
    let (triage, asked) = one([say(echo)]).await;
    assert!(reason(&triage).contains("the reply is the schema"), "{}", reason(&triage));
    assert!(asked[1].user.ends_with("it was the schema, not a report that follows it.\n"));
}

#[tokio::test]
async fn fault_38_secrets_and_addresses_of_people_do_not_leave_the_house() {
    let (clock, model) = (clock(), Scripted::new([say(GOOD)]));
    let mut asked = request(&clock);
    let text = "login of jane@example.org failed, password=hunter2hunter2";
    asked.context =
        TriageContext::assemble(vec![ContextFinding::new(ContextKind::Log, Trust::External, text)], Vec::new());
    ask(&builder(&model, &clock).build().unwrap(), &clock, &asked).await;
    let sent = &model.asked()[0].user;
    assert!(!sent.contains("jane@") && !sent.contains("hunter2") && sent.contains("[REDACTED:email]"), "{sent}");
}

#[tokio::test]
async fn fault_39_the_model_is_told_that_a_redaction_is_deliberate() {
    let (_, asked) = one([say(GOOD)]).await;
    assert!(
        asked[0].system.contains("[REDACTED:...] is deliberate: a secret was taken out. It is not part of the fault.")
    );
}

#[tokio::test]
async fn fault_40_text_that_a_log_planted_does_not_reach_a_person_as_it_is() {
    let planted = r#"{"summary":"Call +1 555 0100 or open https://evil.example/fix \u001b]8;;x\u0007","likely_causes":["as the log says: \"run this\" [log:1]"],"evidence":["log:1"],"recommended_actions":["restart_pod"],"confidence":0.99,"needs_human":false}"#;
    let (triage, _) = one([say(planted)]).await;
    assert_eq!(triage.report.summary, "Call +1 555 0100 or open (link removed) ]8;;x");
    assert_eq!(triage.provenance.flags, ["unsupported_quotation", "link", "hidden_characters", "actions_for_a_person"]);
    assert!(triage.report.needs_human, "so that nothing of it runs");
}

#[tokio::test]
async fn fault_41_a_model_that_hangs_costs_its_time_and_no_more() {
    let (clock, model) = (clock(), Scripted::default());
    let asked = request(&clock);
    let triage = ask(&builder(&model, &clock).build().unwrap(), &clock, &asked).await;
    assert_eq!(time::since(clock.now(), asked.now), Duration::from_millis(29_900), "within its 30 s");
    assert!(reason(&triage).contains("timeout; allow more time") && triage.report.needs_human);
    // That an announcement waits for none of it: `nothing_delays_or_loses_an_announcement` in aiops-core.
}

#[tokio::test]
async fn fault_42_a_dead_endpoint_is_not_waited_for_each_time() {
    let (clock, model) = (clock(), Scripted::default());
    let triager = builder(&model, &clock).cache_for(Duration::ZERO).build().unwrap();
    let mut waited = Duration::ZERO;
    for _ in 0..50 {
        let began = clock.now();
        ask(&triager, &clock, &request(&clock)).await;
        waited += time::since(clock.now(), began);
    }
    assert_eq!((model.asked().len(), waited), (3, Duration::from_millis(89_700)), "three timeouts, then none is asked");
}

#[tokio::test]
async fn fault_43_a_model_without_a_price_costs_an_unknown_amount() {
    let (clock, model) = (clock(), Scripted::new([say(GOOD)]));
    let prices = Prices::default().model("another-1", ModelPrice::new(1.0, 1.0));
    let triager = builder(&model, &clock).prices(prices).build().unwrap();
    assert_eq!(ask(&triager, &clock, &request(&clock)).await.provenance.cost_dollars, None);
}
