//! The numbers that must hold before an action may run.

use std::collections::BTreeMap;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use aiops_core::{ProbeQuery, RuleVerdict, ServiceName, Target, Triaged, error_chain, text};
use jiff::Timestamp;

use super::step::StepRun;
use super::{Dispatcher, store_failed};
use crate::mutant::mutant;
use crate::policy::Policy;
use crate::store::GuardState;

impl StepRun<'_> {
    /// Why the entry's condition does not hold now; none where it holds, or where there is none. What cannot be read
    /// does not hold.
    pub(super) async fn unmet(&self, now: Timestamp) -> Option<String> {
        let condition = self.spec.precondition.as_ref()?;
        let service = &self.record.triaged.event.service;
        match self.dispatcher.read(&condition.probe, &self.target, service, now).await {
            Ok(value) if condition.holds(value) || mutant!("precondition_not_compared") => None,
            Ok(value) => Some(format!("precondition: {condition}, it is {}", text::number(value))),
            Err(why) => Some(format!("precondition: {condition}, it cannot be read: {why}")),
        }
    }
}

impl Dispatcher {
    /// A number about a target.
    pub(super) async fn read(
        &self,
        what: &str,
        target: &Target,
        service: &ServiceName,
        now: Timestamp,
    ) -> Result<f64, String> {
        let mut labels: BTreeMap<String, String> =
            target.parts().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        labels.entry("service".to_owned()).or_insert_with(|| service.as_str().to_owned());
        self.ask_probe(what, labels, now).await
    }

    async fn ask_probe(&self, what: &str, labels: BTreeMap<String, String>, now: Timestamp) -> Result<f64, String> {
        let Some(probe) = &self.probe else { return Err("the dispatcher has no probe".to_owned()) };
        let deadline = plus(now, self.limits.inspect);
        let query = ProbeQuery::new(what, now, deadline).labels(labels);
        match guarded(&*self.clock, deadline, probe.read(&query)).await {
            Ok(Ok(reading)) => reading.value.ok_or_else(|| reading.state.to_string()),
            Ok(Err(error)) => Err(text::clip(&error_chain(&error), 200)),
            Err(fault) => Err(format!("the probe {}", fault.plain())),
        }
    }

    /// What the health guards say that concern these actions; how they stand from now on is kept.
    pub(super) async fn health<'a>(
        &self,
        policy: &Policy,
        stand: &BTreeMap<String, GuardState>,
        actions: impl Iterator<Item = &'a str> + Clone,
        triaged: &Triaged,
        now: Timestamp,
    ) -> Vec<RuleVerdict> {
        let mut verdicts = Vec::new();
        for guard in policy.health.iter().filter(|guard| guard.concerns(actions.clone())) {
            let event = &triaged.event;
            let mut labels = event.labels.clone();
            labels.entry("service".to_owned()).or_insert_with(|| event.service.as_str().to_owned());
            let reading = self.ask_probe(&guard.probe, labels, now).await;
            let name = format!("health|{}", guard.probe);
            let (verdict, stands) = guard.judge(stand.get(&name), &reading, now);
            verdicts.push(verdict);
            if let Some(stands) = stands
                && let Err(error) = self.store.set_guard(&name, &stands).await
            {
                store_failed("note a health guard", &error);
            }
        }
        verdicts
    }

    /// Why a deploy of the service holds actions back now.
    pub(super) fn deploying(&self, service: &ServiceName, now: Timestamp) -> Option<String> {
        let (log, window) = self.deploys.as_ref()?;
        log.deploys(service).iter().find_map(|deploy| {
            let (from, to) = window.of(deploy)?;
            let id = text::clip(&deploy.deploy_id, 80);
            (from <= now && now < to).then(|| format!("deploy {id} of {service} holds it until {to}"))
        })
    }
}
