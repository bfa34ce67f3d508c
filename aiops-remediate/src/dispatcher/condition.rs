//! The numbers that must hold before an action may run.

use std::collections::BTreeMap;

use aiops_core::plugin::guarded;
use aiops_core::time::plus;
use aiops_core::{ProbeQuery, error_chain, text};
use jiff::Timestamp;

use super::Dispatcher;
use super::step::StepRun;
use crate::catalogue::Condition;

impl StepRun<'_> {
    /// Why the entry's condition does not hold now; none where it holds, or where there is none. What cannot be read
    /// does not hold.
    pub(super) async fn unmet(&self, now: Timestamp) -> Option<String> {
        let condition = self.spec.precondition.as_ref()?;
        match self.read(condition, now).await {
            Ok(value) if condition.holds(value) => None,
            Ok(value) => Some(format!("precondition: {condition}, it is {}", text::number(value))),
            Err(why) => Some(format!("precondition: {condition}, it cannot be read: {why}")),
        }
    }

    async fn read(&self, condition: &Condition, now: Timestamp) -> Result<f64, String> {
        let dispatcher: &Dispatcher = self.dispatcher;
        let Some(probe) = &dispatcher.probe else { return Err("the dispatcher has no probe".to_owned()) };
        let deadline = plus(now, dispatcher.limits.inspect);
        let mut labels: BTreeMap<String, String> =
            self.target.parts().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        labels.entry("service".to_owned()).or_insert_with(|| self.triaged.event.service.as_str().to_owned());
        let query = ProbeQuery::new(condition.probe.as_str(), now, deadline).labels(labels);
        match guarded(&*dispatcher.clock, deadline, probe.read(&query)).await {
            Ok(Ok(reading)) => reading.value.ok_or_else(|| reading.state.to_string()),
            Ok(Err(error)) => Err(text::clip(&error_chain(&error), 200)),
            Err(fault) => Err(format!("the probe {}", fault.plain())),
        }
    }
}
