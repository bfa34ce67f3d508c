//! From a standardised distance to decades of surprise.

use statrs::function::erf::erfc;

/// Beyond this the complementary error function underflows and its asymptote is exact enough.
const ASYMPTOTE_FROM: f64 = 25.0;

/// `-log10` of the two-sided normal tail beyond `z`: 2.57 at z = 3.
pub(crate) fn decades(z: f64) -> f64 {
    let z = z.abs();
    let surprise = if z < ASYMPTOTE_FROM {
        -erfc(z / std::f64::consts::SQRT_2).log10()
    } else {
        // p ~ 2 phi(z) / z
        (z * z / 2.0 + (z * (std::f64::consts::PI / 2.0).sqrt()).ln()) / std::f64::consts::LN_10
    };
    surprise.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_and_a_smooth_joint() {
        assert_eq!(decades(0.0), 0.0);
        // 2 * (1 - Phi(3)) = 0.0026998
        assert!((decades(3.0) - 2.568_67).abs() < 1e-4, "{}", decades(3.0));
        let (below, above) = (decades(ASYMPTOTE_FROM - 1e-9), decades(ASYMPTOTE_FROM));
        assert!((below - above).abs() < 0.01, "{below} {above}");
        assert!(decades(1e6).is_finite());
    }
}
