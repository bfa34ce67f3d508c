//! How well do triagers do on recorded incidents? The program around [`aiops_llm::evaluate`];
//! docs/guide/models.md describes it.

pub mod args;
mod page;
mod plots;
pub mod settings;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use aiops_core::{Channel, Triager, error_chain};
use aiops_llm::RuleTriager;
use aiops_llm::cassette::Cassette;
use aiops_llm::evaluate::{Evaluation, EvaluationReport, IncidentSet};
use serde_json::json;

use self::args::Options;
use self::settings::TriagerSettings;

/// Recorded replies of a model, beside the incidents.
pub(crate) const CASSETTE: &str = "cassette.jsonl";

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was read, and the gate passed.
    Passed,
    /// The gate was missed, or a line could not be read.
    Missed,
}

/// Runs it: figures to `out`, what is wrong to `err`.
///
/// # Errors
/// A file that cannot be used, as a line for a person.
pub async fn run(options: &Options, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome, String> {
    let told = |error: io::Error| format!("could not write: {error}");
    let set = IncidentSet::open(&options.incidents).map_err(|error| error_chain(&error))?;
    for fault in &set.faults {
        writeln!(err, "evaluate: {}", Channel::Terminal.encode(&fault.to_string())).map_err(told)?;
    }
    if set.incidents.is_empty() {
        return Err(format!("{} holds no incident that can be read", options.incidents.display()));
    }
    let evaluation = Evaluation::default().calibration(options.calibration).repeats(options.repeats).top(options.top);
    let mut reports = Vec::new();
    for triager in triagers(options, &set)? {
        let report = evaluation.run(&*triager, &set).await;
        table(&report, out).map_err(told)?;
        reports.push(report);
    }
    write(options, &set, &reports)?;

    let mut missed: Vec<String> = Vec::new();
    if let Some(report) = reports.last() {
        missed.extend(report.missed(&options.gate).iter().map(|it| format!("{}: {it}", report.triager)));
    }
    if !set.faults.is_empty() {
        missed.push(format!("{} lines or files could not be read", set.faults.len()));
    }
    for reason in &missed {
        writeln!(err, "evaluate: {reason}").map_err(told)?;
    }
    Ok(if missed.is_empty() { Outcome::Passed } else { Outcome::Missed })
}

/// The rules, then the recorded model where there is one.
fn triagers(options: &Options, set: &IncidentSet) -> Result<Vec<Box<dyn Triager>>, String> {
    let menu = set.menu.clone().unwrap_or_default();
    let mut triagers: Vec<Box<dyn Triager>> = vec![Box::new(RuleTriager::new(menu.clone()))];
    let cassette = options.incidents.join(CASSETTE);
    if cassette.exists() {
        let cassette = Cassette::open(cassette).map_err(|error| error_chain(&error))?;
        let settings = TriagerSettings::of(&options.incidents)?;
        triagers.push(Box::new(settings.triager(cassette, menu).map_err(|error| error_chain(&error))?));
    }
    Ok(triagers)
}

pub(crate) fn table(report: &EvaluationReport, out: &mut dyn Write) -> io::Result<()> {
    let rows = report.rows();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{}", title(report))?;
    rows.iter().try_for_each(|(name, value)| writeln!(out, "  {name:width$}  {value}"))?;
    writeln!(out)
}

/// The triager, with its model where it has one.
fn title(report: &EvaluationReport) -> String {
    let models: Vec<String> = report.models.iter().map(|model| aiops_core::text::clip(model, 80)).collect();
    if models.is_empty() { report.triager.clone() } else { format!("{} ({})", report.triager, models.join(", ")) }
}

fn write(options: &Options, set: &IncidentSet, reports: &[EvaluationReport]) -> Result<(), String> {
    let faults: Vec<String> = set.faults.iter().map(ToString::to_string).collect();
    let failed = |path: &Path, error: io::Error| format!("could not write {}: {error}", path.display());
    fs::create_dir_all(&options.out).map_err(|error| failed(&options.out, error))?;
    let json = serde_json::to_vec_pretty(&json!({"triagers": reports, "faults": faults}));
    let json = json.map_err(|error| format!("report.json: {error}"))?;
    let markdown: Vec<String> = reports.iter().map(EvaluationReport::to_markdown).collect();
    let heading = format!("# Evaluation of {} incidents\n\n", set.incidents.len());
    let mut page = Vec::new();
    page::write(&mut page, set, reports, &faults).map_err(|error| failed(Path::new("report.html"), error))?;
    for (name, bytes) in
        [("report.json", json), ("report.md", (heading + &markdown.join("\n")).into_bytes()), ("report.html", page)]
    {
        let path = options.out.join(name);
        fs::write(&path, bytes).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
