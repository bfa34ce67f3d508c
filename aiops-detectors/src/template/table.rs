//! A map whose keys are hashes: a key stands in the bucket that it names or in one right behind it, so that
//! to look it up takes one line of memory, known from the start.

/// The key of an empty bucket.
const NONE: u64 = 0;
/// Buckets of the smallest table.
const FEWEST: usize = 16;
/// How many times larger a table gets that is full: to move everything costs more than memory that waits.
const GROWTH: usize = 4;

/// Of 32 bytes with a value of 24 or less, and never on two lines of memory.
#[derive(Debug, Clone, Default)]
#[repr(align(32))]
struct Bucket<V> {
    key: u64,
    value: V,
}

/// Values by hashes; at most five eighths of its buckets are in use.
#[derive(Debug)]
pub(super) struct Table<V> {
    /// None, or a power of two.
    buckets: Vec<Bucket<V>>,
    len: usize,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self { buckets: Vec::new(), len: 0 }
    }
}

/// A key that is none of an empty bucket: two hashes of 2^64 are one.
fn full(key: u64) -> u64 {
    if key == NONE { !NONE } else { key }
}

impl<V: Default> Table<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn mask(&self) -> usize {
        self.buckets.len().wrapping_sub(1)
    }

    #[allow(clippy::cast_possible_truncation)] // the low bits do
    fn home(&self, key: u64) -> usize {
        key as usize & self.mask()
    }

    /// The bucket of a key, or the empty one where it would stand; none in a table without buckets.
    fn find(&self, key: u64) -> Option<(usize, bool)> {
        let mut at = self.home(key);
        loop {
            match self.buckets.get(at)?.key {
                NONE => return Some((at, false)),
                other if other == key => return Some((at, true)),
                _ => at = (at + 1) & self.mask(),
            }
        }
    }

    /// Asks for the buckets of keys: memory that is asked for together comes together.
    pub(super) fn ask_for(&self, keys: impl Iterator<Item = u64>) {
        std::hint::black_box(keys.filter(|key| self.is_home(*key)).count());
    }

    /// Whether a key is where it is looked for first.
    pub(super) fn is_home(&self, key: u64) -> bool {
        let key = full(key);
        self.buckets.get(self.home(key)).is_some_and(|bucket| bucket.key == key)
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        match self.find(full(key))? {
            (at, true) => Some(&self.buckets[at].value),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        match self.find(full(key))? {
            (at, true) => Some(&mut self.buckets[at].value),
            _ => None,
        }
    }

    /// The value of a key; where there is none, the given one.
    pub(super) fn or_insert_with(&mut self, key: u64, value: impl FnOnce() -> V) -> &mut V {
        let key = full(key);
        let at = match self.find(key) {
            Some((at, true)) => at,
            Some((at, false)) if 8 * (self.len + 1) <= 5 * self.buckets.len() => self.put(at, key, value()),
            _ => {
                self.grow();
                let at = self.find(key).map_or(0, |(at, _)| at);
                self.put(at, key, value())
            }
        };
        &mut self.buckets[at].value
    }

    fn put(&mut self, at: usize, key: u64, value: V) -> usize {
        self.buckets[at] = Bucket { key, value };
        self.len += 1;
        at
    }

    fn grow(&mut self) {
        let length = (GROWTH * self.buckets.len()).max(FEWEST);
        let old = std::mem::take(&mut self.buckets);
        self.buckets.resize_with(length, Bucket::default);
        for bucket in old.into_iter().filter(|bucket| bucket.key != NONE) {
            if let Some((at, _)) = self.find(bucket.key) {
                self.buckets[at] = bucket;
            }
        }
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<V> {
        let (mut hole, true) = self.find(full(key))? else { return None };
        let removed = std::mem::take(&mut self.buckets[hole]).value;
        self.len -= 1;
        // What stands behind its own bucket because of this one moves up.
        let (mask, mut at) = (self.mask(), hole);
        loop {
            at = (at + 1) & mask;
            if self.buckets[at].key == NONE {
                return Some(removed);
            }
            let distance = |from: usize| at.wrapping_sub(from) & mask;
            if distance(self.home(self.buckets[at].key)) >= distance(hole) {
                self.buckets[hole] = std::mem::take(&mut self.buckets[at]);
                hole = at;
            }
        }
    }

    /// Empties it; the memory stays.
    pub(super) fn clear(&mut self) {
        self.buckets.iter_mut().filter(|bucket| bucket.key != NONE).for_each(|bucket| *bucket = Bucket::default());
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_holds_what_a_map_holds() {
        let (mut table, mut map) = (Table::default(), HashMap::new());
        let mut state = 1u64;
        for step in 0..20_000u64 {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            // Few low bits, so that many stand behind each other, and the ends of the table in use.
            let key = ((state >> 60) << 40) | ((state >> 33) % 50) | if state & 1 == 0 { 0 } else { u64::MAX << 50 };
            match state >> 20 & 3 {
                0 => assert_eq!(table.remove(key), map.remove(&full(key))),
                1 => assert_eq!(table.get(key), map.get(&full(key))),
                _ => {
                    let (one, other) = (table.or_insert_with(key, || step), map.entry(full(key)).or_insert(step));
                    assert_eq!(one, other);
                    (*one, *other) = (step + 1, step + 1);
                }
            }
            assert_eq!(table.len(), map.len());
        }
        assert!(map.iter().all(|(key, value)| table.get(*key) == Some(value)) && !map.is_empty());
        table.clear();
        assert!(map.keys().all(|key| table.get(*key).is_none()) && table.len() == 0);
    }
}
