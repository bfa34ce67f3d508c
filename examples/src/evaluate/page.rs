//! The HTML page of an evaluation.

use std::collections::BTreeMap;
use std::io::{self, Write};

use aiops_core::Channel;
use aiops_llm::evaluate::{EvaluationReport, IncidentSet, Score, Share};

use super::plots;
use crate::page::{begin, end, escape, items};

/// Answers that the table of errors shows: a page must open.
const SHOWN: usize = 500;

/// Writes it.
///
/// # Errors
/// Those of the writer.
pub(super) fn write(
    out: &mut dyn Write,
    set: &IncidentSet,
    reports: &[EvaluationReport],
    faults: &[String],
) -> io::Result<()> {
    begin(out, &format!("Evaluation of {} incidents", set.incidents.len()))?;
    if !faults.is_empty() {
        writeln!(out, "<p>Left out, since they could not be read:</p>")?;
        items(out, faults)?;
    }
    if reports.len() > 1 {
        compared(out, reports)?;
    }
    let tags: BTreeMap<&str, String> =
        set.incidents.iter().map(|incident| (incident.name.as_str(), incident.tags.join(", "))).collect();
    for report in reports {
        one(out, report, &tags)?;
    }
    end(out)
}

/// All triagers beside each other.
fn compared(out: &mut dyn Write, reports: &[EvaluationReport]) -> io::Result<()> {
    let columns: Vec<BTreeMap<String, String>> =
        reports.iter().map(|report| report.rows().into_iter().collect()).collect();
    write!(out, "<h2>Side by side</h2>\n<div class=\"w\"><table>\n<tr><th>figure</th>")?;
    for report in reports {
        write!(out, "<th>{}</th>", escape(&super::title(report)))?;
    }
    writeln!(out, "</tr>")?;
    let mut names: Vec<String> = Vec::new();
    for (name, _) in reports.iter().flat_map(EvaluationReport::rows) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        write!(out, "<tr><td>{}</td>", escape(&name))?;
        for column in &columns {
            write!(out, "<td>{}</td>", escape(column.get(&name).map_or("–", String::as_str)))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div>")
}

fn one(out: &mut dyn Write, report: &EvaluationReport, tags: &BTreeMap<&str, String>) -> io::Result<()> {
    writeln!(out, "<h2>{}</h2>\n<div class=\"w\"><table>", escape(&super::title(report)))?;
    for (name, value) in report.rows() {
        writeln!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(&name), escape(&value))?;
    }
    writeln!(out, "</table></div>")?;
    if let Some(calibration) = &report.calibration {
        writeln!(out, "<section><h3>Reliability: confidence against the share of right causes</h3>")?;
        writeln!(out, "{}\n</section>", plots::reliability(calibration))?;
        writeln!(out, "<section><h3>Risk and coverage: wrong causes among the answers that pass</h3>")?;
        writeln!(out, "{}\n</section>", plots::risk_coverage(calibration))?;
    }
    writeln!(out, "<section><h3>Escalation</h3>\n{}\n</section>", plots::escalation(&report.escalation))?;
    groups(out, report)?;
    if !report.flags.is_empty() {
        writeln!(out, "<h3>What was odd</h3>")?;
        let line = |(flag, answers): (&String, &usize)| format!("{flag}: {answers} answers");
        items(out, &report.flags.iter().map(line).collect::<Vec<_>>())?;
    }
    errors(out, report, tags)
}

fn groups(out: &mut dyn Write, report: &EvaluationReport) -> io::Result<()> {
    let cell = |share: &Share| if share.of == 0 { "–".to_owned() } else { format!("{} of {}", share.hits, share.of) };
    writeln!(out, "<h3>Groups</h3>\n<div class=\"w\"><table>")?;
    writeln!(
        out,
        "<tr><th>group</th><th class=\"r\">answers</th><th class=\"r\">first cause right</th><th class=\"r\">safe</th>\
         <th class=\"r\">escalation right</th></tr>"
    )?;
    for row in &report.tags {
        write!(out, "<tr><td>{}</td><td class=\"r\">{}</td>", escape(&row.tag), row.answers)?;
        for share in [&row.top1, &row.safe, &row.escalation] {
            write!(out, "<td class=\"r\">{}</td>", cell(share))?;
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table></div>")
}

/// What was wrong, answer by answer.
fn errors(out: &mut dyn Write, report: &EvaluationReport, tags: &BTreeMap<&str, String>) -> io::Result<()> {
    let wrong = |score: &&Score| {
        score.first_cause == Some(false)
            || !score.actions.is_safe()
            || score.should_escalate.is_some_and(|it| it != score.escalates)
    };
    let all: Vec<&Score> = report.scores.iter().filter(wrong).collect();
    if all.is_empty() {
        return Ok(());
    }
    writeln!(out, "<details><summary>{} answers that are wrong in something", all.len())?;
    if all.len() > SHOWN {
        writeln!(out, ", the first {SHOWN}")?;
    }
    writeln!(out, "</summary>\n<div class=\"w\"><table>")?;
    writeln!(
        out,
        "<tr><th>incident</th><th>groups</th><th>first cause</th><th>said</th><th>recommended</th>\
         <th class=\"r\">confidence</th><th>asks</th><th>should</th></tr>"
    )?;
    for score in all.into_iter().take(SHOWN) {
        let yes = |value: Option<bool>| value.map_or("–", |value| if value { "yes" } else { "no" });
        let right = score.first_cause.map_or("–", |right| if right { "right" } else { "wrong" });
        let tags = tags.get(score.incident.as_str()).map_or("", String::as_str);
        let actions = score.recommended.join(", ");
        write!(out, "<tr><td>{}</td><td>{}</td><td>{right}</td>", escape(&score.incident), escape(tags))?;
        write!(out, "<td>{}</td><td>{}</td>", Channel::Html.encode(&score.cause), Channel::Html.encode(&actions))?;
        write!(out, "<td class=\"r\">{:.2}</td>", score.confidence.value())?;
        writeln!(out, "<td>{}</td><td>{}</td></tr>", yes(Some(score.escalates)), yes(score.should_escalate))?;
    }
    writeln!(out, "</table></div></details>")
}
