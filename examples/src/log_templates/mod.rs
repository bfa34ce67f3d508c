//! Which kinds of lines are in these logs? The program around [`TemplateMiner`]; docs/guide/logs.md
//! describes it.

mod input;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use aiops_core::text;
use aiops_detectors::{LineFingerprint, TemplateMiner};

use self::input::{Input, Lines};
pub use crate::backtest::Console;
use crate::backtest::progress::Progress;

/// How to call the program.
pub const USAGE: &str = "\
usage: log_templates [--group-ids OUT] FILE...

Counts the kinds of lines in log files, plain or gzipped; - is standard input. Each line is a record of its
own. docs/guide/logs.md describes what is one kind.

  --group-ids OUT  write one id for each line of the input, in its order, also for blank ones: lines of one
                   group have the same id, as it is at the end of the input
  --help           this text";

/// Longest sample that is shown, in characters.
const SAMPLE: usize = 200;
/// Lines between two looks at the clock.
const TICK: u64 = 4096;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Where the ids go.
    pub group_ids: Option<PathBuf>,
    /// Files; `-` is standard input.
    pub files: Vec<PathBuf>,
}

impl Options {
    /// Reads the arguments; none when help is asked for.
    ///
    /// # Errors
    /// What is wrong with them, for a person.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let name = argument.to_string_lossy();
            if name == "--help" {
                return Ok(None);
            } else if name == "--" {
                options.files.extend(arguments.by_ref().map(PathBuf::from));
            } else if name == "--group-ids" || name.starts_with("--group-ids=") {
                let given = name.strip_prefix("--group-ids=").map(OsString::from);
                let out = given.or_else(|| arguments.next()).filter(|out| !out.is_empty());
                options.group_ids = Some(out.ok_or("--group-ids lacks its value")?.into());
            } else if name.starts_with("--") {
                return Err(format!("there is no option {name}\n{USAGE}"));
            } else {
                options.files.push(argument.into());
            }
        }
        if options.files.is_empty() {
            return Err(format!("no file is given\n{USAGE}"));
        }
        if let Some(out) = &options.group_ids
            && options.files.iter().any(|file| same(file, out))
        {
            return Err(format!("the ids would replace {}, which is to be read", out.display()));
        }
        Ok(Some(options))
    }
}

fn same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Runs it; how many files could not be read or written.
///
/// # Errors
/// Standard output that does not take the table.
pub fn run(options: &Options, console: Console<'_>) -> io::Result<u64> {
    let Console { out, err, terminal } = console;
    let mut miner = TemplateMiner::default();
    let mut ids = options.group_ids.as_ref().map(|_| Vec::new());
    let mut failed = Vec::new();
    let total = options.files.iter().map(|file| file.metadata().map_or(0, |meta| meta.len())).sum();
    let mut progress = Progress::new(err, terminal, total);
    for file in &options.files {
        if let Err(error) = read(file, &mut miner, ids.as_mut(), &mut progress) {
            failed.push(format!("{}: {error}", file.display()));
        }
        progress.file_done(file.metadata().map_or(0, |meta| meta.len()));
    }
    progress.clear();
    if let (Some(path), Some(ids)) = (&options.group_ids, &ids)
        && let Err(error) = write_ids(path, ids, &miner)
    {
        failed.push(format!("{}: {error}", path.display()));
    }
    for line in &failed {
        let _ = writeln!(err, "log_templates: {line}");
    }
    table(out, &miner)?;
    out.flush()?;
    Ok(failed.len() as u64)
}

fn read(
    file: &Path,
    miner: &mut TemplateMiner,
    mut ids: Option<&mut Vec<LineFingerprint>>,
    progress: &mut Progress<'_>,
) -> io::Result<()> {
    let name = file.display().to_string();
    let mut lines = Lines::new(Input::open(file)?);
    let mut count = 0;
    while let Some(line) = lines.next()? {
        let fingerprint = miner.observe(line).fingerprint;
        if let Some(ids) = &mut ids {
            ids.push(fingerprint);
        }
        count += 1;
        if count % TICK == 0 {
            progress.tick(&name, lines.read());
        }
    }
    Ok(())
}

/// One id for each line, its group as it is now.
fn write_ids(path: &Path, ids: &[LineFingerprint], miner: &TemplateMiner) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for id in ids {
        writeln!(out, "{}", miner.resolve(*id))?;
    }
    out.flush()
}

fn table(out: &mut dyn Write, miner: &TemplateMiner) -> io::Result<()> {
    let groups = miner.groups();
    write!(out, "{} lines, {} templates", miner.lines(), groups.len())?;
    if miner.evicted() > 0 {
        write!(out, " ({} lines were of kinds met too rarely to be kept)", miner.evicted())?;
    }
    writeln!(out, "\n\n{:>10} {:>6}  {:16}  template, and one line", "count", "share", "id")?;
    for group in groups {
        let share = 100.0 * group.count as f64 / (miner.lines().max(1)) as f64;
        let template = shown(&group.template);
        writeln!(out, "{:>10} {share:>5.1}%  {}  {template}", group.count, group.fingerprint)?;
        let sample = shown(&group.sample);
        if sample != template {
            writeln!(out, "{:37}{sample}", "")?;
        }
    }
    Ok(())
}

/// A foreign text on one line of a terminal.
fn shown(foreign: &str) -> String {
    let plain: String = foreign.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text::clip(&plain, SAMPLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_in_any_order() {
        let parse = |all: &[&str]| Options::parse(all.iter().map(OsString::from));
        let options = parse(&["a.log", "--group-ids", "ids", "-"]).unwrap().unwrap();
        assert_eq!(options.files, [PathBuf::from("a.log"), PathBuf::from("-")]);
        assert_eq!(options.group_ids, Some(PathBuf::from("ids")));
        assert_eq!(parse(&["--group-ids=x", "--", "--odd"]).unwrap().unwrap().files, [PathBuf::from("--odd")]);
        assert!(parse(&["--help"]).unwrap().is_none());
        for wrong in
            [&["--group-ids", "x"][..], &["a", "--group-ids"], &["--nonsense", "a"], &["a", "--group-ids", "a"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
