//! The weekly review of an audit log.
//!
//! `cargo run --example review -- AUDIT.jsonl…` lists everything that passed the threshold in the seven days before the
//! newest decision, what became of it, and whether confidences can be trusted, as Markdown (`--json`: as JSON).
//! `--verdict ID right|wrong|unclear --by NAME` notes a verdict in `AUDIT.jsonl.verdicts.jsonl`, a chain of its own:
//! the audit itself is open in the process that writes it. docs/guide/operating.md has all of it.
//!
//! Exit code 0; 1 where lines could not be used; 2 where it cannot be done.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use aiops_core::jiff::Timestamp;
use aiops_examples::review::run;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut output = BufWriter::new(io::stdout().lock());
    let outcome = run(&arguments, Timestamp::now(), &mut output);
    let _ = output.flush();
    match outcome {
        Ok(all_read) => ExitCode::from(u8::from(!all_read)),
        Err(message) => {
            let _ = writeln!(io::stderr(), "review: {message}");
            ExitCode::from(2)
        }
    }
}
