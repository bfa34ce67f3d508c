//! One model endpoint: a prompt in, one message out.
//!
//! A [`ChatModel`] makes one attempt and says what came of it. Whatever tries again, waits, counts, caches
//! or gives up stands above it, so that there is one budget for it all.

mod error;
pub(crate) mod span;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::error::{ChatError, ChatErrorKind};

/// Tokens that a reply may have unless the host says otherwise. A report has some 200; a model that thinks
/// first writes its thoughts on the same account.
const MAX_OUTPUT_TOKENS: u32 = 4_096;

/// What a model is asked: instructions, evidence, and the shape of the answer.
///
/// There is one turn of each, in this order, and no sampling parameter: current models refuse them.
/// `Debug` shows sizes only, never a prompt.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct ChatRequest {
    /// Instructions and the menu: the part that stays the same from request to request.
    pub system: String,
    /// The evidence of this one request.
    pub user: String,
    /// The shape that the reply must have, where there is one.
    pub schema: Option<Arc<OutputSchema>>,
    /// Tokens that the reply may have, thoughts included.
    pub max_output_tokens: u32,
    /// How long the attempt may take.
    pub timeout: Duration,
}

impl fmt::Debug for ChatRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatRequest")
            .field("system_bytes", &self.system.len())
            .field("user_bytes", &self.user.len())
            .field("schema", &self.schema.as_ref().map(|schema| schema.name()))
            .field("max_output_tokens", &self.max_output_tokens)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl ChatRequest {
    /// A request without a schema, for at most 4,096 tokens within 30 s.
    pub fn new(system: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            system: system.into(),
            user: user.into(),
            schema: None,
            max_output_tokens: MAX_OUTPUT_TOKENS,
            timeout: Duration::from_secs(30),
        }
    }

    /// The shape that the reply must have.
    #[must_use]
    pub fn schema(mut self, schema: Arc<OutputSchema>) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Tokens that the reply may have, thoughts included; at least 1.
    #[must_use]
    pub fn max_output_tokens(mut self, tokens: u32) -> Self {
        self.max_output_tokens = tokens.max(1);
        self
    }

    /// How long the attempt may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A JSON schema as text, its keys in the order in which a model is to write them.
///
/// It is text and not a value, since the order of keys decides what a model writes first, and equal bytes
/// let a provider use the grammar that it has compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSchema {
    name: String,
    json: String,
}

impl OutputSchema {
    /// A schema under `name`: at most 64 of `a-z`, `A-Z`, `0-9`, `_` and `-`, as Chat Completions asks.
    ///
    /// # Errors
    /// [`InvalidSchema`] for another name, or for text that is not one JSON object.
    pub fn new(name: impl Into<String>, json: impl Into<String>) -> Result<Self, InvalidSchema> {
        let (name, json) = (name.into(), json.into());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(InvalidSchema { name, source: None });
        }
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&json) {
            Ok(_) => Ok(Self { name, json }),
            Err(error) => Err(InvalidSchema { name, source: Some(error) }),
        }
    }

    /// One that this crate has written.
    pub(crate) fn known(name: &str, json: String) -> Self {
        Self { name: name.to_owned(), json }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// A schema that no provider takes.
#[derive(Debug, thiserror::Error)]
#[error("output schema {name:?}: {}", if .source.is_some() { "its text is not one JSON object" } else { "its name must be 1 to 64 letters, digits, '_' or '-'" })]
pub struct InvalidSchema {
    name: String,
    #[source]
    source: Option<serde_json::Error>,
}

/// What a model answered, whatever it is worth.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChatReply {
    /// The reply's text: of its blocks, those that are text.
    pub text: String,
    /// The provider's word for why the model stopped, to be looked at before the text is
    /// ([`read_reply`](crate::reply::read_reply)).
    #[serde(default)]
    pub stop_reason: Option<String>,
    /// The model that answered, by its own word: an alias may stand for several.
    #[serde(default)]
    pub model: Option<String>,
    /// The provider's id of the request, to ask its support with.
    #[serde(default)]
    pub request_id: Option<String>,
    /// What the reply cost.
    #[serde(default)]
    pub usage: Usage,
}

impl fmt::Debug for ChatReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatReply")
            .field("text_bytes", &self.text.len())
            .field("stop_reason", &self.stop_reason)
            .field("model", &self.model)
            .field("request_id", &self.request_id)
            .field("usage", &self.usage)
            .finish()
    }
}

impl ChatReply {
    /// A reply of this text that ended for this reason.
    pub fn new(text: impl Into<String>, stop_reason: impl Into<String>) -> Self {
        Self { text: text.into(), stop_reason: Some(stop_reason.into()), ..Self::default() }
    }

    /// What it cost.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The model that answered.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The provider's id of the request.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }
}

/// Tokens of one attempt, or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens read, from a cache and into one included.
    pub input_tokens: u64,
    /// Tokens written, thoughts included.
    pub output_tokens: u64,
    /// Of the tokens read, those that came from the provider's prompt cache.
    #[serde(default)]
    pub cache_read_tokens: u64,
    /// Of the tokens read, those that were put into it.
    #[serde(default)]
    pub cache_write_tokens: u64,
    /// Of the tokens written, thoughts.
    #[serde(default)]
    pub reasoning_tokens: u64,
}

impl Usage {
    /// So many tokens read and written.
    #[must_use]
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, ..Self::default() }
    }

    /// Both together; held at the largest number.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            cache_read_tokens: self.cache_read_tokens.saturating_add(other.cache_read_tokens),
            cache_write_tokens: self.cache_write_tokens.saturating_add(other.cache_write_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
        }
    }

    /// Tokens read and written.
    #[must_use]
    pub fn total(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// One model behind one endpoint.
///
/// # Contract
/// - [`complete`](Self::complete) makes one attempt: it neither tries again nor waits.
/// - It gives up after `request.timeout`; dropping the future ends the attempt (cancel safe).
/// - It may be called concurrently.
/// - It passes the text on as it came and judges nothing: a reply that was cut or refused is a reply with that
///   stop reason.
/// - Neither an error nor `Debug` shows a key, a prompt or a reply.
///
/// # Errors
/// [`ChatError`]: there is no reply. Its kind says whether asking again may help.
///
/// # Implementing
/// ```
/// use aiops_llm::{ChatError, ChatModel, ChatReply, ChatRequest, Usage};
/// #[derive(Debug)]
/// struct Parrot;
///
/// #[async_trait::async_trait]
/// impl ChatModel for Parrot {
///     fn provider(&self) -> &str { "parrot" }
///     fn model(&self) -> &str { "parrot-1" }
///     async fn complete(&self, request: &ChatRequest) -> Result<ChatReply, ChatError> {
///         Ok(ChatReply::new(request.user.as_str(), "stop").usage(Usage::new(1, 1)))
///     }
/// }
/// ```
#[async_trait]
pub trait ChatModel: fmt::Debug + Send + Sync + 'static {
    /// Whose it is (`anthropic`, `openai` …), as `gen_ai.provider.name` has it.
    fn provider(&self) -> &str;

    /// The model's id, as configured.
    fn model(&self) -> &str;

    /// One attempt.
    async fn complete(&self, request: &ChatRequest) -> Result<ChatReply, ChatError>;
}

macro_rules! forward_chat_model {
    ($pointer:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: ChatModel + ?Sized> ChatModel for $pointer<T> {
            fn provider(&self) -> &str {
                (**self).provider()
            }

            fn model(&self) -> &str {
                (**self).model()
            }

            async fn complete(&self, request: &ChatRequest) -> Result<ChatReply, ChatError> {
                (**self).complete(request).await
            }
        }
    };
}
forward_chat_model!(Arc);
forward_chat_model!(Box);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_name_that_providers_take_and_is_one_object() {
        assert!(OutputSchema::new("triage_report", "{\"type\":\"object\"}").is_ok());
        for (name, json) in [("", "{}"), ("a b", "{}"), (&*"x".repeat(65), "{}"), ("x", "[]"), ("x", "{")] {
            assert!(OutputSchema::new(name, json).is_err(), "{name} {json}");
        }
    }

    #[test]
    fn debug_shows_no_text() {
        let shown = format!("{:?} {:?}", ChatRequest::new("s3cret", "s3cret"), ChatReply::new("s3cret", "stop"));
        assert!(!shown.contains("s3cret") && shown.contains("user_bytes: 6"), "{shown}");
    }

    #[test]
    fn usage_adds_up_and_does_not_wrap() {
        let sum = Usage::new(u64::MAX, 1).plus(Usage::new(5, 2));
        assert_eq!((sum.input_tokens, sum.output_tokens, sum.total()), (u64::MAX, 3, u64::MAX));
    }
}
