//! Which action, if any.

use aiops_core::text::clip;
use aiops_core::{ActionMenu, MenuEntry, TriageRequest, Trust};

use super::rank::{Cause, Known};
use super::{ActionRule, When};

/// The action of the first rule that holds, or why there is none.
pub(super) fn recommend(
    menu: &ActionMenu,
    rules: &[ActionRule],
    request: &TriageRequest,
    first: &Cause<'_>,
    known: &Known<'_>,
    evidence: &[&str],
) -> Result<String, String> {
    if first.service != request.event.service {
        return Err(format!(
            "a target comes from the event, and that is on {}",
            clip(request.event.service.as_str(), 80)
        ));
    }
    let mut lacking = None;
    for rule in rules {
        let holds = match rule.when {
            When::DeployBefore => known.deploy.is_some(),
            When::Firing => true,
        };
        let Some(entry) = menu.get(&rule.action).filter(|_| holds) else { continue };
        match lacks(entry, request, evidence) {
            None => return Ok(rule.action.clone()),
            Some(kind) => lacking = lacking.or(Some(format!("{} asks for evidence of kind {kind}", rule.action))),
        }
    }
    Err(lacking.unwrap_or_else(|| "no rule holds for anything on the menu".to_owned()))
}

/// The kind of evidence that the entry asks for and the report does not cite.
fn lacks<'m>(entry: &'m MenuEntry, request: &TriageRequest, evidence: &[&str]) -> Option<&'m str> {
    let wanted = entry.evidence.as_deref()?;
    let cited = evidence.iter().filter_map(|id| request.context.item(id));
    let has = cited.into_iter().any(|item| item.trust == Trust::System && item.kind.as_str() == wanted);
    (!has).then_some(wanted)
}
