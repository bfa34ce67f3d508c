//! How a scorer does on made series: false alerts on healthy ones, injected faults that it catches.
//!
//! `cargo run --release --example synthetic -- [--scorer NAME] [--threshold T] [--kind NAME]`: without
//! `--scorer` each one in turn. The series and the rules are those of
//! `aiops_detectors::testing::synthetic`.

use std::io::{self, Write};
use std::process::ExitCode;

use aiops_detectors::testing::synthetic::{Evaluation, Kind};
use aiops_detectors::{scorer_by_name, scorer_names};

const USAGE: &str = "usage: synthetic [--scorer NAME] [--threshold T] [--kind NAME]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "synthetic: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let mut scorers = Vec::new();
    let (mut kinds, mut evaluation) = (Vec::new(), Evaluation::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--scorer" => {
                let name = value()?;
                let names = || scorer_names().collect::<Vec<_>>().join(", ");
                let scorer = scorer_by_name(&name);
                scorers.push(scorer.ok_or_else(|| format!("no scorer {name:?}, there are {}", names()))?);
            }
            "--threshold" => {
                let text = value()?;
                let threshold = text.parse().ok().filter(|threshold: &f64| threshold.is_finite() && *threshold > 0.0);
                evaluation = evaluation
                    .threshold(threshold.ok_or_else(|| format!("--threshold {text:?} is no number above 0"))?);
            }
            "--kind" => {
                let name = value()?;
                let kind = Kind::ALL.iter().find(|kind| kind.name() == name);
                let names = || Kind::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
                kinds.push(*kind.ok_or_else(|| format!("no kind {name:?}, there are {}", names()))?);
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    if scorers.is_empty() {
        scorers.extend(scorer_names().filter_map(scorer_by_name));
    }
    if !kinds.is_empty() {
        evaluation = evaluation.kinds(kinds);
    }
    let mut output = io::stdout().lock();
    for scorer in scorers {
        match writeln!(output, "{}\n", evaluation.run(scorer.as_ref())) {
            // The reader of a pipe went away: there is nobody to tell.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome.map_err(|error| format!("standard output: {error}"))?,
        }
    }
    Ok(())
}
