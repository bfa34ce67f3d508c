//! The kinds of healthy series.

use super::Fault;

/// A shape that a healthy series has. Where nothing else is said the level is 100 and the seasons go by
/// UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// One value.
    Flat,
    /// Nothing ever happens.
    Zeros,
    /// One value and rounding-sized noise (a thousandth).
    Jitter,
    /// Normal noise of 5 %.
    Gaussian,
    /// Counts, one in 50 samples: Poisson of mean 0.02.
    RareCounts,
    /// Counts, one in 5 samples: Poisson of mean 0.2.
    SparseCounts,
    /// Nothing, and in 3 samples of 100 a value that is log-normal with sigma 1.
    SparseHeavy,
    /// Pareto, alpha 2: the variance is infinite.
    Pareto,
    /// Log-normal, sigma 1.
    LogNormal,
    /// Counts that vary more than Poisson: negative binomial, mean 10, size 2.
    NegativeBinomial,
    /// A sine a day, 30 % up and down, and noise of 4 %.
    Daily,
    /// Office hours, lower at the weekend.
    DailyWeekend,
    /// Two peaks a day, noise of 6 % of the level there.
    DailyPeaks,
    /// A sine a week and no day season.
    Weekly,
    /// A nightly job: high for a few samples, up to two samples early or late.
    DailyBatch,
    /// A job each hour (every sixth sample where the step is too long for it), up to a sample late.
    HourlyBatch,
    /// A job early on Sundays.
    WeeklyBatch,
    /// Grows to twice its level.
    Trend,
    /// Wanders: an autoregression of 0.98.
    RandomWalk,
    /// The rate of a counter that starts anew every few days: the sample of a restart sees a part only.
    CounterRate,
    /// The counter itself: a sawtooth.
    CounterRaw,
    /// A heap: grows, and is collected at a level that varies.
    Heap,
    /// The day season, with stretches of half an hour to twelve hours missing.
    Gaps,
    /// Replicas of an autoscaler: whole numbers, one up or down after some hours.
    Plateaus,
    /// Noise, and with a deploy every two to four days a level that is up to 1.5 sigma another one. A
    /// larger shift would be worth a look, deploy or not: then suppression is for the deploy log.
    DeployShifts,
    /// A success ratio: 1 or a little below, dips of some thousandths to percents.
    Ratio,
    /// Two levels, on and off, minutes to hours each.
    OnOff,
    /// The day season by a local clock that moves by an hour.
    DstShift,
    /// Noise at times that are not regular: steps of 0.3 to 1.7.
    Irregular,
}

impl Kind {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Flat,
        Self::Zeros,
        Self::Jitter,
        Self::Gaussian,
        Self::RareCounts,
        Self::SparseCounts,
        Self::SparseHeavy,
        Self::Pareto,
        Self::LogNormal,
        Self::NegativeBinomial,
        Self::Daily,
        Self::DailyWeekend,
        Self::DailyPeaks,
        Self::Weekly,
        Self::DailyBatch,
        Self::HourlyBatch,
        Self::WeeklyBatch,
        Self::Trend,
        Self::RandomWalk,
        Self::CounterRate,
        Self::CounterRaw,
        Self::Heap,
        Self::Gaps,
        Self::Plateaus,
        Self::DeployShifts,
        Self::Ratio,
        Self::OnOff,
        Self::DstShift,
        Self::Irregular,
    ];

    /// A stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Zeros => "zeros",
            Self::Jitter => "jitter",
            Self::Gaussian => "gaussian",
            Self::RareCounts => "rare_counts",
            Self::SparseCounts => "sparse_counts",
            Self::SparseHeavy => "sparse_heavy",
            Self::Pareto => "pareto",
            Self::LogNormal => "log_normal",
            Self::NegativeBinomial => "negative_binomial",
            Self::Daily => "daily",
            Self::DailyWeekend => "daily_weekend",
            Self::DailyPeaks => "daily_peaks",
            Self::Weekly => "weekly",
            Self::DailyBatch => "daily_batch",
            Self::HourlyBatch => "hourly_batch",
            Self::WeeklyBatch => "weekly_batch",
            Self::Trend => "trend",
            Self::RandomWalk => "random_walk",
            Self::CounterRate => "counter_rate",
            Self::CounterRaw => "counter_raw",
            Self::Heap => "heap",
            Self::Gaps => "gaps",
            Self::Plateaus => "plateaus",
            Self::DeployShifts => "deploy_shifts",
            Self::Ratio => "ratio",
            Self::OnOff => "on_off",
            Self::DstShift => "dst_shift",
            Self::Irregular => "irregular",
        }
    }

    /// The faults that a person would call obvious in this kind. A frozen value is none where the value
    /// hardly moves, a missing day none where there is no day season, and none is obvious in a series
    /// that is sparse, has heavy tails or jumps by itself.
    #[must_use]
    pub fn faults(self) -> &'static [Fault] {
        const STILL: &[Fault] = &[Fault::Spike, Fault::Drop, Fault::Shift, Fault::Ramp, Fault::Variance];
        const NOISY: &[Fault] = &[Fault::Spike, Fault::Drop, Fault::Shift, Fault::Ramp, Fault::Variance, Fault::Frozen];
        match self {
            Self::Flat | Self::Jitter => STILL,
            Self::Gaussian
            | Self::Weekly
            | Self::Trend
            | Self::RandomWalk
            | Self::CounterRate
            | Self::DeployShifts
            | Self::Irregular => NOISY,
            Self::Daily | Self::DailyWeekend | Self::DailyPeaks | Self::Gaps => Fault::ALL,
            _ => &[],
        }
    }

    /// What its random numbers start from: the name, so that a new kind changes no other one.
    pub(super) fn key(self) -> u64 {
        self.name().bytes().fold(0, |key, byte| key.wrapping_mul(257).wrapping_add(u64::from(byte)))
    }
}
