//! How strong the simulation is: each planted bug of the sources is tried, until a seed finds it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// A bug that so many seeds do not find survives.
const SEEDS: u64 = 1_000;
/// How many bugs are tried at a time.
const AT_ONCE: usize = 2;

/// The names of all planted bugs, from the sources.
fn planted(folder: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            planted(&path, names);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for rest in text.split("mutant!(\"").skip(1) {
            names.push(rest.split('"').next().unwrap().to_owned());
        }
    }
}

#[test]
fn each_planted_bug_is_found() {
    let mut names = Vec::new();
    planted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    names.sort();
    names.dedup();
    assert!(names.len() >= 20, "{names:?}");
    if let Ok(only) = std::env::var("SIM_ONLY") {
        names.retain(|name| only.split(',').any(|one| one == name));
    }
    let all = names.len();
    let (left, survivors) = (Mutex::new(names), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = { left.lock().unwrap().pop() } {
                    match seed_that_finds(&name) {
                        Some((seed, how)) => println!("mutant {name} found at seed {seed} ({how})"),
                        None => {
                            println!("mutant {name} SURVIVED");
                            survivors.lock().unwrap().push(name);
                        }
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner().unwrap();
    println!("mutants: {} of {all} found within {SEEDS} seeds", all - survivors.len());
    assert!(survivors.is_empty(), "survived: {survivors:?}");
}

/// The first seed that is red with this bug, and what it says.
fn seed_that_finds(name: &str) -> Option<(String, String)> {
    let ran = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "whatever_fails_each_action_runs_at_most_once_and_each_report_ends", "--nocapture"])
        .env("SIM_MUTANT", name)
        .env("SIM_SEEDS", SEEDS.to_string())
        .env_remove("SIM_SEED")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    let (_, rest) = text.split_once("SIM_SEED=")?;
    let seed = rest.split(' ').next()?.to_owned();
    let how = rest.lines().next()?.split_once("# ")?.1.to_owned();
    Some((seed, how))
}
