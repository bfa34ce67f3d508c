//! A handler whose behaviour its name tells. It acts whenever it is asked, so that only the journal stands
//! between a second request and a second effect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Compensation, Inspection, Outcome, Precondition};
use aiops_remediate::{ActionCatalogue, parameters};
use async_trait::async_trait;

use super::world::Outside;

/// `weak` has no effect and is followed by `second`, `harms` makes it worse, `blocked` must not run, `done` is
/// done, `refuses` fails before its effect, `loses` fails after it, `hangs` never answers, `slow` takes two
/// minutes, `looks` sees what it did, `probed` is asked for by numbers, `asks` needs a person.
const NAMES: [&str; 13] = [
    "first", "second", "weak", "harms", "blocked", "done", "refuses", "loses", "hangs", "slow", "looks", "probed",
    "asks",
];

pub(crate) fn catalogue() -> ActionCatalogue {
    let mut text = "actions:\n".to_owned();
    for name in NAMES {
        let more = match name {
            "weak" => ", next: second",
            "probed" => ", precondition: {probe: precondition, above: 0}, verify: {probe: verification, above: 0}",
            _ => "",
        };
        let approval = name == "asks";
        let line = format!("name: {name}, owner: shop, blast_radius: pod, requires_approval: {approval}{more}");
        text.push_str(&format!("  - {{{line}}}\n"));
    }
    ActionCatalogue::from_yaml(&text, "actions.yaml").unwrap()
}

pub(crate) struct Hand {
    name: &'static str,
    outside: Arc<Outside>,
}

impl Hand {
    pub(crate) fn all(outside: &Arc<Outside>) -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|name| Self { name, outside: Arc::clone(outside) })
    }
}

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hand").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl ActionHandler for Hand {
    fn name(&self) -> &str {
        self.name
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        let asked_again = parameters::observed(request).is_some();
        Ok(match self.name {
            "blocked" => Inspection::Blocked { reason: "it is not the service's pod".to_owned() },
            "done" => Inspection::AlreadyDone { proof: "pod-2".to_owned() },
            "looks" if asked_again && self.outside.has_effect(&request.key()) => {
                Inspection::AlreadyDone { proof: "pod-2".to_owned() }
            }
            _ => Inspection::Ready { precondition: Precondition::new([("pod", "pod-1")]) },
        })
    }

    async fn execute(&self, request: &ActionRequest, _: &Precondition) -> Result<Applied, ActionError> {
        match self.name {
            "refuses" => return Err(ActionError::before(request, "act", "the pod has another owner")),
            "slow" => {
                for _ in 0..6 {
                    self.outside.clock.advance(Duration::from_secs(20));
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        self.outside.act(request);
        match self.name {
            "loses" => Err(ActionError::unknown(request, "act", "the connection was reset")),
            "hangs" => {
                self.outside.clock.advance(Duration::from_secs(300));
                std::future::pending().await
            }
            _ => Ok(Applied::new("pod-2")),
        }
    }

    async fn verify(&self, _: &ActionRequest, _: &Applied) -> Result<Outcome, ActionError> {
        Ok(match self.name {
            "weak" => Outcome::NoEffect,
            "harms" => Outcome::Worse,
            _ => Outcome::Helped,
        })
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        Ok(match self.name {
            "harms" | "loses" => Compensation::Done(format!("put {} back", request.target)),
            _ => Compensation::None,
        })
    }
}
