//! Median and median absolute deviation of a window, by the few values around the ranks that decide them.

use std::cmp::Ordering;

/// Values that are held around a rank: two cache lines. A rank wanders slowly: of noise one value in two
/// hundred needs a pass over the window, of a ramp three in eight.
const WIDTH: usize = 16;

/// All values of the window from one rank to another, in order.
#[derive(Debug, Clone, Copy)]
struct Near {
    /// Beyond `len` infinity, so that a search need not stop there.
    values: [f64; WIDTH],
    len: usize,
    /// Values of the window before the first of these: its rank.
    below: usize,
}

impl Near {
    const NONE: Self = Self { values: [f64::INFINITY; WIDTH], len: 0, below: 0 };

    /// Of sorted values those around the rank `centre`.
    fn around(centre: usize, sorted: &[f64]) -> Self {
        let len = sorted.len().min(WIDTH);
        let below = centre.saturating_sub(WIDTH / 2).min(sorted.len() - len);
        let mut near = Self { len, below, ..Self::NONE };
        near.values[..len].copy_from_slice(&sorted[below..below + len]);
        near
    }

    fn get(&self, rank: usize) -> Option<f64> {
        let place = rank.checked_sub(self.below)?;
        (place < self.len).then(|| self.values[place])
    }

    /// Holds the rank `wanted` too, if it is at most half a width away: one pass over the window `all` of `n`
    /// values. Forgets as much at the other end as it needs room.
    fn reach(&mut self, wanted: usize, n: usize, all: impl Iterator<Item = f64>) -> bool {
        const HALF: usize = WIDTH / 2;
        let end = self.below + self.len;
        let upwards = wanted >= end;
        let gap = if upwards { wanted - end } else { self.below - wanted };
        if self.len == 0 || gap >= HALF || wanted >= n {
            return false;
        }
        // Downwards is upwards in the mirror.
        let sign = if upwards { 1.0 } else { -1.0 };
        let last = sign * if upwards { self.values[self.len - 1] } else { self.values[0] };
        let (mut next, mut known, mut ties) = ([f64::INFINITY; HALF], 0, 0);
        for value in all.map(|value| sign * value) {
            known += usize::from(value < last);
            ties += usize::from(value == last);
            if value > last && value < next[HALF - 1] {
                let place = next.iter().filter(|x| **x <= value).count();
                next.copy_within(place..HALF - 1, place + 1);
                next[place] = value;
            }
        }
        // Of the values that equal the last some may be held already.
        let held = if upwards { end } else { n - self.below };
        let ties = (known + ties).saturating_sub(held).min(HALF);
        let found = next.into_iter().take_while(|value| value.is_finite());
        let new = std::iter::repeat_n(last, ties).chain(found).take(HALF);
        for value in new.map(|value| sign * value) {
            if self.len == WIDTH {
                self.len -= 1;
                if upwards {
                    self.values.copy_within(1.., 0);
                    self.below += 1;
                }
            }
            if upwards {
                self.values[self.len] = value;
            } else {
                self.values.copy_within(..WIDTH - 1, 1);
                self.values[0] = value;
                self.below -= 1;
            }
            self.len += 1;
        }
        self.get(wanted).is_some()
    }

    /// Takes in a value of a window that had `n`; drops the end that is farther from the rank `centre`.
    fn insert(&mut self, value: f64, n: usize, centre: usize) {
        if self.len == 0 {
            // Of an empty window this is all; of another one nothing is known here.
            if n == 0 {
                (self.values[0], self.len, self.below) = (value, 1, 0);
            }
            return;
        }
        let full = self.len == WIDTH;
        if value < self.values[0] && (self.below > 0 || full) {
            self.below += 1;
            return;
        }
        if value > self.values[self.len - 1] && (self.below + self.len < n || full) {
            return;
        }
        let mut place = self.place(value);
        if full && centre.saturating_sub(self.below) > WIDTH / 2 {
            // The first goes; what is before the new value moves down.
            place = place.saturating_sub(1);
            self.values.copy_within(1..=place, 0);
            self.below += 1;
        } else {
            // Past the end the last goes.
            self.values.copy_within(place.min(WIDTH - 1)..WIDTH - 1, place.min(WIDTH - 1) + 1);
            self.len += usize::from(!full);
        }
        self.values[place.min(WIDTH - 1)] = value;
    }

    /// Forgets a value of the window.
    fn remove(&mut self, value: f64) {
        if self.len == 0 || value > self.values[self.len - 1] {
            return;
        }
        if value < self.values[0] {
            self.below = self.below.saturating_sub(1);
            return;
        }
        let place = self.place(value);
        self.values.copy_within(place + 1..WIDTH, place);
        self.len -= 1;
        self.values[self.len] = f64::INFINITY;
    }

    /// How many of these values are below `value`.
    fn place(&self, value: f64) -> usize {
        self.values.iter().filter(|x| **x < value).count()
    }
}

/// The middle of a window of values, which the window's owner tells of each change.
#[derive(Debug, Clone)]
pub(super) struct Middle {
    n: usize,
    /// Where the half of the values that is nearest to the median began at the last look.
    run: usize,
    /// Around where that half begins, around the median, and around where that half ends.
    near: [Near; 3],
}

impl Middle {
    /// Of a window of `n` values, none of which is looked at yet.
    pub(super) fn of(n: usize) -> Self {
        Self { n, run: 0, near: [Near::NONE; 3] }
    }

    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// Reads each cache line of what is held.
    pub(super) fn prefetch(&self) {
        for near in &self.near {
            for value in near.values.iter().step_by(64 / size_of::<f64>()) {
                std::hint::black_box(*value);
            }
        }
    }

    pub(super) fn insert(&mut self, value: f64) {
        let centres = self.centres();
        for (near, centre) in self.near.iter_mut().zip(centres) {
            near.insert(value, self.n, centre);
        }
        self.n += 1;
    }

    pub(super) fn remove(&mut self, value: f64) {
        for near in &mut self.near {
            near.remove(value);
        }
        self.n = self.n.saturating_sub(1);
    }

    fn centres(&self) -> [usize; 3] {
        [self.run, self.n / 2, self.run + self.n / 2]
    }

    /// Median and median absolute deviation of at least two values; `all` gives the window where what is
    /// held here does not reach.
    pub(super) fn look<I: Iterator<Item = f64>>(&mut self, all: impl Fn() -> I) -> (f64, f64) {
        // Each miss reaches half a width further: more of them in a row, and a sort is shorter.
        for _ in 0..=self.near.len() {
            match self.known() {
                Ok((median, deviation, run)) => {
                    self.run = run;
                    return (median, deviation);
                }
                Err(Miss { near, rank }) if self.near[near].reach(rank, self.n, all()) => {}
                Err(_) => break,
            }
        }
        self.sort(all())
    }

    /// The same from all values, of which those around the ranks that decide are held from here on.
    fn sort(&mut self, all: impl Iterator<Item = f64>) -> (f64, f64) {
        let mut sorted: Vec<f64> = all.collect();
        // They are finite: a comparison of numbers is all it takes, and half the time of a total order.
        sorted.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        let at = |rank: usize| sorted.get(rank).copied().ok_or(());
        let answer = median(self.n, at).and_then(|median| {
            let (mut low, mut high) = (0, self.n - self.n / 2);
            while low < high {
                let place = low.midpoint(high);
                if begins(place, self.n, median, at, at)? { high = place } else { low = place + 1 }
            }
            Ok((median, deviation(low, self.n, median, at, at)?, low))
        });
        let (median, deviation, run) = answer.unwrap_or_default();
        self.run = run;
        for (near, centre) in self.near.iter_mut().zip([run, self.n / 2, run + self.n / 2]) {
            *near = Near::around(centre, &sorted);
        }
        (median, deviation)
    }

    /// What the values that are held say: median, deviation and where the nearest half begins.
    fn known(&self) -> Result<(f64, f64, usize), Miss> {
        let at = |near: usize| move |rank| self.near[near].get(rank).ok_or(Miss { near, rank });
        let (low, high) = (at(0), at(2));
        let median = median(self.n, at(1))?;
        let mut run = self.run.min(self.n - self.n / 2);
        while run > 0 && begins(run - 1, self.n, median, low, high)? {
            run -= 1;
        }
        while !begins(run, self.n, median, low, high)? {
            run += 1;
        }
        Ok((median, deviation(run, self.n, median, low, high)?, run))
    }
}

/// A rank that is not held, and where it was looked for.
struct Miss {
    near: usize,
    rank: usize,
}

fn median<E>(n: usize, at: impl Fn(usize) -> Result<f64, E>) -> Result<f64, E> {
    let upper = at(n / 2)?;
    Ok(if n % 2 == 1 { upper } else { at((n / 2).saturating_sub(1))? / 2.0 + upper / 2.0 })
}

/// Whether the half of `n` values that is nearest to the median begins at `place` or before: where the value
/// after the half is at least as far away as the half's first.
fn begins<E>(
    place: usize,
    n: usize,
    median: f64,
    low: impl Fn(usize) -> Result<f64, E>,
    high: impl Fn(usize) -> Result<f64, E>,
) -> Result<bool, E> {
    let end = place + n / 2;
    Ok(end >= n || median - low(place)? <= high(end)? - median)
}

/// The deviation, where the nearest half begins at `run`: the mean of its farthest value's and the next
/// value's, or the latter alone where `n` is odd.
fn deviation<E>(
    run: usize,
    n: usize,
    median: f64,
    low: impl Fn(usize) -> Result<f64, E>,
    high: impl Fn(usize) -> Result<f64, E>,
) -> Result<f64, E> {
    let end = run + n / 2;
    let below = if run > 0 { median - low(run - 1)? } else { f64::INFINITY };
    let above = if end < n { high(end)? - median } else { f64::INFINITY };
    let next = below.min(above);
    if n % 2 == 1 {
        return Ok(next);
    }
    let farthest = (median - low(run)?).max(high(end - 1)? - median);
    Ok(farthest / 2.0 + next / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn middle(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        if n % 2 == 1 { values[n / 2] } else { values[n / 2 - 1] / 2.0 + values[n / 2] / 2.0 }
    }

    /// Numbers with many ties, in two heaps that the median may jump between.
    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![-1e3f64..1e3, (-9i32..9).prop_map(f64::from), (0i32..5).prop_map(|x| 1e6 + f64::from(x))]
    }

    /// What is held is what a sort gives at these ranks.
    fn holds_the_truth(held: &Middle, plain: &[f64]) -> Result<(), TestCaseError> {
        let mut sorted = plain.to_vec();
        sorted.sort_by(f64::total_cmp);
        for near in &held.near {
            prop_assert_eq!(&near.values[..near.len], &sorted[near.below..near.below + near.len]);
            prop_assert!(near.values[near.len..].iter().all(|value| *value == f64::INFINITY));
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_a_sort_at_each_look(
            start in prop::collection::vec(number(), 2..300),
            changes in prop::collection::vec((0usize..300, number(), 0u8..6), 0..400),
            look in 1usize..9,
        ) {
            let mut plain = start.clone();
            let mut held = Middle::of(0);
            start.iter().for_each(|value| held.insert(*value));
            for (index, (place, value, change)) in changes.into_iter().enumerate() {
                let place = place % plain.len();
                if change == 0 && plain.len() > 2 {
                    held.remove(plain.swap_remove(place));
                } else if change > 1 {
                    held.remove(std::mem::replace(&mut plain[place], value));
                    held.insert(value);
                } else {
                    held.insert(value);
                    plain.push(value);
                }
                holds_the_truth(&held, &plain)?;
                if index % look == 0 {
                    let found = held.look(|| plain.iter().copied());
                    let median = middle(plain.clone());
                    prop_assert_eq!(found, (median, middle(plain.iter().map(|x| (x - median).abs()).collect())));
                    holds_the_truth(&held, &plain)?;
                }
            }
        }
    }

    #[test]
    fn noise_is_sorted_seldom() {
        let value = |index: u64| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 11) as f64;
        let mut held = Middle::of(0);
        (0..288).for_each(|index| held.insert(value(index)));
        let sorts = std::cell::Cell::new(0);
        for index in 288..10_288 {
            held.look(|| {
                sorts.set(sorts.get() + 1);
                (index - 288..index).map(value)
            });
            held.remove(value(index - 288));
            held.insert(value(index));
        }
        assert!(sorts.get() < 100, "{} sorts for 10,000 values", sorts.get());
    }
}
