//! What a value usually is at this time of the day and of the week.

use aiops_core::BoxError;
use serde::{Deserialize, Serialize};

/// Shortest slot: a series that samples faster has several samples in one, and their mean counts.
const SHORTEST_SLOT: f64 = 300.0;
const DAY: i64 = 86_400;
const DAYS_PER_WEEK: usize = 7;
/// Slots a day from which two neighbours on each side are looked at, and from which one: a season that
/// comes some minutes early or late must not alarm.
const TWO_NEIGHBOURS: usize = 100;
const ONE_NEIGHBOUR: usize = 12;
/// Weight of a new day in its slot: three days are remembered.
const DAY_WEIGHT: f32 = 0.34;
/// Weight of a new week in its slot: weeks come slowly, two are remembered.
const WEEK_WEIGHT: f32 = 0.5;

/// A table of slots by the time of day and one by the time of the week, on UTC time, not on samples:
/// gaps and irregular sampling shift nothing.
#[derive(Debug, Clone)]
pub(super) struct Season {
    slots_per_day: usize,
    /// The day's slots, then the week's; NaN where nothing is known.
    table: Box<[f32]>,
    open: Option<Open>,
}

/// The slot that samples fall into now.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Open {
    slot: i64,
    sum: f64,
    count: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedSeason {
    slots_per_day: usize,
    /// The bits of the numbers: some are NaN.
    table: Vec<u32>,
    open: Option<Open>,
}

/// What the two tables say; none where nothing is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Usual {
    pub(super) day: Option<f64>,
    pub(super) week: Option<f64>,
}

impl Usual {
    /// The one nearer to a value.
    pub(super) fn nearer(self, value: f64) -> Option<f64> {
        match (self.day, self.week) {
            (Some(day), Some(week)) => Some(if (value - day).abs() < (value - week).abs() { day } else { week }),
            (day, week) => day.or(week),
        }
    }
}

impl Season {
    /// For a series that samples every `step` seconds.
    pub(super) fn new(step: f64) -> Self {
        let per_day = DAY as f64 / step.max(SHORTEST_SLOT);
        Self::with_slots((per_day.round() as usize).max(1))
    }

    fn with_slots(slots_per_day: usize) -> Self {
        let table = vec![f32::NAN; slots_per_day * (1 + DAYS_PER_WEEK)].into_boxed_slice();
        Self { slots_per_day, table, open: None }
    }

    fn slot(&self, second: i64) -> i64 {
        let slots = self.slots_per_day as i64;
        // Day and second of the day apart, so that nothing overflows.
        second.div_euclid(DAY) * slots + second.rem_euclid(DAY) * slots / DAY
    }

    /// What is usual at a time, by what was learned before it.
    pub(super) fn usual(&self, second: i64) -> Usual {
        let slot = self.slot(second);
        let (day, week) = self.table.split_at(self.slots_per_day);
        Usual { day: self.middle(day, slot), week: self.middle(week, slot) }
    }

    /// The median of a slot and its neighbours.
    fn middle(&self, table: &[f32], slot: i64) -> Option<f64> {
        let reach = match self.slots_per_day {
            TWO_NEIGHBOURS.. => 2,
            ONE_NEIGHBOUR.. => 1,
            _ => 0,
        };
        let length = table.len();
        let place = usize::try_from(slot.rem_euclid(length as i64)).unwrap_or(0);
        let mut known = [0.0f32; 5];
        let mut count = 0;
        for step in 0..=2 * reach {
            let mut at = place + length - reach + step;
            while at >= length {
                at -= length;
            }
            let value = table[at];
            if !value.is_nan() {
                // Kept sorted as they come: five at the most.
                let mut hole = count;
                while hole > 0 && known[hole - 1] > value {
                    known[hole] = known[hole - 1];
                    hole -= 1;
                }
                known[hole] = value;
                count += 1;
            }
        }
        let upper = f64::from(known[count / 2]);
        match count {
            0 => None,
            _ if count % 2 == 1 => Some(upper),
            _ => Some(f64::midpoint(f64::from(known[count / 2 - 1]), upper)),
        }
    }

    /// Learns a value; its slot enters the tables when the next one begins.
    pub(super) fn learn(&mut self, second: i64, value: f64) {
        let slot = self.slot(second);
        match &mut self.open {
            Some(open) if open.slot == slot => {
                open.sum += value;
                open.count = open.count.saturating_add(1);
                return;
            }
            _ => {}
        }
        if let Some(done) = self.open.replace(Open { slot, sum: value, count: 1 }) {
            let mean = (done.sum / f64::from(done.count)) as f32;
            let (day, week) = self.table.split_at_mut(self.slots_per_day);
            for (table, weight) in [(day, DAY_WEIGHT), (week, WEEK_WEIGHT)] {
                let place = usize::try_from(done.slot.rem_euclid(table.len() as i64)).unwrap_or(0);
                let known = &mut table[place];
                *known = if known.is_nan() { mean } else { *known + weight * (mean - *known) };
            }
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        size_of_val::<[f32]>(&self.table)
    }

    pub(super) fn save(&self) -> SavedSeason {
        let table = self.table.iter().map(|value| value.to_bits()).collect();
        SavedSeason { slots_per_day: self.slots_per_day, table, open: self.open }
    }

    pub(super) fn restore(saved: SavedSeason) -> Result<Self, BoxError> {
        let table: Box<[f32]> = saved.table.into_iter().map(f32::from_bits).collect();
        let fits = saved.slots_per_day.checked_mul(1 + DAYS_PER_WEEK) == Some(table.len());
        if saved.slots_per_day == 0 || !fits || table.iter().any(|value| value.is_infinite()) {
            return Err(format!("{} numbers for {} slots a day", table.len(), saved.slots_per_day).into());
        }
        let kept = |open: &Open| open.count > 0 && ((open.sum / f64::from(open.count)) as f32).is_finite();
        if !saved.open.iter().all(kept) {
            return Err("the mean of its open slot is no number".into());
        }
        Ok(Self { slots_per_day: saved.slots_per_day, table, open: saved.open })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    #[test]
    fn knows_the_hour_of_the_day_and_of_the_week() {
        let mut season = Season::new(300.0);
        let value = |second: i64| {
            let (day, hour) = (second.div_euclid(DAY), second.rem_euclid(DAY) / HOUR);
            hour as f64 + if day.rem_euclid(7) == 3 { 100.0 } else { 0.0 }
        };
        for step in 0..(3 * 7 * 288) {
            season.learn(step * 300, value(step * 300));
        }
        let noon_of = |day: i64| season.usual((21 + day) * DAY + 12 * HOUR + 1_800);
        assert_eq!(noon_of(3).week, Some(112.0));
        assert_eq!(noon_of(2).week, Some(12.0));
        assert!(noon_of(2).nearer(12.0).unwrap() < 13.0);
    }

    #[test]
    fn goes_by_time_and_not_by_samples() {
        let mut season = Season::new(300.0);
        for day in 0..5 {
            for slot in 0..288 {
                // A gap of half a day, and each third sample missing.
                if (day == 2 && slot > 144) || (slot + day) % 3 == 0 {
                    continue;
                }
                season.learn(day * DAY + slot * 300 + (slot * 7) % 200, slot as f64);
            }
        }
        let usual = season.usual(9 * DAY + 100 * 300).day.unwrap();
        assert!((usual - 100.0).abs() <= 1.0, "{usual}");
    }

    #[test]
    fn any_step_and_any_time_has_a_slot() {
        for step in [0.0, 1e-3, 300.0, 3_600.0, 50_000.0, 1e9, f64::INFINITY] {
            let mut season = Season::new(step);
            for second in [i64::MIN / 400_000, -1, 0, 86_399, 86_400, i64::MAX / 400_000] {
                season.learn(second, 1.0);
                season.usual(second);
            }
            assert!(season.size_bytes() <= 288 * 8 * 4, "{step}");
        }
    }
}
