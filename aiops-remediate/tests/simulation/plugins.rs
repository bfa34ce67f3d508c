//! What the dispatcher calls: handlers, the probe, the audit log and the authoriser.

use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, BoxError, Compensation, DataState, Inspection, Outcome,
    Precondition, Probe, ProbeError, ProbeQuery, Reading,
};
use aiops_remediate::{Approval, ApprovalAuthoriser, AuditEntry, AuditError, AuditLog, parameters};
use async_trait::async_trait;
use jiff::Timestamp;

use super::checks;
use super::faults::Fault;
use super::story;
use super::world::{MINUTE, SECOND, World, turn};

/// A panic that the simulation wants; its text says so, and it is not printed.
pub(crate) const PLANNED: &str = "planned panic";

/// Acts on the objects of the world, whenever it is asked: only the dispatcher stands between a second call
/// and a second effect. Its objects check token and version.
#[derive(Debug)]
pub(crate) struct Acts {
    pub(crate) world: World,
    pub(crate) process: usize,
    pub(crate) name: &'static str,
}

/// Closes the window of an `execute` also where its future is dropped.
struct Window<'a>(&'a World, String, usize);

impl Drop for Window<'_> {
    fn drop(&mut self) {
        self.0.with(|inner| checks::executed(inner, &self.1, self.2));
    }
}

/// What becomes of an `execute`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Done,
    TimeoutButDone,
    FailsBefore,
    FailsAfter,
    PanicsBefore,
    PanicsAfter,
}

impl Acts {
    fn fate(&self) -> Fate {
        self.world.with(|inner| {
            if inner.fires(Fault::TimeoutButDone, 150) {
                Fate::TimeoutButDone
            } else if inner.fires(Fault::FailsBefore, 200) {
                Fate::FailsBefore
            } else if inner.fires(Fault::FailsAfter, 200) {
                Fate::FailsAfter
            } else if inner.fires(Fault::Panics, 200) {
                if inner.random.in_1000(500) { Fate::PanicsBefore } else { Fate::PanicsAfter }
            } else {
                Fate::Done
            }
        })
    }

    async fn short_wait(&self, longest: i64) {
        let wait =
            self.world.with(|inner| if inner.random.in_1000(500) { 0 } else { inner.random.between(0, longest) });
        if wait > 0 {
            self.world.sleep(wait).await;
        } else {
            turn().await;
        }
    }
}

#[async_trait]
impl ActionHandler for Acts {
    fn name(&self) -> &str {
        self.name
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        self.short_wait(3 * SECOND).await;
        let fails = self.world.with(|inner| inner.fires(Fault::InspectFails, 120).then(|| inner.random.in_1000(300)));
        match fails {
            Some(true) => self.world.sleep(10 * MINUTE).await,
            Some(false) => return Err(ActionError::before(request, "inspect", "simulated")),
            None => {}
        }
        let key = request.key();
        self.world.with(|inner| {
            let object = inner.objects.entry(request.target.to_string()).or_default().clone();
            let done = object.effects.iter().any(|(effect, _)| *effect == key);
            // Asked again after it began: what is true is seen.
            if parameters::observed(request).is_some() {
                let precondition = Precondition::new([("uid", object.uid.to_string())]);
                return Ok(if done {
                    Inspection::AlreadyDone { proof: format!("effect of {key}") }
                } else {
                    Inspection::Ready { precondition }
                });
            }
            if inner.has(Fault::LostWrites) && done {
                return Ok(Inspection::AlreadyDone { proof: format!("effect of {key}") });
            }
            match inner.random.below(100) {
                0..4 => Ok(Inspection::AlreadyDone { proof: "it is so already".to_owned() }),
                4..8 => Ok(Inspection::Blocked { reason: "somebody works on it".to_owned() }),
                _ => {
                    let precondition = Precondition::new([("uid", object.uid.to_string())]);
                    let task = inner.current;
                    let notes = inner.seen.tasks.entry(task).or_default();
                    notes.inspected = Some((key, precondition.clone()));
                    // Somebody else is at it as well.
                    if inner.fires(Fault::ObjectReplaced, 200) {
                        inner.replaced(&request.target.to_string());
                    }
                    Ok(Inspection::Ready { precondition })
                }
            }
        })
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        let key = request.key();
        let task = self.world.with(|inner| {
            checks::executes(inner, self.process, request, precondition);
            inner.current
        });
        let _window = Window(&self.world, key.clone(), task);
        let before = |why: &'static str| {
            self.world.with(|inner| checks::failed_before(inner, &key));
            Err(ActionError::before(request, "act", why))
        };
        let fate = self.fate();
        self.short_wait(40 * SECOND).await;
        match fate {
            Fate::FailsBefore => return before("simulated"),
            Fate::PanicsBefore => std::panic::panic_any(PLANNED),
            _ => {}
        }
        let uid = precondition.get("uid").and_then(|uid| uid.parse().ok()).unwrap_or(0);
        // Often the request is on its way: it arrives whatever becomes of the one who sent it.
        let flight = self.world.with(|inner| inner.random.in_1000(300).then(|| inner.random.between(10, 20_000)));
        let effect = match flight {
            None => self.world.with(|inner| checks::takes_effect(inner, request, uid)),
            Some(flight) => {
                let answer = std::sync::Arc::new(std::sync::Mutex::new(None));
                let arrives = {
                    let (world, request, answer) =
                        (self.world.clone(), request.clone(), std::sync::Arc::clone(&answer));
                    async move {
                        world.sleep(flight).await;
                        let effect = world.with(|inner| checks::takes_effect(inner, &request, uid));
                        *answer.lock().unwrap() = Some(effect);
                    }
                };
                self.world.with(|inner| inner.spawn(None, arrives));
                self.world.sleep(flight + 10).await;
                let effect = *answer.lock().unwrap();
                effect.unwrap_or(Ok(()))
            }
        };
        if let Err(why) = effect {
            return before(why);
        }
        self.short_wait(2 * SECOND).await;
        match fate {
            Fate::TimeoutButDone => {
                self.world.sleep(60 * MINUTE).await;
                Ok(Applied::new("late"))
            }
            Fate::FailsAfter => Err(ActionError::unknown(request, "act", "simulated")),
            Fate::PanicsAfter => std::panic::panic_any(PLANNED),
            _ => Ok(Applied::new(format!("effect of {key}"))),
        }
    }

    async fn verify(&self, request: &ActionRequest, _: &Applied) -> Result<Outcome, ActionError> {
        self.short_wait(2 * SECOND).await;
        let outcome = self.world.with(|inner| {
            let outcome = match inner.random.below(100) {
                0..55 => Some(Outcome::Helped),
                55..75 => Some(Outcome::NoEffect),
                75..87 => Some(Outcome::Worse),
                87..95 => Some(Outcome::Unknown),
                _ => None,
            };
            let task = inner.current;
            let verified = &mut inner.seen.tasks.entry(task).or_default().verified;
            match outcome {
                Some(outcome) => verified.insert(request.key(), outcome),
                None => verified.remove(&request.key()),
            };
            outcome
        });
        outcome.ok_or_else(|| ActionError::before(request, "look", "simulated"))
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        self.short_wait(2 * SECOND).await;
        match self.world.with(|inner| inner.random.below(3)) {
            0 => Ok(Compensation::None),
            1 => Ok(Compensation::Done("as before".to_owned())),
            _ => Err(ActionError::unknown(request, "take it back", "simulated")),
        }
    }
}

/// Numbers about the world, drawn anew at each look.
#[derive(Debug)]
pub(crate) struct Numbers(pub(crate) World);

#[async_trait]
impl Probe for Numbers {
    async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError> {
        turn().await;
        let value = self.0.with(|inner| {
            let value = if inner.fires(Fault::ProbeFails, 300) {
                None
            } else {
                let good = inner.random.in_1000(800);
                Some(match query.what.as_str() {
                    "lag" => {
                        if good {
                            story::LAG / 2.0
                        } else {
                            story::LAG * 2.0
                        }
                    }
                    "errors" => {
                        if good {
                            story::ERRORS * 2.0
                        } else {
                            story::ERRORS / 2.0
                        }
                    }
                    _ => {
                        if good {
                            story::UNHEALTHY / 2.0
                        } else {
                            story::UNHEALTHY * 2.0
                        }
                    }
                })
            };
            let task = inner.current;
            inner.seen.tasks.entry(task).or_default().readings.insert(query.what.clone(), value);
            value
        });
        match value {
            Some(value) => Ok(Reading::ok(value, query.now)),
            None if query.what == "lag" => Ok(Reading::without(DataState::NoData, query.now)),
            None => Err(ProbeError::retryable(query.what.clone(), "simulated")),
        }
    }
}

/// The audit log, of which it is only kept what the invariants ask for.
#[derive(Debug)]
pub(crate) struct Audit(pub(crate) World);

#[async_trait]
impl AuditLog for Audit {
    async fn append(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let failed = || {
            Err(AuditError::Unavailable { doing: "append to", file: "audit".to_owned(), source: "simulated".into() })
        };
        let (slow, before, after) = self.0.with(|inner| {
            let slow = if inner.fires(Fault::SlowAudit, 60) { checks::wait(inner) } else { 0 };
            let fails = inner.fires(Fault::AuditFails, 60).then(|| inner.random.in_1000(500));
            (slow, fails == Some(true), fails == Some(false))
        });
        if slow > 0 {
            self.0.sleep(slow).await;
        } else {
            turn().await;
        }
        if before {
            return failed();
        }
        self.0.with(|inner| checks::audited(inner, &entry));
        turn().await;
        if after { failed() } else { Ok(()) }
    }
}

/// Lets those approve who may.
#[derive(Debug)]
pub(crate) struct OnCall;

#[async_trait]
impl ApprovalAuthoriser for OnCall {
    async fn authorise(&self, who: &str, _: &Approval, _: Timestamp) -> Result<(), BoxError> {
        turn().await;
        if story::may_approve(who) { Ok(()) } else { Err("only who is on call may decide".into()) }
    }
}
