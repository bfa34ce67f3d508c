//! What would a scorer have told on yesterday's samples?
//!
//! `cargo run --release --example backtest -- [--scorer NAME] [--scores OUT] [--labels] [--report OUT.html] PATH…`
//! over CSV files or folders; docs/guide/backtest.md describes it. Exit code 1 where a file could not be read
//! or written (the others still run), 2 for arguments that do not read.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use aiops_examples::backtest::args::{Options, USAGE, known};
use aiops_examples::backtest::{Console, run};

fn main() -> ExitCode {
    let mut err = io::stderr();
    let mut out = BufWriter::new(io::stdout());
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = writeln!(out, "{USAGE}\n\nscorers: {}", known());
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            let _ = writeln!(err, "backtest: {message}");
            return ExitCode::from(2);
        }
    };
    let terminal = err.is_terminal();
    match run(&options, Console { out: &mut out, err: &mut err, terminal }) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        // The reader of a pipe went away: there is nobody to tell.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(err, "backtest: could not write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}
