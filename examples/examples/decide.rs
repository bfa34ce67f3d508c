//! The policy tester: what would become of these reports?
//!
//! `cargo run --example decide -- --catalogue C.yaml [--policy P.yaml] FILE.jsonl` decides each line
//! (`-` reads standard input), `--check C.yaml [--policy P.yaml]` lints the files.
//! docs/guide/policy.md describes lines, flags and files.
//!
//! Exit code 0; 1 where `--check` found a fault; 2 where a file cannot be used.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::process::ExitCode;

use aiops_examples::decide::Decide;
use aiops_remediate::{ActionCatalogue, ConfigError, Policy};

const USAGE: &str = "usage: decide --catalogue C.yaml [--policy P.yaml] [--remember] [--explain] FILE.jsonl
       decide --check C.yaml [--policy P.yaml]
(FILE - reads standard input)";

#[derive(Default)]
struct Arguments {
    catalogue: Option<String>,
    check: Option<String>,
    policy: Option<String>,
    file: Option<String>,
    remember: bool,
    explain: bool,
}

fn main() -> ExitCode {
    let outcome = arguments().and_then(|arguments| match &arguments.check {
        Some(_) if arguments.catalogue.is_some() || arguments.file.is_some() => Err(USAGE.to_owned()),
        Some(catalogue) => check(catalogue, arguments.policy.as_deref()),
        None => decide(&arguments).map(|()| ExitCode::SUCCESS),
    });
    outcome.unwrap_or_else(|message| {
        let _ = writeln!(io::stderr(), "{message}");
        ExitCode::from(2)
    })
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let place = match argument.as_str() {
            "--help" | "-h" => return Err(USAGE.to_owned()),
            "--remember" => {
                parsed.remember = true;
                continue;
            }
            "--explain" => {
                parsed.explain = true;
                continue;
            }
            "--catalogue" => &mut parsed.catalogue,
            "--check" => &mut parsed.check,
            "--policy" => &mut parsed.policy,
            other if other.starts_with("--") || parsed.file.is_some() => {
                return Err(format!("unexpected {other:?}\n{USAGE}"));
            }
            _ => {
                parsed.file = Some(argument);
                continue;
            }
        };
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a file\n{USAGE}"))?;
        if place.replace(value).is_some() {
            return Err(format!("{argument} is given twice\n{USAGE}"));
        }
    }
    Ok(parsed)
}

/// Findings of both files, one a line.
fn check(catalogue: &str, policy: Option<&str>) -> Result<ExitCode, String> {
    let catalogue = ActionCatalogue::from_yaml_file(catalogue).err();
    let policy = policy.and_then(|policy| Policy::from_yaml_file(policy).err());
    let faults: Vec<ConfigError> = catalogue.into_iter().chain(policy).collect();
    if let Some(unreadable) = faults.iter().find(|fault| fault.findings().is_empty()) {
        return Err(told(unreadable));
    }
    let mut output = io::stdout().lock();
    if faults.is_empty() {
        let _ = writeln!(output, "ok");
        return Ok(ExitCode::SUCCESS);
    }
    for fault in faults {
        let _ = writeln!(output, "{fault}");
    }
    Ok(ExitCode::from(1))
}

fn decide(arguments: &Arguments) -> Result<(), String> {
    let (Some(catalogue), Some(file)) = (&arguments.catalogue, &arguments.file) else { return Err(USAGE.to_owned()) };
    let catalogue = ActionCatalogue::from_yaml_file(catalogue).map_err(|error| told(&error))?;
    let policy = arguments.policy.as_ref().map(Policy::from_yaml_file).transpose().map_err(|error| told(&error))?;
    let mut decide = Decide::new(catalogue, policy).remember(arguments.remember).explain(arguments.explain);
    let input: Box<dyn Read> = match file.as_str() {
        "-" => Box::new(io::stdin().lock()),
        path => Box::new(File::open(path).map_err(|error| format!("{path}: {error}"))?),
    };
    let mut output = BufWriter::new(io::stdout().lock());
    match decide.run(&mut BufReader::new(input), &mut output) {
        // The reader of a pipe went away: there is nobody to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| format!("{file}: {error}")),
    }
}

fn told(error: &ConfigError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
