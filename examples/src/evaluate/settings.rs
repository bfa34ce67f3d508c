//! The limits that a model is asked with: recorded replies are found again with equal ones only.

use std::path::Path;
use std::time::Duration;

use aiops_core::ActionMenu;
use aiops_llm::{Budget, ChatModel, InvalidTriager, LlmTriager};
use serde::{Deserialize, Serialize};

/// The salt of prompts that are recorded for an evaluation: equal salts, equal prompts.
const SALT: &str = "evaluation";
/// The file beside a cassette; without it the library's own limits hold.
pub(crate) const FILE: &str = "triager.json";

/// What differs from the library's own limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TriagerSettings {
    /// Whether the schema bounds lengths.
    pub bounded: bool,
    /// Bytes of evidence in a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_evidence_bytes: Option<usize>,
    /// Tokens of a reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// For one report, all attempts together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
}

impl TriagerSettings {
    /// Those of a folder of incidents.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else, as a line for a person.
    pub fn of(folder: &Path) -> Result<Self, String> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let read = std::fs::read(&path).map_err(|error| error.to_string());
        let parsed = read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
        parsed.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The triager of an evaluation: what is recorded through it is found again by `evaluate`.
    ///
    /// # Errors
    /// [`InvalidTriager`]: a menu that no schema holds, or a limit of 0.
    pub fn triager(&self, model: impl ChatModel, menu: ActionMenu) -> Result<LlmTriager, InvalidTriager> {
        let mut builder = LlmTriager::builder(model, menu).salt(SALT).cache_for(Duration::ZERO);
        builder = builder.budget(Budget::unlimited());
        if let Some(bytes) = self.max_evidence_bytes {
            builder = builder.max_evidence_bytes(bytes);
        }
        if let Some(tokens) = self.max_output_tokens {
            builder = builder.max_output_tokens(tokens);
        }
        if let Some(seconds) = self.timeout_seconds {
            builder = builder.timeout(Duration::from_secs(seconds));
        }
        if self.bounded { builder.bounded_schema() } else { builder }.build()
    }
}
