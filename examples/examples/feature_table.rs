//! Writes the feature tables: `feature_table` fills the README's, `feature_table -- --list` prints
//! `crate feature` lines, `feature_table -- --measure` builds every crate and feature from nothing
//! and fills the table in docs/PERFORMANCE.md with crates and seconds (minutes of work; run it on a
//! machine that does nothing else).

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use aiops_examples::features::{Library, libraries, table, with_marked, workspace_root};

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    let outcome = match argument.as_deref() {
        None => libraries().and_then(|libraries| fill("README.md", "features", &table(&libraries))),
        Some("--list") => libraries().and_then(|libraries| list(&libraries)),
        Some("--measure") => libraries()
            .and_then(|libraries| measure(&libraries))
            .and_then(|measured| fill("docs/PERFORMANCE.md", "build", &measured)),
        Some(other) => Err(io::Error::other(format!("unknown argument {other:?}: --list or --measure"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "feature_table: {error}");
            ExitCode::from(2)
        }
    }
}

fn list(libraries: &[Library]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    libraries
        .iter()
        .flat_map(|library| &library.features)
        .try_for_each(|feature| writeln!(out, "{} {}", feature.package, feature.name))
}

fn fill(file: &str, mark: &str, inside: &str) -> io::Result<()> {
    let path = workspace_root().join(file);
    let text = std::fs::read_to_string(&path)?;
    let text = with_marked(&text, mark, inside)
        .ok_or_else(|| io::Error::other(format!("{file} has no <!-- {mark} --> … <!-- /{mark} --> block")))?;
    std::fs::write(&path, text)
}

/// A cold build: the crates that it compiled and how long it took.
struct Build {
    crates: BTreeSet<String>,
    took: Duration,
}

fn measure(libraries: &[Library]) -> io::Result<String> {
    let target = workspace_root().join("target/feature-table");
    let mut text = String::from("| build | crates | added | seconds | added |\n|---|---:|---:|---:|---:|\n");
    // What a newcomer builds first, once it is there.
    if workspace_root().join("examples/examples/quickstart.rs").exists() {
        let quickstart = cold_build(&target, &["--example", "quickstart"])?;
        text.push_str(&row("`cargo build --example quickstart`", &quickstart, None));
    }
    for library in libraries {
        let bare = cold_build(&target, &["-p", &library.name, "--no-default-features"])?;
        text.push_str(&row(&format!("`{}`, no features", library.name), &bare, None));
        for feature in &library.features {
            let build =
                cold_build(&target, &["-p", &library.name, "--no-default-features", "--features", &feature.name])?;
            text.push_str(&row(&format!("`{}`, `{}`", library.name, feature.name), &build, Some(&bare)));
        }
    }
    Ok(text)
}

fn row(name: &str, build: &Build, bare: Option<&Build>) -> String {
    let (crates, seconds) = (build.crates.len(), build.took.as_secs_f64());
    let (added_crates, added_seconds) = bare.map_or((String::new(), String::new()), |bare| {
        (
            build.crates.difference(&bare.crates).count().to_string(),
            format!("{:.0}", (seconds - bare.took.as_secs_f64()).max(0.0)),
        )
    });
    format!("| {name} | {crates} | {added_crates} | {seconds:.0} | {added_seconds} |\n")
}

/// The faster of two: whatever else the machine does only adds to the time.
fn cold_build(target: &Path, arguments: &[&str]) -> io::Result<Build> {
    let (first, second) = (cold_build_once(target, arguments)?, cold_build_once(target, arguments)?);
    Ok(if first.took <= second.took { first } else { second })
}

fn cold_build_once(target: &Path, arguments: &[&str]) -> io::Result<Build> {
    if target.exists() {
        std::fs::remove_dir_all(target)?;
    }
    let started = Instant::now();
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "--message-format", "json", "--target-dir"])
        .arg(target)
        .args(arguments)
        .current_dir(workspace_root())
        .stderr(Stdio::inherit())
        .output()?;
    let took = started.elapsed();
    std::fs::remove_dir_all(target)?;
    if !output.status.success() {
        return Err(io::Error::other(format!("cargo build {} failed", arguments.join(" "))));
    }
    let crates = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| message["package_id"].as_str().map(str::to_owned))
        .collect();
    Ok(Build { crates, took })
}
