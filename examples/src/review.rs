//! The program `review`: the weekly review of an audit log, and where verdicts are given.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::time::Duration;

use aiops_core::calibration::CalibrationSettings;
use aiops_core::jiff::Timestamp;
use aiops_core::time::{minus, plus};
use aiops_core::{Confidence, Redactor, Verdict, error_chain};
use aiops_remediate::review::{Review, ReviewItem};
use aiops_remediate::{AuditLog, ChainEnd, FileAudit};

const USAGE: &str = "usage: review AUDIT.jsonl… [--verdicts FILE] [--from TIME] [--to TIME] [--threshold SHARE] \
                     [--wanted-error SHARE] [--json] [--export CASES.jsonl]
       review AUDIT.jsonl… --verdict ID right|wrong|unclear --by NAME [--note TEXT] [--verdicts FILE]
(several files are one chain that was rotated, the oldest first)";

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

#[derive(Debug, Default)]
struct Arguments {
    audits: Vec<String>,
    verdicts: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    threshold: Option<Confidence>,
    wanted_error: Option<f64>,
    json: bool,
    export: Option<String>,
    verdict: Option<(String, Verdict)>,
    by: Option<String>,
    note: Option<String>,
}

/// Does what the arguments ask for at `now`; says whether every line of the audit could be used.
///
/// # Errors
/// Arguments that are none, files that cannot be read or written, an id that is not in the audit.
pub fn run(arguments: &[String], now: Timestamp, output: &mut impl Write) -> Result<bool, String> {
    let arguments = parse(arguments)?;
    let Some(last) = arguments.audits.last() else { return Err(USAGE.to_owned()) };
    let verdicts = arguments.verdicts.clone().unwrap_or_else(|| format!("{last}.verdicts.jsonl"));

    let mut review = Review::default();
    let mut end = ChainEnd::start();
    for path in &arguments.audits {
        end = review.read(path, open(path)?, end);
    }
    if Path::new(&verdicts).exists() {
        review.read(&verdicts, open(&verdicts)?, ChainEnd::start());
    }
    if let Some((id, verdict)) = &arguments.verdict {
        let by = arguments.by.as_deref().filter(|by| !by.trim().is_empty());
        let by =
            by.ok_or_else(|| format!("a verdict needs --by NAME: one without a name counts for nothing\n{USAGE}"))?;
        let item = review.find(id).ok_or_else(|| format!("{id:?} is no report that passed the threshold"))?;
        note(&verdicts, item, *verdict, by, arguments.note.as_deref().unwrap_or_default(), now)?;
        writeln!(output, "{id} is {}, by {by}", verdict.as_str()).map_err(|error| error.to_string())?;
        return Ok(true);
    }

    if let Some(path) = &arguments.export {
        export(&review, path)?;
    }
    // The newest decision is part of its own week.
    let to = arguments.to.or_else(|| review.newest().map(|newest| plus(newest, Duration::from_secs(1)))).unwrap_or(now);
    let from = arguments.from.unwrap_or_else(|| minus(to, WEEK));
    let mut settings = CalibrationSettings::new(arguments.threshold.unwrap_or_else(|| review.threshold()));
    if let Some(rate) = arguments.wanted_error {
        settings = settings.wanted_error(rate);
    }
    let report = review.report(from, to, &settings);
    let written = if arguments.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        writeln!(output, "{text}")
    } else {
        write!(output, "{}", report.to_markdown())
    };
    written.map_err(|error| error.to_string())?;
    Ok(report.bad_lines == 0)
}

fn open(path: &str) -> Result<BufReader<File>, String> {
    File::open(path).map(BufReader::new).map_err(|error| format!("{path}: {error}"))
}

/// Appends a verdict; none is ever changed.
fn note(path: &str, item: &ReviewItem, verdict: Verdict, by: &str, why: &str, now: Timestamp) -> Result<(), String> {
    let log = FileAudit::open(path).map_err(|error| error_chain(&error))?;
    let entry = item.verdict_entry(verdict, by, why, now, &Redactor::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| error.to_string())?;
    runtime.block_on(log.append(entry)).map_err(|error| error_chain(&error))
}

fn export(review: &Review, path: &str) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{path}: {error}");
    let mut file = std::io::BufWriter::new(File::create(path).map_err(told)?);
    for case in review.cases() {
        let line = serde_json::to_string(&case).map_err(|error| error.to_string())?;
        writeln!(file, "{line}").map_err(told)?;
    }
    file.flush().map_err(told)
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().cloned().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        let wrong = |value: &str, why: &dyn std::fmt::Display| format!("{argument} {value:?}: {why}");
        match argument.as_str() {
            "--help" | "-h" => return Err(USAGE.to_owned()),
            "--json" => parsed.json = true,
            "--verdicts" => parsed.verdicts = Some(value()?),
            "--export" => parsed.export = Some(value()?),
            "--by" => parsed.by = Some(value()?),
            "--note" => parsed.note = Some(value()?),
            "--from" | "--to" => {
                let text = value()?;
                let time = text.parse().map_err(|error| wrong(&text, &error))?;
                *(if argument == "--from" { &mut parsed.from } else { &mut parsed.to }) = Some(time);
            }
            "--threshold" | "--wanted-error" => {
                let text = value()?;
                let share: f64 = text.parse().map_err(|error| wrong(&text, &error))?;
                if argument == "--threshold" {
                    parsed.threshold = Some(Confidence::new(share).map_err(|error| wrong(&text, &error))?);
                } else if share > 0.0 && share < 1.0 {
                    parsed.wanted_error = Some(share);
                } else {
                    return Err(wrong(&text, &"it must be above 0 and below 1"));
                }
            }
            "--verdict" => {
                let (id, word) = (value()?, value()?);
                let verdicts = [Verdict::Right, Verdict::Wrong, Verdict::Unclear];
                let verdict = verdicts.into_iter().find(|verdict| verdict.as_str() == word);
                let verdict = verdict.ok_or_else(|| wrong(&word, &"it is right, wrong or unclear"))?;
                parsed.verdict = Some((id, verdict));
            }
            other if other.starts_with("--") => return Err(format!("unexpected {other:?}\n{USAGE}")),
            _ => parsed.audits.push(argument.clone()),
        }
    }
    Ok(parsed)
}
