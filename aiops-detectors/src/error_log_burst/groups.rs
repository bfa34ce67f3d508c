//! The series of single groups, and which of them are told.

use std::collections::BTreeMap;

use aiops_core::ServiceName;
use serde::{Deserialize, Serialize};

use super::LOOKBACK_MINUTES;
use crate::burst::board::{Board, Track};
use crate::error_logs::ErrorLogs;
use crate::template::LineFingerprint;

/// Groups of one service that are told at a time; more are rather one event of their service.
const MAX_TOLD: usize = 5;
/// Minutes for which the end of a burst is told: longer than an episode takes to end.
const TOLD_MINUTES: u32 = 60;

pub(super) type Key = (ServiceName, LineFingerprint);

/// A burst that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The group as it was named first: it may have joined others since.
    pub(super) name: LineFingerprint,
    /// The minute up to which it fired.
    pub(super) last: u32,
}

#[derive(Debug)]
pub(super) struct Groups {
    pub(super) board: Board<Key>,
    pub(super) told: BTreeMap<Key, Told>,
    /// The joins of groups that the board has followed, by service.
    joined: BTreeMap<ServiceName, u64>,
}

impl Groups {
    pub(super) fn new(max: usize) -> Self {
        Self { board: Board::new("group", max), told: BTreeMap::new(), joined: BTreeMap::new() }
    }

    /// Counts all minutes up to `end`; false where the next one is unknown.
    pub(super) fn advance(&mut self, logs: &ErrorLogs, began: u32, end: u32) -> bool {
        self.board.start(began);
        while let Some(step) = self.board.plan(end, LOOKBACK_MINUTES) {
            let (from, to) = step.minutes();
            let mut counts = BTreeMap::new();
            if !logs.knows(from, to) {
                if !step.is_again() {
                    self.board.failed();
                    return false;
                }
                self.board.take(step, &counts);
                continue;
            }
            logs.each(|service, logs| {
                let groups = logs.groups(from, to);
                // Under the same lock, so that the counts and the series are of the same groups.
                if !groups.is_empty() && self.joined.get(service) != Some(&logs.joined()) {
                    self.joined.insert(service.clone(), logs.joined());
                    self.follow(service, |group| logs.resolve(group));
                }
                counts.extend(groups.into_iter().map(|(group, lines)| ((service.clone(), group), lines)));
            });
            self.board.take(step, &counts);
        }
        true
    }

    /// Moves the series of groups that joined others.
    fn follow(&mut self, service: &ServiceName, resolve: impl Fn(LineFingerprint) -> LineFingerprint) {
        let all = (service.clone(), LineFingerprint::MIN)..=(service.clone(), LineFingerprint::MAX);
        let moved: Vec<(Key, Key)> = self
            .board
            .tracks()
            .range(all)
            .map(|(key, _)| (key.clone(), (service.clone(), resolve(key.1))))
            .filter(|(from, to)| from != to)
            .collect();
        for (from, to) in moved {
            self.board.join(&from, &to);
            if !self.told.contains_key(&to)
                && let Some(told) = self.told.remove(&from)
            {
                self.told.insert(to, told);
            }
        }
    }

    /// Notes which bursts are told at a minute: those that began before their service's own.
    pub(super) fn tell(&mut self, services: &Board<ServiceName>, minute: u32) {
        let mut firing: BTreeMap<&ServiceName, Vec<(u32, LineFingerprint)>> = BTreeMap::new();
        for ((service, group), track) in self.board.tracks() {
            let Some(open) = &track.open else { continue };
            let own = services.tracks().get(service).and_then(|service| service.open);
            if own.is_none_or(|own| open.start < own.start) {
                firing.entry(service).or_default().push((open.start, *group));
            }
        }
        for (service, mut groups) in firing {
            groups.sort_unstable();
            for (_, group) in groups.into_iter().take(MAX_TOLD) {
                let told = self.told.entry((service.clone(), group)).or_insert(Told { name: group, last: minute });
                told.last = minute;
            }
        }
        self.told.retain(|_, told| told.last.saturating_add(TOLD_MINUTES) >= minute);
    }

    /// What is told of each group that fires or did lately: service, name, and its series while it fires.
    pub(super) fn told(&self) -> impl Iterator<Item = (&ServiceName, LineFingerprint, Option<&Track>)> {
        let newest = self.board.read_to;
        self.told.iter().map(move |(key, told)| {
            (&key.0, told.name, self.board.tracks().get(key).filter(|_| Some(told.last) == newest))
        })
    }
}
