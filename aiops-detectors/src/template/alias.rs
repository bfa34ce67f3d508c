//! Which fingerprint is a special case of which: a monotone map that machines can join.

use super::fingerprint::LineFingerprint;
use super::hash::HashedMap;

/// How general a template is: fewer letters first, then the fingerprint, so that any two differ.
pub(super) type Rank = (u16, u64);

/// Letters of a template.
pub(super) fn rank(template: &str, fingerprint: LineFingerprint) -> Rank {
    let letters = template.bytes().filter(u8::is_ascii_alphabetic).count();
    (u16::try_from(letters).unwrap_or(u16::MAX), fingerprint.0)
}

/// Fingerprint → a more general one. Each step leads to a smaller [`Rank`], so every walk ends; what
/// hangs together resolves to its most general member, in whatever order it was joined.
#[derive(Debug, Default, Clone)]
pub(super) struct Aliases {
    up: HashedMap<u64, (u16, Rank)>,
}

impl Aliases {
    /// The most general fingerprint of a group, and its letters where any are known.
    pub(super) fn resolve(&self, fingerprint: LineFingerprint) -> LineFingerprint {
        let mut place = fingerprint.0;
        while let Some((_, (_, above))) = self.up.get(&place) {
            place = *above;
        }
        LineFingerprint(place)
    }

    fn root(&self, mut from: Rank) -> Rank {
        while let Some((_, above)) = self.up.get(&from.1) {
            from = *above;
        }
        from
    }

    /// Two templates are of one group. Whether that was news.
    pub(super) fn join(&mut self, one: Rank, other: Rank) -> bool {
        let (a, b) = (self.root(one), self.root(other));
        // By fingerprint alone: whatever ranks a saved state claims, no step leads back.
        if a.1 == b.1 {
            return false;
        }
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        self.up.insert(high.1, (high.0, low));
        // Shorter walks: what was asked for leads straight to the root.
        for from in [one, other] {
            if from.1 != low.1 && from.1 != high.1 {
                self.up.insert(from.1, (from.0, low));
            }
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.up.len()
    }

    pub(super) fn contains(&self, fingerprint: LineFingerprint) -> bool {
        self.up.contains_key(&fingerprint.0)
    }

    /// Leaves out the steps that begin at a fingerprint nobody keeps; those that lead on to them lead past.
    pub(super) fn retain(&mut self, keep: impl Fn(LineFingerprint) -> bool) {
        let roots: Vec<(u64, Rank)> =
            self.up.iter().map(|(from, (letters, _))| (*from, self.root((*letters, *from)))).collect();
        for (from, root) in roots {
            if let Some((_, above)) = self.up.get_mut(&from) {
                *above = root;
            }
        }
        self.up.retain(|from, _| keep(LineFingerprint(*from)));
        self.up.shrink_to_fit();
    }
    /// Every step, in a fixed order: lower and upper rank.
    pub(super) fn steps(&self) -> Vec<(Rank, Rank)> {
        let mut all: Vec<(Rank, Rank)> =
            self.up.iter().map(|(from, (letters, _))| ((*letters, *from), self.root((*letters, *from)))).collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_of_joins_resolves_alike_and_twice_changes_nothing() {
        let pairs = [((9, 1), (5, 2)), ((7, 3), (5, 2)), ((7, 3), (4, 4)), ((8, 5), (3, 6)), ((9, 1), (8, 5))];
        let resolved = |order: &[usize]| {
            let mut aliases = Aliases::default();
            for at in order {
                aliases.join(pairs[*at].0, pairs[*at].1);
            }
            (0..8).map(|at| aliases.resolve(LineFingerprint(at)).0).collect::<Vec<_>>()
        };
        let first = resolved(&[0, 1, 2, 3, 4]);
        assert_eq!(first, [0, 6, 6, 6, 6, 6, 6, 7]);
        assert_eq!(first, resolved(&[4, 3, 2, 1, 0]));
        assert_eq!(first, resolved(&[2, 0, 4, 1, 3, 3]));
    }
}
