//! Whatever the store cannot do, nothing runs on the hope that it did, and a person is told.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aiops_core::testing::ManualClock;
use aiops_core::{
    Applied, DetectionEvent, Disposition, Inspection, Precondition, Responder, Response, Triaged, handler_fn,
};
use aiops_remediate::{ActionCatalogue, Dispatcher, Mode, Policy};
use common::broken::{Broken, Fails};
use common::{at, event, triaged};

fn on_pod() -> DetectionEvent {
    event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0))
}

/// What a dispatcher answers over a store that fails at `method`, and how often it executed.
async fn answer(method: &'static str, triaged: &Triaged) -> (Response, u32) {
    let executed = Arc::new(AtomicU32::new(0));
    let count = Arc::<AtomicU32>::clone(&executed);
    let handler = handler_fn(
        "restart_pod",
        |request| async move {
            let again = aiops_remediate::parameters::observed(&request).is_some();
            let (proof, precondition) = ("it is new".to_owned(), Precondition::default());
            Ok(if again { Inspection::AlreadyDone { proof } } else { Inspection::Ready { precondition } })
        },
        move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok(Applied::new("deleted")) }
        },
    );
    let catalogue = "actions: [{name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false}]";
    let catalogue = ActionCatalogue::from_yaml(catalogue, "actions.yaml").unwrap();
    let dispatcher = Dispatcher::builder(catalogue, Policy::default().mode(Mode::Active))
        .handler(handler)
        .store(Broken::new(Fails::At(method)))
        .with_clock(ManualClock::new(at(0)))
        .verify_after(Duration::ZERO)
        .build()
        .unwrap();
    (dispatcher.respond(triaged, at(0)).await.unwrap(), executed.load(Ordering::Relaxed))
}

#[tokio::test]
async fn nothing_runs_and_the_reason_is_told() {
    for (method, reason) in [
        ("snapshot", "the remediation store could not be read"),
        ("open_report", "the remediation store could not write the report down"),
        ("reserve", "the remediation store could not take the marks"),
        ("acquire", "the remediation store could not tell how far the plan is"),
        ("steps_of", "the remediation store could not tell how far the plan is"),
        ("renew", "restart_pod: interrupted: the remediation store could not renew the lock"),
        ("begin", "restart_pod: the remediation store could not begin the step"),
        ("advance", "restart_pod: the remediation store could not write the step down"),
    ] {
        let (response, executed) = answer(method, &triaged(on_pod(), &["restart_pod"])).await;
        let told = response.disposition.reason().unwrap_or_default();
        assert!(told.contains(reason), "{method}: {:?}", response.disposition);
        assert_eq!(executed, 0, "{method}");
    }
}

/// What fails after the effect takes nothing back of the answer.
#[tokio::test]
async fn an_answer_that_cannot_be_kept_is_given_all_the_same() {
    for method in ["close_report", "release"] {
        let (response, executed) = answer(method, &triaged(on_pod(), &["restart_pod"])).await;
        assert_eq!((response.disposition, executed), (Disposition::Executed, 1), "{method}");
    }
}
