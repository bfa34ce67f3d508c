//! One entry of a catalogue, and the target that it takes from an event.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aiops_core::{ActionName, Confidence, ContextKind, DetectionEvent, Target, text};
use serde::{Deserialize, Serialize};

use super::command::CommandSpec;
use super::condition::Condition;

/// The label that names the service: the event's own field stands in for it.
const SERVICE: &str = "service";

/// In so many characters of a name strange ones are looked for, and so many of them are told.
const STRANGE_SOUGHT: usize = 80;
const STRANGE_SHOWN: usize = 4;

/// How much breaks at worst, the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlastRadius {
    /// One pod.
    Pod,
    /// One deployment.
    Deployment,
    /// One node and all that runs on it.
    Node,
    /// A region.
    Region,
}

impl BlastRadius {
    /// All of them, the smallest first.
    pub const ALL: [Self; 4] = [Self::Pod, Self::Deployment, Self::Node, Self::Region];

    /// The name as it stands in YAML and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Deployment => "deployment",
            Self::Node => "node",
            Self::Region => "region",
        }
    }

    /// The labels that name a target of this size, unless the entry names others.
    fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &["namespace", "pod"],
            Self::Deployment => &["namespace", "deployment"],
            Self::Node => &["node"],
            Self::Region => &["region"],
        }
    }
}

impl fmt::Display for BlastRadius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One action that may be proposed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ActionSpec {
    /// By this name, byte for byte.
    pub name: ActionName,
    /// Who answers for it.
    pub owner: String,
    /// How much breaks at worst.
    pub blast_radius: BlastRadius,
    /// Whether a person must approve each run.
    pub requires_approval: bool,
    /// Where a person reads how it is done by hand.
    pub runbook: Option<String>,
    /// Never more replicas than this.
    pub max_replicas: Option<u32>,
    /// On one target, at most one run in this time.
    pub cooldown: Option<Duration>,
    /// At least this confidence, beyond the policy's threshold.
    pub min_confidence: Option<Confidence>,
    /// A context item of this kind that the report must cite, written by a trusted system.
    pub evidence: Option<ContextKind>,
    /// A number that must be within a limit when the action is about to run.
    pub precondition: Option<Condition>,
    /// A number that says whether it helped; where there is none, the handler is asked.
    pub verify: Option<Condition>,
    /// What is done instead, once, if it had no effect. It must be in the catalogue and need no approval.
    pub next: Option<ActionName>,
    /// The labels that name the target; empty for those of the blast radius.
    pub target: Vec<String>,
    /// The programs that it is done by, where the host builds a handler of them.
    pub command: Option<CommandSpec>,
}

impl ActionSpec {
    /// One line for a triager.
    pub(crate) fn line(&self) -> String {
        let approval = if self.requires_approval { ", a person approves it" } else { "" };
        format!("{}: affects at most one {}{approval}", self.name.as_str().replace('_', " "), self.blast_radius)
    }

    /// What the action would be done to: the values of the event's labels, nothing that a report
    /// says.
    ///
    /// A pod is `namespace` and `pod`; a deployment `namespace` and `deployment`, where a missing
    /// `deployment` is taken from the event's service; a node `node`; a region `region`; an entry
    /// with `target` names its own labels. Labels are not trusted: a handler confirms that the
    /// target belongs to the event's service before it acts.
    ///
    /// # Errors
    /// A label that is missing, hides characters, or names another service than the event does.
    pub fn target(&self, event: &DetectionEvent) -> Result<Target, NoTarget> {
        let mut parts = Vec::with_capacity(2);
        if self.target.is_empty() {
            for label in self.blast_radius.labels() {
                parts.push((*label, value(event, label)?));
            }
        } else {
            for label in &self.target {
                parts.push((label.as_str(), value(event, label)?));
            }
        }
        Ok(Target::new(parts))
    }
}

fn value<'e>(event: &'e DetectionEvent, label: &str) -> Result<&'e str, NoTarget> {
    let labelled = |label: &str| event.labels.get(label).map(String::as_str).filter(|value| !value.is_empty());
    let value = match labelled(label) {
        Some(value) => value,
        // The report's "deployment, else service": most services are one deployment of their name.
        None if label == SERVICE || label == "deployment" => {
            let service = event.service.as_str();
            if labelled(SERVICE).is_some_and(|labelled| labelled != service) {
                return Err(NoTarget(format!("label {SERVICE} is not the event's service").into()));
            }
            if service.is_empty() {
                return Err(NoTarget(format!("label {label}").into()));
            }
            service
        }
        None => return Err(NoTarget(format!("label {}", text::clip(label, 80)).into())),
    };
    if label == SERVICE && value != event.service.as_str() {
        return Err(NoTarget("label service is not the event's service".into()));
    }
    if !value.is_ascii() && value.chars().any(text::is_hidden) || value.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(NoTarget(format!("label {} holds hidden characters", text::clip(label, 80)).into()));
    }
    Ok(value)
}

/// What cannot be seen in a name, or is taken for another letter: ` (with U+0435)`; empty for a plain
/// name.
pub(crate) fn strange(name: &str) -> String {
    let odd = name.chars().take(STRANGE_SOUGHT).filter(|c| !c.is_ascii_graphic()).take(STRANGE_SHOWN);
    let odd: Vec<String> = odd.map(|c| format!("U+{:04X}", u32::from(c))).collect();
    if odd.is_empty() { String::new() } else { format!(" (with {})", odd.join(", ")) }
}

/// The event's labels name no target for the action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no target: {0}")]
pub struct NoTarget(Cow<'static, str>);

#[cfg(test)]
mod tests {
    use aiops_core::jiff::Timestamp;
    use aiops_core::{EventKind, Severity};

    use super::*;

    fn spec(blast_radius: BlastRadius, target: &[&str]) -> ActionSpec {
        ActionSpec {
            name: ActionName::new("act").unwrap(),
            owner: "team".to_owned(),
            blast_radius,
            requires_approval: false,
            runbook: None,
            max_replicas: None,
            cooldown: None,
            min_confidence: None,
            evidence: None,
            precondition: None,
            verify: None,
            next: None,
            target: target.iter().map(|label| (*label).to_owned()).collect(),
            command: None,
        }
    }

    fn event(service: &str, labels: &[(&str, &str)]) -> DetectionEvent {
        DetectionEvent::builder(EventKind::LogBurst, service, Severity::Warning, Timestamp::UNIX_EPOCH, "test")
            .labels(labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
            .build()
    }

    #[test]
    fn targets_come_from_labels_by_blast_radius() {
        use BlastRadius::{Deployment, Node, Pod, Region};
        let shown = |radius, labels: &[(&str, &str)]| match spec(radius, &[]).target(&event("cart", labels)) {
            Ok(target) => target.to_string(),
            Err(no) => no.to_string(),
        };
        assert_eq!(shown(Pod, &[("namespace", "shop"), ("pod", "cart-1")]), "namespace=shop,pod=cart-1");
        assert_eq!(shown(Pod, &[("namespace", "shop")]), "no target: label pod");
        assert_eq!(shown(Pod, &[("namespace", "shop"), ("pod", "")]), "no target: label pod");
        assert_eq!(
            shown(Pod, &[("namespace", "shop"), ("pod", "a\u{200b}")]),
            "no target: label pod holds hidden characters"
        );
        assert_eq!(shown(Deployment, &[("namespace", "shop"), ("deployment", "c")]), "deployment=c,namespace=shop");
        assert_eq!(shown(Deployment, &[("namespace", "shop")]), "deployment=cart,namespace=shop");
        assert_eq!(shown(Node, &[("node", "n1")]), "node=n1");
        assert_eq!(shown(Region, &[]), "no target: label region");
    }

    #[test]
    fn a_service_label_must_be_the_events_service() {
        let other = event("cart", &[("namespace", "shop"), ("service", "payments-db")]);
        let refused = "no target: label service is not the event's service";
        assert_eq!(spec(BlastRadius::Deployment, &[]).target(&other).unwrap_err().to_string(), refused);
        assert_eq!(spec(BlastRadius::Pod, &["service"]).target(&other).unwrap_err().to_string(), refused);
        let own = event("cart", &[("cluster", "eu-1")]);
        let target = spec(BlastRadius::Pod, &["service", "cluster"]).target(&own).unwrap();
        assert_eq!(target.to_string(), "cluster=eu-1,service=cart");
        let nameless = event("", &[("namespace", "shop")]);
        assert_eq!(
            spec(BlastRadius::Deployment, &[]).target(&nameless).unwrap_err().to_string(),
            "no target: label deployment"
        );
    }
}
