//! What would a catalogue and a policy say to these reports? Nothing is executed, no cluster is asked.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, Write};

use aiops_core::jiff::Timestamp;
use aiops_core::{
    ContextItem, Decision, DetectionEvent, Identity, Plan, Provenance, RuleVerdict, Step, Target, Triage,
    TriageContext, TriageReport, TriageRequest, Triaged,
};
use aiops_llm::reply::{read_reply, read_report};
use aiops_remediate::{ActionCatalogue, PlanVerdict, Policy, PolicyState, Run, Snapshot};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::lines::{Line, next_line};

/// Marks that `remember` keeps, the newest.
const MARKS_KEPT: usize = 10_000;

/// One line of the output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decided {
    /// The line of the input, counted from 1.
    pub line: u64,
    /// What would become of the report. A plan that passes is `would_execute`, whatever the policy's
    /// mode: nothing is executed here.
    pub disposition: &'static str,
    /// Why.
    pub reason: String,
    /// The plan.
    pub steps: Vec<DecidedStep>,
    /// The rules over the report as a whole, where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<RuleVerdict>>,
}

/// One action of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecidedStep {
    /// Its name, as the report has it.
    pub action: String,
    /// What the event's labels give; null where they give none.
    pub target: Option<Target>,
    /// What the policy says.
    pub decision: Decision,
    /// Why.
    pub reason: String,
    /// The rules that were asked, where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<RuleVerdict>>,
}

/// A line of the input; other keys are read over, so that a journal's `triaged` can be a line.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    report: Option<&'a RawValue>,
    model_output: Option<Value>,
    stop_reason: Option<Value>,
    #[serde(default)]
    cited: Vec<ContextItem>,
}

/// Decides line by line.
#[derive(Debug)]
pub struct Decide {
    catalogue: ActionCatalogue,
    policy: Policy,
    marks: Vec<Run>,
    remember: bool,
    explain: bool,
}

impl Decide {
    /// A tester of a catalogue; without a policy the one rule is the threshold of 0.7.
    #[must_use]
    pub fn new(catalogue: ActionCatalogue, policy: Option<Policy>) -> Self {
        let policy = policy.unwrap_or_else(Policy::threshold_only);
        Self { catalogue, policy, marks: Vec::new(), remember: false, explain: false }
    }

    /// Whether a plan that passes counts for the cool-down and loop guard of the lines after it.
    #[must_use]
    pub fn remember(mut self, remember: bool) -> Self {
        self.remember = remember;
        self
    }

    /// Whether every rule is printed with its inputs.
    #[must_use]
    pub fn explain(mut self, explain: bool) -> Self {
        self.explain = explain;
        self
    }

    /// Reads lines from `input` and writes one to `output` for each, in order.
    ///
    /// # Errors
    /// Those of reader and writer; a broken line is a line of output, not an error.
    pub fn run(&mut self, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
        let (mut number, mut written) = (0, 0);
        loop {
            let line = next_line(input, &mut number)?;
            // Blank lines are passed over by the reader, and their numbers tell of them.
            let blank_until = if line.is_some() { number } else { number + 1 };
            for blank in written + 1..blank_until {
                write(output, &rejected(blank, "the line is blank".to_owned()))?;
            }
            let decided = match line {
                None => return output.flush(),
                Some(Line::Bad(reason)) => rejected(number, reason),
                Some(Line::Text(text)) => self.line(number, &text).unwrap_or_else(|reason| rejected(number, reason)),
            };
            write(output, &decided)?;
            written = number;
        }
    }

    /// `Err` is why the line holds no report.
    fn line(&mut self, number: u64, text: &str) -> Result<Decided, String> {
        let record: Record<'_> =
            serde_json::from_str(text).map_err(|error| format!("not a line of decide: {error}"))?;
        let event = event(record.event.ok_or("the line has no event")?, number)?;
        let report = report(&record)?;
        let now = event.observed();
        // A report cites by id; what it does not cite is no evidence.
        let cited = record.cited.into_iter().filter(|item| report.evidence.contains(&item.id)).collect();
        let triaged = triaged(event, report, cited, now);
        let identity = Identity { labels: BTreeMap::new(), ..triaged.event.identity() }.key();

        let mut state = PolicyState::new(identity.as_str(), Snapshot::default());
        state.snapshot.runs = std::mem::take(&mut self.marks);
        let verdict = self.policy.plan(&self.catalogue, &triaged, &state, now);
        self.marks = state.snapshot.runs;
        if self.remember {
            let reservation = self.policy.reservation(&self.catalogue, &triaged, &verdict.plan, &identity, now);
            self.marks.extend(reservation.runs.into_iter().map(|(run, _)| run));
            self.marks.drain(..self.marks.len().saturating_sub(MARKS_KEPT));
        }
        Ok(self.decided(number, verdict))
    }

    fn decided(&self, line: u64, verdict: PlanVerdict) -> Decided {
        let reason = verdict.reason().to_owned();
        let Plan { steps, rules, .. } = verdict.plan;
        let step = |Step { action, target, decision, reason, rules, .. }| DecidedStep {
            action,
            target,
            decision,
            reason,
            rules: self.explain.then_some(rules),
        };
        let disposition = verdict.disposition.as_str();
        let steps = steps.into_iter().map(step).collect();
        Decided { line, disposition, reason, steps, rules: self.explain.then_some(rules) }
    }
}

fn event(raw: &RawValue, number: u64) -> Result<DetectionEvent, String> {
    let mut fields: Map<String, Value> = serde_json::from_str(raw.get()).map_err(|error| format!("event: {error}"))?;
    fields.entry("fingerprint").or_insert_with(|| "".into());
    fields.entry("event_id").or_insert_with(|| format!("line-{number}").into());
    let read = |fields| DetectionEvent::deserialize(Value::Object(fields));
    // The reader does not say in which field a wrong value stands: each is tried in an event that is right.
    read(fields.clone()).map_err(|error| {
        let wrong = |field: &&String| {
            let Value::Object(mut event) = sound_event() else { return false };
            event.insert((*field).clone(), fields[field.as_str()].clone());
            read(event).is_err()
        };
        match fields.keys().find(wrong) {
            Some(field) => format!("event.{field}: {error}"),
            None => format!("event: {error}"),
        }
    })
}

fn sound_event() -> Value {
    json!({"event_id": "", "kind": "log_burst", "service": "", "severity": "info", "detected_at": Timestamp::UNIX_EPOCH,
        "source": "", "signal": {}, "fingerprint": ""})
}

fn report(record: &Record<'_>) -> Result<TriageReport, String> {
    let text = |name: &str, value: &Option<Value>| match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name} must be text")),
    };
    let report = match (record.report, text("model_output", &record.model_output)?) {
        (Some(report), None) => read_report(report.get()),
        (None, Some(output)) => read_reply(&output, text("stop_reason", &record.stop_reason)?.as_deref()),
        (Some(_), Some(_)) => return Err("the line has a report and a model_output: write one of them".to_owned()),
        (None, None) => return Err("the line has neither report nor model_output".to_owned()),
    };
    report.map_err(|error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    })
}

/// A report as it comes from triage, so far as a file of lines knows it.
fn triaged(event: DetectionEvent, report: TriageReport, cited: Vec<ContextItem>, at: Timestamp) -> Triaged {
    let incident_id = event.incident_id.clone().unwrap_or_default();
    let request = TriageRequest::new(incident_id, event, TriageContext::default(), at, at);
    let mut triaged = Triaged::new(&request, Triage::new(report, Provenance::new("decide")), at);
    triaged.cited = cited;
    triaged
}

fn rejected(line: u64, reason: String) -> Decided {
    Decided { line, disposition: "rejected", reason, steps: Vec::new(), rules: None }
}

fn write(output: &mut impl Write, decided: &Decided) -> io::Result<()> {
    serde_json::to_writer(&mut *output, decided)?;
    output.write_all(b"\n")
}
