//! Gathers the triage context: all sources at once, each with a deadline.

use std::sync::Arc;

use crate::clock::Clock;
use crate::context::{ContextQuery, ContextSource, Missing, TriageContext};
use crate::error::error_chain;
use crate::plugin::{Boxed, guarded, join_all};

/// Sources asked at a time; a host has a handful.
const AT_ONCE: usize = 16;

/// Asks every source about one event, each until `query.deadline`. What failed, hung or panicked is
/// listed as missing and costs nothing else.
///
/// The result depends on what the sources answered, not on the order in which they did.
pub async fn gather_context(
    sources: &[Arc<dyn ContextSource>],
    query: &ContextQuery,
    clock: &dyn Clock,
) -> TriageContext {
    let mut asking: Vec<Boxed<'_, _>> = Vec::with_capacity(sources.len());
    for source in sources {
        asking.push(Box::pin(guarded(clock, query.deadline, async move { source.gather(query).await })));
    }
    let answers = join_all(asking, AT_ONCE).await;

    let (mut findings, mut missing) = (Vec::new(), Vec::new());
    for (source, answer) in sources.iter().zip(answers) {
        // Error and panic texts may hold what outsiders wrote: they go to the log, not to the triager.
        let (why, reason, detail) = match answer {
            Ok(Ok(found)) => {
                findings.extend(found);
                continue;
            }
            Ok(Err(error)) => ("error", "failed".to_owned(), error_chain(&error)),
            Err(fault) => (fault.label(), fault.plain(), fault.to_string()),
        };
        tracing::warn!(source = source.name(), error = detail, "context source gave nothing");
        metrics::counter!("aiops_context_missing_total", "source" => source.name().to_owned(), "why" => why)
            .increment(1);
        missing.push(Missing { what: source.name().to_owned(), reason });
    }
    TriageContext::assemble(findings, missing)
}
