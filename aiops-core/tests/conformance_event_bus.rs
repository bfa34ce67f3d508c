//! The bus suite passes the in-process bus and catches broken ones.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::testing::{BusTerms, ManualClock, Violation, check_event_bus};
use aiops_core::{BusError, Delivery, Envelope, EventBus, MemoryBus, MemoryBusBuilder, Settle, Subscription};
use async_trait::async_trait;

const MINUTE: Duration = Duration::from_secs(60);

fn bench() -> (MemoryBusBuilder, ManualClock, BusTerms) {
    let clock = ManualClock::default();
    let builder = MemoryBus::builder().with_clock(clock.clone()).capacity(8).ack_deadline(MINUTE).max_attempts(3);
    (builder, clock, BusTerms::new("suite", MINUTE, 3))
}

#[tokio::test(start_paused = true)]
async fn the_in_process_bus_passes() {
    let (builder, clock, terms) = bench();
    check_event_bus(&builder.build(), &terms, |by| clock.advance(by)).await.unwrap();
    let (builder, clock, terms) = bench();
    check_event_bus(&builder.capacity(1_000).build(), &terms, |by| clock.advance(by)).await.unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    OneGroup,
    NoGroups,
    CutsAttributes,
    CountsFromZero,
    ForgetsAwayGroups,
    AckDoesNothing,
    NakIsAck,
    NakWithoutDelay,
    DropIsAck,
    NoAckDeadline,
    TakesOnPoll,
    NeverBuries,
    BuriesWithoutReason,
    RetriesTheUnreadable,
    DropsWhenFull,
}

/// The in-process bus with one fault.
#[derive(Debug)]
struct Broken {
    fault: Fault,
    bus: MemoryBus,
    subscriptions: Mutex<u32>,
    published: Mutex<u32>,
}

#[async_trait]
impl EventBus for Broken {
    async fn publish(&self, topic: &str, mut message: Envelope) -> Result<(), BusError> {
        if self.fault == Fault::CutsAttributes {
            message.traceparent = None;
        }
        if self.fault == Fault::DropsWhenFull && topic.contains("burst") {
            let mut published = self.published.lock().unwrap();
            *published += 1;
            if *published > 5 {
                return Ok(());
            }
        }
        self.bus.publish(topic, message).await
    }

    async fn subscribe(&self, topic: &str, group: &str) -> Result<Box<dyn Subscription>, BusError> {
        let group = match self.fault {
            Fault::OneGroup => "one".to_owned(),
            Fault::NoGroups | Fault::ForgetsAwayGroups
                if !(topic.contains("groups") && self.fault != Fault::NoGroups) =>
            {
                *self.subscriptions.lock().unwrap() += 1;
                format!("{group}-{}", self.subscriptions.lock().unwrap())
            }
            _ => group.to_owned(),
        };
        let inner = self.bus.subscribe(topic, &group).await?;
        let letters = topic.ends_with(".dead");
        Ok(Box::new(Inbox { fault: self.fault, inner, letters, held: Arc::default() }))
    }
}

#[derive(Debug)]
struct Inbox {
    fault: Fault,
    inner: Box<dyn Subscription>,
    letters: bool,
    /// Deliveries that the fault keeps from their deadline or settlement.
    held: Arc<Mutex<Vec<Delivery>>>,
}

#[async_trait]
impl Subscription for Inbox {
    async fn next(&mut self) -> Option<Result<Delivery, BusError>> {
        let delivery = match self.inner.next().await? {
            Ok(delivery) => delivery,
            Err(error) => return Some(Err(error)),
        };
        if self.fault == Fault::TakesOnPoll {
            // Off the queue before its consumer has it: a future that is dropped here takes it along.
            let (envelope, attempt) = (delivery.envelope().clone(), delivery.attempt());
            delivery.ack().await.unwrap();
            tokio::task::yield_now().await;
            let settle = Word { fault: self.fault, delivery: None, held: Arc::clone(&self.held) };
            return Some(Ok(Delivery::new(envelope, attempt, Box::new(settle))));
        }
        let attempt = if self.fault == Fault::CountsFromZero { delivery.attempt() - 1 } else { delivery.attempt() };
        let mut envelope = delivery.envelope().clone();
        if self.letters {
            match self.fault {
                Fault::NeverBuries => {
                    delivery.ack().await.unwrap();
                    return std::future::pending().await;
                }
                Fault::BuriesWithoutReason => {
                    envelope.extensions.remove("deadletterreason");
                }
                _ => {}
            }
        }
        let settle = Word { fault: self.fault, delivery: Some(delivery), held: Arc::clone(&self.held) };
        Some(Ok(Delivery::new(envelope, attempt, Box::new(settle))))
    }
}

#[derive(Debug)]
struct Word {
    fault: Fault,
    delivery: Option<Delivery>,
    held: Arc<Mutex<Vec<Delivery>>>,
}

#[async_trait]
impl Settle for Word {
    async fn ack(mut self: Box<Self>) -> Result<(), BusError> {
        let Some(delivery) = self.delivery.take() else { return Ok(()) };
        match self.fault {
            Fault::AckDoesNothing => {
                self.held.lock().unwrap().push(delivery);
                Ok(())
            }
            _ => delivery.ack().await,
        }
    }

    async fn nak(mut self: Box<Self>, delay: Duration, reason: String) -> Result<(), BusError> {
        let delivery = self.delivery.take().unwrap();
        match self.fault {
            Fault::NakIsAck => delivery.ack().await,
            Fault::NakWithoutDelay => delivery.nak(Duration::ZERO, reason).await,
            _ => delivery.nak(delay, reason).await,
        }
    }

    async fn dead_letter(mut self: Box<Self>, reason: String) -> Result<(), BusError> {
        let delivery = self.delivery.take().unwrap();
        match self.fault {
            Fault::RetriesTheUnreadable => delivery.nak(Duration::ZERO, reason).await,
            _ => delivery.dead_letter(reason).await,
        }
    }

    fn abandon(mut self: Box<Self>) {
        if self.fault == Fault::DropIsAck
            && let Some(delivery) = self.delivery.take()
        {
            // The in-process bus acks without waiting.
            let _ = std::pin::pin!(delivery.ack())
                .as_mut()
                .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        }
    }
}

async fn check(fault: Fault) -> Result<(), Violation> {
    let (builder, clock, terms) = bench();
    let builder = if fault == Fault::NoAckDeadline { builder.ack_deadline(MINUTE * 60 * 24) } else { builder };
    let bus = Broken { fault, bus: builder.build(), subscriptions: 0.into(), published: 0.into() };
    check_event_bus(&bus, &terms, |by| clock.advance(by)).await
}

#[tokio::test(start_paused = true)]
async fn broken_buses_are_caught() {
    for (fault, line) in [
        (Fault::OneGroup, "reaches every group"),
        (Fault::NoGroups, "one consumer at a time"),
        (Fault::CutsAttributes, "as it was published"),
        (Fault::CountsFromZero, "counts from 1"),
        (Fault::ForgetsAwayGroups, "away for a while"),
        (Fault::AckDoesNothing, "does not come again"),
        (Fault::NakIsAck, "after its delay"),
        (Fault::NakWithoutDelay, "after its delay"),
        (Fault::DropIsAck, "dropped unsettled"),
        (Fault::NoAckDeadline, "within the ack deadline"),
        (Fault::TakesOnPoll, "loses no message"),
        (Fault::NeverBuries, "dead-letter topic"),
        (Fault::BuriesWithoutReason, "dead-letter topic"),
        (Fault::RetriesTheUnreadable, "dead-letter topic"),
        (Fault::DropsWhenFull, "never dropped"),
    ] {
        let violation = check(fault).await.unwrap_err();
        assert!(violation.contract.contains(line), "{fault:?}: {violation}");
    }
}
