//! Every boundary between the dispatcher and what outlives it: the process dies there, before and after, and
//! another one goes on. Nothing is executed a second time, and no report is left without a disposition.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod common;
mod crash;
#[cfg(feature = "redis")]
mod redis_server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aiops_remediate::testing::{FailAction, OneFailpoint, Side};
use common::stores::Kind;
use crash::scenarios::{self, Scenario};
use crash::world::{Mended, World};

/// The least number of boundaries that the scenarios must come to.
const POINTS: usize = 40;
/// At each side of each boundary so many processes die over a store on disk, unless `CRASH_MATRIX=all`; over the
/// one in memory as many as there are places in the scenarios.
const ON_DISK: usize = 3;

/// One place, and what happens there.
#[derive(Debug, Clone)]
struct Cell {
    point: String,
    side: Side,
    nth: usize,
    action: FailAction,
}

/// What came of all cells of a store.
#[derive(Debug, Default)]
struct Sum {
    points: BTreeSet<String>,
    cells: usize,
    second: usize,
    without: usize,
    /// Reports whose disposition is recorded, and was told to no caller.
    untold: usize,
    /// Reports whose disposition was told twice, by where the process died.
    told_twice: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Sum {
    fn add(&mut self, scenario: &Scenario, cell: &Cell, came: Result<Mended, String>) {
        self.cells += 1;
        let Cell { point, side, .. } = cell;
        self.points.insert(point.clone());
        match came {
            Ok(mended) => {
                self.second += mended.second;
                self.without += mended.without;
                self.untold += mended.untold;
                if mended.told_twice > 0 {
                    *self.told_twice.entry(format!("{side:?} {point}")).or_default() += mended.told_twice;
                }
                if mended.second + mended.without + mended.untold > 0 {
                    self.wrong.push(format!("{}, {cell:?}: {mended:?}", scenario.name));
                }
            }
            Err(why) => self.wrong.push(format!("{}, {cell:?}: {why}", scenario.name)),
        }
    }
}

/// Lets a scenario run in a world, with this failpoint in its last process.
async fn run(scenario: &Scenario, world: &World, failpoint: OneFailpoint) -> Arc<OneFailpoint> {
    if let Some((point, script)) = &scenario.before {
        let dies = OneFailpoint::new(*point, 0, Side::After, FailAction::Crash);
        let process = world.start("first", dies);
        let died = process.failpoint.run(script(&process)).await.is_none();
        assert!(died, "{}: the first process lives on", scenario.name);
        world.beyond_the_locks().await;
    }
    let process = world.start("second", failpoint);
    let _ = process.failpoint.run((scenario.script)(&process)).await;
    Arc::clone(&process.failpoint)
}

async fn come_to(scenario: &Scenario, world: World, cell: &Cell) -> Result<Mended, String> {
    let Cell { point, nth, side, action } = cell.clone();
    if !run(scenario, &world, OneFailpoint::new(point, nth, side, action)).await.fired() {
        return Err("it was not come to".to_owned());
    }
    world.mended().await
}

/// Runs every scenario once to see which boundaries it passes, and then once for each place.
async fn matrix(store: &str, few: bool, action: FailAction, world: impl AsyncFn(&Scenario) -> World) -> Sum {
    let all = std::env::var_os("CRASH_MATRIX").is_some_and(|cells| cells == "all");
    let most = if few && !all { ON_DISK } else { usize::MAX };
    let (mut sum, mut died) = (Sum::default(), BTreeMap::new());
    for scenario in scenarios::all() {
        let new = world(&scenario).await;
        let passed = run(&scenario, &new, OneFailpoint::none()).await.passed();
        let mended = new.mended().await;
        let as_it_must_be = mended.as_ref().is_ok_and(|mended| mended.untold + mended.told_twice == 0);
        assert!(as_it_must_be, "{}: without a crash: {mended:?}", scenario.name);
        drop(new);
        for ((point, side), times) in passed {
            let before: &mut usize = died.entry((point.clone(), side)).or_default();
            let times = times.min(most - *before);
            *before += times;
            for nth in 0..times {
                let cell = Cell { point: point.clone(), side, nth, action };
                let came = come_to(&scenario, world(&scenario).await, &cell).await;
                sum.add(&scenario, &cell, came);
            }
        }
    }
    let Sum { cells, wrong, .. } = &sum;
    assert!(wrong.is_empty(), "{store}: {} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    sum
}

fn in_a_runtime(kind: Kind, action: FailAction) -> Sum {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let store = format!("{kind:?}");
    let world = async |scenario: &Scenario| World::new(kind, &store, scenario.policy.clone());
    runtime.block_on(matrix(&store, kind.is_on_disk(), action, world))
}

/// Locks of a dead process end by the server's clock, which is not turned: they are taken away in its place.
#[cfg(feature = "redis")]
#[tokio::test]
#[ignore = "needs redis: .ci/services up redis"]
async fn over_redis_too() {
    let world = async |scenario: &Scenario| {
        let prefix = redis_server::fresh("crash");
        let store = aiops_remediate::RedisStore::connect(&redis_server::shared_url(), &prefix).await.unwrap();
        World::on_a_server(Arc::new(store), scenario.policy.clone())
    };
    let Sum { points, cells, second, without, untold, .. } = matrix("Redis", true, FailAction::Crash, world).await;
    println!(
        "crash matrix over redis: points {} cells {cells} second executions {second} without disposition {without} \
         untold {untold}",
        points.len()
    );
    assert!(points.len() >= POINTS, "{points:?}");
    assert_eq!((second, without, untold), (0, 0, 0));
}

#[test]
fn a_process_that_dies_at_any_boundary_does_nothing_twice_and_leaves_nothing_open() {
    let died = |kind: &Kind| {
        let kind = *kind;
        std::thread::spawn(move || in_a_runtime(kind, FailAction::Crash))
    };
    let threads: Vec<_> = Kind::ALL.iter().map(died).collect();
    let sums: Vec<Sum> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let points: BTreeSet<&String> = sums.iter().flat_map(|sum| &sum.points).collect();
    for point in &points {
        println!("  {point}");
    }
    let total = |of: fn(&Sum) -> usize| sums.iter().map(of).sum::<usize>();
    let (cells, untold) = (total(|sum| sum.cells), total(|sum| sum.untold));
    let (second, without) = (total(|sum| sum.second), total(|sum| sum.without));
    println!("told twice, by where the process died, over the first store: {:#?}", sums[0].told_twice);
    println!(
        "crash matrix: points {} cells {cells} second executions {second} without disposition {without} untold {untold}",
        points.len()
    );
    assert!(points.len() >= POINTS, "{points:?}");
    assert_eq!((second, without, untold), (0, 0, 0));
    // Who dies after telling and before that is noted leaves it to be told again.
    for (place, _) in sums.iter().flat_map(|sum| &sum.told_twice) {
        assert_eq!(place, "Before store.note_told", "told twice");
    }
}

/// The process lives, and the call fails: before or after it happened.
#[test]
fn a_call_that_fails_at_any_boundary_does_nothing_twice_and_leaves_nothing_open() {
    let Sum { points, cells, second, without, untold, told_twice, .. } = in_a_runtime(Kind::Memory, FailAction::Fail);
    println!("told twice, by what failed: {told_twice:#?}");
    println!(
        "failing calls: points {} cells {cells} second executions {second} without disposition {without} untold {untold}",
        points.len()
    );
    assert!(points.len() >= POINTS, "{points:?}");
    assert_eq!((second, without, untold), (0, 0, 0));
}
