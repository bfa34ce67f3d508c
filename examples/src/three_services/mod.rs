//! One incident over three processes: detection, triage and remediation, each a service of its own over a bus.

mod arguments;
mod playback;
mod signals;
mod told;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::{
    BoxError, BusError, BusSettings, CancellationToken, Correlator, CorrelatorConfig, DependencyGraph, DetectionStage,
    EventBus, KafkaBus, LogNotifier, NatsBus, RedisBus, RedisStateStore, RemediationStage, StageParts, SystemClock,
    TriageStage,
};
use aiops_llm::RuleTriager;
use aiops_remediate::{ActionCatalogue, Dispatcher, Policy, RedisStore};

pub use self::arguments::{Arguments, Service, USAGE};
use self::playback::{Playback, ROW};
pub use self::told::{Told, line};
use crate::petshop::{self, Incident};
use crate::quickstart::shop::{Shop, cluster, one_application};

/// A little more than a row: what the fault does in the next sample belongs into the report.
const GROUP_WAIT: Duration = Duration::from_millis(1_200);

/// The bus of a URL, by its scheme.
///
/// # Errors
/// A URL that does not read, or a server that does not answer within the settings' publish deadline.
pub async fn connect(url: &str, settings: BusSettings) -> Result<Arc<dyn EventBus>, BusError> {
    Ok(match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("nats") => Arc::new(NatsBus::connect(url, settings).await?),
        Some("redis") => Arc::new(RedisBus::connect(url, settings).await?),
        _ => Arc::new(KafkaBus::connect(url, settings).await?),
    })
}

/// Runs the service that the command line names until the process is told to end by SIGINT or SIGTERM; see [`run`].
///
/// # Errors
/// Arguments that do not read, and those of [`run`].
pub async fn serve(
    arguments: impl IntoIterator<Item = String>,
    say: impl Fn(&str) + Send + Sync + 'static,
) -> Result<(), BoxError> {
    let arguments = Arguments::parse(arguments)?;
    let shutdown = CancellationToken::new();
    let (told, stop) = (signals::told_to_end()?, shutdown.clone());
    let work = run(arguments, say, shutdown);
    tokio::pin!(work);
    tokio::select! {
        ended = &mut work => return ended,
        () = told => stop.cancel(),
    }
    work.await
}

/// Runs one of the three services until `shutdown` is cancelled. `say` gets a line for each step: what the service
/// put onto the bus, and the trace that it belongs to.
///
/// # Errors
/// A recording that does not read, servers that do not answer, or a stage that cannot go on.
pub async fn run(
    arguments: Arguments,
    say: impl Fn(&str) + Send + Sync + 'static,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let incident = match &arguments.incident {
        Some(folder) => Incident::load(folder)?,
        None => petshop::embedded()?.into_iter().next().ok_or("no recording is built in")?,
    };
    let settings = BusSettings::default().prefix(arguments.prefix.as_str());
    let Some(started) = shutdown.run_until_cancelled(start(&arguments, settings)).await else { return Ok(()) };
    let (bus, parts) = started?;
    let bus = Told::new(bus, arguments.service, say);
    bus.say(&format!("{} runs", arguments.service));
    let bus: Arc<dyn EventBus> = Arc::new(bus);
    match arguments.service {
        Service::Detection => detection(&incident, parts)?.run(bus, shutdown).await?,
        Service::Triage => {
            let triager = RuleTriager::new(catalogue()?.menu());
            TriageStage::builder(parts, triager).group_wait(GROUP_WAIT).build().run(bus, shutdown).await?;
        }
        Service::Remediation => {
            let dispatcher = dispatcher(&incident, &arguments).await?;
            RemediationStage::builder(parts, dispatcher).build().run(bus, shutdown).await?;
        }
    }
    Ok(())
}

async fn start(arguments: &Arguments, settings: BusSettings) -> Result<(Arc<dyn EventBus>, Arc<StageParts>), BoxError> {
    Ok((connect(&arguments.bus, settings).await?, parts(arguments).await?))
}

/// What replicas have in common: without a store each process is the only one of its service.
async fn parts(arguments: &Arguments) -> Result<Arc<StageParts>, BoxError> {
    let mut parts = StageParts::builder().notify(LogNotifier);
    if let Some(url) = &arguments.state {
        parts = parts.state(RedisStateStore::connect(url, &arguments.keys("state")).await?);
        if let Some(name) = &arguments.replica {
            parts = parts.replica(name.as_str());
        }
    }
    Ok(parts.build())
}

fn detection(incident: &Incident, parts: Arc<StageParts>) -> Result<DetectionStage, BoxError> {
    let mut config = CorrelatorConfig::default();
    config.group_wait = GROUP_WAIT;
    let graph = DependencyGraph::new(one_application(&incident.calls));
    let detector = Playback::new(Shop::new(incident)?, &incident.around.times)?;
    Ok(DetectionStage::builder(parts, Correlator::new(config)?.with_graph(graph))
        .detector(detector)
        .evaluation_deadline(ROW)
        .build())
}

fn catalogue() -> Result<ActionCatalogue, BoxError> {
    Ok(ActionCatalogue::from_yaml(include_str!("../../catalogue/actions.yaml"), "actions.yaml")?)
}

/// In shadow mode, over a simulated cluster: it looks at the target and changes nothing.
async fn dispatcher(incident: &Incident, arguments: &Arguments) -> Result<Dispatcher, BoxError> {
    let mut dispatcher = Dispatcher::builder(catalogue()?, Policy::default());
    for handler in cluster(incident, SystemClock).handlers() {
        dispatcher = dispatcher.handler(handler);
    }
    if let Some(url) = &arguments.state {
        dispatcher = dispatcher.store(RedisStore::connect(url, &arguments.keys("remediation")).await?);
        if let Some(name) = &arguments.replica {
            dispatcher = dispatcher.holder(name.as_str());
        }
    }
    Ok(dispatcher.build()?)
}
