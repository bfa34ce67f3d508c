//! One line of a cassette.

use aiops_core::{Fingerprint, Redactor};
use serde::{Deserialize, Serialize};

use crate::chat::{ChatReply, ChatRequest};

/// A request and its reply, both without secrets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Of provider, model and request: what a reply is found by.
    pub(super) digest: String,
    pub(super) provider: String,
    pub(super) model: String,
    pub(super) request: Asked,
    pub(super) reply: ChatReply,
}

impl Entry {
    pub(super) fn new(provider: &str, model: &str, request: Asked, reply: ChatReply) -> Self {
        let digest = request.digest(provider, model);
        Self { digest, provider: provider.to_owned(), model: model.to_owned(), request, reply }
    }
}

/// A request as it is kept and compared.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) system: String,
    pub(super) user: String,
    pub(super) schema: Option<Schema>,
    pub(super) max_output_tokens: u32,
    pub(super) timeout_ms: u64,
}

/// Name and text of a schema. It is made of the menu: nothing in it is foreign.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) json: String,
}

impl Asked {
    pub(super) fn of(request: &ChatRequest, redactor: &Redactor) -> Self {
        let schema = request.schema.as_ref();
        Self {
            system: redactor.redact(&request.system).text.into_owned(),
            user: redactor.redact(&request.user).text.into_owned(),
            schema: schema.map(|schema| Schema { name: schema.name().to_owned(), json: schema.json().to_owned() }),
            max_output_tokens: request.max_output_tokens,
            timeout_ms: u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn digest(&self, provider: &str, model: &str) -> String {
        // Text and numbers always have JSON.
        let text = serde_json::to_string(&(provider, model, self)).unwrap_or_default();
        Fingerprint::of_raw(&text).as_str().to_owned()
    }
}
