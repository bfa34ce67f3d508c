//! Whoever adds a trait for hosts adds its conformance suite, and a test that the suite can fail.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Handed out by a bus; `check_event_bus` covers them.
const PARTS_OF_THE_BUS: [&str; 2] = ["settle", "subscription"];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let paths = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] }).collect()
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[test]
fn every_public_trait_has_its_suite() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut traits = Vec::new();
    for file in rust_files(&root.join("src")) {
        let source = std::fs::read_to_string(file).unwrap();
        let names = source.lines().filter_map(|line| line.strip_prefix("pub trait ")?.split([':', ' ', '<']).next());
        traits.extend(names.map(snake_case));
    }
    assert!(traits.len() >= 12, "{traits:?}");
    for name in traits.iter().filter(|name| !PARTS_OF_THE_BUS.contains(&name.as_str())) {
        let suite =
            std::fs::read_to_string(root.join(format!("src/testing/conformance/{name}.rs"))).unwrap_or_default();
        assert!(suite.contains(&format!("pub async fn check_{name}")), "no suite check_{name}");
        let test = std::fs::read_to_string(root.join(format!("tests/conformance_{name}.rs"))).unwrap_or_default();
        assert!(test.contains("unwrap_err"), "no test that check_{name} can fail");
    }
}
