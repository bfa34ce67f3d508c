//! Many series of one scorer: batches, a bound, idle eviction, saved state, and parts to run in parallel.

mod part;
mod saved;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use aiops_core::{DataState, time};
use jiff::Timestamp;

pub use self::part::BankPart;
use super::{Score, Scorer};
use crate::source::Sample;

/// Series at the most unless the host says otherwise.
const DEFAULT_MAX_SERIES: usize = 100_000;
/// Time without a sample after which a series may be forgotten, unless the host says otherwise.
const DEFAULT_IDLE_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// Series whose memory is fetched at once.
const AHEAD: usize = 8;

/// One scorer for each of many series, scored a batch at a time.
///
/// The numbers are those of a scorer alone; each series costs its scorer, its key twice and some 40
/// bytes. A batch is fastest with the series in the order of the last one. Nothing runs in the
/// background and no thread is started: [`parts`](Self::parts) is for a host that has several.
///
/// ```
/// use aiops_detectors::{Sample, ScorerBank, SeasonalZScore};
/// # use aiops_detectors::jiff::Timestamp;
/// let mut bank = ScorerBank::new(SeasonalZScore::default).max_series(20_000);
/// let mut scores = Vec::new();
/// let at = Timestamp::UNIX_EPOCH;
/// bank.observe(&[("cart", Sample { at, value: 0.12 }), ("web", Sample { at, value: 0.34 })], &mut scores);
/// assert_eq!((scores.len(), bank.len()), (2, 2));
/// ```
pub struct ScorerBank<K, S> {
    make: Box<dyn Fn() -> S + Send + Sync>,
    slots: Vec<Slot<K, S>>,
    places: HashMap<K, usize>,
    max_series: usize,
    idle_after: Duration,
    scorer: &'static str,
}

/// One series.
#[derive(Debug)]
pub(super) struct Slot<K, S> {
    key: K,
    /// The time of its newest sample.
    last: Timestamp,
    scorer: S,
}

impl<K, S: Scorer> Slot<K, S> {
    fn observe(&mut self, sample: Sample) -> Score {
        let score = self.scorer.observe(sample.at, sample.value);
        if score.state != DataState::Error {
            self.last = self.last.max(sample.at);
        }
        score
    }
}

impl<K: fmt::Debug, S: Scorer> fmt::Debug for ScorerBank<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScorerBank")
            .field("scorer", &self.scorer)
            .field("series", &self.slots.len())
            .field("max_series", &self.max_series)
            .field("idle_after", &self.idle_after)
            .finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash, S: Scorer> ScorerBank<K, S> {
    /// An empty bank whose scorers are made by `make`, which gives an empty scorer each time.
    pub fn new(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let scorer = make().name();
        Self {
            make: Box::new(make),
            slots: Vec::new(),
            places: HashMap::new(),
            max_series: DEFAULT_MAX_SERIES,
            idle_after: DEFAULT_IDLE_AFTER,
            scorer,
        }
    }

    /// Series at the most (at least 1); 100,000 unless set. Further ones are refused and counted.
    #[must_use]
    pub fn max_series(mut self, max: usize) -> Self {
        self.max_series = max.max(1);
        self
    }

    /// Time without a sample after which [`evict_idle`](Self::evict_idle) forgets a series; a week
    /// unless set.
    #[must_use]
    pub fn idle_after(mut self, after: Duration) -> Self {
        self.idle_after = after;
        self
    }

    /// Series that are known now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The scorer of a series.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&S> {
        self.places.get(key).map(|place| &self.slots[*place].scorer)
    }

    /// Scores each sample by what came before it in its series, then learns it; `scores` is emptied and
    /// holds one for each sample, in their order. A sample of a new series beyond the bound scores 0
    /// with the state `error`.
    pub fn observe(&mut self, samples: &[(K, Sample)], scores: &mut Vec<Score>) {
        scores.clear();
        scores.reserve(samples.len());
        let mut guess = 0;
        for samples in samples.chunks(AHEAD) {
            let mut places = [None; AHEAD];
            for (place, (key, sample)) in places.iter_mut().zip(samples) {
                *place = self.place(key, guess, sample.at);
                guess = place.map_or(guess, |place| place + 1);
            }
            for place in places.into_iter().flatten() {
                self.slots[place].scorer.prefetch();
            }
            scores.extend(samples.iter().zip(places).map(|((_, sample), place)| match place {
                Some(place) => self.slots[place].observe(*sample),
                None => Score::none(sample.value, DataState::Error),
            }));
        }
    }

    /// Forgets series without a sample since `idle_after` before `now`; how many, which are counted.
    pub fn evict_idle(&mut self, now: Timestamp) -> usize {
        let from = time::minus(now, self.idle_after);
        let before = self.slots.len();
        self.slots.retain(|slot| slot.last >= from);
        let evicted = before - self.slots.len();
        if evicted > 0 {
            self.places = self.slots.iter().enumerate().map(|(place, slot)| (slot.key.clone(), place)).collect();
            metrics::counter!("aiops_bank_series_evicted_total", "scorer" => self.scorer).increment(evicted as u64);
        }
        evicted
    }

    /// Memory in bytes: all scorers, and what the bank needs to find them; without the heap of keys.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let heap: usize = self.slots.iter().map(|slot| slot.scorer.size_bytes().saturating_sub(size_of::<S>())).sum();
        let map = self.places.capacity() * (size_of::<(K, usize)>() + 1);
        size_of::<Self>() + heap + self.slots.capacity() * size_of::<Slot<K, S>>() + map
    }

    /// The place of a series, a new one at the end; none where the bank is full. `guess` is looked at
    /// first: batches come in the order of the last one.
    fn place(&mut self, key: &K, guess: usize, at: Timestamp) -> Option<usize> {
        if self.slots.get(guess).is_some_and(|slot| slot.key == *key) {
            return Some(guess);
        }
        if let Some(place) = self.places.get(key) {
            return Some(*place);
        }
        if self.slots.len() >= self.max_series {
            metrics::counter!("aiops_bank_series_refused_total", "scorer" => self.scorer).increment(1);
            return None;
        }
        let place = self.slots.len();
        self.slots.push(Slot { key: key.clone(), last: at, scorer: (self.make)() });
        self.places.insert(key.clone(), place);
        Some(place)
    }
}
