//! The policy: what a plan may do, as people wrote it down.

mod freeze;
mod health;
mod load;

use std::path::Path;
use std::time::Duration;

use aiops_core::{Confidence, Fingerprint};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use freeze::Freeze;
pub use health::HealthGuard;

use crate::catalogue::BlastRadius;
use crate::store::Budget;
use crate::yaml::{self, ConfigError};

/// Below it a report escalates (field report, pitfall 4).
const THRESHOLD: f64 = 0.7;

/// An event that was observed longer ago says little about now.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// More distinct actions than this in one report is a triager that guesses.
const MAX_ACTIONS: u32 = 3;

/// An anomaly that came back after being acted on three times in an hour is not healed by a fourth.
const LOOP_GUARD: LoopGuard = LoopGuard { max: 3, per: Duration::from_secs(3600) };

/// Long enough to be woken and to look; what was observed half an hour ago is no ground to act on.
const APPROVAL_TIME: Duration = Duration::from_secs(30 * 60);

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
    /// How many runs there may be in sliding windows; no bound unless set.
    pub budgets: Vec<Budget>,
    /// At most so many plans run or wait for approval at a time; no bound unless set.
    pub max_open: Option<u32>,
    /// What stops actions while a group is unhealthy; nothing unless set.
    pub health: Vec<HealthGuard>,
    /// How long an approval can be granted; 30 min unless set.
    pub approval_time: Duration,
    /// How long a step waits for a target on which another action runs; not at all unless set.
    pub target_wait: Duration,
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
            budgets: Vec::new(),
            max_open: None,
            health: Vec::new(),
            approval_time: APPROVAL_TIME,
            target_wait: Duration::ZERO,
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
        let Self { mode, threshold, max_blast_radius, max_age, max_actions, freeze, loop_guard, .. } = self;
        let Self { budgets, max_open, health, approval_time, target_wait, .. } = self;
        let freeze: Vec<String> = freeze.iter().map(Freeze::to_string).collect();
        let mode = mode.as_str();
        let mut raw =
            format!("{mode}|{threshold:?}|{max_blast_radius}|{max_age:?}|{max_actions:?}|{freeze:?}|{loop_guard:?}");
        raw.push_str(&format!("|{budgets:?}|{max_open:?}|{health:?}|{approval_time:?}|{target_wait:?}"));
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

    /// How many runs there may be in sliding windows.
    #[must_use]
    pub fn budgets(mut self, budgets: Vec<Budget>) -> Self {
        self.budgets = budgets;
        self
    }

    /// At most so many plans run or wait for approval at a time.
    #[must_use]
    pub fn max_open(mut self, max: u32) -> Self {
        self.max_open = Some(max);
        self
    }

    /// What stops actions while a group is unhealthy.
    #[must_use]
    pub fn health(mut self, guards: Vec<HealthGuard>) -> Self {
        self.health = guards;
        self
    }

    /// How long an approval can be granted.
    #[must_use]
    pub fn approval_time(mut self, time: Duration) -> Self {
        self.approval_time = time;
        self
    }

    /// How long a step waits for a target on which another action runs.
    #[must_use]
    pub fn target_wait(mut self, wait: Duration) -> Self {
        self.target_wait = wait;
        self
    }
}
