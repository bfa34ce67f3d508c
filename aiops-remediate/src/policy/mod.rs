//! The policy: what a plan may do, as people wrote it down.

mod freeze;
mod load;

use std::path::Path;
use std::time::Duration;

use aiops_core::{Confidence, Fingerprint};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use freeze::Freeze;

use crate::catalogue::BlastRadius;
use crate::yaml::{self, ConfigError};

/// Below it a report escalates (field report, pitfall 4).
const THRESHOLD: f64 = 0.7;

/// An event that was observed longer ago says little about now.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// More distinct actions than this in one report is a triager that guesses.
const MAX_ACTIONS: u32 = 3;

/// An anomaly that came back after being acted on three times in an hour is not healed by a fourth.
const LOOP_GUARD: LoopGuard = LoopGuard { max: 3, per: Duration::from_secs(3600) };

/// Whether plans act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Plans, inspects and records; executes nothing.
    #[default]
    Shadow,
    /// Acts.
    Active,
}

impl Mode {
    /// The name as it stands in YAML and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Active => "active",
        }
    }
}

/// Stops a remedy that does not help from being tried forever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopGuard {
    /// At most so many reports on one identity that were acted on
    pub max: u32,
    /// in this time.
    #[serde(with = "aiops_core::time::human_serde")]
    pub per: Duration,
}

/// What a plan may do, beyond what the catalogue asks for.
///
/// ```
/// use aiops_remediate::{BlastRadius, Mode, Policy};
/// let policy = Policy::from_yaml("mode: active\nmax_blast_radius: pod\n", "policy.yaml")?;
/// assert_eq!(policy, Policy::default().mode(Mode::Active).max_blast_radius(BlastRadius::Pod));
/// # Ok::<(), aiops_remediate::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// Shadow unless set.
    pub mode: Mode,
    /// A report below it escalates; 0.7 unless set, and exactly 0.7 passes.
    pub threshold: Confidence,
    /// Actions above it are denied; a region unless set, so no ceiling.
    pub max_blast_radius: BlastRadius,
    /// A report whose event was observed longer ago escalates; 15 min unless set. `None`: never.
    pub max_age: Option<Duration>,
    /// A report with more distinct actions is rejected; 3 unless set. `None`: never.
    pub max_actions: Option<u32>,
    /// While one of these is on, every action is denied; none unless set.
    pub freeze: Vec<Freeze>,
    /// 3 reports on one identity acted on in 1 h unless set. `None`: no bound.
    pub loop_guard: Option<LoopGuard>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_age: Some(MAX_AGE),
            max_actions: Some(MAX_ACTIONS),
            loop_guard: Some(LOOP_GUARD),
            ..Self::threshold_only()
        }
    }
}

impl Policy {
    /// Shadow mode and the threshold of 0.7, no other rule: what a policy tester without a policy
    /// goes by. The catalogue's own demands (approval, evidence, confidence) hold all the same.
    #[must_use]
    pub fn threshold_only() -> Self {
        Self {
            mode: Mode::Shadow,
            threshold: Confidence::new(THRESHOLD).unwrap_or(Confidence::ZERO),
            max_blast_radius: BlastRadius::Region,
            max_age: None,
            max_actions: None,
            freeze: Vec::new(),
            loop_guard: None,
        }
    }

    /// Reads a policy; `file_name` is what findings call the text. A key that is absent keeps its
    /// default.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with every fault of the text.
    pub fn from_yaml(text: &str, file_name: &str) -> Result<Self, ConfigError> {
        load::policy(text, file_name)
    }

    /// Reads a policy from a file.
    ///
    /// # Errors
    /// Those of [`from_yaml`](Self::from_yaml), and [`ConfigError::Unreadable`].
    pub fn from_yaml_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let (text, file) = yaml::file_text(path.as_ref())?;
        Self::from_yaml(&text, &file)
    }

    /// 16 hex digits over all its values: equal policies, equal version.
    #[must_use]
    pub fn version(&self) -> String {
        let Self { mode, threshold, max_blast_radius, max_age, max_actions, freeze, loop_guard } = self;
        let freeze: Vec<String> = freeze.iter().map(Freeze::to_string).collect();
        let mode = mode.as_str();
        let raw =
            format!("{mode}|{threshold:?}|{max_blast_radius}|{max_age:?}|{max_actions:?}|{freeze:?}|{loop_guard:?}");
        Fingerprint::of_raw(&raw).to_string()
    }

    /// The freeze window that is on now, if one is.
    #[must_use]
    pub fn frozen(&self, now: Timestamp) -> Option<&Freeze> {
        self.freeze.iter().find(|freeze| freeze.is_on(now))
    }

    /// Whether plans act.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// A report below it escalates.
    #[must_use]
    pub fn threshold(mut self, threshold: Confidence) -> Self {
        self.threshold = threshold;
        self
    }

    /// Actions above it are denied.
    #[must_use]
    pub fn max_blast_radius(mut self, ceiling: BlastRadius) -> Self {
        self.max_blast_radius = ceiling;
        self
    }

    /// A report whose event was observed longer ago escalates.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// A report with more distinct actions is rejected.
    #[must_use]
    pub fn max_actions(mut self, max: u32) -> Self {
        self.max_actions = Some(max);
        self
    }

    /// While one of these is on, every action is denied.
    #[must_use]
    pub fn freeze(mut self, freeze: Vec<Freeze>) -> Self {
        self.freeze = freeze;
        self
    }

    /// At most `max` reports on one identity are acted on in the time `per`.
    #[must_use]
    pub fn loop_guard(mut self, max: u32, per: Duration) -> Self {
        self.loop_guard = Some(LoopGuard { max, per });
        self
    }
}
