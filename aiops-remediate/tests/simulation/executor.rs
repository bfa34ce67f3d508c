//! Runs the tasks of a world in one thread: which of those that can go on does is drawn by chance; when none
//! can, time moves to whatever is waited for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use super::faults::Fault;
use super::process;
use super::world::{Task, World};

struct Flag {
    task: usize,
    woken: AtomicBool,
    ready: Arc<Mutex<Vec<usize>>>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap().push(self.task);
        }
    }
}

struct Running {
    owner: Option<usize>,
    future: Task,
    flag: Arc<Flag>,
    waker: Waker,
}

pub(crate) struct Executor {
    world: World,
    tasks: BTreeMap<usize, Running>,
    next: usize,
    ready: Arc<Mutex<Vec<usize>>>,
    /// Tasks that were woken while their process stood still.
    held: Vec<usize>,
}

impl Executor {
    pub(crate) fn new(world: World) -> Self {
        Self { world, tasks: BTreeMap::new(), next: 1, ready: Arc::default(), held: Vec::new() }
    }

    /// Runs until the time, or until an invariant is broken.
    pub(crate) fn run_until(&mut self, until: i64) {
        loop {
            self.adopt();
            if self.world.with(|inner| inner.violation.is_some()) {
                return;
            }
            let Some(task) = self.pick() else {
                if !self.pass_time(until) {
                    return;
                }
                continue;
            };
            self.poll(task);
        }
    }

    fn adopt(&mut self) {
        for (owner, future) in self.world.with(|inner| std::mem::take(&mut inner.spawned)) {
            let task = self.next;
            self.next += 1;
            let ready = Arc::clone(&self.ready);
            let flag = Arc::new(Flag { task, woken: AtomicBool::new(false), ready });
            flag.wake_by_ref();
            let waker = Waker::from(Arc::clone(&flag));
            self.tasks.insert(task, Running { owner, future, flag, waker });
        }
    }

    /// One of the tasks that can go on.
    fn pick(&mut self) -> Option<usize> {
        let mut ready = self.ready.lock().unwrap();
        while !ready.is_empty() {
            let place = self.world.with(|inner| inner.random.index(ready.len()));
            let task = ready.swap_remove(place);
            let Some(running) = self.tasks.get(&task) else { continue };
            let stands = |process: usize| self.world.with(|inner| inner.processes[process].paused_until > inner.now);
            if running.owner.is_some_and(stands) {
                self.held.push(task);
                continue;
            }
            return Some(task);
        }
        None
    }

    fn poll(&mut self, task: usize) {
        let Some(running) = self.tasks.get(&task) else { return };
        running.flag.woken.store(false, Ordering::Relaxed);
        if let Some(process) = running.owner {
            let (crash, pause) = self.world.with(|inner| {
                let polled = &mut inner.processes[process];
                let crash = polled.crash_in.as_mut().is_some_and(|left| {
                    *left = left.saturating_sub(1);
                    *left == 0
                });
                let pause = polled.pause_in.as_mut().and_then(|(left, time)| {
                    *left = left.saturating_sub(1);
                    (*left == 0).then_some(*time)
                });
                (crash, pause)
            });
            if crash {
                self.world.with(|inner| inner.fired(Fault::Crash));
                return self.crash(process);
            }
            if let Some(time) = pause {
                self.world.with(|inner| {
                    inner.fired(Fault::Pause);
                    let until = inner.now + time;
                    let paused = &mut inner.processes[process];
                    (paused.pause_in, paused.paused_until) = (None, until);
                });
                self.held.push(task);
                let world = self.world.clone();
                let wait = async move { world.sleep(time).await };
                self.world.with(|inner| inner.spawn(None, wait));
                return;
            }
        }
        let Some(running) = self.tasks.get_mut(&task) else { return };
        self.world.with(|inner| inner.current = task);
        if running.future.as_mut().poll(&mut Context::from_waker(&running.waker)).is_ready() {
            self.tasks.remove(&task);
            self.world.with(|inner| drop(inner.seen.tasks.remove(&task)));
        }
        if self.world.with(|inner| std::mem::take(&mut inner.seen.power_cut)) {
            let all = self.world.with(|inner| inner.running());
            all.into_iter().for_each(|process| self.crash(process));
            self.world.with(process::lose_writes);
        }
    }

    fn crash(&mut self, process: usize) {
        let gone: Vec<usize> =
            self.tasks.iter().filter(|(_, running)| running.owner == Some(process)).map(|(task, _)| *task).collect();
        let dispatcher = self.world.with(|inner| {
            inner.crashes += 1;
            inner.note(format_args!("p{process} crashes"));
            let crashed = &mut inner.processes[process];
            crashed.crash_in = None;
            crashed.paused_until = 0;
            crashed.dispatcher.take()
        });
        for task in gone {
            self.tasks.remove(&task);
            self.world.with(|inner| inner.seen.cut(task));
        }
        drop(dispatcher);
        let world = self.world.clone();
        self.world.with(|inner| {
            // Mostly at once, sometimes later than all locks.
            let wait = if inner.random.in_1000(700) {
                inner.random.between(1_000, 60_000)
            } else {
                inner.random.between(60_000, 1_500_000)
            };
            inner.spawn(None, async move {
                world.sleep(wait).await;
                process::start(&world, process);
            });
        });
    }

    /// Moves the time to the next timer; `false` where there is none until then.
    fn pass_time(&mut self, until: i64) -> bool {
        let due = self.world.with(|inner| {
            let (&(when, _), _) = inner.timers.iter().next()?;
            if when > until {
                return None;
            }
            inner.now = inner.now.max(when);
            let mut due = Vec::new();
            while let Some(entry) = inner.timers.first_entry().filter(|entry| entry.key().0 <= inner.now) {
                due.push(entry.remove().1);
            }
            Some(due)
        });
        let Some(due) = due else {
            self.world.with(|inner| inner.now = until);
            return false;
        };
        due.into_iter().for_each(|waker| waker.wake());
        // Whoever stood still may go on by now.
        let held = std::mem::take(&mut self.held);
        self.ready.lock().unwrap().extend(held);
        true
    }
}
