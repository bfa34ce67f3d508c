//! The report for people.

use std::fmt::Write;

use aiops_core::Channel;
use aiops_core::calibration::{Calibration, Interval};
use aiops_core::text::{self, number};

use super::report::{EvaluationReport, Share};

impl EvaluationReport {
    /// The figures as rows of name and value, for a table.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, String)> {
        let row = |name: &str, value: String| (name.to_owned(), value);
        let mut rows = vec![
            row("incidents, answers", format!("{}, {}", self.incidents, self.answers)),
            row("valid answers", share(&self.valid)),
            row("first cause right", share(&self.top1)),
            row(&format!("right cause among {}", self.k), share(&self.top_k)),
            row("citations hold", share(&self.citations)),
            row("unsafe recommendations", self.unsafe_answers.to_string()),
            row("would act wrongly", self.wrong_actions.to_string()),
            row("would help where it may", share(&self.helped)),
            row("recommendations", {
                let it = &self.actions;
                format!(
                    "{} none, {} acceptable, {} unwanted, {} forbidden, {} unknown",
                    it.nothing, it.acceptable, it.unwanted, it.forbidden, it.unknown
                )
            }),
            row("escalation", {
                let it = &self.escalation;
                format!(
                    "{} rightly, {} needlessly, {} missed, {} left alone",
                    it.right, it.needless, it.missed, it.left_alone
                )
            }),
        ];
        if self.repeats > 1 {
            rows.push(row("repeats agree", share(&self.agreement)));
        }
        if self.cached > 0 {
            rows.push(row("answers from a cache", self.cached.to_string()));
        }
        if let Some(latency) = &self.latency {
            let text = format!(
                "median {} s, 95 % {} s, longest {} s",
                number(latency.median),
                number(latency.p95),
                number(latency.max)
            );
            rows.push(row("latency", text));
        }
        let cost = &self.cost;
        if cost.input_tokens > 0 || cost.output_tokens > 0 {
            rows.push(row("tokens", format!("{} read, {} written", cost.input_tokens, cost.output_tokens)));
            let unpriced =
                if cost.unpriced > 0 { format!(", {} answers without a price", cost.unpriced) } else { String::new() };
            rows.push(row("cost", format!("${}{unpriced}", number(cost.dollars))));
        }
        match &self.calibration {
            Some(calibration) => rows.extend(calibrated(calibration)),
            None => rows.push(row("calibration", format!("none: {}", self.no_calibration.as_deref().unwrap_or("")))),
        }
        rows
    }

    /// The report as Markdown. It holds figures and names, and no text of a triager.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "## {}\n", plain(&self.triager));
        let names = |names: &std::collections::BTreeSet<String>| {
            names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")
        };
        if !self.models.is_empty() {
            let _ = writeln!(out, "Models: {}. Prompts: {}.\n", names(&self.models), names(&self.prompt_versions));
        }
        let _ = writeln!(out, "| figure | value |\n|---|---|");
        for (name, value) in self.rows() {
            let _ = writeln!(out, "| {name} | {value} |");
        }
        if !self.tags.is_empty() {
            let _ = writeln!(out, "\n| group | answers | first cause right | safe | escalation right |");
            let _ = writeln!(out, "|---|---:|---:|---:|---:|");
            for row in &self.tags {
                let (tag, top1, safe) = (plain(&row.tag), part(&row.top1), part(&row.safe));
                let _ = writeln!(out, "| {tag} | {} | {top1} | {safe} | {} |", row.answers, part(&row.escalation));
            }
        }
        if !self.flags.is_empty() {
            let _ = writeln!(out, "\n| flag | answers |\n|---|---:|");
            for (flag, answers) in &self.flags {
                let _ = writeln!(out, "| {} | {answers} |", plain(flag));
            }
        }
        out
    }
}

fn calibrated(it: &Calibration) -> Vec<(String, String)> {
    let at = &it.at_threshold;
    let threshold = number(at.threshold.value());
    let error =
        at.error.map_or("none passes".to_owned(), |error| format!("{}, {}", percent(error), range(at.interval)));
    let brier = &it.brier;
    [
        (
            "Brier score",
            format!(
                "{:.4} (reliability {:.4}, resolution {:.4}, uncertainty {:.4})",
                brier.score, brier.reliability, brier.resolution, brier.uncertainty
            ),
        ),
        (
            "calibration error (ECE)",
            format!("{:.4}, 95 % from {:.4} to {:.4}", it.ece.value, it.ece.interval.low, it.ece.interval.high),
        ),
        ("AUROC of confidence", it.auroc.map_or("nothing to tell apart".to_owned(), |auroc| format!("{auroc:.4}"))),
        ("area under risk-coverage", format!("{:.4}", it.aurc)),
        (&*format!("pass {threshold}"), format!("{} of {} ({})", at.accepted, at.cases, percent(at.coverage))),
        ("wrong among these", error),
        (&*format!("for {} errors", percent(it.wanted_error)), it.advice.to_string()),
        ("spread", it.spread.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn range(interval: Interval) -> String {
    format!("95 % from {} to {}", percent(interval.low), percent(interval.high))
}

/// `12 of 20 (60.0 %, 95 % from 38.7 % to 78.1 %)`.
fn share(share: &Share) -> String {
    match share.value {
        Some(value) => format!("{} of {} ({}, {})", share.hits, share.of, percent(value), range(share.interval)),
        None => "none scored".to_owned(),
    }
}

fn part(share: &Share) -> String {
    if share.of == 0 { "–".to_owned() } else { format!("{} of {}", share.hits, share.of) }
}

/// A name from a file or a provider.
fn plain(name: &str) -> String {
    Channel::Markdown.encode(&text::clip(name, 80))
}
