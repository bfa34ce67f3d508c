//! What would a scorer have told on yesterday's samples? The program around
//! [`aiops_detectors::backtest`]; docs/guide/backtest.md describes it.

pub mod args;
mod faults;
pub mod figures;
mod files;
pub(crate) mod progress;
mod report;
mod scores;
mod series;
mod table;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use aiops_core::text;
use aiops_detectors::scorer_by_name;

use self::args::Options;
use self::faults::Faults;
use self::figures::Figures;
use self::files::Given;
use self::progress::Progress;
use self::report::{Plot, Report};
use self::series::Lane;
use self::table::Table;

/// Where the program writes.
pub struct Console<'a> {
    /// Figures.
    pub out: &'a mut dyn Write,
    /// Progress and errors.
    pub err: &'a mut dyn Write,
    /// Whether `err` is a terminal.
    pub terminal: bool,
}

impl std::fmt::Debug for Console<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

/// Runs it; gives how many files or paths could not be read or written, each told on `err`.
///
/// # Errors
/// A console that cannot be written to.
pub fn run(options: &Options, console: Console<'_>) -> io::Result<u64> {
    let lanes = lanes(options);
    // What cannot be written is better known before the run than after it.
    let (inputs, given, errors) = files::inputs(&options.paths, options.scores.as_deref());
    let page = match places(options, &given) {
        Ok(page) => page,
        Err(error) => {
            writeln!(console.err, "backtest: {error}")?;
            return Ok(1);
        }
    };
    let mut report = page.is_some().then(|| Report::new(&lanes, options.labels, options.alerts_per_week));
    let mut failed = errors.len() as u64;
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
    let total_bytes = inputs.iter().map(|input| size(&input.path)).sum();
    let mut progress = Progress::new(console.err, console.terminal, total_bytes);
    errors.iter().for_each(|error| progress.say(error));

    let names: Vec<String> = inputs.iter().map(|input| input.relative.display().to_string()).collect();
    let table = Table::new(options, &names);
    let mut totals = vec![Figures::default(); lanes.len()];
    let mut faults = Faults::default();
    let mut read = 0;
    table.header(console.out)?;
    for (input, name) in inputs.iter().zip(&names) {
        let mut plot = report.as_ref().map(|_| Plot::new(lanes.len()));
        let mut tick = |bytes| progress.tick(name, bytes);
        let spared = lanes.iter().filter_map(|lane| lane.out.as_deref()).try_for_each(|out| given.spare(input, out));
        let outcome = spared.and_then(|()| series::run(input, &lanes, options.labels, plot.as_mut(), &mut tick));
        progress.file_done(size(&input.path));
        progress.clear();
        match outcome {
            Err(error) => {
                progress.say(&error);
                failed += 1;
            }
            Ok(outcome) => {
                read += 1;
                if let (Some(report), Some(plot)) = (&mut report, &plot) {
                    report.push(name, &outcome.figures, plot);
                }
                outcome.note.iter().for_each(|note| progress.say(note));
                faults.merge(outcome.faults);
                for ((total, figures), lane) in totals.iter_mut().zip(&outcome.figures).zip(&lanes) {
                    table.line(console.out, name, lane.scorer.name(), figures)?;
                    total.merge(figures);
                }
                console.out.flush()?;
            }
        }
    }
    for (total, lane) in totals.iter().zip(&lanes) {
        table.line(console.out, &format!("total of {read}"), lane.scorer.name(), total)?;
    }
    let (summary, faults) = (summary(options, &lanes, &totals, read), faults.lines());
    writeln!(console.out)?;
    summary.iter().try_for_each(|line| writeln!(console.out, "{line}"))?;
    if !faults.is_empty() {
        writeln!(console.out, "\nrows that could not be scored (score 0):")?;
    }
    faults.iter().try_for_each(|line| writeln!(console.out, "  {line}"))?;
    console.out.flush()?;
    if let (Some(report), Some((path, file))) = (report, page) {
        let mut file = io::BufWriter::new(file);
        if let Err(error) = report.write(&mut file, &totals, &summary, &faults).and_then(|()| file.flush()) {
            progress.say(&format!("could not write {}: {error}", path.display()));
            failed += 1;
        }
    }
    Ok(failed)
}

/// Makes the folder of the scores and the file of the report.
fn places(options: &Options, given: &Given) -> Result<Option<(PathBuf, fs::File)>, String> {
    if let Some(out) = &options.scores {
        fs::create_dir_all(out).map_err(|error| format!("could not create {}: {error}", out.display()))?;
    }
    let Some(path) = &options.report else { return Ok(None) };
    if given.holds(path) {
        return Err(format!("could not write {}: it was given as input", path.display()));
    }
    let file = fs::File::create(path).map_err(|error| format!("could not write {}: {error}", path.display()))?;
    Ok(Some((path.clone(), file)))
}

fn lanes(options: &Options) -> Vec<Lane> {
    let several = options.scorers.len() > 1;
    let lane = |name: &String| {
        let scorer = scorer_by_name(name)?;
        let threshold = options.threshold.unwrap_or_else(|| scorer.default_threshold());
        let out = options.scores.as_ref().map(|out| if several { out.join(name) } else { out.clone() });
        Some(Lane { scorer, threshold, out })
    };
    options.scorers.iter().filter_map(lane).collect()
}

/// What follows the table: rates and thresholds, a line for each scorer.
fn summary(options: &Options, lanes: &[Lane], totals: &[Figures], read: u64) -> Vec<String> {
    let number = text::number;
    let wanted = number(options.alerts_per_week);
    let line = |(lane, total): (&Lane, &Figures)| {
        let suggestion = match total.suggest(options.alerts_per_week) {
            Some((threshold, rate)) => {
                format!("for {wanted} a week and series take {} (gives {rate:.2})", number(threshold))
            }
            None if total.has_scores() => format!("no threshold gives as few as {wanted} a week and series"),
            None if total.scored > 0 => "no score was above 0".to_owned(),
            None => "no row had enough samples before it".to_owned(),
        };
        let (name, threshold, a_day) = (lane.scorer.name(), number(lane.threshold), total.alerts_a_day);
        format!("{name}: threshold {threshold} gave {a_day:.2} alerts a day over {read} series; {suggestion}")
    };
    lanes.iter().zip(totals).map(line).collect()
}
