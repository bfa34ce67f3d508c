//! A segmented list of what was used least recently: what was met once goes first, what was met again is
//! protected. To meet something costs nothing here: whether it was is asked when room is needed.

/// No place.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    protected: bool,
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    newest: u32,
    oldest: u32,
    length: usize,
}

/// Places 0, 1, … in two lists. At most half of the capacity is protected.
#[derive(Debug)]
pub(super) struct Lru {
    links: Vec<Link>,
    trial: Ends,
    protected: Ends,
    capacity: usize,
}

impl Lru {
    pub(super) fn new(capacity: usize) -> Self {
        let ends = Ends { newest: NONE, oldest: NONE, length: 0 };
        Self { links: Vec::new(), trial: ends, protected: ends, capacity }
    }

    /// A place is in use for the first time, or again after it was removed.
    pub(super) fn add(&mut self, place: u32, protected: bool) {
        let link = Link { before: NONE, after: NONE, protected };
        match self.links.get_mut(place as usize) {
            Some(old) => *old = link,
            None => self.links.push(link),
        }
        self.push(place, protected);
    }

    /// The place that goes next. `met_again` tells whether a place was met since it was asked for last.
    pub(super) fn oldest(&mut self, mut met_again: impl FnMut(u32) -> bool) -> Option<u32> {
        while self.trial.oldest != NONE {
            let place = self.trial.oldest;
            if !met_again(place) {
                return Some(place);
            }
            self.unlink(place);
            self.push(place, true);
            while self.protected.length > self.capacity / 2 {
                let oldest = self.protected.oldest;
                self.unlink(oldest);
                self.push(oldest, met_again(oldest));
            }
        }
        (self.protected.oldest != NONE).then_some(self.protected.oldest)
    }

    pub(super) fn remove(&mut self, place: u32) {
        self.unlink(place);
    }

    /// Every place, the next to go first, and whether it is protected.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, bool)> {
        let walk = |from: u32| {
            std::iter::successors((from != NONE).then_some(from), |place| {
                let before = self.links[*place as usize].before;
                (before != NONE).then_some(before)
            })
        };
        walk(self.trial.oldest)
            .map(|place| (place, false))
            .chain(walk(self.protected.oldest).map(|place| (place, true)))
    }

    fn ends(&mut self, protected: bool) -> &mut Ends {
        if protected { &mut self.protected } else { &mut self.trial }
    }

    fn push(&mut self, place: u32, protected: bool) {
        let newest = std::mem::replace(&mut self.ends(protected).newest, place);
        let link = &mut self.links[place as usize];
        (link.before, link.after, link.protected) = (NONE, newest, protected);
        if newest == NONE {
            self.ends(protected).oldest = place;
        } else {
            self.links[newest as usize].before = place;
        }
        self.ends(protected).length += 1;
    }

    fn unlink(&mut self, place: u32) {
        let Link { before, after, protected, .. } = self.links[place as usize];
        match before {
            NONE => self.ends(protected).newest = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.ends(protected).oldest = before,
            after => self.links[after as usize].before = before,
        }
        self.ends(protected).length -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_met_again_outlives_what_was_met_once() {
        let mut lru = Lru::new(4);
        (0..4).for_each(|place| lru.add(place, false));
        let mut met = [true, false, true, true];
        let mut met_again = |place: u32| std::mem::take(&mut met[place as usize]);
        assert_eq!(lru.oldest(&mut met_again), Some(1));
        lru.remove(1);
        lru.add(1, false);
        assert_eq!(lru.oldest(&mut met_again), Some(1));
        let order: Vec<_> = lru.iter().collect();
        assert_eq!(order, [(1, false), (0, false), (2, true), (3, true)], "half of the capacity is protected");
    }
}
