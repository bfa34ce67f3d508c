//! The newest samples of a series: 16 bytes each, exact to the nanosecond.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ScorerStateError, make_room, restore, save};

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;
/// The longest span of a window or an offset: two of them must fit into nanoseconds of 64 bits.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Before any sample.
const NEVER: i64 = i64::MIN;
/// Age that is older than a window and an offset together: 250 years.
const AGE: i64 = 250 * 365 * 86_400 * SECOND;
/// Room grows by this share of what is there: doubling would leave half of it empty, for ever where
/// a window bounds the samples.
const GROWTH: usize = 8;
/// Sums are kept in this many parts, so that an addition need not wait for the one before it.
const LANES: usize = 4;

/// One sample; four of them share a cache line.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Slot {
    /// Nanoseconds since the base of its [`Samples`].
    pub(super) at: i64,
    pub(super) value: f64,
}

/// Samples by time, oldest first.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    base: Timestamp,
    /// Place of the newest sample; held here, where it can be read without waiting for the slots.
    last: i64,
    slots: VecDeque<Slot>,
}

impl Default for Samples {
    fn default() -> Self {
        Self { base: Timestamp::UNIX_EPOCH, last: NEVER, slots: VecDeque::new() }
    }
}

/// A span in nanoseconds, held at a hundred years.
pub(super) fn nanos(span: Duration) -> i64 {
    i64::try_from(span.min(LONGEST).as_nanos()).unwrap_or(i64::MAX)
}

impl Samples {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The place in time of a sample that may enter a baseline: finite, and newer than the newest.
    pub(super) fn admit(&mut self, at: Timestamp, value: f64) -> Option<i64> {
        if !value.is_finite() {
            return None;
        }
        if self.last == NEVER {
            self.base = at;
            return Some(0);
        }
        let seconds = at.as_second() - self.base.as_second();
        let rest = i64::from(at.subsec_nanosecond() - self.base.subsec_nanosecond());
        match seconds.checked_mul(SECOND).and_then(|whole| whole.checked_add(rest)) {
            // From the oldest to the newest it must fit, too.
            Some(place) if place <= i64::MAX - AGE => (place > self.last).then_some(place),
            _ => (seconds > 0).then(|| self.move_base(at)),
        }
    }

    /// Counts from `at` on, centuries after the base. What is older than `AGE` is older than any window:
    /// it keeps its order, and no more.
    fn move_base(&mut self, at: Timestamp) -> i64 {
        let by = at.as_nanosecond() - self.base.as_nanosecond();
        for (slot, oldest) in self.slots.iter_mut().zip(-AGE..) {
            slot.at = i64::try_from(i128::from(slot.at) - by).unwrap_or(i64::MIN).max(oldest);
        }
        self.last = self.slots.back().map_or(-AGE, |slot| slot.at);
        self.base = at;
        0
    }

    pub(super) fn get(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// What times are counted from.
    pub(super) fn base(&self) -> Timestamp {
        self.base
    }

    pub(super) fn oldest(&self) -> Option<Slot> {
        self.slots.front().copied()
    }

    pub(super) fn forget_oldest(&mut self) {
        self.slots.pop_front();
    }

    /// Adds a sample that was admitted, of at most `capacity` in all.
    pub(super) fn push(&mut self, at: i64, value: f64, capacity: usize) {
        let n = self.slots.len();
        if n == self.slots.capacity() {
            // No further than to the bound: a full ring writes where it has just read.
            self.slots.reserve_exact((n / GROWTH + GROWTH).min(capacity.saturating_sub(n)).max(1));
        }
        self.last = at;
        self.slots.push_back(Slot { at, value });
    }

    /// Makes room for one more sample; whether it had to.
    pub(super) fn make_room(&mut self, capacity: usize, scorer: &'static str) -> bool {
        make_room(&mut self.slots, capacity, scorer)
    }

    /// All samples, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().copied()
    }

    /// From the oldest sample to the newest, to the second.
    pub(super) fn span(&self) -> Duration {
        let oldest = self.oldest().map_or(self.last, |oldest| oldest.at);
        Duration::from_secs(self.last.abs_diff(oldest) / SECOND.unsigned_abs())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.slots.iter().map(|slot| slot.value)
    }

    /// Mean, and sum of the squared deviations from it, of the oldest `n` samples (at least one): two
    /// passes, so that nothing cancels or drifts.
    pub(super) fn moments(&self, n: usize) -> (f64, f64) {
        let count = n as f64;
        let sum = self.sum(n, |value| value);
        // A sum of huge values overflows; divided before they are added they do not.
        let mean = if sum.is_finite() { sum / count } else { self.sum(n, |value| value / count) };
        (mean, self.sum(n, |value| (value - mean) * (value - mean)))
    }

    /// Each sample has its lane by its place among the samples, not by where the ring wraps: a restored
    /// ring wraps elsewhere and must add up to the same bits.
    fn sum(&self, n: usize, of: impl Fn(f64) -> f64) -> f64 {
        let (front, back) = self.slots.as_slices();
        let (front, back) = (&front[..n.min(front.len())], &back[..n.saturating_sub(front.len())]);
        let (mut lanes, mut next) = ([0.0; LANES], 0);
        for part in [front, back] {
            let (head, rest) = part.split_at(((LANES - next) % LANES).min(part.len()));
            for slot in head {
                lanes[next] += of(slot.value);
                next = (next + 1) % LANES;
            }
            let chunks = rest.chunks_exact(LANES);
            let tail = chunks.remainder();
            for chunk in chunks {
                for (lane, slot) in lanes.iter_mut().zip(chunk) {
                    *lane += of(slot.value);
                }
            }
            for slot in tail {
                lanes[next] += of(slot.value);
                next += 1;
            }
        }
        (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    }

    /// Reads the oldest sample and the first `n` of the others, a cache line of them at a time.
    pub(super) fn prefetch(&self, n: usize) {
        const LINE: usize = 64 / size_of::<Slot>();
        for index in (0..=n).step_by(LINE) {
            std::hint::black_box(self.slots.get(index).map(|slot| slot.value));
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// The samples as saved state of `scorer`.
    pub(super) fn save(&self, scorer: &'static str) -> Vec<u8> {
        let whole = self.slots.iter().all(|slot| slot.at % SECOND == 0);
        let unit = if whole { SECOND } else { 1 };
        let places = self.slots.iter().map(|slot| slot.at / unit);
        let before = std::iter::once(0).chain(self.slots.iter().map(|slot| slot.at / unit));
        let steps = places.zip(before).map(|(place, before)| place - before).collect();
        save(scorer, &Saved { base: self.base, unit, steps, values: self.values().collect() })
    }

    /// The newest `capacity` of the samples that were saved.
    pub(super) fn restore(scorer: &'static str, bytes: &[u8], capacity: usize) -> Result<Self, ScorerStateError> {
        let saved: Saved = restore(scorer, bytes)?;
        let refuse = |why: &str| ScorerStateError { scorer, source: why.into() };
        if saved.steps.len() != saved.values.len() {
            return Err(refuse("it has not a value for each time"));
        }
        let mut samples = Self { base: saved.base, ..Self::default() };
        samples.slots.reserve_exact(saved.steps.len().min(capacity));
        let mut at: i64 = 0;
        let skip = saved.values.len().saturating_sub(capacity);
        for (index, (step, value)) in saved.steps.into_iter().zip(saved.values).enumerate() {
            let next = step.checked_mul(saved.unit).and_then(|step| at.checked_add(step));
            at = match next {
                Some(next) if next > at || index == 0 => next,
                _ => return Err(refuse("its times do not rise")),
            };
            samples.last = at;
            if index >= skip {
                samples.slots.push_back(Slot { at, value });
            }
        }
        Ok(samples)
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    base: Timestamp,
    /// Nanoseconds of one step's unit: a second where all samples stand at whole ones.
    unit: i64,
    /// From one sample to the next; the first from the base.
    steps: Vec<i64>,
    values: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offer(samples: &mut Samples, at: Timestamp, value: f64) -> bool {
        let place = samples.admit(at, value);
        if let Some(place) = place {
            samples.push(place, value, 1_000);
        }
        place.is_some()
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn samples_within_a_second_keep_their_order() {
        let mut samples = Samples::default();
        for (nanosecond, admitted) in [(10, true), (11, true), (11, false), (10, false), (999_999_999, true)] {
            assert_eq!(offer(&mut samples, Timestamp::new(7, nanosecond).unwrap(), 1.0), admitted, "{nanosecond}");
        }
        let restored = Samples::restore("s", &samples.save("s"), 10).unwrap();
        assert_eq!(restored.slots, samples.slots);
    }

    #[test]
    fn after_a_gap_of_millennia_all_is_in_order_and_as_old_as_it_can_be() {
        const YEAR: i64 = 365 * 86_400;
        let mut samples = Samples::default();
        assert!(offer(&mut samples, Timestamp::MIN, 1.0));
        assert!(offer(&mut samples, second(0), 2.0));
        assert!(!offer(&mut samples, Timestamp::MIN, 3.0));
        assert!(offer(&mut samples, second(200 * YEAR), 4.0));
        assert!(offer(&mut samples, second(300 * YEAR), 5.0));
        let ages: Vec<i64> = samples.slots.iter().map(|slot| samples.last - slot.at).collect();
        assert_eq!(ages[2..], [100 * YEAR * SECOND, 0]);
        assert!(ages[0] > ages[1] && ages[1] > 200 * YEAR * SECOND, "{ages:?}");
        assert!(offer(&mut samples, Timestamp::MAX, 6.0));
        assert!(!offer(&mut samples, Timestamp::MAX, 7.0));
        assert!(samples.slots.iter().is_sorted_by(|a, b| a.at < b.at) && samples.len() == 5);
        let restored = Samples::restore("s", &samples.save("s"), 10).unwrap();
        assert_eq!((restored.slots, restored.base, restored.last), (samples.slots, samples.base, samples.last));
    }

    #[test]
    fn saved_state_that_cannot_be_is_refused() {
        let mut samples = Samples::default();
        for at in [0, 300, 600] {
            offer(&mut samples, second(at), 1.0);
        }
        let saved = String::from_utf8(samples.save("s")).unwrap();
        assert!(Samples::restore("s", saved.as_bytes(), 9).is_ok());
        for (part, broken) in
            [("300,300", "300,0"), ("300,300", "300"), ("[0,300", "[9223372036,300"), ("\"v\":2", "\"v\":1")]
        {
            let text = saved.replacen(part, broken, 1);
            assert_ne!(text, saved);
            assert!(Samples::restore("s", text.as_bytes(), 9).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_moments_are_those_of_the_definition_wherever_the_ring_wraps(
            values in prop::collection::vec(-1e3f64..1e3, 1..60), turn in 0usize..80
        ) {
            let mut samples = Samples::default();
            for index in 0..turn {
                samples.push(index as i64 - 100, 0.0, 1_000);
                samples.forget_oldest();
            }
            for (index, value) in values.iter().enumerate() {
                samples.push(index as i64, *value, 1_000);
            }
            let restored = Samples::restore("s", &samples.save("s"), 1_000).unwrap();
            for n in 1..=values.len() {
                let (mean, squares) = samples.moments(n);
                let wanted = values[..n].iter().sum::<f64>() / n as f64;
                let wanted_squares: f64 = values[..n].iter().map(|value| (value - wanted).powi(2)).sum();
                prop_assert!((mean - wanted).abs() < 1e-9 && (squares - wanted_squares).abs() < 1e-6);
                prop_assert_eq!(restored.moments(n), (mean, squares), "to the last bit");
            }
        }
    }
}
