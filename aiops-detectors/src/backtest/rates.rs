//! Which threshold gives how many alerts?

use super::ALERT_GAP;

/// Thresholds of three significant digits from 0.01 on: a person sets no finer ones.
const STEPS_PER_DECADE: usize = 900;
/// From 0.01 to a million, where statistics end.
const DECADES: usize = 8;
const EDGES: usize = DECADES * STEPS_PER_DECADE + 1;
/// Power of ten that makes the step count of the first decade (100 to 999) its thresholds.
const FIRST_POWER: i32 = -4;

/// Counts the alert episodes that every threshold would have given, exactly and in one pass: the lowest
/// threshold for a wanted number of alerts. 57 KiB, whatever the length.
///
/// With a threshold t, a sample begins an episode when its score is at least t and those of the samples
/// before it that an episode may bridge are all below: one sample begins one for every t in between.
///
/// ```
/// use aiops_detectors::backtest::AlertRates;
/// let mut rates = AlertRates::default();
/// (0..1_000).for_each(|row| rates.push(f64::from(row % 100) / 10.0));
/// assert_eq!(rates.alerts(9.9), 10);
/// assert_eq!(rates.suggest(9), Some((9.91, 0)));
/// ```
#[derive(Debug, Clone)]
pub struct AlertRates {
    /// Episodes at a threshold = the sum from its place on.
    changes: Vec<i64>,
    recent: [f64; ALERT_GAP as usize + 1],
    next: usize,
}

impl Default for AlertRates {
    fn default() -> Self {
        Self { changes: vec![0; EDGES], recent: [0.0; ALERT_GAP as usize + 1], next: 0 }
    }
}

impl AlertRates {
    /// The score of the next sample: the magnitude of a statistic, finite.
    pub fn push(&mut self, score: f64) {
        let before = self.recent.iter().copied().fold(0.0, f64::max);
        self.recent[self.next] = score;
        self.next = (self.next + 1) % self.recent.len();
        if score > before {
            if let Some(place) = place(score) {
                self.changes[place] += 1;
            }
            if let Some(place) = place(before) {
                self.changes[place] -= 1;
            }
        }
    }

    /// Alert episodes at a threshold, which is taken to the next lower one of three digits.
    #[must_use]
    pub fn alerts(&self, threshold: f64) -> u64 {
        let sum: i64 = self.changes[place(threshold).unwrap_or(0)..].iter().sum();
        u64::try_from(sum).unwrap_or(0)
    }

    /// The lowest threshold from which on no threshold gives more than `wanted` alerts, and how many it
    /// gives; none where even a million gives more.
    #[must_use]
    pub fn suggest(&self, wanted: u64) -> Option<(f64, u64)> {
        let mut found = None;
        let mut alerts = 0_i64;
        for (place, change) in self.changes.iter().enumerate().rev() {
            alerts += change;
            let count = u64::try_from(alerts).unwrap_or(0);
            if count > wanted {
                break;
            }
            found = Some((edge(place), count));
        }
        found
    }

    /// Adds those of another series.
    pub fn merge(&mut self, other: &Self) {
        self.changes.iter_mut().zip(&other.changes).for_each(|(one, more)| *one += more);
    }
}

/// A threshold of three digits by its place; exactly the number that its decimal form reads as.
fn edge(place: usize) -> f64 {
    let digits = (100 + place % STEPS_PER_DECADE) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // at most DECADES
    let power = FIRST_POWER + (place / STEPS_PER_DECADE) as i32;
    if power < 0 { digits / 10_f64.powi(-power) } else { digits * 10_f64.powi(power) }
}

/// The place of the highest threshold that is not above `score`.
fn place(score: f64) -> Option<usize> {
    if score < edge(0) {
        return None;
    }
    let decade = (score.log10().floor() + 2.0).clamp(0.0, DECADES as f64);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // both are held in range
    let guess = {
        let steps = (score / 10_f64.powf(decade - 4.0) - 100.0).clamp(0.0, STEPS_PER_DECADE as f64);
        (decade as usize * STEPS_PER_DECADE + steps as usize).min(EDGES - 1)
    };
    // Rounding may miss by one.
    let lower = (guess.saturating_sub(1)..=(guess + 1).min(EDGES - 1)).rev().find(|place| edge(*place) <= score);
    Some(lower.unwrap_or(guess))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Episodes;
    use super::*;

    #[test]
    fn thresholds_are_round_and_find_their_own_place() {
        for index in 0..EDGES {
            assert_eq!(place(edge(index)), Some(index));
            assert_eq!(format!("{:.3e}", edge(index)).parse::<f64>(), Ok(edge(index)));
        }
        assert_eq!((edge(0), edge(EDGES - 1)), (0.01, 1e6));
        assert_eq!((place(0.0), place(0.009_999), place(f64::MAX)), (None, None, Some(EDGES - 1)));
    }

    #[test]
    fn a_wish_that_no_threshold_meets_is_none() {
        let mut rates = AlertRates::default();
        for row in 0..100 {
            rates.push(if row % 10 == 0 { 1e6 } else { 0.0 });
        }
        assert_eq!((rates.suggest(9), rates.suggest(10)), (None, Some((0.01, 10))));
        assert_eq!(AlertRates::default().suggest(0), Some((0.01, 0)));
    }

    proptest! {
        #[test]
        fn every_threshold_counts_what_a_run_with_it_counts(scores in prop::collection::vec(prop_oneof![Just(0.0), 0.0..30.0, 0.0..1e5f64], 0..200), digits in 100_u32..1000, wanted in 0_u64..20) {
            let run = |threshold: f64| {
                let mut episodes = Episodes::default();
                scores.iter().for_each(|score| _ = episodes.push(*score >= threshold));
                episodes.count()
            };
            let mut rates = AlertRates::default();
            scores.iter().for_each(|score| rates.push(*score));
            for threshold in [f64::from(digits) / 100.0, f64::from(digits) * 10.0, f64::from(digits) / 1e4] {
                prop_assert_eq!(rates.alerts(threshold), run(threshold), "{}", threshold);
            }
            let (threshold, alerts) = rates.suggest(wanted).unwrap();
            prop_assert_eq!(alerts, run(threshold));
            prop_assert!(alerts <= wanted);
        }
    }
}
