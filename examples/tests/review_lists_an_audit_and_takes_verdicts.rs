//! The program `review`, from the audit file to verdicts, export and figures.
#![allow(clippy::unwrap_used)] // helpers outside `#[test]`

use std::path::{Path, PathBuf};

use aiops_core::jiff::Timestamp;
use aiops_core::testing::samples;
use aiops_core::{Plan, Redactor, ReviewedCase, RuleVerdict, Verdict};
use aiops_examples::review::run;
use aiops_remediate::{AuditChain, AuditEntry, ReportRecord, verify};
use serde_json::Value;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_746_432_300 + second).unwrap()
}

/// A fresh file with three decisions, the first eight days before the last.
fn audit(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut chain = AuditChain::default();
    let mut text = String::new();
    for (number, second) in [(1, 0), (2, 7 * 86_400), (3, 8 * 86_400)] {
        let triaged = samples::triaged(samples::event("checkout", &number.to_string(), at(second)), &["restart_pod"]);
        let rule = RuleVerdict::new("confidence", true, "").input("confidence", 0.8).input("threshold", 0.75);
        let record = ReportRecord::new(triaged, Plan::new(vec![], vec![rule]), at(second));
        let line = chain.next(&AuditEntry::decision(&record, &Redactor::default())).unwrap();
        chain.advance(&line);
        text.push_str(&line.text);
    }
    std::fs::write(&path, text).unwrap();
    let _ = std::fs::remove_file(verdicts(&path));
    path
}

fn verdicts(audit: &Path) -> PathBuf {
    PathBuf::from(format!("{}.verdicts.jsonl", audit.display()))
}

fn review(audit: &Path, more: &[&str]) -> Result<(bool, String), String> {
    let arguments: Vec<String> =
        std::iter::once(audit.to_str().unwrap()).chain(more.iter().copied()).map(str::to_owned).collect();
    let mut output = Vec::new();
    let all_read = run(&arguments, at(9 * 86_400), &mut output)?;
    Ok((all_read, String::from_utf8(output).unwrap()))
}

fn numbers(json: &str) -> Vec<u64> {
    let report: Value = serde_json::from_str(json).unwrap();
    report["items"].as_array().unwrap().iter().map(|item| item["number"].as_u64().unwrap()).collect()
}

#[test]
fn the_last_week_is_listed_unless_told_otherwise() {
    let audit = audit("review-week.jsonl");
    let (all_read, page) = review(&audit, &[]).unwrap();
    assert!(all_read && page.starts_with("# Review of 2025-05-06T08:05:01Z to 2025-05-13T08:05:01Z\n"), "{page}");
    assert!(page.contains("\n2 reports passed the threshold; 0 of them have a verdict"), "{page}");
    assert_eq!(numbers(&review(&audit, &["--json"]).unwrap().1), [2, 3]);
    assert_eq!(numbers(&review(&audit, &["--json", "--from", "2025-05-01T00:00:00Z"]).unwrap().1), [1, 2, 3]);
}

#[test]
fn verdicts_are_appended_and_exported() {
    let audit = audit("review-verdicts.jsonl");
    assert_eq!(review(&audit, &["--verdict", "2", "wrong", "--by", "jane"]).unwrap().1, "2 is wrong, by jane\n");
    review(&audit, &["--verdict", "2", "right", "--by", "ann", "--note", "it was the pod"]).unwrap();
    let text = std::fs::read(verdicts(&audit)).unwrap();
    assert_eq!(verify(&text[..]).unwrap().records, 2, "a chain of its own, in which nothing is changed");
    let (_, page) = review(&audit, &[]).unwrap();
    assert!(page.contains("right by ann, the last of 2: it was the pod"), "{page}");
    assert!(page.contains("at 0.75 (0 of 1;"), "the threshold is that of the audit: {page}");

    let cases = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("review-cases.jsonl");
    review(&audit, &["--export", cases.to_str().unwrap()]).unwrap();
    let cases = std::fs::read_to_string(cases).unwrap();
    let cases: Vec<ReviewedCase> = cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((cases.len(), cases[0].verdict, cases[0].at), (1, Verdict::Right, at(9 * 86_400)));
}

#[test]
fn bad_lines_make_the_program_say_so() {
    let audit = audit("review-bad.jsonl");
    let text = std::fs::read_to_string(&audit).unwrap().replacen("checkout", "checkin", 1);
    std::fs::write(&audit, text).unwrap();
    let (all_read, page) = review(&audit, &[]).unwrap();
    assert!(!all_read && page.contains("**1 lines of the audit could not be used; verify it.**"), "{page}");
    assert!(page.contains("2 reports passed the threshold"), "{page}");
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let audit = audit("review-errors.jsonl");
    for (more, wanted) in [
        (&["--verdict", "7", "right", "--by", "jane"][..], "\"7\" is no report that passed the threshold"),
        (&["--verdict", "2", "right"], "a verdict needs --by NAME"),
        (&["--verdict", "2", "Right", "--by", "jane"], "--verdict \"Right\": it is right, wrong or unclear"),
        (&["--wanted-error", "1"], "--wanted-error \"1\": it must be above 0 and below 1"),
        (&["--threshold", "2"], "--threshold \"2\": "),
        (&["--from", "monday"], "--from \"monday\": "),
        (&["--nonsense"], "unexpected \"--nonsense\""),
    ] {
        let error = review(&audit, more).unwrap_err();
        assert!(error.starts_with(wanted), "{error}");
    }
    assert!(run(&[], at(0), &mut Vec::new()).unwrap_err().starts_with("usage: review "));
    assert!(!verdicts(&audit).exists());
}
