//! Triage without a model: a ranking by numbers and the call graph, and a table of actions.

mod rank;
mod recommend;
mod words;

use std::time::Duration;

use aiops_core::{ActionMenu, Live, Provenance, Triage, TriageError, TriageReport, TriageRequest, Triager};
use async_trait::async_trait;

use self::rank::{Known, rank};
use self::recommend::recommend;

/// The version that provenance names; it rises with every change of what the rules answer.
const NAME: &str = "rules/1";
/// A deploy older than this before the onset is no likely cause of it.
const DEPLOY_WINDOW: Duration = Duration::from_secs(30 * 60);
/// Causes that a report lists.
const MAX_CAUSES: usize = 3;
/// Items that a report cites.
const MAX_EVIDENCE: usize = 10;

/// When an action is recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// A rollout of the cause's service began or ended at most 30 min before the cause began to fire.
    DeployBefore,
    /// The cause fires.
    Firing,
}

/// One line of the action table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActionRule {
    /// When it applies.
    pub when: When,
    /// The action's name on the menu.
    pub action: String,
}

impl ActionRule {
    /// Recommends `action` when that holds.
    pub fn new(when: When, action: impl Into<String>) -> Self {
        Self { when, action: action.into() }
    }
}

/// Writes reports by rules: the same question gets the same answer, at once and for nothing.
///
/// # Ranking
/// Each service that fires is a candidate. Its ratio is the largest score ÷ threshold among what fires
/// on it, so that unlike detectors compare. A service that depends on a firing one of at least half its
/// ratio is explained by that one. Unexplained services come before explained ones; then the larger
/// ratio, then more firing callers, then the earlier onset, then the name. Candidates come from `alert`
/// items of [`Trust::System`](aiops_core::Trust::System) as
/// [`RelatedAlerts`](aiops_core::RelatedAlerts) writes them, and from the incident's events. The order of
/// events and items has no influence.
///
/// # Confidence
/// | what is known of the first cause | adds |
/// |---|---:|
/// | its own alert stands in the context | 0.4 |
/// | no other unexplained service has more than half its ratio | 0.2 |
/// | a service that calls it fires too | 0.1 |
/// | a rollout of it began or ended at most 30 min before it began to fire | 0.1 |
///
/// So 0.8 at most; nothing is added while its own alert is not in the context.
///
/// # Actions
/// The first rule that holds, whose action is on the menu, and whose evidence (the menu's word) is among
/// the cited items of `System` trust. By default [`When::DeployBefore`] asks for `rollback_deployment` and
/// [`When::Firing`] for `restart_pod`. A target always comes from the event: where the first cause is
/// another service than the event's, nothing is recommended and a person is asked for.
///
/// Without a menu ([`RuleTriager::default`]), as a fallback behind a model, it recommends nothing, with
/// confidence 0.
#[derive(Debug, Clone, Default)]
pub struct RuleTriager {
    menu: Option<Live<ActionMenu>>,
    rules: Vec<ActionRule>,
}

impl RuleTriager {
    /// A triager that may recommend what is on the menu, by the default rules.
    ///
    /// ```
    /// use aiops_core::{ActionMenu, ActionName, MenuEntry};
    /// use aiops_llm::RuleTriager;
    /// # fn main() -> Result<(), aiops_core::InvalidActionName> {
    /// let restart = MenuEntry::new(ActionName::new("restart_pod")?, "deletes one pod").evidence("alert");
    /// let triager = RuleTriager::new(ActionMenu::new(vec![restart]));
    /// # let _ = triager; Ok(()) }
    /// ```
    #[must_use]
    pub fn new(menu: impl Into<Live<ActionMenu>>) -> Self {
        Self::builder(menu)
            .rule(ActionRule::new(When::DeployBefore, "rollback_deployment"))
            .rule(ActionRule::new(When::Firing, "restart_pod"))
            .build()
    }

    /// A triager with rules of the host's own.
    pub fn builder(menu: impl Into<Live<ActionMenu>>) -> RuleTriagerBuilder {
        RuleTriagerBuilder(Self { menu: Some(menu.into()), rules: Vec::new() })
    }

    fn report(&self, request: &TriageRequest) -> TriageReport {
        let causes = rank(request);
        let Some(first) = causes.first() else {
            return TriageReport::new(words::nothing_known(request));
        };
        let known = Known::about(first, &causes, request);
        let mut evidence = cited(&causes, &known);
        evidence.truncate(MAX_EVIDENCE);
        let likely = causes.iter().take(MAX_CAUSES).map(|cause| words::cause(cause, request));
        let report = TriageReport::new("").likely_causes(likely).evidence(evidence.iter().copied());
        let Some(menu) = &self.menu else {
            let why = "no action: these are rules behind a triager that gave no report";
            return with_summary(report, words::summary(request, &causes, &known, why));
        };
        let verdict = recommend(&menu.load(), &self.rules, request, first, &known, &evidence);
        let report = report.confidence(known.confidence());
        match verdict {
            Ok(action) => {
                let why = format!("recommends {action}");
                let report = report.recommended_actions([action]).needs_human(false);
                with_summary(report, words::summary(request, &causes, &known, &why))
            }
            Err(why) => with_summary(report, words::summary(request, &causes, &known, &format!("no action: {why}"))),
        }
    }
}

fn with_summary(mut report: TriageReport, summary: String) -> TriageReport {
    report.summary = summary;
    report
}

/// What the report rests on, the most important first, each once.
fn cited<'a>(causes: &[rank::Cause<'a>], known: &Known<'a>) -> Vec<&'a str> {
    let first = causes.iter().take(1).flat_map(|cause| cause.items.iter().take(MAX_CAUSES).copied());
    let others = causes.iter().skip(1).filter_map(|cause| cause.items.first().copied());
    let mut ids = Vec::new();
    for id in first.chain(known.deploy.map(|item| item.id.as_str())).chain(known.beside.iter().copied()).chain(others) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// Builds a [`RuleTriager`].
#[derive(Debug)]
#[must_use]
pub struct RuleTriagerBuilder(RuleTriager);

impl RuleTriagerBuilder {
    /// Adds a rule, behind those given before.
    pub fn rule(mut self, rule: ActionRule) -> Self {
        self.0.rules.push(rule);
        self
    }

    /// The triager.
    #[must_use]
    pub fn build(self) -> RuleTriager {
        self.0
    }
}

#[async_trait]
impl Triager for RuleTriager {
    fn name(&self) -> &str {
        NAME
    }

    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
        Ok(Triage::new(self.report(request), Provenance::new(NAME)))
    }
}

#[cfg(test)]
mod tests;
