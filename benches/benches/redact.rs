//! Bar: at least 50 MB/s on one core, over lines of logs and over lines that hold secrets; and no text of a
//! megabyte that takes long.
//!
//! `cargo bench -p aiops-benches --bench redact` prints the table of docs/PERFORMANCE.md before criterion's
//! own part; `-- --test` shortens that part. With `LINES_IN=FILE` it is measured on the lines of a file, too.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aiops_core::Redactor;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The bar, in megabytes (10^6 bytes) a second.
const BAR: f64 = 50.0;
const LINES: u64 = 100_000;
/// Runs of a figure, of which the fastest counts: the machine may be shared.
const RUNS: usize = 5;

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

    fn text(&mut self, length: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| char::from(ALPHABET[usize::try_from(self.below(62)).unwrap_or(0)])).collect()
    }
}

/// Lines in the manner of LogHub's systems.
fn plain(r: &mut Random) -> String {
    let (a, b, c) = (r.below(100_000), r.below(256), r.below(65_536));
    match r.below(8) {
        0 => format!(
            "03-17 16:13:{:02}.{:03}  1702  {a} D PowerManagerService: acquire lock=23310{a}, flags=0x1, tag=\"View Lock\", name=com.android.systemui, ws=null, uid=10037, pid={c}",
            b % 60,
            a % 1000
        ),
        1 => format!(
            "- 1117838570 2005.06.03 R02-M1-N0-C:J12-U11 2005-06-03-15.42.50.{a:06} R02-M1-N0-C:J12-U11 RAS KERNEL INFO instruction cache parity error corrected"
        ),
        2 => format!(
            "nova-compute.log.1.2017-05-16_13:55:31 2017-05-16 00:00:04.{:03} 2931 INFO nova.virt.libvirt.imagecache [req-3ea4052c-895d-4b64-9e2d-04d64c4d94ab - - - - -] image 0673dd71-34c5-4fbb-86c4-40623fbe45b4 at (/var/lib/nova/instances/_base/a489c868f0c37da93b76227c91bb03908ac0e742): in use",
            a % 1000
        ),
        3 => format!(
            "17/06/09 20:10:{:02} INFO executor.Executor: Finished task {b}.0 in stage 28.0 (TID {a}). 2703 bytes result sent to driver",
            b % 60
        ),
        4 => format!(
            "2016-09-28 04:30:31, Info                  CSI    0000{c:04x}@2016/9/27:20:30:31.455 WcpInitialize (wcp.dll version 0.0.0.6) called (stack @0x7fed806eb5d @0x7fef9fb9b6d)"
        ),
        5 => format!(
            "Jul  1 09:00:55 calvisitor-10-105-160-95 kernel[0]: IOThunderboltSwitch<0>(0x0)::listenerCallback - Thunderbolt HPD packet for route = 0x0 port = {b} unplug = 0"
        ),
        6 => format!(
            "{{\"ts\":\"2026-11-27T10:00:00.{:03}Z\",\"level\":\"error\",\"service\":\"checkout\",\"msg\":\"upstream timed out\",\"status\":504,\"took_ms\":{a},\"trace_id\":\"{:032x}\"}}",
            a % 1000,
            r.next()
        ),
        _ => format!(
            "10.0.{b}.{} - - [27/Nov/2026:10:00:00 +0000] \"GET /api/v1/orders/{a}?page=2&size=50 HTTP/1.1\" 500 {c} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
            b / 2
        ),
    }
}

/// What a secret of each kind stands as.
type Made = fn(&mut Random) -> String;
const SECRETS: [(&str, Made); 8] = [
    ("a password", |r| format!("password={}", r.text(14))),
    ("a bearer token", |r| format!("Authorization: Bearer {}", r.text(40))),
    ("a token with a prefix", |r| format!("ghp_{}", r.text(36))),
    ("a password in an address", |r| format!("postgres://shop:{}@db.internal:5432/shop", r.text(16))),
    ("a JWT", |r| format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.{}", r.text(60), r.text(43))),
    ("an e-mail address", |r| format!("{}@example.org", r.text(9))),
    ("a JSON key", |r| format!("\"api_key\": \"{}\"", r.text(32))),
    ("two keys", |r| format!("AKIAIOSFODNN7EXAMPLE aws_secret_access_key={}", r.text(40))),
];

/// At the end of its line, where it costs most.
fn with(secret: Made, r: &mut Random) -> String {
    format!("{} {} refused", plain(r), secret(r))
}

fn megabytes_a_second(bytes: usize, mut pass: impl FnMut()) -> f64 {
    let runs = (0..RUNS).map(|_| {
        let start = Instant::now();
        pass();
        start.elapsed()
    });
    #[allow(clippy::cast_precision_loss)]
    let bytes = bytes as f64;
    bytes / 1e6 / runs.min().unwrap_or(Duration::MAX).as_secs_f64()
}

fn over(lines: &[String], mut each: impl FnMut(&str)) -> f64 {
    let bytes = lines.iter().map(String::len).sum();
    megabytes_a_second(bytes, || lines.iter().for_each(|line| each(line)))
}

fn row(name: &str, lines: &[String], redactor: &Redactor) -> f64 {
    let redacted = over(lines, |line| drop(black_box(redactor.redact(line))));
    let lower = over(lines, |line| drop(black_box(line.to_lowercase())));
    let scan = over(lines, |line| {
        black_box(line.bytes().filter(|byte| matches!(byte, b'=' | b':' | b'@')).count());
    });
    let found: u64 = lines.iter().map(|line| redactor.redact(line).found.total()).sum();
    println!(
        "| {name} | {redacted:.0} | {lower:.0} | {:.2} | {scan:.0} | {:.2} | {found} |",
        redacted / lower,
        redacted / scan
    );
    redacted
}

/// Texts that make a scanner read on and on for nothing.
const HOSTILE: [&str; 20] = [
    "pwd=\"",
    "key=a",
    "key=",
    "token: ",
    "://a:b",
    "a@a.",
    "-----BEGIN PRIVATE KEY-----",
    "eyJ-",
    "-eyJhbGciOi",
    "glft-",
    "8Q~",
    "-MTA-",
    "1234 ",
    "GB82",
    "Cookie: a=b;",
    "Authorization: Digest a=b, ",
    "[REDACTED:",
    "\\\\\"",
    "a,",
    "pwd=a,a",
];

fn table(redactor: &Redactor, logs: &[String], secrets: &[String]) {
    println!("| lines | MB/s | `str::to_lowercase`, MB/s | ratio | byte scan, MB/s | ratio | found |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let mut slowest = row("like LogHub's", logs, redactor).min(row("with a secret each", secrets, redactor));
    for (name, secret) in SECRETS {
        let mut random = Random(7);
        let lines: Vec<String> = (0..LINES).map(|_| with(secret, &mut random)).collect();
        slowest = slowest.min(row(&format!("with {name} each"), &lines, redactor));
    }
    if let Some(path) = std::env::var_os("LINES_IN") {
        let lines: Vec<String> = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect(),
            Err(error) => return println!("{}: {error}", path.display()),
        };
        row("of the file", &lines, redactor);
    }
    let hostile = HOSTILE.map(|piece| {
        let text = piece.repeat(1_000_000 / piece.len());
        (megabytes_a_second(text.len(), || drop(black_box(redactor.redact(&text)))), piece)
    });
    let worst = hostile.iter().fold((f64::MAX, ""), |worst, one| if one.0 < worst.0 { *one } else { worst });
    println!("slowest hostile megabyte: {:.1} MB/s, {:?} again and again", worst.0, worst.1);
    println!("bar of {BAR} MB/s: {}", if slowest >= BAR { "reached" } else { "MISSED" });
}

fn redact(criterion: &mut Criterion) {
    let redactor = Redactor::default();
    let mut random = Random(7);
    let logs: Vec<String> = (0..LINES).map(|_| plain(&mut random)).collect();
    let any = |r: &mut Random| SECRETS[usize::try_from(r.below(8)).unwrap_or(0)].1;
    let secrets: Vec<String> = (0..LINES).map(|_| with(any(&mut random), &mut random)).collect();
    table(&redactor, &logs, &secrets);

    let mut group = criterion.benchmark_group("redact");
    for (name, lines) in [("logs", &logs[..1_000]), ("secrets", &secrets[..1_000])] {
        group.throughput(Throughput::Bytes(lines.iter().map(|line| line.len() as u64).sum()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| lines.iter().map(|line| redactor.redact(line).found.total()).sum::<u64>());
        });
    }
    group.finish();
}

criterion_group!(benches, redact);
criterion_main!(benches);
