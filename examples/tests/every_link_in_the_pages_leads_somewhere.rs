//! Relative links in the Markdown pages lead to files that are there.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use aiops_examples::features::workspace_root;

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// Targets of `[text](target)` that are neither addresses nor places on the same page.
fn relative_links(page: &str) -> impl Iterator<Item = &str> {
    page.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .map(|target| target.split('#').next().unwrap_or(target))
}

#[test]
fn no_link_is_dead() {
    let root = workspace_root();
    let mut found = Vec::new();
    pages(&root.join("docs"), &mut found);
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "UPGRADING.md", "SECURITY.md"] {
        found.push(root.join(name));
    }
    let mut seen = 0;
    for page in found {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in relative_links(&text) {
            seen += 1;
            assert!(page.parent().unwrap().join(target).exists(), "{}: {target}", page.display());
        }
    }
    assert!(seen > 10, "only {seen} links were found");
}

#[test]
fn links_are_told_from_addresses() {
    let page = "[a](docs/a.md#x) [b](https://b.example) [c](#d) [e](../f)";
    assert_eq!(relative_links(page).collect::<Vec<_>>(), ["docs/a.md", "../f"]);
}
