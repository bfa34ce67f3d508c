//! The one schema of a report, for every provider that holds a model to a schema.
//!
//! It is what all strict modes take: objects are closed, every key is required, and there is no range,
//! length, default or reference in it. What it cannot say (a confidence of at most 1, an action once, a
//! summary that is not empty) is checked on the reply, and so are the names: some servers ignore schemas.

use std::collections::BTreeSet;

use aiops_core::ActionMenu;

use crate::OutputSchema;

/// What the schema is called where a provider wants a name.
const NAME: &str = "triage_report";

/// Values that all enums of a schema may have together. OpenAI, structured outputs, supported schemas.
const MAX_NAMES: usize = 1_000;
/// Characters that one enum of more than [`MANY_NAMES`] values may have. The same source.
const MAX_CHARS: usize = 15_000;
/// Enums up to this size have no limit on characters. The same source.
const MANY_NAMES: usize = 250;

/// Bounds for [`bounded_report_schema`], within what is taken from a reply: a summary of a few sentences.
const SUMMARY_CHARS: u32 = 600;
const CAUSE_CHARS: u32 = 300;
const CAUSES: u32 = 5;
const EVIDENCE_CHARS: u32 = 40;
const EVIDENCE: u32 = 10;
/// The most actions that a plan takes unless a policy says otherwise.
const ACTIONS: u32 = 3;

/// A menu that no strict mode takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MenuTooLarge {
    /// Too many names.
    #[error(
        "a schema may list {max} actions (OpenAI's limit on enum values), the menu has {names}: \
         build the menu of a part of the catalogue, by blast radius or by kind of service"
    )]
    Names {
        /// Distinct names of the menu.
        names: usize,
        /// How many a schema may list.
        max: usize,
    },
    /// Too much text.
    #[error(
        "the names of more than {MANY_NAMES} actions may have {max} characters in all (OpenAI's limit on one enum), \
         the menu's {names} names have {chars}: build the menu of a part of the catalogue, by blast radius or by kind \
         of service"
    )]
    Chars {
        /// Distinct names of the menu.
        names: usize,
        /// Characters of them all.
        chars: usize,
        /// How many they may have.
        max: usize,
    },
}

/// The schema of a [`TriageReport`](aiops_core::TriageReport) whose actions come from `menu`.
///
/// Names are an enum, byte for byte, sorted and each once: equal menus give equal bytes, in any order, so that
/// a provider uses the grammar that it has compiled. An empty menu drops the enum, which no provider takes
/// empty; whatever is recommended then is unknown and refused. Keys stand in reading order, so that a model
/// writes the confidence after the causes. Evidence ids are free text: an enum of them would be another
/// grammar for each request.
///
/// ```
/// use aiops_core::{ActionMenu, ActionName, MenuEntry};
///
/// let menu = ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod")?, "restart the pod")]);
/// let schema = aiops_llm::report_schema(&menu)?;
/// assert!(schema.json().contains(r#""enum":["restart_pod"]"#));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`MenuTooLarge`]: more than 1,000 names, or more than 250 with over 15,000 characters in all.
pub fn report_schema(menu: &ActionMenu) -> Result<OutputSchema, MenuTooLarge> {
    let no_bounds = Bounds::default();
    schema(menu, [no_bounds; 4])
}

/// The same with bounds on lengths and counts, for local servers (llama.cpp, vLLM, Ollama): small models go
/// on until the last token otherwise. Anthropic refuses these bounds.
///
/// # Errors
/// As [`report_schema`].
pub fn bounded_report_schema(menu: &ActionMenu) -> Result<OutputSchema, MenuTooLarge> {
    let list = |items, chars| Bounds { items: Some(items), chars: Some(chars) };
    let summary = Bounds { items: None, chars: Some(SUMMARY_CHARS) };
    let actions = Bounds { items: Some(ACTIONS), chars: None };
    schema(menu, [summary, list(CAUSES, CAUSE_CHARS), list(EVIDENCE, EVIDENCE_CHARS), actions])
}

/// How long a text and how many items at the most.
#[derive(Clone, Copy, Default)]
struct Bounds {
    items: Option<u32>,
    chars: Option<u32>,
}

fn schema(menu: &ActionMenu, [summary, causes, evidence, actions]: [Bounds; 4]) -> Result<OutputSchema, MenuTooLarge> {
    let names: BTreeSet<&str> = menu.entries().iter().map(|entry| entry.name.as_str()).collect();
    let chars = names.iter().map(|name| name.len()).sum();
    if names.len() > MAX_NAMES {
        return Err(MenuTooLarge::Names { names: names.len(), max: MAX_NAMES });
    }
    if names.len() > MANY_NAMES && chars > MAX_CHARS {
        return Err(MenuTooLarge::Chars { names: names.len(), chars, max: MAX_CHARS });
    }
    let properties = [
        ("summary", text("What happened, in plain text.", summary)),
        ("likely_causes", list("The likeliest first.", &text("One sentence.", causes), causes)),
        ("evidence", list("Ids of the lines that the causes rest on.", &text("An id as given.", evidence), evidence)),
        ("recommended_actions", list("Actions of the menu; may be empty.", &one_of(&names), actions)),
        ("confidence", plain("number", "From 0 to 1: that the first cause is the true one.")),
        ("needs_human", plain("boolean", "Whether a person must decide.")),
    ];
    let required = joined(properties.iter().map(|(key, _)| format!("\"{key}\"")));
    let properties = joined(properties.iter().map(|(key, schema)| format!("\"{key}\":{schema}")));
    let json = format!(
        r#"{{"type":"object","properties":{{{properties}}},"required":[{required}],"additionalProperties":false}}"#
    );
    Ok(OutputSchema::known(NAME, json))
}

// Descriptions are ours and names are `a-z`, `0-9` and `_`: there is nothing to escape.

fn plain(kind: &str, description: &str) -> String {
    format!(r#"{{"type":"{kind}","description":"{description}"}}"#)
}

fn text(description: &str, bounds: Bounds) -> String {
    let most = bounds.chars.map_or_else(String::new, |most| format!(r#","maxLength":{most}"#));
    format!(r#"{{"type":"string","description":"{description}"{most}}}"#)
}

fn list(description: &str, items: &str, bounds: Bounds) -> String {
    let most = bounds.items.map_or_else(String::new, |most| format!(r#","maxItems":{most}"#));
    format!(r#"{{"type":"array","description":"{description}","items":{items}{most}}}"#)
}

/// No `description` beside the enum: nothing but the names is to be read here.
fn one_of(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return r#"{"type":"string"}"#.to_owned();
    }
    format!(r#"{{"type":"string","enum":[{}]}}"#, joined(names.iter().map(|name| format!("\"{name}\""))))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}
