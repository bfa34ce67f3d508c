//! Writes down what a model answers.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aiops_core::Redactor;
use async_trait::async_trait;

use super::entry::{Asked, Entry};
use super::error::CassetteError;
use crate::chat::{ChatError, ChatModel, ChatReply, ChatRequest};

/// A model whose replies are written down, one line of JSON each: digest, request and reply.
///
/// Secrets are taken out of request and reply in what is written; the caller gets the reply as it came. Failures
/// are passed on and not written. A reply that cannot be written is passed on too, and counted as
/// `aiops_llm_cassette_lost_total`.
pub struct Recorder<M> {
    model: M,
    redactor: Redactor,
    out: Mutex<Box<dyn Write + Send>>,
}

impl<M: fmt::Debug> fmt::Debug for Recorder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("model", &self.model).finish_non_exhaustive()
    }
}

impl<M: ChatModel> Recorder<M> {
    /// Writes to `out`.
    pub fn new(model: M, out: impl Write + Send + 'static) -> Self {
        Self { model, redactor: Redactor::default(), out: Mutex::new(Box::new(out)) }
    }

    /// Adds to the end of a file, which is created where there is none.
    ///
    /// # Errors
    /// [`CassetteError`]: the file cannot be opened for writing.
    pub fn to_file(model: M, path: impl AsRef<Path>) -> Result<Self, CassetteError> {
        let path = path.as_ref();
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.map(|file| Self::new(model, file))
            .map_err(|error| CassetteError::new(&path.display().to_string(), None, error))
    }

    /// Another redactor. A [`Cassette`](super::Cassette) needs an equal one to find the requests again.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    fn write(&self, request: &ChatRequest, reply: &ChatReply) -> io::Result<()> {
        let asked = Asked::of(request, &self.redactor);
        let mut reply = reply.clone();
        reply.text = self.redactor.redact(&reply.text).text.into_owned();
        let mut line = serde_json::to_vec(&Entry::new(self.model.provider(), self.model.model(), asked, reply))?;
        line.push(b'\n');
        // One write for one line: what is cut off is the last line only.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&line)?;
        out.flush()
    }
}

#[async_trait]
impl<M: ChatModel> ChatModel for Recorder<M> {
    fn provider(&self) -> &str {
        self.model.provider()
    }

    fn model(&self) -> &str {
        self.model.model()
    }

    async fn complete(&self, request: &ChatRequest) -> Result<ChatReply, ChatError> {
        let reply = self.model.complete(request).await?;
        if let Err(error) = self.write(request, &reply) {
            metrics::counter!("aiops_llm_cassette_lost_total").increment(1);
            tracing::warn!(%error, "a reply could not be recorded");
        }
        Ok(reply)
    }
}
