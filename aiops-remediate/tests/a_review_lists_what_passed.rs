//! The weekly review, from a generated audit: what passed the threshold, what became of it, what people said, and
//! whether confidences can be trusted.
#![cfg(feature = "review")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod common;

use aiops_core::calibration::{Advice, CalibrationSettings};
use aiops_core::{
    Confidence, Disposition, Outcome, Recovered, Redactor, Response, ReviewedCase, TriageReport, Triaged, Verdict,
};
use aiops_remediate::review::{Review, ReviewReport};
use aiops_remediate::{
    ActionCatalogue, AuditEntry, AuditLog, ChainEnd, JournalEntry, JournalState, MemoryAudit, Policy, PolicyState,
    ReportRecord, StepEnd,
};
use common::{at, event, request, triaged_with};

const CATALOGUE: &str = "actions:
  - {name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false}
  - {name: drain_node, owner: infra, blast_radius: node, requires_approval: true}
";
const MINUTE: i64 = 60;

fn redactor() -> Redactor {
    Redactor::default()
}

/// A report of a model on an event of minute `number`.
fn report(number: u64, model: &str, confidence: f64) -> Triaged {
    let labels = [("namespace", "shop"), ("pod", "cart-1")];
    let event = event(number, "cart", &labels, at(number as i64 * MINUTE));
    let report = TriageReport::new("the pod hangs")
        .likely_causes(["cart: deployed v2 6 min before"])
        .recommended_actions(["restart_pod"])
        .confidence(Confidence::new(confidence).unwrap())
        .needs_human(false);
    let mut triaged = triaged_with(event, report);
    (triaged.provenance.model, triaged.provenance.prompt_version) = (Some(model.to_owned()), Some("p1".to_owned()));
    triaged
}

/// An audit log under construction, as a dispatcher writes it.
struct Audit(MemoryAudit);

impl Audit {
    fn new() -> Self {
        Self(MemoryAudit::default())
    }

    async fn append(&self, entry: AuditEntry) {
        self.0.append(entry).await.unwrap();
    }

    /// The decision of the default policy on a report.
    async fn decide(&self, triaged: &Triaged) -> ReportRecord {
        let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
        let now = triaged.event.observed();
        let verdict = Policy::default().plan(&catalogue, triaged, &PolicyState::default(), now);
        let acts = verdict.disposition == Disposition::WouldExecute;
        let answer =
            || Response::new(triaged.incident_id.clone(), verdict.disposition.clone(), verdict.plan.clone(), now);
        let record = ReportRecord::new(triaged.clone(), verdict.plan.clone(), now)
            .versions("c1", "p1")
            .response((!acts).then(answer));
        self.append(AuditEntry::decision(&record, &redactor())).await;
        record
    }

    async fn end(&self, record: &ReportRecord, disposition: Disposition, outcome: Outcome) {
        let mut plan = record.plan.clone();
        plan.steps[0].outcome = Some(outcome);
        "done and it helped: uid-2".clone_into(&mut plan.steps[0].reason);
        let response = Response::new(record.triaged.incident_id.clone(), disposition, plan, record.at);
        self.append(AuditEntry::answer(&record.triaged, &response, &redactor())).await;
    }

    fn review(&self) -> Review {
        let mut review = Review::default();
        review.read("audit", self.0.text().as_bytes(), ChainEnd::start());
        review
    }

    async fn judge(&self, id: &str, verdict: Verdict, by: &str, note: &str) {
        let entry = self.review().find(id).unwrap().verdict_entry(verdict, by, note, at(9_000), &redactor());
        self.append(entry).await;
    }
}

fn settings(review: &Review) -> CalibrationSettings {
    CalibrationSettings::new(review.threshold())
}

fn whole(review: &Review) -> ReviewReport {
    review.report(at(-1), at(100_000), &settings(review))
}

#[tokio::test]
async fn everything_that_passed_the_threshold_is_listed_with_what_became_of_it() {
    let audit = Audit::new();
    let helped = audit.decide(&report(1, "m", 0.9)).await;
    audit.end(&helped, Disposition::Executed, Outcome::Helped).await;
    audit.decide(&report(2, "m", 0.69)).await;
    // Exactly the threshold passes; refused for another reason, it is listed all the same.
    let mut no_target = report(3, "m", 0.7);
    no_target.event.labels.clear();
    audit.decide(&no_target).await;
    let crashed = audit.decide(&report(4, "m", 0.8)).await;
    let entry = JournalEntry::new(crashed.id.clone(), 0, request("restart_pod", "cart-1", 4), at(0));
    let executing = JournalState::Executing { precondition: Default::default() };
    audit.append(AuditEntry::step(&entry, &executing, at(241), &redactor())).await;
    let recovered = audit.decide(&report(5, "m", 0.8)).await;
    let entry = JournalEntry::new(recovered.id.clone(), 0, request("restart_pod", "cart-1", 5), at(0));
    let unknown = JournalState::Ended(StepEnd::Unknown { reason: "interrupted".to_owned() });
    audit.append(AuditEntry::step(&entry, &unknown, at(301), &redactor())).await;
    let escalated = Disposition::Escalated { reason: "interrupted".to_owned() };
    let response = Response::new(recovered.triaged.incident_id.clone(), escalated, recovered.plan.clone(), at(302));
    let unfinished = audit.review();
    let step = &unfinished.find("7").unwrap().steps[0];
    assert_eq!((step.reason.as_str(), step.outcome), ("interrupted", Some(Outcome::Unknown)));
    let found = Recovered::new(recovered.triaged.clone(), response);
    audit.append(AuditEntry::recovered(&found, &redactor())).await;
    audit.append(AuditEntry::approval(&helped.triaged, "approved", "jane@shop.example", "", at(60), &redactor())).await;

    let review = audit.review();
    let report = whole(&review);
    let seen: Vec<_> = report
        .items
        .iter()
        .map(|item| (item.number, item.disposition.as_ref().map(Disposition::as_str), item.steps[0].outcome))
        .collect();
    assert_eq!(
        seen,
        [
            (1, Some("executed"), Some(Outcome::Helped)),
            (4, Some("escalated"), None),
            (5, None, None),
            (7, Some("escalated"), None),
        ]
    );
    assert_eq!((report.records, report.bad_lines), (10, 0));
    assert_eq!(report.items[2].steps[0].reason, "it began; the audit does not say how it ended");
    assert_eq!(report.items[0].approval.as_deref(), Some("approved by jane@shop.example"));
    assert_eq!(review.threshold().value(), 0.7);
    // Half-open: the report of minute 3 is decided at its beginning.
    let some = review.report(at(3 * MINUTE), at(4 * MINUTE), &settings(&review));
    assert_eq!(some.items.iter().map(|item| item.number).collect::<Vec<_>>(), [4]);
}

#[tokio::test]
async fn the_last_verdict_counts_and_none_is_lost() {
    let audit = Audit::new();
    audit.decide(&report(1, "m", 0.9)).await;
    audit.decide(&report(2, "m", 0.9)).await;
    audit.judge("1", Verdict::Wrong, "jane", "it was the node").await;
    audit.judge("1", Verdict::Right, "ann", "").await;
    let by_id = audit.review().find("2").unwrap().report.to_string();
    audit.judge(&by_id, Verdict::Unclear, "jane", "").await;
    assert!(audit.review().find("3").is_none(), "a verdict is no report");

    let review = audit.review();
    let first = review.find("1").unwrap().verdict.clone().unwrap();
    assert_eq!((first.verdict, first.by.as_str(), first.given), (Verdict::Right, "ann", 2));
    let counts = whole(&review).verdicts();
    assert_eq!((counts.right, counts.wrong, counts.unclear, counts.open), (1, 0, 1, 0));
    let text = audit.0.text();
    assert!(text.contains("it was the node"), "the first one stays in the log");

    let cases: Vec<ReviewedCase> = review.cases();
    let lines: Vec<String> = cases.iter().map(|case| serde_json::to_string(case).unwrap()).collect();
    let read: Vec<ReviewedCase> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, cases);
    let case = &cases[0];
    assert_eq!((case.triager.as_str(), case.model.as_deref(), case.verdict), ("test", Some("m"), Verdict::Right));
    assert_eq!((case.confidence.value(), case.at), (0.9, at(9_000)));
}

#[tokio::test]
async fn verdicts_may_stand_in_a_file_beside_the_audit() {
    let (audit, verdicts) = (Audit::new(), Audit::new());
    audit.decide(&report(1, "m", 0.9)).await;
    let entry = audit.review().find("1").unwrap().verdict_entry(Verdict::Wrong, "jane", "", at(9_000), &redactor());
    verdicts.append(entry).await;
    let mut review = audit.review();
    review.read("verdicts", verdicts.0.text().as_bytes(), ChainEnd::start());
    assert_eq!(whole(&review).verdicts().wrong, 1);
}

#[tokio::test]
async fn each_model_is_calibrated_for_itself_and_too_few_cases_give_no_advice() {
    let audit = Audit::new();
    let mut number = 0;
    for (model, cases) in [("few", 28), ("enough", 29)] {
        for _ in 0..cases {
            number += 1;
            audit.decide(&report(number, model, 0.9)).await;
        }
    }
    audit.decide(&report(number + 1, "unjudged", 0.9)).await;
    audit.decide(&report(number + 2, "unclear", 0.9)).await;
    for id in 1..=number {
        audit.judge(&id.to_string(), Verdict::Right, "jane", "").await;
    }
    audit.judge(&(number + 2).to_string(), Verdict::Unclear, "jane", "").await;

    let report = whole(&audit.review());
    let models: Vec<_> = report.models.iter().map(|model| model.model.as_deref().unwrap()).collect();
    assert_eq!(models, ["enough", "few", "unclear"], "one without a verdict has nothing to measure");
    let calibration = report.models[0].calibration.as_ref().unwrap();
    assert!(matches!(calibration.advice, Advice::Threshold(at) if at.threshold == 0.9 && at.accepted == 29));
    // By hand: (0.9 - 1)^2.
    assert!((calibration.brier.score - 0.01).abs() < 1e-12);
    assert_eq!((calibration.at_threshold.accepted, calibration.at_threshold.errors), (29, 0));
    // Wilson for 0 of 29: 1.96^2 / (29 + 1.96^2).
    assert!((calibration.at_threshold.interval.high - 0.116_969).abs() < 1e-5, "{:?}", calibration.at_threshold);
    let few = report.models[1].calibration.as_ref().unwrap();
    assert_eq!(few.advice, Advice::TooFew { cases: 28, needed: 29 });
    assert_eq!(report.models[2].no_calibration.as_deref(), Some("there is no judged case"));
    let page = report.to_markdown();
    for line in [
        "take a threshold of 0.9: 29 of 29 were right",
        "no advice: 28 cases are too few, 29 are needed even if all are right",
        "No figures: there is no judged case.",
        "| wrong among what passes the threshold | 0.0 % at 0.7 (0 of 29; 95 %: 0.0 % to 11.7 %) |",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn bad_lines_are_named_and_counted_and_the_rest_is_listed() {
    let audit = Audit::new();
    for number in 1..=6 {
        audit.decide(&report(number, "m", 0.9)).await;
    }
    audit.judge("6", Verdict::Right, "jane", "").await;
    let text = audit.0.text();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[1] = lines[1].replace("the pod hangs", "the pod sleeps");
    lines[3] = "not json".to_owned();
    let mut review = Review::default();
    review.read("a.jsonl", (lines.join("\n") + "\n{\"aiops").as_bytes(), ChainEnd::start());
    let report = whole(&review);
    assert_eq!(report.items.iter().map(|item| item.number).collect::<Vec<_>>(), [1, 3, 5, 6]);
    assert_eq!(report.verdicts().right, 1);
    let bad: Vec<(u64, &str)> = report.bad.iter().map(|bad| (bad.line, bad.why.as_str())).collect();
    assert_eq!(
        bad,
        [
            (2, "its hash is not that of its text: the line was changed"),
            (4, "it is no record: expected ident at line 1 column 2"),
            (8, "it is cut short after 7 bytes"),
        ]
    );
    let page = report.to_markdown();
    assert!(page.contains("**3 lines of the audit could not be used; verify it.**"), "{page}");
    assert!(page.contains("- a.jsonl line 2: its hash is not that of its text: the line was changed"), "{page}");
}

#[tokio::test]
async fn a_decision_without_inputs_and_a_verdict_on_nothing_are_told() {
    let audit = Audit::new();
    let record = audit.decide(&report(1, "m", 0.9)).await;
    let mut cut = AuditEntry::decision(&ReportRecord::new(report(2, "m", 0.9), record.plan, at(120)), &redactor());
    cut.inputs = Some(serde_json::json!({"left_out": "too long"}));
    audit.append(cut).await;
    let mut verdict = AuditEntry::approval(&report(9, "m", 0.9), "right", "jane", "", at(0), &redactor());
    verdict.kind = "verdict".into();
    audit.append(verdict.clone()).await;
    let mut odd = audit.review().find("1").unwrap().verdict_entry(Verdict::Right, "jane", "", at(0), &redactor());
    odd.word = Some("maybe".to_owned());
    audit.append(odd).await;
    let report = whole(&audit.review());
    let bad: Vec<&str> = report.bad.iter().map(|bad| bad.why.as_str()).collect();
    assert_eq!(bad[0], "the inputs of decision 2 do not read: missing field `incident_id`");
    assert!(bad[1].starts_with("a verdict on inc-") && bad[1].ends_with("which is not here"), "{}", bad[1]);
    assert_eq!(bad[2], "verdict \"maybe\" is none");
    assert_eq!((report.items.len(), report.verdicts().open), (1, 1));
}

#[tokio::test]
async fn the_newest_reports_are_kept_and_the_others_counted() {
    let audit = Audit::new();
    for number in 1..=5 {
        audit.decide(&report(number, "m", 0.9)).await;
    }
    audit.judge("1", Verdict::Wrong, "jane", "").await;
    audit.judge("5", Verdict::Right, "jane", "").await;
    let mut review = Review::new(2);
    review.read("a", audit.0.text().as_bytes(), ChainEnd::start());
    let report = whole(&review);
    assert_eq!(report.items.iter().map(|item| item.number).collect::<Vec<_>>(), [4, 5]);
    assert_eq!((report.left_out, report.bad_lines, report.verdicts().right), (3, 0, 1));
}

#[tokio::test]
async fn hostile_text_makes_no_markup_in_the_page() {
    let hostile = "</td><script>alert(1)</script> | ![x](http://evil.test/p.png) [see](javascript:x)\n# head\u{202e}\u{1b}[31m @here";
    let audit = Audit::new();
    let mut triaged = report(1, hostile, 0.9);
    triaged.event.service = hostile.into();
    triaged.report.summary = hostile.to_owned();
    triaged.report.likely_causes = vec![hostile.to_owned()];
    triaged.provenance.triager = hostile.to_owned();
    let record = audit.decide(&triaged).await;
    audit.end(&record, Disposition::Escalated { reason: hostile.to_owned() }, Outcome::Unknown).await;
    audit.judge("1", Verdict::Right, hostile, hostile).await;
    let report = whole(&audit.review());
    let page = report.to_markdown();
    for acts in ["](http", "](java", "![x](", "http://", "@here", "\u{202e}", "\u{1b}", "javascript:x", "\n# head"] {
        assert!(!page.contains(acts), "{acts:?} stands in\n{page}");
    }
    // Each cell stays one cell: bars of text are escaped.
    let row = page.lines().find(|line| line.starts_with("| 1 |")).unwrap();
    assert_eq!(row.replace("\\|", "").matches('|').count(), 10, "{row}");
    let tags = page.match_indices("<script").filter(|(at, _)| !page[..*at].ends_with('\\')).count();
    assert_eq!(tags, 0, "{page}");
    let json = serde_json::to_value(&report).unwrap();
    assert!(!json.to_string().contains('\u{202e}'));
}
