//! The upper tail of a negative binomial, as a logarithm that does not underflow.

use statrs::function::gamma::ln_gamma;

/// Steps of the continued fraction at the most. Variances up to a million times the mean converge.
const MAX_STEPS: u32 = 20_000;
/// Relative change from which the fraction has converged.
const CONVERGED: f64 = 1e-12;
/// In place of 0 in a denominator (Lentz's method as modified by Thompson and Barnett, 1986).
const TINY: f64 = 1e-300;

/// `-log10 P(X >= count)` of a negative binomial with this mean and a variance above it: P is the
/// regularised incomplete beta function `I_q(count, r)` with `q = 1 - mean / variance` and
/// `r = mean^2 / (variance - mean)`.
///
/// For counts of at least 1 that lie above the mean; others, and moments that make no distribution, are
/// no surprise: 0.
pub(super) fn decades(count: u64, mean: f64, variance: f64) -> f64 {
    let x = count as f64;
    let fits = mean > 0.0 && variance > mean && variance.is_finite();
    if !fits || x <= mean {
        return 0.0;
    }
    let p = mean / variance;
    let q = 1.0 - p;
    let r = mean * mean / (variance - mean);
    let ln_front = ln_gamma(x + r) - ln_gamma(x + 1.0) - ln_gamma(r) + x * q.ln() + r * p.ln();
    let ln_tail = ln_front + fraction(q, x, r).ln();
    (-ln_tail / std::f64::consts::LN_10).max(0.0)
}

/// The continued fraction of the incomplete beta function, by Lentz's method (Abramowitz and Stegun,
/// 26.5.8).
fn fraction(at: f64, a: f64, b: f64) -> f64 {
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * at / (a + 1.0));
    let mut result = d;
    for step in 1..=MAX_STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * at / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * at / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        result *= d * c;
        if (d * c - 1.0).abs() < CONVERGED {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tail as 1 minus the sum of the terms below `count`, or the sum of the terms from it on.
    fn summed(count: u64, mean: f64, variance: f64) -> f64 {
        let (p, r) = (mean / variance, mean * mean / (variance - mean));
        let term = |k: f64| (ln_gamma(k + r) - ln_gamma(k + 1.0) - ln_gamma(r) + k * (1.0 - p).ln() + r * p.ln()).exp();
        (count..count + 200_000).map(|k| term(k as f64)).sum()
    }

    #[test]
    fn the_tail_is_the_sum_of_its_terms() {
        let cases = [(11, 1.952, 2.015), (12, 1.952, 2.015), (13, 10.0, 11.25), (40, 10.0, 51.0), (500, 11.4, 253.0)];
        for (count, mean, variance) in cases {
            let (found, wanted) = (decades(count, mean, variance), -summed(count, mean, variance).log10());
            assert!((found - wanted).abs() < 1e-6 * (1.0 + wanted), "{count} {mean} {variance}: {found} {wanted}");
        }
    }

    #[test]
    fn it_neither_underflows_nor_takes_anything_for_a_number() {
        assert!((1_000.0..1e9).contains(&decades(1_000_000, 2.0, 2.1)));
        for (mean, variance) in [(0.0, 1.0), (1.0, 1.0), (f64::NAN, 2.0), (1.0, f64::INFINITY), (5.0, 2.0)] {
            assert_eq!(decades(50, mean, variance), 0.0);
        }
        let wide = decades(50_000_000, 1_000.0, 1e9);
        assert!(wide.is_finite() && wide > 5.0, "{wide}");
    }

    #[test]
    fn it_rises_with_the_count() {
        let mut before = 0.0;
        for count in 21..2_000 {
            let found = decades(count, 20.0, 100.0);
            assert!(found > before, "{count}: {found} after {before}");
            before = found;
        }
    }
}
