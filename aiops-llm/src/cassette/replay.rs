//! Gives recorded replies again.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aiops_core::Redactor;
use async_trait::async_trait;

use super::entry::{Asked, Entry};
use super::error::{CassetteError, CassetteFault};
use super::miss::{CassetteMiss, nearest};
use crate::chat::{ChatError, ChatErrorKind, ChatModel, ChatReply, ChatRequest};

/// Bytes that are read: some ten thousand replies.
const MAX_BYTES: u64 = 128 << 20;

/// The recorded replies of one model, as a model: without network, key and cost.
///
/// Replies to equal requests come in the order in which they were recorded, then from the first again, so that
/// repeats differ as the model's own did. A request that was not recorded is a [`ChatError`] of the kind
/// [`NotRecorded`](ChatErrorKind::NotRecorded), whose source is a [`CassetteMiss`] that names the difference.
pub struct Cassette {
    name: String,
    provider: String,
    model: String,
    redactor: Redactor,
    tracks: BTreeMap<String, Track>,
    /// How many replies of each track were given.
    given: Mutex<BTreeMap<String, usize>>,
}

/// Equal requests. There is at least one reply.
struct Track {
    asked: Asked,
    replies: Vec<ChatReply>,
}

impl fmt::Debug for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cassette")
            .field("name", &self.name)
            .field("provider", &self.provider)
            .field("model", &self.model)
            .field("requests", &self.tracks.len())
            .finish_non_exhaustive()
    }
}

impl Cassette {
    /// Reads a file that a [`Recorder`](super::Recorder) wrote, of at most 128 MiB.
    ///
    /// # Errors
    /// [`CassetteError`], which names file and line.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CassetteError> {
        let name = path.as_ref().display().to_string();
        let file = File::open(path).map_err(|error| CassetteError::new(&name, None, error))?;
        Self::read(name, file)
    }

    /// Reads it from anywhere; `name` stands in errors.
    ///
    /// # Errors
    /// [`CassetteError`], which names the line.
    pub fn read(name: impl Into<String>, from: impl Read) -> Result<Self, CassetteError> {
        let name = name.into();
        let mut bytes = Vec::new();
        from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| CassetteError::new(&name, None, error))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(CassetteError::new(&name, None, CassetteFault::TooLarge { max: MAX_BYTES }));
        }
        let mut of: Option<(String, String)> = None;
        let mut tracks: BTreeMap<String, Track> = BTreeMap::new();
        let lines = bytes.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !line.trim_ascii().is_empty());
        for (line, number) in lines {
            let fault = |fault: CassetteFault| CassetteError::new(&name, number, fault);
            let entry: Entry = serde_json::from_slice(line).map_err(|error| fault(error.into()))?;
            let found = entry.request.digest(&entry.provider, &entry.model);
            if found != entry.digest {
                return Err(fault(CassetteFault::Digest { recorded: entry.digest, found }));
            }
            let (provider, model) = of.get_or_insert_with(|| (entry.provider.clone(), entry.model.clone()));
            if (&*provider, &*model) != (&entry.provider, &entry.model) {
                let shown = |provider: &str, model: &str| format!("{provider} {model}");
                return Err(fault(CassetteFault::SeveralModels {
                    first: shown(provider, model),
                    found: shown(&entry.provider, &entry.model),
                }));
            }
            let track = tracks.entry(entry.digest);
            track.or_insert_with(|| Track { asked: entry.request, replies: Vec::new() }).replies.push(entry.reply);
        }
        let Some((provider, model)) = of else { return Err(CassetteError::new(&name, None, CassetteFault::Empty)) };
        Ok(Self { name, provider, model, redactor: Redactor::default(), tracks, given: Mutex::default() })
    }

    /// Another redactor: the one that the recorder had.
    #[must_use]
    pub fn with_redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Different requests that it answers.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.tracks.len()
    }

    /// The next reply to a request.
    ///
    /// # Errors
    /// [`CassetteMiss`], which names the difference to the nearest recorded request.
    pub fn reply(&self, request: &ChatRequest) -> Result<ChatReply, CassetteMiss> {
        let asked = Asked::of(request, &self.redactor);
        let digest = asked.digest(&self.provider, &self.model);
        let track = self.tracks.get(&digest).filter(|track| track.asked == asked);
        let miss = || CassetteMiss {
            cassette: self.name.clone(),
            differences: nearest(&asked, self.tracks.values().map(|track| &track.asked)).unwrap_or_default(),
        };
        let track = track.ok_or_else(miss)?;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let next = given.entry(digest).or_default();
        let reply = track.replies.get(*next % track.replies.len().max(1)).ok_or_else(miss)?;
        *next += 1;
        Ok(reply.clone())
    }
}

#[async_trait]
impl ChatModel for Cassette {
    fn provider(&self) -> &str {
        &self.provider
    }

    fn model(&self) -> &str {
        &self.model
    }

    async fn complete(&self, request: &ChatRequest) -> Result<ChatReply, ChatError> {
        let missed = |miss| ChatError::new(&self.provider, ChatErrorKind::NotRecorded).caused_by(miss);
        self.reply(request).map_err(missed)
    }
}
