//! Every decision and every count equals that of a model that was written on its own, from the
//! description: so no new identity, no rise in severity and no re-opened episode is lost, and none
//! is announced twice.

use std::collections::BTreeMap;

use aiops_core::{
    CorrelationDecision as D, Correlator, Live, MaintenanceWindow, MaintenanceWindows, Severity, Sighting,
};
use proptest::prelude::*;

use crate::support::{EVERY, HOUR, MINUTE, at, correlator, event, identity, seconds};

const GAP: i64 = 10 * MINUTE;
const CLEAR: i64 = 5 * MINUTE;
/// Windows in which the first service is held; half-open.
const HELD: [(i64, i64); 2] = [(0, 10 * MINUTE), (2 * HOUR, 3 * HOUR)];
const IDENTITIES: [(&str, &str); 3] = [("a", "x"), ("a", "y"), ("b", "x")];
const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

#[derive(Debug, Clone, Copy)]
enum Op {
    /// Identity, severity, and how long ago it was observed.
    Fire(usize, usize, i64),
    Resolve(usize),
    Normal(usize),
}

#[derive(Debug, Default)]
struct Episode {
    firing: i64,
    seen: i64,
    arrived: i64,
    normal_since: Option<i64>,
    /// Severity and time of each announcement; the times never go back.
    said: Vec<(usize, i64)>,
    repeats: u64,
    held: u64,
}

#[derive(Debug, Default)]
struct Model {
    open: BTreeMap<usize, Episode>,
    ended: BTreeMap<usize, i64>,
    /// Held sightings of episodes that ended before anything was announced.
    carried: BTreeMap<usize, u64>,
}

impl Model {
    fn end(&mut self, who: usize, when: i64) -> D {
        let ended = self.ended.entry(who).or_insert(when);
        *ended = when.max(*ended);
        let Some(episode) = self.open.remove(&who) else { return D::Ignored };
        if episode.said.is_empty() {
            *self.carried.entry(who).or_default() += episode.held;
            return D::Ignored;
        }
        D::Resolved
    }

    /// Episodes that silence ended by now: how many of them had been announced.
    fn silence(&mut self, now: i64) -> usize {
        let over: Vec<(usize, i64)> = self
            .open
            .iter()
            .filter(|(_, episode)| now >= episode.seen.max(episode.arrived) + GAP)
            .map(|(who, episode)| (*who, episode.seen + GAP))
            .collect();
        over.into_iter().filter(|(who, when)| self.end(*who, *when) == D::Resolved).count()
    }

    fn fire(&mut self, who: usize, severity: usize, observed: i64, now: i64) -> (D, u64, usize) {
        if observed < now - HOUR || observed > now + 5 * MINUTE {
            return (D::Ignored, 0, 0);
        }
        let mut resolved = 0;
        if let Some(over) = self.open.get(&who).map(|episode| episode.seen + GAP).filter(|over| observed >= *over) {
            resolved += usize::from(self.end(who, over) == D::Resolved);
        }
        if self.ended.get(&who).is_some_and(|ended| observed < *ended) {
            return (D::Ignored, 0, resolved);
        }
        let fresh = || Episode { firing: observed, seen: observed, ..Episode::default() };
        let episode = self.open.entry(who).or_insert_with(fresh);
        if observed >= episode.firing {
            episode.normal_since = None;
        }
        episode.firing = episode.firing.max(observed);
        episode.seen = episode.seen.max(observed);
        episode.arrived = now;
        let carried = self.carried.entry(who).or_default();
        if IDENTITIES[who].0 == "a" && HELD.iter().any(|(from, to)| (*from..*to).contains(&observed)) {
            episode.held += 1;
            return (D::Suppressed, episode.held + *carried, resolved);
        }
        let quiet = |mark: i64| observed >= mark + HOUR;
        let announce = match episode.said.last() {
            None => true,
            Some((last, _)) if severity > *last => {
                episode.said.iter().filter(|(said, _)| *said == severity).all(|(_, mark)| quiet(*mark))
            }
            Some((_, mark)) => quiet(*mark),
        };
        if announce {
            let count =
                std::mem::take(&mut episode.held) + std::mem::take(&mut episode.repeats) + std::mem::take(carried);
            let mark = episode.said.last().map_or(observed, |(_, mark)| observed.max(*mark));
            episode.said.push((severity, mark));
            return (D::Announced, count, resolved);
        }
        episode.repeats += 1;
        (D::Repeat, episode.repeats, resolved)
    }

    fn resolve(&mut self, who: usize, now: i64) -> D {
        match self.open.get(&who) {
            Some(episode) if now < episode.firing => D::Ignored,
            _ => self.end(who, now),
        }
    }

    fn normal(&mut self, who: usize, now: i64) -> Option<D> {
        let episode = self.open.get_mut(&who).filter(|episode| now >= episode.firing)?;
        episode.seen = episode.seen.max(now);
        episode.arrived = now;
        let since = *episode.normal_since.get_or_insert(now);
        if now < since + CLEAR {
            return None;
        }
        Some(self.end(who, now)).filter(|decision| *decision == D::Resolved)
    }
}

fn subject() -> Correlator {
    let window = |(from, to)| MaintenanceWindow::Once { from: at(from), to: at(to), services: vec!["a".into()] };
    let windows = MaintenanceWindows::new(HELD.map(window)).unwrap();
    correlator(r#"{"flapping":{"changes":0,"window":"30m"}}"#).with_maintenance(Live::new(windows))
}

fn op() -> impl Strategy<Value = Op> {
    let lag = prop_oneof![
        6 => Just(0i64),
        1 => prop::sample::select(vec![1, 60, 299, 599, 600, 601, HOUR, HOUR + 1, -60, -300, -301]),
    ];
    prop_oneof![
        7 => (0..IDENTITIES.len(), 0..3usize, lag).prop_map(|(who, severity, lag)| Op::Fire(who, severity, lag)),
        2 => (0..IDENTITIES.len()).prop_map(Op::Resolve),
        2 => (0..IDENTITIES.len()).prop_map(Op::Normal),
    ]
}

fn step() -> impl Strategy<Value = (i64, Op)> {
    let pause = prop::sample::select(vec![0, 0, 30, 30, 60, 299, 300, 301, 599, 600, 601, 1_800, 3_599, 3_600]);
    (pause, op())
}

/// Runs both and compares every decision and count.
fn compare(steps: &[(i64, Op)]) -> Result<(), TestCaseError> {
    let (mut subject, mut model) = (subject(), Model::default());
    // (episode, severity) to the time of its last announcement.
    let mut announced: BTreeMap<(String, Severity), i64> = BTreeMap::new();
    let mut now = 0;
    for (pause, op) in steps {
        now += pause;
        prop_assert_eq!(subject.advance(at(now)).len(), model.silence(now), "ended by silence by {}", now);
        let of = |who: usize| identity(IDENTITIES[who].0, IDENTITIES[who].1);
        match *op {
            Op::Fire(who, severity, lag) => {
                let observed = now - lag;
                let (decision, count, resolved) = model.fire(who, severity, observed, now);
                let event = event(observed, IDENTITIES[who].0, IDENTITIES[who].1, SEVERITIES[severity]);
                let got = subject.observe(event, at(now));
                prop_assert_eq!((got.decision, got.count), (decision, count), "{:?} at {}", op, now);
                prop_assert_eq!(subject.advance(at(now)).len(), resolved);
                if got.decision == D::Announced {
                    let event = got.event.unwrap();
                    let key = (event.episode_id.clone().unwrap().to_string(), event.severity);
                    let observed = seconds(event.observed());
                    if let Some(before) = announced.insert(key, observed) {
                        prop_assert!(observed - before >= HOUR, "announced at {} and {}", before, observed);
                    }
                }
            }
            Op::Resolve(who) => {
                let got = subject.resolve(&of(who), at(now), at(now));
                prop_assert_eq!(got.decision, model.resolve(who, now), "{:?} at {}", op, now);
            }
            Op::Normal(who) => {
                let got = subject.sight(Sighting::Normal(of(who)), EVERY, at(now));
                prop_assert_eq!(got.map(|got| got.decision), model.normal(who, now), "{:?} at {}", op, now);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(crate::support::cases())]
    #[test]
    fn on_random_histories(steps in prop::collection::vec(step(), 1..24)) {
        compare(&steps)?;
    }
}

#[test]
fn on_a_late_rise_the_renotify_clock_does_not_go_back() {
    let steps =
        [(1_200, Op::Fire(2, 1, 0)), (0, Op::Fire(2, 2, 300)), (600, Op::Normal(2)), (3_000, Op::Fire(2, 1, 0))];
    compare(&steps).unwrap();
}
