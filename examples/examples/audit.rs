//! Checks an audit log.
//!
//! `cargo run --example audit -- verify AUDIT.jsonl… [--expect HASH]`: several files are one chain that was rotated,
//! the oldest first (`-` reads standard input). It prints how many records there are and the hash of the last one:
//! keep both elsewhere, since the file alone cannot show that its end was cut off. `--expect` takes a hash that was
//! kept, and looks for its record.
//!
//! Exit code 0; 1 where the chain is broken, with the first broken line, or where the expected record is missing;
//! 2 where a file cannot be read.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::process::ExitCode;

use aiops_examples::audit::{Checked, check};

const USAGE: &str = "usage: audit verify AUDIT.jsonl… [--expect HASH]   (FILE - reads standard input)";

fn main() -> ExitCode {
    let (code, line) = match run() {
        Ok(checked) => (u8::from(!checked.holds), checked.line),
        Err(message) => {
            let _ = writeln!(io::stderr(), "audit: {message}");
            return ExitCode::from(2);
        }
    };
    let _ = writeln!(io::stdout(), "{line}");
    ExitCode::from(code)
}

fn run() -> Result<Checked, String> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("verify") {
        return Err(USAGE.to_owned());
    }
    let (mut files, mut expect) = (Vec::new(), None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--expect" if expect.is_none() => expect = Some(arguments.next().ok_or(USAGE)?),
            other if other.starts_with("--") => return Err(format!("unexpected {other:?}; {USAGE}")),
            _ => files.push(argument),
        }
    }
    if files.is_empty() {
        return Err(USAGE.to_owned());
    }
    let mut readers = Vec::new();
    for path in files {
        let input: Box<dyn Read> = match path.as_str() {
            "-" => Box::new(io::stdin()),
            path => Box::new(File::open(path).map_err(|error| format!("{path}: {error}"))?),
        };
        readers.push((path, BufReader::new(input)));
    }
    check(readers, expect.as_deref())
}
