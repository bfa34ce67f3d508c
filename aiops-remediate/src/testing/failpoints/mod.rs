//! Failpoints: each boundary between the dispatcher and what outlives it has a name, and a test says what
//! happens there.

mod audit;
mod handler;
mod one;
mod store;

use std::fmt;
use std::future::{Future, pending};

pub use self::audit::FailingAudit;
pub use self::handler::{FailingAuthoriser, FailingHandler, FailingProbe};
pub use self::one::OneFailpoint;
pub use self::store::FailingStore;

/// Which side of a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Nothing of the call has happened.
    Before,
    /// All of it has happened; the caller does not know yet.
    After,
}

/// What happens at one side of a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailAction {
    /// The call goes on.
    Go,
    /// The process dies: the call never returns, and whoever runs it drops its future.
    Crash,
    /// The call fails: an error of the kind that says that it may or may not have happened, except for
    /// handlers before their call, where it is certain that nothing changed.
    Fail,
}

/// Says what happens at each boundary that is passed.
///
/// A boundary is named by what is done and in which state: `store.begin`, `store.advance.ended.executed`,
/// `store.acquire.step.verifying`, `handler.execute`, `audit.step.executing`. [`FailingStore`],
/// [`FailingHandler`], [`FailingAudit`], [`FailingProbe`] and [`FailingAuthoriser`] ask on both sides of each
/// call; [`OneFailpoint`] is the one that lets a process die at one place.
pub trait Failpoints: fmt::Debug + Send + Sync + 'static {
    /// What happens at this side of this boundary, now.
    fn at(&self, point: &str, side: Side) -> FailAction;
}

/// A call with a boundary around it.
async fn through<T, E>(
    failpoints: &dyn Failpoints,
    point: &str,
    call: impl Future<Output = Result<T, E>> + Send,
    fault: impl Fn(Side) -> E + Send + Sync,
) -> Result<T, E> {
    pass(failpoints, point, Side::Before, &fault).await?;
    let answer = call.await;
    pass(failpoints, point, Side::After, &fault).await?;
    answer
}

async fn pass<E>(
    failpoints: &dyn Failpoints,
    point: &str,
    side: Side,
    fault: &(impl Fn(Side) -> E + Sync),
) -> Result<(), E> {
    match failpoints.at(point, side) {
        FailAction::Go => Ok(()),
        FailAction::Fail => Err(fault(side)),
        FailAction::Crash => pending().await,
    }
}
