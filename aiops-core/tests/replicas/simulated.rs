//! Thousands of episodes, three replicas, and in each wave of episodes one thing that goes wrong.
//! `REPLICA_EPISODES` sets how many (default 480), `REPLICA_SEED` the seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aiops_core::jiff::SignedDuration;
use aiops_core::{MemoryStateStore, StateStore};

use crate::support::{Cluster, EVERY, Page, after};

/// Episodes at a time.
const SERVICES: usize = 20;
const REPLICAS: usize = 3;
/// Rounds in which the anomalies are there, and in all.
const FIRING: u64 = 3;
const ROUNDS: u64 = 10;

/// Splitmix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn place(&mut self) -> usize {
        usize::try_from(self.below(REPLICAS as u64)).unwrap()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Nothing,
    ReceiverDown,
    AllAtOnce,
    Disagree,
    DifferentTimes,
    Restart,
    Skew,
    LostAnswer,
    /// With a page that the receiver does not take, and for longer than others wait for it.
    StandsStill,
    DiesBeforeAPage,
    DiesAfterAPage,
    Partition,
}

const ALL: [Wrong; 12] = [
    Wrong::Nothing,
    Wrong::ReceiverDown,
    Wrong::AllAtOnce,
    Wrong::Disagree,
    Wrong::DifferentTimes,
    Wrong::Restart,
    Wrong::Skew,
    Wrong::LostAnswer,
    Wrong::StandsStill,
    Wrong::DiesBeforeAPage,
    Wrong::DiesAfterAPage,
    Wrong::Partition,
];

/// Episodes, and pages of their beginning.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    episodes: usize,
    missed: usize,
    twice: usize,
    more: usize,
    /// Pages of one episode with different incidents.
    unfolded: usize,
    ends_missed: usize,
    ends_twice: usize,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

async fn simulate(store: impl StateStore, episodes: usize) -> BTreeMap<Wrong, Tally> {
    let mut dice = Dice(setting("REPLICA_SEED", 9));
    let mut cluster = Cluster::new(store, REPLICAS);
    let services: Vec<String> = (0..SERVICES).map(|number| format!("service-{number}")).collect();
    let mut tallies = BTreeMap::<Wrong, Tally>::new();
    let mut round = 0;
    for wave in 0..episodes.div_ceil(SERVICES) {
        let wrong = ALL[wave % ALL.len()];
        let (hit, since) = (dice.place(), dice.below(2));
        // Reaches every replica before the anomalies begin.
        run(&mut cluster, round, wrong, None).await;
        cluster.receiver.take();
        cluster.set(&services, true);
        for step in 0..ROUNDS {
            round += 1;
            if step == FIRING {
                cluster.set(&services, false);
            }
            if step == since {
                begin(&mut cluster, wrong, hit, &mut dice, &services);
            }
            if step == since + 2 {
                stop(&mut cluster, wrong);
            }
            if wrong == Wrong::Restart && step < 4 {
                let place = dice.place();
                // Under its name, or for ever, with what it had under way.
                let name = if dice.below(2) == 0 { format!("r{round}") } else { cluster.replicas[place].name.clone() };
                cluster.restart(place, &name);
            }
            let stopped = (wrong == Wrong::StandsStill && (since + 1..since + 6).contains(&step)).then_some(hit);
            run(&mut cluster, round, wrong, stopped).await;
        }
        for replica in &mut cluster.replicas {
            replica.skew = SignedDuration::ZERO;
            replica.own_view.lock().unwrap().clear();
        }
        // The clock that was ahead is caught up with.
        round += 10;
        count(tallies.entry(wrong).or_default(), &cluster.receiver.take(), &services);
    }
    tallies
}

fn begin(cluster: &mut Cluster, wrong: Wrong, hit: usize, dice: &mut Dice, services: &[String]) {
    let victim = &mut cluster.replicas[hit];
    match wrong {
        Wrong::ReceiverDown | Wrong::StandsStill => cluster.receiver.down.store(true, Ordering::Relaxed),
        Wrong::Disagree => {
            let mut view = victim.own_view.lock().unwrap();
            view.extend(services.iter().map(|service| (service.clone(), dice.below(2) == 0)));
        }
        Wrong::Skew => victim.skew = SignedDuration::from_millis(i64::try_from(dice.below(60_000)).unwrap()),
        Wrong::LostAnswer => victim.faults.loses_an_answer.store(true, Ordering::Relaxed),
        Wrong::DiesBeforeAPage => victim.faults.dies_before_a_page.store(true, Ordering::Relaxed),
        Wrong::DiesAfterAPage => victim.faults.dies_after_a_page.store(true, Ordering::Relaxed),
        Wrong::Partition => victim.faults.cut.store(true, Ordering::Relaxed),
        Wrong::Nothing | Wrong::AllAtOnce | Wrong::DifferentTimes | Wrong::Restart => {}
    }
}

fn stop(cluster: &mut Cluster, wrong: Wrong) {
    cluster.receiver.down.store(false, Ordering::Relaxed);
    for replica in &cluster.replicas {
        let faults = &replica.faults;
        for fault in [&faults.cut, &faults.dies_before_a_page, &faults.dies_after_a_page] {
            fault.store(false, Ordering::Relaxed);
        }
        if wrong == Wrong::Disagree {
            replica.own_view.lock().unwrap().clear();
        }
    }
}

async fn run(cluster: &mut Cluster, round: u64, wrong: Wrong, stopped: Option<usize>) {
    match wrong {
        Wrong::AllAtOnce => {
            let bus = Arc::clone(&cluster.bus);
            let [a, b, c] = &mut cluster.replicas[..] else { panic!("three replicas") };
            let at = after(round * EVERY);
            tokio::join!(a.tick(at, &bus), b.tick(at, &bus), c.tick(at, &bus));
        }
        Wrong::DifferentTimes => {
            for place in 0..REPLICAS {
                cluster.tick(place, after(round * EVERY + 3 * place as u64)).await;
            }
        }
        _ => cluster.round_without(stopped, after(round * EVERY)).await,
    }
}

fn count(tally: &mut Tally, pages: &[Page], services: &[String]) {
    for service in services {
        let of = |word: &'static str| pages.iter().filter(move |page| page.word == word && page.service == *service);
        tally.episodes += 1;
        match of("announced").count() {
            0 => tally.missed += 1,
            1 => {}
            2 => tally.twice += 1,
            _ => tally.more += 1,
        }
        let mut incidents: Vec<&str> = of("announced").map(|page| page.incident.as_str()).collect();
        incidents.dedup();
        tally.unfolded += usize::from(incidents.len() > 1);
        match of("resolved").count() {
            0 => tally.ends_missed += 1,
            1 => {}
            _ => tally.ends_twice += 1,
        }
    }
}

/// What must hold whatever goes wrong, and the figures.
fn check(tallies: &BTreeMap<Wrong, Tally>) {
    for (wrong, tally) in tallies {
        println!("{wrong:?}: {tally:?}");
        assert_eq!((tally.missed, tally.more, tally.unfolded), (0, 0, 0), "{wrong:?}: {tally:?}");
        assert_eq!(tally.ends_missed, 0, "{wrong:?}: {tally:?}");
        // One on each side of a partition; and one more where nobody can know whether the first is out.
        if !matches!(wrong, Wrong::Partition | Wrong::DiesAfterAPage) {
            assert_eq!((tally.twice, tally.ends_twice), (0, 0), "{wrong:?}: {tally:?}");
        }
    }
    let episodes: usize = tallies.values().map(|tally| tally.episodes).sum();
    println!("{episodes} episodes, {REPLICAS} replicas");
}

#[tokio::test]
async fn three_replicas_page_once_unless_they_are_parted() {
    let episodes = usize::try_from(setting("REPLICA_EPISODES", 480)).unwrap();
    check(&simulate(MemoryStateStore::default(), episodes).await);
}

#[cfg(feature = "redis")]
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn three_replicas_on_redis_page_once_unless_they_are_parted() {
    let episodes = usize::try_from(setting("REPLICA_EPISODES", 480)).unwrap();
    check(&simulate(crate::support::redis("simulated").await, episodes).await);
}
