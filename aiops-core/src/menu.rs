//! What a triager may see of an action catalogue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::ActionName;

/// One entry of the menu: a name, one line, and what evidence it asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct MenuEntry {
    /// The name to answer with, byte for byte.
    pub name: ActionName,
    /// What it does, in one line.
    pub description: String,
    /// The kind of context item that must be cited for it (`deploy`, `log`, …), where it asks for
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

impl MenuEntry {
    /// An entry that asks for no evidence.
    pub fn new(name: ActionName, description: impl Into<String>) -> Self {
        Self { name, description: description.into(), evidence: None }
    }

    /// The kind of context item that must be cited.
    #[must_use]
    pub fn evidence(mut self, kind: impl Into<String>) -> Self {
        self.evidence = Some(kind.into());
        self
    }
}

/// The names that a triager may pick from. It holds no target, parameter or owner.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ActionMenu {
    entries: Vec<MenuEntry>,
}

impl ActionMenu {
    /// A menu of these entries, in this order.
    #[must_use]
    pub fn new(entries: Vec<MenuEntry>) -> Self {
        Self { entries }
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[MenuEntry] {
        &self.entries
    }

    /// The entry with exactly this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&MenuEntry> {
        self.entries.iter().find(|entry| entry.name.as_str() == name)
    }
}
