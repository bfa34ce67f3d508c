//! Bars: on one core over 10,000 interleaved five-minute series, so that no state sits in a cache, the
//! default scorer takes at least 20 times the points a second of the random cut forest of the crate
//! `rcf3`, the simple ones 5 times those of the default; a point costs at most twice as much over
//! 200,000 series; memory a series. Baseline, in the same run: `rcf3`.
//!
//! `cargo bench -p aiops-benches --bench scorers` prints the tables of docs/PERFORMANCE.md before
//! criterion's own part; `-- --test` shortens that part.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aiops_detectors::{Mad, Sample, Score, Scorer, ScorerBank, SeasonalZScore, scorer_by_name, scorer_names};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use rcf3::Forest;

/// The series of the bar.
const SERIES: usize = 10_000;
/// How many there are along the curve, and for which scorers: those with a bar.
const CURVE: [usize; 4] = [10_000, 50_000, 100_000, 200_000];
const CURVED: [&str; 3] = ["adaptive", "mad", "seasonal_zscore"];
/// Five minutes, and how many of them a day has.
const STEP: i64 = 300;
const DAY: i64 = 288;
/// Samples before the clock runs: a week and a day, so that every season is known.
const WARM: i64 = 8 * DAY;
/// The same for a bank, which is fed sample by sample: a day and the hour before it, and some.
const BANK_WARM: i64 = 400;
/// Histories that differ; the state of each further series is a copy of one of these.
const SHAPES: usize = 64;
/// Rounds that are timed as one.
const BLOCK: i64 = 24;
/// Blocks behind one figure at the least, and the time for them.
const TABLE: (usize, Duration) = (2, Duration::from_secs(3));
/// Blocks behind each figure of the curve. Each number of series has its block in turn, so that what else the
/// machine does meets all of them.
const CURVE_BLOCKS: i64 = 6;
/// A forest takes hundreds of kilobytes: so many are far beyond any cache already.
const FORESTS: usize = 500;
/// The usual forest over one series, as in the examples of `rcf3` and `krcf`.
const TREES: usize = 30;
const SAMPLES: usize = 256;
const SHINGLE: usize = 8;
/// Samples before a forest's clock runs: twice what its trees hold.
const FOREST_WARM: i64 = 512;

fn at(index: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + index * STEP).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A day's wave with noise, another noise for each series (SplitMix64).
fn value(series: usize, index: i64) -> f64 {
    let mut bits =
        (series as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (index as u64).wrapping_mul(0xD1B5_4A32_D192_ED03);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let noise = ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
    let wave = (std::f64::consts::TAU * (index % DAY) as f64 / DAY as f64).sin();
    100.0 + 20.0 * wave + 10.0 * noise
}

/// `n` warm scorers. Feeding 200,000 series for a week would take longer than the measurement.
fn fleet(name: &str, n: usize) -> Vec<Box<dyn Scorer>> {
    let shape = |series| {
        let mut scorer = scorer_by_name(name)?;
        for index in 0..WARM {
            black_box(scorer.observe(at(index), value(series, index)));
        }
        Some((scorer.save(), scorer))
    };
    let shapes: Vec<_> = (0..SHAPES.min(n)).filter_map(shape).collect();
    let copy = |index: usize| {
        let (state, scorer) = shapes.get(index % SHAPES)?;
        let mut copy = scorer.fresh();
        copy.restore(state).ok().map(|()| copy)
    };
    (0..n).filter_map(copy).collect()
}

/// One point of each series.
fn round(fleet: &mut [Box<dyn Scorer>], values: &[f64], index: i64) {
    let at = at(index);
    for (scorer, value) in fleet.iter_mut().zip(values) {
        black_box(scorer.observe(at, *value));
    }
}

/// A bank of one type of scorer, which finds each series by its key, and its warm history.
struct Bank<S> {
    bank: ScorerBank<u64, S>,
    scores: Vec<Score>,
}

impl<S: Scorer> Bank<S> {
    fn new(n: usize, make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let mut bank = Self { bank: ScorerBank::new(make).max_series(n), scores: Vec::new() };
        for index in 0..BANK_WARM {
            bank.round(&values(n, index), index);
        }
        bank
    }

    fn round(&mut self, values: &[f64], index: i64) -> Duration {
        let batch: Vec<(u64, Sample)> =
            values.iter().zip(0..).map(|(value, key)| (key, Sample { at: at(index), value: *value })).collect();
        let began = Instant::now();
        self.bank.observe(&batch, &mut self.scores);
        began.elapsed()
    }
}

fn bank_nanoseconds<S: Scorer>(n: usize, make: impl Fn() -> S + Send + Sync + 'static) -> f64 {
    let mut bank = Bank::new(n, make);
    fastest(n, BANK_WARM, TABLE, |values, index| bank.round(values, index))
}

fn forests() -> Vec<Forest> {
    let forest = |seed| {
        let mut forest = Forest::builder(1)
            .shingle_size(SHINGLE)
            .num_trees(TREES)
            .capacity(SAMPLES)
            .seed(seed as u64)
            .build()
            .ok()?;
        (0..FOREST_WARM).try_for_each(|index| forest.update(&[value(seed, index) as f32])).ok()?;
        Some(forest)
    };
    (0..FORESTS).filter_map(forest).collect()
}

fn forest_round(forests: &mut [Forest], values: &[f64]) {
    for (forest, value) in forests.iter_mut().zip(values) {
        let _ = black_box(forest.update_and_score(&[*value as f32]));
    }
}

fn values(n: usize, index: i64) -> Vec<f64> {
    (0..n).map(|series| value(series, index)).collect()
}

/// Nanoseconds a point in the fastest block of rounds: what else the machine does only ever adds to it. A
/// block, since a scorer may put off some of its work to each so manyth value.
fn nanoseconds(n: usize, from: i64, mut round: impl FnMut(&[f64], i64)) -> f64 {
    fastest(n, from, TABLE, |values, index| {
        let began = Instant::now();
        round(values, index);
        began.elapsed()
    })
}

/// The same of rounds that say themselves how long they took.
fn fastest(
    n: usize,
    from: i64,
    (least, time): (usize, Duration),
    mut round: impl FnMut(&[f64], i64) -> Duration,
) -> f64 {
    let started = Instant::now();
    let (mut best, mut blocks) = (Duration::MAX, 0);
    while blocks < least || started.elapsed() < time {
        let first = from + blocks as i64 * BLOCK;
        best = best.min(block(n, first, &mut round));
        blocks += 1;
    }
    each(n, best)
}

/// One block of rounds.
fn block(n: usize, first: i64, round: &mut impl FnMut(&[f64], i64) -> Duration) -> Duration {
    (first..first + BLOCK).map(|index| round(&values(n, index), index)).sum()
}

/// Nanoseconds a point of a block.
fn each(n: usize, block: Duration) -> f64 {
    block.as_nanos() as f64 / (n as f64 * BLOCK as f64)
}

/// Memory of this process in bytes; 0 where the system does not say.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok()).unwrap_or(0) * 4_096
}

fn line(name: &str, nanoseconds: f64, baseline: f64, bytes: &str) {
    let (rate, ratio) = (1e9 / nanoseconds, baseline / nanoseconds);
    println!("| `{name}` | {rate:.0} | {nanoseconds:.0} | {ratio:.0} | {bytes} |");
}

fn bytes(fleet: &[Box<dyn Scorer>]) -> usize {
    fleet.iter().map(|scorer| scorer.size_bytes()).max().unwrap_or(0)
}

fn tables(_: &mut Criterion) {
    println!("\n{SERIES} series ({FORESTS} forests)\n");
    println!("| scorer | points/s | ns a point | times rcf3 | bytes a series |");
    println!("|---|---:|---:|---:|---:|");
    let before = resident();
    let mut forests = forests();
    let size = resident().saturating_sub(before) / FORESTS;
    let baseline = nanoseconds(FORESTS, FOREST_WARM, |values, _| forest_round(&mut forests, values));
    drop(forests);
    line("rcf3", baseline, baseline, &format!("{size} (resident)"));
    for name in scorer_names() {
        let mut fleet = fleet(name, SERIES);
        let time = nanoseconds(SERIES, WARM, |values, index| round(&mut fleet, values, index));
        line(name, time, baseline, &bytes(&fleet).to_string());
    }
    let banks = [
        ("seasonal_zscore", bank_nanoseconds(SERIES, SeasonalZScore::default)),
        ("mad", bank_nanoseconds(SERIES, Mad::default)),
    ];
    for (name, time) in banks {
        line(&format!("{name}` in a `ScorerBank"), time, baseline, "");
    }
    println!("\n| scorer | series | ns a point | times the first | MB in all |");
    println!("|---|---:|---:|---:|---:|");
    for name in scorer_names().filter(|name| CURVED.contains(name)) {
        let mut fleets = CURVE.map(|n| fleet(name, n));
        let sizes = fleets.each_ref().map(|fleet| bytes(fleet) * fleet.len() / 1_000_000);
        let times = curve(WARM, |which, values, index| {
            let began = Instant::now();
            round(&mut fleets[which], values, index);
            began.elapsed()
        });
        curve_lines(&format!("`{name}`"), times, |which| sizes[which].to_string());
    }
    bank_curve("mad", Mad::default);
    bank_curve("seasonal_zscore", SeasonalZScore::default);
}

/// The same in a bank, which fetches the memory of several series at once.
fn bank_curve<S: Scorer>(name: &str, make: impl Fn() -> S + Copy + Send + Sync + 'static) {
    let mut banks = CURVE.map(|n| Bank::new(n, make));
    let times = curve(BANK_WARM, |which, values, index| banks[which].round(values, index));
    curve_lines(&format!("`{name}` in a `ScorerBank`"), times, |_| String::new());
}

/// The fastest block of each number of series.
fn curve(from: i64, mut round: impl FnMut(usize, &[f64], i64) -> Duration) -> [Duration; CURVE.len()] {
    let mut best = [Duration::MAX; CURVE.len()];
    for first in (0..CURVE_BLOCKS).map(|number| from + number * BLOCK) {
        for (which, (n, best)) in CURVE.into_iter().zip(&mut best).enumerate() {
            *best = block(n, first, &mut |values, index| round(which, values, index)).min(*best);
        }
    }
    best
}

fn curve_lines(name: &str, times: [Duration; CURVE.len()], megabytes: impl Fn(usize) -> String) {
    let first = each(CURVE[0], times[0]);
    for (which, (n, time)) in CURVE.into_iter().zip(times).enumerate() {
        let time = each(n, time);
        println!("| {name} | {n} | {time:.0} | {:.1} | {} |", time / first, megabytes(which));
    }
}

fn scorers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scorers");
    group.sample_size(10).throughput(Throughput::Elements(SERIES as u64));
    for name in scorer_names() {
        let (mut scorers, mut index) = (Vec::new(), WARM);
        group.bench_function(name, |bencher| {
            if scorers.is_empty() {
                scorers = fleet(name, SERIES);
            }
            bencher.iter_custom(|rounds| {
                let mut taken = Duration::ZERO;
                for _ in 0..rounds {
                    let values = values(SERIES, index);
                    let began = Instant::now();
                    round(&mut scorers, &values, index);
                    taken += began.elapsed();
                    index += 1;
                }
                taken
            });
        });
    }
    group.finish();
}

criterion_group!(benches, tables, scorers);
criterion_main!(benches);
