//! A handler that is always ready and acts whenever it is asked, so that only the journal stands between a
//! second request and a second effect; and a catalogue of two actions for it.

use std::fmt;

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, BoxError, Inspection, Outcome, Precondition};
use aiops_remediate::ActionCatalogue;
use async_trait::async_trait;

pub(crate) const ACTIONS: [&str; 2] = ["first", "second"];

pub(crate) fn catalogue() -> ActionCatalogue {
    let text = "
actions:
  - {name: first, owner: shop, blast_radius: pod, requires_approval: false}
  - {name: second, owner: shop, blast_radius: pod, requires_approval: false}
";
    ActionCatalogue::from_yaml(text, "actions.yaml").unwrap()
}

pub(crate) struct Careless<F> {
    pub(crate) name: &'static str,
    /// Leaves its mark, with the key of the request.
    pub(crate) act: F,
}

impl<F> fmt::Debug for Careless<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Careless").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl<F: Fn(String) -> Result<(), BoxError> + Send + Sync + 'static> ActionHandler for Careless<F> {
    fn name(&self) -> &str {
        self.name
    }

    async fn inspect(&self, _: &ActionRequest) -> Result<Inspection, ActionError> {
        Ok(Inspection::Ready { precondition: Precondition::default() })
    }

    async fn execute(&self, request: &ActionRequest, _: &Precondition) -> Result<Applied, ActionError> {
        (self.act)(request.key()).map_err(|error| ActionError::unknown(request, "act", error))?;
        Ok(Applied::new("done"))
    }

    async fn verify(&self, _: &ActionRequest, _: &Applied) -> Result<Outcome, ActionError> {
        Ok(Outcome::Helped)
    }
}
