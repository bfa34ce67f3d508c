//! How each kind of series is made.

use std::f64::consts::TAU;

use super::{DAY, HOUR, Kind, MINUTE, Random, Raw, START};

/// Where nothing else is said.
const LEVEL: f64 = 100.0;
/// A fault is at least this share of the level for each of its units: see [`super::Fault`].
const SMALLEST_UNIT: f64 = 0.04;

/// A series of about `count` samples, one a step.
pub(super) fn generate(kind: Kind, step: u64, count: u64, random: &mut Random) -> Vec<Raw> {
    // Series do not start at midnight of a Monday: seeds begin at other hours.
    let start = START + (step * random.whole(0, (DAY / step) as usize) as u64) as i64;
    let times = times(kind, step as i64, start, count, random);
    let mut shape = Shape { step: step as i64, times: &times, random };
    match kind {
        Kind::Flat => shape.noise(|_, _| (LEVEL, 0.0)),
        Kind::Zeros => shape.each(|_, _| 0.0),
        Kind::Jitter => shape.noise(|_, _| (LEVEL, 0.001 * LEVEL)),
        Kind::Gaussian | Kind::Irregular => shape.noise(|_, _| (LEVEL, 0.05 * LEVEL)),
        Kind::RareCounts => shape.each(|random, _| random.poisson(0.02)),
        Kind::SparseCounts => shape.each(|random, _| random.poisson(0.2)),
        Kind::SparseHeavy => {
            shape.each(|random, _| if random.chance(0.03) { LEVEL * random.normal().exp() } else { 0.0 })
        }
        Kind::Pareto => shape.each(|random, _| 10.0 * (random.exponential() / 2.0).exp()),
        Kind::LogNormal => shape.each(|random, _| LEVEL * random.normal().exp()),
        Kind::NegativeBinomial => shape.each(|random, _| {
            // Poisson whose mean is gamma of shape 2: the sum of two exponentials.
            let mean = 5.0 * (random.exponential() + random.exponential());
            random.poisson(mean)
        }),
        Kind::Daily | Kind::Gaps => shape.season(|at| (daily(at), 70.0), 4.0, 0.0),
        Kind::DstShift => {
            // Late enough that there is a history of the old clock, and early enough to see a scorer settle.
            let moved = times[times.len() * 6 / 10];
            let clock = move |at: i64| if at < moved { at } else { at + HOUR as i64 };
            shape.season(|at| (daily(clock(at)), 70.0), 4.0, 0.0)
        }
        Kind::DailyWeekend => shape.season(
            |at| {
                let busy = if weekend(at) { 20.0 } else { 80.0 };
                (40.0 + busy * bump(at, 13.0, 4.0), 40.0)
            },
            3.0,
            0.0,
        ),
        Kind::DailyPeaks => {
            shape.season(|at| (40.0 + 50.0 * bump(at, 10.0, 2.0) + 80.0 * bump(at, 20.0, 2.0), 40.0), 0.0, 0.06)
        }
        Kind::Weekly => shape.noise(|at, _| (LEVEL * (1.0 + 0.4 * (TAU * phase(at, 7 * DAY)).sin()), 5.0)),
        Kind::DailyBatch => shape.batch(DAY, 2 * HOUR, (10 * MINUTE, 2), 2),
        Kind::HourlyBatch => shape.batch(HOUR.max(6 * step), 0, (0, 1), 1),
        // Sunday 03:00: the epoch's weeks begin on a Thursday.
        Kind::WeeklyBatch => shape.batch(7 * DAY, 3 * DAY + 3 * HOUR, (30 * MINUTE, 2), 2),
        Kind::Trend => shape.noise(|_, share| (LEVEL * (1.0 + share), 5.0)),
        Kind::RandomWalk => shape.random_walk(),
        Kind::CounterRate => shape.counter_rate(),
        Kind::CounterRaw => shape.counter_raw(),
        Kind::Heap => shape.heap(),
        Kind::Plateaus => shape.plateaus(),
        Kind::DeployShifts => shape.deploy_shifts(),
        Kind::Ratio => shape.each(|random, _| {
            // Nine samples of ten lose up to some of 10,000 requests, the others some thousandths.
            let lost = if random.chance(0.1) { 0.004 } else { 0.000_2 };
            1.0 - (lost * random.exponential()).min(0.05)
        }),
        Kind::OnOff => shape.on_off(),
    }
}

/// Times of the samples in seconds.
fn times(kind: Kind, step: i64, start: i64, count: u64, random: &mut Random) -> Vec<i64> {
    let end = start + step * count as i64;
    let mut times = Vec::new();
    let mut at = start;
    while at < end {
        times.push(at);
        at += match kind {
            Kind::Irregular => ((step as f64 * random.between(0.3, 1.7)) as i64).max(1),
            // About one missing stretch in two days.
            Kind::Gaps if random.chance(step as f64 / (2 * DAY) as f64) => {
                let hours = random.between(0.5, 12.0);
                step * (1 + (hours * HOUR as f64) as i64 / step)
            }
            _ => step,
        };
    }
    times
}

/// Where in its period a time is, from 0 to 1.
fn phase(at: i64, period: u64) -> f64 {
    at.rem_euclid(period as i64) as f64 / period as f64
}

/// The epoch was a Thursday.
fn weekend(at: i64) -> bool {
    matches!(at.div_euclid(DAY as i64).rem_euclid(7), 2 | 3)
}

fn daily(at: i64) -> f64 {
    LEVEL * (1.0 + 0.3 * (TAU * (phase(at, DAY) - 0.3)).sin())
}

/// A bell a day: 1 at this hour, `width` its deviation in hours.
fn bump(at: i64, hour: f64, width: f64) -> f64 {
    let away = (24.0 * phase(at, DAY) - hour).abs();
    let away = away.min(24.0 - away);
    (-0.5 * (away / width).powi(2)).exp()
}

struct Shape<'a> {
    step: i64,
    times: &'a [i64],
    random: &'a mut Random,
}

impl Shape<'_> {
    /// What has no level and carries no faults.
    fn each(&mut self, mut value: impl FnMut(&mut Random, i64) -> f64) -> Vec<Raw> {
        let mut raw = |at: &i64| {
            let value = value(self.random, *at);
            Raw { at: *at, value, quiet: value, unit: 0.0 }
        };
        self.times.iter().map(&mut raw).collect()
    }

    /// Normal noise about a level; `shape` gives level and deviation for a time and the share of the
    /// series before it.
    fn noise(&mut self, shape: impl Fn(i64, f64) -> (f64, f64)) -> Vec<Raw> {
        let n = self.times.len() as f64;
        let raw = |(index, at): (usize, &i64)| {
            let (level, deviation) = shape(*at, index as f64 / n);
            let value = level + deviation * self.random.normal();
            Raw { at: *at, value, quiet: value, unit: deviation.max(SMALLEST_UNIT * level) }
        };
        self.times.iter().enumerate().map(raw).collect()
    }

    /// `shape` gives the level and what it is without its season; noise is a number and a share of the
    /// level.
    fn season(&mut self, shape: impl Fn(i64) -> (f64, f64), deviation: f64, share: f64) -> Vec<Raw> {
        let raw = |at: &i64| {
            let ((level, quiet), noise) = (shape(*at), self.random.normal());
            let deviation = deviation + share * level;
            Raw {
                at: *at,
                value: level + deviation * noise,
                quiet: quiet + deviation * noise,
                unit: deviation.max(SMALLEST_UNIT * level),
            }
        };
        self.times.iter().map(raw).collect()
    }

    /// A job of `length` (seconds, at least some samples), `offset` into each period, up to `late` samples
    /// early or late.
    fn batch(&mut self, period: u64, offset: u64, length: (u64, i64), late: usize) -> Vec<Raw> {
        let (period, offset) = (period as i64, offset as i64);
        let length = (length.0 as i64).max(length.1 * self.step);
        let (mut run, mut from) = (None, 0);
        let step = self.step;
        self.each(|random, at| {
            // The run whose nominal start is nearest.
            let index = (at - offset + period / 2).div_euclid(period);
            if run != Some(index) {
                run = Some(index);
                from = index * period + offset + step * (random.whole(0, 2 * late) as i64 - late as i64);
            }
            let level = if at >= from && at < from + length { LEVEL } else { 20.0 };
            level * (1.0 + 0.08 * random.normal())
        })
    }

    fn random_walk(&mut self) -> Vec<Raw> {
        const KEPT: f64 = 0.98;
        // Of the stationary process with steps of 1: 1 / sqrt(1 - 0.98 ^ 2).
        let deviation = 1.0 / (1.0 - KEPT * KEPT).sqrt();
        let mut away = deviation * self.random.normal();
        let mut raw = self.each(|random, _| {
            away = KEPT * away + random.normal();
            LEVEL + away
        });
        raw.iter_mut().for_each(|raw| raw.unit = deviation);
        raw
    }

    /// Seconds to the next restart: two to four days.
    fn restart(random: &mut Random) -> i64 {
        (random.between(2.0, 4.0) * DAY as f64) as i64
    }

    fn counter_rate(&mut self) -> Vec<Raw> {
        let mut next = self.times[0] + Self::restart(self.random);
        let mut raw = self.each(|random, at| {
            let rate = 50.0 * (1.0 + 0.08 * random.normal());
            if at < next {
                return rate;
            }
            next = at + Self::restart(random);
            // What was counted before the restart in this step is lost.
            rate * random.uniform()
        });
        raw.iter_mut().for_each(|raw| raw.unit = 50.0 * 0.08);
        raw
    }

    fn counter_raw(&mut self) -> Vec<Raw> {
        let step = self.step as f64;
        let mut next = self.times[0] + Self::restart(self.random);
        let mut total = 0.0;
        self.each(|random, at| {
            if at >= next {
                (next, total) = (at + Self::restart(random), 0.0);
            }
            total += step * 50.0 * (1.0 + 0.08 * random.normal());
            total
        })
    }

    fn heap(&mut self) -> Vec<Raw> {
        let (mut used, mut limit) = (200.0, 480.0);
        self.each(|random, _| {
            if used > limit {
                (used, limit) = (200.0 + 10.0 * random.normal(), random.between(450.0, 510.0));
            }
            used += random.between(1.0, 5.0);
            used
        })
    }

    fn plateaus(&mut self) -> Vec<Raw> {
        let (mut replicas, mut next) = (5.0, 0);
        self.each(|random, at| {
            if at >= next {
                next = at + (random.between(2.0, 8.0) * HOUR as f64) as i64;
                let up = replicas <= 3.0 || (replicas < 8.0 && random.chance(0.5));
                replicas += if up { 1.0 } else { -1.0 };
            }
            replicas
        })
    }

    fn deploy_shifts(&mut self) -> Vec<Raw> {
        let deviation = 0.05 * LEVEL;
        let mut next = self.times[0] + Self::restart(self.random);
        let mut level = LEVEL;
        let mut raw = self.each(|random, at| {
            if at >= next {
                next = at + Self::restart(random);
                // About the same level in the end: a service does not drift for ever.
                level = LEVEL + deviation * random.between(-0.75, 0.75);
            }
            level + deviation * random.normal()
        });
        raw.iter_mut().for_each(|raw| raw.unit = deviation);
        raw
    }

    fn on_off(&mut self) -> Vec<Raw> {
        let (mut on, mut left) = (false, 0);
        self.each(|random, _| {
            if left == 0 {
                (on, left) = (!on, random.whole(5, 40));
            }
            left -= 1;
            let level = if on { LEVEL } else { 10.0 };
            level * (1.0 + 0.05 * random.normal())
        })
    }
}
