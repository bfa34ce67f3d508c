//! One incident over three processes: detection, triage and remediation, each a service of its own.
//!
//! `cargo run --example three_services --features buses -- detection|triage|remediation --bus nats://… | redis://… |
//! kafka://…`, once for each service, in any order. Detection plays a recorded incident of a web shop as if it
//! happened now, a row of five minutes each second; triage reports by rules; remediation looks at a simulated cluster
//! and changes nothing. Each prints a line for what it puts onto the bus, which begins with the trace: one incident
//! has one trace id in all three. Several processes of one service share what they know with `--state redis://…
//! --replica NAME`, each with a name of its own. Ends well on SIGINT and SIGTERM; exit code 2 where it cannot start
//! or go on.

use std::io::{self, Write};
use std::process::ExitCode;

use aiops_core::error_chain;
use aiops_examples::three_services::serve;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let say = |line: &str| drop(writeln!(io::stdout(), "{line}"));
    match serve(arguments, say).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "three_services: {}", error_chain(&*error));
            ExitCode::from(2)
        }
    }
}
