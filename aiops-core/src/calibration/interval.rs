//! Intervals of a share, and the bound of an error rate.

use serde::{Deserialize, Serialize};
use statrs::function::beta::checked_beta_reg;

use super::share;

/// The two-sided 97.5 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// How sure [`error_bound`] is.
pub(super) const SURE: f64 = 0.95;
/// Halvings of `0..=1` until nothing of a double is left.
const HALVINGS: usize = 60;

/// From `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The 95 % interval of a share of `part` in `whole` (Wilson, 1927); 0 to 1 where `whole` is 0. A `part` above
/// `whole` counts as `whole`.
#[must_use]
pub fn wilson(part: usize, whole: usize) -> Interval {
    if whole == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let (n, p) = (share(whole, 1), share(part.min(whole), whole));
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let all = 1.0 + Z * Z / n;
    Interval { low: ((middle - half) / all).max(0.0), high: ((middle + half) / all).min(1.0) }
}

/// The error rate that `errors` in `cases` rule out at 95 %: the one-sided upper bound of Clopper and Pearson
/// (1934). 1 where there is no case or nothing but errors.
///
/// ```
/// use aiops_core::calibration::error_bound;
/// assert!(error_bound(0, 29) <= 0.1 && error_bound(0, 28) > 0.1);
/// ```
#[must_use]
pub fn error_bound(errors: usize, cases: usize) -> f64 {
    if errors >= cases {
        return 1.0;
    }
    let (mut low, mut high) = (share(errors, cases), 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if rules_out(errors, cases, middle) { high = middle } else { low = middle }
    }
    high
}

/// Whether `errors` in `cases` rule out at 95 % that more than `rate` are errors.
pub(super) fn rules_out(errors: usize, cases: usize, rate: f64) -> bool {
    // The chance of more than `errors` errors, if the rate were this one.
    errors < cases && checked_beta_reg(share(errors + 1, 1), share(cases - errors, 1), rate).is_ok_and(|p| p >= SURE)
}

/// Of sorted values, with the mean of neighbours by their distance; 0 of none.
pub(super) fn quantile(sorted: &[f64], at: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = at.clamp(0.0, 1.0) * share(last, 1);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to `last`
    let below = (place.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - share(below, 1))
}
