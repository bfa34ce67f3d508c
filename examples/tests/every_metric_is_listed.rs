//! docs/METRICS.md lists the metrics that the crates count, and no others.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aiops_examples::features::{libraries, workspace_root};

/// Metric name → label names.
type Metrics = BTreeMap<String, BTreeSet<String>>;

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The first string literal of `text`.
fn literal(text: &str) -> Option<&str> {
    text.split('"').nth(1)
}

/// The arguments of a macro call, `text` beginning right after its opening parenthesis.
fn arguments(text: &str) -> &str {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// Metrics in one source; the name is a literal, or a constant of the same file.
fn metrics_in(source: &str, path: &Path, metrics: &mut Metrics) {
    for call in ["counter!(", "gauge!(", "histogram!("] {
        for (at, _) in source.match_indices(call) {
            // `describe_counter!` declares nothing that is counted.
            if source[..at].ends_with('_') {
                continue;
            }
            let arguments = arguments(&source[at + call.len()..]);
            let (first, rest) = arguments.split_once(',').unwrap_or((arguments, ""));
            let first = first.trim();
            let name = if first.starts_with('"') {
                literal(first)
            } else {
                source.split_once(&format!("const {first}: &str =")).and_then(|(_, rest)| literal(rest))
            };
            let name = name.unwrap_or_else(|| panic!("{}: {call}{first}: cannot tell the name", path.display()));
            let mut parts: Vec<&str> = rest.split("=>").collect();
            // What follows the last arrow is a value.
            parts.pop();
            let labels = parts.iter().filter_map(|part| part.trim_end().strip_suffix('"')?.rsplit('"').next());
            metrics.entry(name.to_owned()).or_default().extend(labels.map(str::to_owned));
        }
    }
}

fn metrics_of_the_crates() -> Metrics {
    let mut metrics = Metrics::new();
    for library in libraries().unwrap() {
        let mut files = Vec::new();
        rust_files(&library.manifest.with_file_name("src"), &mut files);
        for file in files {
            let source = std::fs::read_to_string(&file).unwrap();
            // Unit tests stand at the end of a file.
            let source = source.split("#[cfg(test)]\nmod ").next().unwrap();
            metrics_in(source, &file, &mut metrics);
        }
    }
    metrics
}

fn metrics_of_the_page() -> Metrics {
    let page = std::fs::read_to_string(workspace_root().join("docs/METRICS.md")).unwrap();
    let mut metrics = Metrics::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "name | labels | meaning: {line}");
        assert!(!cells[2].is_empty(), "no meaning: {line}");
        // A label's values may stand in parentheses behind it.
        let names = cells[1].split('(').map(|part| part.split_once(')').map_or(part, |(_, after)| after));
        let labels = names.flat_map(|part| part.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
        assert!(metrics.insert(cells[0].trim_matches('`').to_owned(), labels).is_none(), "listed twice: {line}");
    }
    metrics
}

#[test]
fn code_and_page_agree() {
    let (code, page) = (metrics_of_the_crates(), metrics_of_the_page());
    let missing: Vec<_> = code.keys().filter(|name| !page.contains_key(*name)).collect();
    let gone: Vec<_> = page.keys().filter(|name| !code.contains_key(*name)).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in docs/METRICS.md: {missing:?}; not in the code: {gone:?}");
    assert_eq!(page, code, "labels differ");
}

#[test]
fn names_follow_the_pattern() {
    for name in metrics_of_the_crates().keys() {
        // OpenTelemetry's conventions for generative AI have names of their own.
        let ours = name.starts_with("aiops_") && name.split('_').count() >= 3;
        assert!(ours || name.starts_with("gen_ai."), "{name}");
    }
}

#[test]
fn a_metric_is_found_wherever_its_name_stands() {
    let mut metrics = Metrics::new();
    let source = "const LATE: &str = \"aiops_a_late_total\";\nmetrics::counter!(\n  \"aiops_a_b_total\",\n  \"why\" => reason(x), \"how\" => \"y\"\n).increment(1); counter!(LATE); describe_counter!(\"no\", \"x\");";
    metrics_in(source, Path::new("x.rs"), &mut metrics);
    let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(metrics["aiops_a_b_total"], labels(&["why", "how"]));
    assert_eq!(metrics["aiops_a_late_total"], labels(&[]));
    assert_eq!(metrics.len(), 2);
}
