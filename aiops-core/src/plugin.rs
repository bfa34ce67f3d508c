//! What stands between the pipeline and a host's code: a deadline, a caught panic, and a join that
//! runs many plugins at once without spawning a task.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::lock::lock;
use crate::time::since;

/// What a plugin did instead of answering.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It panicked; the text is the panic's own.
    #[error("panicked: {0}")]
    Panicked(String),
    /// It did not answer in time, and its future was dropped.
    #[error("gave no answer within {}", crate::time::human(*.0))]
    Late(Duration),
}

impl Fault {
    /// The value of a metric's `why` label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Panicked(_) => "panic",
            Self::Late(_) => "late",
        }
    }

    /// The fault without the panic's own text, which may hold anything.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Panicked(_) => "panicked".to_owned(),
            Self::Late(_) => self.to_string(),
        }
    }
}

/// Runs a plugin's future up to a deadline and catches its panic.
///
/// The future is dropped at the deadline. Stages run every plugin through it; whoever calls a plugin
/// from a plugin (a dispatcher its handlers, a triager its fallback) does the same.
///
/// # Errors
/// [`Fault`]: it panicked, or it was late.
pub async fn guarded<T>(
    clock: &dyn Clock,
    deadline: Timestamp,
    future: impl Future<Output = T> + Send,
) -> Result<T, Fault> {
    let started = clock.now();
    let future = pin!(CatchUnwind(Box::pin(future)));
    tokio::select! {
        biased;
        outcome = future => outcome,
        () = clock.sleep_until(deadline) => Err(Fault::Late(since(deadline, started))),
    }
}

/// Runs a plugin's future and catches its panic.
pub(crate) async fn caught<T>(future: impl Future<Output = T> + Send) -> Result<T, Fault> {
    CatchUnwind(Box::pin(future)).await
}

struct CatchUnwind<F>(Pin<Box<F>>);

impl<F: Future> Future for CatchUnwind<F> {
    type Output = Result<F::Output, Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The future is not polled again after a panic, so nobody sees what the panic left half done
        // except the plugin's own state, which its contract asks to stay usable.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(payload) => Poll::Ready(Err(Fault::Panicked(panic_text(&*payload)))),
        }
    }
}

/// The text of a panic, cut for a log line.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text");
    crate::text::clip(text, 200)
}

/// Polls once: for what is there now or not at all.
pub(crate) fn now_or_never<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs futures in the caller's task, at most `limit` at a time, and gives their outputs in the
/// order of the futures. Only children that were woken are polled.
pub(crate) fn join_all<'a, T: Send + 'a>(futures: Vec<Boxed<'a, T>>, limit: usize) -> JoinAll<'a, T> {
    let outputs = futures.iter().map(|_| None).collect();
    let mut waiting: Vec<(usize, Boxed<'a, T>)> = futures.into_iter().enumerate().collect();
    waiting.reverse();
    JoinAll { waiting, running: Vec::new(), outputs, limit: limit.max(1) }
}

pub(crate) struct JoinAll<'a, T> {
    /// Not begun, the last first.
    waiting: Vec<(usize, Boxed<'a, T>)>,
    running: Vec<(usize, Boxed<'a, T>, Arc<Child>)>,
    outputs: Vec<Option<T>>,
    limit: usize,
}

/// Wakes the joining task, and says which child did it.
#[derive(Debug)]
struct Child {
    woken: AtomicBool,
    parent: Mutex<Waker>,
}

impl Wake for Child {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        lock(&self.parent).wake_by_ref();
    }
}

impl<T> Unpin for JoinAll<'_, T> {}

impl<T> Future for JoinAll<'_, T> {
    type Output = Vec<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            while this.running.len() < this.limit
                && let Some((place, future)) = this.waiting.pop()
            {
                let child =
                    Arc::new(Child { woken: AtomicBool::new(true), parent: Mutex::new(context.waker().clone()) });
                this.running.push((place, future, child));
            }
            let before = this.running.len();
            let outputs = &mut this.outputs;
            this.running.retain_mut(|(place, future, child)| {
                lock(&child.parent).clone_from(context.waker());
                if !child.woken.swap(false, Ordering::AcqRel) {
                    return true;
                }
                let waker = Waker::from(Arc::clone(child));
                match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(output) => {
                        outputs[*place] = Some(output);
                        false
                    }
                    Poll::Pending => true,
                }
            });
            if this.running.is_empty() && this.waiting.is_empty() {
                return Poll::Ready(std::mem::take(&mut this.outputs).into_iter().flatten().collect());
            }
            if this.running.len() == before {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_clock::VirtualClock;

    #[tokio::test]
    async fn a_panic_and_a_hang_are_faults() {
        let clock = VirtualClock::new(Timestamp::UNIX_EPOCH);
        let deadline = crate::time::plus(Timestamp::UNIX_EPOCH, Duration::from_secs(5));
        let panicked = guarded(&clock, deadline, async { panic!("plugin bug {}", 1) }).await;
        assert_eq!(panicked, Err::<(), _>(Fault::Panicked("plugin bug 1".to_owned())));
        let mut hanging = pin!(guarded(&clock, deadline, std::future::pending::<()>()));
        assert!(now_or_never(hanging.as_mut()).is_none());
        clock.set(deadline);
        assert_eq!(hanging.await, Err(Fault::Late(Duration::from_secs(5))));
    }

    #[tokio::test]
    async fn joins_in_order_and_within_the_limit() {
        let (running, most) = (std::sync::atomic::AtomicUsize::new(0), std::sync::atomic::AtomicUsize::new(0));
        let (running, most) = (&running, &most);
        let futures = (0..20_u64).map(|n| {
            Box::pin(async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Later ones need fewer turns, so they end in another order.
                for _ in 0..20 - n {
                    tokio::task::yield_now().await;
                }
                running.fetch_sub(1, Ordering::SeqCst);
                n
            }) as Boxed<'_, u64>
        });
        assert_eq!(join_all(futures.collect(), 4).await, (0..20).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }
}
