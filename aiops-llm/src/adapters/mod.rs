//! Adapters: a [`ChatModel`](crate::ChatModel) for each wire format, over one HTTP layer.
//!
//! | the server | take |
//! |---|---|
//! | Anthropic, and what speaks its Messages format (Bedrock, Vertex, Foundry and gateways) | [`Anthropic`] |
//! | OpenAI, Azure, llama.cpp, vLLM, most gateways | [`OpenAiChat`] |
//! | OpenAI's Responses format | [`OpenAiResponses`] |
//! | Ollama's own format | [`Ollama`] |
//!
//! An address, its credentials and the HTTP client are a [`ModelEndpoint`]. Model ids and versions are
//! configuration: none stands in the code but the version of Anthropic's format that these shapes were written
//! from. An adapter makes one attempt, sends no sampling parameter, reads only the fields that it needs, and
//! takes any word where a provider has a list of words. A key travels in a header, never in a URL, a body,
//! `Debug` or an error; of a provider's error only its code is kept.

/// What every adapter is besides its format.
macro_rules! chat_model {
    ($adapter:ident) => {
        impl $adapter {
            /// Where it is served.
            #[must_use]
            pub fn endpoint(&self) -> &crate::adapters::ModelEndpoint {
                &self.endpoint
            }

            /// The body of a request, byte for byte as [`complete`](crate::ChatModel::complete) sends it: to show it
            /// before it is sent, or to send it over another transport (one that signs requests, say).
            ///
            /// # Errors
            /// A schema that is not JSON.
            pub fn body(&self, request: &crate::ChatRequest) -> Result<String, crate::ChatError> {
                crate::adapters::exchange::body(self, request)
            }

            /// Reads an answer of this status as [`complete`](crate::ChatModel::complete) does, from whatever
            /// transport or record it comes.
            ///
            /// # Errors
            /// [`ChatError`](crate::ChatError): the answer holds no reply.
            pub fn read_answer(&self, status: u16, body: &[u8]) -> Result<crate::ChatReply, crate::ChatError> {
                let (headers, body) = (reqwest::header::HeaderMap::new(), body.to_vec());
                crate::adapters::exchange::decode(self, crate::adapters::exchange::Answer { status, headers, body })
            }
        }

        #[async_trait::async_trait]
        impl crate::ChatModel for $adapter {
            fn provider(&self) -> &str {
                crate::adapters::exchange::Wire::provider(self)
            }

            fn model(&self) -> &str {
                &self.model
            }

            async fn complete(&self, request: &crate::ChatRequest) -> Result<crate::ChatReply, crate::ChatError> {
                crate::adapters::exchange::complete(self, request).await
            }
        }
    };
}
use chat_model;

mod anthropic;
mod body;
mod endpoint;
mod exchange;
mod failure;
mod lifecycle;
mod ollama;
mod openai_chat;
mod openai_responses;
mod reach;
mod read;

/// Re-exported, since a host may pass its client in.
pub use reqwest;

pub use self::anthropic::{Anthropic, StructuredMode};
pub use self::endpoint::{InvalidEndpoint, ModelEndpoint};
pub use self::lifecycle::ModelLifecycle;
pub(crate) use self::lifecycle::NOTICE_DAYS;
pub use self::ollama::Ollama;
pub use self::openai_chat::OpenAiChat;
pub use self::openai_responses::OpenAiResponses;
