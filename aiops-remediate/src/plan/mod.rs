//! The plan: what a policy says to one report, decided whole before anything is touched.
//!
//! `report` asks the rules over the report as a whole, `step` those over one action. A plan is a
//! pure function of the report, the catalogue, the policy, the state and the time.

mod report;
mod step;

use std::collections::HashSet;
use std::time::Duration;

use aiops_core::time::minus;
use aiops_core::{Decision, Disposition, Plan, RuleVerdict, Step, Triaged, text};
use jiff::Timestamp;

use crate::catalogue::{ActionCatalogue, ActionSpec};
use crate::policy::Policy;
use crate::store::{EpisodeKey, KillSwitch, ReportId, Reservation, Run, Snapshot, SnapshotQuery};

/// A name longer than an action's can be is cut where it is shown.
const NAME_SHOWN: usize = 80;

/// Of a report that is rejected, so many of its actions are listed.
const REJECTED_SHOWN: usize = 32;

/// Reports recommend a handful of actions; above it their names are compared by hash.
const FEW: usize = 16;

/// What a plan needs to know beside report, catalogue and policy.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct PolicyState {
    /// The key of the event's identity, as the store's marks carry it.
    pub identity: String,
    /// What the store says.
    pub snapshot: Snapshot,
    /// What the policy's health guards say ([`HealthGuard::judge`](crate::HealthGuard::judge)).
    pub health: Vec<RuleVerdict>,
}

impl PolicyState {
    /// The state that a store gave for [`Policy::query`].
    pub fn new(identity: impl Into<String>, snapshot: Snapshot) -> Self {
        Self { identity: identity.into(), snapshot, health: Vec::new() }
    }

    /// What the policy's health guards say.
    #[must_use]
    pub fn health(mut self, verdicts: Vec<RuleVerdict>) -> Self {
        self.health = verdicts;
        self
    }

    /// A state in which nothing may run: what a store that is down counts as.
    pub fn stopped(reason: impl Into<String>, now: Timestamp) -> Self {
        let kill_switch = KillSwitch::on("store", reason, now);
        Self::new("", Snapshot { kill_switch, ..Snapshot::default() })
    }
}

/// What a policy says to a report.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PlanVerdict {
    /// The steps and every rule that was asked, with its inputs. Unless the disposition is
    /// `would_execute` or `awaiting_approval`, each step is denied.
    pub plan: Plan,
    /// What becomes of the report if nothing else happens: `would_execute` for a plan that passes (a
    /// dispatcher in active mode makes `executed` of it), `awaiting_approval`, `escalated`,
    /// `rejected`, `no_action`, or `duplicate` for an anomaly in a loop that a person was told of.
    pub disposition: Disposition,
}

impl PlanVerdict {
    /// Why, for a person; also where the disposition itself carries no reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        let waiting = || self.plan.steps.iter().find(|step| step.decision != Decision::Allow);
        self.disposition
            .reason()
            .or_else(|| failed(&self.plan.rules))
            .or_else(|| waiting().map(|step| step.reason.as_str()))
            .unwrap_or("every rule passes")
    }
}

/// What the first rule says that does not pass.
fn failed(rules: &[RuleVerdict]) -> Option<&str> {
    rules.iter().find(|rule| !rule.pass).map(|rule| &*rule.detail)
}

/// Verdicts so far, and what the first one that does not pass makes of the report.
#[derive(Debug, Default)]
struct Sheet {
    rules: Vec<RuleVerdict>,
    refusal: Option<Disposition>,
}

impl Sheet {
    fn ask(&mut self, verdict: RuleVerdict, refuse: fn(String) -> Disposition) {
        if !verdict.pass && self.refusal.is_none() {
            self.refusal = Some(refuse(verdict.detail.to_string()));
        }
        self.rules.push(verdict);
    }
}

fn escalated(reason: String) -> Disposition {
    Disposition::Escalated { reason }
}

fn rejected(reason: String) -> Disposition {
    Disposition::Rejected { reason }
}

fn duplicate(_: String) -> Disposition {
    Disposition::Duplicate
}

fn no_action(_: String) -> Disposition {
    Disposition::NoAction
}

/// The actions that a report recommends, each once, in its order.
fn distinct(actions: &[String]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::with_capacity(actions.len());
    if actions.len() <= FEW {
        for action in actions {
            if !names.contains(&action.as_str()) {
                names.push(action);
            }
        }
    } else {
        let mut seen = HashSet::with_capacity(actions.len());
        names.extend(actions.iter().map(String::as_str).filter(|action| seen.insert(*action)));
    }
    names
}

/// What is done instead of an action that had no effect.
fn next_of<'c>(catalogue: &'c ActionCatalogue, spec: &ActionSpec) -> Option<&'c ActionSpec> {
    spec.next.as_ref().and_then(|next| catalogue.get(next.as_str()))
}

/// What the decisions on the steps make of a report that passed as a whole.
fn together(steps: &[Step]) -> Disposition {
    let first = |decision| steps.iter().find(|step| step.decision == decision);
    match first(Decision::Deny) {
        Some(step) if steps.len() == 1 => escalated(step.reason.clone()),
        Some(step) => escalated(format!("{}: {}", step.action, step.reason)),
        None if first(Decision::RequireApproval).is_some() => Disposition::AwaitingApproval,
        None => Disposition::WouldExecute,
    }
}

/// A step of a rejected report.
fn denied(action: &str, reason: &str) -> Step {
    Step::new(text::clip(action, NAME_SHOWN), None, Decision::Deny, reason)
}

impl Policy {
    /// What becomes of a report, and every rule that was asked.
    ///
    /// In this order, the first rule that does not pass decides: the kill switch (escalated), the
    /// age of the sighting (escalated), the end of the episode (no action), unknown actions
    /// (rejected), too many actions (rejected), a triager that asks for a person (escalated), no
    /// action at all (no action), the threshold, the loop guard, freeze windows, health guards
    /// (escalated); then, for each action, its evidence, target, blast radius, own confidence, cool-down
    /// and budgets: one denial escalates the whole plan. What is left waits for approval where one of its
    /// actions asks for it. After an allowed action with a `next` stands the action that is tried if it
    /// has no effect, where that one is allowed too.
    ///
    /// The target comes from the event's labels alone. A report is untrusted: nothing in it but
    /// names, numbers and flags is read.
    ///
    /// ```
    /// use aiops_core::Disposition;
    /// use aiops_core::testing::samples;
    /// use aiops_remediate::{ActionCatalogue, Policy, PolicyState};
    /// let catalogue = ActionCatalogue::from_yaml(
    ///     "actions: [{name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false}]",
    ///     "actions.yaml",
    /// )?;
    /// let now = "2025-05-05T08:05:00Z".parse::<jiff::Timestamp>().unwrap();
    /// let triaged = samples::triaged(samples::event("checkout", "1", now), &["restart_pod"]);
    /// let verdict = Policy::default().plan(&catalogue, &triaged, &PolicyState::default(), now);
    /// let reason = "no target: label namespace".to_owned();
    /// assert_eq!(verdict.disposition, Disposition::Escalated { reason });
    /// # Ok::<(), aiops_remediate::ConfigError>(())
    /// ```
    #[must_use]
    pub fn plan(
        &self,
        catalogue: &ActionCatalogue,
        triaged: &Triaged,
        state: &PolicyState,
        now: Timestamp,
    ) -> PlanVerdict {
        let names = distinct(&triaged.report.recommended_actions);
        let specs: Vec<Option<&ActionSpec>> = names.iter().map(|name| catalogue.get(name)).collect();
        let Sheet { rules, refusal } = report::ask(self, triaged, &names, &specs, state, now);

        let mut steps: Vec<Step> = match &refusal {
            Some(Disposition::Rejected { reason }) => {
                names.iter().take(REJECTED_SHOWN).map(|name| denied(name, reason)).collect()
            }
            _ => step::decide_all(self, catalogue, &specs, triaged, state, now),
        };
        let disposition = refusal.unwrap_or_else(|| together(&steps));
        if !matches!(disposition, Disposition::WouldExecute | Disposition::AwaitingApproval) {
            let reason = disposition.reason().or_else(|| failed(&rules)).unwrap_or_default();
            for step in steps.iter_mut().filter(|step| step.decision != Decision::Deny) {
                step.decision = Decision::Deny;
                reason.clone_into(&mut step.reason);
            }
        }
        PlanVerdict { plan: Plan::new(steps, rules), disposition }
    }

    /// What [`plan`](Self::plan) needs to know from a store about a report on this identity.
    #[must_use]
    pub fn query(
        &self,
        catalogue: &ActionCatalogue,
        triaged: &Triaged,
        identity: &str,
        now: Timestamp,
    ) -> SnapshotQuery {
        let mut longest = self.loop_guard.map_or(Duration::ZERO, |guard| guard.per);
        let mut actions = Vec::new();
        let named = distinct(&triaged.report.recommended_actions).into_iter().filter_map(|name| catalogue.get(name));
        for spec in named.flat_map(|spec| [Some(spec), next_of(catalogue, spec)]).flatten() {
            if let Some(cooldown) = spec.cooldown {
                longest = longest.max(cooldown);
                actions.push(spec.name.as_str().to_owned());
            }
        }
        let longest = self.budgets.iter().map(|budget| budget.per).fold(longest, Duration::max);
        SnapshotQuery::new(EpisodeKey::of(&triaged.event), identity, actions, minus(now, longest))
            .all(!self.budgets.is_empty())
    }

    /// The marks that a plan takes before it runs, and what must still hold when they are taken: those of
    /// the steps that are allowed. A step that waits for approval, or for another one to have no effect,
    /// takes its mark when it is about to run.
    #[must_use]
    pub fn reservation(
        &self,
        catalogue: &ActionCatalogue,
        triaged: &Triaged,
        plan: &Plan,
        identity: &str,
        now: Timestamp,
    ) -> Reservation {
        let now_runs = |step: &&Step| step.decision == Decision::Allow && step.after.is_none();
        self.reserve_for(catalogue, triaged, plan.steps.iter().filter(now_runs), identity, now)
    }

    /// The marks of these steps.
    pub(crate) fn reserve_for<'s>(
        &self,
        catalogue: &ActionCatalogue,
        triaged: &Triaged,
        steps: impl Iterator<Item = &'s Step>,
        identity: &str,
        now: Timestamp,
    ) -> Reservation {
        let report = ReportId::of(triaged);
        let mark = |step: &Step| {
            let spec = catalogue.get(&step.action)?;
            let run = Run::new(report.clone(), identity, spec.name.clone(), step.target.clone()?, now);
            Some((run.blast_radius(spec.blast_radius), spec.cooldown))
        };
        let guard = self.loop_guard.map(|guard| (guard.max, guard.per));
        Reservation::new(steps.filter_map(mark).collect(), guard).budgets(self.budgets.clone()).max_open(self.max_open)
    }
}
