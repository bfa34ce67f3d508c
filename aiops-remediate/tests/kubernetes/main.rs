//! The handlers of Kubernetes: one suite against a double of the API server, and against a real one.
//!
//! A real one is 1.20.2 with its controller manager (`.ci/services up kubernetes`); scheduler and kubelet are played
//! by `real.rs`.
#![cfg(feature = "kubernetes-tls")]
// helpers outside #[test]
#![allow(clippy::unwrap_used, clippy::panic)]

mod access;
mod argo;
mod call;
mod contract;
mod controllers;
mod deploys;
mod double;
mod drain;
mod errors;
mod interleavings;
mod patches;
mod real;
mod restart;
mod rollback;
mod scale;
mod watches;
mod world;

use std::future::Future;

use double::Server;
use world::World;

/// Runs a scenario against a double of a server of today, and of one before 1.22.
pub(crate) async fn on_doubles<F: Future<Output = ()>>(scenario: impl Fn(World) -> F) {
    for old_policy in [false, true] {
        // Small pages, so that every list has several.
        scenario(World::double(Server { old_policy, page: Some(2), ..Server::default() })).await;
    }
}

macro_rules! on_doubles {
    ($($module:ident::$scenario:ident),* $(,)?) => {
        $(#[tokio::test(start_paused = true)]
        async fn $scenario() {
            on_doubles($module::$scenario).await;
        })*

        pub(crate) const SCENARIOS: &[&str] = &[$(stringify!($scenario)),*];

        /// Every scenario, one after the other: nodes belong to the whole cluster.
        pub(crate) async fn every_scenario(world: impl Fn(&'static str) -> World) {
            $(
                println!("{}", stringify!($scenario));
                $module::$scenario(world(stringify!($scenario))).await;
            )*
        }
    };
}

on_doubles![
    restart::a_pod_is_restarted_once_by_uid,
    restart::pods_that_must_stay_are_not_restarted,
    scale::replicas_grow_up_to_the_ceiling,
    scale::what_others_scale_is_left_to_them,
    scale::an_autoscaler_is_refused_or_raised,
    rollback::a_deployment_goes_back_one_revision,
    rollback::what_must_not_be_rolled_back_is_not,
    drain::a_node_is_drained_within_budgets,
    drain::a_budget_stops_a_drain_at_its_deadline,
    drain::nodes_that_must_stay_open_are_not_drained,
    argo::a_workflow_is_started_once_and_followed,
    argo::a_workflow_that_does_not_end_is_stopped,
    deploys::rollouts_are_told_and_scaling_is_none,
    errors::refusals_are_told_apart,
];
