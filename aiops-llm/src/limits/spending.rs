//! Tokens and money, reserved before a request goes out and settled when it is back: of one process, or
//! of all that share an account.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use aiops_core::{Clock, StateError, StateStore, error_chain};
use jiff::Timestamp;

use super::budget::{Booking, Budget, BudgetSpent, Used};
use super::locked;
use crate::chat::Usage;

/// How long the account may take: a request that waits for its budget is late for its incident.
const STORE_DEADLINE: Duration = Duration::from_secs(2);
/// Changes in a row that others were faster at.
const ATTEMPTS: u32 = 32;
/// Changes that wait for the account to come back.
const OWED: usize = 1_000;

/// An account in a state store.
#[derive(Debug)]
struct Account {
    store: Arc<dyn StateStore>,
    key: String,
    clock: Arc<dyn Clock>,
}

/// What was done without the account.
#[derive(Debug, Clone)]
enum Change {
    Book(Booking),
    Settle(Booking, Usage, Option<f64>),
}

impl Change {
    fn apply(&self, used: &mut Used) {
        match self {
            Self::Book(booking) => used.book(booking),
            Self::Settle(booking, usage, cost) => used.settle(booking, *usage, *cost),
        }
    }
}

#[derive(Debug, Default)]
struct Local {
    /// As last seen in the account, and what this process has done since.
    used: Used,
    owed: VecDeque<Change>,
}

#[derive(Debug, Default)]
struct Books {
    local: Mutex<Local>,
    account: Option<Account>,
    /// One change of this process at a time, so that what is owed is paid once.
    turn: tokio::sync::Mutex<()>,
}

/// What is used of a budget.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    books: Arc<Books>,
}

/// Tokens and money that a running request may still take. Dropped without being settled, it stays taken: the request
/// may have been served.
#[derive(Debug)]
pub(crate) struct Reservation {
    books: Arc<Books>,
    booking: Booking,
}

impl Spending {
    /// Counted in a store, together with all that name the same account.
    pub(crate) fn shared(store: Arc<dyn StateStore>, account: &str, clock: Arc<dyn Clock>) -> Self {
        let account = Account { store, key: format!("aiops/llm/spending/{account}"), clock };
        Self { books: Arc::new(Books { account: Some(account), ..Books::default() }) }
    }

    /// Takes `tokens` and `cost` off the budget until they are settled, all or nothing.
    pub(crate) async fn reserve(
        &self,
        budget: &Budget,
        service: &str,
        tokens: u64,
        cost: Option<f64>,
        now: Timestamp,
    ) -> Result<Reservation, BudgetSpent> {
        let reserve = |used: &mut Used| match used.reserve(budget, service, tokens, cost, now) {
            Ok(booking) => (Ok(booking.clone()), Some(Change::Book(booking))),
            Err(spent) => (Err(spent), None),
        };
        let booking = self.books.change(reserve).await?;
        Ok(Reservation { books: Arc::<Books>::clone(&self.books), booking })
    }
}

impl Reservation {
    /// Puts what was used in the place of what was reserved.
    pub(crate) async fn settle(self, usage: Usage, cost: Option<f64>) {
        let settle = |used: &mut Used| {
            used.settle(&self.booking, usage, cost);
            ((), Some(Change::Settle(self.booking.clone(), usage, cost)))
        };
        self.books.change(settle).await;
    }
}

impl Books {
    /// Changes what is used: in the account, anew for as long as others are faster; by what this process knows
    /// where the account does not answer, and in the account once it does.
    async fn change<T>(&self, change: impl Fn(&mut Used) -> (T, Option<Change>) + Send + Sync) -> T {
        if let Some(account) = &self.account {
            if let Some(answer) = self.change_shared(account, &change).await {
                return answer;
            }
            metrics::counter!("aiops_llm_budget_alone_total").increment(1);
        }
        let mut local = locked(&self.local);
        let (answer, done) = change(&mut local.used);
        if self.account.is_some() {
            local.owed.extend(done);
            while local.owed.len() > OWED {
                local.owed.pop_front();
                metrics::counter!("aiops_llm_budget_owed_dropped_total").increment(1);
            }
        }
        answer
    }

    /// None where the account does not answer.
    async fn change_shared<T>(
        &self,
        account: &Account,
        change: &(impl Fn(&mut Used) -> (T, Option<Change>) + Send + Sync),
    ) -> Option<T> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let (mut used, version) = account.load().await?;
            let owed: Vec<Change> = locked(&self.local).owed.iter().cloned().collect();
            owed.iter().for_each(|change| change.apply(&mut used));
            let (answer, done) = change(&mut used);
            if done.is_some() || !owed.is_empty() {
                match account.save(&used, version).await {
                    Ok(()) => {}
                    Err(StateError::Conflict { .. }) => continue,
                    Err(_) => return None,
                }
            }
            let mut local = locked(&self.local);
            local.used = used;
            let paid = owed.len().min(local.owed.len());
            local.owed.drain(..paid);
            return Some(answer);
        }
        None
    }
}

impl Account {
    async fn load(&self) -> Option<(Used, u64)> {
        match self.timed("load", self.store.load(&self.key)).await.ok()? {
            None => Some((Used::default(), 0)),
            Some(found) => match serde_json::from_slice(&found.bytes) {
                Ok(used) => Some((used, found.version)),
                Err(error) => {
                    tracing::error!(
                        key = self.key,
                        error = error_chain(&error),
                        "the account of a budget does not read"
                    );
                    None
                }
            },
        }
    }

    async fn save(&self, used: &Used, version: u64) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(used)
            .map_err(|source| StateError::Corrupt { key: self.key.clone(), source: Box::new(source) })?;
        self.timed("save", self.store.save(&self.key, bytes, version)).await.map(drop)
    }

    async fn timed<T>(
        &self,
        doing: &'static str,
        call: impl Future<Output = Result<T, StateError>> + Send,
    ) -> Result<T, StateError> {
        let deadline = plus(self.clock.now(), STORE_DEADLINE);
        let outcome = guarded(&*self.clock, deadline, call).await.unwrap_or_else(|fault| {
            Err(StateError::Unavailable { doing, key: self.key.clone(), source: Box::new(fault) })
        });
        if let Err(error) = &outcome
            && !matches!(error, StateError::Conflict { .. })
        {
            tracing::warn!(error = error_chain(error), "the account of a budget does not answer");
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use aiops_core::{MemoryStateStore, SystemClock, Versioned};

    use super::*;

    /// A store that may be away.
    #[derive(Debug, Default)]
    struct Distant {
        store: MemoryStateStore,
        away: AtomicBool,
    }

    #[async_trait::async_trait]
    impl StateStore for Distant {
        async fn load(&self, key: &str) -> Result<Option<Versioned>, StateError> {
            if self.away.load(Ordering::Relaxed) {
                let source = "partition".into();
                return Err(StateError::Unavailable { doing: "load", key: key.to_owned(), source });
            }
            // Another replica's turn.
            tokio::task::yield_now().await;
            self.store.load(key).await
        }

        async fn save(&self, key: &str, bytes: Vec<u8>, expected: u64) -> Result<u64, StateError> {
            self.store.save(key, bytes, expected).await
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn replicas(store: &Arc<Distant>, count: usize) -> Vec<Spending> {
        let of = |_| Spending::shared(Arc::<Distant>::clone(store) as _, "prod", Arc::new(SystemClock));
        (0..count).map(of).collect()
    }

    #[tokio::test]
    async fn replicas_spend_one_budget_however_they_race() {
        let (store, budget) = (Arc::new(Distant::default()), Budget::default().tokens_per_minute(100));
        let replicas = replicas(&store, 3);
        let mut granted = Vec::new();
        for round in 0..4 {
            let ask = |replica: usize| replicas[replica].reserve(&budget, "web", 10, None, at(round));
            let (a, b, c) = tokio::join!(ask(0), ask(1), ask(2));
            granted.extend([a, b, c].into_iter().filter_map(Result::ok));
        }
        assert_eq!(granted.len(), 10, "of twelve requests of 10 tokens");
        // What one settles is there for another one.
        granted.pop().unwrap().settle(Usage::new(1, 1), None).await;
        assert!(replicas[0].reserve(&budget, "web", 8, None, at(9)).await.is_ok());
        assert!(replicas[1].reserve(&budget, "web", 1, None, at(9)).await.is_err());
        // A process that was started anew knows what was used.
        assert!(self::replicas(&store, 1)[0].reserve(&budget, "web", 1, None, at(9)).await.is_err());
        assert!(replicas[2].reserve(&budget, "web", 100, None, at(60)).await.is_ok(), "the next minute");
    }

    #[tokio::test]
    async fn without_the_account_each_counts_for_itself_and_pays_in_later() {
        let (store, budget) = (Arc::new(Distant::default()), Budget::default().tokens_per_day(100));
        let replicas = replicas(&store, 2);
        replicas[0].reserve(&budget, "web", 40, None, at(0)).await.unwrap().settle(Usage::new(20, 20), None).await;
        store.away.store(true, Ordering::Relaxed);
        let alone = replicas[0].reserve(&budget, "web", 50, None, at(1)).await.unwrap();
        assert!(replicas[0].reserve(&budget, "web", 20, None, at(1)).await.is_err(), "40 are known, 50 are taken");
        alone.settle(Usage::new(15, 15), None).await;
        store.away.store(false, Ordering::Relaxed);
        let spent = replicas[0].reserve(&budget, "web", 31, None, at(2)).await.unwrap_err();
        assert!(matches!(spent, BudgetSpent::Tokens { used: 70, .. }), "{spent}");
        let spent = replicas[1].reserve(&budget, "web", 31, None, at(3)).await.unwrap_err();
        assert!(matches!(spent, BudgetSpent::Tokens { used: 70, .. }), "the other one sees it: {spent}");
    }
}
