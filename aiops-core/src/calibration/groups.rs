//! Cases by confidence: what all figures are made of, so that the order of cases has no influence.

use super::{Judged, Unmeasurable};

/// Cases of one confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Group {
    pub(super) confidence: f64,
    pub(super) cases: usize,
    pub(super) correct: usize,
}

impl Group {
    pub(super) fn wrong(&self) -> usize {
        self.cases - self.correct
    }
}

/// All cases, the lowest confidence first.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    pub(super) groups: Vec<Group>,
    pub(super) cases: usize,
    pub(super) correct: usize,
}

impl Groups {
    pub(super) fn of(cases: &[Judged]) -> Result<Self, Unmeasurable> {
        let sorted = sorted(cases);
        Self::counted(sorted.iter().map(|(confidence, correct)| (*confidence, *correct, 1)))
    }

    /// Of sorted cases, each so many times.
    pub(super) fn counted(cases: impl Iterator<Item = (f64, bool, usize)>) -> Result<Self, Unmeasurable> {
        let mut all = Self { groups: Vec::new(), cases: 0, correct: 0 };
        for (confidence, correct, times) in cases.filter(|(_, _, times)| *times > 0) {
            let right = if correct { times } else { 0 };
            all.cases += times;
            all.correct += right;
            match all.groups.last_mut().filter(|group| group.confidence == confidence) {
                Some(group) => {
                    group.cases += times;
                    group.correct += right;
                }
                None => all.groups.push(Group { confidence, cases: times, correct: right }),
            }
        }
        if all.cases == 0 { Err(Unmeasurable::NoCases) } else { Ok(all) }
    }
}

/// By confidence, of one confidence the wrong ones first.
pub(super) fn sorted(cases: &[Judged]) -> Vec<(f64, bool)> {
    // No negative zero: it would be sorted apart from its equal.
    let mut sorted: Vec<(f64, bool)> = cases.iter().map(|case| (case.confidence.value() + 0.0, case.correct)).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    sorted
}
