//! The handler suite passes the bundled adaptor and fake and catches broken handlers.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{ActionCase, FakeWorld, ScriptedHandler, check_action_handler, samples};
use aiops_core::{
    ActionError, ActionHandler, ActionName, ActionRequest, Applied, BoxError, Inspection, Outcome, Precondition,
    Target, handler_fn,
};
use async_trait::async_trait;

fn request(target: Target) -> ActionRequest {
    let event = samples::event("cart", "1", Timestamp::UNIX_EPOCH);
    let action = ActionName::new("restart_pod").unwrap();
    ActionRequest::new(action, target, event.service, event.fingerprint, "inc-1".into(), Timestamp::UNIX_EPOCH)
}

fn pod() -> Target {
    Target::new([("pod", "cart-1")])
}

#[tokio::test(start_paused = true)]
async fn the_scripted_handler_passes() {
    check_action_handler(|| {
        let world = FakeWorld::default();
        world.set_owner(&pod(), "cart");
        let (outside, disturb) = (world.clone(), world.clone());
        let handler = ScriptedHandler::new("restart_pod", world);
        ActionCase::new(handler, request(pod()), move || format!("{:?}", outside.effects()), move || disturb.disturb())
    })
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_two_closures_passes() {
    check_action_handler(|| {
        let uid = Arc::new(Mutex::new(1));
        let [seen, killed, outside, disturb] = std::array::from_fn(|_| Arc::clone(&uid));
        let inspect = move |request: ActionRequest| {
            let uid = *seen.lock().unwrap();
            async move {
                let before = request.parameters.get("uid").and_then(serde_json::Value::as_u64);
                Ok::<_, BoxError>(match before {
                    _ if request.service != "cart" => Inspection::Blocked { reason: "not theirs".to_owned() },
                    Some(before) if before != uid => Inspection::AlreadyDone { proof: format!("uid {uid}") },
                    _ => Inspection::Ready { precondition: Precondition::new([("uid", uid.to_string())]) },
                })
            }
        };
        let execute = move |request: ActionRequest, on: Precondition| {
            let killed = Arc::clone(&killed);
            async move {
                let mut uid = killed.lock().unwrap();
                if request.dry_run || on.get("uid") != Some(uid.to_string().as_str()) {
                    return Err(BoxError::from("another pod runs there now"));
                }
                *uid += 1;
                Ok(Applied::new(format!("uid {uid}")))
            }
        };
        let handler = handler_fn("restart_pod", inspect, execute);
        let print = move || outside.lock().unwrap().to_string();
        ActionCase::new(handler, request(pod()), print, move || *disturb.lock().unwrap() += 10).ask_again(
            |request, seen| {
                let uid: u64 = seen.get("uid").unwrap().parse().unwrap();
                let mut parameters = request.parameters.clone();
                parameters.insert("uid".to_owned(), uid.into());
                request.clone().parameters(parameters)
            },
        )
    })
    .await
    .unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    OtherName,
    TouchesWhenItLooks,
    OwnsEverything,
    DryRunActs,
    IgnoresThePrecondition,
    SaysDoneWhenStale,
    DoesNothing,
    NoProof,
    ActsTwice,
    Forgets,
    SeesNoEffect,
    Hangs,
}

/// A handler that counts up, with one fault.
#[derive(Debug)]
struct Broken {
    fault: Fault,
    revision: Arc<Mutex<u64>>,
    done: Mutex<Option<u64>>,
}

#[async_trait]
impl ActionHandler for Broken {
    fn name(&self) -> &str {
        if self.fault == Fault::OtherName { "other" } else { "restart_pod" }
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        if self.fault == Fault::TouchesWhenItLooks {
            *self.revision.lock().unwrap() += 1;
        }
        if request.service != "cart" && self.fault != Fault::OwnsEverything {
            return Ok(Inspection::Blocked { reason: "not theirs".to_owned() });
        }
        if let Some(done) = *self.done.lock().unwrap()
            && self.fault != Fault::Forgets
        {
            return Ok(Inspection::AlreadyDone { proof: done.to_string() });
        }
        let revision = self.revision.lock().unwrap().to_string();
        Ok(Inspection::Ready { precondition: Precondition::new([("revision", revision)]) })
    }

    async fn execute(&self, request: &ActionRequest, on: &Precondition) -> Result<Applied, ActionError> {
        if self.fault == Fault::Hangs {
            return std::future::pending().await;
        }
        let mut revision = self.revision.lock().unwrap();
        let holds = on.get("revision") == Some(revision.to_string().as_str())
            || self.fault == Fault::IgnoresThePrecondition
            || (self.fault == Fault::ActsTwice && self.done.lock().unwrap().is_some());
        if !holds && self.fault == Fault::SaysDoneWhenStale {
            return Ok(Applied::new("nothing"));
        }
        if !holds || (request.dry_run && self.fault != Fault::DryRunActs) {
            return Err(ActionError::before(request, "execute", "no"));
        }
        if self.fault != Fault::DoesNothing {
            *revision += 1;
            *self.done.lock().unwrap() = Some(*revision);
        }
        Ok(Applied::new(if self.fault == Fault::NoProof { String::new() } else { revision.to_string() }))
    }

    async fn verify(&self, _: &ActionRequest, _: &Applied) -> Result<Outcome, ActionError> {
        Ok(if self.fault == Fault::SeesNoEffect { Outcome::NoEffect } else { Outcome::Helped })
    }
}

#[tokio::test(start_paused = true)]
async fn broken_handlers_are_caught() {
    for (fault, line) in [
        (Fault::OtherName, "the name is"),
        (Fault::TouchesWhenItLooks, "`inspect` reads"),
        (Fault::OwnsEverything, "belongs to"),
        (Fault::DryRunActs, "dry_run"),
        (Fault::IgnoresThePrecondition, "precondition still holds"),
        (Fault::SaysDoneWhenStale, "precondition still holds"),
        (Fault::DoesNothing, "does it"),
        (Fault::NoProof, "proof"),
        (Fault::ActsTwice, "second effect"),
        (Fault::Forgets, "find out later"),
        (Fault::SeesNoEffect, "`verify`"),
        (Fault::Hangs, "by `request.deadline`"),
    ] {
        let make = || {
            let revision = Arc::new(Mutex::new(0));
            let (outside, disturb) = (Arc::clone(&revision), Arc::clone(&revision));
            let print = move || outside.lock().unwrap().to_string();
            let handler = Broken { fault, revision, done: Mutex::default() };
            ActionCase::new(handler, request(pod()), print, move || *disturb.lock().unwrap() += 10)
        };
        let violation = check_action_handler(make).await.unwrap_err();
        assert!(violation.contract.contains(line), "{fault:?}: {violation}");
    }
}
