//! Does everything work that a service is about to rely on?
//!
//! `cargo run --example doctor --features model [-- OPTIONS]`: the model that options or the environment name, as
//! `quickstart` takes them, the context sources, and the catalogue against the handlers. One line a check: ok, warn or
//! FAIL, and what to do. Exit code 1 where one failed, 2 for arguments that cannot be read. docs/guide/models.md
//! describes it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use aiops_core::SystemClock;
use aiops_core::doctor::{Check, Health};
use aiops_examples::doctor;
use aiops_examples::model::{ModelArguments, OPTIONS};

const USAGE: &str = "usage: doctor [--catalogue FILE] [OPTIONS]   (the catalogue of examples/catalogue unless named)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (mut catalogue, mut model) = (None, ModelArguments::default());
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let option = argument.to_string_lossy();
        let taken = match &*option {
            "--help" | "-h" => Err(format!("{USAGE}\n\n{OPTIONS}")),
            "--catalogue" => {
                catalogue = arguments.next().map(PathBuf::from);
                if catalogue.is_some() { Ok(true) } else { Err("--catalogue lacks its value".to_owned()) }
            }
            option => model.takes(option, || arguments.next()?.into_string().ok()),
        };
        match taken {
            Ok(true) => {}
            Ok(false) => return refused(&format!("unexpected {option:?}; {USAGE}")),
            Err(message) => return refused(&message),
        }
    }
    let settings = model.settings(|name| std::env::var(name).ok());
    let mut checks = doctor::model(settings, &SystemClock).await;
    checks.extend(doctor::sources(&SystemClock).await);
    checks.extend(doctor::catalogue(catalogue.as_deref()));
    let mut out = io::stdout();
    for check in &checks {
        // The reader of a pipe may be gone; the exit code says it all the same.
        let _ = writeln!(out, "{check}");
    }
    let failed = |check: &Check| check.health == Health::Fail;
    if checks.iter().any(failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn refused(message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "doctor: {message}");
    ExitCode::from(2)
}
