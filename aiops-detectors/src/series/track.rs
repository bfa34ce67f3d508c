//! What is known of one series.

use std::time::Duration;

use aiops_core::{DataState, time};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::rule::SeriesRule;
use crate::scorer::nested::Nested;
use crate::scorer::{Score, Scorer, ScorerStateError};
use crate::source::{Labels, Sample};

/// A sample that fires, with its score.
#[derive(Debug, Clone, Copy)]
pub(super) struct Firing {
    pub(super) at: Timestamp,
    pub(super) score: Score,
}

fn refuse(reason: &'static str) {
    metrics::counter!("aiops_series_samples_refused_total", "reason" => reason).increment(1);
}

/// What is seen of a series now.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    Firing(Firing),
    Normal,
    Unknown(DataState),
}

#[derive(Debug)]
pub(super) struct Track {
    scorer: Box<dyn Scorer>,
    /// Time of the newest sample, one put in for a missing one included.
    pub(super) last_at: Option<Timestamp>,
    /// The newest value of the source that is a number.
    pub(super) last_value: Option<f64>,
    /// When the source last gave a sample that was taken; before the first one, when the series was new.
    pub(super) heard: Timestamp,
    /// Since when the conditions hold.
    holds_since: Option<Timestamp>,
    /// Whether the newest sample fires.
    pub(super) firing: bool,
    pub(super) seen: Seen,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    labels: Labels,
    last_at: Option<Timestamp>,
    #[serde(default)]
    last_value: Option<f64>,
    heard: Timestamp,
    holds_since: Option<Timestamp>,
    firing: bool,
    scorer: Nested,
}

impl Track {
    /// A series that is first given at `now`.
    pub(super) fn new(scorer: Box<dyn Scorer>, now: Timestamp) -> Self {
        let seen = Seen::Unknown(DataState::NoData);
        Self { scorer, last_at: None, last_value: None, heard: now, holds_since: None, firing: false, seen }
    }

    /// Feeds samples of the source; see [`feed`](Self::feed).
    pub(super) fn take(&mut self, samples: &[Sample], rule: &SeriesRule, fresh_from: Timestamp, to: Timestamp) {
        let before = self.last_at;
        self.feed(samples, rule, fresh_from, to);
        if let Some(last) = self.last_at.filter(|_| self.last_at != before) {
            self.heard = last;
            let newest = samples.iter().rev().find(|sample| sample.at <= last && sample.value.is_finite());
            self.last_value = newest.map_or(self.last_value, |sample| Some(sample.value));
        }
    }

    /// Feeds samples; what fired at or after `fresh_from` is seen now, the worst of it, and so is the
    /// newest sample, however old.
    pub(super) fn feed(&mut self, samples: &[Sample], rule: &SeriesRule, fresh_from: Timestamp, to: Timestamp) {
        let (mut worst, mut newest): (Option<Firing>, Option<Firing>) = (None, None);
        let mut taken = None;
        for sample in samples {
            let reason = match self.last_at {
                _ if sample.value.is_infinite() => Some("not_finite"),
                Some(last) if sample.at == last => Some("duplicate"),
                Some(last) if sample.at < last => Some("out_of_order"),
                _ if sample.at >= to => Some("ahead"),
                _ => None,
            };
            if let Some(reason) = reason {
                refuse(reason);
                continue;
            }
            let score = self.scorer.observe(sample.at, sample.value);
            // NaN is the scorer's to judge: it may stand for a missing value.
            if sample.value.is_nan() && score.state == DataState::Error {
                refuse("not_finite");
                continue;
            }
            self.last_at = Some(sample.at);
            taken = Some(score.state);
            newest = None;
            if !rule.holds(&score, self.holds_since.is_some(), self.firing) {
                (self.holds_since, self.firing) = (None, false);
                continue;
            }
            let since = *self.holds_since.get_or_insert(sample.at);
            self.firing = rule.for_duration == Duration::ZERO || time::since(sample.at, since) >= rule.for_duration;
            if !self.firing {
                continue;
            }
            let firing = Firing { at: sample.at, score };
            newest = Some(firing);
            let stronger = worst.as_ref().is_none_or(|w| score.persisting.abs() > w.score.persisting.abs());
            if sample.at >= fresh_from && stronger {
                worst = Some(firing);
            }
        }
        self.seen = match (worst.or(newest), taken) {
            (Some(firing), _) => Seen::Firing(firing),
            (None, Some(DataState::Ok)) => Seen::Normal,
            (None, Some(other)) => Seen::Unknown(other),
            // Nothing new: the last verdict holds until it is stale.
            (None, None) => return,
        };
    }

    pub(super) fn window(&self) -> Option<Duration> {
        self.scorer.window()
    }

    pub(super) fn save(&self, labels: &Labels) -> Saved {
        Saved {
            labels: labels.clone(),
            last_at: self.last_at,
            last_value: self.last_value,
            heard: self.heard,
            holds_since: self.holds_since,
            firing: self.firing,
            scorer: self.scorer.save().into(),
        }
    }

    pub(super) fn restore(saved: Saved, mut scorer: Box<dyn Scorer>) -> Result<(Labels, Self), ScorerStateError> {
        scorer.restore(saved.scorer.as_ref())?;
        let seen = Seen::Unknown(DataState::NoData);
        let Saved { labels, last_at, last_value, heard, holds_since, firing, .. } = saved;
        Ok((labels, Self { scorer, last_at, last_value, heard, holds_since, firing, seen }))
    }
}
