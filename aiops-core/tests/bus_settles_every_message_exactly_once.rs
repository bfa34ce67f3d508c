//! Every message of the in-process bus is acked, dead-lettered or handed back exactly once for each
//! group, whatever its consumers do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{Delivery, Envelope, EventBus, MemoryBus, Subscription, VirtualClock};
use proptest::prelude::*;

const GROUPS: [&str; 2] = ["triage", "remediation"];
const CAPACITY: usize = 3;
const ACK_DEADLINE: u64 = 10;

/// Polls once: the bus needs no runtime where it does not have to wait.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[derive(Debug, Clone)]
enum Outcome {
    Ack,
    Nak(u64),
    DeadLetter,
    /// A panicking consumer: its delivery is dropped.
    Drop,
    /// A slow consumer: it settles later, perhaps after its deadline.
    Hold,
}

#[derive(Debug, Clone)]
enum Op {
    Publish,
    Consume { group: usize, outcome: Outcome },
    SettleHeld { ack: bool },
    Advance(u64),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Ack),
        2 => (0..5_u64).prop_map(Outcome::Nak),
        1 => Just(Outcome::DeadLetter),
        2 => Just(Outcome::Drop),
        3 => Just(Outcome::Hold),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Publish),
        6 => (0..GROUPS.len(), outcome()).prop_map(|(group, outcome)| Op::Consume { group, outcome }),
        2 => any::<bool>().prop_map(|ack| Op::SettleHeld { ack }),
        2 => (1..ACK_DEADLINE + 5).prop_map(Op::Advance),
    ]
}

struct World {
    bus: MemoryBus,
    clock: VirtualClock,
    inboxes: Vec<Box<dyn Subscription>>,
    published: Vec<String>,
    held: Vec<(usize, Delivery)>,
    acked: BTreeMap<(usize, String), u32>,
    given: BTreeMap<(usize, String), u32>,
}

impl World {
    fn new() -> Self {
        let clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
        let bus = MemoryBus::builder()
            .capacity(CAPACITY)
            .ack_deadline(Duration::from_secs(ACK_DEADLINE))
            .max_attempts(3)
            .with_clock(clock.clone())
            .build();
        let inboxes = GROUPS.map(|group| now(bus.subscribe("t", group)).unwrap().unwrap()).into();
        let (published, held) = (Vec::new(), Vec::new());
        Self { bus, clock, inboxes, published, held, acked: BTreeMap::new(), given: BTreeMap::new() }
    }

    /// Settles the delivery, and counts an ack that the bus must take: nothing is given again while
    /// the delivery is held, so an ack is late only if the message has been given out since.
    fn settle(&mut self, group: usize, delivery: Delivery, outcome: &Outcome) {
        let id = delivery.envelope().id.clone();
        match outcome {
            Outcome::Ack => {
                let latest = self.given[&(group, id.clone())] == delivery.attempt();
                let before = self.bus.undelivered().len();
                now(delivery.ack()).unwrap().unwrap();
                let settled = before - self.bus.undelivered().len();
                assert!(latest || settled == 0, "an outrun ack settled {id}");
                *self.acked.entry((group, id)).or_default() += u32::try_from(settled).unwrap();
            }
            Outcome::Nak(seconds) => {
                now(delivery.nak(Duration::from_secs(*seconds), "not now")).unwrap().unwrap();
            }
            Outcome::DeadLetter => now(delivery.dead_letter("poison")).unwrap().unwrap(),
            Outcome::Drop => drop(delivery),
            Outcome::Hold => self.held.push((group, delivery)),
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Publish => {
                let id = self.published.len().to_string();
                let message = Envelope::new(&id, "/t", "t.v1", Timestamp::UNIX_EPOCH, id.as_str().into());
                // Back-pressure shows as a publish that is not done; giving up on it loses nothing.
                match now(self.bus.publish("t", message)) {
                    Some(outcome) => {
                        outcome.unwrap();
                        self.published.push(id);
                    }
                    None => assert!(self.bus.undelivered().len() >= CAPACITY),
                }
            }
            Op::Consume { group, outcome } => {
                if let Some(next) = now(self.inboxes[*group].next()) {
                    let delivery = next.unwrap().unwrap();
                    *self.given.entry((*group, delivery.envelope().id.clone())).or_default() += 1;
                    assert_eq!(self.given[&(*group, delivery.envelope().id.clone())], delivery.attempt());
                    self.settle(*group, delivery, outcome);
                }
            }
            Op::SettleHeld { ack } => {
                if !self.held.is_empty() {
                    let (group, delivery) = self.held.remove(0);
                    self.settle(group, delivery, if *ack { &Outcome::Ack } else { &Outcome::Drop });
                }
            }
            Op::Advance(seconds) => self.clock.advance(Duration::from_secs(*seconds)),
        }
    }

    /// Each message must have ended in exactly one way in each group.
    fn check(&self) {
        let (left, letters) = (self.bus.undelivered(), self.bus.dead_letters("t"));
        for (number, name) in GROUPS.iter().enumerate() {
            for id in &self.published {
                let acked = self.acked.get(&(number, id.clone())).copied().unwrap_or(0) as usize;
                let dead = letters.iter().filter(|m| m.extensions["deadlettergroup"] == *name && m.id == *id).count();
                let back = left.iter().filter(|m| m.group == *name && m.envelope.id == *id).count();
                assert_eq!(acked + dead + back, 1, "{name} {id}: acked {acked}, dead {dead}, handed back {back}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn under_random_naks_panics_slow_consumers_and_shutdown(
        ops in prop::collection::vec(op(), 0..32),
        drain in any::<bool>(),
    ) {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        if drain {
            world.held.clear();
            for _ in 0..4 {
                world.clock.advance(Duration::from_secs(100));
                for group in [0, 1, 0, 1, 0, 1, 0, 1] {
                    world.run(&Op::Consume { group, outcome: Outcome::Ack });
                }
            }
            prop_assert!(world.bus.undelivered().is_empty());
        } else {
            world.bus.close();
            for group in 0..GROUPS.len() {
                while let Some(Some(next)) = now(world.inboxes[group].next()) {
                    drop(next.unwrap());
                }
                prop_assert!(matches!(now(world.inboxes[group].next()), Some(None)));
            }
        }
        world.check();
    }
}

#[test]
fn a_closed_bus_takes_nothing_and_hands_back_what_is_left() {
    let mut world = World::new();
    world.run(&Op::Publish);
    world.bus.close();
    let refused = now(world.bus.publish("t", Envelope::new("x", "/t", "t", Timestamp::UNIX_EPOCH, "".into())));
    assert!(!refused.unwrap().unwrap_err().is_retryable());
    assert_eq!(world.bus.undelivered().len(), GROUPS.len());
}
