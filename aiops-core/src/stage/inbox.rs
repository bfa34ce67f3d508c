//! A subscription as a stage reads it: trouble of the bus is waited out, poison goes to the dead
//! letter.

use std::sync::Arc;
use std::time::Duration;

use super::StageError;
use crate::bus::{BusError, Delivery, EnvelopeError, EventBus, Subscription};
use crate::clock::Clock;
use crate::error::error_chain;
use crate::plugin::now_or_never;
use crate::time::plus;

/// Before a bus in trouble is asked again.
const AFTER_TROUBLE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Inbox {
    stage: &'static str,
    subscription: Box<dyn Subscription>,
}

impl Inbox {
    pub(crate) async fn open(
        stage: &'static str,
        bus: &dyn EventBus,
        topic: &'static str,
        group: &str,
    ) -> Result<Self, StageError> {
        let opened = bus.subscribe(topic, group).await;
        let subscription = opened.map_err(|source| StageError::Subscribe { stage, topic, source })?;
        Ok(Self { stage, subscription })
    }

    /// The next delivery. Cancel safe.
    pub(super) async fn next(&mut self, clock: &dyn Clock) -> Result<Delivery, StageError> {
        loop {
            match self.subscription.next().await {
                Some(Ok(delivery)) => return Ok(delivery),
                Some(Err(error)) => {
                    tracing::warn!(stage = self.stage, error = error_chain(&error), "the bus gave no message");
                    metrics::counter!("aiops_stage_receive_failed_total", "stage" => self.stage).increment(1);
                    clock.sleep_until(plus(clock.now(), AFTER_TROUBLE)).await;
                }
                None => return Err(StageError::BusClosed { stage: self.stage }),
            }
        }
    }

    /// A delivery that is there already; only the in-process bus has one without a runtime's help.
    pub(crate) fn ready(&mut self) -> Option<Delivery> {
        now_or_never(self.subscription.next()).flatten().and_then(Result::ok)
    }
}

/// A message that no attempt can read.
pub(super) async fn poison(stage: &'static str, delivery: Delivery, error: &EnvelopeError) {
    let reason = error_chain(error);
    tracing::error!(stage, error = reason, "message does not read; it goes to the dead letter");
    metrics::counter!("aiops_stage_poison_total", "stage" => stage).increment(1);
    settled(stage, delivery.dead_letter(reason).await);
}

/// A settlement that the bus did not take costs a redelivery, which the stages bear.
pub(super) fn settled(stage: &'static str, outcome: Result<(), BusError>) {
    if let Err(error) = outcome {
        tracing::warn!(stage, error = error_chain(&error), "the bus took no ack; the message comes again");
        metrics::counter!("aiops_stage_settle_failed_total", "stage" => stage).increment(1);
    }
}

/// Publishes behind a deadline: a bus that hangs is a bus that failed.
pub(super) async fn publish(
    bus: &Arc<dyn EventBus>,
    topic: &'static str,
    message: crate::bus::Envelope,
    clock: &dyn Clock,
) -> Result<(), BusError> {
    /// Above the publish deadline of any bus here.
    const DEADLINE: Duration = Duration::from_secs(60);
    let deadline = plus(clock.now(), DEADLINE);
    crate::plugin::guarded(clock, deadline, bus.publish(topic, message))
        .await
        .unwrap_or_else(|fault| Err(BusError::Broker { topic: topic.to_owned(), source: Box::new(fault) }))
}
