//! A host reloads catalogue and policy while they are in use: a broken file changes nothing and says
//! what is wrong with it.
#![allow(clippy::unwrap_used)]

use aiops_core::Live;
use aiops_core::testing::samples;
use aiops_remediate::{ActionCatalogue, Policy, PolicyState};

const GOOD: &str = "actions: [{name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false}]\n";

#[test]
fn the_old_one_stays_in_use_and_the_error_says_why() {
    let folder = std::env::temp_dir().join(format!("aiops-reload-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [actions, policies] = ["actions.yaml", "policy.yaml"].map(|name| folder.join(name));
    std::fs::write(&actions, GOOD).unwrap();
    std::fs::write(&policies, "threshold: 0.9\n").unwrap();
    let catalogue = Live::from(ActionCatalogue::from_yaml_file(&actions).unwrap());
    let policy = Live::from(Policy::from_yaml_file(&policies).unwrap());
    let in_use = catalogue.clone();
    let version = in_use.load().version().to_owned();

    std::fs::write(&actions, GOOD.replace("owner: shop, ", "")).unwrap();
    std::fs::write(&policies, "threshold: 9\n").unwrap();
    let error = catalogue.replace_with(|| ActionCatalogue::from_yaml_file(&actions)).unwrap_err().to_string();
    let wanted =
        format!("{}:1:11: actions[0]: missing owner; add a line such as `owner: team-shop`", actions.display());
    assert_eq!(error, wanted);
    let error = policy.replace_with(|| Policy::from_yaml_file(&policies)).unwrap_err();
    assert_eq!(error.findings()[0].problem, "\"9\" is no number from 0 to 1");
    assert!(!error.is_retryable());
    assert_eq!(in_use.load().version(), version);

    std::fs::remove_file(&actions).unwrap();
    let error = catalogue.replace_with(|| ActionCatalogue::from_yaml_file(&actions)).unwrap_err();
    assert_eq!(error.to_string(), format!("could not read {}", actions.display()));
    let event = samples::event("checkout", "1", "2025-05-05T08:05:00Z".parse().unwrap());
    let triaged = samples::triaged(event, &["restart_pod"]);
    let verdict = policy.load().plan(&in_use.load(), &triaged, &PolicyState::default(), triaged.at);
    assert_eq!(verdict.reason(), "confidence 0.8 is below 0.9 (threshold)", "both old ones decide");

    std::fs::write(&actions, GOOD.replace("restart_pod", "page_vendor")).unwrap();
    catalogue.replace_with(|| ActionCatalogue::from_yaml_file(&actions)).unwrap();
    assert!(in_use.load().get("page_vendor").is_some() && in_use.load().get("restart_pod").is_none());
    assert_ne!(in_use.load().version(), version);
    std::fs::remove_dir_all(&folder).unwrap();
}
