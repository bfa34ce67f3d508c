//! Alerts against labels, event by event.

use std::time::Duration;

use jiff::Timestamp;

use super::{ALERT_GAP, Delays, LABEL_GAP, REACH_AFTER, REACH_BEFORE, TRUE_SHARE};

/// Counts of one series or, merged, of many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct EventCounts {
    /// Labelled events.
    pub events: u64,
    /// Events that a true episode caught.
    pub caught: u64,
    /// Alert episodes.
    pub episodes: u64,
    /// True ones among them.
    pub good: u64,
    /// Samples that were scored.
    pub rows: u64,
    /// Samples that alerted.
    pub alerting: u64,
    /// How long the caught events took.
    pub delays: Delays,
}

impl EventCounts {
    /// True episodes ÷ episodes. Without episodes: 1 where there were no events either, else 0.
    #[must_use]
    pub fn precision(&self) -> f64 {
        match (self.episodes, self.events) {
            (0, 0) => 1.0,
            (0, _) => 0.0,
            _ => self.good as f64 / self.episodes as f64,
        }
    }

    /// Caught events ÷ events; 1 without events.
    #[must_use]
    pub fn recall(&self) -> f64 {
        if self.events == 0 { 1.0 } else { self.caught as f64 / self.events as f64 }
    }

    /// Harmonic mean of precision and recall; 0 where both are.
    #[must_use]
    pub fn f1(&self) -> f64 {
        let (precision, recall) = (self.precision(), self.recall());
        if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
    }

    /// False episodes per 1,000 scored samples.
    #[must_use]
    pub fn false_per_thousand(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { 1e3 * (self.episodes - self.good) as f64 / self.rows as f64 }
    }

    /// Adds those of another series.
    pub fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.caught += other.caught;
        self.episodes += other.episodes;
        self.good += other.good;
        self.rows += other.rows;
        self.alerting += other.alerting;
        self.delays.merge(&other.delays);
    }
}

/// Scores one series sample by sample by the [rules](super), in a fixed size of memory.
///
/// Rows that are not to be scored ([`skipped`](super::skipped)) are not pushed.
#[derive(Debug, Clone, Default)]
pub struct EventScorer {
    counts: EventCounts,
    /// The newest sample waits here: the next one may begin an event that reaches back to it.
    waiting: Option<Row>,
    /// Events that may still reach a sample: the newest, and at most one before it.
    open: Vec<Event>,
    episode: Option<Episode>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    index: u64,
    alert: bool,
    at: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Event {
    first: u64,
    last: u64,
    at: Option<Timestamp>,
    caught: bool,
    /// The first alert of the episode in progress within its reach, as a delay.
    touched: Option<(u64, Option<Duration>)>,
}

#[derive(Debug, Clone)]
struct Episode {
    first: u64,
    last: u64,
    /// Samples from `first` to `last` within the reach of events.
    within: u64,
    /// Those after `last`, which count when the episode goes on.
    within_since: u64,
    /// Events that are over and caught if this episode is true: how many, and their delays.
    touched: u64,
    delays: Delays,
}

impl EventScorer {
    /// The next sample, oldest first; `at` is needed for delays in time only.
    pub fn push(&mut self, labelled: bool, alert: bool, at: Option<Timestamp>) {
        let index = self.counts.rows;
        self.counts.rows += 1;
        self.counts.alerting += u64::from(alert);
        if labelled {
            match self.open.last_mut() {
                Some(event) if index - event.last <= LABEL_GAP + 1 => event.last = index,
                _ => {
                    self.counts.events += 1;
                    self.open.push(Event { first: index, last: index, at, caught: false, touched: None });
                }
            }
        }
        if let Some(row) = self.waiting.replace(Row { index, alert, at }) {
            self.settle(row);
        }
    }

    /// The counts, after the last sample.
    #[must_use]
    pub fn finish(mut self) -> EventCounts {
        if let Some(row) = self.waiting.take() {
            self.settle(row);
        }
        self.end_episode();
        self.counts
    }

    /// Takes a sample whose reach by events is known.
    fn settle(&mut self, row: Row) {
        let within = self.open.iter().any(|event| event.reaches(row.index));
        let over = self.episode.as_ref().is_some_and(|episode| row.index - episode.last > ALERT_GAP + 1);
        if over {
            self.end_episode();
        }
        if row.alert {
            if self.episode.is_none() {
                self.counts.episodes += 1;
            }
            let episode = self.episode.get_or_insert(Episode {
                first: row.index,
                last: row.index,
                within: 0,
                within_since: 0,
                touched: 0,
                delays: Delays::default(),
            });
            episode.last = row.index;
            episode.within += std::mem::take(&mut episode.within_since) + u64::from(within);
            for event in self.open.iter_mut().filter(|event| event.reaches(row.index)) {
                event.touched.get_or_insert_with(|| event_delay(event.first, event.at, row));
            }
        } else if let Some(episode) = &mut self.episode {
            episode.within_since += u64::from(within);
        }
        // The newest event may go on, an older one reaches no further sample.
        while self.open.first().is_some_and(|event| row.index >= event.last + REACH_AFTER.max(LABEL_GAP + 1)) {
            let event = self.open.remove(0);
            if let (Some(episode), Some((samples, time)), false) = (&mut self.episode, event.touched, event.caught) {
                episode.touched += 1;
                episode.delays.push(samples, time);
            }
        }
    }

    fn end_episode(&mut self) {
        let Some(episode) = self.episode.take() else { return };
        let good = episode.within > 0 && TRUE_SHARE * episode.within > episode.last - episode.first;
        self.counts.good += u64::from(good);
        if good {
            self.counts.caught += episode.touched;
            self.counts.delays.merge(&episode.delays);
        }
        for event in &mut self.open {
            let Some((samples, time)) = event.touched.take() else { continue };
            if good && !event.caught {
                event.caught = true;
                self.counts.caught += 1;
                self.counts.delays.push(samples, time);
            }
        }
    }
}

impl Event {
    fn reaches(&self, index: u64) -> bool {
        self.first <= index + REACH_BEFORE && index <= self.last + REACH_AFTER
    }
}

fn event_delay(first: u64, at: Option<Timestamp>, row: Row) -> (u64, Option<Duration>) {
    let time = at.zip(row.at).map(|(from, to)| aiops_core::time::since(to, from));
    (row.index.saturating_sub(first), time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `.` nothing, `l` a label, `a` an alert, `b` both.
    fn count(rows: &str) -> EventCounts {
        let mut scorer = EventScorer::default();
        for (index, row) in rows.bytes().enumerate() {
            let at = Timestamp::from_second(60 * i64::try_from(index).unwrap()).ok();
            scorer.push(matches!(row, b'l' | b'b'), matches!(row, b'a' | b'b'), at);
        }
        scorer.finish()
    }

    fn figures(rows: &str) -> [u64; 4] {
        let counts = count(rows);
        [counts.events, counts.caught, counts.episodes, counts.good]
    }

    #[test]
    fn events_and_episodes_are_joined_over_short_gaps() {
        assert_eq!(figures("l..l......."), [1, 0, 0, 0]);
        assert_eq!(figures("l...l......"), [2, 0, 0, 0]);
        assert_eq!(figures("a...a......"), [0, 0, 1, 0]);
        assert_eq!(figures("a....a....."), [0, 0, 2, 0]);
    }

    #[test]
    fn an_event_reaches_one_before_and_three_after() {
        assert_eq!(figures("..al......."), [1, 1, 1, 1]);
        assert_eq!(figures(".a.l......."), [1, 0, 1, 0]);
        assert_eq!(figures("...l..a...."), [1, 1, 1, 1]);
        assert_eq!(figures("...l...a..."), [1, 0, 1, 0]);
        assert_eq!(figures("l..a"), [1, 1, 1, 1]);
    }

    #[test]
    fn an_episode_is_true_from_a_third_within_reach() {
        // Quiet samples between alerts count on both sides of the share.
        assert_eq!(figures(&format!("....al..{}", "a".repeat(11))), [1, 1, 1, 1], "5 of 15");
        assert_eq!(figures(&format!("....al..{}", "a".repeat(12))), [1, 0, 1, 0], "5 of 16");
        assert_eq!(figures(&format!("....l{}", "a".repeat(9))), [1, 1, 1, 1], "3 of 9");
        assert_eq!(figures(&format!("....l{}", "a".repeat(90))), [1, 0, 1, 0], "one that never ends is false");
    }

    #[test]
    fn one_alert_may_catch_two_events_and_one_event_may_have_two_alerts() {
        assert_eq!(figures("l..al......"), [2, 2, 1, 1]);
        assert_eq!(figures("aaaa.....llllllllllb"), [1, 1, 2, 1]);
        assert_eq!(figures("bllllllllllllllb"), [1, 1, 2, 2]);
    }

    #[test]
    fn the_delay_runs_from_the_first_label_to_the_first_alert_of_a_true_episode() {
        let counts = count("......llllbb........albb.....lb");
        assert_eq!((counts.caught, counts.delays.median_samples()), (3, Some(1)), "4, 0 and 1");
        assert_eq!(counts.delays.median_time(), Some(Duration::from_secs(60)));
    }

    #[test]
    fn figures_of_nothing() {
        let counts = EventCounts::default();
        assert_eq!(
            (counts.precision(), counts.recall(), counts.f1(), counts.false_per_thousand()),
            (1.0, 1.0, 1.0, 0.0)
        );
        let counts = count("....l....");
        assert_eq!((counts.precision(), counts.recall(), counts.f1()), (0.0, 0.0, 0.0));
        let counts = count("....a....b");
        assert_eq!((counts.precision(), counts.recall()), (0.5, 1.0));
        assert!((counts.false_per_thousand() - 100.0).abs() < 1e-9);
    }

    /// The rules written out over whole series.
    fn written_out(rows: &[(bool, bool)]) -> [u64; 4] {
        let runs = |on: Vec<usize>, gap: usize| {
            let mut runs: Vec<(usize, usize)> = Vec::new();
            for at in on {
                match runs.last_mut() {
                    Some((_, last)) if at - *last <= gap + 1 => *last = at,
                    _ => runs.push((at, at)),
                }
            }
            runs
        };
        let places = |on: fn(&(bool, bool)) -> bool| (0..rows.len()).filter(|at| on(&rows[*at])).collect();
        let (events, episodes) = (runs(places(|row| row.0), 2), runs(places(|row| row.1), 3));
        let reach = |event: &(usize, usize)| event.0.saturating_sub(1)..=event.1 + 3;
        let is_true = |(from, to): &(usize, usize)| {
            let within = (*from..=*to).filter(|at| events.iter().any(|event| reach(event).contains(at))).count();
            within > 0 && 3 * within > to - from
        };
        let good: Vec<_> = episodes.iter().filter(|episode| is_true(episode)).collect();
        let told = |at: usize| rows[at].1 && good.iter().any(|(from, to)| (*from..=*to).contains(&at));
        let caught = events.iter().filter(|event| (0..rows.len()).any(|at| reach(event).contains(&at) && told(at)));
        [events.len() as u64, caught.count() as u64, episodes.len() as u64, good.len() as u64]
    }

    proptest! {
        #[test]
        fn one_pass_gives_what_the_rules_written_out_give(rows in prop::collection::vec((prop::bool::weighted(0.3), prop::bool::weighted(0.3)), 0..120), thin in 1_usize..5) {
            // Thinned out, so that there are gaps of all lengths.
            let rows: Vec<_> = rows.iter().enumerate().map(|(at, row)| (row.0 && at % 7 < thin, row.1 && at / 9 % 5 < thin)).collect();
            let mut scorer = EventScorer::default();
            rows.iter().for_each(|(labelled, alert)| scorer.push(*labelled, *alert, None));
            let counts = scorer.finish();
            prop_assert_eq!([counts.events, counts.caught, counts.episodes, counts.good], written_out(&rows));
        }
    }
}
