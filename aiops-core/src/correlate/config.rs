//! Settings of the correlator, with the reason of each default.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fingerprint::IdentityScheme;
use crate::time::human_serde;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// Shortest silence that ends an episode of a source that never says "normal".
pub(crate) const SHORTEST_GAP: Duration = Duration::from_secs(600);
/// Evaluation intervals of silence that end an episode: one lost scrape ends nothing.
pub(crate) const GAP_INTERVALS: u32 = 3;
/// Longest silence of an upstream alert, of an episode whose data is unknown, and the time for which
/// a closed identity is remembered.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(86_400);

/// Per alertname: when an episode is announced, and when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CorrelationRule {
    /// Sightings within `within` before an episode is announced. At least 1.
    pub min_count: u32,
    /// The window of `min_count`.
    #[serde(with = "human_serde")]
    pub within: Duration,
    /// How long an episode lasts before it is announced.
    #[serde(with = "human_serde")]
    pub min_duration: Duration,
    /// How long normal sightings must be sustained to end an episode.
    #[serde(with = "human_serde")]
    pub clear_after: Duration,
    /// Silence that ends an episode; unset = 3 evaluation intervals and at least 10 min.
    #[serde(with = "human_serde::option")]
    pub episode_gap: Option<Duration>,
    /// Time until an episode that goes on is announced again.
    #[serde(with = "human_serde")]
    pub renotify_after: Duration,
}

impl Default for CorrelationRule {
    /// Announce at once, again after 1 h; 5 min of normal sightings end it (the field report's
    /// `for: 5m`).
    fn default() -> Self {
        Self {
            min_count: 1,
            within: 5 * MINUTE,
            min_duration: Duration::ZERO,
            clear_after: 5 * MINUTE,
            episode_gap: None,
            renotify_after: HOUR,
        }
    }
}

/// A firing episode of higher severity holds back lower ones with equal labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct InhibitRule {
    /// The alertname that inhibits; unset = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The alertname that is inhibited; unset = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Labels that must be present and equal on both; `service` means the event's service.
    pub equal: Vec<String>,
}

/// When opening and ending again and again becomes one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FlapRule {
    /// Opens and ends within `window` that make an identity flapping; 0 = never.
    pub changes: usize,
    /// The window, and the quiet time after which it is over.
    #[serde(with = "human_serde")]
    pub window: Duration,
}

impl Default for FlapRule {
    /// Three times open and shut within half an hour.
    fn default() -> Self {
        Self { changes: 6, window: 30 * MINUTE }
    }
}

/// Settings of a [`Correlator`](crate::Correlator).
///
/// ```
/// let config: aiops_core::CorrelatorConfig = serde_json::from_str(
///     r#"{"rules":{"DiskFull":{"min_duration":"10m"}},"identity_labels":["cluster"]}"#)?;
/// assert!(config.validate().is_ok());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CorrelatorConfig {
    /// Labels that join the identity.
    pub identity_labels: IdentityScheme,
    /// The rule of alertnames without one of their own.
    pub default_rule: CorrelationRule,
    /// Rules by exact alertname.
    pub rules: BTreeMap<String, CorrelationRule>,
    /// Inhibition, any of which may hold.
    pub inhibit: Vec<InhibitRule>,
    /// Flapping.
    pub flapping: FlapRule,
    /// Oldest sighting that is acted on.
    #[serde(with = "human_serde")]
    pub max_skew: Duration,
    /// Furthest sighting ahead of now that is acted on.
    #[serde(with = "human_serde")]
    pub max_ahead: Duration,
    /// Longest time in a row for which deploys hold one identity.
    #[serde(with = "human_serde")]
    pub max_hold: Duration,
    /// Whether `critical` passes deploy and maintenance windows.
    pub critical_passes: bool,
    /// How long an incident's first triage waits for company, by event time.
    #[serde(with = "human_serde")]
    pub group_wait: Duration,
    /// Identities that are tracked at the most. At least 1.
    pub max_identities: usize,
}

impl Default for CorrelatorConfig {
    fn default() -> Self {
        Self {
            identity_labels: IdentityScheme::default(),
            default_rule: CorrelationRule::default(),
            rules: BTreeMap::new(),
            inhibit: Vec::new(),
            flapping: FlapRule::default(),
            max_skew: HOUR,
            max_ahead: 5 * MINUTE,
            max_hold: HOUR,
            critical_passes: false,
            group_wait: MINUTE,
            max_identities: 100_000,
        }
    }
}

impl CorrelatorConfig {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// All faults at once, each with its key.
    pub fn validate(&self) -> Result<(), InvalidCorrelatorConfig> {
        let mut faults = Vec::new();
        let rules = self.rules.iter().map(|(name, rule)| (format!("rules.{name}"), rule));
        for (place, rule) in rules.chain([("default_rule".to_owned(), &self.default_rule)]) {
            if rule.min_count == 0 {
                faults.push(format!("{place}.min_count: 0 announces never; write 1 or more"));
            }
            if rule.min_count > 1 && rule.within.is_zero() {
                faults.push(format!("{place}.within: 0s holds one sighting at the most; write \"5m\", say"));
            }
            if rule.renotify_after.is_zero() {
                faults.push(format!("{place}.renotify_after: 0s announces every sighting; write \"1h\", say"));
            }
            if rule.episode_gap.is_some_and(|gap| gap.is_zero()) {
                faults.push(format!("{place}.episode_gap: 0s ends every episode at once; write \"10m\", say"));
            }
        }
        for (index, rule) in self.inhibit.iter().enumerate() {
            if rule.equal.is_empty() {
                faults.push(format!("inhibit[{index}].equal: empty would join all services; write [\"service\"], say"));
            }
        }
        if self.max_identities == 0 {
            faults.push("max_identities: 0 tracks nothing; write 1 or more".to_owned());
        }
        if self.flapping.changes > 0 && self.flapping.window.is_zero() {
            faults.push("flapping.window: 0s is never reached; write \"30m\", or set changes to 0".to_owned());
        }
        if self.flapping.changes == 1 {
            faults.push("flapping.changes: 1 makes every alert flapping; write 4 or more, or 0 for never".to_owned());
        }
        if faults.is_empty() { Ok(()) } else { Err(InvalidCorrelatorConfig(faults)) }
    }

    pub(crate) fn rule(&self, alertname: &str) -> &CorrelationRule {
        self.rules.get(alertname).unwrap_or(&self.default_rule)
    }
}

/// Settings that cannot work: every fault, each with its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("correlator settings: {}", .0.join("; "))]
pub struct InvalidCorrelatorConfig(Vec<String>);

impl InvalidCorrelatorConfig {
    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_at_once() {
        let mut config = CorrelatorConfig { max_identities: 0, ..CorrelatorConfig::default() };
        config.rules.insert("A".to_owned(), CorrelationRule { min_count: 0, ..CorrelationRule::default() });
        config.inhibit.push(InhibitRule::default());
        let error = config.validate().unwrap_err();
        assert_eq!(error.faults().len(), 3);
        assert!(error.to_string().contains("rules.A.min_count"), "{error}");
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        let error = serde_json::from_str::<CorrelatorConfig>(r#"{"max_skwe":"1h"}"#).unwrap_err();
        assert!(error.to_string().contains("max_skwe"));
        assert!(serde_json::from_str::<CorrelatorConfig>(r#"{"max_skew":3600}"#).is_err(), "a number has no unit");
    }
}
