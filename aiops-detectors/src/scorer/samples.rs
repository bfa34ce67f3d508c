//! The newest samples of a series: 8 bytes each where they are regular, 16 where not, exact to the nanosecond.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::steps::Steps;
use super::{ScorerStateError, count_dropped, restore, save};

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

/// Samples by time, oldest first: the values in a ring, the steps between them in runs, and the times of the
/// oldest, of the newest and of the one at a mark, so that no time is looked up.
#[derive(Debug, Clone)]
pub(super) struct Samples {
    values: VecDeque<f64>,
    /// Nanoseconds from the base to the newest sample.
    last: i64,
    /// The same to the oldest, where there is one.
    oldest: i64,
    /// How many samples stand before the mark, and the time of the first that does not, where there is one.
    mark: usize,
    mark_at: i64,
    /// Steps between the samples up to the mark's, and from there on.
    before: Steps,
    after: Steps,
    /// What times are counted from: a whole second of the Unix clock.
    base: i64,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            values: VecDeque::new(),
            last: NEVER,
            oldest: NEVER,
            mark: 0,
            mark_at: NEVER,
            before: Steps::default(),
            after: Steps::default(),
            base: 0,
        }
    }
}

/// A span in nanoseconds, held at a hundred years.
pub(super) fn nanos(span: Duration) -> i64 {
    i64::try_from(span.min(LONGEST).as_nanos()).unwrap_or(i64::MAX)
}

impl Samples {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The place in time of a sample that may enter a baseline: finite, and newer than the newest.
    pub(super) fn admit(&mut self, at: Timestamp, value: f64) -> Option<i64> {
        if !value.is_finite() {
            return None;
        }
        let rest = i64::from(at.subsec_nanosecond());
        if self.last == NEVER {
            self.base = at.as_second();
            return Some(rest);
        }
        let seconds = at.as_second() - self.base;
        match seconds.checked_mul(SECOND).and_then(|whole| whole.checked_add(rest)) {
            // From the oldest to the newest it must fit, too.
            Some(place) if place <= i64::MAX - AGE => (place > self.last).then_some(place),
            _ => (seconds > 0).then(|| self.move_base(at.as_second(), rest)),
        }
    }

    /// Counts from second `base` on, centuries after the one before. What is older than `AGE` is older than any
    /// window: it keeps its order, and no more.
    fn move_base(&mut self, base: i64, place: i64) -> i64 {
        let by = i128::from(base - self.base) * i128::from(SECOND);
        let moved = |at: i64, oldest: i64| i64::try_from(i128::from(at) - by).unwrap_or(i64::MIN).max(oldest);
        let times: Vec<i64> = self.times().zip(-AGE..).map(|(at, oldest)| moved(at, oldest)).collect();
        let values = std::mem::take(&mut self.values);
        *self = Self {
            base,
            last: moved(self.last, -AGE),
            values: VecDeque::with_capacity(values.capacity()),
            ..Self::default()
        };
        for (at, value) in times.into_iter().zip(values) {
            self.append(at, value);
        }
        place
    }

    /// Place of the oldest sample.
    pub(super) fn oldest(&self) -> Option<i64> {
        (!self.values.is_empty()).then_some(self.oldest)
    }

    /// Forgets the oldest sample and gives its value.
    pub(super) fn forget_oldest(&mut self) -> Option<f64> {
        let value = self.values.pop_front()?;
        if self.mark > 0 {
            self.mark -= 1;
            self.oldest += self.before.pop_front().unwrap_or(0);
        } else {
            self.oldest += self.after.pop_front().unwrap_or(0);
            self.mark_at = self.oldest;
        }
        Some(value)
    }

    /// Moves the mark beyond every sample that is not later than `to`; how many stand before it then.
    pub(super) fn mark_through(&mut self, to: i64) -> usize {
        while self.mark < self.values.len() && self.mark_at <= to {
            self.mark += 1;
            if let Some(step) = self.after.pop_front() {
                self.before.push_back(step);
                self.mark_at += step;
            }
        }
        self.mark
    }

    /// Adds a sample that was admitted, of at most `capacity` in all.
    pub(super) fn push(&mut self, at: i64, value: f64, capacity: usize) {
        let n = self.values.len();
        if n == self.values.capacity() {
            // No further than to the bound: a full ring writes where it has just read.
            self.values.reserve_exact((n / GROWTH + GROWTH).min(capacity.saturating_sub(n)).max(1));
        }
        self.append(at, value);
    }

    fn append(&mut self, at: i64, value: f64) {
        let n = self.values.len();
        if n == 0 {
            self.oldest = at;
        } else if self.mark == n {
            self.before.push_back(at - self.last);
        } else {
            self.after.push_back(at - self.last);
        }
        if self.mark == n {
            self.mark_at = at;
        }
        self.last = at;
        self.values.push_back(value);
    }

    /// Makes room for one more sample; counts what a bound drops that the scorer would still have used.
    pub(super) fn make_room(&mut self, capacity: usize, scorer: &'static str) {
        if self.values.len() >= capacity {
            self.forget_oldest();
            count_dropped(scorer);
        }
    }

    /// The places of all samples, oldest first.
    fn times(&self) -> impl Iterator<Item = i64> {
        let mut at = self.oldest;
        let steps = std::iter::once(0).chain(self.before.iter()).chain(self.after.iter());
        steps.take(self.values.len()).map(move |step| {
            at += step;
            at
        })
    }

    /// From the oldest sample to the newest, to the second.
    pub(super) fn span(&self) -> Duration {
        let oldest = self.oldest().unwrap_or(self.last);
        Duration::from_secs(self.last.abs_diff(oldest) / SECOND.unsigned_abs())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied()
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
        let (front, back) = self.values.as_slices();
        let (front, back) = (&front[..n.min(front.len())], &back[..n.saturating_sub(front.len())]);
        let (mut lanes, mut next) = ([0.0; LANES], 0);
        for part in [front, back] {
            let (head, rest) = part.split_at(((LANES - next) % LANES).min(part.len()));
            for value in head {
                lanes[next] += of(*value);
                next = (next + 1) % LANES;
            }
            let chunks = rest.chunks_exact(LANES);
            let tail = chunks.remainder();
            for chunk in chunks {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *lane += of(*value);
                }
            }
            for value in tail {
                lanes[next] += of(*value);
                next += 1;
            }
        }
        (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
    }

    /// Reads the oldest value and the first `n` of the others, a cache line of them at a time.
    pub(super) fn prefetch(&self, n: usize) {
        const LINE: usize = 64 / size_of::<f64>();
        for index in (0..=n).step_by(LINE) {
            std::hint::black_box(self.values.get(index));
        }
    }

    /// The same of the samples before the mark.
    pub(super) fn prefetch_marked(&self) {
        self.prefetch(self.mark);
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.values.capacity() * size_of::<f64>() + self.before.heap_bytes() + self.after.heap_bytes()
    }

    /// The samples as saved state of `scorer`.
    pub(super) fn save(&self, scorer: &'static str) -> Vec<u8> {
        let unit = if self.times().all(|at| at % SECOND == 0) { SECOND } else { 1 };
        let before = std::iter::once(0).chain(self.times());
        let steps = self.times().zip(before).map(|(at, before)| at / unit - before / unit).collect();
        let base = Timestamp::from_second(self.base).unwrap_or_default();
        save(scorer, &Saved { base, unit, steps, values: self.values().collect() })
    }

    /// The newest `capacity` of the samples that were saved.
    pub(super) fn restore(scorer: &'static str, bytes: &[u8], capacity: usize) -> Result<Self, ScorerStateError> {
        let saved: Saved = restore(scorer, bytes)?;
        let refuse = |why: &str| ScorerStateError { scorer, source: why.into() };
        if saved.steps.len() != saved.values.len() {
            return Err(refuse("it has not a value for each time"));
        }
        let mut samples = Self { base: saved.base.as_second(), ..Self::default() };
        samples.values.reserve_exact(saved.steps.len().min(capacity));
        let mut at = i64::from(saved.base.subsec_nanosecond());
        let skip = saved.values.len().saturating_sub(capacity);
        for (index, (step, value)) in saved.steps.into_iter().zip(saved.values).enumerate() {
            let next = step.checked_mul(saved.unit).and_then(|step| at.checked_add(step));
            at = match next {
                Some(next) if next > at || index == 0 => next,
                _ => return Err(refuse("its times do not rise")),
            };
            if index >= skip {
                samples.append(at, value);
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
        assert!(restored.times().eq(samples.times()) && restored.values == samples.values);
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
        let ages: Vec<i64> = samples.times().map(|at| samples.last - at).collect();
        assert_eq!(ages[2..], [100 * YEAR * SECOND, 0]);
        assert!(ages[0] > ages[1] && ages[1] > 200 * YEAR * SECOND, "{ages:?}");
        assert!(offer(&mut samples, Timestamp::MAX, 6.0));
        assert!(!offer(&mut samples, Timestamp::MAX, 7.0));
        assert!(samples.times().is_sorted_by(|a, b| a < b) && samples.len() == 5);
        let restored = Samples::restore("s", &samples.save("s"), 10).unwrap();
        assert!(restored.times().eq(samples.times()) && restored.values == samples.values);
        assert_eq!((restored.base, restored.last), (samples.base, samples.last));
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
