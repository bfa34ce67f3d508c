//! How few cuts set a value apart from what came before.

use std::collections::VecDeque;

use aiops_core::DataState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::isolation_tree::{FEATURES, Point, Tree, average_path};
use super::past_scores::PastScores;
use super::{MIN_SAMPLES, RELATIVE_FLOOR, Score, Scorer, ScorerStateError, refused, restore, save};
use crate::random::Random;

/// Trees: Liu, Ting and Zhou (2008) see no change after 100; with half of them a score moves by 0.02.
const TREES: usize = 50;
/// Points of a tree. The paper's 256 for data of many columns; three need fewer, and a smaller sample
/// hides less.
const TREE_SAMPLES: usize = 64;
/// Points that are remembered: some hundred for each hour of a day where one is sampled each minute.
const RESERVOIR: usize = 1_024;
/// A full reservoir takes one in so many: it then reaches back over 4,096 samples (three days of minutes,
/// two weeks of five minutes).
const TAKEN: f64 = 0.25;
/// Samples between two plantings.
const INTERVAL: usize = 256;
/// Samples of the short mean.
const SHORT: usize = 8;
/// Points are `f32`: beyond this a number is held.
const LARGEST_COORDINATE: f64 = 1e38;

/// An isolation forest (Liu, Ting and Zhou, "Isolation forest", 2008) over value, change and the mean of
/// the newest eight, replanted every 256 samples from a reservoir of what came before.
///
/// The forest's own score (0.5 is usual, near 1 is strange) says little by itself: how rare it is in this
/// series does. It becomes decades of surprise by the series' own past scores, and those are the
/// statistic, negative for a value below the median. A value beyond all that was seen is set apart by the
/// probability that a cut falls in between; in the paper it is no stranger than the outermost one. A
/// change smaller than `relative_floor` of the value sets nothing apart. There is no season in it, and
/// no memory of order beyond eight samples. The same seed gives the same scores. State is about 100 KiB
/// a series: for some hundred series, not for many thousands. Default threshold: 3 decades, one sample
/// in a thousand.
#[derive(Debug, Clone)]
pub struct IsolationForest {
    seed: u64,
    relative_floor: f64,
    state: State,
    /// Follows from the state; empty before the first planting.
    trees: Vec<Tree>,
    /// Median of the values in the reservoir when the trees were planted.
    median: f64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    last: Option<Timestamp>,
    newest: VecDeque<f64>,
    /// What the trees were planted from.
    reservoir: Vec<Point>,
    /// What came since.
    waiting: Vec<Point>,
    /// How often the trees were planted.
    plantings: u64,
    scores: PastScores,
}

impl Default for IsolationForest {
    fn default() -> Self {
        Self::new(0)
    }
}

impl IsolationForest {
    /// A forest whose cuts come from this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, relative_floor: RELATIVE_FLOOR, state: State::default(), trees: Vec::new(), median: 0.0 }
    }

    /// Smallest distance that sets a value apart, as a share of what it is held against; negative or NaN
    /// counts as 0.
    #[must_use]
    pub fn relative_floor(mut self, share: f64) -> Self {
        self.relative_floor = super::share(share);
        self
    }

    /// Value, change, short mean, `value` the newest of it.
    fn point(&self, value: f64) -> Point {
        let before = self.state.newest.back().copied().unwrap_or(value);
        let n = (self.state.newest.len() + 1) as f64;
        let mean = value / n + self.state.newest.iter().map(|value| value / n).sum::<f64>();
        [value, value - before, mean].map(|x| x.clamp(-LARGEST_COORDINATE, LARGEST_COORDINATE) as f32)
    }

    /// From the average number of cuts: `2 ^ (-E(h) / c(n))`.
    fn forest_score(&self, point: &Point) -> f64 {
        let floor = (self.relative_floor * f64::from(point[0]).abs().max(self.median.abs())) as f32;
        let cuts: f64 = self.trees.iter().map(|tree| tree.cuts(point, floor)).sum();
        let usual = average_path(TREE_SAMPLES.min(self.state.reservoir.len()));
        (-cuts / (self.trees.len() as f64 * usual.max(1.0))).exp2()
    }

    fn learn(&mut self, at: Timestamp, value: f64, point: Point) {
        let state = &mut self.state;
        state.last = Some(at);
        // One fewer: the mean takes the value that comes.
        if state.newest.len() + 1 >= SHORT {
            state.newest.pop_front();
        }
        state.newest.push_back(value);
        state.waiting.push(point);
        // The first trees as soon as there is a sample for them.
        let wanted = if state.plantings == 0 { TREE_SAMPLES } else { INTERVAL };
        if state.waiting.len() >= wanted {
            state.plantings = state.plantings.saturating_add(1);
            let mut random = Random::new(&[self.seed, state.plantings]);
            for point in state.waiting.drain(..) {
                if state.reservoir.len() < RESERVOIR {
                    state.reservoir.push(point);
                } else if random.uniform() < TAKEN {
                    let place = random.whole(0, RESERVOIR - 1);
                    state.reservoir[place] = point;
                }
            }
            self.plant();
        }
    }

    /// Trees by seed, planting and reservoir alone: saved state need not hold them.
    fn plant(&mut self) {
        let reservoir = &self.state.reservoir;
        if reservoir.is_empty() {
            (self.trees, self.median) = (Vec::new(), 0.0);
            return;
        }
        let plantings = self.state.plantings;
        let tree = |index| Tree::plant(reservoir, TREE_SAMPLES, &mut Random::new(&[self.seed, plantings, 1 + index]));
        self.trees = (0..TREES as u64).map(tree).collect();
        let mut values: Vec<f32> = reservoir.iter().map(|point| point[0]).collect();
        let middle = values.len() / 2;
        self.median = f64::from(*values.select_nth_unstable_by(middle, f32::total_cmp).1);
    }
}

impl Scorer for IsolationForest {
    fn name(&self) -> &'static str {
        "isolation_forest"
    }

    /// Decades.
    fn default_threshold(&self) -> f64 {
        3.0
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        if refused(self.state.last, at, value) {
            return Score::none(value, DataState::Error);
        }
        let point = self.point(value);
        let n = self.state.scores.seen();
        let of = (TREE_SAMPLES + MIN_SAMPLES) as u64;
        let mut score =
            Score::none(value, DataState::Warming { n: n.saturating_add(self.state.waiting.len() as u64), of });
        if !self.trees.is_empty() {
            let strange = self.forest_score(&point);
            if n >= MIN_SAMPLES as u64 {
                let surprise = self.state.scores.decades(strange);
                let statistic = if value < self.median { -surprise } else { surprise };
                let expected = Some(self.median);
                let (band, state) = (None, DataState::Ok);
                score = Score { surprise, statistic, persisting: statistic, value, expected, band, state, n };
            }
            self.state.scores.learn(strange);
        }
        self.learn(at, value, point);
        score
    }

    fn save(&self) -> Vec<u8> {
        save(self.name(), &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let mut state = restore::<State>(self.name(), bytes)?;
        // Bounds hold whatever the bytes say.
        state.reservoir.truncate(RESERVOIR);
        state.waiting.truncate(INTERVAL);
        state.newest.truncate(SHORT);
        state.scores.settle();
        self.state = state;
        self.plant();
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        let points = self.state.reservoir.capacity() + self.state.waiting.capacity();
        size_of::<Self>()
            + points * size_of::<[f32; FEATURES]>()
            + self.state.newest.capacity() * size_of::<f64>()
            + self.state.scores.heap_bytes()
            + self.trees.iter().map(Tree::size_bytes).sum::<usize>()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self::new(self.seed).relative_floor(self.relative_floor))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::synthetic::{Fault, Kind, healthy, with_fault};

    const STEP: Duration = Duration::from_secs(300);

    fn statistics(scorer: &mut dyn Scorer, samples: &[crate::Sample]) -> Vec<f64> {
        samples.iter().map(|sample| scorer.observe(sample.at, sample.value).statistic).collect()
    }

    #[test]
    fn passes_the_conformance_suite() {
        crate::testing::check_scorer(&IsolationForest::default()).unwrap();
        crate::testing::check_scorer(&IsolationForest::new(7).relative_floor(0.0)).unwrap();
    }

    #[test]
    fn the_same_seed_gives_the_same_scores_and_another_one_others() {
        let samples = healthy(Kind::Gaussian, STEP, 1).samples;
        let one = statistics(&mut IsolationForest::new(1), &samples[..1_000]);
        assert_eq!(one, statistics(&mut IsolationForest::new(1), &samples[..1_000]));
        assert_ne!(one, statistics(&mut IsolationForest::new(2), &samples[..1_000]));
    }

    #[test]
    fn spikes_and_drops_stand_out_with_their_sign() {
        for (fault, sign) in [(Fault::Spike, 1.0), (Fault::Drop, -1.0)] {
            let series = with_fault(Kind::Gaussian, STEP, 1, fault).unwrap();
            let scored = statistics(&mut IsolationForest::default(), &series.samples);
            let first = series.samples.iter().position(|sample| sample.at == series.faults[0].from).unwrap();
            assert!(sign * scored[first] >= 3.0, "{fault:?}: {}", scored[first]);
        }
    }

    #[test]
    fn a_flat_series_is_not_blind_and_not_nervous() {
        // Rows 30 and 23 of the user reports: a deviation of 0, and a change of a hair.
        let mut samples = healthy(Kind::Flat, STEP, 1).samples;
        samples.truncate(2_000);
        samples[1_500].value = 100.5;
        samples[1_900].value = 140.0;
        let scored = statistics(&mut IsolationForest::default(), &samples);
        assert!(scored[1_900] >= 3.0, "{}", scored[1_900]);
        assert!(scored[..1_900].iter().all(|statistic| statistic.abs() < 3.0));
    }

    #[test]
    fn memory_stays_as_it_says() {
        let samples = healthy(Kind::LogNormal, STEP, 1).samples;
        let mut scorer = IsolationForest::default();
        statistics(&mut scorer, &samples);
        assert!(scorer.size_bytes() <= 128 * 1_024, "{}", scorer.size_bytes());
    }
}
