//! Anthropic's Messages format.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::Body;
use super::endpoint::{InvalidEndpoint, ModelEndpoint};
use super::exchange::{NoReply, Wire};
use super::read::{Counts, joined};
use crate::{ChatReply, ChatRequest};

/// The version that these shapes were written from.
const VERSION: &str = "2026-10-21";

/// How a model is held to a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StructuredMode {
    /// `output_config.format`: the reply's text has the schema. Models of 2026.
    #[default]
    OutputConfig,
    /// A tool of that schema, which the model must call: models and servers from before, without thinking. Later
    /// models refuse it.
    ForcedTool,
}

/// A model that speaks Anthropic's Messages format.
///
/// ```no_run
/// # fn model() -> Result<(), aiops_llm::adapters::InvalidEndpoint> {
/// use aiops_llm::adapters::{Anthropic, ModelEndpoint};
///
/// // The key in ANTHROPIC_API_KEY:
/// let model = Anthropic::from_env("the-model-id")?.effort("low");
/// // A gateway with a token, in front of Bedrock:
/// let gateway = ModelEndpoint::new("https://bedrock-mantle.eu-west-1.api.aws/anthropic")?.bearer("token")?;
/// let model = Anthropic::new(gateway.provider("aws.bedrock"), "the-model-id");
/// // Vertex, where the model stands in the address:
/// let vertex = ModelEndpoint::exact("https://…/publishers/anthropic/models/the-model-id:rawPredict")?.bearer("token")?;
/// let model = Anthropic::new(vertex.provider("gcp.vertex_ai"), "the-model-id").version_in_body("vertex-2023-10-16");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Anthropic {
    endpoint: ModelEndpoint,
    model: String,
    version: HeaderValue,
    version_in_body: Option<String>,
    mode: StructuredMode,
    effort: Option<String>,
    cache_prompt: bool,
}

impl Anthropic {
    /// The model of this id there.
    pub fn new(endpoint: ModelEndpoint, model: impl Into<String>) -> Self {
        Self {
            endpoint,
            model: model.into(),
            version: HeaderValue::from_static(VERSION),
            version_in_body: None,
            mode: StructuredMode::default(),
            effort: None,
            cache_prompt: false,
        }
    }

    /// The model of this id at `ANTHROPIC_BASE_URL`, else Anthropic's own address, with the key in
    /// `ANTHROPIC_API_KEY`.
    ///
    /// # Errors
    /// No key, or an address or key that cannot be.
    pub fn from_env(model: impl Into<String>) -> Result<Self, InvalidEndpoint> {
        let variables = |name: &str| std::env::var(name).ok();
        let base = ("ANTHROPIC_BASE_URL", "https://api.anthropic.com");
        let with_key = |endpoint: ModelEndpoint, key: &str| endpoint.header("x-api-key", key);
        Ok(Self::new(ModelEndpoint::from_vars(variables, base, "ANTHROPIC_API_KEY", with_key)?, model))
    }

    /// The format's version, sent as `anthropic-version`; 2026-10-21 unless set.
    ///
    /// # Errors
    /// A version that cannot stand in a header.
    pub fn version(mut self, version: &str) -> Result<Self, InvalidEndpoint> {
        self.version = HeaderValue::from_str(version).map_err(|_| InvalidEndpoint::header("version"))?;
        Ok(self)
    }

    /// The format's version in the body, and no model there: clouds whose address names the model.
    #[must_use]
    pub fn version_in_body(mut self, version: impl Into<String>) -> Self {
        self.version_in_body = Some(version.into());
        self
    }

    /// How the model is held to a schema.
    #[must_use]
    pub fn structured(mut self, mode: StructuredMode) -> Self {
        self.mode = mode;
        self
    }

    /// How much it thinks first: `low`, `medium`, `high` …; the provider's default unless set. A report needs
    /// little: thoughts are paid and counted as output.
    #[must_use]
    pub fn effort(mut self, effort: impl Into<String>) -> Self {
        self.effort = Some(effort.into());
        self
    }

    /// Asks the provider to keep the instructions in its prompt cache. That pays from some 1,000 tokens of
    /// instructions and menu on (a model has its own minimum); below, it does nothing.
    #[must_use]
    pub fn cache_prompt(mut self) -> Self {
        self.cache_prompt = true;
        self
    }
}

impl Wire for Anthropic {
    const PATH: &'static str = "/v1/messages";
    type Answer = Answer;

    fn endpoint(&self) -> &ModelEndpoint {
        &self.endpoint
    }

    fn provider(&self) -> &str {
        self.endpoint.provider_or("anthropic")
    }

    fn headers(&self) -> HeaderMap {
        let version = (HeaderName::from_static("anthropic-version"), self.version.clone());
        self.version_in_body.is_none().then_some(version).into_iter().collect()
    }

    fn write(&self, request: &ChatRequest) -> Result<Body, serde_json::Error> {
        let mut body = Body::default();
        match &self.version_in_body {
            Some(version) => body.set("anthropic_version", version)?,
            None => body.set("model", &self.model)?,
        }
        body.set("max_tokens", request.max_output_tokens)?;
        let mut system = json!({"type": "text", "text": request.system});
        if self.cache_prompt {
            system["cache_control"] = json!({"type": "ephemeral"});
        }
        body.set("system", [system])?;
        body.set("messages", json!([{"role": "user", "content": [{"type": "text", "text": request.user}]}]))?;
        let mut output = Body::default();
        if let Some(effort) = &self.effort {
            output.set("effort", effort)?;
        }
        if let Some(schema) = &request.schema {
            let json: &RawValue = serde_json::from_str(schema.json())?;
            match self.mode {
                StructuredMode::OutputConfig => {
                    let mut format = Body::default();
                    format.set("type", "json_schema")?;
                    format.set("schema", json)?;
                    output.set("format", format)?;
                }
                StructuredMode::ForcedTool => {
                    let mut tool = Body::default();
                    tool.set("name", schema.name())?;
                    tool.set("description", "Hands in the reply.")?;
                    tool.set("strict", true)?;
                    tool.set("input_schema", json)?;
                    body.set("tools", [tool])?;
                    let choice = json!({"type": "tool", "name": schema.name(), "disable_parallel_tool_use": true});
                    body.set("tool_choice", choice)?;
                }
            }
        }
        if !output.is_empty() {
            body.set("output_config", output)?;
        }
        Ok(body)
    }

    fn read(&self, answer: Answer) -> Result<ChatReply, NoReply> {
        let Some(blocks) = answer.content else { return Err(NoReply::Shape("no content")) };
        let texts = blocks.iter().filter(|block| block.kind == "text").filter_map(|block| block.text.as_ref());
        let tools = blocks.iter().filter(|block| block.kind == "tool_use").filter_map(|block| block.input.as_deref());
        // A forced tool's input is the reply, as it was written. Of two none is chosen: the reader sees both.
        let inputs: Vec<&str> = tools.map(RawValue::get).filter(|_| self.mode == StructuredMode::ForcedTool).collect();
        let (text, stop_reason) = match answer.stop_reason {
            reason if inputs.is_empty() => (joined(texts), reason),
            // It stopped to call the tool, which is where the reply ends.
            Some(reason) if reason == "tool_use" => (inputs.join("\n"), Some("end_turn".to_owned())),
            reason => (inputs.join("\n"), reason),
        };
        let usage = Counts::of(answer.usage.as_ref());
        let cached = (usage.at("/cache_read_input_tokens"), usage.at("/cache_creation_input_tokens"));
        let mut reply = ChatReply { text, stop_reason, model: answer.model, ..ChatReply::default() };
        reply.usage.input_tokens = usage.at("/input_tokens").saturating_add(cached.0).saturating_add(cached.1);
        reply.usage.output_tokens = usage.at("/output_tokens");
        (reply.usage.cache_read_tokens, reply.usage.cache_write_tokens) = cached;
        reply.usage.reasoning_tokens = usage.at("/output_tokens_details/thinking_tokens");
        Ok(reply)
    }
}

#[derive(Deserialize)]
pub(super) struct Answer {
    content: Option<Vec<Block>>,
    stop_reason: Option<String>,
    model: Option<String>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "type")]
    kind: String,
    text: Option<Value>,
    input: Option<Box<RawValue>>,
}

super::chat_model!(Anthropic);
