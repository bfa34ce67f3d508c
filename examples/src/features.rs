//! The features of the library crates, read from their manifests: what the feature tables of the
//! documentation are made of and held against.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// One feature of one library crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feature {
    /// The crate.
    pub package: String,
    /// The feature.
    pub name: String,
    /// Whether it is on by default.
    pub default: bool,
    /// The `##` comment above it in the manifest, on one line. Empty where there is none.
    pub purpose: String,
}

/// A library crate with its features, sorted; `default` itself is not one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The crate.
    pub name: String,
    /// Where its `Cargo.toml` lies.
    pub manifest: PathBuf,
    /// Its features.
    pub features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    features: std::collections::BTreeMap<String, Vec<String>>,
    publish: Option<Vec<String>>,
}

/// The folder of the workspace.
#[must_use]
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// The published crates of the workspace, by `cargo metadata`.
///
/// # Errors
/// Cargo does not start or does not answer with metadata; a manifest cannot be read.
pub fn libraries() -> io::Result<Vec<Library>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(workspace_root())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr))));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    // `publish = false` reads as an empty list of registries.
    metadata.packages.into_iter().filter(|package| package.publish.is_none()).map(library).collect()
}

fn library(package: Package) -> io::Result<Library> {
    let manifest = std::fs::read_to_string(&package.manifest_path)?;
    let default = package.features.get("default").cloned().unwrap_or_default();
    let features = package.features.keys().filter(|name| *name != "default").map(|name| Feature {
        package: package.name.clone(),
        name: name.clone(),
        default: default.contains(name),
        purpose: purpose(&manifest, name),
    });
    Ok(Library { features: features.collect(), name: package.name, manifest: package.manifest_path })
}

/// The `##` lines right above `name = …` in the manifest's `[features]` section.
fn purpose(manifest: &str, name: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in manifest.lines().skip_while(|line| line.trim() != "[features]").skip(1) {
        if let Some(comment) = line.strip_prefix("## ") {
            lines.push(comment.trim());
        } else if line.starts_with('[') {
            break;
        } else if line.split('=').next().is_some_and(|key| key.trim() == name) {
            return lines.join(" ");
        } else {
            lines.clear();
        }
    }
    String::new()
}

/// The feature table of the README.
#[must_use]
pub fn table(libraries: &[Library]) -> String {
    let mut text = String::from("| crate | feature | default | what it is for |\n|---|---|---|---|\n");
    for feature in libraries.iter().flat_map(|library| &library.features) {
        let default = if feature.default { "on" } else { "off" };
        text.push_str(&format!("| `{}` | `{}` | {default} | {} |\n", feature.package, feature.name, feature.purpose));
    }
    text
}

/// What stands in `text` between `<!-- NAME -->` and `<!-- /NAME -->`.
#[must_use]
pub fn marked<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<!-- {name} -->\n"))?;
    rest.split_once(&format!("<!-- /{name} -->")).map(|(inside, _)| inside)
}

/// `text` with what stands between the marks replaced.
#[must_use]
pub fn with_marked(text: &str, name: &str, inside: &str) -> Option<String> {
    let old = marked(text, name)?;
    let open = format!("<!-- {name} -->\n");
    let start = text.find(&open)? + open.len();
    Some(format!("{}{inside}{}", &text[..start], &text[start + old.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"x\"\n\n[features]\ndefault = [\"b\"]\n## One\n## thing.\na = []\n\n# not for the table\nb = []\n[dependencies]\n## no feature\nc = 1\n";

    #[test]
    fn a_purpose_is_the_comment_right_above() {
        assert_eq!(purpose(MANIFEST, "a"), "One thing.");
        assert_eq!(purpose(MANIFEST, "b"), "");
        assert_eq!(purpose(MANIFEST, "c"), "");
    }

    #[test]
    fn marks_are_found_and_filled() {
        let text = "a\n<!-- t -->\nold\n<!-- /t -->\nb";
        assert_eq!(marked(text, "t"), Some("old\n"));
        assert_eq!(with_marked(text, "t", "new\n").unwrap(), "a\n<!-- t -->\nnew\n<!-- /t -->\nb");
        assert_eq!(marked(text, "u"), None);
    }
}
