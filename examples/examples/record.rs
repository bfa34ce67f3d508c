//! Keeps a model's replies to recorded incidents, so that `evaluate` needs no model afterwards.
//!
//! `cargo run --release --example record --features model -- --incidents DIR [OPTIONS]`; `--help` lists the options,
//! docs/guide/models.md describes it. Exit code 2 where something cannot be used.

use std::io::{self, Write};
use std::process::ExitCode;

use aiops_examples::model::OPTIONS;
use aiops_examples::record::{Options, USAGE, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut out = io::stdout();
    match record(&mut out).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "record: {message}");
            ExitCode::from(2)
        }
    }
}

async fn record(out: &mut dyn Write) -> Result<(), String> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        return writeln!(out, "{USAGE}\n\n{OPTIONS}").map_err(|error| error.to_string());
    };
    let model = options.model.settings(|name| std::env::var(name).ok())?;
    let to = options.out.as_ref().unwrap_or(&options.incidents);
    run(&options.incidents, &options.only, to, &model, out).await
}
