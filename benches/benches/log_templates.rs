//! Bars: at least 2.8 million varied lines a second on one thread (mask, fingerprint, count), at most 1.25
//! times slower with ten times the templates, at most 32 MiB for 10,000 masked lines also when no line
//! ever repeats.
//!
//! `cargo bench -p aiops-benches --bench log_templates` prints the table of docs/PERFORMANCE.md before
//! criterion's own part; `-- --test` shortens that part. With `LINES_OUT=FILE` it writes the lines, for
//! other programs to be measured on; with `LINES_IN=FILE` it is measured on those of a file, too.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aiops_detectors::TemplateMiner;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Lines of the bar, and templates that they come from.
const LINES: usize = 1_000_000;
const TEMPLATES: usize = 900;
/// Lines that never repeat, for the bound of memory.
const FLOOD: usize = 10_000_000;
/// Runs of a figure, of which the fastest counts: the machine may be shared.
const RUNS: usize = 5;

const WORDS: [&str; 40] = [
    "connection",
    "closed",
    "by",
    "peer",
    "request",
    "took",
    "too",
    "long",
    "retry",
    "scheduled",
    "for",
    "worker",
    "block",
    "received",
    "from",
    "cache",
    "miss",
    "while",
    "reading",
    "user",
    "session",
    "opened",
    "lost",
    "packet",
    "disk",
    "queue",
    "length",
    "exceeds",
    "limit",
    "task",
    "finished",
    "in",
    "stage",
    "could",
    "not",
    "allocate",
    "memory",
    "on",
    "node",
    "handler",
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A value as they stand in logs.
    fn value(&mut self, kind: u64) -> String {
        match kind {
            0 | 1 => self.below(100_000).to_string(),
            2 => format!("10.{}.{}.{}:{}", self.below(256), self.below(256), self.below(256), self.below(60_000)),
            3 => format!("blk_{}", self.next() >> 8),
            4 => format!("/var/data/part-{:05}", self.below(100_000)),
            5 => format!("{}ms", self.below(10_000)),
            6 => format!("0x{:08x}", self.below(1 << 32)),
            _ => format!(
                "2026-11-27 {:02}:{:02}:{:02},{:03}",
                self.below(24),
                self.below(60),
                self.below(60),
                self.below(1000)
            ),
        }
    }

    fn word(&mut self) -> &'static str {
        usize::try_from(self.below(WORDS.len() as u64)).map_or("", |at| WORDS[at])
    }
}

/// Lines of some 70 bytes; with components, one of so many made-up words is put in front of each, which
/// multiplies the templates.
fn lines(count: usize, components: usize) -> Vec<String> {
    let mut random = Random(7);
    // A number stands for a value of that kind.
    let templates: Vec<Vec<Result<&str, u64>>> = (0..TEMPLATES)
        .map(|_| {
            let length = 7 + random.below(6);
            (0..length).map(|at| if at % 3 == 2 { Err(random.below(8)) } else { Ok(random.word()) }).collect()
        })
        .collect();
    let made_up = |random: &mut Random| {
        let letters = (0..6).map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap_or(0)));
        format!("{}: ", letters.collect::<String>())
    };
    let components: Vec<String> = (0..components).map(|_| made_up(&mut random)).collect();
    (0..count)
        .map(|at| {
            let mut line = if components.is_empty() {
                String::new()
            } else {
                components[usize::try_from(random.below(components.len() as u64)).unwrap_or(0)].clone()
            };
            for part in &templates[at % TEMPLATES] {
                match part {
                    Ok(word) => line += word,
                    Err(kind) => line += &random.value(*kind),
                }
                line.push(' ');
            }
            line.pop();
            line
        })
        .collect()
}

/// Takes in the lines one by one, or all at once.
fn mine(lines: &[String], at_once: bool) -> (Duration, TemplateMiner) {
    let mut miner = TemplateMiner::default();
    let mut prints = Vec::with_capacity(lines.len());
    let (began, cpu) = (Instant::now(), cpu_time());
    if at_once {
        miner.observe_all(lines.iter().map(String::as_bytes), &mut prints);
    } else {
        prints.extend(lines.iter().map(|line| miner.observe(line.as_bytes())));
    }
    let cpu = cpu_time().zip(cpu).map(|(end, start)| end - start);
    let taken = cpu.unwrap_or_else(|| began.elapsed());
    black_box(prints);
    (taken, miner)
}

/// Time on a core, since the machine may be shared; none where the system does not say.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split_whitespace().next()?.parse().ok()?))
}

/// Resident memory in MiB, now and at the most; none where the system does not say.
fn memory(what: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// Lines that never repeat, in memory that nothing was freed in before.
fn flood() {
    let mut random = Random(1);
    let mut miner = TemplateMiner::default();
    let before = memory("VmRSS");
    let began = Instant::now();
    for _ in 0..FLOOD {
        let mut letters = random.next();
        let mut line = String::from("request of ");
        for _ in 0..12 {
            line.push(char::from(b'g' + u8::try_from(letters % 20).unwrap_or(0)));
            letters /= 20;
        }
        line += " failed while the cache was read";
        miner.observe(line.as_bytes());
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("\n{FLOOD} lines that never repeat: {:.0} lines/s, {} kept", FLOOD as f64 / seconds, miner.len());
    if let (Some(before), Some(after)) = (before, memory("VmHWM")) {
        println!("memory added: {:.1} MiB", after - before);
    }
}

/// Runs once, before criterion's part.
fn table(_: &mut Criterion) {
    flood();
    println!("\n| lines | taken in | masked lines | groups | lines/s | times the first |");
    println!("|---|---|---:|---:|---:|---:|");
    let mut first = [None; 2];
    let given = std::env::var("LINES_IN").ok().and_then(|path| std::fs::read_to_string(path).ok());
    let given = given.map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let made = [("varied", 0), ("ten times the templates", 10)].map(|(what, components)| (what, components, None));
    for (what, components, given) in made.into_iter().chain(given.map(|given| ("given", 1, Some(given)))) {
        let lines = given.unwrap_or_else(|| lines(LINES, components));
        if let (Ok(path), 0) = (std::env::var("LINES_OUT"), components) {
            let _ = std::fs::write(path, lines.join("\n") + "\n");
        }
        for ((how, at_once), first) in [("one by one", false), ("at once", true)].into_iter().zip(&mut first) {
            let runs = (0..RUNS).map(|_| mine(&lines, at_once));
            let Some((time, miner)) = runs.min_by_key(|(time, _)| *time) else { return };
            let time = time.as_secs_f64();
            let each = time / lines.len() as f64;
            let times = each / *first.get_or_insert(each);
            let (kept, groups) = (miner.len(), miner.groups().len());
            println!("| {what} | {how} | {kept} | {groups} | {:.2} M | {times:.2} |", lines.len() as f64 / time / 1e6);
        }
    }
}

fn log_templates(criterion: &mut Criterion) {
    let lines = lines(100_000, 0);
    let mut miner = TemplateMiner::default();
    let mut group = criterion.benchmark_group("log_templates");
    group.sample_size(10).throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("observe", |bencher| {
        bencher.iter(|| {
            for line in &lines {
                black_box(miner.observe(line.as_bytes()));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, table, log_templates);
criterion_main!(benches);
