//! An action with a precondition runs only while its number is on the right side of the limit.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod common;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::ManualClock;
use aiops_core::{DataState, Disposition, Probe, ProbeError, ProbeQuery, Reading, Responder, Response};
use aiops_remediate::sim::{Cluster, Deployment};
use aiops_remediate::{ActionCatalogue, Dispatcher, Mode, Policy};
use common::{at, event, triaged};

const CATALOGUE: &str = "actions: [{name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false, \
    precondition: {probe: pod_restarts, above: 3}}]";

/// What the probe answers.
#[derive(Debug, Clone, Copy)]
enum Told {
    Number(f64),
    Nothing,
    Error,
    Panic,
    Hang,
}

#[async_trait::async_trait]
impl Probe for Told {
    async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError> {
        assert_eq!(query.what, "pod_restarts");
        let labels: Vec<(&str, &str)> = query.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(labels, [("namespace", "shop"), ("pod", "cart-1"), ("service", "cart")]);
        match self {
            Self::Number(value) => Ok(Reading::ok(*value, query.now)),
            Self::Nothing => Ok(Reading::without(DataState::NoData, query.now)),
            Self::Error => Err(ProbeError::retryable("pod_restarts", "connection refused")),
            Self::Panic => panic!("s3cret"),
            Self::Hang => std::future::pending().await,
        }
    }
}

async fn respond(probe: Option<Told>, mode: Mode) -> (Response, usize) {
    let clock = ManualClock::new(at(0));
    let cluster =
        Cluster::new(clock.clone()).node("n1").node("n2").deployment(Deployment::new("shop", "cart", 3), "v1");
    clock.advance(Duration::from_secs(600));
    let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
    let mut builder = Dispatcher::builder(catalogue, Policy::default().mode(mode)).with_clock(clock.clone());
    for handler in cluster.handlers() {
        builder = builder.handler(handler);
    }
    if let Some(probe) = probe {
        builder = builder.probe(Arc::new(probe));
    }
    let dispatcher = builder.build().unwrap();
    let event = event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(590));
    let asked = triaged(event, &["restart_pod"]);
    let time = async {
        loop {
            clock.wait_for_sleepers(1).await;
            if let Some(wake) = clock.next_wake() {
                clock.set(wake);
            }
            tokio::task::yield_now().await;
        }
    };
    let response = tokio::select! {
        biased;
        response = dispatcher.respond(&asked, at(600)) => response.unwrap(),
        () = time => unreachable!(),
    };
    let changes = cluster.effects().into_iter().filter(|effect| effect.by.contains('|')).count();
    (response, changes)
}

#[tokio::test]
async fn it_runs_while_the_number_is_beyond_the_limit() {
    let (response, changes) = respond(Some(Told::Number(4.0)), Mode::Active).await;
    assert_eq!((response.disposition, changes), (Disposition::Executed, 1));
}

#[tokio::test]
async fn whatever_else_the_probe_says_nothing_runs_and_a_person_reads_why() {
    let must = "pod_restarts must be above 3";
    for (probe, why) in [
        (Some(Told::Number(3.0)), "it is 3"),
        (Some(Told::Nothing), "it cannot be read: no data"),
        (Some(Told::Error), "it cannot be read: could not read \"pod_restarts\": connection refused"),
        (Some(Told::Panic), "it cannot be read: the probe panicked"),
        (Some(Told::Hang), "it cannot be read: the probe gave no answer within 30s"),
        (None, "it cannot be read: the dispatcher has no probe"),
    ] {
        for mode in [Mode::Active, Mode::Shadow] {
            let (response, changes) = respond(probe, mode).await;
            let reason = response.disposition.reason().unwrap_or_default().to_owned();
            assert!(matches!(response.disposition, Disposition::Escalated { .. }), "{probe:?}");
            assert!(reason.contains(&format!("precondition: {must}, {why}")), "{probe:?}: {reason}");
            assert_eq!(changes, 0, "{probe:?}");
        }
    }
}
