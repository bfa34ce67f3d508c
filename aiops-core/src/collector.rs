//! Gathers the triage context: all sources at once, each with a deadline.

use std::sync::Arc;

use crate::clock::Clock;
use crate::context::{ContextKind, ContextQuery, ContextSource, Missing, TriageContext};
use crate::error::error_chain;
use crate::plugin::{Boxed, guarded, join_all};
use crate::redact::{Redactions, Redactor};

/// Sources asked at a time; a host has a handful.
const AT_ONCE: usize = 16;

/// Asks every source about one event, each until `query.deadline`. What failed, hung or panicked is
/// listed as missing and costs nothing else. What was found is redacted before it is sorted, cut and
/// numbered; [`Redactor::none`] leaves it as it is.
///
/// The result depends on what the sources answered, not on the order in which they did.
pub async fn gather_context(
    sources: &[Arc<dyn ContextSource>],
    query: &ContextQuery,
    clock: &dyn Clock,
    redactor: &Redactor,
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
    let mut redacted = Redactions::default();
    findings.iter_mut().for_each(|finding| redacted.merge(finding.redact(redactor)));
    redacted.record();
    let context = TriageContext::assemble(findings, missing);
    for (part, present) in parts(query, &context) {
        let present = if present { "yes" } else { "no" };
        metrics::counter!("aiops_context_parts_total", "part" => part, "present" => present).increment(1);
    }
    context
}

/// What a report needs to be specific, and whether it is there: vague reports start where it is not (field
/// report, section 8.1).
fn parts(query: &ContextQuery, context: &TriageContext) -> [(&'static str, bool); 6] {
    let has = |kind: ContextKind| context.items.iter().any(|item| item.kind == kind);
    let version = query.event.labels.get("service.version").is_some_and(|version| !version.is_empty());
    [
        ("service", !query.event.service.is_empty()),
        ("version", version),
        ("deploy", has(ContextKind::Deploy)),
        ("log", has(ContextKind::Log)),
        ("alert", has(ContextKind::Alert)),
        ("slo", has(ContextKind::Slo)),
    ]
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::context::{ContextFinding, Trust};

    #[test]
    fn what_a_context_lacks_is_told_part_by_part() {
        let now = Timestamp::UNIX_EPOCH;
        let mut event = crate::testing::samples::event("cart", "1", now);
        event.labels.insert("service.version".to_owned(), String::new());
        let mut query = ContextQuery::new(event, "inc-1".into(), now, now);
        let finding = |kind| ContextFinding::new(kind, Trust::System, "x");
        let context = TriageContext::assemble(vec![finding(ContextKind::Log), finding(ContextKind::Slo)], Vec::new());
        let present = |query: &ContextQuery, context: &TriageContext| -> Vec<&str> {
            parts(query, context).into_iter().filter_map(|(part, present)| present.then_some(part)).collect()
        };
        assert_eq!(present(&query, &context), ["service", "log", "slo"]);
        query.event.labels.insert("service.version".to_owned(), "1.4".to_owned());
        assert_eq!(present(&query, &TriageContext::default()), ["service", "version"]);
    }
}
