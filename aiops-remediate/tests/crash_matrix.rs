//! Every boundary between the dispatcher and what outlives it: the process dies there, before and after, and
//! another one goes on. Nothing is executed a second time, and no report is left without a disposition.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod common;
mod crash;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aiops_remediate::testing::{FailAction, OneFailpoint, Side};
use common::stores::Kind;
use crash::scenarios::{self, Scenario};
use crash::world::{BEYOND_THE_LOCK, Mended, World};

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
    told_twice: usize,
    /// Reports whose disposition is recorded, and was told to no caller; by where the process died.
    untold: BTreeMap<String, usize>,
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
                self.told_twice += mended.told_twice;
                if mended.untold > 0 {
                    *self.untold.entry(format!("{side:?} {point}")).or_default() += mended.untold;
                }
                if mended.second + mended.without > 0 {
                    self.wrong.push(format!("{}, {cell:?}: {mended:?}", scenario.name));
                }
            }
            Err(why) => self.wrong.push(format!("{}, {cell:?}: {why}", scenario.name)),
        }
    }
}

fn world(kind: Kind, scenario: &Scenario) -> World {
    World::new(kind, &format!("{kind:?}"), scenario.policy.clone())
}

/// Lets a scenario run in a world, with this failpoint in its last process.
async fn run(scenario: &Scenario, world: &World, failpoint: OneFailpoint) -> Arc<OneFailpoint> {
    if let Some((point, script)) = &scenario.before {
        let dies = OneFailpoint::new(*point, 0, Side::After, FailAction::Crash);
        let process = world.start("first", dies);
        let died = process.failpoint.run(script(&process)).await.is_none();
        assert!(died, "{}: the first process lives on", scenario.name);
        world.outside.clock.advance(BEYOND_THE_LOCK);
    }
    let process = world.start("second", failpoint);
    let _ = process.failpoint.run((scenario.script)(&process)).await;
    Arc::clone(&process.failpoint)
}

async fn come_to(scenario: &Scenario, kind: Kind, cell: &Cell) -> Result<Mended, String> {
    let world = world(kind, scenario);
    let Cell { point, nth, side, action } = cell.clone();
    if !run(scenario, &world, OneFailpoint::new(point, nth, side, action)).await.fired() {
        return Err("it was not come to".to_owned());
    }
    world.mended().await
}

/// Runs every scenario once to see which boundaries it passes, and then once for each place.
async fn matrix(kind: Kind, action: FailAction) -> Sum {
    let all = !kind.is_on_disk() || std::env::var_os("CRASH_MATRIX").is_some_and(|cells| cells == "all");
    let most = if all { usize::MAX } else { ON_DISK };
    let (mut sum, mut died) = (Sum::default(), BTreeMap::new());
    for scenario in scenarios::all() {
        let world = world(kind, &scenario);
        let passed = run(&scenario, &world, OneFailpoint::none()).await.passed();
        let mended = world.mended().await;
        let as_it_must_be = mended.as_ref().is_ok_and(|mended| mended.untold + mended.told_twice == 0);
        assert!(as_it_must_be, "{}: without a crash: {mended:?}", scenario.name);
        drop(world);
        for ((point, side), times) in passed {
            let before: &mut usize = died.entry((point.clone(), side)).or_default();
            let times = times.min(most - *before);
            *before += times;
            for nth in 0..times {
                let cell = Cell { point: point.clone(), side, nth, action };
                sum.add(&scenario, &cell, come_to(&scenario, kind, &cell).await);
            }
        }
    }
    let Sum { cells, wrong, .. } = &sum;
    assert!(wrong.is_empty(), "{kind:?}: {} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    sum
}

fn in_a_runtime(kind: Kind, action: FailAction) -> Sum {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(matrix(kind, action))
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
    let (cells, second, without) = (total(|sum| sum.cells), total(|sum| sum.second), total(|sum| sum.without));
    println!("recorded, and told to no caller, by where the process died, over the first store: {:#?}", sums[0].untold);
    println!("of {} cells {}", sums[0].cells, sums[0].untold.values().sum::<usize>());
    println!(
        "crash matrix: points {} cells {cells} second executions {second} without disposition {without}",
        points.len()
    );
    assert!(points.len() >= POINTS, "{points:?}");
    assert_eq!((second, without), (0, 0));
    assert_eq!(total(|sum| sum.told_twice), 0, "told twice");
}

/// The process lives, and the call fails: before or after it happened.
#[test]
fn a_call_that_fails_at_any_boundary_does_nothing_twice_and_leaves_nothing_open() {
    let Sum { points, cells, second, without, untold, .. } = in_a_runtime(Kind::Memory, FailAction::Fail);
    println!("recorded, and told to no caller, by what failed: {untold:#?}");
    println!(
        "failing calls: points {} cells {cells} second executions {second} without disposition {without}",
        points.len()
    );
    assert!(points.len() >= POINTS, "{points:?}");
    assert_eq!((second, without), (0, 0));
}
