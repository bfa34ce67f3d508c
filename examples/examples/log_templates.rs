//! Which kinds of lines are in these logs?
//!
//! `cargo run --release --example log_templates -- [--group-ids OUT] FILE…` over plain or gzipped files, `-` for
//! standard input; docs/guide/logs.md describes it. Exit code 1 where a file could not be read or written
//! (the others still run), 2 for arguments that do not read.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use aiops_examples::log_templates::{Console, Options, USAGE, run};

fn main() -> ExitCode {
    let mut err = io::stderr();
    let mut out = BufWriter::new(io::stdout());
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            let _ = writeln!(out, "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            let _ = writeln!(err, "log_templates: {message}");
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
            let _ = writeln!(err, "log_templates: could not write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}
