//! The review as a page of Markdown.

use std::fmt::Write as _;

use aiops_core::calibration::{Calibration, Interval};
use aiops_core::{Channel, Decision, Outcome, text};

use super::{ModelReview, ReviewItem, ReviewReport, ReviewStep, ReviewVerdict};

/// A cell is cut here.
const CELL: usize = 200;

/// Text that someone else wrote.
fn shown(words: &str) -> String {
    Channel::Markdown.encode(&text::clip(words, CELL))
}

pub(super) fn page(report: &ReviewReport) -> String {
    let mut out = format!("# Review of {} to {}\n\n", report.from, report.to);
    let counts = report.verdicts();
    let (listed, given) = (report.items.len(), report.items.len() - counts.open);
    // Writing into a string does not fail.
    let _ = writeln!(
        out,
        "{listed} reports passed the threshold; {given} of them have a verdict: {} right, {} wrong, {} unclear.",
        counts.right, counts.wrong, counts.unclear
    );
    if report.left_out > 0 {
        let _ = writeln!(out, "\n{} older reports were left out.", report.left_out);
    }
    if report.bad_lines > 0 {
        let _ = writeln!(out, "\n**{} lines of the audit could not be used; verify it.**\n", report.bad_lines);
        for bad in &report.bad {
            let _ = writeln!(out, "- {} line {}: {}", shown(&bad.file), bad.line, shown(&bad.why));
        }
    }
    if !report.items.is_empty() {
        out.push_str("\n| id | decided | incident | seen | confidence | said | plan | became | verdict |\n");
        out.push_str("|---|---|---|---|---|---|---|---|---|\n");
        for item in &report.items {
            row(&mut out, item);
        }
    }
    if !report.models.is_empty() {
        out.push_str(
            "\n## Confidence\n\nOver all verdicts. They are on reports that passed the threshold: what a lower one ",
        );
        out.push_str("would let through is not known from them.\n");
        report.models.iter().for_each(|model| of_model(&mut out, model));
    }
    out
}

fn row(out: &mut String, item: &ReviewItem) {
    let said = std::iter::once(&item.summary).chain(&item.causes).map(|words| shown(words)).collect::<Vec<_>>();
    let plan = item.steps.iter().map(step).collect::<Vec<_>>();
    let became = match &item.disposition {
        Some(disposition) => {
            let reason = disposition.reason().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
            format!("{}{reason}", disposition.as_str())
        }
        None => "not known".to_owned(),
    };
    let approval = item.approval.as_deref().map(|word| format!("; {}", shown(word))).unwrap_or_default();
    let cells = [
        item.number.to_string(),
        item.at.to_string(),
        shown(item.incident_id.as_str()),
        format!("{} on {}", shown(&item.alertname), shown(&item.service)),
        text::number(item.confidence.value()),
        said.join("; "),
        plan.join("; "),
        became + &approval,
        item.verdict.as_ref().map(verdict).unwrap_or_default(),
    ];
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn step(step: &ReviewStep) -> String {
    let on = step.target.as_ref().map(|target| format!(" on {}", shown(&target.to_string()))).unwrap_or_default();
    let outcome = step.outcome.map(|outcome| format!(", {}", word(outcome))).unwrap_or_default();
    let reason = shown(&step.reason);
    let decision = match step.decision {
        Decision::Allow => "allowed",
        Decision::RequireApproval => "needs approval",
        Decision::Deny => "refused",
    };
    format!("{}{on}: {decision}{outcome} ({reason})", shown(&step.action))
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Helped => "helped",
        Outcome::NoEffect => "no effect",
        Outcome::Worse => "worse than before",
        Outcome::Unknown => "unknown",
    }
}

fn verdict(verdict: &ReviewVerdict) -> String {
    let note = if verdict.note.is_empty() { String::new() } else { format!(": {}", shown(&verdict.note)) };
    let times = if verdict.given > 1 { format!(", the last of {}", verdict.given) } else { String::new() };
    format!("{} by {}{times}{note}", verdict.verdict.as_str(), shown(&verdict.by))
}

fn of_model(out: &mut String, model: &ModelReview) {
    let named = [Some(&model.triager), model.model.as_ref(), model.prompt_version.as_ref()];
    let named: Vec<String> = named.into_iter().flatten().map(|name| shown(name)).collect();
    let counts = model.verdicts;
    let _ = writeln!(
        out,
        "\n### {}\n\n{} right, {} wrong, {} unclear.\n",
        named.join(", "),
        counts.right,
        counts.wrong,
        counts.unclear
    );
    match &model.calibration {
        Some(calibration) => calibrated(out, calibration),
        None => {
            let _ = writeln!(out, "No figures: {}.", model.no_calibration.as_deref().unwrap_or("nothing was measured"));
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn between(Interval { low, high }: Interval) -> String {
    format!("{} to {}", percent(low), percent(high))
}

fn calibrated(out: &mut String, calibration: &Calibration) {
    let Calibration { brier, at_threshold, .. } = calibration;
    let error = at_threshold.error.map_or_else(|| "none passes".to_owned(), percent);
    let rows = [
        ("Brier score (0 is best, 0.25 is always saying 0.5)", format!("{:.3}", brier.score)),
        ("of that, distance from the truth (reliability)", format!("{:.3}", brier.reliability)),
        ("calibration error", format!("{:.3}", calibration.ece.value)),
        (
            "wrong among what passes the threshold",
            format!(
                "{error} at {} ({} of {}; 95 %: {})",
                text::number(at_threshold.threshold.value()),
                at_threshold.errors,
                at_threshold.accepted,
                between(at_threshold.interval)
            ),
        ),
        ("for a wanted error rate of", format!("{}: {}", percent(calibration.wanted_error), calibration.advice)),
    ];
    out.push_str("| figure | value |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(out, "| {name} | {value} |");
    }
    out.push_str("\n| confidence | cases | right | share | 95 % |\n|---|---|---|---|---|\n");
    for bin in &calibration.reliability {
        let _ = writeln!(
            out,
            "| {} to {} | {} | {} | {} | {} |",
            text::number(bin.low),
            text::number(bin.high),
            bin.cases,
            bin.correct,
            percent(bin.accuracy),
            between(bin.interval)
        );
    }
    // That all cases pass is no news: they are listed since they did.
    if calibration.spread.is_flat() {
        let sd = calibration.spread.sd;
        let _ =
            writeln!(out, "\nConfidences hardly differ (standard deviation {sd:.3}): no threshold tells them apart.");
    }
}
