use aiops_core::testing::samples;
use aiops_core::{ActionName, MenuEntry, Placeholders, jiff::Timestamp};

use super::*;
use crate::prompt::Hide;

/// What is odd about a report with this summary and these causes, over a context of one deploy (`deployed v2, 6m
/// before`) and one log line (`pool exhausted (40 in 5m)`).
fn flags(summary: &str, causes: &[&str]) -> (TriageReport, Vec<Flag>) {
    let report = TriageReport::new(summary)
        .likely_causes(causes.iter().copied())
        .recommended_actions(["restart_pod"])
        .needs_human(false)
        .evidence(["deploy:1"]);
    flags_of(report)
}

fn flags_of(mut report: TriageReport) -> (TriageReport, Vec<Flag>) {
    let request = samples::request(samples::event("checkout", "a", Timestamp::UNIX_EPOCH));
    let menu = ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod").unwrap(), "restarts")]);
    let (secrets, names) = (Redactor::default(), Placeholders::default());
    let hide = Hide { secrets: &secrets, names: &names };
    let prompt = crate::prompt::user(&request, "salt", 10_000, hide).unwrap();
    let flags = examine(&mut report, &request, &menu, &prompt, &secrets);
    (report, flags)
}

#[test]
fn a_report_that_says_what_its_context_says_has_no_flags() {
    for (summary, cause) in [
        ("checkout is slow since v2 was deployed 6m before.", "v2 exhausts the pool [deploy:1, log:1]"),
        ("The log says \"pool exhausted\" 40 times.", "\"Pool  Exhausted (40 ...\" [log:1]"),
        ("0.85 s against 0.12 s expected, a score of 7.1", "a deploy [ev:deploy:1]"),
        ("P99LatencyAnomaly at 00:00:00 on checkout", "[event:1] says so"),
        ("p99 rose to 0.9 s, which is 85 %", "rounding is no invention [event:1]"),
    ] {
        let (report, found) = flags(summary, &[cause]);
        assert_eq!(found, [], "{summary} {cause}");
        assert!(!report.needs_human);
    }
}

#[test]
fn invented_evidence_and_quotations_ask_for_a_person() {
    for (summary, cause, flag) in [
        ("slow", "the pool [log:99]", Flag::UnknownEvidence),
        ("slow, the log says \"disk is full\"", "the pool [log:1]", Flag::UnsupportedQuotation),
        ("slow", "`kubectl delete ns` is needed [log:1]", Flag::UnsupportedQuotation),
        ("see https://evil.example/x?q=1", "the pool [log:1]", Flag::Link),
        ("![a](https://evil.example/p.png)", "the pool [log:1]", Flag::Link),
        ("slow\u{202e}", "the pool [log:1]", Flag::Hidden),
        ("slow, password=hunter2hunter2", "the pool [log:1]", Flag::Secret),
    ] {
        let (report, found) = flags(summary, &[cause]);
        assert!(found.contains(&flag) && report.needs_human, "{summary} {cause}: {found:?}");
        assert!(found.contains(&Flag::ActionsForAPerson), "and nothing of it runs");
    }
    let (report, found) = flags_of(TriageReport::new("slow").likely_causes(["the pool"]).needs_human(false));
    assert!(found.contains(&Flag::NoEvidence) && report.needs_human);
    let (_, found) = flags_of(TriageReport::new("nothing is wrong").needs_human(false));
    assert_eq!(found, [], "who claims nothing needs no evidence");
}

#[test]
fn numbers_and_names_that_are_not_there_only_flag() {
    for (summary, flag) in [
        ("the cpu is at 99 % on checkout", Flag::UnsupportedNumber),
        ("latency rose to 14.2 s", Flag::UnsupportedNumber),
        ("since v3.1.4", Flag::UnsupportedNumber),
        ("at 12:03:44", Flag::UnsupportedNumber),
        ("because payments-db-0 is down", Flag::UnsupportedName),
        ("pod checkout-7f9c4d-x2x1z is down", Flag::UnsupportedName),
    ] {
        let (report, found) = flags(summary, &["the pool [log:1]"]);
        assert_eq!((found, report.needs_human), (vec![flag], false), "{summary}");
    }
}

#[test]
fn links_are_taken_out_and_the_rest_stays() {
    for (text, wanted) in [
        ("see https://a.b/c now", "see (link removed) now"),
        ("<https://a.b|click>", "(link removed)"),
        ("[run](javascript:alert(1)) it", "[run (link removed) it"),
        ("www.evil.example", "(link removed)"),
        ("data:text/html;base64,AAAA", "(link removed)"),
        ("ratio 3:4, http://, and data: none", "ratio 3:4, (link removed) and data: none"),
        ("custom+app://x/y", "(link removed)"),
    ] {
        assert_eq!(words::without_links(text).0, wanted, "{text}");
    }
}

#[test]
fn actions_collapse_and_unknown_ones_are_told() {
    let report = TriageReport::new("slow").recommended_actions(vec!["restart_pod"; 100]).needs_human(false);
    let (report, found) = flags_of(report.evidence(["deploy:1"]));
    assert_eq!((report.recommended_actions.len(), found), (1, vec![Flag::RepeatedAction]));
    for name in ["Restart_Pod", "restart_pod ", "r\u{435}start_pod", "rm_rf"] {
        let report = TriageReport::new("slow").recommended_actions([name]).evidence(["deploy:1"]).needs_human(false);
        let (report, found) = flags_of(report);
        assert_eq!(found, [Flag::UnknownAction], "{name}");
        assert_eq!(report.recommended_actions, [name], "as it came: the responder rejects it");
    }
}

#[test]
fn a_link_begins_behind_any_character() {
    for (cause, left) in [("\u{2026}://x", "\u{2026} (link removed)"), ("\u{e9}gopher://x", "\u{e9} (link removed)")] {
        let (report, found) = flags("slow", &[cause]);
        assert_eq!(report.likely_causes, [left]);
        assert!(found.contains(&Flag::Link), "{found:?}");
    }
}

#[test]
fn bounds_name_what_breaks_them() {
    let long = "x".repeat(2_001);
    for (report, wanted) in [
        (TriageReport::new(" "), "the summary is empty"),
        (TriageReport::new(long.clone()), "the summary has 2001 bytes, at most 2000 are read"),
        (TriageReport::new("s").likely_causes(vec!["c"; 6]), "there are 6 causes, at most 5 are read"),
        (TriageReport::new("s").likely_causes(["c", ""]), "cause 2 has 0 bytes, from 1 to 500 are read"),
        (TriageReport::new("s").likely_causes([long]), "cause 1 has 2001 bytes, from 1 to 500 are read"),
        (
            TriageReport::new("s").recommended_actions((0..21).map(|n| n.to_string())),
            "there are 21 different actions, at most 20 are read",
        ),
    ] {
        assert_eq!(bounds(&report).unwrap_err().to_string(), wanted);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics_and_cleaning_twice_changes_nothing(summary in "\\PC{0,200}", cause in "[ -~\u{200b}\u{201c}\u{201d}…]{0,120}") {
        let (report, _) = flags(&summary, &[&cause]);
        let again = flags(&report.summary, &[&report.likely_causes[0]]).0;
        proptest::prop_assert_eq!(&report.summary, &again.summary);
        proptest::prop_assert_eq!(&report.likely_causes, &again.likely_causes);
    }
}
