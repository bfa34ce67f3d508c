//! What of an event makes it another one: identity labels do, volatile labels do not.

use std::collections::BTreeSet;

use aiops_core::{CorrelationDecision as D, Severity};
use proptest::prelude::*;

use crate::support::{correlator, event, show};

proptest! {
    #![proptest_config(crate::support::cases())]
    #[test]
    fn pods_do_not_count_and_clusters_do(
        pods in prop::collection::vec((0..50u8, 0..2usize, 0..500i64), 1..20),
        by_cluster in any::<bool>(),
    ) {
        let mut subject = correlator(if by_cluster { r#"{"identity_labels":["cluster"]}"# } else { "{}" });
        let mut pods = pods;
        pods.sort_by_key(|(.., seconds)| *seconds);
        let (mut announced, mut prints, mut clusters) = (0, BTreeSet::new(), BTreeSet::new());
        for (pod, cluster, seconds) in pods {
            let mut event = event(seconds, "checkout", "P99", Severity::Warning);
            let cluster = ["eu", "us"][cluster];
            event.labels.insert("pod".to_owned(), format!("checkout-{pod}"));
            event.labels.insert("cluster".to_owned(), cluster.to_owned());
            let got = show(&mut subject, event);
            prop_assert!(matches!(got.decision, D::Announced | D::Repeat));
            announced += usize::from(got.decision == D::Announced);
            prints.insert(got.fingerprint().unwrap().clone());
            clusters.insert(cluster);
            prop_assert!(got.event.unwrap().upstream_id.is_none(), "what our builder made is no foreign fingerprint");
        }
        let expected = if by_cluster { clusters.len() } else { 1 };
        prop_assert_eq!((announced, prints.len()), (expected, expected));
    }
}

#[test]
fn fifty_pods_of_one_service_are_one_announcement() {
    let mut subject = correlator("{}");
    let decisions: Vec<D> = (0..50)
        .map(|pod| {
            let mut event = event(pod, "checkout", "P99", Severity::Warning);
            event.labels.insert("pod".to_owned(), format!("checkout-{pod}"));
            show(&mut subject, event).decision
        })
        .collect();
    assert_eq!(decisions[0], D::Announced);
    assert_eq!(decisions.iter().filter(|decision| **decision == D::Repeat).count(), 49);
}
