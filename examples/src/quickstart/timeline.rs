//! The records as lines for a person.

use std::io::{self, Write};

use aiops_core::text::{clip, number, printable};
use serde_json::Value;

/// Writes records as lines.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    /// Whether the reader is a terminal that shows colours.
    pub colours: bool,
}

/// Series and rows that are named before the rest is only counted.
const SHOWN: usize = 4;

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => String::new(),
        other => printable(&other.to_string()),
    }
}

impl Timeline {
    /// Writes one record.
    ///
    /// # Errors
    /// A writer that fails.
    pub fn write(&self, out: &mut dyn Write, record: &Value) -> io::Result<()> {
        match record["type"].as_str().unwrap_or_default() {
            "sample_summary" => self.samples(out, record),
            "event" if record["decision"] == "resolved" => {
                self.line(out, record, "resolved", "32", &self.subject(record))
            }
            "event" => {
                self.line(out, record, "fires", "31", &text(&record["explain"]))?;
                if record["joined"] == "attached" { self.note(out, "joined to the open incident") } else { Ok(()) }
            }
            "repeat" => {
                let of = format!("{}, told before; {} held back", self.subject(record), text(&record["count"]));
                self.line(out, record, "repeat", "90", &of)
            }
            "suppressed" => {
                let why =
                    format!("{} {}: {}", self.subject(record), text(&record["decision"]), text(&record["reason"]));
                self.line(out, record, "held", "90", &why)
            }
            "context" => self.context(out, record),
            "report" => self.report(out, record),
            "plan" => self.plan(out, record),
            "step" => {
                let parts = record["target"].as_object().into_iter().flatten();
                let target: Vec<String> = parts.map(|(name, value)| format!("{name} {}", text(value))).collect();
                let target = target.join(", ");
                let step = format!(
                    "{} on {target}: {}, {}",
                    text(&record["action"]),
                    text(&record["decision"]),
                    text(&record["reason"])
                );
                self.line(out, record, "step", "33", &step)
            }
            "notice" => {
                let notice = format!("[{}] {}", text(&record["channel"]), text(&record["line"]));
                self.line(out, record, "notice", "90", &clip(&notice, 160))
            }
            "summary" => self.summary(out, record),
            _ => Ok(()),
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn line(&self, out: &mut dyn Write, record: &Value, tag: &str, code: &str, text: &str) -> io::Result<()> {
        let at = record["at"].as_str().and_then(|at| at.get(11..19)).unwrap_or("        ");
        writeln!(out, "{at}  {}  {text}", self.paint(code, &format!("{tag:<8}")))
    }

    fn note(&self, out: &mut dyn Write, text: &str) -> io::Result<()> {
        writeln!(out, "{:20}{text}", "")
    }

    fn subject(&self, record: &Value) -> String {
        let event = &record["event"];
        format!("{} on {}", text(&event["labels"]["alertname"]), text(&event["service"]))
    }

    fn samples(&self, out: &mut dyn Write, record: &Value) -> io::Result<()> {
        writeln!(out, "{}", self.paint("1", &format!("incident {}", text(&record["incident"]))))?;
        let count = |name: &str| text(&record[name]);
        let days = record["healthy_moved_days"].as_f64().map_or(String::new(), |days| number(days.abs()));
        let lines = [
            format!("{} samples of {} series on {} nodes", count("samples"), count("series"), count("nodes")),
            format!(
                "baseline: {} rows of days without a fault, moved by {days} days to end before the incident",
                count("healthy_rows")
            ),
            format!("replayed: {} rows from {} to {}", count("rows"), count("from"), count("to")),
            "nodes stand for simulated workloads (namespace petshop, one deployment and pod each)".to_owned(),
            format!("{} cells without a number, {} rows that do not read", count("empty_cells"), count("bad_rows")),
        ];
        for line in lines {
            self.note(out, &line)?;
        }
        let some = |name: &str| record[name].as_array().map(Vec::as_slice).unwrap_or_default();
        for reason in some("bad_row_reasons") {
            self.note(out, &format!("  {}", text(reason)))?;
        }
        for (list, says) in [("set_aside", "not watched"), ("rescaled", "baseline scaled to the first row")] {
            for series in some(list).iter().take(SHOWN) {
                let (node, alert, why) = (text(&series["node"]), text(&series["alertname"]), text(&series["reason"]));
                self.note(out, &format!("{says}: {alert} of {node} {why}"))?;
            }
            if let Some(more) = some(list).len().checked_sub(SHOWN).filter(|more| *more > 0) {
                self.note(out, &format!("{says}: {more} more"))?;
            }
        }
        Ok(())
    }

    fn context(&self, out: &mut dyn Write, record: &Value) -> io::Result<()> {
        let items = record["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.line(out, record, "context", "36", &format!("{} items", items.len()))?;
        for item in items {
            self.note(out, &clip(&format!("{}  {}", text(&item["id"]), text(&item["text"])), 160))?;
        }
        for missing in record["missing"].as_array().into_iter().flatten() {
            self.note(out, &format!("missing: {} ({})", text(&missing["what"]), text(&missing["reason"])))?;
        }
        Ok(())
    }

    fn report(&self, out: &mut dyn Write, record: &Value) -> io::Result<()> {
        let report = &record["report"];
        self.line(out, record, "report", "35", &text(&report["summary"]))?;
        for (place, cause) in report["likely_causes"].as_array().into_iter().flatten().enumerate() {
            self.note(out, &format!("cause {}: {}", place + 1, text(cause)))?;
        }
        let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
        self.note(out, &format!("evidence: {}", list(&report["evidence"])))?;
        let actions = list(&report["recommended_actions"]);
        let actions = if actions.is_empty() { "nothing".to_owned() } else { actions };
        self.note(out, &format!("recommends {actions}, confidence {}", text(&report["confidence"])))?;
        self.origin(out, &record["provenance"])
    }

    /// Which model wrote a report, or why none did.
    fn origin(&self, out: &mut dyn Write, provenance: &Value) -> io::Result<()> {
        let count = |name: &str| text(&provenance[name]);
        let took = format!("{} tokens in, {} out, {}", count("input_tokens"), count("output_tokens"), count("latency"));
        if let Some(reason) = provenance["fallback_reason"].as_str() {
            self.note(out, &clip(&format!("by {} in the model's place: {reason}", count("triager")), 300))?;
            return self.note(out, &took);
        }
        if provenance["model"].is_null() {
            return Ok(());
        }
        self.note(out, &format!("by the model {}: {took}", clip(&count("model"), 80)))?;
        let flags = provenance["flags"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
        if flags.is_empty() { Ok(()) } else { self.note(out, &format!("odd about it: {flags}")) }
    }

    fn plan(&self, out: &mut dyn Write, record: &Value) -> io::Result<()> {
        let reason = text(&record["reason"]);
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        self.line(out, record, "plan", "33", &format!("{}{reason}", text(&record["disposition"])))
    }

    fn summary(&self, out: &mut dyn Write, record: &Value) -> io::Result<()> {
        let count = |name: &str| text(&record[name]);
        writeln!(
            out,
            "{}  {} announced, {} repeats, {} triages, {} executed, {} would execute, {} escalated, in {} ms",
            self.paint("1", "summary"),
            count("announced"),
            count("repeats"),
            count("triages"),
            count("executed"),
            count("would_execute"),
            count("escalated"),
            count("run_ms")
        )?;
        let truth = count("true_cause");
        let truth = if truth.is_empty() { String::new() } else { format!(" (the fault was injected into {truth})") };
        writeln!(out, "{}    {}{truth}\n", self.paint("1", "truth"), count("verdict"))
    }
}
