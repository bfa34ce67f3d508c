//! Made streams of error lines, all from seeds: how often a burst detector fires without a burst, and how
//! many injected bursts it finds.
//!
//! The figures are those of no real system: they hold two detectors side by side, and are the same on
//! every machine.

mod streams;

use std::collections::BTreeMap;
use std::fmt;

pub use self::streams::Stream;
use crate::burst::BurstTest;
use crate::burst::board::Board;
use crate::log_burst::Windows;
use crate::random::Random;

/// Minutes of a window and of a day.
const WINDOW_MINUTES: usize = 5;
const DAY_MINUTES: usize = 1_440;
/// Days of a series; the first two are not scored, so that the time of day is known.
const DAYS: usize = 9;
const LEARNING_DAYS: usize = 2;
/// Windows of an injected burst.
const BURST_WINDOWS: usize = 3;
/// What a burst adds to each of its windows: four times the mean there, and this at least.
const BURST_TIMES: f64 = 4.0;
const BURST_LEAST: f64 = 20.0;

/// How a detector did on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// Windows that fired without a burst; by the minute, bursts that were opened.
    pub false_alarms: usize,
    /// Bursts injected.
    pub injected: usize,
    /// Bursts of which a window fired.
    pub found: usize,
    /// Days scored without a burst.
    pub series_days: usize,
}

impl Outcome {
    /// False alarms per 1,000 days of one series.
    #[must_use]
    pub fn false_per_1000_days(&self) -> f64 {
        1_000.0 * self.false_alarms as f64 / self.series_days.max(1) as f64
    }

    /// Share of the bursts that were found.
    #[must_use]
    pub fn found_share(&self) -> f64 {
        self.found as f64 / self.injected.max(1) as f64
    }

    fn add(&mut self, other: Self) {
        self.false_alarms += other.false_alarms;
        self.injected += other.injected;
        self.found += other.found;
        self.series_days += other.series_days;
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct StreamOutcome {
    /// The stream.
    pub stream: Stream,
    /// The field report's rule, [`LogBurst`](crate::LogBurst), each five minutes.
    pub report: Outcome,
    /// [`BurstTest`], each five minutes.
    pub windows: Outcome,
    /// [`AdaptiveLogBurst`](crate::AdaptiveLogBurst): the same and windows that slide by a minute.
    pub sliding: Outcome,
}

/// Runs the simulation: `series` series of nine days for each stream, once without a burst and once with
/// one at a random window of each scored day.
#[must_use]
pub fn simulate(streams: &[Stream], series: u64, seed: u64) -> Vec<StreamOutcome> {
    streams.iter().map(|stream| run(*stream, series, seed)).collect()
}

fn run(stream: Stream, series: u64, seed: u64) -> StreamOutcome {
    let zero = Outcome::default();
    let mut outcome = StreamOutcome { stream, report: zero, windows: zero, sliding: zero };
    for number in 0..series {
        let mut random = Random::new(&[seed, number]);
        let mut minutes: Vec<u64> = (0..DAYS * DAY_MINUTES).map(|minute| stream.draw(minute, &mut random)).collect();
        let quiet = |fired: usize| Outcome { false_alarms: fired, series_days: DAYS - LEARNING_DAYS, ..zero };
        outcome.report.add(quiet(scored(&by_report(&minutes)).len()));
        outcome.windows.add(quiet(scored(&by_windows(&minutes)).len()));
        outcome.sliding.add(quiet(scored(&by_minutes(&minutes)).len()));
        let bursts = inject(stream, &mut minutes, &mut random);
        let found = |fired: &[usize]| {
            let hit = |burst: &&usize| fired.iter().any(|window| (**burst..**burst + BURST_WINDOWS).contains(window));
            Outcome { injected: bursts.len(), found: bursts.iter().filter(hit).count(), ..zero }
        };
        outcome.report.add(found(&by_report(&minutes)));
        outcome.windows.add(found(&by_windows(&minutes)));
        outcome.sliding.add(found(&by_minutes(&minutes)));
    }
    outcome
}

/// Adds a burst to a window of each scored day; gives their first windows.
fn inject(stream: Stream, minutes: &mut [u64], random: &mut Random) -> Vec<usize> {
    let day_windows = DAY_MINUTES / WINDOW_MINUTES;
    let one = |day: usize| {
        let first = day * day_windows + random.whole(0, day_windows - BURST_WINDOWS);
        for window in first..first + BURST_WINDOWS {
            let start = window * WINDOW_MINUTES;
            let extra = (BURST_TIMES * stream.mean(start)).max(BURST_LEAST).round() as usize;
            for (place, minute) in minutes[start..start + WINDOW_MINUTES].iter_mut().enumerate() {
                *minute += (extra * (place + 1) / WINDOW_MINUTES - extra * place / WINDOW_MINUTES) as u64;
            }
        }
        first
    };
    (LEARNING_DAYS..DAYS).map(one).collect()
}

fn scored(fired: &[usize]) -> &[usize] {
    let from = LEARNING_DAYS * DAY_MINUTES / WINDOW_MINUTES;
    &fired[fired.partition_point(|window| *window < from)..]
}

/// Windows for which `fires` says so.
fn windows(minutes: &[u64], mut fires: impl FnMut(u32, u64) -> bool) -> Vec<usize> {
    let counts = minutes.chunks(WINDOW_MINUTES).map(|window| window.iter().sum());
    (0..).zip(counts).filter(|(window, count)| fires(*window, *count)).map(|(window, _)| window as usize).collect()
}

fn by_report(minutes: &[u64]) -> Vec<usize> {
    let mut rule = Windows::default();
    windows(minutes, |_, count| rule.observe(count as f64).is_some_and(|judged| judged.fires()))
}

fn by_windows(minutes: &[u64]) -> Vec<usize> {
    let mut test = BurstTest::default();
    windows(minutes, |window, count| test.observe(window, count).fires())
}

/// The windows in which a burst is opened or fires again.
fn by_minutes(minutes: &[u64]) -> Vec<usize> {
    let mut board: Board<()> = Board::new("service", 1);
    board.name(());
    let (mut fired, mut open) = (Vec::new(), None);
    for end in 0..minutes.len() {
        while let Some(step) = board.plan(end as u32 + 1, DAY_MINUTES as u32) {
            let (from, to) = step.minutes();
            let count = minutes[from as usize..to as usize].iter().sum();
            board.take(step, &BTreeMap::from([((), count)]));
        }
        let start = board.tracks().get(&()).and_then(|track| track.open).map(|burst| burst.start);
        if start.is_some() && start != open {
            fired.push(end / WINDOW_MINUTES);
        }
        open = start;
    }
    fired
}

/// The outcomes as a table. Its `Display` ends without a line end.
#[derive(Debug, Clone, PartialEq)]
pub struct BurstTable(pub Vec<StreamOutcome>);

impl fmt::Display for BurstTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| stream | false: report | windows | sliding | found: report | windows | sliding |")?;
        write!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for line in &self.0 {
            write!(f, "\n| {} |", line.stream.name())?;
            for outcome in [line.report, line.windows, line.sliding] {
                write!(f, " {:.1} |", outcome.false_per_1000_days())?;
            }
            for outcome in [line.report, line.windows, line.sliding] {
                write!(f, " {:.3} |", outcome.found_share())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_table_and_another_seed_another() {
        let table = |seed| BurstTable(simulate(&[Stream::Grouped(20.0, 5.0)], 2, seed)).to_string();
        assert_eq!(table(1), table(1));
        assert_ne!(table(1), table(2));
    }

    #[test]
    fn bursts_are_found_and_healthy_streams_are_quiet() {
        for line in simulate(&[Stream::Poisson(3.0), Stream::Daily], 2, 1) {
            let outcome = line.sliding;
            assert_eq!((outcome.false_alarms, outcome.injected), (0, 14), "{}: {outcome:?}", line.stream.name());
            assert!(outcome.found >= 13, "{}: {outcome:?}", line.stream.name());
        }
    }
}
