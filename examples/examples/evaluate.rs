//! How well do triagers do on recorded incidents?
//!
//! `cargo run --release --example evaluate -- --incidents DIR --out DIR [OPTIONS]` needs no key and no network;
//! docs/guide/models.md describes it. Exit code 1 where the gate was missed or a line could not be read, 2 for
//! arguments or files that cannot be used.

use std::io::{self, Write};
use std::process::ExitCode;

use aiops_examples::evaluate::args::{Options, USAGE};
use aiops_examples::evaluate::{Outcome, run};

#[tokio::main]
async fn main() -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = writeln!(out, "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            let _ = writeln!(err, "evaluate: {message}");
            return ExitCode::from(2);
        }
    };
    match run(&options, &mut out, &mut err).await {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Missed) => ExitCode::FAILURE,
        Err(message) => {
            let _ = writeln!(err, "evaluate: {message}");
            ExitCode::from(2)
        }
    }
}
