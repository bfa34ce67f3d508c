//! Where a host pushes events into a running detection stage.

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::event::DetectionEvent;
use crate::fingerprint::Identity;

/// What was pushed.
#[derive(Debug, Clone)]
pub(super) enum Push {
    Event(Box<DetectionEvent>),
    Resolve(Box<Identity>, Timestamp),
}

/// Takes events from a host's request path: a bounded buffer in front of a detection stage. Clones
/// feed the same buffer.
///
/// What it took is in memory until the stage has decided on it.
#[derive(Debug, Clone)]
pub struct Intake {
    sender: mpsc::Sender<Push>,
}

/// An event that the stage did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntakeError {
    /// The buffer is full: answer the sender that it should come again.
    #[error("detection stage is behind: its buffer of pushed events is full")]
    Full,
    /// The stage is gone.
    #[error("detection stage has ended and takes no more events")]
    Closed,
}

impl IntakeError {
    /// Whether trying again may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        *self == Self::Full
    }
}

impl Intake {
    pub(super) fn new(capacity: usize) -> (Self, mpsc::Receiver<Push>) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (Self { sender }, receiver)
    }

    /// Takes an event, firing or resolved, without waiting.
    ///
    /// # Errors
    /// A full buffer (counted), or a stage that is gone.
    pub fn offer(&self, event: DetectionEvent) -> Result<(), IntakeError> {
        self.try_push(Push::Event(Box::new(event)))
    }

    /// Takes an explicit resolve without waiting.
    ///
    /// # Errors
    /// A full buffer (counted), or a stage that is gone.
    pub fn offer_resolve(&self, identity: Identity, at: Timestamp) -> Result<(), IntakeError> {
        self.try_push(Push::Resolve(Box::new(identity), at))
    }

    /// Takes an event, and waits for room.
    ///
    /// # Errors
    /// A stage that is gone.
    pub async fn send(&self, event: DetectionEvent) -> Result<(), IntakeError> {
        self.sender.send(Push::Event(Box::new(event))).await.map_err(|_| IntakeError::Closed)
    }

    fn try_push(&self, push: Push) -> Result<(), IntakeError> {
        self.sender.try_send(push).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                metrics::counter!("aiops_detection_refused_total").increment(1);
                IntakeError::Full
            }
            mpsc::error::TrySendError::Closed(_) => IntakeError::Closed,
        })
    }
}
