//! The last values of a series, and what they say of the next.

use serde::{Deserialize, Serialize};

/// Values whose median is the local level.
pub(super) const LOCAL: usize = 30;

/// The last [`LOCAL`] values with their median.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Local {
    ring: [f64; LOCAL],
    sorted: [f64; LOCAL],
    count: usize,
    next: usize,
}

impl Default for Local {
    fn default() -> Self {
        Self { ring: [0.0; LOCAL], sorted: [0.0; LOCAL], count: 0, next: 0 }
    }
}

impl Local {
    pub(super) fn push(&mut self, value: f64) {
        let mut length = self.count;
        if length == LOCAL {
            let oldest = self.ring[self.next];
            let place = self.sorted.iter().position(|x| *x >= oldest).unwrap_or(LOCAL - 1);
            self.sorted.copy_within(place + 1.., place);
            length -= 1;
        } else {
            self.count += 1;
        }
        self.ring[self.next] = value;
        self.next = (self.next + 1) % LOCAL;
        let place = self.sorted[..length].iter().position(|x| *x > value).unwrap_or(length);
        self.sorted.copy_within(place..length, place + 1);
        self.sorted[place] = value;
    }

    /// None before the first value.
    pub(super) fn median(&self) -> Option<f64> {
        match self.count {
            0 => None,
            n if n % 2 == 1 => Some(self.sorted[n / 2]),
            n => Some(f64::midpoint(self.sorted[n / 2 - 1], self.sorted[n / 2])),
        }
    }

    /// A restored one may not index beyond its arrays, nor hold values larger than any.
    pub(super) fn is_sound(&self, largest: f64) -> bool {
        let mut values = self.ring.iter().chain(&self.sorted);
        self.count <= LOCAL && self.next < LOCAL && values.all(|x| x.abs() <= largest)
    }
}

/// Inputs of the prediction.
const INPUTS: usize = 3;
/// Weight that an error keeps after each further sample: a memory of some 2,000.
const FORGETTING: f64 = 0.9995;
/// Trace of the covariance beyond which it is scaled down: inputs that never change must not blow it up.
const LARGEST_TRACE: f64 = 3e6;
/// Errors of more than so many mean ones teach no more than these.
const CLIPPED_AT: f64 = 4.0;
/// Errors before any is clipped.
const UNCLIPPED: u32 = 10;
/// Samples of the running mean error.
const ERROR_MEMORY: f64 = 250.0;
/// An error enters that mean at most so many times as large.
const ERROR_LARGEST: f64 = 20.0;

/// Predicts the next value from the last, the local median and the season's step, by recursive least
/// squares with forgetting (S. Haykin, "Adaptive Filter Theory", chapter on RLS).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Predictor {
    weights: [f64; INPUTS],
    /// Symmetric.
    covariance: [[f64; INPUTS]; INPUTS],
    mean_error: f64,
    errors: u32,
}

impl Default for Predictor {
    /// Starts as "the same as last time".
    fn default() -> Self {
        let mut covariance = [[0.0; INPUTS]; INPUTS];
        for (index, row) in covariance.iter_mut().enumerate() {
            row[index] = 10.0;
        }
        Self { weights: [1.0, 0.0, 0.0], covariance, mean_error: 0.0, errors: 0 }
    }
}

impl Predictor {
    /// A restored one may not have an error of less than nothing.
    pub(super) fn is_sound(&self) -> bool {
        self.mean_error >= 0.0
    }

    /// The value less what was predicted from the inputs; then learns.
    pub(super) fn residual(&mut self, inputs: [f64; INPUTS], value: f64) -> f64 {
        let dot = |a: &[f64; INPUTS], b: &[f64; INPUTS]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
        let error = value - dot(&self.weights, &inputs);
        let limit = CLIPPED_AT * self.mean_error;
        let taught = if self.errors >= UNCLIPPED { error.clamp(-limit, limit) } else { error };
        self.errors = self.errors.saturating_add(1);
        let size = if self.errors > UNCLIPPED { error.abs().min(ERROR_LARGEST * self.mean_error) } else { error.abs() };
        self.mean_error += (size - self.mean_error) / f64::from(self.errors).min(ERROR_MEMORY);

        let gain = self.covariance.map(|row| dot(&row, &inputs));
        let scale = FORGETTING + dot(&gain, &inputs);
        for (weight, gain) in self.weights.iter_mut().zip(gain) {
            *weight += gain / scale * taught;
        }
        for (row, at) in self.covariance.iter_mut().zip(gain) {
            for (cell, other) in row.iter_mut().zip(gain) {
                *cell = (*cell - at * other / scale) / FORGETTING;
            }
        }
        let trace: f64 = (0..INPUTS).map(|index| self.covariance[index][index]).sum();
        if trace > LARGEST_TRACE {
            for cell in self.covariance.as_flattened_mut() {
                *cell *= 0.1;
            }
        }
        let sound = trace.is_finite() && trace >= 0.0 && self.weights.iter().all(|weight| weight.is_finite());
        if !sound {
            *self = Self { mean_error: self.mean_error.min(f64::MAX), errors: self.errors, ..Self::default() };
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_median_is_that_of_the_last_values(values in prop::collection::vec(-5i8..5, 1..100)) {
            let mut local = Local::default();
            for (index, value) in values.iter().enumerate() {
                local.push(f64::from(*value));
                let mut last: Vec<f64> = values[(index + 1).saturating_sub(LOCAL)..=index].iter().map(|x| f64::from(*x)).collect();
                last.sort_by(f64::total_cmp);
                let middle = (last[(last.len() - 1) / 2] + last[last.len() / 2]) / 2.0;
                prop_assert_eq!(local.median(), Some(middle));
            }
        }
    }

    #[test]
    fn learns_a_series_that_comes_back_to_its_level() {
        let mut predictor = Predictor::default();
        let (mut value, mut error) = (8.0, 0.0);
        for _ in 0..200 {
            let next = 0.5 * value + 0.5 * 4.0;
            error = predictor.residual([value, 4.0, 0.0], next);
            value = if next - 4.0 < 0.1 { 8.0 } else { next };
        }
        assert!(error.abs() < 1e-2, "{error}");
    }

    #[test]
    fn any_input_leaves_it_finite() {
        let mut predictor = Predictor::default();
        for index in 0..20_000 {
            let huge = if index % 50 == 0 { 1e30 } else { 0.0 };
            let error = predictor.residual([huge, 1.0, 0.0], if index % 3 == 0 { -1e30 } else { 1e-30 });
            assert!(error.is_finite() && predictor.weights.iter().all(|weight| weight.is_finite()), "{index}");
        }
    }
}
