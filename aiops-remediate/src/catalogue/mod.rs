//! The action catalogue: the only names that may run, each with an owner and a blast radius.

mod command;
mod condition;
mod load;
mod spec;

use std::collections::HashMap;
use std::path::Path;

use aiops_core::{ActionMenu, ActionName, Fingerprint, MenuEntry};

pub use command::CommandSpec;
pub use condition::{Condition, Limit};
pub(crate) use load::{action_name, probed};
pub(crate) use spec::strange;
pub use spec::{ActionSpec, BlastRadius, NoTarget};

use crate::yaml::{self, ConfigError};

/// What may be done, as people wrote it down (field report, section 6).
///
/// ```
/// use aiops_remediate::ActionCatalogue;
/// let catalogue = ActionCatalogue::from_yaml(
///     "actions:\n  - {name: restart_pod, owner: team-shop, blast_radius: pod, requires_approval: false}\n",
///     "actions.yaml",
/// )?;
/// assert!(catalogue.get("restart_pod").is_some());
/// assert!(catalogue.get("Restart_Pod").is_none());
///
/// let error = ActionCatalogue::from_yaml("actions:\n  - {name: restart_pod}\n", "actions.yaml").unwrap_err();
/// assert!(error.to_string().starts_with("actions.yaml:2:5: actions[0]: missing owner; add"));
/// # Ok::<(), aiops_remediate::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ActionCatalogue {
    specs: Vec<ActionSpec>,
    places: HashMap<ActionName, usize>,
    version: String,
}

impl ActionCatalogue {
    /// Reads a catalogue; `file_name` is what findings call the text.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every fault of the text.
    pub fn from_yaml(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        let specs = load::specs(text, file_name)?;
        let places = specs.iter().enumerate().map(|(place, spec)| (spec.name.clone(), place)).collect();
        Ok(Self { specs, places, version: Fingerprint::of_raw(text).to_string() })
    }

    /// Reads a catalogue from a file.
    ///
    /// # Errors
    /// Those of [`from_yaml`](Self::from_yaml), and [`ConfigError::Unreadable`].
    pub fn from_yaml_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let (text, file) = yaml::file_text(path.as_ref())?;
        Self::from_yaml(&text, &file)
    }

    /// The entry with exactly this name, byte for byte.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ActionSpec> {
        self.places.get(name).map(|place| &self.specs[*place])
    }

    /// The entries, in the order of the file.
    #[must_use]
    pub fn specs(&self) -> &[ActionSpec] {
        &self.specs
    }

    /// What a triager may see: names, one line each, and the evidence that they ask for.
    #[must_use]
    pub fn menu(&self) -> ActionMenu {
        let entry = |spec: &ActionSpec| {
            let entry = MenuEntry::new(spec.name.clone(), spec.line());
            match &spec.evidence {
                Some(kind) => entry.evidence(kind.as_str()),
                None => entry,
            }
        };
        ActionMenu::new(self.specs.iter().map(entry).collect())
    }

    /// 16 hex digits over the text that it was read from: equal text, equal version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}
