//! Who calls whom: the dependency graph that a host gives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::names::ServiceName;

/// Directed edges from a caller to what it depends on. An empty service name has no edges.
///
/// ```
/// let graph = aiops_core::DependencyGraph::new([("web", "cart"), ("cart", "db")]);
/// assert!(graph.adjacent(&"web".into(), &"cart".into()));
/// assert_eq!(graph.distance(&"web".into(), &"db".into()), Some(2));
/// assert_eq!(graph.distance(&"db".into(), &"web".into()), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DependencyGraph {
    edges: BTreeMap<ServiceName, BTreeSet<ServiceName>>,
}

impl DependencyGraph {
    /// A graph of (caller, dependency) edges; loops and edges of an empty name are left out.
    pub fn new(edges: impl IntoIterator<Item = (impl Into<ServiceName>, impl Into<ServiceName>)>) -> Self {
        let mut graph = Self::default();
        for (from, to) in edges {
            graph.add(from, to);
        }
        graph
    }

    /// Adds one edge.
    pub fn add(&mut self, from: impl Into<ServiceName>, to: impl Into<ServiceName>) {
        let (from, to) = (from.into(), to.into());
        if from != to && !from.is_empty() && !to.is_empty() {
            self.edges.entry(from).or_default().insert(to);
        }
    }

    /// What a service calls directly.
    pub fn dependencies(&self, service: &ServiceName) -> impl Iterator<Item = &ServiceName> {
        self.edges.get(service).into_iter().flatten()
    }

    /// Who calls a service directly.
    pub fn callers<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a ServiceName> {
        self.edges.iter().filter(move |(_, to)| to.contains(service)).map(|(from, _)| from)
    }

    /// Whether one calls the other directly.
    #[must_use]
    pub fn adjacent(&self, a: &ServiceName, b: &ServiceName) -> bool {
        self.edges.get(a).is_some_and(|to| to.contains(b)) || self.edges.get(b).is_some_and(|to| to.contains(a))
    }

    /// Calls on the shortest path from a caller to a dependency; 0 for the service itself.
    #[must_use]
    pub fn distance(&self, from: &ServiceName, to: &ServiceName) -> Option<usize> {
        let mut seen = BTreeSet::from([from]);
        let mut queue = VecDeque::from([(from, 0)]);
        while let Some((service, calls)) = queue.pop_front() {
            if service == to {
                return Some(calls);
            }
            for next in self.dependencies(service) {
                if seen.insert(next) {
                    queue.push_back((next, calls + 1));
                }
            }
        }
        None
    }

    /// A service and everything that it depends on, directly or not.
    #[must_use]
    pub fn reachable(&self, from: &ServiceName) -> BTreeSet<ServiceName> {
        let mut seen = BTreeSet::from([from.clone()]);
        let mut queue = vec![from];
        while let Some(service) = queue.pop() {
            for next in self.dependencies(service) {
                if seen.insert(next.clone()) {
                    queue.push(next);
                }
            }
        }
        seen
    }
}
