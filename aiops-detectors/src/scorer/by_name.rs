//! The shipped scorers by their names.

use super::{
    Adaptive, Cusum, Ewma, FieldReport, IsolationForest, Mad, RollingZScore, Scorer, SeasonalBaseline, SeasonalZScore,
};

/// The scorer that is taken where nothing is said.
pub const DEFAULT_SCORER: &str = "adaptive";

type Constructor = fn() -> Box<dyn Scorer>;

/// One line a scorer: the name is that of [`Scorer::name`], the settings are the default ones.
const SCORERS: &[(&str, Constructor)] = &[
    ("adaptive", || Box::new(Adaptive::new())),
    ("cusum", || Box::new(Cusum::default())),
    ("ewma", || Box::new(Ewma::default())),
    ("field_report", || Box::new(FieldReport::default())),
    ("isolation_forest", || Box::new(IsolationForest::default())),
    ("mad", || Box::new(Mad::default())),
    #[cfg(feature = "mstl")]
    ("mstl", || Box::new(super::Mstl::default())),
    ("rolling_zscore", || Box::new(RollingZScore::default())),
    ("seasonal_baseline", || Box::new(SeasonalBaseline::default())),
    ("seasonal_zscore", || Box::new(SeasonalZScore::default())),
];

/// An empty scorer at its default settings; none for a name that is not in [`scorer_names`].
///
/// ```
/// let scorer = aiops_detectors::scorer_by_name("mad").ok_or("no such scorer")?;
/// assert_eq!(scorer.default_threshold(), 6.0);
/// # Ok::<(), &str>(())
/// ```
#[must_use]
pub fn scorer_by_name(name: &str) -> Option<Box<dyn Scorer>> {
    SCORERS.iter().find(|(known, _)| *known == name).map(|(_, new)| new())
}

/// The names of all scorers of this build.
pub fn scorer_names() -> impl Iterator<Item = &'static str> {
    SCORERS.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_the_scorer_of_that_name_and_a_sound_one() {
        for name in scorer_names() {
            let scorer = scorer_by_name(name).unwrap();
            assert_eq!(scorer.name(), name);
            crate::testing::check_scorer(&*scorer).unwrap();
        }
        assert!(scorer_by_name(DEFAULT_SCORER).is_some() && scorer_by_name("MAD").is_none());
    }
}
