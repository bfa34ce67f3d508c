//! How fast the error budgets of an incident's services burn.

mod objective;

use std::collections::BTreeMap;
use std::time::Duration;

use aiops_core::{ContextError, ContextFinding, ContextKind, ContextQuery, ContextSource, Trust};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

pub use self::objective::{BurnLimit, InvalidSlo, Sli, Slo};
use super::error::{ClientError, ClientErrorKind};
use super::prometheus::promql::duration;
use super::prometheus::{Prometheus, PrometheusValue, call};

const NAME: &str = "slo-burn-rate";
/// Objectives that are read for one question, those of the event's service first; the collector shows five.
const MAX_SLOS: usize = 32;
/// A weight beyond this says no more.
const MAX_WEIGHT: f64 = 1_000.0;

/// Tells how fast the error budgets of the incident's services burn, and which limits that breaks.
///
/// The burn rate of a window is its share of bad events over the share that the objective allows: at 1 the
/// budget lasts exactly its period. One query for each objective reads all windows. A limit is reached where
/// its long and its short window both are ([`BurnLimit`]).
///
/// One finding for each objective, also where nothing burns: that a service keeps its objective is worth
/// knowing. What could not be read is told as unknown, never as 0; if nothing could be read, the source is
/// missing. Its data is an object:
///
/// | key | value |
/// |---|---|
/// | `slo`, `objective` | the objective's name and share |
/// | `burn_rates` | object: each window (`5m`) to its burn rate, or null where there is no data or no traffic |
/// | `burning` | array of the limits that are reached, as written: `severity`, `long`, `short`, `factor` |
/// | `state` | `burning`, `within budget`, `no data`, or `error` |
///
/// The words are the team's own and the numbers ours: [`Trust::System`]. The weight is how far above its
/// limit the worst pair of windows is (1: at the limit), at most 1,000.
///
/// ```
/// use aiops_detectors::client::{Endpoint, Prometheus, Sli, Slo, SloBurnRate, reqwest};
///
/// let prometheus = Prometheus::new(Endpoint::new("http://prometheus:9090", reqwest::Client::new())?);
/// let available = Slo::new("cart", "availability", 0.999, Sli::Pyrra { metric: "http_requests".into(), slo: "cart-errors".into() })?;
/// let source = SloBurnRate::new(prometheus, [available]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SloBurnRate {
    prometheus: Prometheus,
    slos: Vec<Slo>,
}

impl SloBurnRate {
    /// The burn rates of these objectives, of which those of the incident's services are read.
    #[must_use]
    pub fn new(prometheus: Prometheus, slos: impl IntoIterator<Item = Slo>) -> Self {
        Self { prometheus, slos: slos.into_iter().collect() }
    }
}

/// The error ratio in each window that has one, by the name of the window.
type Ratios = BTreeMap<String, f64>;

async fn ratios(prometheus: &Prometheus, slo: &Slo, now: jiff::Timestamp) -> Result<Ratios, ClientError> {
    let answer = prometheus.query(&slo.expression(), now).await?;
    if answer.partial {
        return Err(call("query").error(ClientErrorKind::Partial, "a part of the data is missing"));
    }
    let PrometheusValue::Vector(series) = answer.value else {
        return Err(call("query").error(ClientErrorKind::Malformed, "the result is no vector"));
    };
    let ratio = |series: crate::Series| {
        let window = series.labels.get("window")?.clone();
        // Without traffic it is 0 of 0.
        let value = series.samples.first()?.value;
        value.is_finite().then_some((window, value))
    };
    Ok(series.into_iter().filter_map(ratio).collect())
}

/// What the ratios say of an objective.
fn finding(slo: &Slo, ratios: &Ratios) -> ContextFinding {
    let rate = |window: Duration| Some(ratios.get(&duration(window))? / (1.0 - slo.objective));
    let both = |limit: &BurnLimit| Some(rate(limit.long)?.min(rate(limit.short)?));
    let reached: Vec<&BurnLimit> =
        slo.limits.iter().filter(|limit| both(limit).is_some_and(|rate| rate >= limit.factor)).collect();
    let weight = slo.limits.iter().filter_map(|limit| Some(both(limit)? / limit.factor)).fold(0.0, f64::max);
    let burn_rates: Map<String, Value> =
        slo.windows().into_iter().map(|window| (duration(window), json!(rate(window)))).collect();
    let missing: Vec<String> =
        slo.windows().into_iter().filter(|window| rate(*window).is_none()).map(duration).collect();
    let words = |window: Duration| rate(window).map(|rate| format!("{rate:.1} over {}", duration(window)));
    let (state, mut text) = if let Some(worst) = reached.iter().copied().reduce(worse(&both)) {
        let rates = [worst.long, worst.short].into_iter().filter_map(words).collect::<Vec<_>>().join(" and ");
        ("burning", format!("burns its budget at {rates}, {} from {}", worst.severity, worst.factor))
    } else if let Some(fastest) = slo.windows().into_iter().find_map(words) {
        ("within budget", format!("is within its budget: burn rate {fastest}"))
    } else {
        ("no data", "has no data or no traffic".to_owned())
    };
    if !missing.is_empty() && state != "no data" {
        text = format!("{text}; unknown over {}", missing.join(", "));
    }
    let burning: Vec<Value> = reached
        .iter()
        .map(|limit| {
            let (long, short) = (duration(limit.long), duration(limit.short));
            json!({"severity": limit.severity, "long": long, "short": short, "factor": limit.factor})
        })
        .collect();
    let data = json!({
        "slo": slo.name, "objective": slo.objective, "burn_rates": burn_rates, "burning": burning, "state": state,
    });
    told(slo, &text).weight(weight.min(MAX_WEIGHT)).data(data)
}

/// Of two limits the one that is farther exceeded.
fn worse<'a>(both: &impl Fn(&BurnLimit) -> Option<f64>) -> impl Fn(&'a BurnLimit, &'a BurnLimit) -> &'a BurnLimit {
    let excess = move |limit: &BurnLimit| both(limit).unwrap_or_default() / limit.factor;
    move |one, other| if excess(other) > excess(one) { other } else { one }
}

fn unknown(slo: &Slo, error: &ClientError) -> ContextFinding {
    let data = json!({"slo": slo.name, "objective": slo.objective, "burn_rates": {}, "burning": [], "state": "error"});
    // The server's own words stay out of the context.
    told(slo, &format!("burn rate is unknown: {} {} failed", error.system, error.call)).data(data)
}

fn told(slo: &Slo, what: &str) -> ContextFinding {
    let percent = (slo.objective * 1e8).round() / 1e6;
    let text = format!("{} {} ({percent} %) {what}", slo.service, slo.name);
    ContextFinding::new(ContextKind::Slo, Trust::System, text).service(slo.service.clone())
}

#[async_trait]
impl ContextSource for SloBurnRate {
    fn name(&self) -> &str {
        NAME
    }

    async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError> {
        let of_service =
            query.services.iter().flat_map(|service| self.slos.iter().filter(move |slo| slo.service == *service));
        let mut slos: Vec<&Slo> = of_service.collect();
        if let Some(cut @ 1..) = slos.len().checked_sub(MAX_SLOS) {
            metrics::counter!("aiops_slo_cut_total").increment(cut as u64);
            slos.truncate(MAX_SLOS);
        }
        let mut reads = JoinSet::new();
        for (place, slo) in slos.iter().enumerate() {
            let (prometheus, slo, now) = (self.prometheus.clone(), (*slo).clone(), query.now);
            reads.spawn(async move { (place, ratios(&prometheus, &slo, now).await) });
        }
        let (mut findings, mut last) = (BTreeMap::new(), None);
        while let Some(read) = reads.join_next().await {
            let (place, read) = read.map_err(|error| ContextError::retryable(NAME, error))?;
            let found = read.map(|ratios| finding(slos[place], &ratios)).unwrap_or_else(|error| {
                let found = unknown(slos[place], &error);
                last = Some(error);
                found
            });
            findings.insert(place, found.at(query.now));
        }
        let all_failed = findings.values().all(|found| found.data["state"] == "error");
        match last {
            Some(error) if all_failed => Err(error.of_context(NAME)),
            _ => Ok(findings.into_values().collect()),
        }
    }
}
