//! When each identity wants to be looked at, and which one goes when there are too many.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Correlator;
use super::decision::CorrelationDecision;

/// One timer, as a track remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer {
    closed: bool,
    due: Timestamp,
}

/// The timers of all tracks. Those with nothing going on stand apart: they are the first to go.
#[derive(Debug, Default)]
pub(super) struct Timers {
    open: BTreeSet<(Timestamp, String)>,
    closed: BTreeSet<(Timestamp, String)>,
}

impl Timers {
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let heads = self.open.first().into_iter().chain(self.closed.first());
        heads.map(|(due, _)| *due).min()
    }

    /// Takes out the first timer that is due by `now`.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, String)> {
        [&mut self.open, &mut self.closed]
            .into_iter()
            .find(|timers| timers.first().is_some_and(|(due, _)| *due <= now))
            .and_then(|timers| timers.pop_first())
    }

    fn set(&mut self, key: &str, before: Option<Timer>, timer: Timer) {
        if let Some(before) = before {
            self.of(before.closed).remove(&(before.due, key.to_owned()));
        }
        self.of(timer.closed).insert((timer.due, key.to_owned()));
    }

    fn of(&mut self, closed: bool) -> &mut BTreeSet<(Timestamp, String)> {
        if closed { &mut self.closed } else { &mut self.open }
    }
}

impl Correlator {
    /// Sets the timer of a track anew where it would be late. That of an open one may stay early, as
    /// it moves with every sighting; the order of closed ones decides who goes, so theirs is exact.
    pub(super) fn schedule(&mut self, key: &str) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let timer = Timer { closed: track.is_closed(), due: track.due(&self.config.flapping) };
        if track.timer.is_none_or(|set| timer.closed || set.closed || timer.due < set.due) {
            self.timers.set(key, track.timer.replace(timer), timer);
        }
    }

    /// Keeps the number of identities in bounds: closed ones go first, then the one that was silent
    /// longest.
    pub(super) fn bound(&mut self) {
        while self.tracks.len() > self.config.max_identities {
            let Some(key) = self.timers.closed.pop_first().map(|(_, key)| key).or_else(|| self.longest_silent()) else {
                return;
            };
            metrics::counter!("aiops_correlate_evicted_total").increment(1);
            let reason = format!("more than {} identities are tracked", self.config.max_identities);
            if let Some(ended) = self.end(&key, self.now, Some(reason))
                && ended.decision == CorrelationDecision::Resolved
            {
                self.outbox.push(ended);
            }
            let record = self.tracks.remove(&key).and_then(|track| track.flapping?.record);
            if let Some((incident, id)) = record.and_then(|record| Some((record.incident?, record.id))) {
                self.incidents.detach(&incident, &id);
            }
        }
    }

    /// Takes out the timer of the open track that would end by silence first.
    fn longest_silent(&mut self) -> Option<String> {
        loop {
            let (due, key) = self.timers.open.pop_first()?;
            let Some(track) = self.tracks.get_mut(&key) else { continue };
            track.timer = None;
            // An early timer: the track was seen again since.
            if track.due(&self.config.flapping) <= due {
                return Some(key);
            }
            self.schedule(&key);
        }
    }
}
