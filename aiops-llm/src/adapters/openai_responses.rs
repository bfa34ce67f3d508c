//! OpenAI's Responses format.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::Body;
use super::endpoint::{InvalidEndpoint, ModelEndpoint};
use super::exchange::{NoReply, Wire};
use super::failure::Problem;
use super::openai_chat::endpoint_from_env;
use super::read::{Counts, content};
use crate::{ChatReply, ChatRequest};

/// A model that speaks OpenAI's Responses format. Nothing is stored there (`store: false`).
///
/// ```no_run
/// # fn model() -> Result<(), aiops_llm::adapters::InvalidEndpoint> {
/// use aiops_llm::adapters::OpenAiResponses;
///
/// // The key in OPENAI_API_KEY:
/// let model = OpenAiResponses::from_env("the-model-id")?.effort("low");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct OpenAiResponses {
    endpoint: ModelEndpoint,
    model: String,
    effort: Option<String>,
}

impl OpenAiResponses {
    /// The model of this id there. The base ends in `/v1`, at most providers.
    pub fn new(endpoint: ModelEndpoint, model: impl Into<String>) -> Self {
        Self { endpoint, model: model.into(), effort: None }
    }

    /// The model of this id at `OPENAI_BASE_URL`, else OpenAI's own address, with the key in `OPENAI_API_KEY`.
    ///
    /// # Errors
    /// No key, or an address or key that cannot be.
    pub fn from_env(model: impl Into<String>) -> Result<Self, InvalidEndpoint> {
        Ok(Self::new(endpoint_from_env()?, model))
    }

    /// How much it thinks first: `low`, `medium`, `high` …; the provider's default unless set.
    #[must_use]
    pub fn effort(mut self, effort: impl Into<String>) -> Self {
        self.effort = Some(effort.into());
        self
    }
}

impl Wire for OpenAiResponses {
    const PATH: &'static str = "/responses";
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
        body.set("instructions", &request.system)?;
        body.set("input", &request.user)?;
        body.set("max_output_tokens", request.max_output_tokens)?;
        if let Some(effort) = &self.effort {
            body.set("reasoning", json!({"effort": effort}))?;
        }
        if let Some(schema) = &request.schema {
            let mut format = Body::default();
            format.set("type", "json_schema")?;
            format.set("name", schema.name())?;
            format.set("strict", true)?;
            format.set("schema", serde_json::from_str::<&RawValue>(schema.json())?)?;
            let mut text = Body::default();
            text.set("format", format)?;
            body.set("text", text)?;
        }
        body.set("store", false)?;
        Ok(body)
    }

    fn read(&self, answer: Answer) -> Result<ChatReply, NoReply> {
        let Some(status) = answer.status else { return Err(NoReply::Shape("no status")) };
        if status == "failed" {
            return Err(NoReply::Problem(Problem::of(answer.error.unwrap_or_default())));
        }
        let messages = answer.output.iter().flatten().filter(|item| item["type"] == "message");
        let parts = || messages.clone().filter_map(|message| message["content"].as_array()).flatten();
        let stop_reason = if parts().any(|part| part["type"] == "refusal") {
            "refusal".to_owned()
        } else if status == "incomplete" {
            match answer.incomplete_details.as_ref().and_then(|details| details["reason"].as_str()) {
                // Words that other formats have as well; the others say no more than that it is not whole.
                Some(reason @ ("max_output_tokens" | "content_filter")) => reason.to_owned(),
                _ => status,
            }
        } else {
            status
        };
        let usage = Counts::of(answer.usage.as_ref());
        let mut reply = ChatReply {
            text: messages.clone().map(|message| content(message.get("content"))).collect(),
            stop_reason: Some(stop_reason),
            model: answer.model,
            ..ChatReply::default()
        };
        reply.usage.input_tokens = usage.at("/input_tokens");
        reply.usage.output_tokens = usage.at("/output_tokens");
        reply.usage.cache_read_tokens = usage.at("/input_tokens_details/cached_tokens");
        reply.usage.cache_write_tokens = usage.at("/input_tokens_details/cache_write_tokens");
        reply.usage.reasoning_tokens = usage.at("/output_tokens_details/reasoning_tokens");
        Ok(reply)
    }
}

#[derive(Deserialize)]
pub(super) struct Answer {
    status: Option<String>,
    incomplete_details: Option<Value>,
    error: Option<Value>,
    output: Option<Vec<Value>>,
    model: Option<String>,
    usage: Option<Value>,
}

super::chat_model!(OpenAiResponses);
