//! The series of single groups, and which of them are told.

use std::collections::BTreeMap;

use aiops_core::ServiceName;
use serde::{Deserialize, Serialize};

use super::advance;
use crate::burst::board::{Board, Track};
use crate::error_logs::ErrorLogs;
use crate::template::LineFingerprint;

/// Groups of one service that are told at a time; more are rather one event of their service.
const MAX_TOLD: usize = 5;
/// Minutes for which the end of a burst is told: longer than an episode takes to end.
const TOLD_MINUTES: u32 = 60;

/// Services whose joins are remembered: more than are tracked, should they come and go.
const MAX_JOINED: usize = 20_000;

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
    pub(super) fn advance(&mut self, logs: &ErrorLogs, end: u32) -> bool {
        let Self { board, told, joined } = self;
        if joined.len() > MAX_JOINED {
            // They are followed once more.
            joined.clear();
        }
        advance(board, logs, end, |board, from, to| {
            let mut counts = BTreeMap::new();
            logs.each(|service, logs| {
                let groups = logs.groups(from, to);
                // Under the same lock, so that the counts and the series are of the same groups.
                if !groups.is_empty() && joined.get(service) != Some(&logs.joined()) {
                    joined.insert(service.clone(), logs.joined());
                    follow(board, told, service, |group| logs.resolve(group));
                }
                counts.extend(groups.into_iter().map(|(group, lines)| ((service.clone(), group), lines)));
            });
            counts
        })
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

/// Moves the series of a service's groups that joined others.
fn follow(
    board: &mut Board<Key>,
    told: &mut BTreeMap<Key, Told>,
    service: &ServiceName,
    resolve: impl Fn(LineFingerprint) -> LineFingerprint,
) {
    let all = (service.clone(), LineFingerprint::MIN)..=(service.clone(), LineFingerprint::MAX);
    let to = |key: &Key| (service.clone(), resolve(key.1));
    let moved: Vec<(Key, Key)> = board.tracks().range(all).map(|(key, _)| (key.clone(), to(key))).collect();
    for (from, to) in moved.into_iter().filter(|(from, to)| from != to) {
        board.join(&from, &to);
        if !told.contains_key(&to)
            && let Some(one) = told.remove(&from)
        {
            told.insert(to, one);
        }
    }
}
