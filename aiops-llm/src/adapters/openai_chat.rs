//! OpenAI's Chat Completions format, which most servers speak.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::Body;
use super::endpoint::{InvalidEndpoint, ModelEndpoint};
use super::exchange::{NoReply, Wire};
use super::failure::Problem;
use super::read::{Counts, content};
use crate::{ChatReply, ChatRequest};

/// A model that speaks OpenAI's Chat Completions format: OpenAI, Azure, llama.cpp, vLLM, gateways.
///
/// The reply's schema goes out as `response_format` with `strict`. Some servers ignore it without a word:
/// [`enforces_schema`](crate::enforces_schema) finds out.
///
/// ```no_run
/// # fn model() -> Result<(), aiops_llm::adapters::InvalidEndpoint> {
/// use aiops_llm::adapters::{ModelEndpoint, OpenAiChat};
///
/// // The key in OPENAI_API_KEY:
/// let model = OpenAiChat::from_env("the-model-id")?.effort("low");
/// // llama.cpp or vLLM beside the service:
/// let model = OpenAiChat::new(ModelEndpoint::new("http://127.0.0.1:8080/v1")?, "local");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct OpenAiChat {
    endpoint: ModelEndpoint,
    model: String,
    effort: Option<String>,
    json_mode: bool,
    limit: &'static str,
}

/// OpenAI's endpoint, by the variables of its own clients.
pub(super) fn endpoint_from_env() -> Result<ModelEndpoint, InvalidEndpoint> {
    let variables = |name: &str| std::env::var(name).ok();
    let base = ("OPENAI_BASE_URL", "https://api.openai.com/v1");
    ModelEndpoint::from_vars(variables, base, "OPENAI_API_KEY", |endpoint, key| endpoint.bearer(key))
}

impl OpenAiChat {
    /// The model of this id there. The base ends in `/v1`, at most providers.
    pub fn new(endpoint: ModelEndpoint, model: impl Into<String>) -> Self {
        Self { endpoint, model: model.into(), effort: None, json_mode: false, limit: "max_completion_tokens" }
    }

    /// The model of this id at `OPENAI_BASE_URL`, else OpenAI's own address, with the key in `OPENAI_API_KEY`.
    ///
    /// # Errors
    /// No key, or an address or key that cannot be.
    pub fn from_env(model: impl Into<String>) -> Result<Self, InvalidEndpoint> {
        Ok(Self::new(endpoint_from_env()?, model))
    }

    /// How much it thinks first: `low`, `medium`, `high` …; the provider's default unless set. A report needs
    /// little: thoughts are paid and counted as output.
    #[must_use]
    pub fn effort(mut self, effort: impl Into<String>) -> Self {
        self.effort = Some(effort.into());
        self
    }

    /// Asks for any JSON object in place of the schema: for servers that know no schema. The prompt must say
    /// "JSON" then.
    #[must_use]
    pub fn json_mode(mut self) -> Self {
        self.json_mode = true;
        self
    }

    /// Sends the limit as `max_tokens`, for servers from before `max_completion_tokens`.
    #[must_use]
    pub fn max_tokens(mut self) -> Self {
        self.limit = "max_tokens";
        self
    }
}

impl Wire for OpenAiChat {
    const PATH: &'static str = "/chat/completions";
    type Answer = Answer;

    fn endpoint(&self) -> &ModelEndpoint {
        &self.endpoint
    }

    fn provider(&self) -> &str {
        self.endpoint.provider_or("openai")
    }

    fn write(&self, request: &ChatRequest) -> Result<Body, serde_json::Error> {
        let mut body = Body::default();
        body.set("model", &self.model)?;
        // `system` is known everywhere; OpenAI reads it as `developer`.
        let messages =
            json!([{"role": "system", "content": request.system}, {"role": "user", "content": request.user}]);
        body.set("messages", messages)?;
        body.set(self.limit, request.max_output_tokens)?;
        if let Some(effort) = &self.effort {
            body.set("reasoning_effort", effort)?;
        }
        if let Some(schema) = &request.schema {
            let mut format = Body::default();
            if self.json_mode {
                format.set("type", "json_object")?;
            } else {
                let mut named = Body::default();
                named.set("name", schema.name())?;
                named.set("strict", true)?;
                named.set("schema", serde_json::from_str::<&RawValue>(schema.json())?)?;
                format.set("type", "json_schema")?;
                format.set("json_schema", named)?;
            }
            body.set("response_format", format)?;
        }
        Ok(body)
    }

    fn read(&self, answer: Answer) -> Result<ChatReply, NoReply> {
        let Some(Choice { message, finish_reason }) = answer.choices.and_then(|choices| choices.into_iter().next())
        else {
            return Err(NoReply::Shape("no choices"));
        };
        // A gateway may report an error of its upstream beside an empty message.
        if let Some(error) = answer.error {
            return Err(NoReply::Problem(Problem::of(error)));
        }
        let refused = message["refusal"].as_str().is_some_and(|refusal| !refusal.is_empty());
        let usage = Counts::of(answer.usage.as_ref());
        let mut reply = ChatReply {
            text: content(message.get("content")),
            stop_reason: if refused { Some("refusal".to_owned()) } else { finish_reason },
            model: answer.model,
            ..ChatReply::default()
        };
        reply.usage.input_tokens = usage.at("/prompt_tokens");
        reply.usage.output_tokens = usage.at("/completion_tokens");
        reply.usage.cache_read_tokens = usage.at("/prompt_tokens_details/cached_tokens");
        reply.usage.cache_write_tokens = usage.at("/prompt_tokens_details/cache_write_tokens");
        reply.usage.reasoning_tokens = usage.at("/completion_tokens_details/reasoning_tokens");
        Ok(reply)
    }
}

#[derive(Deserialize)]
pub(super) struct Answer {
    choices: Option<Vec<Choice>>,
    error: Option<Value>,
    model: Option<String>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Value,
    finish_reason: Option<String>,
}

super::chat_model!(OpenAiChat);
