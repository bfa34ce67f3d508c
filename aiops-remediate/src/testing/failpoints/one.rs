//! One place where a process dies or a call fails.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::{FailAction, Failpoints, Side};

/// Something happens at one side of one boundary, at its n-th passing; everywhere else calls go on. It counts
/// which boundaries are passed, so that a first run tells where the later ones can die.
///
/// Once a process has died it stays dead: every boundary that another of its tasks comes to holds that one too.
///
/// ```
/// use std::sync::Arc;
/// use aiops_remediate::testing::{FailAction, FailingStore, OneFailpoint, Side};
/// use aiops_remediate::{KillSwitch, MemoryStore, RemediationStore};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), aiops_remediate::StoreError> {
/// let point = Arc::new(OneFailpoint::new("store.set_kill_switch.on", 0, Side::After, FailAction::Crash));
/// let store = Arc::new(MemoryStore::default());
/// let dying = FailingStore::new(store.clone(), point.clone());
/// let stop = KillSwitch::on("ops", "failing over by hand", jiff::Timestamp::UNIX_EPOCH);
/// assert!(point.run(dying.set_kill_switch(stop)).await.is_none());
/// assert!(store.kill_switch().await?.on, "it died after it was written");
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct OneFailpoint {
    wanted: Option<(String, usize, Side, FailAction)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    passed: BTreeMap<(String, Side), usize>,
    fired: bool,
    dead: bool,
}

impl OneFailpoint {
    /// `action` at this side of this boundary, when it is passed for the `nth` time, counted from 0.
    #[must_use]
    pub fn new(point: impl Into<String>, nth: usize, side: Side, action: FailAction) -> Self {
        Self { wanted: Some((point.into(), nth, side, action)), state: Mutex::default() }
    }

    /// No such place: every call goes on, and is counted.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The sides of boundaries that were come to, and how often.
    #[must_use]
    pub fn passed(&self) -> BTreeMap<(String, Side), usize> {
        self.state().passed.clone()
    }

    /// Whether its place was come to.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.state().fired
    }

    /// Runs a process to its end; none where it died, and then its future has been dropped.
    pub async fn run<T>(&self, process: impl Future<Output = T>) -> Option<T> {
        let mut process = pin!(process);
        poll_fn(|context| match process.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if self.state().dead => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failpoints for OneFailpoint {
    fn at(&self, point: &str, side: Side) -> FailAction {
        let mut state = self.state();
        if state.dead {
            return FailAction::Crash;
        }
        let count = state.passed.entry((point.to_owned(), side)).or_default();
        let nth = *count;
        *count += 1;
        match &self.wanted {
            Some((wanted, at, on, action)) if wanted == point && *at == nth && *on == side => {
                state.fired = true;
                state.dead = *action == FailAction::Crash;
                *action
            }
            _ => FailAction::Go,
        }
    }
}
