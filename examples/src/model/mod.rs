//! A model that the user names: the settings that `quickstart` and `doctor` share, and the adapter they make.

mod clock;
mod settings;

use aiops_core::{ActionMenu, VirtualClock, error_chain};
use aiops_llm::adapters::{Anthropic, ModelEndpoint, Ollama, OpenAiChat, OpenAiResponses};
use aiops_llm::{ChatModel, LlmTriager, LlmTriagerBuilder, RuleTriager};

pub use self::clock::RunningClock;
pub use self::settings::{ModelArguments, ModelSettings, OPTIONS};

/// The adapter of a wire format, with its own type: some can be asked more than a [`ChatModel`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Adapter {
    /// Anthropic's Messages.
    Anthropic(Anthropic),
    /// OpenAI's Chat Completions.
    OpenAi(OpenAiChat),
    /// OpenAI's Responses.
    OpenAiResponses(OpenAiResponses),
    /// Ollama's own.
    Ollama(Ollama),
}

impl Adapter {
    /// It, as any model.
    #[must_use]
    pub fn model(&self) -> Box<dyn ChatModel> {
        match self.clone() {
            Self::Anthropic(model) => Box::new(model),
            Self::OpenAi(model) => Box::new(model),
            Self::OpenAiResponses(model) => Box::new(model),
            Self::Ollama(model) => Box::new(model),
        }
    }

    /// Where it is served.
    #[must_use]
    pub fn endpoint(&self) -> &ModelEndpoint {
        match self {
            Self::Anthropic(model) => model.endpoint(),
            Self::OpenAi(model) => model.endpoint(),
            Self::OpenAiResponses(model) => model.endpoint(),
            Self::Ollama(model) => model.endpoint(),
        }
    }
}

impl ModelSettings {
    /// A triager that asks `model`, with the rules to fall back on, before the limits of these settings.
    pub fn builder(&self, model: impl ChatModel, menu: ActionMenu) -> LlmTriagerBuilder {
        let mut builder =
            LlmTriager::builder(model, menu.clone()).fallback(RuleTriager::new(menu)).timeout(self.timeout);
        if let Some(bytes) = self.max_evidence {
            builder = builder.max_evidence_bytes(bytes);
        }
        if let Some(tokens) = self.max_output {
            builder = builder.max_output_tokens(tokens);
        }
        if self.bounded { builder.bounded_schema() } else { builder }
    }

    /// The triager of a replay: it takes the time that a model takes, in virtual time too.
    ///
    /// # Errors
    /// A menu that no schema holds, or a limit of 0, as a line for a person.
    pub fn triager(&self, menu: ActionMenu, clock: VirtualClock) -> Result<LlmTriager, String> {
        let builder = self.builder(self.adapter.model(), menu).with_clock(RunningClock::new(clock));
        builder.build().map_err(|error| error_chain(&error))
    }
}
