//! Made streams of error lines, by the minute.

use std::f64::consts::TAU;

use super::{DAY_MINUTES, WINDOW_MINUTES};
use crate::random::Random;

/// A mean that is drawn at once at the most: beyond it the product of uniforms underflows.
const POISSON_PART: f64 = 500.0;
/// A clump starts in 2 % of windows and has a geometric size of this mean.
const CLUMPS: f64 = 0.02;
const CLUMP_MEAN: f64 = 8.0;

/// How the lines of a stream come. Means are of five minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Stream {
    /// Poisson of this mean.
    Poisson(f64),
    /// Negative binomial of this mean and variance ÷ mean: errors that come in groups.
    Grouped(f64, f64),
    /// Poisson whose mean is 50 and swings by 90 % over the day.
    Daily,
    /// Silence, and now and then a clump of lines: a real burst where it is larger than ten.
    Clumpy,
}

impl Stream {
    /// The streams of the table.
    pub const ALL: [Self; 7] = [
        Self::Poisson(0.05),
        Self::Poisson(3.0),
        Self::Poisson(50.0),
        Self::Daily,
        Self::Grouped(20.0, 5.0),
        Self::Grouped(3.0, 10.0),
        Self::Clumpy,
    ];

    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Poisson(mean) => format!("Poisson {mean}"),
            Self::Grouped(mean, ratio) => format!("NB mean {mean}, var/mean {ratio}"),
            Self::Daily => "daily cycle 50 +-90 %".to_owned(),
            Self::Clumpy => "clumpy".to_owned(),
        }
    }

    /// The mean of five minutes around a minute.
    pub(super) fn mean(self, minute: usize) -> f64 {
        match self {
            Self::Poisson(mean) | Self::Grouped(mean, _) => mean,
            Self::Daily => 50.0 * (1.0 + 0.9 * (TAU * minute as f64 / DAY_MINUTES as f64).sin()),
            Self::Clumpy => CLUMPS * CLUMP_MEAN,
        }
    }

    /// Lines of one minute. Minutes are independent, and five of them have the distribution of the stream.
    pub(super) fn draw(self, minute: usize, random: &mut Random) -> u64 {
        let mean = self.mean(minute) / WINDOW_MINUTES as f64;
        match self {
            Self::Poisson(_) | Self::Daily => poisson(mean, random),
            Self::Grouped(_, ratio) => grouped(mean, ratio, random),
            Self::Clumpy if random.uniform() < CLUMPS / WINDOW_MINUTES as f64 => geometric(random),
            Self::Clumpy => 0,
        }
    }
}

/// Knuth, TAOCP volume 2, 3.4.1.
fn poisson(mean: f64, random: &mut Random) -> u64 {
    let (mut left, mut count) = (mean, 0);
    while left > 0.0 {
        let limit = (-left.min(POISSON_PART)).exp();
        left -= POISSON_PART;
        let mut product = random.uniform();
        while product > limit {
            product *= random.uniform();
            count += 1;
        }
    }
    count
}

/// Negative binomial as a Poisson number of groups of logarithmic size (Quenouille, 1949): with
/// `q = 1 - 1 / ratio`, `-mean ln(1 - q) / (ratio - 1)` groups.
fn grouped(mean: f64, ratio: f64, random: &mut Random) -> u64 {
    let q = 1.0 - 1.0 / ratio;
    let groups = poisson(mean * ratio.ln() / (ratio - 1.0), random);
    let size = |random: &mut Random| {
        // By inversion: P(1) = -q / ln(1 - q), P(k + 1) = P(k) q k / (k + 1).
        let (mut rest, mut size, mut chance) = (random.uniform(), 1.0, q / ratio.ln());
        while rest > chance && chance > f64::EPSILON {
            rest -= chance;
            chance *= q * size / (size + 1.0);
            size += 1.0;
        }
        size as u64
    };
    (0..groups).map(|_| size(random)).sum()
}

/// Geometric from 1 on.
fn geometric(random: &mut Random) -> u64 {
    1 + ((1.0 - random.uniform()).ln() / (1.0 - 1.0 / CLUMP_MEAN).ln()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_have_the_moments_of_their_stream() {
        let moments = |stream: Stream| {
            let mut random = Random::new(&[5]);
            let n = 40_000;
            let windows: Vec<f64> =
                (0..n).map(|_| (0..WINDOW_MINUTES).map(|_| stream.draw(0, &mut random)).sum::<u64>() as f64).collect();
            let mean = windows.iter().sum::<f64>() / f64::from(n);
            let variance = windows.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / f64::from(n);
            (mean, variance / mean)
        };
        for (stream, mean, ratio) in [
            (Stream::Poisson(3.0), 3.0, 1.0),
            (Stream::Poisson(3_000.0), 3_000.0, 1.0),
            (Stream::Daily, 50.0, 1.0),
            (Stream::Grouped(20.0, 5.0), 20.0, 5.0),
            (Stream::Grouped(3.0, 10.0), 3.0, 10.0),
        ] {
            let (found, found_ratio) = moments(stream);
            assert!((found / mean - 1.0).abs() < 0.04, "{}: mean {found}", stream.name());
            assert!((found_ratio / ratio - 1.0).abs() < 0.06, "{}: var/mean {found_ratio}", stream.name());
        }
        assert!((moments(Stream::Clumpy).0 - 0.16).abs() < 0.02);
    }
}
