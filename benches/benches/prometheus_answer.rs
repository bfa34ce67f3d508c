//! Bar: an answer of 10,000 series in 30 MB is decoded at 100 MB/s on one core at least, and takes no
//! more than twice the body's memory, the body included. Baseline, in the same run: `serde_json`
//! looking at the same body and keeping nothing.

use std::fmt::Write;
use std::hint::black_box;

use aiops_benches::mean_time;
use aiops_detectors::Series;
use aiops_detectors::client::PrometheusAnswer;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::de::IgnoredAny;

/// Runs behind the printed figure.
const RUNS: u32 = 20;
const SERIES: usize = 10_000;
/// An hour of 30 s steps gives the body's size with values in full, as `rate` gives them.
const STEPS: usize = 92;

fn body() -> Vec<u8> {
    let mut body = r#"{"status":"success","data":{"resultType":"matrix","result":["#.to_owned();
    let mut state = 1_u64;
    for series in 0..SERIES {
        let comma = if series == 0 { "" } else { "," };
        let metric = format!(
            r#""__name__":"http_request_duration_p99_seconds","instance":"10.0.{}.{}:9090","job":"service-{}""#,
            series / 250,
            series % 250,
            series % 97
        );
        // Writing to a string does not fail.
        let _ = write!(body, r#"{comma}{{"metric":{{{metric}}},"values":["#);
        for step in 0..STEPS {
            // Knuth's MMIX generator: any digits will do.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = (state >> 11) as f64 / (1_u64 << 53) as f64;
            let comma = if step == 0 { "" } else { "," };
            let _ = write!(body, r#"{comma}[{},"{value}"]"#, 1_795_132_800 + step * 30);
        }
        body.push_str("]}");
    }
    body.push_str("]}}");
    body.into_bytes()
}

/// Memory of this process in MB, now and at its peak (Linux).
fn memory(key: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1_024.0 / 1e6)
}

fn decode(body: &[u8]) -> PrometheusAnswer<Vec<Series>> {
    PrometheusAnswer::from_range_body(body).unwrap_or_else(|error| unreachable!("{error}"))
}

fn prometheus_answer(c: &mut Criterion) {
    let mut body = body();
    body.shrink_to_fit();
    let before = memory("VmRSS");
    let answer = decode(&body);
    let (peak, samples) = (memory("VmHWM"), answer.value.iter().map(|series| series.samples.len()).sum::<usize>());
    drop(answer);
    if let (Some(before), Some(peak)) = (before, peak) {
        let size = body.len() as f64 / 1e6;
        eprintln!(
            "{SERIES} series, {samples} samples, body {size:.1} MB; decoding adds {:.1} MB at its peak: {:.2} bodies in all",
            peak - before,
            1.0 + (peak - before) / size
        );
    }
    let seconds = mean_time(RUNS, || drop(black_box(decode(&body)))).as_secs_f64();
    eprintln!("decoded and freed at {:.0} MB/s of processor time, mean of {RUNS}", body.len() as f64 / 1e6 / seconds);
    let mut group = c.benchmark_group("prometheus_answer");
    group.sample_size(10).throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("decode", |b| b.iter(|| black_box(decode(black_box(&body)))));
    group.bench_function("bare serde_json, keeping nothing", |b| {
        b.iter(|| black_box(serde_json::from_slice::<IgnoredAny>(black_box(&body))));
    });
    group.finish();
}

criterion_group!(benches, prometheus_answer);
criterion_main!(benches);
