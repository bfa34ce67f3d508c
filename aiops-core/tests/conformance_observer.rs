//! The observer suite passes an observer that counts and catches one that panics at any kind of step.
#![allow(clippy::panic)]

use std::sync::atomic::{AtomicU64, Ordering};

use aiops_core::testing::check_observer;
use aiops_core::{Observer, PipelineEvent};

#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Observer for Counting {
    fn observe(&self, _: &PipelineEvent<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct PanicsAt(&'static str);

impl Observer for PanicsAt {
    fn observe(&self, event: &PipelineEvent<'_>) {
        assert!(!format!("{event:?}").starts_with(self.0), "observer bug");
    }
}

#[tokio::test]
async fn observers_that_panic_are_caught_whatever_the_step() {
    check_observer(Counting::default()).await.unwrap();
    for step in ["Evaluated ", "EvaluationFailed", "Correlated", "ContextGathered", "Triaged", "Responded", "Noticed"] {
        let violation = check_observer(PanicsAt(step)).await.unwrap_err();
        assert!(violation.contract.contains("every step") && violation.detail.contains(step), "{violation}");
    }
}
