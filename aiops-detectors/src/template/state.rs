//! Saving and restoring a miner, and joining what two machines learned.

use serde::{Deserialize, Serialize};

use super::alias::Rank;
use super::fingerprint::LineFingerprint;
use super::hash::{HashedMap, hash};
use super::mask::MAX_LINE;
use super::miner::{NewLine, TemplateMiner, dropped};
use crate::log_state::{open, seal};

/// What saved bytes say they are.
const NAME: &str = "aiops-templates";
const VERSION: u32 = 1;

/// Saved templates that cannot be taken back; the miner stays as it was.
#[derive(Debug, thiserror::Error)]
#[error("saved log templates do not read")]
#[non_exhaustive]
pub struct TemplateStateError {
    /// Why.
    #[source]
    pub source: aiops_core::BoxError,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    lines: u64,
    evicted: u64,
    /// Those that would go next first.
    templates: Vec<Template>,
    general: Vec<String>,
    aliases: Vec<Step>,
    windows: Vec<(i64, Vec<(LineFingerprint, u64)>)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    text: String,
    sample: String,
    count: u64,
    again: bool,
}

/// Fingerprint and letters of a template, and of the more general one.
#[derive(Serialize, Deserialize)]
struct Step(LineFingerprint, u16, LineFingerprint, u16);

impl TemplateMiner {
    /// The state as versioned bytes with a checksum, for a state store.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut templates: Vec<Template> = Vec::with_capacity(self.len());
        let mut places: HashedMap<u64, usize> = HashedMap::default();
        for (counted, sample, protected) in self.kept() {
            let again = protected || counted.again;
            if let Some(known) = places.get(&counted.fingerprint).and_then(|place| templates.get_mut(*place)) {
                known.count += counted.count;
                known.again |= again;
            } else if let Some((text, _)) = self.live.get(&counted.fingerprint) {
                places.insert(counted.fingerprint, templates.len());
                let (text, sample) = (text.to_string(), sample.to_owned());
                templates.push(Template { text, sample, count: counted.count, again });
            }
        }
        templates.sort_by_key(|template| template.again);
        let mut general: Vec<String> = self.general.values().map(ToString::to_string).collect();
        general.sort_unstable();
        let step = |(low, high): (Rank, Rank)| Step(LineFingerprint(low.1), low.0, LineFingerprint(high.1), high.0);
        let windows = self.windows.counts.iter().map(|(window, counts)| {
            let mut all: Vec<_> = counts.iter().map(|(print, count)| (LineFingerprint(*print), *count)).collect();
            all.sort_unstable();
            (*window, all)
        });
        let saved = Saved {
            lines: self.lines,
            evicted: self.evicted,
            templates,
            general,
            aliases: self.aliases.steps().into_iter().map(step).collect(),
            windows: windows.collect(),
        };
        // Text and numbers only: nothing here can fail to serialise.
        let body = serde_json::to_vec(&saved).unwrap_or_default();
        seal(NAME, VERSION, &body)
    }

    /// Takes saved state back, in place of what is known now. What is beyond the bounds is left out and
    /// counted, what would go next first.
    ///
    /// # Errors
    /// Bytes that do not read, were changed, or are of another version: the miner stays as it was.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), TemplateStateError> {
        let saved = read(bytes)?;
        let mut miner = Self::new(self.capacity);
        miner.samples = self.samples;
        let (lines, evicted) = (saved.lines, saved.evicted);
        miner.take_in(&saved);
        for Template { text, sample, count, again } in saved.templates {
            let fingerprint = LineFingerprint::of_masked(&text);
            let key = hash(text.as_bytes());
            let sample = if miner.samples { sample.into() } else { Box::default() };
            miner.settled.take(&text);
            miner.insert(NewLine { key, fingerprint, count, sample, protected: again });
            miner.learn(fingerprint);
        }
        for (window, counts) in saved.windows {
            for (fingerprint, count) in counts {
                miner.windows.add(fingerprint, window, count, self.capacity);
            }
        }
        miner.lines = lines;
        miner.evicted += evicted;
        *self = miner;
        Ok(())
    }

    /// Joins what another machine learned, from its saved state: afterwards both resolve to the same
    /// groups, in whatever order and however often they join. Counts and samples stay one's own.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn merge(&mut self, bytes: &[u8]) -> Result<(), TemplateStateError> {
        let saved = read(bytes)?;
        self.take_in(&saved);
        for Template { text, .. } in saved.templates {
            let fingerprint = LineFingerprint::of_masked(&text);
            self.settled.take(&text);
            self.learn(fingerprint);
        }
        Ok(())
    }

    fn take_in(&mut self, saved: &Saved) {
        for text in &saved.general {
            self.make_general(LineFingerprint::of_masked(text), text);
        }
        let bound = self.alias_bound();
        for (at, step) in saved.aliases.iter().enumerate() {
            if self.aliases.len() >= bound {
                dropped("alias", (saved.aliases.len() - at) as u64);
                break;
            }
            self.aliases.join((step.1, step.0.0), (step.3, step.2.0));
        }
    }
}

fn read(bytes: &[u8]) -> Result<Saved, TemplateStateError> {
    let refuse = |source: aiops_core::BoxError| TemplateStateError { source };
    let body = open(NAME, VERSION, bytes).map_err(refuse)?;
    let saved: Saved = serde_json::from_slice(body).map_err(|error| refuse(error.into()))?;
    let texts = saved.templates.iter().flat_map(|template| [&template.text, &template.sample]).chain(&saved.general);
    match texts.map(String::len).max() {
        Some(longest) if longest > MAX_LINE => Err(refuse(format!("a text of {longest} bytes is in it").into())),
        _ => Ok(saved),
    }
}
