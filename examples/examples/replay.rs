//! Tune dedup, suppression and incidents on yesterday's events.
//!
//! `cargo run --example replay -- FILE.jsonl [--config CONFIG.json]`, `-` reads standard input.
//! Records and decisions are JSON lines; docs/guide/replay.md describes both. A summary goes to
//! standard error. Exit code 2 where the file or the settings cannot be read.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::process::ExitCode;

use aiops_core::CorrelatorConfig;
use aiops_examples::replay::Replay;

const USAGE: &str = "usage: replay FILE.jsonl [--config CONFIG.json]   (FILE - reads standard input)";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "replay: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (mut file, mut config) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => return Err(USAGE.to_owned()),
            "--config" => config = Some(arguments.next().ok_or(USAGE)?),
            other if other.starts_with("--") || file.is_some() => {
                return Err(format!("unexpected {other:?}; {USAGE}"));
            }
            _ => file = Some(argument),
        }
    }
    let file = file.ok_or(USAGE)?;
    let config = match config {
        None => CorrelatorConfig::default(),
        Some(path) => {
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?
        }
    };
    let mut replay = Replay::new(config).map_err(|error| error.to_string())?;
    let input: Box<dyn Read> = match file.as_str() {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path).map_err(|error| format!("{path}: {error}"))?),
    };
    let mut output = BufWriter::new(io::stdout().lock());
    match replay.run(&mut BufReader::new(input), &mut output) {
        // The reader of a pipe went away: there is nobody to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        outcome => outcome.map_err(|error| format!("{file}: {error}"))?,
    }
    let counts: Vec<String> = replay.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    let _ = writeln!(io::stderr(), "{}", counts.join(", "));
    Ok(())
}
