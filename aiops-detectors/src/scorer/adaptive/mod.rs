//! The default: four views of a series, of which two must find a value strange.

mod local;
mod running;
mod season;
mod surprise;

use std::time::Duration;

use aiops_core::DataState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::running::{Running, SavedRunning};
use super::{Score, Scorer, ScorerStateError, refused, restore, save};

/// Samples that show the scale and the step of a series before anything is scored.
const WARM_UP: usize = 50;
/// Decades of surprise that are worth a look, the same for every series.
const THRESHOLD: f64 = 3.0;

/// Scores any series at one setting, in decades of surprise.
///
/// Four views look at each value: its distance from the median of the last 30, from what is usual at this
/// time of the day or week (whichever is nearer), from a one-step prediction, and the mean of the last
/// eight seasonal distances. Each view turns its distance into `-log10 p` by the distances that it saw
/// before: through their 50th to 99.8th percentile, and beyond along the slope there. The score is the
/// second largest of the four, so that two views must agree. What recurs becomes usual: a value that
/// stands out by more than 3.5 decades enters the past only that large, until 2 % of the past did so.
///
/// After an alert the next must stand out more than it, or come later: the bar falls by a factor of e in
/// 12 hours (10 to 150 samples). [`Score::statistic`] is the surprise above the bar, else 0;
/// [`Score::persisting`] is without it. Positive above the expectation. Default threshold: 3.
///
/// It warms up over 50 samples; a series that has been constant till then scores its first change. A
/// series' own unit is taken from these, so that scale and offset of the values change no decision.
/// Distances of less than a tenth of the mean distance of values from their level have at most one decade.
/// State: some 12 KiB, at any sampling step. docs/ACCURACY.md has the figures and how constants were chosen.
#[derive(Debug, Clone, Default)]
pub struct Adaptive {
    last: Option<Timestamp>,
    phase: Phase,
}

#[derive(Debug, Clone)]
enum Phase {
    /// Fewer than [`WARM_UP`] samples.
    Warming(Vec<(Timestamp, f64)>),
    /// All samples so far were the same: there is no scale yet.
    Constant(Constant),
    Running(Box<Running>),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Warming(Vec::new())
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Constant {
    value: f64,
    count: u32,
    /// Seconds between samples.
    step: f64,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    last: Option<Timestamp>,
    phase: SavedPhase,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedPhase {
    Warming(Vec<(Timestamp, f64)>),
    Constant(Constant),
    Running(Box<SavedRunning>),
}

impl Adaptive {
    /// An empty scorer: it has no settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The median of seconds between samples.
fn step(samples: &[(Timestamp, f64)]) -> f64 {
    let mut steps: Vec<f64> =
        samples.windows(2).map(|pair| pair[0].0.duration_until(pair[1].0).as_secs_f64()).collect();
    steps.sort_by(f64::total_cmp);
    steps.get(steps.len() / 2).copied().unwrap_or(0.0)
}

impl Scorer for Adaptive {
    fn name(&self) -> &'static str {
        "adaptive"
    }

    fn default_threshold(&self) -> f64 {
        THRESHOLD
    }

    fn observe(&mut self, at: Timestamp, value: f64) -> Score {
        if refused(self.last, at, value) {
            return Score::none(value, DataState::Error);
        }
        self.last = Some(at);
        match &mut self.phase {
            Phase::Running(running) => running.observe(at, value),
            Phase::Constant(constant) if value == constant.value => {
                constant.count = constant.count.saturating_add(1);
                let n = u64::from(constant.count);
                Score { expected: Some(value), n, ..Score::none(value, DataState::Ok) }
            }
            Phase::Constant(constant) => {
                let mut running = Box::new(Running::after_constant(*constant, value));
                let score = running.observe(at, value);
                self.phase = Phase::Running(running);
                score
            }
            Phase::Warming(samples) => {
                samples.push((at, value));
                let n = samples.len();
                if n == WARM_UP {
                    let step = step(samples);
                    self.phase = if samples.iter().all(|(_, x)| *x == value) {
                        Phase::Constant(Constant { value, count: WARM_UP as u32, step })
                    } else {
                        Phase::Running(Box::new(Running::after_warm_up(samples, step)))
                    };
                }
                Score::none(value, DataState::Warming { n: n as u64, of: WARM_UP as u64 })
            }
        }
    }

    fn save(&self) -> Vec<u8> {
        let phase = match &self.phase {
            Phase::Warming(samples) => SavedPhase::Warming(samples.clone()),
            Phase::Constant(constant) => SavedPhase::Constant(*constant),
            Phase::Running(running) => SavedPhase::Running(Box::new(running.save())),
        };
        save(self.name(), &Saved { last: self.last, phase })
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let saved = restore::<Saved>(self.name(), bytes)?;
        let phase = match saved.phase {
            SavedPhase::Warming(samples) if samples.len() >= WARM_UP => {
                let source = format!("{} samples of a warm-up of {WARM_UP}", samples.len()).into();
                return Err(ScorerStateError { scorer: self.name(), source });
            }
            SavedPhase::Warming(samples) => Phase::Warming(samples),
            SavedPhase::Constant(constant) => Phase::Constant(constant),
            SavedPhase::Running(running) => {
                let running = Running::restore(*running);
                Phase::Running(Box::new(running.map_err(|source| ScorerStateError { scorer: self.name(), source })?))
            }
        };
        *self = Self { last: saved.last, phase };
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        let phase = match &self.phase {
            Phase::Warming(samples) => samples.capacity() * size_of::<(Timestamp, f64)>(),
            Phase::Constant(_) => 0,
            Phase::Running(running) => running.size_bytes(),
        };
        size_of::<Self>() + phase
    }

    fn fresh(&self) -> Box<dyn Scorer> {
        Box::new(Self::new())
    }

    fn window(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Running(running) => Some(running.window()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
