//! The faults, and how they are put into a series.

use std::time::Duration;

use super::{DAY, HOUR, Kind, Random, Raw};

/// Something that a person would call a fault.
///
/// Sizes are in units of the series: the standard deviation of what is random in it there, at least 4 %
/// of its level, since nobody is woken for a change of a few percent however still the series is. So the
/// smallest spike is a third of the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// 8 to 12 units up for 1 to 3 samples.
    Spike,
    /// 8 to 12 units down, but not below 0, for 2 to 6 samples.
    Drop,
    /// 6 to 10 units up for 12 hours.
    Shift,
    /// 12 units up, in a line over 6 hours, then held for 6 hours.
    Ramp,
    /// Normal noise of 5 units on top for 12 hours.
    Variance,
    /// The last value again and again for 12 hours.
    Frozen,
    /// A day stays at its quietest level; a working day where those differ.
    MissingSeason,
}

/// How long the longer faults last, and between how many samples that is held.
const LONG: u64 = 12 * HOUR;
const LONG_SAMPLES: (usize, usize) = (24, 720);
/// Share of the series before the first place of a fault: a history, in ten days one of five days.
const EARLIEST: f64 = 0.5;

impl Fault {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::Spike, Self::Drop, Self::Shift, Self::Ramp, Self::Variance, Self::Frozen, Self::MissingSeason];

    /// A stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::Drop => "drop",
            Self::Shift => "shift",
            Self::Ramp => "ramp",
            Self::Variance => "variance",
            Self::Frozen => "frozen",
            Self::MissingSeason => "missing_season",
        }
    }

    /// Whether the recall that is demanded counts it: spikes, drops and shifts. What the others take
    /// (a model of the variance, of silence, of a whole day) few scorers have.
    #[must_use]
    pub fn must_show(self) -> bool {
        matches!(self, Self::Spike | Self::Drop | Self::Shift)
    }
}

/// Changes the samples of one fault and gives their places, from and up to; none where the kind does not
/// carry it, or the series is too short.
pub(super) fn inject(raw: &mut [Raw], kind: Kind, step: Duration, seed: u64, fault: Fault) -> Option<(usize, usize)> {
    if !kind.faults().contains(&fault) {
        return None;
    }
    let step = step.as_secs().max(1);
    let mut random = Random::new(&[kind.key(), step, seed, 1 + fault as u64]);
    let length = match fault {
        Fault::Spike => random.whole(1, 3),
        Fault::Drop => random.whole(2, 6),
        Fault::MissingSeason => (DAY / step) as usize,
        _ => ((LONG / step) as usize).clamp(LONG_SAMPLES.0, LONG_SAMPLES.1),
    };
    let first = (raw.len() as f64 * EARLIEST) as usize;
    // Three days for the next working day and the day itself.
    let reserve = if fault == Fault::MissingSeason { 4 * (DAY / step) as usize } else { length };
    let last = raw.len().checked_sub(reserve + 2)?;
    if first > last || length == 0 {
        return None;
    }
    let mut from = random.whole(first, last);
    let mut to = from + length;
    if fault == Fault::MissingSeason {
        (from, to) = working_day(raw, from)?;
    }
    let size = match fault {
        Fault::Spike => random.between(8.0, 12.0),
        Fault::Drop => -random.between(8.0, 12.0),
        Fault::Shift => random.between(6.0, 10.0),
        Fault::Ramp => 12.0,
        _ => 5.0,
    };
    let frozen = raw[from - 1].value;
    let half = (to - from) as f64 / 2.0;
    for (index, raw) in raw[from..to].iter_mut().enumerate() {
        raw.value = match fault {
            Fault::Spike | Fault::Drop | Fault::Shift => (raw.value + size * raw.unit).max(0.0),
            Fault::Ramp => raw.value + size * raw.unit * ((index + 1) as f64 / half).min(1.0),
            Fault::Variance => raw.value + size * raw.unit * random.normal(),
            Fault::Frozen => frozen,
            Fault::MissingSeason => raw.quiet,
        };
    }
    Some((from, to))
}

/// The samples of the first whole day from here on that is no Saturday or Sunday.
fn working_day(raw: &[Raw], from: usize) -> Option<(usize, usize)> {
    let day = DAY as i64;
    let mut start = (raw.get(from)?.at + day - 1).div_euclid(day);
    // 1970-01-01 was a Thursday: days 2 and 3 of these weeks are Saturday and Sunday.
    while matches!(start.rem_euclid(7), 2 | 3) {
        start += 1;
    }
    let place = |at: i64| raw.partition_point(|raw| raw.at < at);
    let (from, to) = (place(start * day), place((start + 1) * day));
    (0 < from && from < to && to < raw.len()).then_some((from, to))
}
