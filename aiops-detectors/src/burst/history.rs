//! The counts of one series over eight days: sparse, since most error series are mostly zero.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Marks a count that is held out of every baseline.
const HELD: u32 = 1 << 31;
/// The largest count that is kept apart: seven million lines a second.
const MAX_COUNT: u32 = HELD - 1;

/// Counts by window. A window without an entry and outside the gaps counted 0.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct History {
    /// The first window that is known of.
    first: u32,
    /// The window after the last.
    next: u32,
    /// (window, count with its mark), ascending, no zeros.
    counts: VecDeque<(u32, u32)>,
    /// Unknown windows as (first, after the last), ascending and apart.
    gaps: VecDeque<(u32, u32)>,
}

/// What the known windows of a range, those held out not among them, sum to. Exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) n: u64,
    pub(super) sum: u64,
    squares: u128,
}

impl Sums {
    pub(super) fn add(&mut self, other: Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    pub(super) fn mean(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.sum as f64 / self.n as f64 }
    }

    /// Sample variance ÷ mean, at least 1 (that of a Poisson count).
    pub(super) fn dispersion(&self) -> f64 {
        if self.n < 2 || self.sum == 0 {
            return 1.0;
        }
        let n = u128::from(self.n);
        let spread = n * self.squares - u128::from(self.sum) * u128::from(self.sum);
        let variance = spread as f64 / (n * (n - 1)) as f64;
        (variance / self.mean()).max(1.0)
    }
}

impl History {
    /// The window after the last known one; none before the first.
    pub(super) fn next(&self) -> Option<u32> {
        (self.next > 0).then_some(self.next)
    }

    /// Whether every known window counted 0.
    pub(super) fn is_silent(&self) -> bool {
        self.counts.is_empty()
    }

    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        (self.counts.capacity() + self.gaps.capacity()) * size_of::<(u32, u32)>()
    }

    /// Whether it can be that of a saved state: ordered, inside its range, and not longer than `kept`.
    pub(super) fn is_sound(&self, kept: u32) -> bool {
        let inside = |window: u32| self.first <= window && window < self.next;
        let apart = self.gaps.iter().zip(self.gaps.iter().skip(1)).all(|(left, right)| left.1 < right.0);
        self.first <= self.next
            && self.next - self.first <= kept
            && self.counts.iter().zip(self.counts.iter().skip(1)).all(|(left, right)| left.0 < right.0)
            && self.counts.iter().all(|(window, count)| inside(*window) && *count & MAX_COUNT > 0)
            && apart
            && self.gaps.iter().all(|(from, to)| from < to && inside(*from) && *to <= self.next)
    }

    /// Appends the window `next`, or the first one of all.
    pub(super) fn push(&mut self, window: u32, count: u64, held: bool, kept: u32) {
        if self.next == 0 {
            self.first = window;
        }
        self.next = window + 1;
        self.put(window, count, held);
        self.forget(kept);
    }

    /// Takes the windows up to and without `to` as unknown.
    pub(super) fn skip(&mut self, to: u32, kept: u32) {
        if self.next == 0 || to <= self.next {
            return;
        }
        match self.gaps.back_mut() {
            Some(last) if last.1 == self.next => last.1 = to,
            _ => self.gaps.push_back((self.next, to)),
        }
        self.next = to;
        self.forget(kept);
    }

    fn forget(&mut self, kept: u32) {
        self.first = self.first.max(self.next.saturating_sub(kept));
        while self.counts.front().is_some_and(|(window, _)| *window < self.first) {
            self.counts.pop_front();
        }
        while let Some(gap) = self.gaps.front_mut() {
            if gap.1 > self.first {
                gap.0 = gap.0.max(self.first);
                break;
            }
            self.gaps.pop_front();
        }
    }

    /// Where a window stands among the counts, or would.
    fn place(&self, window: u32) -> usize {
        // Nearly always the newest.
        match self.counts.back() {
            Some((last, _)) if *last >= window => self.counts.partition_point(|(w, _)| *w < window),
            _ => self.counts.len(),
        }
    }

    /// Sets a window's count.
    pub(super) fn put(&mut self, window: u32, count: u64, held: bool) {
        let count = u32::try_from(count).unwrap_or(MAX_COUNT).min(MAX_COUNT);
        let place = self.place(window);
        let found = self.counts.get(place).is_some_and(|(w, _)| *w == window);
        let entry = (window, if held { count | HELD } else { count });
        match (found, count) {
            (true, 0) => {
                self.counts.remove(place);
            }
            (true, _) => self.counts[place] = entry,
            (false, 0) => {}
            (false, _) => self.counts.insert(place, entry),
        }
    }

    /// Adds the counts of another series over the same windows.
    pub(super) fn absorb(&mut self, other: &Self) {
        for (window, theirs) in &other.counts {
            if let Some((mine, held)) = self.at(*window) {
                self.put(*window, mine.saturating_add(u64::from(theirs & MAX_COUNT)), held || theirs & HELD != 0);
            }
        }
    }

    fn is_gap(&self, window: u32) -> bool {
        let after = self.gaps.partition_point(|(from, _)| *from <= window);
        after > 0 && window < self.gaps[after - 1].1
    }

    /// Count and whether it is held out; none for a window that is not known.
    pub(super) fn at(&self, window: u32) -> Option<(u64, bool)> {
        if window < self.first || window >= self.next || self.is_gap(window) {
            return None;
        }
        let entry = self.counts.get(self.place(window)).filter(|(w, _)| *w == window);
        Some(entry.map_or((0, false), |(_, count)| (u64::from(count & MAX_COUNT), count & HELD != 0)))
    }

    /// Takes a window's count back into the baselines.
    pub(super) fn readmit(&mut self, window: u32) {
        let place = self.place(window);
        if let Some(entry) = self.counts.get_mut(place).filter(|(w, _)| *w == window) {
            entry.1 &= MAX_COUNT;
        }
    }

    /// The windows from `from` up to and without `to`.
    pub(super) fn sums(&self, from: u32, to: u32) -> Sums {
        let (from, to) = (from.max(self.first), to.min(self.next));
        if from >= to {
            return Sums::default();
        }
        let mut sums = Sums { n: u64::from(to - from), ..Sums::default() };
        let gap = self.gaps.partition_point(|(_, end)| *end <= from);
        for (start, end) in self.gaps.range(gap..).take_while(|(start, _)| *start < to) {
            sums.n -= u64::from(to.min(*end) - from.max(*start));
        }
        for (_, count) in self.counts.range(self.place(from)..).take_while(|(window, _)| *window < to) {
            if count & HELD != 0 {
                sums.n -= 1;
            } else {
                let count = u64::from(*count);
                sums.sum += count;
                sums.squares += u128::from(count) * u128::from(count);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_a_plain_list() {
        let mut history = History::default();
        let mut plain: Vec<Option<u64>> = Vec::new();
        for window in 0..400_u32 {
            match window % 17 {
                3 | 4 => {
                    history.skip(window + 1, 1_000);
                    plain.push(None);
                }
                9 => {
                    history.push(window, 70, true, 1_000);
                    plain.push(None);
                }
                rest => {
                    let count = u64::from(rest % 5);
                    history.push(window, count, false, 1_000);
                    plain.push(Some(count));
                }
            }
        }
        assert!(history.is_sound(1_000));
        for (from, to) in [(0, 400), (3, 5), (4, 10), (9, 10), (100, 231), (390, 500)] {
            let known: Vec<u64> = plain[from..to.min(400)].iter().flatten().copied().collect();
            let sums = history.sums(from as u32, to as u32);
            assert_eq!((sums.n, sums.sum), (known.len() as u64, known.iter().sum()), "{from}..{to}");
            assert_eq!(sums.squares, known.iter().map(|c| u128::from(c * c)).sum(), "{from}..{to}");
        }
        assert_eq!((history.at(9), history.at(3), history.at(2)), (Some((70, true)), None, Some((2, false))));
    }

    #[test]
    fn it_keeps_what_it_was_told_to_keep() {
        let mut history = History::default();
        for window in 10..10_000 {
            if window % 7 == 0 {
                history.skip(window + 1, 50);
            } else {
                history.push(window, 3, false, 50);
            }
        }
        assert_eq!(history.sums(0, u32::MAX).n, 43);
        assert!(history.is_sound(50) && history.heap() < 2_000, "{} bytes", history.heap());
    }
}
