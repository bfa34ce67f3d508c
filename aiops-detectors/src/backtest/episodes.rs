//! Alert episodes.

use super::ALERT_GAP;

/// Counts runs of alerting samples, joined over short gaps; see the [rules](super).
#[derive(Debug, Clone, Copy, Default)]
pub struct Episodes {
    /// Quiet samples since the last alert; none before the first.
    quiet: Option<u64>,
    count: u64,
}

impl Episodes {
    /// The next sample; whether it begins an episode.
    pub fn push(&mut self, alert: bool) -> bool {
        if !alert {
            self.quiet = self.quiet.map(|quiet| quiet.saturating_add(1));
            return false;
        }
        let begins = self.quiet.is_none_or(|quiet| quiet > ALERT_GAP);
        self.quiet = Some(0);
        self.count += u64::from(begins);
        begins
    }

    /// Episodes so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_quiet_samples_join_and_four_part() {
        for (quiet, wanted) in [(0, 1), (3, 1), (4, 2)] {
            let mut episodes = Episodes::default();
            let row = [true].into_iter().chain(std::iter::repeat_n(false, quiet)).chain([true, false]);
            row.for_each(|alert| _ = episodes.push(alert));
            assert_eq!(episodes.count(), wanted, "{quiet}");
        }
        assert_eq!(Episodes::default().count(), 0);
    }
}
