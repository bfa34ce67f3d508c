//! How the burst detectors do on made streams of error lines: false alarms, injected bursts found.
//!
//! `cargo run --release --example burst_simulation -- [--series N] [--seed N]`. The streams are those of
//! `aiops_detectors::testing::bursts`.

use std::io::{self, Write};
use std::process::ExitCode;

use aiops_detectors::testing::bursts::{BurstTable, Stream, simulate};

const USAGE: &str = "usage: burst_simulation [--series N] [--seed N]";
/// Series of a stream: 700 days without a burst are a tenth of an alarm at the bar of 10 per 1,000 days.
const SERIES: u64 = 100;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "burst_simulation: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let (mut series, mut seed) = (SERIES, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let setting = match argument.as_str() {
            "--series" => &mut series,
            "--seed" => &mut seed,
            _ => return Err(USAGE.to_owned()),
        };
        let text = arguments.next().ok_or(USAGE)?;
        *setting = text.parse().map_err(|_| format!("{argument} {text:?} is no whole number"))?;
    }
    let table = BurstTable(simulate(&Stream::ALL, series, seed));
    match writeln!(io::stdout(), "{table}") {
        // The reader of a pipe went away: there is nobody to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| format!("standard output: {error}")),
    }
}
