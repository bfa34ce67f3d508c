//! The values of a window in order, for its median and median absolute deviation.

use super::samples::GROWTH;

/// Values in the index: of 288 every sixteenth, two cache lines apart.
const INDEXED: usize = 18;
/// Steps from where the middle half stood at the last value before it is searched for.
const NEAR: usize = 8;

/// Sorted values, with an index of some of them, so that a search reads few cache lines.
///
/// The index stands in the struct and not in a vector of its own: where series are many, a search
/// that waits for memory twice takes twice as long.
#[derive(Debug, Clone)]
pub(super) struct Sorted {
    values: Vec<f64>,
    /// Every `stride`th value, from the first on, as far as there are any.
    index: [f64; INDEXED],
    stride: usize,
    /// Where the half of the values that is nearest to the median began at the last look; only saves
    /// a search.
    near: usize,
}

impl Sorted {
    /// Nothing yet, and room in the index for `capacity` values.
    pub(super) fn new(capacity: usize) -> Self {
        Self { values: Vec::new(), index: [0.0; INDEXED], stride: capacity.div_ceil(INDEXED).max(1), near: 0 }
    }

    pub(super) fn of(values: impl Iterator<Item = f64>, capacity: usize) -> Self {
        let mut sorted = Self { values: values.collect(), ..Self::new(capacity) };
        sorted.values.sort_unstable_by(f64::total_cmp);
        sorted.renew(0, sorted.values.len());
        sorted
    }

    /// The first place whose value is not below `value`.
    fn place(&self, value: f64) -> usize {
        let n = self.values.len();
        let indexed = &self.index[..n.div_ceil(self.stride).min(INDEXED)];
        // Counted to the end instead of stopped: nothing to mispredict.
        let block = indexed.iter().filter(|x| **x < value).count();
        let from = block.saturating_sub(1) * self.stride;
        from + self.values[from..n.min(from + self.stride)].partition_point(|x| *x < value)
    }

    /// Renews the index for places in `from..to`, whose values moved.
    fn renew(&mut self, from: usize, to: usize) {
        let places = self.values[..to].iter().step_by(self.stride);
        for (entry, value) in self.index.iter_mut().zip(places).skip(from.div_ceil(self.stride)) {
            *entry = *value;
        }
    }

    pub(super) fn insert(&mut self, value: f64) {
        let place = self.place(value);
        if self.values.len() == self.values.capacity() {
            self.values.reserve_exact(self.values.len() / GROWTH + GROWTH);
        }
        self.values.insert(place, value);
        self.renew(place, self.values.len());
    }

    pub(super) fn remove(&mut self, value: f64) {
        let place = self.place(value);
        if place < self.values.len() {
            self.values.remove(place);
            self.renew(place, self.values.len());
        }
    }

    /// One value for another: only what lies between the two moves.
    pub(super) fn replace(&mut self, old: f64, new: f64) {
        let (from, to) = (self.place(old), self.place(new));
        if from >= self.values.len() {
            self.insert(new);
        } else if from < to {
            self.values.copy_within(from + 1..to, from);
            self.values[to - 1] = new;
            self.renew(from, to);
        } else {
            self.values.copy_within(to..from, to + 1);
            self.values[to] = new;
            self.renew(to, from + 1);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The median of at least two values.
    pub(super) fn median(&self) -> f64 {
        let n = self.values.len();
        let upper = self.values[n / 2];
        if n % 2 == 1 { upper } else { self.values[n / 2 - 1] / 2.0 + upper / 2.0 }
    }

    /// Median absolute deviation from `median` of at least two values.
    ///
    /// The half of the values nearest to the median is a run; it begins at the first place from which
    /// the value after the run is at least as far away as the run's first.
    pub(super) fn deviation(&mut self, median: f64) -> f64 {
        let (n, half) = (self.values.len(), self.values.len() / 2);
        let values = &self.values;
        let begins = |place: usize| place + half >= n || median - values[place] <= values[place + half] - median;
        let mut run = self.near.min(n - half);
        let mut steps = 0;
        while steps < NEAR && run > 0 && begins(run - 1) {
            run -= 1;
            steps += 1;
        }
        while steps < NEAR && !begins(run) {
            run += 1;
            steps += 1;
        }
        if steps == NEAR {
            let (mut low, mut high) = (0, n - half);
            while low < high {
                let middle = low.midpoint(high);
                if begins(middle) { high = middle } else { low = middle + 1 }
            }
            run = low;
        }
        self.near = run;
        let below = run.checked_sub(1).map(|place| median - self.values[place]);
        let above = self.values.get(run + half).map(|value| value - median);
        let next = below.unwrap_or(f64::INFINITY).min(above.unwrap_or(f64::INFINITY));
        if n % 2 == 1 {
            return next;
        }
        let farthest = (median - self.values[run]).max(self.values[run + half - 1] - median);
        farthest / 2.0 + next / 2.0
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.values.capacity() * size_of::<f64>()
    }
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

    proptest! {
        #[test]
        fn equals_a_sort_for_each_question(
            start in prop::collection::vec(number(), 2..300), changes in prop::collection::vec((0usize..300, number(), 0u8..4), 0..60)
        ) {
            let capacity = start.len() + 60;
            let mut plain = start.clone();
            let mut sorted = Sorted::new(capacity);
            start.iter().for_each(|value| sorted.insert(*value));
            for (place, value, change) in changes {
                let place = place % plain.len();
                match change {
                    0 => {
                        sorted.insert(value);
                        plain.push(value);
                    }
                    1 if plain.len() > 2 => sorted.remove(plain.swap_remove(place)),
                    _ => sorted.replace(std::mem::replace(&mut plain[place], value), value),
                }
                let median = middle(plain.clone());
                prop_assert_eq!(sorted.median(), median);
                let deviation = middle(plain.iter().map(|x| (x - median).abs()).collect());
                prop_assert_eq!(sorted.deviation(median), deviation);
                let again = Sorted::of(plain.iter().copied(), capacity);
                prop_assert_eq!(&again.values, &sorted.values);
                let indexed = plain.len().div_ceil(sorted.stride);
                prop_assert_eq!(&again.index[..indexed], &sorted.index[..indexed]);
            }
        }
    }
}
