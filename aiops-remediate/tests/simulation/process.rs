//! A process: a dispatcher, and the host around it that hands it reports and calls its timer.

use std::sync::Arc;
use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use aiops_core::{Clock, DetectionEvent, Responder, Response, Triaged};
use aiops_remediate::{Dispatcher, EpisodeKey, MemoryStore, ReportId};

use super::checks;
use super::faults::Fault;
use super::plugins::{Acts, Audit, Numbers, OnCall};
use super::store::FarStore;
use super::story;
use super::world::{Inner, MINUTE, ProcessClock, SECOND, World, turn};

/// The stage waits so long for an answer.
const DEADLINE: Duration = Duration::from_secs(240);

/// Starts a process: a new dispatcher over the shared store, and its timer.
pub(crate) fn start(world: &World, process: usize) {
    let clock = world.clock_of(process);
    let (policy, holder, catalogue) = world.with(|inner| {
        let starting = &mut inner.processes[process];
        starting.starts += 1;
        let holder = format!("p{process}.{}", starting.starts);
        (inner.policy.clone(), holder, story::catalogue())
    });
    let mut builder = Dispatcher::builder(catalogue, policy)
        .store(FarStore { world: world.clone(), process })
        .probe(Numbers(world.clone()))
        .audit(Audit(world.clone()))
        .redactor(aiops_core::Redactor::none())
        .authoriser(OnCall)
        .with_clock(clock)
        .holder(holder);
    for name in story::ACTIONS {
        builder = builder.handler(Acts { world: world.clone(), process, name });
    }
    let random = world.clone();
    let draw = move || {
        let half = || random.with(|inner| inner.random.next()).to_be_bytes();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&half());
        bytes[8..].copy_from_slice(&half());
        Ok(bytes)
    };
    let dispatcher = Arc::new(builder.random(draw).build().unwrap());
    world.with(|inner| {
        inner.note(format_args!("p{process} starts"));
        inner.processes[process].dispatcher = Some(Arc::clone(&dispatcher));
        inner.spawn(Some(process), timer(world.clone(), process, dispatcher));
    });
}

/// Calls `recover` at the start, every half minute, and when the dispatcher asks for it.
async fn timer(world: World, process: usize, dispatcher: Arc<Dispatcher>) {
    let clock = world.clock_of(process);
    loop {
        let now = clock.now();
        let found = match guarded(&clock, plus(now, DEADLINE), dispatcher.recover(now)).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Vec::new(),
            Err(_) => {
                world.with(|inner| inner.seen.cut(inner.current));
                Vec::new()
            }
        };
        for recovered in found {
            tell(&world, &clock, &dispatcher, &recovered.triaged, &recovered.response).await;
        }
        let every =
            Duration::from_secs(world.with(|inner| if inner.now < super::world::QUIET_FROM { 30 } else { 120 }));
        tokio::select! {
            biased;
            () = dispatcher.woken() => {}
            () = clock.sleep_until(plus(clock.now(), every)) => {}
        }
    }
}

/// A message of the bus.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Report(Box<Triaged>),
    Resolved(Box<DetectionEvent>),
}

/// The bus delivers a message until it is acked.
pub(crate) fn publish(world: &World, message: Message, after: i64) {
    let number = world.with(|inner| {
        inner.messages += 1;
        let number = inner.messages;
        inner.unacked.insert(number);
        number
    });
    let carrier = carry(world.clone(), number, message, after);
    world.with(|inner| inner.spawn(None, carrier));
}

async fn carry(world: World, number: u64, message: Message, after: i64) {
    let delay = world.with(|inner| {
        if inner.fires(Fault::Delayed, 300) {
            inner.random.between(MINUTE, 20 * MINUTE)
        } else if inner.fires(Fault::Reordered, 400) {
            inner.random.between(0, 20 * SECOND)
        } else {
            0
        }
    });
    world.sleep(after + delay).await;
    while world.with(|inner| inner.unacked.contains(&number)) {
        let (to, again) = world.with(|inner| {
            let running = inner.running();
            if running.is_empty() || inner.fires(Fault::Dropped, 250) {
                return (Vec::new(), inner.random.between(5 * SECOND, 90 * SECOND));
            }
            let mut to = vec![*inner.random.pick(&running)];
            if inner.fires(Fault::Duplicated, 250) {
                to.push(*inner.random.pick(&running));
            }
            // Where something goes on, a crash or a pause finds something.
            let process = to[0];
            if inner.may(Fault::Crash) && inner.random.in_1000(350) {
                inner.processes[process].crash_in = Some(1 + inner.random.below(90));
            }
            if inner.may(Fault::Pause) && inner.random.in_1000(350) {
                let time = inner.random.between(9 * MINUTE, 16 * MINUTE);
                inner.processes[process].pause_in = Some((1 + inner.random.below(90), time));
            }
            (to, inner.random.between(300 * SECOND, 360 * SECOND))
        });
        for process in to {
            if let Some(dispatcher) = world.dispatcher(process) {
                let task = deliver(world.clone(), process, dispatcher, number, message.clone());
                world.with(|inner| inner.spawn(Some(process), task));
            }
        }
        world.sleep(again).await;
    }
}

/// People are told, and then the dispatcher is told that they were.
async fn tell(world: &World, clock: &ProcessClock, dispatcher: &Dispatcher, triaged: &Triaged, response: &Response) {
    turn().await;
    world.with(|inner| checks::told(inner, &ReportId::of(triaged), response));
    turn().await;
    let now = clock.now();
    let _ = guarded(clock, plus(now, DEADLINE), dispatcher.told(triaged, response, now)).await;
}

fn ack(world: &World, number: u64) {
    world.with(|inner| inner.unacked.remove(&number));
}

/// The stage's way with a message: acked once it is answered or taken over.
async fn deliver(world: World, process: usize, dispatcher: Arc<Dispatcher>, number: u64, message: Message) {
    let clock = world.clock_of(process);
    let now = clock.now();
    let by = plus(now, DEADLINE);
    let late = || world.with(|inner| inner.seen.cut(inner.current));
    match message {
        Message::Resolved(event) => {
            if let Ok(Ok(())) = guarded(&clock, by, dispatcher.resolved(&event, now)).await {
                world.with(|inner| {
                    checks::resolve_acknowledged(inner, EpisodeKey::of(&event), now);
                });
                ack(&world, number);
            }
        }
        Message::Report(triaged) => {
            let id = ReportId::of(&triaged);
            match guarded(&clock, by, dispatcher.accept(&triaged, now)).await {
                Ok(Ok(Some(response))) => {
                    tell(&world, &clock, &dispatcher, &triaged, &response).await;
                    ack(&world, number);
                }
                Ok(Ok(None)) => {
                    world.with(|inner| checks::accepted(inner, &id));
                    ack(&world, number);
                    let now = clock.now();
                    match guarded(&clock, plus(now, DEADLINE), dispatcher.finish(&triaged, now)).await {
                        Ok(Ok(Some(response))) => tell(&world, &clock, &dispatcher, &triaged, &response).await,
                        Ok(_) => {}
                        Err(_) => late(),
                    }
                }
                Ok(Err(_)) => {}
                Err(_) => late(),
            }
        }
    }
}

/// The machine stops: what the store had not synced is gone.
pub(crate) fn lose_writes(inner: &mut Inner) {
    inner.fired(Fault::LostWrites);
    let kept: Vec<_> = inner.writes[..inner.synced].to_vec();
    let store = MemoryStore::default();
    for write in &kept {
        write(&store);
    }
    (inner.store, inner.writes) = (Arc::new(store), kept);
    inner.seen.forget_the_store();
}
