//! The benches stand in `benches/`; this is what some of them share.

use std::time::{Duration, Instant};

/// Time on a processor of this thread so far (Linux): what other programs on the machine do costs little of it.
#[must_use]
pub fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split(' ').next()?.parse().ok()?))
}

/// The mean time on a processor of one of `runs`, after one that warms up; by the clock where that is not known. The
/// kernel counts it by ticks, so that only many runs together have a figure.
pub fn mean_time(runs: u32, mut run: impl FnMut()) -> Duration {
    run();
    let (began, before) = (Instant::now(), cpu_time());
    (0..runs).for_each(|_| run());
    let taken = cpu_time().zip(before).map_or_else(|| began.elapsed(), |(after, before)| after - before);
    taken / runs.max(1)
}
