//! Ollama's own chat format.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::Body;
use super::endpoint::ModelEndpoint;
use super::exchange::{NoReply, Wire};
use super::read::{Counts, content};
use crate::{ChatReply, ChatRequest};

/// A model that Ollama serves, in its own format: the schema goes out as `format`.
///
/// Its compatible routes drop parts of a request without a word; this one holds a local model to the schema.
/// Ollama's hosted models ignore it: [`enforces_schema`](crate::enforces_schema) finds out. Thoughts are not
/// taken for the reply: a reply that landed among them has no text.
///
/// ```no_run
/// # fn model() -> Result<(), aiops_llm::adapters::InvalidEndpoint> {
/// use aiops_llm::adapters::{ModelEndpoint, Ollama};
///
/// let model = Ollama::new(ModelEndpoint::new("http://127.0.0.1:11434")?, "the-model").context_tokens(8_192);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Ollama {
    endpoint: ModelEndpoint,
    model: String,
    context_tokens: Option<u32>,
    think: Option<bool>,
}

impl Ollama {
    /// The model of this name there.
    pub fn new(endpoint: ModelEndpoint, model: impl Into<String>) -> Self {
        Self { endpoint, model: model.into(), context_tokens: None, think: None }
    }

    /// Tokens of request and reply together (`num_ctx`); the server's default unless set. Ollama cuts a longer
    /// request without a word, so that it must hold the largest one.
    #[must_use]
    pub fn context_tokens(mut self, tokens: u32) -> Self {
        self.context_tokens = Some(tokens);
        self
    }

    /// Whether a model that can think first does; its own default unless set.
    #[must_use]
    pub fn think(mut self, think: bool) -> Self {
        self.think = Some(think);
        self
    }
}

impl Wire for Ollama {
    const PATH: &'static str = "/api/chat";
    type Answer = Answer;

    fn endpoint(&self) -> &ModelEndpoint {
        &self.endpoint
    }

    fn provider(&self) -> &str {
        self.endpoint.provider_or("ollama")
    }

    fn write(&self, request: &ChatRequest) -> Result<Body, serde_json::Error> {
        let mut body = Body::default();
        body.set("model", &self.model)?;
        let messages =
            json!([{"role": "system", "content": request.system}, {"role": "user", "content": request.user}]);
        body.set("messages", messages)?;
        body.set("stream", false)?;
        if let Some(think) = self.think {
            body.set("think", think)?;
        }
        if let Some(schema) = &request.schema {
            body.set("format", serde_json::from_str::<&RawValue>(schema.json())?)?;
        }
        let mut options = Body::default();
        options.set("num_predict", request.max_output_tokens)?;
        if let Some(tokens) = self.context_tokens {
            options.set("num_ctx", tokens)?;
        }
        body.set("options", options)?;
        Ok(body)
    }

    fn read(&self, answer: Answer) -> Result<ChatReply, NoReply> {
        let Some(message) = &answer.message else { return Err(NoReply::Shape("no message")) };
        let usage = json!({"input": answer.prompt_eval_count, "output": answer.eval_count});
        let usage = Counts::of(Some(&usage));
        let mut reply = ChatReply {
            text: content(message.get("content")),
            // A part of a stream is no whole reply.
            stop_reason: if answer.done == Some(false) { Some("incomplete".to_owned()) } else { answer.done_reason },
            model: answer.model,
            ..ChatReply::default()
        };
        reply.usage.input_tokens = usage.at("/input");
        reply.usage.output_tokens = usage.at("/output");
        Ok(reply)
    }
}

#[derive(Deserialize)]
pub(super) struct Answer {
    message: Option<Value>,
    done: Option<bool>,
    done_reason: Option<String>,
    model: Option<String>,
    prompt_eval_count: Option<Value>,
    eval_count: Option<Value>,
}

super::chat_model!(Ollama);
