//! The suite of [`ActionHandler`].

use std::fmt;
use std::sync::Arc;

use super::{PATIENCE, answered, poll_once, within};
use crate::action::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Outcome, Precondition};
use crate::testing::{Violation, ensure};

const NAME: &str = "the name is the catalogue name of the action";
const READS: &str = "`inspect` reads the real, current state and changes nothing";
const OWNER: &str = "`inspect` must confirm that the target belongs to `request.service`";
const DRY_RUN: &str = "`execute` must change nothing when `request.dry_run` is set";
const STALE: &str = "`execute` must change nothing unless the precondition still holds";
const ACTS: &str = "`execute` does it, and says by which proof it is found again";
const TWICE: &str = "a second `execute` with the same request must not have a second effect";
const FINDS: &str = "`inspect` must be able to find out later what was done";
const VERIFY: &str = "`verify` says whether it helped, and changes nothing";
const IN_TIME: &str = "it must finish or stop by `request.deadline`";

type AskAgain = Box<dyn Fn(&ActionRequest, &Precondition) -> ActionRequest + Send + Sync>;

/// A handler over a fresh outside, and one thing that it can do there.
pub struct ActionCase {
    handler: Arc<dyn ActionHandler>,
    request: ActionRequest,
    outside: Box<dyn Fn() -> String + Send + Sync>,
    disturb: Box<dyn Fn() + Send + Sync>,
    ask_again: AskAgain,
}

impl fmt::Debug for ActionCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActionCase")
            .field("handler", &self.handler)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl ActionCase {
    /// `request` can be done now. `outside` prints what the action may change (revisions, UIDs, a list
    /// of effects); `disturb` lets somebody else change the target, so that what was observed before no
    /// longer holds.
    pub fn new(
        handler: impl ActionHandler,
        request: ActionRequest,
        outside: impl Fn() -> String + Send + Sync + 'static,
        disturb: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            handler: Arc::new(handler),
            request: request.dry_run(false),
            outside: Box::new(outside),
            disturb: Box::new(disturb),
            ask_again: Box::new(|request, _| request.clone()),
        }
    }

    /// How the host's dispatcher makes the request again after something was observed, where it tells
    /// the handler. By default it is the same request.
    #[must_use]
    pub fn ask_again(
        mut self,
        ask: impl Fn(&ActionRequest, &Precondition) -> ActionRequest + Send + Sync + 'static,
    ) -> Self {
        self.ask_again = Box::new(ask);
        self
    }

    async fn inspect(&self, request: &ActionRequest, line: &'static str) -> Result<Inspection, Violation> {
        let before = (self.outside)();
        let inspection = answered(IN_TIME, line, "inspect", self.handler.inspect(request)).await?;
        self.unchanged(&before, READS)?;
        Ok(inspection)
    }

    async fn ready(&self) -> Result<Precondition, Violation> {
        match self.inspect(&self.request, READS).await? {
            Inspection::Ready { precondition } => Ok(precondition),
            other => Err(Violation::new(READS, format!("what can be done now is {other:?}"))),
        }
    }

    async fn execute(
        &self,
        request: &ActionRequest,
        on: &Precondition,
    ) -> Result<Result<Applied, ActionError>, Violation> {
        within(PATIENCE, IN_TIME, "execute", self.handler.execute(request, on)).await
    }

    fn unchanged(&self, before: &str, line: &'static str) -> Result<(), Violation> {
        let after = (self.outside)();
        ensure(before == after, line, || format!("the outside changed from {before} to {after}"))
    }
}

/// Checks a handler: that it changes nothing when it looks, in a dry run, for another service, or once
/// somebody else changed the target; that it acts once however often it is told; and that it finds out
/// later what an abandoned call did.
///
/// `make` makes the same case over a fresh outside each time.
///
/// # Errors
/// The first line of the contract of [`ActionHandler`] that does not hold.
///
/// ```
/// use aiops_core::{ActionName, ActionRequest, Target, jiff::Timestamp, testing::{self, ActionCase}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let name = ActionName::new("restart_pod")?;
/// testing::check_action_handler(|| {
///     let (world, target) = (testing::FakeWorld::default(), Target::new([("pod", "cart-1")]));
///     world.set_owner(&target, "cart");
///     let event = testing::samples::event("cart", "1", Timestamp::UNIX_EPOCH);
///     let request = ActionRequest::new(
///         name.clone(), target, "cart".into(), event.fingerprint, "inc-1".into(), Timestamp::UNIX_EPOCH);
///     let (outside, disturb) = (world.clone(), world.clone());
///     let handler = testing::ScriptedHandler::new("restart_pod", world);
///     ActionCase::new(handler, request, move || format!("{:?}", outside.effects()), move || disturb.disturb())
/// }).await?;
/// # Ok(()) }
/// ```
pub async fn check_action_handler(make: impl Fn() -> ActionCase) -> Result<(), Violation> {
    looks_without_touching(&make()).await?;
    dry_run(&make()).await?;
    stale(&make()).await?;
    once(&make()).await?;
    abandoned(&make()).await
}

async fn looks_without_touching(case: &ActionCase) -> Result<(), Violation> {
    let (name, action) = (case.handler.name(), &case.request.action);
    ensure(name == action.as_str(), NAME, || format!("{name:?} is asked for {action}"))?;
    let before = (case.outside)();
    let _ = poll_once(case.handler.inspect(&case.request)).await;
    case.unchanged(&before, READS)?;
    case.ready().await?;
    let mut foreign = case.request.clone();
    foreign.service = "conformance-another-service".into();
    let inspection = case.inspect(&foreign, OWNER).await?;
    let blocked = matches!(inspection, Inspection::Blocked { .. });
    ensure(blocked, OWNER, || format!("asked for {}, it is {inspection:?}", foreign.service))
}

async fn dry_run(case: &ActionCase) -> Result<(), Violation> {
    let precondition = case.ready().await?;
    let before = (case.outside)();
    // What it answers is its own; what counts is the outside.
    let _ = case.execute(&case.request.clone().dry_run(true), &precondition).await?;
    case.unchanged(&before, DRY_RUN)
}

async fn stale(case: &ActionCase) -> Result<(), Violation> {
    let precondition = case.ready().await?;
    (case.disturb)();
    let before = (case.outside)();
    let answer = case.execute(&case.request, &precondition).await?;
    case.unchanged(&before, STALE)?;
    ensure(answer.is_err(), STALE, || format!("it did nothing and says {answer:?}"))
}

async fn once(case: &ActionCase) -> Result<(), Violation> {
    let (precondition, before) = (case.ready().await?, (case.outside)());
    let applied = answered(IN_TIME, ACTS, "execute", case.handler.execute(&case.request, &precondition)).await?;
    let after = (case.outside)();
    ensure(before != after && !applied.proof.is_empty(), ACTS, || format!("it says {applied:?}, outside is {after}"))?;
    let again = (case.ask_again)(&case.request, &precondition);
    found(case, &again).await?;

    for request in [&case.request, &again] {
        // Right after, and after a restart of the process: the answer may be an error or the proof.
        let _ = case.execute(request, &precondition).await?;
        case.unchanged(&after, TWICE)?;
    }
    let outcome = answered(IN_TIME, VERIFY, "verify", case.handler.verify(&again, &applied)).await?;
    case.unchanged(&after, VERIFY)?;
    let sees = matches!(outcome, Outcome::Helped | Outcome::Unknown);
    ensure(sees, VERIFY, || format!("the effect is there, and it says {outcome:?}"))
}

/// A call that was dropped at its first wait, as at a deadline.
async fn abandoned(case: &ActionCase) -> Result<(), Violation> {
    let (precondition, before) = (case.ready().await?, (case.outside)());
    let _ = poll_once(case.handler.execute(&case.request, &precondition)).await;
    let after = (case.outside)();
    if before != after {
        found(case, &(case.ask_again)(&case.request, &precondition)).await?;
        let _ = case.execute(&case.request, &precondition).await?;
        case.unchanged(&after, TWICE)?;
    }
    Ok(())
}

async fn found(case: &ActionCase, again: &ActionRequest) -> Result<(), Violation> {
    let inspection = case.inspect(again, FINDS).await?;
    let done = matches!(inspection, Inspection::AlreadyDone { .. });
    ensure(done, FINDS, || format!("the effect is there, and it sees {inspection:?}"))
}
