//! Figures without a bar: memory a series and evaluations a second, one core, for 10,000 services with 100
//! groups of error lines each: of the burst test alone, and of the store and the detector.
//!
//! `cargo bench -p aiops-benches --bench log_burst` prints the table of docs/PERFORMANCE.md.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use aiops_core::{Detector, Tick};
use aiops_detectors::{BurstTest, ErrorLogBurst, ErrorLogs, LogLine, NewTemplate};
use jiff::Timestamp;

const SERVICES: usize = 10_000;
const GROUPS: usize = 100;
/// Windows of a day, and windows before the clock runs: a week and a day, so that all is known.
const DAY: u32 = 288;
const WARM: u32 = 8 * DAY;
/// Histories that differ; the state of each further series is a copy of one of these.
const SHAPES: usize = 64;
/// Time for the rounds of one figure.
const ENOUGH: Duration = Duration::from_secs(2);

/// A count around `mean` lines in five minutes, another for each series and window (SplitMix64).
fn count(series: usize, window: u32, mean: f64) -> u64 {
    let mut bits =
        (series as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(window).wrapping_mul(0xD1B5_4A32_D192_ED03);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let uniform = ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
    if mean < 1.0 { u64::from(uniform < mean) } else { (2.0 * mean * uniform) as u64 }
}

fn measure(what: &str, series: usize, mean: f64) {
    let shape = |number| {
        let mut test = BurstTest::default();
        for window in 0..WARM {
            black_box(test.observe(window, count(number, window, mean)));
        }
        test
    };
    let shapes: Vec<BurstTest> = (0..SHAPES).map(shape).collect();
    let bytes = shapes.iter().map(BurstTest::memory).sum::<usize>() / SHAPES;
    let mut tests: Vec<BurstTest> = (0..series).map(|number| shapes[number % SHAPES].clone()).collect();
    let (mut window, mut spent, mut rounds) = (WARM, Duration::ZERO, 0);
    while spent < ENOUGH {
        let start = Instant::now();
        for (number, test) in tests.iter_mut().enumerate() {
            black_box(test.observe(window, count(number, window, mean)));
        }
        spent += start.elapsed();
        (window, rounds) = (window + 1, rounds + 1);
    }
    let whole = spent.as_nanos() as f64 / (rounds * series) as f64;
    let start = Instant::now();
    for (number, test) in tests.iter().enumerate() {
        black_box(test.sliding(3, count(number, window, mean)));
    }
    let sliding = start.elapsed().as_nanos() as f64 / series as f64;
    println!("| {what} | {series} | {bytes} | {whole:.0} | {sliding:.0} | {:.0} |", 1e9 / whole);
}

/// Bytes that the process holds; 0 where that cannot be told.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).map_or(0, |pages: usize| pages * 4096)
}

fn at(minute: u32) -> Timestamp {
    Timestamp::from_second(1_000_000_200 + 60 * i64::from(minute)).unwrap_or_default()
}

/// One evaluation; the log detectors wait for nothing.
fn evaluate(detector: &impl Detector, minute: u32) -> Duration {
    let start = Instant::now();
    let mut future = pin!(detector.evaluate(Tick::new(at(minute + 2), at(minute + 3))));
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(evaluation)) => drop(black_box(evaluation)),
        other => println!("no evaluation: {other:?}"),
    }
    start.elapsed()
}

/// The line of a group: ten verbs and ten nouns, too few for a place to become variable.
fn line(service: usize, group: usize, minute: u32) -> LogLine {
    const WHAT: [&str; 10] = ["open", "read", "write", "parse", "lock", "find", "send", "map", "bind", "load"];
    const OF: [&str; 10] =
        ["socket", "ledger", "cart", "invoice", "queue", "session", "index", "volume", "shard", "token"];
    let text = format!("could not {} the {} of request {minute} after 3 tries", WHAT[group / 10], OF[group % 10]);
    LogLine::new(at(minute), format!("service-{service:05}"), text)
}

/// The store and both of its detectors, minute by minute: each group writes a line in 60 windows.
fn whole() {
    // The first lines are of a whole window: a group of none is not kept.
    const FIRST: u32 = 6;
    const MINUTES: u32 = 60;
    const SERIES: f64 = (SERVICES * GROUPS + SERVICES) as f64;
    let logs = ErrorLogs::new(at(0));
    let before = resident();
    let start = Instant::now();
    for service in 0..SERVICES {
        (0..GROUPS).for_each(|group| logs.push(&line(service, group, FIRST), at(FIRST)));
    }
    let first = start.elapsed().as_secs_f64() / (SERVICES * GROUPS) as f64;
    let store = resident().saturating_sub(before) / (SERVICES * GROUPS);
    let (bursts, new) = (ErrorLogBurst::new(logs.clone()), NewTemplate::new(logs.clone()));
    let (mut pushed, mut pushing, mut minutes, mut fresh) = (0, Duration::ZERO, Vec::new(), Duration::ZERO);
    evaluate(&bursts, FIRST);
    for minute in FIRST + 1..=FIRST + MINUTES {
        let lines: Vec<LogLine> = (0..SERVICES * GROUPS)
            .filter(|series| count(*series, minute, 1.0 / 300.0) > 0)
            .map(|series| line(series / GROUPS, series % GROUPS, minute))
            .collect();
        let start = Instant::now();
        lines.iter().for_each(|line| logs.push(line, at(minute)));
        pushing += start.elapsed();
        pushed += lines.len();
        minutes.push(evaluate(&bursts, minute));
        fresh += evaluate(&new, minute);
    }
    let detector = resident().saturating_sub(before) / (SERVICES * GROUPS) - store;
    let all: Duration = minutes.iter().sum();
    let mean = all.as_secs_f64() / f64::from(MINUTES);
    let longest = minutes.iter().max().map_or(0.0, Duration::as_secs_f64);
    println!();
    println!("| the store and the detectors, {} groups | |", bursts.tracked().1);
    println!("|---|---:|");
    println!("| memory of a group in the store, bytes | {store} |");
    println!("| memory of a group in `ErrorLogBurst`, bytes | {detector} |");
    println!("| a line of a new kind, µs | {:.1} |", 1e6 * first);
    println!("| a line of a known kind, µs | {:.2} |", 1e6 * pushing.as_secs_f64() / f64::from(pushed.max(1) as u32));
    println!("| `ErrorLogBurst`, a minute, s: mean, longest | {mean:.2}, {longest:.2} |");
    println!("| series evaluated a second | {:.0} |", SERIES / mean);
    println!("| `NewTemplate`, a minute, s | {:.2} |", fresh.as_secs_f64() / f64::from(MINUTES));
}

fn main() {
    println!("| series | how many | bytes each | ns a window | ns a sliding window | windows/s |");
    println!("|---|---:|---:|---:|---:|---:|");
    measure("services, 50 lines a window", SERVICES, 50.0);
    measure("groups, a line in 60 windows", SERVICES * GROUPS, 1.0 / 60.0);
    whole();
}
