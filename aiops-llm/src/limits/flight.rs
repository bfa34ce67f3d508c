//! One question at a time of one kind, and its answer for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::time::plus;
use jiff::Timestamp;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::locked;

/// Questions that are remembered.
const KEYS: usize = 1_000;

/// What came of the last flight of a key.
#[derive(Debug, Clone)]
struct Past<T, E> {
    outcome: Result<T, E>,
    landed: Timestamp,
}

#[derive(Debug)]
struct Seat<T, E> {
    past: Arc<AsyncMutex<Option<Past<T, E>>>>,
    /// How many flights landed, to be read without waiting for the one in the air.
    landings: Arc<AtomicU64>,
}

impl<T, E> Clone for Seat<T, E> {
    fn clone(&self) -> Self {
        Self { past: Arc::<AsyncMutex<_>>::clone(&self.past), landings: Arc::<AtomicU64>::clone(&self.landings) }
    }
}

/// Answers by key: the first who asks flies, the others wait for it. A caller that is dropped lets the next one fly.
#[derive(Debug)]
pub(crate) struct Flight<T, E> {
    seats: Mutex<HashMap<String, Seat<T, E>>>,
}

/// What there is for a caller.
pub(crate) enum Landed<T, E> {
    /// Another's answer.
    Answer(T),
    /// Another's failure, which it met while this caller waited for it.
    Failure(E),
    /// Nothing: the caller asks, and lands with what comes of it.
    Yours(Pilot<T, E>),
}

/// The right and the duty to ask.
pub(crate) struct Pilot<T, E> {
    past: OwnedMutexGuard<Option<Past<T, E>>>,
    landings: Arc<AtomicU64>,
}

impl<T, E> Default for Flight<T, E> {
    fn default() -> Self {
        Self { seats: Mutex::new(HashMap::new()) }
    }
}

impl<T: Clone, E: Clone> Flight<T, E> {
    /// Waits for whoever is asking this now; then an answer that is younger than `ttl`, or the right to ask.
    pub(crate) async fn board(&self, key: &str, ttl: Duration, now: impl Fn() -> Timestamp) -> Landed<T, E> {
        let seat = self.seat(key, ttl, now());
        let came = seat.landings.load(Ordering::Acquire);
        let past = Arc::<AsyncMutex<_>>::clone(&seat.past).lock_owned().await;
        match &*past {
            Some(Past { outcome: Ok(answer), landed }) if now() < plus(*landed, ttl) => Landed::Answer(answer.clone()),
            // Whoever waits for a flight takes its failure: a thousand callers must not fail one after the other.
            Some(Past { outcome: Err(error), .. }) if seat.landings.load(Ordering::Acquire) > came => {
                Landed::Failure(error.clone())
            }
            _ => Landed::Yours(Pilot { past, landings: seat.landings }),
        }
    }

    fn seat(&self, key: &str, ttl: Duration, now: Timestamp) -> Seat<T, E> {
        let mut seats = locked(&self.seats);
        if let Some(seat) = seats.get(key) {
            return seat.clone();
        }
        if seats.len() >= KEYS {
            // Whoever is flying stays, also an answer that is still good; of these, any has to go where all are.
            let good = |past: &Option<Past<T, E>>| {
                past.as_ref().is_some_and(|past| past.outcome.is_ok() && now < plus(past.landed, ttl))
            };
            seats.retain(|_, seat| seat.past.try_lock().map_or(true, |past| good(&past)));
            if seats.len() >= KEYS {
                let oldest = seats
                    .iter()
                    .filter_map(|(key, seat)| Some((seat.past.try_lock().ok()?.as_ref()?.landed, key.clone())));
                if let Some((_, key)) = oldest.min() {
                    seats.remove(&key);
                }
            }
        }
        let seat = Seat { past: Arc::new(AsyncMutex::new(None)), landings: Arc::default() };
        seats.insert(key.to_owned(), seat.clone());
        seat
    }
}

impl<T, E> Pilot<T, E> {
    /// Leaves what came of it for the others.
    pub(crate) fn land(mut self, outcome: Result<T, E>, now: Timestamp) {
        *self.past = Some(Past { outcome, landed: now });
        self.landings.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const TTL: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_caller_that_is_dropped_lets_the_next_one_ask() {
        let flight: Flight<u8, u8> = Flight::default();
        let Landed::Yours(first) = flight.board("k", TTL, || at(0)).await else { unreachable!("nobody asked before") };
        let mut second = Box::pin(flight.board("k", TTL, || at(0)));
        assert!(futures_pending(&mut second).await);
        drop(first);
        assert!(matches!(second.await, Landed::Yours(_)));
    }

    #[tokio::test]
    async fn an_answer_serves_until_it_is_old_and_a_failure_only_those_who_waited() {
        let flight: Flight<u8, u8> = Flight::default();
        let Landed::Yours(pilot) = flight.board("k", TTL, || at(0)).await else { unreachable!() };
        let mut waiting = Box::pin(flight.board("k", TTL, || at(1)));
        assert!(futures_pending(&mut waiting).await);
        pilot.land(Err(7), at(2));
        assert!(matches!(waiting.await, Landed::Failure(7)));
        let Landed::Yours(pilot) = flight.board("k", TTL, || at(3)).await else { unreachable!("it asks again") };
        pilot.land(Ok(5), at(4));
        assert!(matches!(flight.board("k", TTL, || at(603)).await, Landed::Answer(5)));
        assert!(matches!(flight.board("k", TTL, || at(604)).await, Landed::Yours(_)));
    }

    #[tokio::test]
    async fn keys_without_end_take_bounded_memory() {
        let flight: Flight<usize, u8> = Flight::default();
        for n in 0..3 * KEYS {
            if let Landed::Yours(pilot) = flight.board(&n.to_string(), TTL, || at(0)).await {
                pilot.land(Ok(n), at(0));
            }
        }
        assert!(locked(&flight.seats).len() <= KEYS);
    }

    async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
        tokio::select! {
            biased;
            _ = future => false,
            () = std::future::ready(()) => true,
        }
    }
}
