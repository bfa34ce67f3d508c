//! Incidents: which announced episodes are one outage.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::event::Severity;
use crate::fingerprint::sha1_head;
use crate::graph::DependencyGraph;
use crate::names::{EpisodeId, IncidentId, ServiceName};

/// What a decision did to its incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentChange {
    /// Nothing.
    None,
    /// It is new.
    Opened,
    /// One more episode joined it.
    Attached,
    /// Its severity rose.
    Raised,
    /// Its last episode ended.
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OpenIncident {
    id: IncidentId,
    services: BTreeSet<ServiceName>,
    episodes: BTreeSet<EpisodeId>,
    severity: Severity,
}

/// The open incidents, the oldest first. A closed one is forgotten: it absorbs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Incidents {
    open: BTreeMap<u64, OpenIncident>,
}

impl Incidents {
    /// Puts a newly announced episode into the oldest open incident of its service or of a direct
    /// neighbour, else into one of its own.
    pub(crate) fn attach(
        &mut self,
        episode: &EpisodeId,
        service: &ServiceName,
        severity: Severity,
        graph: &DependencyGraph,
    ) -> (IncidentId, IncidentChange) {
        let joins = |incident: &OpenIncident| {
            !service.is_empty()
                && incident.services.iter().any(|member| member == service || graph.adjacent(member, service))
        };
        if let Some(incident) = self.open.values_mut().find(|incident| joins(incident)) {
            incident.services.insert(service.clone());
            incident.episodes.insert(episode.clone());
            let raised = severity > incident.severity;
            incident.severity = incident.severity.max(severity);
            let change = if raised { IncidentChange::Raised } else { IncidentChange::Attached };
            return (incident.id.clone(), change);
        }
        let id = IncidentId::new(format!("inc-{}", sha1_head(episode.as_str().as_bytes())));
        let number = self.open.last_key_value().map_or(0, |(number, _)| number + 1);
        let incident = OpenIncident {
            id: id.clone(),
            services: BTreeSet::from([service.clone()]),
            episodes: BTreeSet::from([episode.clone()]),
            severity,
        };
        self.open.insert(number, incident);
        (id, IncidentChange::Opened)
    }

    /// Takes an episode of another replica in, under the incident that people were told.
    pub(crate) fn adopt(&mut self, id: &IncidentId, episode: &EpisodeId, service: &ServiceName, severity: Severity) {
        let number = match self.open.iter().find(|(_, incident)| incident.id == *id) {
            Some((number, _)) => *number,
            None => self.open.last_key_value().map_or(0, |(number, _)| number + 1),
        };
        let incident = self.open.entry(number).or_insert_with(|| OpenIncident {
            id: id.clone(),
            services: BTreeSet::new(),
            episodes: BTreeSet::new(),
            severity,
        });
        incident.services.insert(service.clone());
        incident.episodes.insert(episode.clone());
        incident.severity = incident.severity.max(severity);
    }

    /// Notes the severity of a member.
    pub(crate) fn rise(&mut self, id: &IncidentId, severity: Severity) -> IncidentChange {
        match self.open.values_mut().find(|incident| incident.id == *id) {
            Some(incident) if severity > incident.severity => {
                incident.severity = severity;
                IncidentChange::Raised
            }
            _ => IncidentChange::None,
        }
    }

    /// One episode stands in for another.
    pub(crate) fn replace(&mut self, id: &IncidentId, old: &EpisodeId, new: &EpisodeId) {
        if let Some(incident) = self.open.values_mut().find(|incident| incident.id == *id) {
            incident.episodes.remove(old);
            incident.episodes.insert(new.clone());
        }
    }

    /// An episode ended.
    pub(crate) fn detach(&mut self, id: &IncidentId, episode: &EpisodeId) -> IncidentChange {
        let Some((number, incident)) = self.open.iter_mut().find(|(_, incident)| incident.id == *id) else {
            return IncidentChange::None;
        };
        incident.episodes.remove(episode);
        if !incident.episodes.is_empty() {
            return IncidentChange::None;
        }
        let number = *number;
        self.open.remove(&number);
        IncidentChange::Closed
    }
}
