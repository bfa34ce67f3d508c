//! What an object that rolls out pods says about its rollout.

use aiops_core::{Rollout, RolloutKind, RolloutPhase, ServiceName, text};
use jiff::Timestamp;
use serde_json::Value;

use super::object::{Object, Place, deployments, stateful_sets};
use super::rollback_deployment::{REVISION, ROLLED_BACK_FROM, is_complete, tag};

/// The revision of an Argo Rollout.
const ARGO_REVISION: &str = "rollout.argoproj.io/revision";
/// Characters of a note.
const NOTE: usize = 300;

/// What rolls out pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    /// Of Argo Rollouts.
    Rollout,
}

/// How far a rollout is, and when it got there, where the object says so.
enum Progress {
    Going,
    Complete(Option<Timestamp>),
    Failed(Option<Timestamp>),
}

impl Kind {
    pub(super) fn all_of(self) -> Place {
        match self {
            Self::Deployment => deployments(),
            Self::StatefulSet => stateful_sets(),
            Self::Rollout => Place::new("apis/argoproj.io/v1alpha1", "rollouts"),
        }
    }

    /// The value of a metric's `kind` label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "stateful_set",
            Self::Rollout => "rollout",
        }
    }

    /// What changes with the pod template, and only with it.
    fn revision(self, object: &Object) -> Option<&str> {
        match self {
            Self::Deployment => object.annotation(REVISION),
            Self::StatefulSet => Some(object.text("/status/updateRevision")),
            Self::Rollout => object.annotation(ARGO_REVISION),
        }
        .filter(|revision| !revision.is_empty())
    }

    fn progress(self, object: &Object) -> Progress {
        match self {
            Self::Deployment => of_deployment(object),
            Self::StatefulSet => {
                let status = |field: &str| object.number(&format!("/status/{field}")).unwrap_or(0);
                let wanted = object.number("/spec/replicas").unwrap_or(1);
                // Pods below the partition stay as they are.
                let kept = object.number("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
                let same = object.text("/status/currentRevision") == object.text("/status/updateRevision");
                let updated = same || status("updatedReplicas") >= wanted.saturating_sub(kept);
                if updated && status("readyReplicas") >= wanted { Progress::Complete(None) } else { Progress::Going }
            }
            Self::Rollout => match object.text("/status/phase") {
                "Healthy" => Progress::Complete(None),
                "Degraded" => Progress::Failed(None),
                _ => Progress::Going,
            },
        }
    }

    /// The steps of the rollout that the object shows; none while its controller has not taken up the last change.
    ///
    /// `now` stands for a time that the object does not tell; on a first look it is not known, and what is complete
    /// counts as complete from its start.
    pub(super) fn steps(self, object: &Object, service_label: &str, now: Timestamp, first_look: bool) -> Vec<Rollout> {
        let generation = object.number("/metadata/generation");
        // Argo writes its own as a text.
        let observed = object.number("/status/observedGeneration");
        let observed = observed.or_else(|| object.text("/status/observedGeneration").parse().ok());
        let (Some(revision), true) = (self.revision(object), observed >= generation) else { return Vec::new() };
        let template = "/spec/template/metadata/labels";
        let of_template = object.at(template).and_then(|labels| labels.get(service_label)?.as_str());
        let service = ServiceName::from(object.label(service_label).or(of_template).unwrap_or_default());
        let id = format!("{}/{}#{revision}", object.namespace(), object.name());
        let set = object.set_last("template");
        let began = set.map(|(_, at)| at).or_else(|| object.created()).unwrap_or(now);
        let told = |at: Option<Timestamp>| at.unwrap_or(if first_look { began } else { now });
        let end = match self.progress(object) {
            Progress::Going => None,
            Progress::Complete(at) => Some((RolloutPhase::Completed, told(at))),
            Progress::Failed(at) => Some((RolloutPhase::Failed, told(at))),
        };
        // Who set the template may have set something else since.
        let began = end.map_or(began, |(_, at)| began.min(at));
        let image = object.text("/spec/template/spec/containers/0/image");
        let labelled = object.at(template).and_then(|labels| labels.get("app.kubernetes.io/version")?.as_str());
        let version = labelled.or_else(|| tag(image)).unwrap_or(revision);
        let mut note = format!("image {image}");
        if let Some((who, _)) = set {
            note += &format!(", set by {who}");
        }
        let step = |phase, at| {
            Rollout::new(service.clone(), id.clone(), phase, at)
                .version(text::clip(version, NOTE))
                .kind(kind(object, revision))
                .note(text::clip(&note, NOTE))
        };
        let mut steps = vec![step(RolloutPhase::Started, began)];
        steps.extend(end.map(|(phase, at)| step(phase, at)));
        steps
    }
}

/// Our own rollback made the revision after the one that it took back.
fn kind(object: &Object, revision: &str) -> RolloutKind {
    let from = object.annotation(ROLLED_BACK_FROM).and_then(|from| from.parse::<u64>().ok());
    let ours = from.is_some_and(|from| revision.parse() == Ok(from.saturating_add(1)));
    if ours { RolloutKind::OwnRollback } else { RolloutKind::Full }
}

fn of_deployment(deployment: &Object) -> Progress {
    let condition = deployment.condition("Progressing");
    let at = condition.and_then(|condition| condition.get("lastUpdateTime")?.as_str()?.parse().ok());
    match condition.and_then(|condition| condition.get("reason")?.as_str()) {
        Some("ProgressDeadlineExceeded") => Progress::Failed(at),
        // It stays so while pods come and go later.
        Some("NewReplicaSetAvailable") => Progress::Complete(at),
        _ if condition.is_none_or(Value::is_null) && is_complete(deployment) => Progress::Complete(None),
        _ => Progress::Going,
    }
}
