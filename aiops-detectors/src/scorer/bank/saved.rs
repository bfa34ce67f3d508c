//! Saving and restoring a bank.

use std::hash::Hash;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Scorer, ScorerBank, Slot};
use crate::scorer::nested::Nested;
use crate::scorer::{ScorerStateError, restore, save};

/// What the saved bytes say they are, in place of a scorer's name.
const NAME: &str = "scorer_bank";

#[derive(Serialize, Deserialize)]
struct Saved<K> {
    scorer: String,
    series: Vec<(K, Timestamp, Nested)>,
}

impl<K: Clone + Eq + Hash + Serialize, S: Scorer> ScorerBank<K, S> {
    /// The state of all series as versioned bytes. Keys that JSON cannot say give no bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let one = |slot: &Slot<K, S>| (slot.key.clone(), slot.last, slot.scorer.save().into());
        save(NAME, &Saved { scorer: self.scorer.to_owned(), series: self.slots.iter().map(one).collect() })
    }
}

impl<K: Clone + Eq + Hash + DeserializeOwned, S: Scorer> ScorerBank<K, S> {
    /// Takes saved state back, in place of what is known now. Series beyond the bound are left out and
    /// counted, those idle for the longest first.
    ///
    /// # Errors
    /// Bytes that do not read, of another version or another scorer, or with a key twice: the bank
    /// stays as it was.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let mut saved: Saved<K> = restore(NAME, bytes)?;
        let refuse = |why: String| ScorerStateError { scorer: self.scorer, source: why.into() };
        if saved.scorer != self.scorer {
            let found = aiops_core::text::clip(&saved.scorer, 40);
            return Err(refuse(format!("it is a bank of {found:?}")));
        }
        if let Some(over) = saved.series.len().checked_sub(self.max_series).filter(|over| *over > 0) {
            saved.series.sort_by_key(|(_, last, _)| std::cmp::Reverse(*last));
            saved.series.truncate(self.max_series);
            metrics::counter!("aiops_bank_series_refused_total", "scorer" => self.scorer).increment(over as u64);
        }
        let mut slots = Vec::with_capacity(saved.series.len());
        for (key, last, state) in saved.series {
            let mut scorer = (self.make)();
            scorer.restore(state.as_ref())?;
            slots.push(Slot { key, last, scorer });
        }
        let places: std::collections::HashMap<K, usize> =
            slots.iter().enumerate().map(|(place, slot)| (slot.key.clone(), place)).collect();
        if places.len() < slots.len() {
            return Err(refuse("a series is in it twice".to_owned()));
        }
        (self.slots, self.places) = (slots, places);
        Ok(())
    }
}
