//! A model's raw text becomes the one report that it can be, or an error that says why not.
#![allow(clippy::unwrap_used)]

use aiops_llm::reply::{ReplyError, read_reply, read_report};
use proptest::prelude::*;

const REPORT: &str = r#"{"summary":"the pool is exhausted","likely_causes":["deploy v2"],"recommended_actions":["restart_pod"],"confidence":0.8,"needs_human":false,"evidence":["deploy:1"]}"#;

fn error(text: &str) -> String {
    match read_reply(text, Some("end_turn")) {
        Ok(report) => format!("read: {report:?}"),
        Err(error) => error.to_string(),
    }
}

fn with(from: &str, to: &str) -> String {
    assert!(REPORT.contains(from));
    error(&REPORT.replace(from, to))
}

#[test]
fn one_object_alone_in_a_fence_or_in_prose_is_read() {
    let plain = read_report(REPORT).unwrap();
    assert_eq!(
        (plain.recommended_actions.as_slice(), plain.confidence.value()),
        (&["restart_pod".to_owned()][..], 0.8)
    );
    for text in [
        REPORT.to_owned(),
        format!("\n  {REPORT}\n"),
        format!("```json\n{REPORT}\n```"),
        format!("```\n{REPORT}\n```\nLet me know!"),
        format!(
            "Looking at [log:3] and {{namespace}} (see [1], [\"a\", \"b\"]), my report:\n\n{REPORT}\n\nGood luck :-}}"
        ),
        REPORT.replace(",\"needs_human\"", ",\n  \"mood\": {\"a\": [1, {}]},\n \"needs_human\""),
    ] {
        let read = read_reply(&text, Some("stop")).unwrap();
        assert_eq!(read, plain, "{text}");
    }
}

#[test]
fn two_candidates_are_not_chosen_between() {
    let said = "the reply holds two candidates: more than one JSON object";
    for text in [
        format!("{REPORT}{REPORT}"),
        format!("First I thought {{\"a\": 1}}, but: {REPORT}"),
        format!("```json\n{REPORT}\n```\nor\n```json\n{REPORT}\n```"),
        format!("{REPORT} and [{REPORT}]"),
        format!("[{REPORT}] [{REPORT}]"),
        format!("{{}} {REPORT}"),
    ] {
        assert_eq!(error(&text), said, "{text}");
    }
}

#[test]
fn a_list_a_text_or_prose_is_no_report() {
    assert_eq!(error(&format!("[{REPORT}]")), "the reply's JSON is a list, not an object");
    assert_eq!(error(&format!("[\"x\", {REPORT}]")), "the reply's JSON is a list, not an object");
    for text in ["", "restart the pod", "{restart_pod}", "\"{\\\"summary\\\":\\\"x\\\"}\"", "null", "{", "[", "[[["] {
        assert_eq!(error(text), "the reply holds no JSON object", "{text}");
    }
    assert_eq!(read_report("").unwrap_err().to_string(), "the reply holds no JSON object");
    assert_eq!(read_report("[1]").unwrap_err().to_string(), "the reply's JSON is a list, not an object");
    assert!(read_report(&format!("{REPORT} {REPORT}")).is_err());
}

#[test]
fn broken_json_is_not_read_from_its_inner_parts() {
    assert_eq!(error(&REPORT[..60]), "the reply's JSON is broken at line 1, column 60");
    assert_eq!(
        error(&format!("So:\n  {{\"wrapped\": {REPORT}")),
        format!("the reply's JSON is broken at line 2, column {}", 2 + 12 + REPORT.len())
    );
    assert!(error(&format!("[{REPORT}, oops]")).contains("is broken"));
    for wrong in ["NaN", "Infinity", "1e400", "0.8.1", ".8", "+0.8", "08"] {
        assert!(with("0.8", wrong).contains("is broken"), "{wrong}");
    }
    assert!(with("}", ",}").contains("is broken"), "a trailing comma");
}

#[test]
fn a_wrong_field_is_named() {
    for (from, to, said) in [
        ("0.8", "1.5", "confidence must be a number from 0 to 1, not 1.5"),
        ("0.8", "-0.1", "confidence must be a number from 0 to 1, not -0.1"),
        ("0.8", "\"0.9\"", "confidence must be a number from 0 to 1, not text"),
        ("0.8", "true", "confidence must be a number from 0 to 1, not a boolean"),
        ("0.8", "null", "confidence must be a number from 0 to 1, not null"),
        ("\"confidence\":0.8,", "", "the report has no confidence"),
        ("\"needs_human\":false,", "", "the report has no needs_human"),
        ("false", "\"no\"", "needs_human must be true or false, not text"),
        ("false", "0", "needs_human must be true or false, not a number"),
        ("[\"restart_pod\"]", "\"restart_pod\"", "recommended_actions must be a list of texts, not text"),
        (
            "[\"restart_pod\"]",
            "[{\"name\":\"restart_pod\"}]",
            "recommended_actions must be a list of texts, not a list with an object",
        ),
        ("[\"deploy:1\"]", "null", "evidence must be a list of texts, not null"),
        ("\"the pool is exhausted\"", "7", "summary must be text, not a number"),
        ("\"needs_human\"", "\"confidence\":0.1,\"needs_human\"", "duplicate key \"confidence\" in the report"),
        ("\"needs_human\"", "\"confid\\u0065nce\":0.1,\"needs_human\"", "duplicate key \"confidence\" in the report"),
        ("\"needs_human\"", "\"mood\":1,\"mood\":1,\"needs_human\"", "duplicate key \"mood\" in the report"),
    ] {
        assert_eq!(with(from, to), said);
    }
    assert_eq!(error(&REPORT.replace(",\"evidence\":[\"deploy:1\"]", "")), error(REPORT).replace("\"deploy:1\"", ""));
}

#[test]
fn the_stop_reason_decides_before_the_text_is_read() {
    for reason in ["end_turn", "stop", "stop_sequence", "completed", "eos_token"] {
        assert!(read_reply(REPORT, Some(reason)).is_ok(), "{reason}");
    }
    let said = |reason| read_reply(REPORT, reason).unwrap_err();
    for reason in ["max_tokens", "length", "model_context_window_exceeded", "max_output_tokens", "incomplete"] {
        assert!(matches!(said(Some(reason)), ReplyError::Truncated { reason: told } if told == reason));
    }
    for reason in ["refusal", "content_filter"] {
        assert!(matches!(said(Some(reason)), ReplyError::Refused { .. }));
    }
    for reason in ["tool_use", "tool_calls", "function_call", "pause_turn"] {
        assert!(matches!(said(Some(reason)), ReplyError::Unfinished { .. }));
    }
    for reason in [None, Some("")] {
        assert!(matches!(said(reason), ReplyError::NoStopReason));
    }
    let text = said(Some("END_TURN")).to_string();
    assert_eq!(text, "unknown stop reason END_TURN: whether the reply is whole is not known");
    assert!(said(Some(&"x".repeat(1_000))).to_string().len() < 150);
}

#[test]
fn asking_again_helps_only_where_the_model_answered() {
    assert!(read_reply("prose", Some("stop")).unwrap_err().is_retryable());
    assert!(!read_reply(REPORT, Some("refusal")).unwrap_err().is_retryable());
    assert!(!read_reply(REPORT, Some("length")).unwrap_err().is_retryable());
}

#[test]
fn hostile_text_is_bounded() {
    let long = format!("{REPORT}{}", " ".repeat(64 << 10));
    assert!(matches!(read_reply(&long, Some("stop")), Err(ReplyError::TooLong { .. })));
    for unit in ["{", "[", "{\"a\":", "[\"a\",", "{\"a\":[", "[[\"", "[{", "[\"{", "{}", "[ "] {
        let text = unit.repeat((64 << 10) / unit.len());
        assert!(read_reply(&text, Some("stop")).is_err(), "{unit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever stands around or inside, a report that is read is one that the text holds.
    #[test]
    fn no_report_is_made_up(
        parts in prop::collection::vec(
            prop_oneof![
                4 => Just(REPORT.to_owned()),
                4 => "[ a-z{}\\[\\]\",:]{0,12}",
                1 => any::<String>(),
                2 => (0..REPORT.len()).prop_map(|cut| REPORT[..cut].to_owned()),
            ],
            0..5,
        ),
    ) {
        let text = parts.concat();
        if let Ok(report) = read_reply(&text, Some("end_turn")) {
            // `evidence` may be left out: what is cut off before it and closed by chance is whole.
            let (required, _) = REPORT.split_once(",\"evidence\"").unwrap();
            prop_assert_eq!(text.matches(required).count(), 1, "{}", text);
            let evidence = report.evidence.clone();
            prop_assert_eq!(report, read_report(REPORT).unwrap().evidence(evidence));
        }
    }
}
