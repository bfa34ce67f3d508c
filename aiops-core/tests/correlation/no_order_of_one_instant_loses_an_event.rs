//! Distinct events of one instant: whatever their order, each identity is announced and the highest
//! severity of each is told.

use std::collections::BTreeMap;

use aiops_core::{CorrelationDecision as D, Severity};
use proptest::prelude::*;

use crate::support::{correlator, event, show};

const SEVERITIES: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

fn told(batch: &[(u8, u8, usize)]) -> BTreeMap<(u8, u8), (String, Severity)> {
    let mut subject = correlator("{}");
    let mut told = BTreeMap::new();
    for (service, alert, severity) in batch {
        let event = event(0, &format!("s{service}"), &format!("a{alert}"), SEVERITIES[*severity]);
        let got = show(&mut subject, event);
        let episode = got.episode_id().unwrap().to_string();
        if got.decision == D::Announced {
            told.insert((*service, *alert), (episode, SEVERITIES[*severity]));
        }
    }
    told
}

proptest! {
    #![proptest_config(crate::support::cases())]
    #[test]
    fn all_are_told(
        batch in prop::collection::vec((0..3u8, 0..3u8, 0..3usize), 1..12).prop_shuffle(),
        other in any::<prop::sample::Index>(),
    ) {
        let first = told(&batch);
        let mut rotated = batch.clone();
        rotated.rotate_left(other.index(batch.len()));
        prop_assert_eq!(&first, &told(&rotated), "episodes and severities do not depend on the order");
        for (service, alert, severity) in &batch {
            prop_assert!(first[&(*service, *alert)].1 >= SEVERITIES[*severity]);
        }
    }
}
