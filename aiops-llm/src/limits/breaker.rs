//! A dead endpoint is not waited for again and again.

use std::collections::VecDeque;
use std::time::Duration;

use aiops_core::time::{minus, plus};
use jiff::Timestamp;

use crate::chat::{ChatError, ChatErrorKind};

/// So many failures within this time, or timeouts in a row, open it (facts of the field: a dead endpoint costs each
/// incident its whole deadline otherwise).
const FAILURES: usize = 5;
const WITHIN: Duration = Duration::from_secs(60);
const TIMEOUTS: u32 = 3;
/// How long it stays open before one request may try.
const OPEN: Duration = Duration::from_secs(60);
/// The same after a failure that a person has to mend: a key, a credit, a model that is gone.
const OPEN_FOR_A_PERSON: Duration = Duration::from_secs(900);

/// Not asked, since the endpoint failed just now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the model is not asked until {until}: it failed before ({why})")]
pub(crate) struct Shut {
    pub(crate) until: Timestamp,
    pub(crate) why: &'static str,
}

/// Closed, open until a time, or trying one request.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: VecDeque<Timestamp>,
    timeouts: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Timestamp,
    why: &'static str,
}

impl Breaker {
    /// Whether a request may go out; after an open time one may, and the next ones wait for what comes of it.
    pub(crate) fn admit(&mut self, now: Timestamp) -> Result<(), Shut> {
        match &mut self.open {
            Some(open) if now < open.until => Err(Shut { until: open.until, why: open.why }),
            Some(open) => {
                // A probe whose caller was dropped never reports: the next one goes out a while later.
                open.until = plus(now, OPEN);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A request was answered, whatever the answer is worth.
    pub(crate) fn answered(&mut self) {
        *self = Self::default();
    }

    /// A request failed. Whether it opened the breaker.
    pub(crate) fn failed(&mut self, error: &ChatError, now: Timestamp) -> bool {
        let kind = error.kind;
        // What is wrong with this one request says nothing of the next.
        if matches!(kind, ChatErrorKind::ContextTooLong | ChatErrorKind::Filtered | ChatErrorKind::NotRecorded) {
            return false;
        }
        self.timeouts = if kind == ChatErrorKind::Timeout { self.timeouts + 1 } else { 0 };
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|at| *at < minus(now, WITHIN)) || self.failures.len() > FAILURES {
            self.failures.pop_front();
        }
        let trying = self.open.is_some();
        let person = kind.is_configuration();
        if !(person || trying || self.failures.len() >= FAILURES || self.timeouts >= TIMEOUTS) {
            return false;
        }
        let wait = error.retry_after.unwrap_or_default().max(if person { OPEN_FOR_A_PERSON } else { OPEN });
        self.open = Some(Open { until: plus(now, wait), why: kind.as_str() });
        !trying
    }

    /// Whether it is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn fail(breaker: &mut Breaker, kind: ChatErrorKind, second: i64) -> bool {
        breaker.failed(&ChatError::new("p", kind), at(second))
    }

    #[test]
    fn five_failures_within_a_minute_open_it_and_five_in_five_minutes_do_not() {
        let mut breaker = Breaker::default();
        for second in [0, 61, 122, 183, 244] {
            assert!(!fail(&mut breaker, ChatErrorKind::Server, second));
        }
        assert!(breaker.admit(at(245)).is_ok());
        for second in [245, 246, 247] {
            assert!(!fail(&mut breaker, ChatErrorKind::Server, second));
        }
        assert!(fail(&mut breaker, ChatErrorKind::Overloaded, 248));
        let shut = breaker.admit(at(249)).unwrap_err().to_string();
        assert_eq!(shut, "the model is not asked until 1970-01-01T00:05:08Z: it failed before (overloaded)");
    }

    #[test]
    fn one_request_probes_and_the_others_wait_for_it() {
        let mut breaker = Breaker::default();
        for second in 0..3 {
            fail(&mut breaker, ChatErrorKind::Timeout, second);
        }
        assert!(breaker.admit(at(61)).is_err());
        assert!(breaker.admit(at(62)).is_ok(), "the probe");
        assert!(breaker.admit(at(63)).is_err(), "not before the probe is back");
        assert!(!fail(&mut breaker, ChatErrorKind::Server, 70), "it was open already");
        assert!(breaker.admit(at(129)).is_err());
        assert!(breaker.admit(at(130)).is_ok());
        breaker.answered();
        assert!(!breaker.is_open() && breaker.admit(at(131)).is_ok());
    }

    #[test]
    fn a_wrong_key_opens_it_at_once_and_for_longer() {
        let mut breaker = Breaker::default();
        assert!(fail(&mut breaker, ChatErrorKind::Auth, 0));
        assert!(breaker.admit(at(899)).is_err() && breaker.admit(at(900)).is_ok());
    }

    #[test]
    fn a_request_that_is_too_long_says_nothing_of_the_endpoint() {
        let mut breaker = Breaker::default();
        for second in 0..20 {
            assert!(!fail(&mut breaker, ChatErrorKind::ContextTooLong, second));
        }
    }
}
