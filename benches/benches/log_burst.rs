//! Figures without a bar: memory a series and evaluations a second of the burst test, one core, for 10,000
//! services with 100 groups of error lines each.
//!
//! `cargo bench -p aiops-benches --bench log_burst` prints the table of docs/PERFORMANCE.md.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aiops_detectors::BurstTest;

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

fn main() {
    println!("| series | how many | bytes each | ns a window | ns a sliding window | windows/s |");
    println!("|---|---:|---:|---:|---:|---:|");
    measure("services, 50 lines a window", SERVICES, 50.0);
    measure("groups, a line in 60 windows", SERVICES * GROUPS, 1.0 / 60.0);
}
