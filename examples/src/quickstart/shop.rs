//! The shop as a pipeline sees it: detectors with thresholds from the days without a fault, and
//! simulated workloads for the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::text::number;
use aiops_core::{Clock, Detector, DetectorError, Evaluation, Tick, VirtualClock, time};
use aiops_detectors::{Direction, Labels, Mad, MemorySource, Sample, Scorer, Series, SeriesDetector};
use aiops_remediate::sim::{Cluster, Deployment};
use async_trait::async_trait;

use crate::petshop::{Incident, Metric};

/// Where the simulated workloads run.
const NAMESPACE: &str = "petshop";
/// A row holds five minutes.
pub(crate) const EVERY: Duration = Duration::from_secs(300);
/// Samples of days without a fault, below which a series is not watched: the field report's 30 of 288.
const MIN_SAMPLES: usize = 30;
/// In the days without a fault nothing fires by construction; so far out a value must be at least.
const MIN_THRESHOLD: f64 = 6.0;

/// A series with what is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The node.
    pub(crate) node: String,
    /// Its metric.
    pub(crate) alertname: &'static str,
    /// Why.
    pub(crate) reason: String,
}

/// What is watched.
#[derive(Debug)]
pub(crate) struct Shop {
    /// One detector over all series that can be watched.
    pub(crate) detector: WholeShop,
    /// The workloads, as their handlers see them.
    pub(crate) cluster: Cluster,
    /// The time of all of it.
    pub(crate) clock: VirtualClock,
    /// The others.
    pub(crate) set_aside: Vec<Named>,
    /// Those whose baseline was scaled to the level of the first row.
    pub(crate) rescaled: Vec<Named>,
    /// How far the days without a fault were moved, in seconds.
    pub(crate) moved: i64,
    /// When they begin and end, moved.
    pub(crate) healthy: (Timestamp, Timestamp),
    /// When the rows around the fault begin and end.
    pub(crate) around: (Timestamp, Timestamp),
    /// Nodes that are watched.
    pub(crate) nodes: BTreeSet<String>,
    /// Samples that are replayed.
    pub(crate) samples: usize,
}

/// What fires, its unit and side.
fn rule(metric: Metric) -> (&'static str, &'static str, Direction, f64) {
    match metric {
        // A series whose spread is next to nothing must move by some percent to be strange.
        Metric::Latency => ("LatencyHigh", "s", Direction::Up, 0.01),
        // Of a thousand requests one may fail.
        Metric::Availability => ("AvailabilityLow", "%", Direction::Down, 0.001),
    }
}

/// `PetSearch_AWS::ECS::Fargate` runs as deployment `petsearch-aws-ecs-fargate`.
fn workload(node: &str) -> String {
    let mut name = String::new();
    for c in node.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(50);
    name.trim_end_matches('-').to_owned()
}

/// One deployment and pod for each node, on two machines.
pub(crate) fn cluster(incident: &Incident, clock: impl Clock) -> Cluster {
    let nodes: BTreeSet<&String> = incident.around.series.keys().map(|(node, _)| node).collect();
    nodes.into_iter().fold(Cluster::new(clock).node("node-1").node("node-2"), |cluster, node| {
        cluster.deployment(Deployment::new(NAMESPACE, node.as_str(), 1).name(workload(node)), "v1")
    })
}

fn labels(node: &str, cluster: &Cluster) -> Labels {
    let pod = cluster.pods().into_iter().find(|pod| pod.service.as_str() == node);
    let pod = pod.map_or(String::new(), |pod| pod.name);
    [("service", node.to_owned()), ("namespace", NAMESPACE.to_owned()), ("deployment", workload(node)), ("pod", pod)]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn at(seconds: i64) -> Result<Timestamp, String> {
    Timestamp::from_second(seconds).map_err(|error| format!("time {seconds}: {error}"))
}

impl Shop {
    /// Prepares an incident.
    ///
    /// # Errors
    /// Times outside any calendar, or no series that can be watched.
    pub(crate) fn new(incident: &Incident) -> Result<Self, String> {
        let (healthy, around) = (&incident.healthy, &incident.around);
        let (first, last) = (around.times[0], around.times[around.times.len() - 1]);
        let (begins, ends) = (healthy.times[0], healthy.times[healthy.times.len() - 1]);
        let interval = i64::try_from(EVERY.as_secs()).unwrap_or(i64::MAX);
        let moved = first - interval - ends;

        // A row is there one second after its time.
        let clock = VirtualClock::new(at(first + 1)?);
        let cluster = cluster(incident, clock.clone());
        let mut detectors = Vec::new();
        let (mut set_aside, mut rescaled, mut nodes, mut samples) = (Vec::new(), Vec::new(), BTreeSet::new(), 0);
        for (key, rows) in &around.series {
            let (node, metric) = key;
            let (alertname, unit, direction, floor) = rule(*metric);
            let mut aside = |reason: &str| {
                set_aside.push(Named { node: node.clone(), alertname, reason: reason.to_owned() });
            };
            let Some(history) = healthy.series.get(key).filter(|history| history.len() >= MIN_SAMPLES) else {
                aside("too few samples in the days without a fault");
                continue;
            };
            let scorer = Mad::new(history.len() + rows.len()).min_samples(MIN_SAMPLES).relative_floor(floor);
            let Some(range) = HealthyRange::of(&scorer, history, direction) else {
                aside("does not move at all, at zero, in the days without a fault");
                continue;
            };
            // The rows begin before the fault, and the days without a fault were recorded months apart. A
            // series that is out already in the first row is at another level by now: its baseline is
            // scaled to that row, so that what happens after it still shows.
            let mut scale = 1.0;
            match rows.first() {
                Some((time, value)) if *time == first => {
                    if range.score(*value) >= range.threshold {
                        scale = value / range.centre;
                        if !(scale > 0.0 && scale.is_finite()) {
                            aside("was at zero in the days without a fault, or is before this one begins");
                            continue;
                        }
                        rescaled.push(Named { node: node.clone(), alertname, reason: format!("by {}", number(scale)) });
                    }
                }
                _ => {
                    aside("has no sample before the fault");
                    continue;
                }
            }

            let mut all = Vec::with_capacity(history.len() + rows.len());
            for (time, value) in
                history.iter().map(|(time, value)| (time + moved, *value * scale)).chain(rows.iter().copied())
            {
                all.push(Sample { at: at(time)?, value });
            }
            samples += all.len();
            nodes.insert(node.clone());
            let source =
                MemorySource::new(format!("{node}/{alertname}"), vec![Series::new(labels(node, &cluster), all)]);
            let detector = SeriesDetector::builder(alertname, source, scorer)
                .service(node.as_str())
                .every(EVERY)
                .direction(direction)
                .threshold(range.threshold)
                .lookback(time::since(at(first)?, at(begins + moved)?) + EVERY)
                .window(time::since(at(ends)?, at(begins)?))
                .unit(unit)
                .build()
                .map_err(|error| format!("{node}: {error}"))?;
            detectors.push(detector);
        }
        if detectors.is_empty() {
            return Err(format!("{}: no series that can be watched", incident.name));
        }
        Ok(Self {
            detector: WholeShop(detectors),
            cluster,
            clock,
            set_aside,
            rescaled,
            moved,
            healthy: (at(begins + moved)?, at(ends + moved)?),
            around: (at(first)?, at(last)?),
            nodes,
            samples,
        })
    }
}

/// Where a series was in the days without a fault, in the scorer's own measure.
struct HealthyRange {
    centre: f64,
    spread: f64,
    sign: f64,
    /// The furthest value of these days, and at least six deviations.
    threshold: f64,
}

impl HealthyRange {
    fn of(scorer: &Mad, history: &[(i64, f64)], direction: Direction) -> Option<Self> {
        let mut scorer = scorer.clone();
        let mut last = None;
        for (time, value) in history {
            last = Some(scorer.observe(Timestamp::from_second(*time).ok()?, *value));
        }
        let score = last?;
        let (centre, band) = (score.expected?, score.band?);
        let spread = (band.high - centre) / scorer.default_threshold();
        if !(spread > 0.0 && spread.is_finite()) {
            return None;
        }
        let sign = if direction == Direction::Down { -1.0 } else { 1.0 };
        let mut range = Self { centre, spread, sign, threshold: MIN_THRESHOLD };
        range.threshold = history.iter().map(|(_, value)| range.score(*value)).fold(MIN_THRESHOLD, f64::max);
        Some(range)
    }

    fn score(&self, value: f64) -> f64 {
        self.sign * (value - self.centre) / self.spread
    }
}

/// All series of the shop, each with the threshold that its own days without a fault give it.
#[derive(Debug)]
pub(crate) struct WholeShop(Vec<SeriesDetector<MemorySource>>);

impl WholeShop {
    /// Series that are watched.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[async_trait]
impl Detector for WholeShop {
    fn name(&self) -> &str {
        "healthy-range"
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let mut sightings = Vec::new();
        for series in &self.0 {
            sightings.extend(series.evaluate(tick).await?.sightings);
        }
        Ok(Evaluation::new(sightings))
    }
}

/// The shop is one application: what its graph connects, directly or not, is one outage while it lasts.
pub(crate) fn one_application(calls: &[(String, String)]) -> Vec<(String, String)> {
    let mut group: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups: Vec<BTreeSet<&str>> = Vec::new();
    for (a, b) in calls {
        let (a, b) = (a.as_str(), b.as_str());
        let joined = match (group.get(a).copied(), group.get(b).copied()) {
            (Some(one), Some(other)) if one != other => {
                let moved = std::mem::take(&mut groups[other]);
                for name in &moved {
                    group.insert(name, one);
                }
                groups[one].extend(moved);
                one
            }
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => {
                groups.push(BTreeSet::new());
                groups.len() - 1
            }
        };
        groups[joined].extend([a, b]);
        group.insert(a, joined);
        group.insert(b, joined);
    }
    let pair = |names: &BTreeSet<&str>| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let pairs = names.iter().enumerate();
        pairs.flat_map(|(place, a)| names[place + 1..].iter().map(|b| (a.clone(), b.clone()))).collect::<Vec<_>>()
    };
    groups.iter().flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_connected_is_joined() {
        let edges = [("a", "b"), ("c", "d"), ("d", "b"), ("x", "y")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let joined: Vec<String> = one_application(&edges).iter().map(|(a, b)| format!("{a}{b}")).collect();
        assert_eq!(joined, ["ab", "ac", "ad", "bc", "bd", "cd", "xy"]);
    }

    #[test]
    fn workloads_are_names_that_a_cluster_takes() {
        assert_eq!(workload("PetSearch_AWS::ECS::Fargate"), "petsearch-aws-ecs-fargate");
        assert_eq!(workload("adoptions@services-database"), "adoptions-services-database");
    }
}
