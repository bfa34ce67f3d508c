//! One file through all scorers, row by row.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use aiops_core::{Band, DataState};
use aiops_detectors::backtest::{Episodes, EventScorer, skipped};
use aiops_detectors::{CsvReader, CsvRow, Sample, Scorer, count_csv_rows};
use jiff::Timestamp;

use super::faults::Faults;
use super::figures::Figures;
use super::files::Input;
use super::report::{Mark, Plot};
use super::scores::{BUFFER, Scores};

/// Rows between two signs of progress.
const TICK: u64 = 1 << 14;

/// One scorer of a run.
#[derive(Debug)]
pub(super) struct Lane {
    /// An empty scorer.
    pub(super) scorer: Box<dyn Scorer>,
    /// Alerts from this statistic on.
    pub(super) threshold: f64,
    /// Where its scores go.
    pub(super) out: Option<PathBuf>,
}

/// What a file gave.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// One for each scorer.
    pub(super) figures: Vec<Figures>,
    /// Its bad rows.
    pub(super) faults: Faults,
    /// What a person should know beside that.
    pub(super) note: Option<String>,
}

/// Runs a file through all lanes. `progress` is told how many bytes have been read; `plot` gets the samples.
///
/// # Errors
/// What is wrong with the file as a whole, or with where the scores go.
pub(super) fn run(
    input: &Input,
    lanes: &[Lane],
    labels: bool,
    mut plot: Option<&mut Plot>,
    progress: &mut dyn FnMut(u64),
) -> Result<Outcome, String> {
    let read_error = |error: &dyn std::fmt::Display| format!("{}: {error}", input.path.display());
    let open = || File::open(&input.path).map(|file| BufReader::with_capacity(BUFFER, file));
    if labels && fs::metadata(&input.path).is_ok_and(|meta| !meta.is_file()) {
        return Err(read_error(&"for --labels a file is read twice, which this cannot be"));
    }
    let mut rows =
        CsvReader::new(open().map_err(|error| read_error(&error))?).map_err(|error| read_error(&chain(&error)))?;
    let mut outcome = Outcome::default();
    // The first share of a series is not scored: its length must be known before.
    let mut score_from = None;
    if labels && rows.has_label() {
        let count = open().and_then(count_csv_rows).map_err(|error| read_error(&error))?;
        score_from = Some(skipped(count));
    } else if labels {
        outcome.note = Some(format!("{}: no column label", input.path.display()));
    }
    let (mut running, mut marks) = (Vec::new(), Vec::new());
    for lane in lanes {
        running.push(Running::start(lane, input, score_from)?);
    }
    let (mut bad, mut count) = (0, 0);
    let (mut first, mut last) = (None, None);
    loop {
        let bytes = rows.bytes();
        let Some(row) = rows.next_row().map_err(|error| read_error(&chain(&error)))? else { break };
        if count % TICK == 0 {
            progress(bytes);
        }
        count += 1;
        let sample = judge(&row, last, &input.path, &mut outcome.faults);
        if let Some(sample) = sample {
            first = first.or(Some(sample.at));
            last = Some(sample.at);
        }
        bad += u64::from(sample.is_none());
        let labelled = (score_from.is_some() || plot.is_some()) && labelled(&row, &input.path, &mut outcome.faults);
        let scored = score_from.is_some_and(|from| count > from);
        marks.clear();
        let mut band = None;
        for (place, lane) in running.iter_mut().enumerate() {
            let (mark, expected) = lane.take(&row, sample, scored.then_some((labelled, last)))?;
            marks.push(mark);
            if place == 0 {
                band = expected;
            }
        }
        match (&mut plot, sample) {
            (Some(plot), Some(sample)) => plot.push(sample.at, sample.value, band, &marks, labelled),
            (Some(plot), None) if labelled => plot.label(),
            _ => {}
        }
    }
    progress(rows.bytes());
    // A sample stands for the time to the next one: two samples a day apart are two days.
    let good = (count - bad) as f64;
    let span = first.zip(last).map_or(0.0, |(first, last)| last.duration_since(first).as_secs_f64());
    let days = if good > 1.0 { span / 86_400.0 * good / (good - 1.0) } else { 0.0 };
    for lane in running {
        let mut figures = lane.finish()?;
        (figures.rows, figures.bad, figures.days) = (count, bad, days);
        figures.alerts_a_day = if days > 0.0 { figures.alerts as f64 / days } else { 0.0 };
        outcome.figures.push(figures);
    }
    Ok(outcome)
}

/// The sample of a row that can be scored; what is wrong with another one is counted.
fn judge(row: &CsvRow<'_>, last: Option<Timestamp>, path: &Path, faults: &mut Faults) -> Option<Sample> {
    match (&row.sample, last) {
        (Err(fault), _) => {
            faults.push(fault.kind(), path, row.line, || fault.to_string());
            None
        }
        (Ok(sample), Some(last)) if sample.at <= last => {
            let kind = if sample.at == last { "time repeats" } else { "time goes backwards" };
            faults.push(kind, path, row.line, || kind.to_owned());
            None
        }
        (Ok(sample), _) => Some(*sample),
    }
}

/// A label is a number above 0, or `true`; an empty one is none.
fn labelled(row: &CsvRow<'_>, path: &Path, faults: &mut Faults) -> bool {
    let label = row.label.as_deref().unwrap_or_default().trim();
    match label {
        "" | "0" => false,
        "1" => true,
        other => match other.parse::<f64>() {
            Ok(number) => number > 0.0,
            // As pandas writes them.
            Err(_) if other.eq_ignore_ascii_case("true") => true,
            Err(_) if other.eq_ignore_ascii_case("false") => false,
            Err(_) => {
                let text =
                    || format!("label is no number: {:?} (the row is scored)", aiops_core::text::clip(other, 40));
                faults.push("label is no number", path, row.line, text);
                false
            }
        },
    }
}

/// A lane on its way through a file.
struct Running {
    scorer: Box<dyn Scorer>,
    threshold: f64,
    out: Option<Scores>,
    episodes: Episodes,
    events: Option<EventScorer>,
    figures: Figures,
}

impl Running {
    fn start(lane: &Lane, input: &Input, score_from: Option<u64>) -> Result<Self, String> {
        Ok(Self {
            scorer: lane.scorer.fresh(),
            threshold: lane.threshold,
            out: lane.out.as_ref().map(|out| Scores::create(out.join(&input.relative))).transpose()?,
            episodes: Episodes::default(),
            events: score_from.map(|_| EventScorer::default()),
            figures: Figures::default(),
        })
    }

    /// What it scores, and the band it expected; `labels`: the label of the row and the newest time, for rows that are scored against labels.
    fn take(
        &mut self,
        row: &CsvRow<'_>,
        sample: Option<Sample>,
        labels: Option<(bool, Option<Timestamp>)>,
    ) -> Result<(Mark, Option<Band>), String> {
        let score = sample.map(|sample| self.scorer.observe(sample.at, sample.value));
        let (statistic, band) = score.map_or((0.0, None), |score| (score.statistic.abs(), score.band));
        let alert = statistic >= self.threshold;
        self.figures.scored += u64::from(score.is_some_and(|score| score.state == DataState::Ok));
        self.episodes.push(alert);
        self.figures.rates.push(statistic);
        if let (Some(events), Some((labelled, at))) = (&mut self.events, labels) {
            events.push(labelled, alert, at);
        }
        if let Some(out) = &mut self.out {
            out.write(&row.timestamp, statistic, alert)?;
        }
        Ok((Mark { score: statistic, alert }, band))
    }

    fn finish(mut self) -> Result<Figures, String> {
        if let Some(out) = self.out.take() {
            out.finish()?;
        }
        self.figures.alerts = self.episodes.count();
        self.figures.events = self.events.map(EventScorer::finish);
        Ok(self.figures)
    }
}

/// An error with its reasons.
fn chain(error: &dyn std::error::Error) -> String {
    let reason = error.source().map(|source| format!(": {source}"));
    format!("{error}{}", reason.unwrap_or_default())
}
