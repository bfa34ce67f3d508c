//! Recorded incidents are read, replayed and scored as documented.
#![cfg(feature = "evaluate")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test]

use std::time::Duration;

use aiops_core::calibration::CalibrationSettings;
use aiops_core::testing::{ManualClock, samples};
use aiops_core::{
    ActionMenu, ActionName, Clock, Confidence, MenuEntry, Provenance, Triage, TriageError, TriageReport, TriageRequest,
    Triager, jiff::Timestamp,
};
use aiops_llm::evaluate::{
    ActionScore, Answered, CauseKeywords, Evaluation, EvaluationReport, Expected, Gate, IncidentProblem, IncidentSet,
    RecordedIncident,
};
use async_trait::async_trait;

fn menu() -> ActionMenu {
    let entry = |name| MenuEntry::new(ActionName::new(name).unwrap(), "does something");
    ActionMenu::new(["restart_pod", "rollback_deployment", "failover_region"].map(entry).into())
}

fn keywords(required: &[&str], forbidden: &[&str]) -> CauseKeywords {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    CauseKeywords { required: owned(required), forbidden: owned(forbidden) }
}

/// An incident whose cause is checkout's deploy of v2, which a rollback mends.
fn incident(name: &str) -> RecordedIncident {
    let event = samples::event("checkout", name, Timestamp::UNIX_EPOCH);
    let context = samples::context(&event);
    let mut incident = RecordedIncident::new(name, event, context);
    incident.expected = serde_json::from_value::<Expected>(serde_json::json!({
        "causes": [{"required": ["checkout", "v2|deploy"], "forbidden": ["payments"]}],
        "acceptable_actions": ["rollback_deployment"],
        "forbidden_actions": ["failover_region"],
        "should_escalate": false,
    }))
    .unwrap();
    incident
}

fn set(incidents: Vec<RecordedIncident>) -> IncidentSet {
    let mut set = IncidentSet::default();
    set.incidents = incidents;
    set.menu = Some(menu());
    set
}

fn report(cause: &str, actions: &[&str], confidence: f64) -> TriageReport {
    TriageReport::new("it is slow")
        .likely_causes([cause])
        .recommended_actions(actions.iter().copied())
        .confidence(Confidence::new(confidence).unwrap())
        .needs_human(false)
        .evidence(["deploy:1"])
}

/// Answers each incident by what follows in its name.
#[derive(Debug)]
struct ByName(fn(&str, usize) -> Result<Triage, TriageError>, std::sync::Mutex<usize>);

impl ByName {
    fn new(answer: fn(&str, usize) -> Result<Triage, TriageError>) -> Self {
        Self(answer, std::sync::Mutex::new(0))
    }
}

#[async_trait]
impl Triager for ByName {
    fn name(&self) -> &str {
        "by-name"
    }

    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
        let asked = {
            let mut asked = self.1.lock().unwrap();
            *asked += 1;
            *asked
        };
        let name = request.incident_id.as_str().strip_prefix("inc-").unwrap().to_owned();
        if name == "late" {
            std::future::pending::<()>().await;
        }
        (self.0)(&name, asked)
    }
}

fn own(report: TriageReport) -> Result<Triage, TriageError> {
    let mut provenance = Provenance::new("by-name");
    provenance.model = Some("m-1".to_owned());
    (provenance.input_tokens, provenance.output_tokens) = (100, 10);
    Ok(Triage::new(report, provenance))
}

/// Runs an evaluation whose clock moves on when everybody sleeps.
async fn run(evaluation: Evaluation, triager: &ByName, set: &IncidentSet) -> EvaluationReport {
    let clock = ManualClock::at_second(1_000_000);
    let evaluation = evaluation.with_clock(clock.clone());
    let moving = async {
        loop {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if let Some(at) = clock.next_wake() {
                clock.set(at.max(clock.now()));
            }
        }
    };
    tokio::select! {
        biased;
        report = evaluation.run(triager, set) => report,
        () = moving => unreachable!(),
    }
}

#[tokio::test]
async fn each_answer_is_scored_for_cause_and_action() {
    let triager = ByName::new(|name, _| {
        let right = "Checkout is slow since its deploy of v2 [deploy:1]";
        own(match name {
            "right" => report(right, &["rollback_deployment"], 0.9),
            "right-cause-harmful-action" => report(right, &["rollback_deployment", "failover_region"], 0.9),
            "wrong-cause-safe" => report("payments: checkout's deploy v2 is innocent", &[], 0.9),
            "second-cause" => report("the database", &["restart_pod"], 0.9).likely_causes(["the database", right]),
            "invented-action" => report(right, &["rm_rf"], 0.2),
            "invented-citation" => report(right, &["rollback_deployment"], 0.9).evidence(["log:99"]),
            "asks" => report(right, &["failover_region"], 0.9).needs_human(true),
            _ => panic!("{name}"),
        })
    });
    let cases = [
        // name, first cause, any cause, actions, would act, acts wrongly, escalates, citations hold
        ("right", true, true, ActionScore::Acceptable, true, false, false, true),
        ("right-cause-harmful-action", true, true, ActionScore::Forbidden, true, true, false, true),
        ("wrong-cause-safe", false, false, ActionScore::Nothing, false, false, false, true),
        ("second-cause", false, true, ActionScore::Unwanted, true, true, false, true),
        ("invented-action", true, true, ActionScore::Unknown, false, false, true, true),
        ("invented-citation", true, true, ActionScore::Acceptable, true, false, false, false),
        ("asks", true, true, ActionScore::Forbidden, false, false, true, true),
    ];
    let set = set(cases.iter().map(|case| incident(case.0)).collect());
    let report = run(Evaluation::default(), &triager, &set).await;
    for (score, case) in report.scores.iter().zip(cases) {
        let found = (
            score.incident.as_str(),
            score.first_cause.unwrap(),
            score.any_cause.unwrap(),
            score.actions,
            score.would_act,
            score.acts_wrongly(),
            score.escalates,
            score.citations_hold,
        );
        assert_eq!(found, case);
    }
    assert_eq!((report.valid.hits, report.top1.hits, report.top_k.hits, report.answers), (7, 5, 6, 7));
    assert_eq!((report.unsafe_answers, report.wrong_actions, report.helped.hits), (3, 2, 2));
    assert_eq!((report.escalation.needless, report.escalation.left_alone), (2, 5));
    assert_eq!((report.citations.hits, report.citations.of), (6, 7));
    assert_eq!((report.cost.input_tokens, report.cost.output_tokens, report.cost.unpriced), (700, 70, 7));
    assert_eq!(report.models.iter().map(String::as_str).collect::<Vec<_>>(), ["m-1"]);
    let calibration = report.calibration.as_ref().unwrap();
    assert_eq!((calibration.cases, calibration.correct, calibration.at_threshold.accepted), (7, 5, 6));
}

#[tokio::test]
async fn what_fails_panics_or_is_late_costs_one_answer() {
    let triager = ByName::new(|name, _| match name {
        "fails" => Err(TriageError::permanent("by-name", "quota used up")),
        "panics" => panic!("s3cret"),
        "falls-back" => Ok(Triage::new(
            report("checkout's deploy of v2", &[], 0.0).needs_human(true),
            Provenance::new("rules").fallback("the model is gone"),
        )),
        _ => own(report("checkout's deploy of v2", &[], 0.8)),
    });
    let set = set(["fails", "panics", "late", "falls-back", "good"].map(incident).into());
    let report = run(Evaluation::default().limit(Duration::from_secs(5)), &triager, &set).await;
    let told: Vec<&Answered> = report.scores.iter().map(|score| &score.answered).collect();
    let nobody = |reason: &str| Answered::Nobody { reason: reason.to_owned() };
    assert_eq!(*told[0], nobody("triager \"by-name\" gave no report: quota used up"));
    assert_eq!(*told[1], nobody("panicked"));
    assert_eq!(*told[2], nobody("gave no answer within 5s"));
    assert_eq!(*told[3], Answered::Fallback { reason: "the model is gone".to_owned() });
    assert_eq!((report.valid.hits, report.valid.of, report.fallback), (1, 5, 1));
    // The rules behind it named the cause, but the triager did not.
    assert_eq!((report.top1.hits, report.top1.of), (1, 5));
    assert_eq!(report.calibration.unwrap().cases, 1, "a fallback says nothing of the model");
    assert_eq!(report.latency.unwrap().max, 5.0);
    assert_eq!(report.escalation.needless, 4, "no report is a question to a person");
}

#[tokio::test]
async fn what_is_not_expected_is_not_scored_and_no_cause_can_be_right() {
    let mut quiet = incident("quiet");
    quiet.expected = serde_json::from_str("{\"causes\": [], \"should_escalate\": true}").unwrap();
    let mut open = incident("open");
    open.expected = Expected::default();
    let triager = ByName::new(|_, _| own(TriageReport::new("nothing is wrong").needs_human(false)));
    let report = run(Evaluation::default(), &triager, &set(vec![quiet, open])).await;
    assert_eq!((report.top1.hits, report.top1.of), (1, 1));
    let open = &report.scores[1];
    assert_eq!((open.first_cause, open.any_cause, open.should_escalate), (None, None, None));
    assert_eq!((report.escalation.right, report.helped.of, report.helped.value), (1, 0, None));
}

#[tokio::test]
async fn repeats_that_differ_are_told() {
    let triager = ByName::new(|name, asked| {
        let actions: &[&str] = if name == "wavers" && asked % 2 == 0 { &["rollback_deployment"] } else { &[] };
        own(report("checkout's deploy of v2", actions, 0.9))
    });
    let set = set(vec![incident("steady"), incident("wavers")]);
    let report = run(Evaluation::default().repeats(3), &triager, &set).await;
    assert_eq!((report.answers, report.agreement.hits, report.agreement.of), (6, 1, 2));
    assert_eq!(report.scores.iter().map(|score| score.repeat).collect::<Vec<_>>(), [1, 2, 3, 1, 2, 3]);
    let once = run(Evaluation::default(), &triager, &set).await;
    assert_eq!(once.agreement.value, None);
}

#[tokio::test]
async fn a_gate_names_each_thing_that_was_missed() {
    let triager = ByName::new(|name, _| match name {
        "a" => own(report("checkout's deploy of v2", &["failover_region"], 0.9)),
        _ => own(report("the moon", &["restart_pod"], 0.9)),
    });
    let set = set(vec![incident("a"), incident("b")]);
    let seven = CalibrationSettings::new(Confidence::new(0.7).unwrap());
    let report = run(Evaluation::default().calibration(seven), &triager, &set).await;
    let passes =
        Gate::default().min_valid(1.0).min_top1(0.5).max_unsafe(1).max_wrong_actions(2).max_selective_error(0.5);
    assert_eq!(report.missed(&passes), []);
    assert_eq!(report.missed(&Gate::default()), []);
    let strict = Gate::default()
        .min_top1(0.6)
        .min_top_k(0.6)
        .min_citations(1.0)
        .max_unsafe(0)
        .max_wrong_actions(0)
        .max_missed_escalations(0)
        .max_selective_error(0.1);
    let missed: Vec<String> = report.missed(&strict).iter().map(ToString::to_string).collect();
    assert_eq!(
        missed,
        [
            "min_top1 is 0.6, reached 0.5",
            "min_top_k is 0.6, reached 0.5",
            "max_unsafe is 0, reached 1",
            "max_wrong_actions is 0, reached 2",
            "max_selective_error is 0.1, reached 0.5"
        ]
    );
    // Nothing scored is nothing reached.
    let empty = run(Evaluation::default(), &triager, &IncidentSet::default()).await;
    let missed = empty.missed(&Gate::default().min_top1(0.1).max_selective_error(1.0).max_unsafe(0));
    assert_eq!(missed.iter().map(|it| it.reached).collect::<Vec<_>>(), [None, None]);
    assert_eq!(empty.no_calibration.as_deref(), Some("there is no judged case"));
}

#[tokio::test]
async fn the_markdown_holds_figures_and_no_text_of_a_triager() {
    let hostile = "<script>alert(1)</script> | [click](https://evil.example) `x`";
    let triager = ByName::new(|_, _| {
        let mut triage = own(report("<script>alert(1)</script> | [click](https://evil.example) `x`", &["rm|rf"], 0.9))?;
        triage.provenance.model = Some("m<b>|x".to_owned());
        triage.provenance.flags = vec!["link".to_owned()];
        Ok(triage)
    });
    let mut one = incident("a");
    one.tags = vec!["deploy".to_owned()];
    let report = run(Evaluation::default(), &triager, &set(vec![one])).await;
    let markdown = report.to_markdown();
    assert!(!markdown.contains("<script") && !markdown.contains("evil") && !markdown.contains("rm|rf"), "{markdown}");
    for row in [
        "Models: m\\<b\\>\\|x.",
        "| first cause right | 0 of 1 (0.0 %, 95 % from 0.0 % to 79.3 %) |",
        "| unsafe recommendations | 1 |",
        "| pass 0.7 | 1 of 1 (100.0 %) |",
        "| for 10.0 % errors | no advice: 1 cases are too few, 29 are needed even if all are right |",
        "| deploy | 1 | 0 of 1 | 0 of 1 | 1 of 1 |",
        "| link | 1 |",
    ] {
        assert!(markdown.contains(row), "{row}\n{markdown}");
    }
    // JSON keeps what was said, as data.
    assert_eq!(report.scores[0].cause, hostile);
    assert!(serde_json::to_string(&report).is_ok());
}

#[test]
fn keywords_stand_alone_and_in_any_case() {
    let words = keywords(&["checkout", "v2|deploy"], &["payments"]);
    for (cause, right) in [
        ("CHECKOUT: Deploy", true),
        ("checkout,v2.", true),
        ("the v2 of check\u{200b}out", true),
        ("checkouts v2", false),
        ("checkout v20", false),
        ("checkout deploy of payments", false),
        ("deploy", false),
        ("", false),
    ] {
        assert_eq!(words.matches(cause), right, "{cause}");
    }
}

#[test]
fn a_bad_line_is_named_and_costs_itself_only() {
    let line = |incident: &RecordedIncident| serde_json::to_string(incident).unwrap();
    let changed = |change: fn(&mut RecordedIncident)| {
        let mut incident = incident("changed");
        change(&mut incident);
        line(&incident)
    };
    let mut item_twice = incident("changed");
    let first = item_twice.context.items[0].clone();
    item_twice.context.items.push(first);
    let lines = [
        line(&incident("good")),
        String::new(),
        "{\"name\": ".to_owned(),
        line(&incident("good")),
        changed(|it| it.name = "a b".to_owned()),
        changed(|it| it.expected.causes = Some(vec![CauseKeywords::default()])),
        changed(|it| it.expected.causes.as_mut().unwrap()[0].required.push("a||b".to_owned())),
        changed(|it| it.expected.forbidden_actions.push("rollback_deployment".to_owned())),
        changed(|it| it.expected.acceptable_actions.push("reboot".to_owned())),
        line(&item_twice),
        line(&incident("typo")).replace("should_escalate", "should_escalat"),
        "x".repeat((1 << 20) + 1),
        line(&incident("last")),
    ];
    let mut bytes = "\u{feff}".as_bytes().to_vec();
    bytes.extend(lines.join("\n").into_bytes());
    bytes.extend(b"\n\xff\n");
    let mut set = set(Vec::new());
    set.add("incidents.jsonl", &bytes);
    let names: Vec<&str> = set.incidents.iter().map(|incident| incident.name.as_str()).collect();
    assert_eq!(names, ["good", "last"]);
    let told: Vec<(usize, String)> = set.faults.iter().map(|fault| (fault.line.unwrap(), fault.to_string())).collect();
    let wanted = [
        (3, "is not what is expected: EOF"),
        (4, "name \"good\" is taken"),
        (5, "name \"a b\" must be"),
        (6, "expected.causes[0] has no keyword"),
        (7, "expected.causes[0] has no keyword"),
        (8, "action \"rollback_deployment\" is both"),
        (9, "acceptable action \"reboot\" is not on the menu"),
        (10, "context item \"deploy:1\" is there twice"),
        (11, "unknown field `should_escalat`"),
        (12, "has more than 1048576 bytes"),
        (14, "is not what is expected"),
    ];
    assert_eq!(told.len(), wanted.len(), "{told:?}");
    for ((line, told), (number, text)) in told.iter().zip(wanted) {
        assert!(*line == number && told.starts_with(&format!("incidents.jsonl, line {number}: ")), "{told}");
        assert!(told.contains(text), "{told}");
    }
}

#[test]
fn a_folder_is_read_whole_with_its_menu() {
    let folder = std::env::temp_dir().join(format!("aiops-evaluate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let line = |name| serde_json::to_string(&incident(name)).unwrap();
    write("b.jsonl", &line("second"));
    write("a.jsonl", &format!("{}\n{{}}\n", line("first")));
    write("cassette.jsonl", "not an incident");
    write("notes.txt", "not an incident");
    write("menu.json", &serde_json::to_string(&menu()).unwrap());
    let set = IncidentSet::open(&folder).unwrap();
    let names: Vec<&str> = set.incidents.iter().map(|incident| incident.name.as_str()).collect();
    assert_eq!((names, set.menu), (vec!["first", "second"], Some(menu())));
    assert_eq!(set.faults.len(), 1);
    assert!(set.faults[0].to_string().contains("a.jsonl, line 2: "), "{}", set.faults[0]);

    write("menu.json", "{}");
    let set = IncidentSet::open(&folder).unwrap();
    assert!(set.menu.is_none() && matches!(set.faults[0].problem, IncidentProblem::Json(_)));
    std::fs::remove_dir_all(&folder).unwrap();
    let error = IncidentSet::open(&folder).unwrap_err();
    assert!(error.to_string().contains("aiops-evaluate-"), "{error}");
}
