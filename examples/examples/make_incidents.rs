//! Writes the recorded incidents of a made-up shop: `cargo run --example make_incidents -- [DIR [SEED]]`.
//! Without arguments it writes those of `examples/data/incidents` again.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use aiops_examples::features::workspace_root;
use aiops_examples::incidents::{SEED, incidents, menu, write};

fn main() -> ExitCode {
    match make() {
        Ok(line) => {
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            let _ = writeln!(io::stderr(), "make_incidents: {message}");
            ExitCode::FAILURE
        }
    }
}

fn make() -> Result<String, String> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(|| workspace_root().join("examples/data/incidents"), PathBuf::from);
    let seed = match arguments.next() {
        Some(text) => text.parse().map_err(|_| format!("seed {text:?} is no whole number"))?,
        None => SEED,
    };
    let failed = |error: io::Error| format!("could not write to {}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let made = incidents(seed);
    write(&made, BufWriter::new(File::create(folder.join("incidents.jsonl")).map_err(failed)?)).map_err(failed)?;
    let menu = menu().map_err(|error| error.to_string())?;
    let menu = serde_json::to_string_pretty(&menu).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("menu.json"), menu + "\n").map_err(failed)?;
    Ok(format!("{} incidents of seed {seed} in {}", made.len(), folder.display()))
}
