//! The error lines of one service: their kinds, counts by minute, and when each kind was first seen.

use std::collections::{BTreeMap, VecDeque};

use aiops_core::BoxError;
use serde::{Deserialize, Serialize};

use super::{ErrorGroup, ErrorSummary, KEPT_MINUTES, dropped, shown};
use crate::burst::board::WINDOW_MINUTES;
use crate::burst::report::start_of;
use crate::template::{HashedMap, LineFingerprint, TemplateMiner, TemplateStateError};

/// Kinds that are remembered as seen, for each that the miner keeps.
const KNOWN_PER_GROUP: usize = 8;
/// In place of a fingerprint: lines of kinds beyond the bound of one minute.
const OTHER: u64 = 0;

/// When a kind was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) first: u32,
    pub(super) last: u32,
    /// Whether it tells of the end of a process.
    pub(super) grave: bool,
}

impl Known {
    /// Takes in another sighting of the same group.
    fn and(&mut self, other: Self) {
        (self.first, self.last) = (self.first.min(other.first), self.last.max(other.last));
        self.grave |= other.grave;
    }
}

/// A group that was not known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) group: LineFingerprint,
    pub(crate) first: u32,
    /// Minutes for which the service was known before.
    pub(crate) after: u32,
    pub(crate) grave: bool,
    /// The most lines in five minutes.
    pub(crate) peak: u64,
}

/// Lines of the newest five minutes, and the most that there ever were.
#[derive(Debug, Default)]
struct Newest {
    minutes: VecDeque<(u32, u64)>,
    sum: u64,
    peak: u64,
}

impl Newest {
    /// Adds lines of a minute; minutes only grow.
    fn add(&mut self, minute: u32, lines: u64) {
        self.minutes.push_back((minute, lines));
        self.sum += lines;
        let over = |first: u32| first.saturating_add(WINDOW_MINUTES) <= minute;
        while let Some((_, lines)) = self.minutes.front().filter(|(first, _)| over(*first)) {
            self.sum -= lines;
            self.minutes.pop_front();
        }
        self.peak = self.peak.max(self.sum);
    }
}

#[derive(Debug)]
pub(crate) struct ServiceLogs {
    miner: TemplateMiner,
    max_groups: usize,
    /// The minute from which on the service is known.
    since: u32,
    /// The minute of its newest line.
    last: u32,
    /// Whether the host named it: it is never forgotten.
    named: bool,
    /// Lines by minute and fingerprint.
    counts: BTreeMap<(u32, u64), u64>,
    /// Fingerprints that were seen, and the groups that they are of.
    known: HashedMap<u64, Known>,
    /// The joins of groups that `known` has taken in.
    joined: u64,
}

/// Lines of one group in a range of minutes.
#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    count: u64,
    before: u64,
    /// Lines of the commonest member, and its fingerprint.
    largest: (u64, u64),
    last: u32,
}

impl ServiceLogs {
    pub(super) fn new(since: u32, max_groups: usize) -> Self {
        Self {
            miner: TemplateMiner::new(max_groups).without_samples(),
            max_groups,
            since,
            last: since,
            named: false,
            counts: BTreeMap::new(),
            known: HashedMap::default(),
            joined: 0,
        }
    }

    pub(super) fn named(&mut self, since: u32) {
        (self.named, self.since) = (true, self.since.min(since));
    }

    /// Whether it wrote nothing from a minute on.
    pub(super) fn is_idle(&self, from: u32) -> bool {
        !self.named && self.last < from
    }

    pub(super) fn observe(&mut self, minute: u32, record: &[u8], now: u32) {
        let oldest = now.saturating_sub(KEPT_MINUTES - 1);
        if self.counts.first_key_value().is_some_and(|((first, _), _)| *first < oldest) {
            self.counts = self.counts.split_off(&(oldest, 0));
        }
        let fingerprint = self.miner.observe(record).fingerprint;
        (self.since, self.last) = (self.since.min(minute), self.last.max(minute));
        if self.joined != self.miner.joined() {
            self.joined = self.miner.joined();
            self.join();
        }
        let group = self.miner.resolve(fingerprint);
        let mut seen = Known { first: minute, last: minute, grave: false };
        if !self.known.contains_key(&fingerprint.0) {
            seen.grave = self.miner.template(fingerprint).is_some_and(|text| shown::is_grave(&text));
        }
        for print in [fingerprint, group] {
            let known = self.known.entry(print.0).or_insert(seen);
            known.and(seen);
            // A group is as old as its members, should it itself have been forgotten.
            seen = *known;
        }
        if self.known.len() > KNOWN_PER_GROUP * self.max_groups {
            self.forget();
        }
        self.count(minute, fingerprint, 1);
    }

    fn count(&mut self, minute: u32, fingerprint: LineFingerprint, lines: u64) {
        if let Some(count) = self.counts.get_mut(&(minute, fingerprint.0)) {
            *count = count.saturating_add(lines);
            return;
        }
        let kinds = self.counts.range((minute, 0)..=(minute, u64::MAX)).count();
        if kinds < self.max_groups {
            self.counts.insert((minute, fingerprint.0), lines);
        } else {
            // It still counts for its service.
            dropped("group", lines);
            *self.counts.entry((minute, OTHER)).or_default() += lines;
        }
    }

    /// A group is as old as its oldest member.
    fn join(&mut self) {
        let members: Vec<(u64, Known)> = self.known.iter().map(|(print, known)| (*print, *known)).collect();
        for (print, member) in members {
            let group = self.miner.resolve(LineFingerprint(print)).0;
            self.known.entry(group).or_insert(member).and(member);
        }
    }

    /// Makes room: the quarter that was not seen for longest goes.
    fn forget(&mut self) {
        let mut seen: Vec<(u32, u64)> = self.known.iter().map(|(print, known)| (known.last, *print)).collect();
        seen.sort_unstable();
        seen.truncate(seen.len() / 4);
        dropped("known_group", seen.len() as u64);
        for (_, print) in seen {
            self.known.remove(&print);
        }
    }

    /// Lines of the minutes `from..to`.
    pub(crate) fn lines(&self, from: u32, to: u32) -> u64 {
        self.counts.range((from, 0)..(to, 0)).map(|(_, count)| count).sum()
    }

    /// The same by group, as the groups are now.
    pub(crate) fn groups(&self, from: u32, to: u32) -> BTreeMap<LineFingerprint, u64> {
        let mut groups = BTreeMap::new();
        for ((_, print), count) in self.counts.range((from, 0)..(to, 0)).filter(|((_, print), _)| *print != OTHER) {
            *groups.entry(self.resolve(LineFingerprint(*print))).or_default() += count;
        }
        groups
    }

    /// Groups whose first line is of the minute `from` or later and came when the service was known for
    /// `learning` minutes, oldest first.
    pub(crate) fn fresh(&self, from: u32, learning: u32) -> Vec<Fresh> {
        let of = |(print, known): (&u64, &Known)| {
            let group = LineFingerprint(*print);
            let after = known.first.saturating_sub(self.since);
            let fresh = known.first >= from && after >= learning && self.resolve(group) == group;
            fresh.then_some(Fresh { group, first: known.first, after, grave: known.grave, peak: 0 })
        };
        let mut all: Vec<Fresh> = self.known.iter().filter_map(of).collect();
        all.sort_unstable_by_key(|fresh| (fresh.first, fresh.group));
        let Some(first) = all.first().map(|fresh| fresh.first) else { return all };
        let mut newest: BTreeMap<LineFingerprint, Newest> =
            all.iter().map(|fresh| (fresh.group, Newest::default())).collect();
        for ((minute, print), count) in self.counts.range((first, 0)..).filter(|((_, print), _)| *print != OTHER) {
            if let Some(lines) = newest.get_mut(&self.resolve(LineFingerprint(*print))) {
                lines.add(*minute, *count);
            }
        }
        for fresh in &mut all {
            fresh.peak = newest.get(&fresh.group).map_or(0, |lines| lines.peak);
        }
        all
    }

    /// When a group was last seen, as it is now.
    pub(crate) fn last(&self, group: LineFingerprint) -> Option<u32> {
        self.known.get(&self.resolve(group).0).map(|known| known.last)
    }

    /// The text of a kind of line as it may be shown; empty where it is no longer kept.
    pub(crate) fn text(&self, fingerprint: LineFingerprint) -> String {
        self.miner.template(fingerprint).map_or_else(String::new, |text| shown::shown(&text))
    }

    pub(crate) fn resolve(&self, fingerprint: LineFingerprint) -> LineFingerprint {
        self.miner.resolve(fingerprint)
    }

    /// Grows whenever groups joined.
    pub(crate) fn joined(&self) -> u64 {
        self.joined
    }

    /// Minutes `from..to` against `before..from`.
    pub(crate) fn summary(&self, (from, to): (u32, u32), before: u32, top: usize) -> ErrorSummary {
        let mut groups: BTreeMap<u64, Lines> = BTreeMap::new();
        let mut prints: BTreeMap<u64, u64> = BTreeMap::new();
        let mut summary = ErrorSummary { lines: 0, before: 0, incomplete: false, kinds: 0, groups: Vec::new() };
        for ((minute, print), count) in self.counts.range((before, 0)..(to, 0)) {
            let now = *minute >= from;
            *(if now { &mut summary.lines } else { &mut summary.before }) += count;
            if *print == OTHER {
                continue;
            }
            let lines = groups.entry(self.miner.resolve(LineFingerprint(*print)).0).or_default();
            if now {
                let member = prints.entry(*print).or_default();
                *member += count;
                lines.count += count;
                lines.largest = lines.largest.max((*member, *print));
                lines.last = *minute;
            } else {
                lines.before += count;
            }
        }
        groups.retain(|_, lines| lines.count > 0);
        summary.kinds = groups.len();
        let mut ranked: Vec<(u64, Lines)> = groups.into_iter().collect();
        ranked.sort_by_key(|(group, lines)| (std::cmp::Reverse(lines.count), *group));
        ranked.truncate(top);
        summary.groups = ranked.into_iter().map(|(group, lines)| self.group(group, lines)).collect();
        summary
    }

    fn group(&self, group: u64, lines: Lines) -> ErrorGroup {
        let first = self.known.get(&group).map_or(lines.last, |known| known.first);
        ErrorGroup {
            group: LineFingerprint(group),
            template: self.text(LineFingerprint(group)),
            sample: self.text(LineFingerprint(lines.largest.1)),
            count: lines.count,
            before: lines.before,
            first_seen: start_of(first),
            last_seen: start_of(lines.last),
        }
    }
}

/// What a restart needs of a service.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedService {
    since: u32,
    last: u32,
    named: bool,
    counts: Vec<(u32, LineFingerprint, u64)>,
    known: Vec<(LineFingerprint, Known)>,
    miner: String,
}

impl ServiceLogs {
    pub(super) fn saved(&self) -> SavedService {
        let mut known: Vec<_> = self.known.iter().map(|(print, known)| (LineFingerprint(*print), *known)).collect();
        known.sort_unstable_by_key(|(print, _)| *print);
        let counts = self.counts.iter().map(|((minute, print), count)| (*minute, LineFingerprint(*print), *count));
        SavedService {
            since: self.since,
            last: self.last,
            named: self.named,
            counts: counts.collect(),
            known,
            miner: String::from_utf8_lossy(&self.miner.save()).into_owned(),
        }
    }
}

impl SavedService {
    /// Whether a store can have saved it.
    pub(super) fn check(&self) -> Result<(), BoxError> {
        let ordered = self.known.iter().all(|(_, known)| known.first <= known.last);
        if ordered && self.since <= self.last {
            Ok(())
        } else {
            Err("a kind of line was last seen before it was first seen".into())
        }
    }

    /// The service as it was. What is beyond the bounds is left out and counted.
    pub(super) fn restored(self, max_groups: usize) -> Result<ServiceLogs, TemplateStateError> {
        let mut logs = ServiceLogs::new(self.since, max_groups);
        logs.miner.restore(self.miner.as_bytes())?;
        (logs.joined, logs.last, logs.named) = (logs.miner.joined(), self.last, self.named);
        logs.known = self.known.into_iter().map(|(print, known)| (print.0, known)).collect();
        while logs.known.len() > KNOWN_PER_GROUP * max_groups {
            logs.forget();
        }
        for (minute, print, count) in self.counts {
            logs.count(minute, print, count);
        }
        Ok(logs)
    }
}
