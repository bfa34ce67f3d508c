//! Conformance of authorisers.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use aiops_core::testing::{Violation, ensure};
use axum::http::request::Parts;

use crate::server::Authoriser;

/// Rounds of the suite: an answer must not depend on how many came before.
const ROUNDS: usize = 3;

/// Checks an authoriser by a request that it must let in and one that it must not.
///
/// # Errors
/// The first violation.
pub async fn check_authoriser(authoriser: &dyn Authoriser, accepted: &Parts, refused: &Parts) -> Result<(), Violation> {
    for round in 0..ROUNDS {
        // Dropped after the first step, as when a sender goes away.
        let _ = pin!(authoriser.authorise(accepted)).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let denied = authoriser.authorise(refused).await;
        ensure(denied.is_err(), "the refused request is denied", || format!("round {round}: let in"))?;
        let let_in = authoriser.authorise(accepted).await;
        ensure(let_in.is_ok(), "the accepted request is let in", || format!("round {round}: {let_in:?}"))?;
    }
    Ok(())
}
