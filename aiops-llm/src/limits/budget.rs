//! How much a triager may use, and the windows in which it is counted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::chat::Usage;

/// Services that are counted each; further ones share one account.
const SERVICES: usize = 1_000;
const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// How much a triager may use. Minutes and days are those of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Budget {
    /// Tokens a minute.
    pub tokens_per_minute: u64,
    /// Tokens a day.
    pub tokens_per_day: u64,
    /// Tokens a day of one service, so that a noisy one leaves some to the others.
    pub tokens_per_service_and_day: u64,
    /// US dollars a day. It needs a price of the model: without one a request is refused where this is set.
    pub dollars_per_day: Option<f64>,
}

impl Default for Budget {
    /// 100,000 tokens a minute, 5 million a day, 1 million a day of one service, no limit on money: a triage takes
    /// some 3,000, and 12 incidents a day are many.
    fn default() -> Self {
        Self {
            tokens_per_minute: 100_000,
            tokens_per_day: 5_000_000,
            tokens_per_service_and_day: 1_000_000,
            dollars_per_day: None,
        }
    }
}

impl Budget {
    /// No limit: for recorded replies, which cost nothing, and for evaluations that somebody watches.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            tokens_per_minute: u64::MAX,
            tokens_per_day: u64::MAX,
            tokens_per_service_and_day: u64::MAX,
            dollars_per_day: None,
        }
    }

    /// Tokens a minute.
    #[must_use]
    pub fn tokens_per_minute(mut self, tokens: u64) -> Self {
        self.tokens_per_minute = tokens;
        self
    }

    /// Tokens a day.
    #[must_use]
    pub fn tokens_per_day(mut self, tokens: u64) -> Self {
        self.tokens_per_day = tokens;
        self
    }

    /// Tokens a day of one service.
    #[must_use]
    pub fn tokens_per_service_and_day(mut self, tokens: u64) -> Self {
        self.tokens_per_service_and_day = tokens;
        self
    }

    /// US dollars a day.
    #[must_use]
    pub fn dollars_per_day(mut self, dollars: f64) -> Self {
        self.dollars_per_day = Some(dollars);
        self
    }
}

/// Not asked, since it would cost more than it may.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetSpent {
    /// Of tokens.
    #[error("{budget} is {limit}: {used} are used, and this request may take {asked}")]
    Tokens {
        /// Which one, by its key.
        budget: &'static str,
        /// How many it allows.
        limit: u64,
        /// How many are used or reserved.
        used: u64,
        /// How many the request may take.
        asked: u64,
    },
    /// Of money.
    #[error("dollars_per_day is {limit}: {used:.4} are used, and this request may cost {asked:.4}")]
    Dollars {
        /// What it allows.
        limit: f64,
        /// What is used or reserved.
        used: f64,
        /// What the request may cost.
        asked: f64,
    },
    /// A limit on money, and a model without a price.
    #[error("dollars_per_day is set and the model has no price: add it to the prices")]
    NoPrice,
}

impl BudgetSpent {
    /// As in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Tokens { budget, .. } => budget,
            Self::Dollars { .. } => "dollars_per_day",
            Self::NoPrice => "no_price",
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Window {
    number: i64,
    tokens: u64,
    dollars: f64,
}

impl Window {
    fn at(&mut self, number: i64) -> &mut Self {
        // A clock that goes back stays in the later window: a budget is not given twice.
        if number > self.number {
            *self = Self { number, ..Self::default() };
        }
        self
    }
}

/// What is used of a budget.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Used {
    minute: Window,
    day: Window,
    services: BTreeMap<String, Window>,
}

/// Tokens and money that were taken off the budget for one request.
#[derive(Debug, Clone)]
pub(super) struct Booking {
    service: String,
    windows: (i64, i64),
    tokens: u64,
    dollars: f64,
}

impl Used {
    /// Takes `tokens` and `cost` off the budget until they are settled, all or nothing.
    pub(super) fn reserve(
        &mut self,
        budget: &Budget,
        service: &str,
        tokens: u64,
        cost: Option<f64>,
        now: Timestamp,
    ) -> Result<Booking, BudgetSpent> {
        let second = now.as_second();
        let (minute, day) = (second.div_euclid(MINUTE), second.div_euclid(DAY));
        let known = self.services.len();
        let service = if known < SERVICES || self.services.contains_key(service) { service } else { "" };
        let of_service = self.services.entry(service.to_owned()).or_default().at(day).tokens;
        let (of_minute, of_day) = (self.minute.at(minute).tokens, *self.day.at(day));
        let windows = [
            ("tokens_per_minute", budget.tokens_per_minute, of_minute),
            ("tokens_per_day", budget.tokens_per_day, of_day.tokens),
            ("tokens_per_service_and_day", budget.tokens_per_service_and_day, of_service),
        ];
        for (name, limit, used) in windows {
            if used.saturating_add(tokens) > limit {
                return Err(BudgetSpent::Tokens { budget: name, limit, used, asked: tokens });
            }
        }
        if let Some(limit) = budget.dollars_per_day {
            let asked = cost.ok_or(BudgetSpent::NoPrice)?;
            if of_day.dollars + asked > limit {
                return Err(BudgetSpent::Dollars { limit, used: of_day.dollars, asked });
            }
        }
        let booking = Booking {
            service: service.to_owned(),
            windows: (self.minute.number, self.day.number),
            tokens,
            dollars: cost.unwrap_or_default(),
        };
        self.book(&booking);
        // Yesterday's services make room.
        let today = self.day.number;
        if self.services.len() >= SERVICES {
            self.services.retain(|_, window| window.number == today);
        }
        Ok(booking)
    }

    /// Takes a booking in that was granted.
    pub(super) fn book(&mut self, booking: &Booking) {
        let (minute, day) = booking.windows;
        let add = |window: &mut Window, number: i64, dollars: f64| {
            let window = window.at(number);
            if window.number == number {
                window.tokens = window.tokens.saturating_add(booking.tokens);
                window.dollars += dollars;
            }
        };
        add(&mut self.minute, minute, 0.0);
        add(&mut self.day, day, booking.dollars);
        if self.services.len() < SERVICES || self.services.contains_key(&booking.service) {
            add(self.services.entry(booking.service.clone()).or_default(), day, 0.0);
        }
    }

    /// Puts what was used in the place of what was reserved.
    pub(super) fn settle(&mut self, booking: &Booking, usage: Usage, cost: Option<f64>) {
        let (minute, day) = booking.windows;
        let exchange = |window: &mut Window, number: i64, dollars: f64| {
            if window.number == number {
                window.tokens = window.tokens.saturating_sub(booking.tokens).saturating_add(usage.total());
                window.dollars = (window.dollars - booking.dollars).max(0.0) + dollars;
            }
        };
        exchange(&mut self.minute, minute, 0.0);
        exchange(&mut self.day, day, cost.unwrap_or_default());
        if let Some(window) = self.services.get_mut(&booking.service) {
            exchange(window, day, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_minutes_tokens_are_reserved_settled_and_given_again_in_the_next() {
        let (mut spending, budget) = (Used::default(), Budget::default().tokens_per_minute(100));
        let first = spending.reserve(&budget, "web", 60, None, at(0)).unwrap();
        let refused = spending.reserve(&budget, "web", 60, None, at(59)).unwrap_err();
        assert_eq!(refused.to_string(), "tokens_per_minute is 100: 60 are used, and this request may take 60");
        spending.settle(&first, Usage::new(20, 10), None);
        let second = spending.reserve(&budget, "web", 60, None, at(59)).unwrap();
        let third = spending.reserve(&budget, "web", 100, None, at(60)).unwrap();
        spending.settle(&second, Usage::new(1, 1), None);
        assert!(spending.reserve(&budget, "web", 1, None, at(61)).is_err(), "of another minute");
        spending.settle(&third, Usage::default(), None);
        assert!(spending.reserve(&budget, "web", 100, None, at(61)).is_ok());
    }

    #[test]
    fn a_noisy_service_leaves_some_to_the_others() {
        let (mut spending, budget) = (Used::default(), Budget::default().tokens_per_service_and_day(50));
        assert!(spending.reserve(&budget, "noisy", 50, None, at(0)).is_ok());
        assert!(spending.reserve(&budget, "noisy", 1, None, at(120)).is_err());
        assert!(spending.reserve(&budget, "quiet", 50, None, at(120)).is_ok());
        assert!(spending.reserve(&budget, "noisy", 50, None, at(86_400)).is_ok(), "a new day");
    }

    #[test]
    fn money_needs_a_price_and_ends() {
        let (mut spending, budget) = (Used::default(), Budget::default().dollars_per_day(0.10));
        assert_eq!(spending.reserve(&budget, "a", 1, None, at(0)).unwrap_err(), BudgetSpent::NoPrice);
        let first = spending.reserve(&budget, "a", 1, Some(0.09), at(0)).unwrap();
        spending.settle(&first, Usage::new(1, 1), Some(0.05));
        assert!(spending.reserve(&budget, "a", 1, Some(0.06), at(9)).is_err());
        assert!(spending.reserve(&budget, "a", 1, Some(0.04), at(9)).is_ok());
    }

    #[test]
    fn services_without_end_share_one_account() {
        let (mut spending, budget) = (Used::default(), Budget::default().tokens_per_service_and_day(1));
        let taken = (0..SERVICES + 10).filter(|n| spending.reserve(&budget, &n.to_string(), 1, None, at(0)).is_ok());
        assert_eq!(taken.count(), SERVICES + 1);
        assert!(spending.services.len() <= SERVICES + 1);
    }
}
