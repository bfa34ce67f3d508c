//! Many series by event time: which minutes are read next, and what is seen of each series.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{BurstState, BurstTest, BurstVerdict};

/// Minutes of a window.
pub(crate) const WINDOW_MINUTES: u32 = 5;
/// Windows below the threshold after which a burst is over.
const QUIET_WINDOWS: u32 = 3;
/// Windows back from now that are still counted again for late lines.
const RECOUNT_WINDOWS: u32 = 3;

/// What is to be counted next. Minutes are unix minutes, windows are `minute / 5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// One minute.
    Minute(u32),
    /// A whole window that ended a while ago, when the detector did not run.
    Window(u32),
    /// A whole window again, for lines that came late.
    Again(u32),
}

impl Step {
    /// Whether it only corrects what is known.
    pub(crate) fn is_again(self) -> bool {
        matches!(self, Self::Again(_))
    }

    /// First minute and the minute after the last.
    pub(crate) fn minutes(self) -> (u32, u32) {
        match self {
            Self::Minute(minute) => (minute, minute + 1),
            Self::Window(window) | Self::Again(window) => (window * WINDOW_MINUTES, (window + 1) * WINDOW_MINUTES),
        }
    }
}

/// A burst that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenBurst {
    /// The minute in which its first window starts: it never moves.
    pub(crate) start: u32,
    /// The newest verdict that fired.
    pub(crate) verdict: BurstVerdict,
    /// The largest count.
    pub(crate) peak: u64,
    /// Windows below since.
    quiet: u32,
}

/// One series.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Track {
    test: BurstTest,
    /// Counts of the newest five minutes, by minute modulo 5.
    minutes: [u64; WINDOW_MINUTES as usize],
    pub(crate) open: Option<OpenBurst>,
    /// What the newest whole window said.
    pub(crate) last: Option<BurstState>,
    /// Watched although it never counted anything.
    #[serde(default)]
    named: bool,
}

impl Track {
    pub(crate) fn learnt(&self) -> (u64, u64) {
        self.test.learnt()
    }

    /// Takes in the series of a group that joined this one.
    fn absorb(&mut self, other: &Self) {
        self.test.absorb(&other.test);
        for (mine, theirs) in self.minutes.iter_mut().zip(other.minutes) {
            *mine = mine.saturating_add(theirs);
        }
        self.named |= other.named;
        self.last = self.last.or(other.last);
        self.open = match (self.open, other.open) {
            (Some(mine), Some(theirs)) => {
                let (first, quiet) =
                    (if theirs.start < mine.start { theirs } else { mine }, mine.quiet.min(theirs.quiet));
                Some(OpenBurst { peak: mine.peak.max(theirs.peak), quiet, ..first })
            }
            (mine, theirs) => mine.or(theirs),
        };
    }

    fn window(&mut self, window: u32, count: u64) {
        let verdict = self.test.observe(window, count);
        self.last = Some(verdict.state);
        self.take(verdict, window * WINDOW_MINUTES);
        if let Some(open) = &mut self.open
            && verdict.state == BurstState::Normal
        {
            open.quiet += 1;
            if open.quiet >= QUIET_WINDOWS {
                self.open = None;
            }
        }
    }

    /// A verdict on five minutes from `start`: opens or carries on a burst.
    fn take(&mut self, verdict: BurstVerdict, start: u32) {
        if verdict.state == BurstState::LevelShift {
            metrics::counter!("aiops_log_burst_level_shifts_total").increment(1);
            self.open = None;
        } else if verdict.fires() {
            let open = self.open.get_or_insert(OpenBurst { start, verdict, peak: 0, quiet: 0 });
            (open.verdict, open.quiet) = (verdict, 0);
            open.peak = open.peak.max(verdict.count);
        }
    }

    /// A window that ended before the newest one, with its late lines.
    fn again(&mut self, window: u32, count: u64) {
        if let Some(verdict) = self.test.amend(window, count)
            && self.open.is_none()
        {
            self.take(verdict, window * WINDOW_MINUTES);
            // The windows after it did not fire.
            if let Some(open) = &mut self.open {
                open.quiet = 1;
            }
        }
    }
}

/// All series of a detector. A key that is not on it has counted 0 since the board began.
#[derive(Debug, Clone)]
pub(crate) struct Board<K: Ord> {
    /// What a series is of, in metrics.
    what: &'static str,
    max: usize,
    /// Up to which minute everything was counted.
    pub(crate) read_to: Option<u32>,
    /// Minutes counted one by one in a row before `read_to`, at most five.
    in_row: u32,
    /// Whether counting failed since.
    failed: bool,
    /// The next window to count again.
    again: u32,
    /// What a series looks like that never counted anything.
    silent: Track,
    tracks: BTreeMap<K, Track>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SavedBoard<K> {
    read_to: Option<u32>,
    in_row: u32,
    again: u32,
    silent: Track,
    tracks: Vec<(K, Track)>,
}

impl<K: Ord + Clone> Board<K> {
    pub(crate) fn new(what: &'static str, max: usize) -> Self {
        let (silent, tracks) = (Track::default(), BTreeMap::new());
        Self { what, max, read_to: None, in_row: 0, failed: false, again: 0, silent, tracks }
    }

    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Nothing is known of the minutes before this one, unless something was counted already.
    pub(crate) fn start(&mut self, minute: u32) {
        self.read_to.get_or_insert(minute);
    }

    /// The series `from` goes on as part of `to`.
    pub(crate) fn join(&mut self, from: &K, to: &K) {
        let Some(track) = self.tracks.remove(from) else { return };
        match self.tracks.get_mut(to) {
            Some(known) => known.absorb(&track),
            None => drop(self.tracks.insert(to.clone(), track)),
        }
    }

    /// Watches a series from the start.
    pub(crate) fn name(&mut self, key: K) {
        let silent = &self.silent;
        self.tracks.entry(key).or_insert_with(|| silent.clone()).named = true;
    }

    pub(crate) fn tracks(&self) -> &BTreeMap<K, Track> {
        &self.tracks
    }

    pub(crate) fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Notes that counting failed: what follows may hold a backlog.
    pub(crate) fn failed(&mut self) {
        self.failed = true;
    }

    /// What to count next so that all is known up to the minute `end`; none when it is. `lookback` minutes
    /// are caught up at the most.
    ///
    /// Failures of less than a window are caught up; a longer one leaves its windows unknown, since
    /// a backlog may come with what follows.
    pub(crate) fn plan(&mut self, end: u32, lookback: u32) -> Option<Step> {
        let aligned = |minute: u32| minute - minute % WINDOW_MINUTES;
        let earliest = aligned(end.saturating_sub(lookback));
        let mut from = self.read_to.unwrap_or(earliest);
        if self.failed && end.saturating_sub(from) > WINDOW_MINUTES {
            from = aligned(end);
            self.failed = false;
        }
        from = from.max(earliest);
        if self.read_to != Some(from) {
            self.in_row = 0;
        }
        self.read_to = Some(from);
        if from < end {
            let whole = from.is_multiple_of(WINDOW_MINUTES) && from + 2 * WINDOW_MINUTES <= end;
            return Some(if whole { Step::Window(from / WINDOW_MINUTES) } else { Step::Minute(from) });
        }
        let complete = from / WINDOW_MINUTES;
        self.again = self.again.max(complete.saturating_sub(RECOUNT_WINDOWS));
        // A window later nearly all that is late has come.
        (self.again + 1 < complete).then_some(Step::Again(self.again))
    }

    /// Takes what a step counted; a key that it leaves out counted 0. A step that is no longer the next
    /// is left out.
    pub(crate) fn take(&mut self, step: Step, counts: &BTreeMap<K, u64>) {
        let (from, to) = step.minutes();
        if let Step::Again(window) = step {
            self.again = window + 1;
            for (key, count) in counts {
                if let Some(track) = self.track(key) {
                    track.again(window, *count);
                }
            }
            return;
        }
        if self.read_to != Some(from) {
            return;
        }
        self.read_to = Some(to);
        self.failed = false;
        for key in counts.keys() {
            self.track(key);
        }
        let count = |key: &K| counts.get(key).copied().unwrap_or(0);
        match step {
            Step::Window(window) => {
                self.in_row = 0;
                self.silent.window(window, 0);
                self.tracks.iter_mut().for_each(|(key, track)| track.window(window, count(key)));
            }
            Step::Minute(minute) => self.minute(minute, count),
            Step::Again(_) => {}
        }
        if to.is_multiple_of(WINDOW_MINUTES) {
            self.forget();
        }
    }

    fn minute(&mut self, minute: u32, count: impl Fn(&K) -> u64) {
        self.in_row = (self.in_row + 1).min(WINDOW_MINUTES);
        let (whole, end) = (self.in_row == WINDOW_MINUTES, minute + 1);
        let (window, offset) = (minute / WINDOW_MINUTES, end % WINDOW_MINUTES);
        if whole && offset == 0 {
            self.silent.window(window, 0);
        }
        for (key, track) in &mut self.tracks {
            track.minutes[(minute % WINDOW_MINUTES) as usize] = count(key);
            let sum = track.minutes.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
            if whole && offset == 0 {
                track.window(window, sum);
            } else if whole {
                let verdict = track.test.sliding(offset, sum);
                track.take(verdict, end - WINDOW_MINUTES);
            }
        }
    }

    /// The series, made where it is new and there is room.
    fn track(&mut self, key: &K) -> Option<&mut Track> {
        if !self.tracks.contains_key(key) {
            if self.tracks.len() >= self.max {
                metrics::counter!("aiops_log_burst_series_refused_total", "series" => self.what).increment(1);
                return None;
            }
            self.tracks.insert(key.clone(), self.silent.clone());
        }
        self.tracks.get_mut(key)
    }

    /// Forgets series without a line in all that is kept: nothing is lost, since that is what an unknown
    /// one is taken for.
    fn forget(&mut self) {
        let before = self.tracks.len();
        let recent = |track: &Track| track.minutes.iter().any(|count| *count > 0);
        self.tracks.retain(|_, track| track.named || track.open.is_some() || !track.test.is_silent() || recent(track));
        let gone = before - self.tracks.len();
        if gone > 0 {
            metrics::counter!("aiops_log_burst_series_evicted_total", "series" => self.what).increment(gone as u64);
        }
    }
}

impl<K: Ord + Clone + Serialize + DeserializeOwned> Board<K> {
    /// What a restart needs, in parts.
    pub(crate) fn saved(&self, parts: usize, part_of: impl Fn(&K) -> usize) -> Vec<SavedBoard<K>> {
        let (read_to, in_row, again) = (self.read_to, self.in_row, self.again);
        let empty = || SavedBoard { read_to, in_row, again, silent: self.silent.clone(), tracks: Vec::new() };
        let mut saved: Vec<SavedBoard<K>> = (0..parts).map(|_| empty()).collect();
        for (key, track) in &self.tracks {
            if let Some(part) = saved.get_mut(part_of(key)) {
                part.tracks.push((key.clone(), track.clone()));
            }
        }
        saved
    }

    /// Takes saved parts in place of what is known; series named here stay. What is over the bound is left
    /// out and counted.
    ///
    /// Parts of several times, as a stop in mid-save leaves them, make the newest: older series have a gap.
    pub(crate) fn restore(&mut self, parts: Vec<SavedBoard<K>>) {
        let Some(newest) = parts.iter().max_by_key(|part| part.read_to) else { return };
        let whole = parts.iter().all(|part| part.read_to == newest.read_to);
        (self.read_to, self.again, self.silent) = (newest.read_to, newest.again, newest.silent.clone());
        (self.in_row, self.failed) = (if whole { newest.in_row.min(WINDOW_MINUTES) } else { 0 }, false);
        let named: Vec<K> = self.tracks.iter().filter(|(_, track)| track.named).map(|(key, _)| key.clone()).collect();
        self.tracks = parts.into_iter().flat_map(|part| part.tracks).collect();
        let mut over = 0;
        while self.tracks.len() > self.max {
            self.tracks.pop_last();
            over += 1;
        }
        if over > 0 {
            metrics::counter!("aiops_log_burst_series_refused_total", "series" => self.what).increment(over);
        }
        for track in self.tracks.values_mut() {
            track.named = false;
        }
        named.into_iter().for_each(|key| self.name(key));
    }
}

impl<K> SavedBoard<K> {
    pub(crate) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Whether a board can have saved it.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let fires = |track: &Track| track.open.is_none_or(|open| open.verdict.fires());
        let all = || self.tracks.iter().map(|(_, track)| track).chain([&self.silent]);
        if all().all(|track| track.test.is_sound() && fires(track)) {
            Ok(())
        } else {
            Err("the windows of a series are not in order")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a board over counts by minute of one series, as a detector does each minute.
    fn run(board: &mut Board<String>, minutes: std::ops::Range<u32>, count: impl Fn(u32) -> u64) -> Vec<u32> {
        let mut open = Vec::new();
        for end in minutes {
            while let Some(step) = board.plan(end, 60) {
                let (from, to) = step.minutes();
                let sum = (from..to).map(&count).sum();
                let counts =
                    BTreeMap::from([("cart".to_owned(), sum)]).into_iter().filter(|(_, count)| *count > 0).collect();
                board.take(step, &counts);
            }
            if let Some(burst) = board.tracks().get("cart").and_then(|track| track.open) {
                open.push(burst.start);
            }
        }
        open
    }

    #[test]
    fn a_straddled_burst_opens_once_and_keeps_its_start() {
        let mut board = Board::new("service", 10);
        // 6 lines in the last minute of one window, 6 in the first of the next.
        let open = run(&mut board, 1_000..1_060, |minute| if minute == 1_029 || minute == 1_030 { 6 } else { 0 });
        assert!(!open.is_empty() && open.iter().all(|start| *start == 1_026), "{open:?}");
        // Seen in the minute that completes it, and until three whole windows are below.
        assert_eq!(open.len(), 1_045 - 1_031, "{open:?}");
    }

    #[test]
    fn a_series_that_is_new_has_been_silent_for_as_long_as_the_board_knows() {
        let mut board = Board::new("service", 10);
        assert!(run(&mut board, 1_000..1_100, |_| 0).is_empty());
        assert_eq!(board.len(), 0);
        assert!(!run(&mut board, 1_100..1_106, |minute| if minute >= 1_100 { 20 } else { 0 }).is_empty());
    }

    #[test]
    fn what_was_not_counted_for_longer_than_a_window_is_unknown() {
        let mut board = Board::new("service", 10);
        run(&mut board, 1_000..1_101, |_| 4);
        board.failed();
        assert_eq!(board.plan(1_122, 60), Some(Step::Minute(1_120)), "20 minutes that may come as a backlog");
        // The backlog comes in the first window after it: not judged.
        let open = run(&mut board, 1_122..1_140, |minute| if minute < 1_124 { 80 } else { 4 });
        assert!(open.is_empty(), "{open:?}");
        board.failed();
        assert_eq!(board.plan(1_143, 60), Some(Step::Minute(1_139)), "four minutes are caught up");
    }

    #[test]
    fn a_restart_catches_up_and_loses_no_window() {
        let mut board = Board::new("service", 10);
        run(&mut board, 1_000..1_103, |_| 4);
        let mut restarted = Board::new("service", 10);
        let saved = serde_json::to_string(&board.saved(1, |_| 0)).unwrap();
        restarted.restore(serde_json::from_str(&saved).unwrap());
        assert_eq!(restarted.clone().plan(1_240, 60), Some(Step::Window(236)), "an hour at the most");
        // Down from 1,102 to 1,139: every count is that of a board that ran.
        run(&mut board, 1_103..1_150, |_| 4);
        run(&mut restarted, 1_139..1_150, |_| 4);
        let test = |board: &Board<String>| serde_json::to_string(&board.tracks()["cart"].test).unwrap();
        assert_eq!(test(&restarted), test(&board));
    }

    #[test]
    fn the_bound_holds_and_silent_series_make_room() {
        let mut board = Board::new("service", 2);
        board.name("quiet");
        for end in 1_000..1_010 {
            while let Some(step) = board.plan(end, 5) {
                board.take(step, &BTreeMap::from([("a", 1), ("b", 1)]));
            }
        }
        assert_eq!(board.tracks().keys().copied().collect::<Vec<_>>(), ["a", "quiet"]);
    }
}
