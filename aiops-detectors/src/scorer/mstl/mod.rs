//! The distance from a forecast of trend and seasons.

mod fit;

use std::collections::VecDeque;
use std::time::Duration;

use aiops_core::{DataState, time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::fit::{MstlError, MstlFit, MstlHistory};
use super::residuals::{NORMAL, Residuals};
use super::{MIN_SAMPLES, RELATIVE_FLOOR, Score, Scorer, ScorerStateError, refused, restore, save, spread};

const DAY: i64 = 86_400;
/// Samples whose middle distance is the step, where the host gives none.
const STEP_SAMPLES: usize = 17;
/// Shortest step that is inferred: of faster samples a minute's mean is taken, or no day would fit.
const SHORTEST_STEP: i64 = 60;
/// The history in seconds, and in slots: three weeks, so that a week season has three cycles, but at
/// least 1,024 slots and at most 8,192 (64 KiB; five days of minutes).
const HISTORY: i64 = 21 * DAY;
const HISTORY_SLOTS: (i64, i64) = (1_024, 8_192);
/// Days before the first fit: two, as for a season of a day.
const FIRST_FIT_DAYS: i64 = 2;

/// MSTL (Bandara, Hyndman and Bergmeir, 2021): repeated LOESS for the trend, a day and a week season,
/// by `augurs-mstl`. It stands in for Prophet, whose optimiser is a program of its own.
///
/// A model is fitted to up to three weeks on a regular grid, gaps filled by straight lines, and its last
/// cycles are the forecast until the next fit; a lasting difference is followed over a day or two. The
/// spread is that of the forecast's own errors, wider where their tails are heavier than normal, and at
/// least `relative_floor` of the forecast. The step is the host's or the middle one of the first samples;
/// it should divide a day. Seasons go by UTC: summer time is a lasting difference in them, until the next
/// fits. The decomposition is `f32`, about the middle of the series.
///
/// By default a fit is made each day, within `observe`, where it takes up to some 50 ms: nothing for many
/// series or the thread of a reactor. With [`refit_every(None)`](Self::refit_every) the host decides:
/// [`refit`](Self::refit), or [`history`](Self::history), [`MstlHistory::fit`] where blocking is allowed,
/// and [`install`](Self::install). Scores begin after two days and the first fit. Default threshold: 4.
///
/// ```
/// use aiops_detectors::{Mstl, MstlError};
/// # fn on_another_thread<T>(work: impl FnOnce() -> T) -> T { work() }
/// let mut scorer = Mstl::default().refit_every(None);
/// // After some days of samples, and then each night:
/// if let Some(history) = scorer.history() {
///     scorer.install(on_another_thread(move || history.fit())?);
/// }
/// # Ok::<(), MstlError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Mstl {
    step: Option<i64>,
    refit_every: Option<Duration>,
    relative_floor: f64,
    state: State,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    last: Option<Timestamp>,
    /// Samples from before the step was known.
    first: Vec<(Timestamp, f64)>,
    step: Option<i64>,
    /// Oldest first; none where nothing was sampled.
    slots: VecDeque<Option<f64>>,
    slot: Option<Slot>,
    /// Slots until the next fit.
    due: i64,
    fit: Option<MstlFit>,
    residuals: Residuals,
}

/// The slot that the series is in.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Slot {
    index: i64,
    mean: f64,
    n: u32,
}

impl State {
    fn new() -> Self {
        Self {
            last: None,
            first: Vec::new(),
            step: None,
            slots: VecDeque::new(),
            slot: None,
            due: 0,
            fit: None,
            residuals: Residuals::new(),
        }
    }

    /// Adds a sample to the grid; how many slots were completed.
    fn add(&mut self, at: Timestamp, value: f64, step: i64) -> i64 {
        let index = at.as_second().div_euclid(step);
        match &mut self.slot {
            Some(slot) if slot.index == index => {
                slot.n = slot.n.saturating_add(1);
                slot.mean += (value / f64::from(slot.n)) - (slot.mean / f64::from(slot.n));
                0
            }
            slot => {
                let Some(done) = slot.replace(Slot { index, mean: value, n: 1 }) else { return 0 };
                let capacity = (HISTORY / step).clamp(HISTORY_SLOTS.0, HISTORY_SLOTS.1);
                let passed = index.saturating_sub(done.index).max(1);
                self.slots.push_back(Some(done.mean));
                // After a gap that is longer than the history nothing of it is left.
                self.slots.extend((1..passed.min(capacity + 1)).map(|_| None));
                self.slots.drain(..self.slots.len().saturating_sub(capacity as usize));
                passed
            }
        }
    }
}

impl Default for Mstl {
    fn default() -> Self {
        Self {
            step: None,
            refit_every: Some(Duration::from_secs(DAY as u64)),
            relative_floor: RELATIVE_FLOOR,
            state: State::new(),
        }
    }
}

impl Mstl {
    /// The sampling step (at least a second); else it is inferred from the first 17 samples.
    #[must_use]
    pub fn step(mut self, step: Duration) -> Self {
        self.step = Some(i64::try_from(step.as_secs()).unwrap_or(i64::MAX).clamp(1, HISTORY));
        self
    }

    /// Fits anew after this time, within `observe`; none leaves it to the host. Default: a day.
    #[must_use]
    pub fn refit_every(mut self, every: Option<Duration>) -> Self {
        self.refit_every = every;
        self
    }

    /// Smallest spread as a share of the forecast; negative or NaN counts as 0.
    #[must_use]
    pub fn relative_floor(mut self, share: f64) -> Self {
        self.relative_floor = super::share(share);
        self
    }

    /// A copy of the history, to fit it elsewhere; none while the step is not known.
    #[must_use]
    pub fn history(&self) -> Option<MstlHistory> {
        let (step, slot) = (self.state.step?, self.state.slot?);
        let values: Vec<f64> = self.state.slots.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        // A gap may reach beyond what is kept; the newest whole slot is the one before the current.
        Some(MstlHistory { step, end: slot.index.saturating_sub(1), values })
    }

    /// Takes a model that was fitted to this scorer's [`history`](Self::history). One of another step is
    /// not taken.
    pub fn install(&mut self, fit: MstlFit) {
        if self.state.step == Some(fit.step()) {
            self.state.fit = Some(fit);
            // The level is that of the new trend.
            self.state.residuals.drift = 0.0;
        }
    }

    /// Fits the model to the history and takes it.
    ///
    /// # Errors
    /// [`MstlError`]: the scorer goes on with the model that it has, or without one.
    pub fn refit(&mut self) -> Result<(), MstlError> {
        let history = self.history().unwrap_or(MstlHistory { step: DAY, end: 0, values: Vec::new() });
        self.install(history.fit()?);
        Ok(())
    }

    fn learn(&mut self, at: Timestamp, value: f64) {
        let Some(step) = self.state.step.or(self.step) else {
            self.state.first.push((at, value));
            if self.state.first.len() == STEP_SAMPLES {
                let first = std::mem::take(&mut self.state.first);
                let step = inferred(&first);
                self.begin(step);
                for (at, value) in first {
                    self.state.add(at, value, step);
                }
            }
            return;
        };
        if self.state.step.is_none() {
            self.begin(step);
        }
        self.state.due = self.state.due.saturating_sub(self.state.add(at, value, step));
        if let Some(every) = self.refit_every
            && self.state.due <= 0
        {
            self.state.due = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).div_euclid(step).max(1);
            if let Err(error) = self.refit() {
                tracing::debug!(%error, "scorer keeps the model that it has");
            }
        }
    }

    fn begin(&mut self, step: i64) {
        self.state.step = Some(step);
        self.state.due = FIRST_FIT_DAYS * DAY / step + 1;
    }
}

/// The middle distance of these samples in seconds.
fn inferred(samples: &[(Timestamp, f64)]) -> i64 {
    let mut steps: Vec<i64> = samples.windows(2).map(|two| two[1].0.as_second() - two[0].0.as_second()).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(SHORTEST_STEP).clamp(SHORTEST_STEP, HISTORY)
}

impl Scorer for Mstl {
    fn name(&self) -> &'static str {
        "mstl"
    }

    fn default_threshold(&self) -> f64 {
        4.0
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        if refused(self.state.last, at, value) {
            return Score::none(value, DataState::Error);
        }
        let n = self.state.residuals.n;
        let of = MIN_SAMPLES as u64;
        let threshold = self.default_threshold();
        let mut score = Score::none(value, DataState::Warming { n: n.min(of - 1), of });
        if let (Some(fit), Some(step)) = (&self.state.fit, self.state.step) {
            let residuals = &mut self.state.residuals;
            let forecast = fit.expected(at.as_second().div_euclid(step)) + residuals.drift;
            let core = spread(NORMAL * residuals.spread, forecast, self.relative_floor);
            if n >= of {
                let wide = (core * residuals.heavier()).min(f64::MAX);
                score = Score::against(value, forecast, wide, threshold, n);
            }
            let age = self.state.last.map_or(0.0, |last| time::since(at, last).as_secs_f64());
            residuals.learn(age, (value - forecast).clamp(f64::MIN, f64::MAX), core);
        }
        self.learn(at, value);
        self.state.last = Some(at);
        score
    }

    fn save(&self) -> Vec<u8> {
        save(self.name(), &self.state)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let mut state = restore::<State>(self.name(), bytes)?;
        if state.step.is_some_and(|step| !(1..=HISTORY).contains(&step)) {
            let source = "the step is none".into();
            return Err(ScorerStateError { scorer: self.name(), source });
        }
        // Bounds hold whatever the bytes say.
        state.slots.drain(..state.slots.len().saturating_sub(HISTORY_SLOTS.1 as usize));
        state.first.truncate(STEP_SAMPLES - 1);
        self.state = state;
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + self.state.slots.capacity() * size_of::<Option<f64>>()
            + self.state.first.capacity() * size_of::<(Timestamp, f64)>()
            + self.state.fit.as_ref().map_or(0, MstlFit::numbers) * size_of::<f64>()
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self { state: State::new(), ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::synthetic::{Fault, Kind, STEPS, healthy, with_fault};

    fn statistics(scorer: &mut dyn Scorer, samples: &[crate::Sample]) -> Vec<f64> {
        samples.iter().map(|sample| scorer.observe(sample.at, sample.value).statistic).collect()
    }

    #[test]
    fn passes_the_conformance_suite() {
        crate::testing::check_scorer(&Mstl::default()).unwrap();
        let minute = Mstl::default().step(Duration::from_secs(600)).relative_floor(0.0);
        crate::testing::check_scorer(&minute.refit_every(Some(Duration::from_secs(7_200)))).unwrap();
    }

    #[test]
    fn a_day_that_does_not_come_is_found_and_the_days_before_are_not() {
        let series = with_fault(Kind::Daily, STEPS[2], 1, Fault::MissingSeason).unwrap();
        let scored = statistics(&mut Mstl::default(), &series.samples);
        let from = series.samples.iter().position(|sample| sample.at == series.faults[0].from).unwrap();
        assert!(scored[from..from + 24].iter().any(|statistic| *statistic <= -4.0));
        let early = scored[..from].iter().filter(|statistic| statistic.abs() >= 4.0).count();
        assert!(early <= 2, "{early}");
    }

    #[test]
    fn a_host_that_refits_itself_gets_the_scores_of_one_that_does_not() {
        let samples = healthy(Kind::Daily, STEPS[2], 2).samples;
        let mut own = Mstl::default();
        let mut host = Mstl::default().refit_every(None);
        assert!(host.refit().is_err() && host.history().is_none());
        let mut fits = 0;
        for sample in &samples[..500] {
            let (one, other) = (own.observe(sample.at, sample.value), host.observe(sample.at, sample.value));
            assert_eq!(one, other, "at {}", sample.at);
            if own.state.fit != host.state.fit {
                fits += 1;
                let history = host.history().unwrap();
                host.install(std::thread::spawn(move || history.fit()).join().unwrap().unwrap());
            }
        }
        assert!(fits > 15, "{fits}");
    }

    #[test]
    fn the_step_is_the_middle_one_and_a_model_of_another_is_not_taken() {
        let mut scorer = Mstl::default();
        let samples = healthy(Kind::Irregular, STEPS[1], 1).samples;
        statistics(&mut scorer, &samples[..30]);
        assert!(scorer.state.step.is_some_and(|step| (200..400).contains(&step)), "{:?}", scorer.state.step);
        let other = MstlHistory { step: 3_600, end: 0, values: vec![1.0; 48] }.fit().unwrap();
        scorer.install(other);
        assert!(scorer.state.fit.is_none());
    }

    #[test]
    fn memory_is_bounded_over_any_gap() {
        let mut scorer = Mstl::default().step(Duration::from_secs(1)).refit_every(None);
        for index in 0..50_i64 {
            let at = Timestamp::from_second(index * index * 100_000).unwrap();
            scorer.observe(at, 1.0);
        }
        assert!(scorer.state.slots.len() <= 8_192);
        assert!(scorer.size_bytes() < 512 * 1_024, "{}", scorer.size_bytes());
    }
}
