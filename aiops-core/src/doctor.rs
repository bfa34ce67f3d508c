//! What a host can look at before it relies on its parts: one [`Check`] for each, with what to do about it.
//!
//! [`context_sources`] is here; the crates that own a model endpoint or a dispatcher check those.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::clock::Clock;
use crate::context::{ContextQuery, ContextSource};
use crate::error::error_chain;
use crate::plugin::{Boxed, guarded, join_all};
use crate::redact::Redactor;
use crate::text::clip;

/// Characters of what a check says; an error chain of a client is shorter.
const SAYS: usize = 300;
/// Sources asked at a time; a host has a handful.
const AT_ONCE: usize = 16;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works, with something that a person should know.
    Warn,
    /// It does not work.
    Fail,
}

impl Health {
    /// As a check's line begins.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// What was looked at, how it is, and what to do about it. Its texts are one line each, without secrets and without
/// what does not show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What was looked at.
    pub about: String,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub says: String,
    /// What to do about it, unless it is well.
    pub advice: Option<String>,
}

impl Check {
    /// All is well.
    #[must_use]
    pub fn ok(about: &str, says: &str) -> Self {
        Self::new(about, Health::Ok, says, None)
    }

    /// Something to know.
    #[must_use]
    pub fn warn(about: &str, says: &str, advice: &str) -> Self {
        Self::new(about, Health::Warn, says, Some(advice))
    }

    /// It does not work.
    #[must_use]
    pub fn fail(about: &str, says: &str, advice: &str) -> Self {
        Self::new(about, Health::Fail, says, Some(advice))
    }

    fn new(about: &str, health: Health, says: &str, advice: Option<&str>) -> Self {
        let plain = |text: &str| clip(&Redactor::default().redact(text).text, SAYS);
        Self { about: plain(about), health, says: plain(says), advice: advice.map(plain) }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<4}  {}: {}", self.health.as_str(), self.about, self.says)?;
        self.advice.iter().try_for_each(|advice| write!(f, "; {advice}"))
    }
}

/// Asks each context source once, all at a time, each until `query.deadline`. One check for each source, in their
/// order: how much it found, or why nothing came. That there is nothing to tell about an event is no fault.
pub async fn context_sources(
    sources: &[Arc<dyn ContextSource>],
    query: &ContextQuery,
    clock: &dyn Clock,
) -> Vec<Check> {
    let mut asking: Vec<Boxed<'_, _>> = Vec::with_capacity(sources.len());
    for source in sources {
        asking.push(Box::pin(guarded(clock, query.deadline, async move { source.gather(query).await })));
    }
    let answers = join_all(asking, AT_ONCE).await;
    let checked = sources.iter().zip(answers).map(|(source, answer)| {
        let about = format!("context source {}", source.name());
        let failed = |why: &str| Check::fail(&about, why, "reports lack what it tells: mend it, or leave it out");
        match answer {
            Ok(Ok(found)) => {
                let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
                found.iter().for_each(|finding| *kinds.entry(finding.kind.as_str()).or_default() += 1);
                let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
                let found = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
                Check::ok(&about, &format!("found {found}"))
            }
            Ok(Err(error)) => failed(&error_chain(&error)),
            Err(fault) => failed(&fault.to_string()),
        }
    });
    checked.collect()
}
