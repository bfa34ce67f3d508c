//! A segmented least-recently-used list: what was met once goes first, what was met again is protected.

/// No place.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    protected: bool,
    touched: u64,
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
    clock: u64,
}

impl Lru {
    pub(super) fn new(capacity: usize) -> Self {
        let ends = Ends { newest: NONE, oldest: NONE, length: 0 };
        Self { links: Vec::new(), trial: ends, protected: ends, capacity, clock: 0 }
    }

    /// A place is in use for the first time, or again after it was removed.
    pub(super) fn add(&mut self, place: u32, protected: bool) {
        let link = Link { before: NONE, after: NONE, protected, touched: self.clock };
        match self.links.get_mut(place as usize) {
            Some(old) => *old = link,
            None => self.links.push(link),
        }
        self.push(place, protected);
    }

    /// A place was met again.
    #[inline]
    pub(super) fn touch(&mut self, place: u32) {
        self.clock += 1;
        let Some(link) = self.links.get_mut(place as usize) else { return };
        // Near the front already: to move it would change nothing that an eviction could tell.
        if link.protected && self.clock - link.touched < (self.capacity / 16) as u64 {
            return;
        }
        link.touched = self.clock;
        self.unlink(place);
        self.push(place, true);
        if self.protected.length > self.capacity / 2 {
            let demoted = self.protected.oldest;
            self.unlink(demoted);
            self.push(demoted, false);
        }
    }

    /// The place that goes next.
    pub(super) fn oldest(&self) -> Option<u32> {
        [self.trial.oldest, self.protected.oldest].into_iter().find(|place| *place != NONE)
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
    fn what_was_met_twice_outlives_what_was_met_once() {
        let mut lru = Lru::new(4);
        for place in 0..4 {
            lru.add(place, false);
        }
        lru.touch(0);
        assert_eq!(lru.oldest(), Some(1));
        lru.remove(1);
        lru.touch(2);
        lru.touch(3);
        let order: Vec<_> = lru.iter().collect();
        assert_eq!(order, [(0, false), (2, true), (3, true)], "half of the capacity is protected");
    }
}
