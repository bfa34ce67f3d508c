//! Calls that wait at the same time go to the server as one. A script has a price of its own there, and with
//! `appendfsync always` so has each write.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use ::redis::RedisError;
use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::sync::{Notify, Semaphore};

use super::group::misread;
use crate::clock::Clock;
use crate::lock::lock;
use crate::plugin::Boxed;
use crate::time::plus;

/// Items of one call.
const MOST: usize = 256;
/// Bytes of one call, unless one item alone has more.
const MOST_BYTES: usize = 1024 * 1024;

/// How long a call waits for those who had an answer just now and most often come with more: less than a write to a
/// disk takes.
const LINGER: Duration = Duration::from_millis(1);

/// The answers by place; none where the caller had gone before the call.
type Answers<A> = Result<Arc<Vec<Option<A>>>, Arc<RedisError>>;
type Send<I, A> = dyn Fn(Vec<Arc<I>>) -> Boxed<'static, Result<Vec<A>, RedisError>> + std::marker::Send + Sync;

/// Sends items in the order in which they come, those that wait for the server together in one call.
///
/// Nothing runs in the background: whoever waits for an answer drives the call that it is in, and when all of them
/// give up it ends with them. An item that its caller let go of before its call began is not sent.
pub(super) struct Together<I, A> {
    filling: Mutex<Option<Batch<I, A>>>,
    /// One call at a time: what comes in the meantime fills the next one.
    turn: Arc<Semaphore>,
    pace: Arc<Pace>,
    clock: Arc<dyn Clock>,
    send: Arc<Send<I, A>>,
}

/// How full a call should be before it begins: as when all who had an answer from the last one have come again.
#[derive(Debug, Default)]
struct Pace {
    waiting: AtomicUsize,
    wanted: AtomicUsize,
    joined: Notify,
}

impl Pace {
    fn joined(&self) {
        if self.waiting.fetch_add(1, Ordering::SeqCst) + 1 >= self.wanted.load(Ordering::SeqCst) {
            self.joined.notify_one();
        }
    }

    async fn reached(&self) {
        while self.waiting.load(Ordering::SeqCst) < self.wanted.load(Ordering::SeqCst) {
            self.joined.notified().await;
        }
    }

    /// So many had their answer.
    fn answered(&self, items: usize) {
        self.wanted.store((self.waiting.load(Ordering::SeqCst) + items).min(MOST), Ordering::SeqCst);
    }
}

/// The items of a call that has not begun; they no longer wait when it begins or is given up.
struct Waiting<I> {
    items: Items<I>,
    pace: Arc<Pace>,
}

/// None once their call has begun.
type Items<I> = Arc<Mutex<Option<Vec<Weak<I>>>>>;

impl<I> Waiting<I> {
    fn take(&self) -> Vec<Weak<I>> {
        let items = lock(&self.items).take().unwrap_or_default();
        self.pace.waiting.fetch_sub(items.len(), Ordering::SeqCst);
        items
    }
}

impl<I> Drop for Waiting<I> {
    fn drop(&mut self) {
        self.take();
    }
}

struct Batch<I, A> {
    items: Items<I>,
    bytes: usize,
    call: Shared<Boxed<'static, Answers<A>>>,
}

impl<I, A> fmt::Debug for Together<I, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filling: _, turn, pace, clock: _, send: _ } = self;
        f.debug_struct("Together").field("turn", turn).field("pace", pace).finish_non_exhaustive()
    }
}

impl<I, A> Together<I, A>
where
    I: std::marker::Send + Sync + 'static,
    A: Clone + std::marker::Send + Sync + 'static,
{
    /// `send` makes one call of items, and gives an answer for each, in their order.
    pub(super) fn new<F>(
        clock: Arc<dyn Clock>,
        send: impl Fn(Vec<Arc<I>>) -> F + std::marker::Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Vec<A>, RedisError>> + std::marker::Send + 'static,
    {
        let send: Arc<Send<I, A>> = Arc::new(move |items| Box::pin(send(items)));
        let (turn, pace) = (Arc::new(Semaphore::new(1)), Arc::default());
        Self { filling: Mutex::default(), turn, pace, clock, send }
    }

    /// Sends an item of so many bytes with those that wait as well, and waits for its answer.
    pub(super) async fn ask(&self, item: &Arc<I>, bytes: usize) -> Result<A, Arc<RedisError>> {
        let (place, call) = self.join(item, bytes);
        let answers = call.await?;
        let answer = answers.get(place).cloned().flatten();
        answer.ok_or_else(|| Arc::new(misread("the answer has fewer parts than the call")))
    }

    fn join(&self, item: &Arc<I>, bytes: usize) -> (usize, Shared<Boxed<'static, Answers<A>>>) {
        let mut filling = lock(&self.filling);
        if let Some(batch) = &mut *filling
            && let Some(items) = &mut *lock(&batch.items)
            && items.len() < MOST
            && batch.bytes.saturating_add(bytes) <= MOST_BYTES
        {
            items.push(Arc::downgrade(item));
            self.pace.joined();
            batch.bytes += bytes;
            return (items.len() - 1, batch.call.clone());
        }
        let items = Arc::new(Mutex::new(Some(vec![Arc::downgrade(item)])));
        self.pace.joined();
        let call = self.call(Arc::clone(&items)).boxed().shared();
        *filling = Some(Batch { items, bytes, call: call.clone() });
        (0, call)
    }

    fn call(&self, items: Items<I>) -> impl Future<Output = Answers<A>> + std::marker::Send + 'static {
        let (turn, pace, clock, send) =
            (Arc::clone(&self.turn), Arc::clone(&self.pace), Arc::clone(&self.clock), Arc::clone(&self.send));
        let waiting = Waiting { items, pace: Arc::clone(&pace) };
        async move {
            // It is never closed.
            let _turn = turn.acquire_owned().await;
            tokio::select! {
                biased;
                () = pace.reached() => {}
                () = clock.sleep_until(plus(clock.now(), LINGER)) => {}
            }
            let items: Vec<Option<Arc<I>>> = waiting.take().iter().map(Weak::upgrade).collect();
            pace.wanted.store(0, Ordering::SeqCst);
            let sent: Vec<Arc<I>> = items.iter().flatten().map(Arc::clone).collect();
            let count = sent.len();
            if count == 0 {
                return Ok(Arc::default());
            }
            let mut answers = send(sent).await.map_err(Arc::new)?.into_iter();
            pace.answered(count);
            Ok(Arc::new(items.into_iter().map(|item| item.and_then(|_| answers.next())).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::VirtualClock;

    /// Doubles numbers, and keeps what came in one call; each call waits to be let go.
    fn doubling(calls: &Arc<Mutex<Vec<Vec<u32>>>>, go: &Arc<Notify>, clock: &VirtualClock) -> Arc<Together<u32, u32>> {
        let (calls, go) = (Arc::clone(calls), Arc::clone(go));
        Arc::new(Together::new(Arc::new(clock.clone()), move |items: Vec<Arc<u32>>| {
            let (calls, go) = (Arc::clone(&calls), Arc::clone(&go));
            async move {
                let items: Vec<u32> = items.iter().map(|item| **item).collect();
                lock(&calls).push(items.clone());
                go.notified().await;
                match items.contains(&13) {
                    true => Err(misread("unlucky")),
                    false => Ok(items.into_iter().map(|item| item * 2).collect()),
                }
            }
        }))
    }

    async fn settled() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// As long as a call waits for more.
    async fn lingered(clock: &VirtualClock) {
        settled().await;
        clock.set(plus(clock.now(), LINGER));
        settled().await;
    }

    #[tokio::test]
    async fn what_waits_goes_together_in_order_and_each_has_its_own_answer() {
        let (calls, go, clock) = (Arc::default(), Arc::default(), VirtualClock::new(Timestamp::UNIX_EPOCH));
        let together = doubling(&calls, &go, &clock);
        let mut asked = Vec::new();
        for item in 1..=4 {
            let together = Arc::clone(&together);
            asked.push(tokio::spawn(async move { together.ask(&Arc::new(item), 1).await }));
            settled().await;
        }
        assert_eq!(*lock(&calls), [vec![1]], "the others wait for its answer");
        for _ in 0..2 {
            go.notify_one();
            lingered(&clock).await;
        }
        assert_eq!(*lock(&calls), [vec![1], vec![2, 3, 4]]);
        for (item, asked) in (1..).zip(asked) {
            assert_eq!(asked.await.unwrap().unwrap(), item * 2);
        }
    }

    #[tokio::test]
    async fn who_had_an_answer_is_waited_for_for_a_moment() {
        let (calls, go, clock) = (Arc::default(), Arc::default(), VirtualClock::new(Timestamp::UNIX_EPOCH));
        let together = doubling(&calls, &go, &clock);
        let ask = |item| {
            let together = Arc::clone(&together);
            tokio::spawn(async move { together.ask(&Arc::new(item), 1).await })
        };
        let asked = [1, 2, 3].map(ask);
        settled().await;
        go.notify_one();
        settled().await;
        assert_eq!(*lock(&calls), [vec![1]], "two wait, and the first may come again");
        let again = ask(4);
        settled().await;
        assert_eq!(*lock(&calls), [vec![1], vec![2, 3, 4]], "it has");
        go.notify_one();
        settled().await;
        let last = ask(5);
        settled().await;
        assert_eq!(lock(&calls).len(), 2, "the other two may");
        lingered(&clock).await;
        assert_eq!(lock(&calls)[2..], [vec![5]], "they have not");
        go.notify_one();
        for asked in asked.into_iter().chain([again, last]) {
            asked.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn who_gives_up_stops_nobody_and_what_was_not_sent_is_not_sent() {
        let (calls, go, clock) = (Arc::default(), Arc::default(), VirtualClock::new(Timestamp::UNIX_EPOCH));
        let together = doubling(&calls, &go, &clock);
        let ask = |item| {
            let together = Arc::clone(&together);
            tokio::spawn(async move { together.ask(&Arc::new(item), 1).await })
        };
        let first = ask(1);
        settled().await;
        let (second, third, fourth) = (ask(2), ask(3), ask(4));
        settled().await;
        // The one that drives the call that is out, and one that was not sent yet.
        first.abort();
        third.abort();
        settled().await;
        assert_eq!(*lock(&calls), [vec![1], vec![2, 4]], "a call that nobody waits for holds up no other");
        // Whoever of the two drives it.
        second.abort();
        settled().await;
        go.notify_one();
        assert_eq!(fourth.await.unwrap().unwrap(), 8);
        drop(first.await);
        let fifth = ask(5);
        go.notify_one();
        lingered(&clock).await;
        assert_eq!(fifth.await.unwrap().unwrap(), 10);
    }

    #[tokio::test]
    async fn a_call_is_bounded_and_its_failure_is_told_to_each() {
        let (calls, go, clock) = (Arc::default(), Arc::default(), VirtualClock::new(Timestamp::UNIX_EPOCH));
        let together = doubling(&calls, &go, &clock);
        let mut asked = Vec::new();
        for (item, bytes) in [(1, 1), (2, MOST_BYTES), (3, 1), (13, 1)] {
            let together = Arc::clone(&together);
            asked.push(tokio::spawn(async move { together.ask(&Arc::new(item), bytes).await }));
            settled().await;
        }
        for _ in 0..3 {
            go.notify_one();
            lingered(&clock).await;
        }
        assert_eq!(*lock(&calls), [vec![1], vec![2], vec![3, 13]]);
        let mut failed = Vec::new();
        for asked in asked {
            failed.push(asked.await.unwrap().is_err());
        }
        assert_eq!(failed, [false, false, true, true]);
        for item in 100..u32::try_from(100 + MOST + 2).unwrap() {
            let together = Arc::clone(&together);
            drop(tokio::spawn(async move { together.ask(&Arc::new(item), 0).await }));
        }
        settled().await;
        for _ in 0..3 {
            go.notify_one();
            lingered(&clock).await;
        }
        let sizes: Vec<usize> = lock(&calls)[3..].iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, MOST, 1]);
    }
}
