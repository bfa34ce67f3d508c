//! The correlator from outside: properties against independent models, and what users of such
//! systems reported.
#![allow(clippy::unwrap_used, clippy::panic)]

mod a_deploy_holds_no_identity_for_ever;
mod decisions_equal_a_simple_model;
mod fifty_pods_are_one_and_two_clusters_two;
mod flapping_is_bounded_and_hides_no_rise;
mod late_and_unknown_data_end_nothing;
mod no_order_of_one_instant_loses_an_event;
mod reports_on_episodes;
mod reports_on_identity;
mod reports_on_suppression;
mod saving_anywhere_changes_nothing;
mod support;
