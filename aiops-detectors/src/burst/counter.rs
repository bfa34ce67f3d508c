//! From a counter that only grows to counts.

/// Turns readings of a cumulative counter into increments, across its resets.
///
/// ```
/// let mut errors = aiops_detectors::CounterIncrements::default();
/// assert_eq!(errors.next(1_000), None, "nothing is known of before");
/// assert_eq!(errors.next(1_010), Some(10));
/// assert_eq!(errors.next(5), Some(5), "after a restart the value is the increment");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CounterIncrements {
    last: Option<u64>,
}

impl CounterIncrements {
    /// What was added since the reading before; none for the first one. A smaller reading is a reset.
    pub fn next(&mut self, reading: u64) -> Option<u64> {
        let last = self.last.replace(reading)?;
        Some(reading.checked_sub(last).unwrap_or(reading))
    }
}
