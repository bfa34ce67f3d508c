//! The feature tables that people read hold exactly the features that the manifests have.
#![allow(clippy::unwrap_used)] // helpers outside `#[test]`

use std::path::Path;

use aiops_examples::features::{Library, libraries, marked, table, workspace_root};

#[test]
fn the_readme_lists_every_feature() {
    let readme = std::fs::read_to_string(workspace_root().join("README.md")).unwrap();
    assert_eq!(
        marked(&readme, "features").unwrap(),
        table(&libraries().unwrap()),
        "fill it with `cargo run --example feature_table`"
    );
}

#[test]
fn every_feature_says_what_it_is_for() {
    for feature in libraries().unwrap().iter().flat_map(|library| &library.features) {
        assert!(!feature.purpose.is_empty(), "{} {}: a `## …` line above it", feature.package, feature.name);
    }
}

/// Names in the first column of the table under `//! # Features`.
fn features_in_guide(manifest: &Path) -> Vec<String> {
    let guide = std::fs::read_to_string(manifest.with_file_name("src").join("lib.rs")).unwrap();
    let mut names: Vec<String> = guide
        .lines()
        .skip_while(|line| line.trim_end() != "//! # Features")
        .take_while(|line| line.starts_with("//!"))
        .filter_map(|line| line.strip_prefix("//! | `")?.split('`').next().map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[test]
fn every_crate_lists_its_features_in_its_guide() {
    for Library { name, manifest, features } in libraries().unwrap() {
        let expected: Vec<String> = features.into_iter().map(|feature| feature.name).collect();
        assert_eq!(features_in_guide(&manifest), expected, "{name}: the table under `# Features` in src/lib.rs");
    }
}

#[test]
fn no_default_feature_is_a_client() {
    for feature in libraries().unwrap().iter().flat_map(|library| &library.features) {
        let client = ["client", "client-no-provider", "server", "otlp", "nats", "kafka", "redis", "kubernetes"];
        assert!(!(feature.default && client.contains(&feature.name.as_str())), "{feature:?}");
    }
}
