//! Yesterday's events through today's settings: what would have been announced, held, joined?

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use aiops_core::jiff::Timestamp;
use aiops_core::{
    Correlated, CorrelationDecision, Correlator, CorrelatorConfig, DeployLog, DeployWindow, DetectionEvent, EventId,
    Identity, InvalidCorrelatorConfig, Live, MaintenanceWindows, Rollout, ServiceName, time,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lines::{Line, next_line};

/// One line of the output. All keys are always there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The line of the record, counted from 1.
    pub line: u64,
    /// What became of it.
    pub decision: CorrelationDecision,
    /// The episode's fingerprint.
    pub fingerprint: Option<String>,
    /// The episode.
    pub episode_id: Option<String>,
    /// The incident, once the episode was announced.
    pub incident_id: Option<String>,
    /// The line of the announcement that a repeat counts on.
    pub of: Option<u64>,
    /// Repeat, suppressed: held so far. Announced, resolved: held before it.
    pub count: u64,
    /// What held it.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

#[derive(Deserialize)]
struct ResolvedRecord {
    kind: String,
    service: ServiceName,
    alertname: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct MaintenanceRecord {
    from: Timestamp,
    to: Timestamp,
    services: Vec<ServiceName>,
}

/// Replays records through one correlator.
#[derive(Debug)]
pub struct Replay {
    correlator: Correlator,
    deploys: DeployLog,
    maintenance: Live<MaintenanceWindows>,
    now: Timestamp,
    /// Lines by decision; episodes that ended by themselves count as `ended by silence`.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Ids of events are their lines, so that a repeat can name the line that it repeats.
const ID_PREFIX: &str = "line-";

impl Replay {
    /// A replay with these settings.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub fn new(config: CorrelatorConfig) -> Result<Self, InvalidCorrelatorConfig> {
        let deploys = DeployLog::default();
        let maintenance = Live::new(MaintenanceWindows::default());
        let correlator = Correlator::new(config)?
            .with_deploys(deploys.clone(), DeployWindow::default())
            .with_maintenance(maintenance.clone());
        Ok(Self { correlator, deploys, maintenance, now: Timestamp::MIN, counts: BTreeMap::new() })
    }

    /// Reads records from `input` and writes a line for each event and resolve to `output`.
    ///
    /// # Errors
    /// Those of reader and writer; a broken record is a line of output, not an error.
    pub fn run(&mut self, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
        let mut number = 0;
        while let Some(line) = next_line(input, &mut number)? {
            let decided = match line {
                Line::Text(text) => self.record(number, &text),
                Line::Bad(reason) => Some(invalid(number, reason)),
            };
            if let Some(decided) = decided {
                *self.counts.entry(decided.decision.as_str()).or_default() += 1;
                serde_json::to_writer(&mut *output, &decided)?;
                output.write_all(b"\n")?;
            }
        }
        output.flush()
    }

    fn record(&mut self, number: u64, text: &str) -> Option<Decided> {
        self.decide(number, text).unwrap_or_else(|reason| Some(invalid(number, reason)))
    }

    /// `Err` is why the record is broken.
    fn decide(&mut self, number: u64, text: &str) -> Result<Option<Decided>, String> {
        let record: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let Value::Object(mut record) = record else { return Err("not a JSON object".to_owned()) };
        let at: Timestamp = field(&mut record, "at")?;
        let kind: String = field(&mut record, "type")?;
        self.now = self.now.max(at);
        let silent = self.correlator.advance(self.now).len() as u64;
        if silent > 0 {
            *self.counts.entry("ended by silence").or_default() += silent;
        }
        let decided = match kind.as_str() {
            "event" => {
                record.entry("fingerprint").or_insert_with(|| Value::from(""));
                record.insert("event_id".to_owned(), Value::from(format!("{ID_PREFIX}{number}")));
                let event: DetectionEvent = read(record)?;
                Some(self.correlator.observe(event, self.now))
            }
            "resolved" => {
                let record: ResolvedRecord = read(record)?;
                let mut identity = Identity::new(record.kind.as_str().into(), record.service, record.alertname);
                identity.labels = record.labels;
                Some(self.correlator.resolve(&identity, at, self.now))
            }
            "rollout" => {
                record.insert("at".to_owned(), Value::from(at.to_string()));
                self.deploys.record(read::<Rollout>(record)?);
                None
            }
            "maintenance" => {
                let record: MaintenanceRecord = read(record)?;
                // Late sightings still ask for windows that ended a while ago.
                let forget = time::minus(self.now, self.correlator.config().max_skew);
                let windows = self.maintenance.load();
                let windows = windows.with_once(record.from, record.to, record.services, forget);
                self.maintenance.replace(windows.map_err(|error| error.to_string())?);
                None
            }
            other => {
                let other = aiops_core::text::clip(other, 40);
                return Err(format!("unknown type {other:?}; expected event, resolved, rollout or maintenance"));
            }
        };
        Ok(decided.map(|correlated| decided_line(number, &correlated)))
    }
}

fn field<T: for<'de> Deserialize<'de>>(record: &mut Map<String, Value>, name: &str) -> Result<T, String> {
    let value = record.remove(name).ok_or_else(|| format!("missing field `{name}`"))?;
    T::deserialize(value).map_err(|error| format!("{name}: {error}"))
}

fn read<T: for<'de> Deserialize<'de>>(record: Map<String, Value>) -> Result<T, String> {
    T::deserialize(Value::Object(record)).map_err(|error| error.to_string())
}

fn line_of(id: &EventId) -> Option<u64> {
    id.as_str().strip_prefix(ID_PREFIX)?.parse().ok()
}

fn decided_line(line: u64, correlated: &Correlated) -> Decided {
    Decided {
        line,
        decision: correlated.decision,
        fingerprint: correlated.fingerprint().map(ToString::to_string),
        episode_id: correlated.episode_id().map(ToString::to_string),
        incident_id: correlated.incident_id().map(ToString::to_string),
        of: correlated.of.as_ref().and_then(line_of),
        count: correlated.count,
        by: correlated.by.clone(),
        reason: correlated.reason.clone(),
    }
}

fn invalid(line: u64, reason: String) -> Decided {
    Decided {
        line,
        decision: CorrelationDecision::Invalid,
        fingerprint: None,
        episode_id: None,
        incident_id: None,
        of: None,
        count: 0,
        by: None,
        reason: Some(reason),
    }
}
