//! Whether a server holds its model to a schema: asked, not assumed.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tracing::Instrument;

use crate::chat::span;
use crate::{ChatError, ChatModel, ChatRequest, OutputSchema};

const SCHEMA: &str = r#"{"type":"object","properties":{"x":{"type":"string","enum":["alpha"]}},"required":["x"],"additionalProperties":false}"#;
const SYSTEM: &str = "You repeat words exactly. Reply with JSON only.";
const USER: &str = r#"Reply with exactly {"x":"BANANA"} and nothing else. No other word is right."#;
/// A model that thinks first needs some; one that is not held to the schema may talk until here.
const MAX_TOKENS: u32 = 512;
/// A local model on a busy machine writes ten tokens a second.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What [`enforces_schema`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Enforced {
    /// The reply had the schema against the instructions: the server holds its model to it.
    Yes,
    /// The reply had not: a schema is a wish there. Names and shapes must be checked on every reply, which
    /// they are anyway, and more replies will fail that check.
    No,
    /// There was no text: it refused, or thought until the limit.
    NotKnown,
}

/// Asks for a word that the schema forbids, and looks which of the two wins.
///
/// Several servers take a schema and ignore it without a word (a parser of thoughts switched on, a model of a
/// hosted catalogue, a compatible route of another server), so this is worth one call of some 100 tokens for
/// each endpoint and model, when a host starts. What comes out stands in the gauge `aiops_llm_schema_enforced`
/// (1 or 0).
///
/// # Errors
/// [`ChatError`] of the model. Kind `Refused` says that it does not take schemas at all.
pub async fn enforces_schema(model: &dyn ChatModel) -> Result<Enforced, ChatError> {
    let schema = Arc::new(OutputSchema::known("canary", SCHEMA.to_owned()));
    let request = ChatRequest::new(SYSTEM, USER).schema(schema).max_output_tokens(MAX_TOKENS).timeout(TIMEOUT);
    let span = span::of(model, &request);
    let outcome = model.complete(&request).instrument(span.clone()).await;
    span::record(&span, &outcome);
    let reply = outcome?;
    let text = reply.text.trim();
    let found = match serde_json::from_str::<Value>(text) {
        _ if text.is_empty() => Enforced::NotKnown,
        Ok(value) if value == json!({"x": "alpha"}) => Enforced::Yes,
        _ => Enforced::No,
    };
    let (provider, name) = (model.provider().to_owned(), model.model().to_owned());
    if found == Enforced::No {
        tracing::warn!(provider, model = name, "the server does not hold its model to a schema");
    }
    if found != Enforced::NotKnown {
        let gauge = metrics::gauge!("aiops_llm_schema_enforced", "provider" => provider, "model" => name);
        gauge.set(if found == Enforced::Yes { 1.0 } else { 0.0 });
    }
    Ok(found)
}
