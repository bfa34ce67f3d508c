//! The times between the samples of a series, oldest first. Equal ones in a row take one number.

use std::collections::VecDeque;

/// Room grows by this share of what is there, as that of [`Samples`](super::samples::Samples).
const GROWTH: usize = 8;

/// Steps in nanoseconds, each above 0. A regular series holds nothing on the heap, an irregular one 8 bytes a step.
#[derive(Debug, Clone, Default)]
pub(super) struct Steps {
    /// The oldest step, and how many like it stand in a row at the front.
    step: i64,
    count: usize,
    /// What follows them: a step, or how many more like the one before it, below 0. None while there is nothing.
    // Boxed: a ring's own 32 bytes would be half a cache line of every regular series.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<i64>>>,
}

impl Steps {
    /// Adds the newest.
    pub(super) fn push_back(&mut self, step: i64) {
        let Some(rest) = &mut self.rest else {
            match self.count {
                0 => (self.step, self.count) = (step, 1),
                _ if self.step == step => self.count += 1,
                _ => self.rest = Some(Box::new(VecDeque::from([step]))),
            }
            return;
        };
        let n = rest.len();
        match rest.back().copied() {
            Some(more) if more < 0 && rest.get(n.wrapping_sub(2)) == Some(&step) => {
                rest[n - 1] -= 1;
                return;
            }
            _ => {}
        }
        if n == rest.capacity() {
            rest.reserve_exact(n / GROWTH + GROWTH);
        }
        let again = rest.back() == Some(&step);
        rest.push_back(if again { -1 } else { step });
    }

    /// Takes the oldest.
    pub(super) fn pop_front(&mut self) -> Option<i64> {
        let step = self.step;
        match self.count {
            0 => return None,
            1 => self.refill(),
            _ => self.count -= 1,
        }
        Some(step)
    }

    fn refill(&mut self) {
        self.count = 0;
        let Some(rest) = &mut self.rest else { return };
        if let Some(step) = rest.pop_front() {
            (self.step, self.count) = (step, 1);
        }
        if let Some(more) = rest.front().copied().filter(|more| *more < 0) {
            rest.pop_front();
            self.count = self.count.saturating_add(usize::try_from(more.unsigned_abs()).unwrap_or(usize::MAX));
        }
        if rest.is_empty() {
            self.rest = None;
        }
    }

    /// All of them, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        let mut before = self.step;
        let front = std::iter::repeat_n(self.step, self.count);
        front.chain(self.rest.iter().flat_map(|rest| rest.iter()).flat_map(move |next| {
            let n = if *next < 0 { next.unsigned_abs() } else { 1 };
            before = if *next < 0 { before } else { *next };
            std::iter::repeat_n(before, usize::try_from(n).unwrap_or(usize::MAX))
        }))
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| size_of::<VecDeque<i64>>() + rest.capacity() * size_of::<i64>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_steps_take_no_memory_and_a_changed_one_little() {
        let mut steps = Steps::default();
        for _ in 0..10_000 {
            steps.push_back(300);
        }
        assert_eq!((steps.heap_bytes(), steps.iter().count()), (0, 10_000));
        for step in std::iter::once(310).chain(std::iter::repeat_n(300, 10_000)) {
            steps.push_back(step);
        }
        assert!(steps.heap_bytes() < 200, "{}", steps.heap_bytes());
        assert!((0..20_001).all(|_| steps.pop_front().is_some()));
        assert_eq!((steps.heap_bytes(), steps.pop_front()), (0, None));
    }

    proptest! {
        #[test]
        fn they_come_out_as_they_went_in(
            moves in prop::collection::vec((prop::sample::select(vec![1i64, 1, 1, 2, 3]), 0usize..3), 1..200)
        ) {
            let (mut steps, mut plain) = (Steps::default(), VecDeque::new());
            for (step, takes) in moves {
                steps.push_back(step);
                plain.push_back(step);
                prop_assert_eq!(steps.iter().collect::<VecDeque<i64>>(), plain.clone());
                for _ in 1..takes {
                    prop_assert_eq!(steps.pop_front(), plain.pop_front());
                }
                prop_assert_eq!(steps.iter().collect::<VecDeque<i64>>(), plain.clone());
            }
        }
    }
}
