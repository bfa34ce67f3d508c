//! The commonest error groups of an incident's services, for triage.

use aiops_core::{ContextError, ContextFinding, ContextKind, ContextQuery, ContextSource, ServiceName, Trust};
use async_trait::async_trait;
use serde_json::json;

use super::{ErrorGroup, ErrorLogs, ErrorSummary};

/// Groups of a service (field report, section 5: the top 10 fingerprints).
const TOP: usize = 10;
/// Findings at the most: the collector shows ten.
const MAX_FINDINGS: usize = 50;

/// Tells the groups of error lines that an incident's services wrote most of in the last fifteen minutes.
///
/// Those of the event's own service come first, then those of the incident's others, each by its share of
/// its service's lines. Each finding's data is an object:
///
/// | key | value |
/// |---|---|
/// | `group` | the group's fingerprint, the same on every machine |
/// | `count`, `before` | lines in the last fifteen minutes, and in the fifteen before |
/// | `change` | `count` over `before`; absent where that is 0 |
/// | `first_seen`, `last_seen` | when its first and last line was written, to the minute |
/// | `template`, `sample` | its text, and the masked form of its commonest lines |
/// | `lines`, `lines_before`, `kinds` | all lines of the service in both, and how many groups they are of |
/// | `incomplete` | whether lines of these thirty minutes may lack |
///
/// Workloads write log lines, so the findings are [`Trust::External`]. No raw line is told: what the masker takes for
/// a value stands as `*`, and so does what the store's [`Redactor`](aiops_core::Redactor) takes for a secret, and what
/// looks like random letters.
#[derive(Debug, Clone)]
pub struct ErrorLogContext {
    logs: ErrorLogs,
    top: usize,
}

impl ErrorLogContext {
    /// The top 10 groups of each service.
    #[must_use]
    pub fn new(logs: ErrorLogs) -> Self {
        Self { logs, top: TOP }
    }

    /// How many groups of each service; 10 unless set. A context holds ten in all.
    #[must_use]
    pub fn top(mut self, groups: usize) -> Self {
        self.top = groups;
        self
    }
}

fn finding(service: &ServiceName, summary: &ErrorSummary, group: &ErrorGroup, own: bool) -> ContextFinding {
    let ErrorGroup { count, before, template, sample, .. } = group;
    let mut data = json!({
        "group": group.group, "count": count, "before": before, "first_seen": group.first_seen,
        "last_seen": group.last_seen, "template": template, "sample": sample,
        "lines": summary.lines, "lines_before": summary.before, "kinds": summary.kinds,
        "incomplete": summary.incomplete,
    });
    if *before > 0 {
        data["change"] = json!(*count as f64 / *before as f64);
    }
    let template = if template.is_empty() { "(text no longer kept)" } else { template };
    let incomplete = if summary.incomplete { " (counts are incomplete)" } else { "" };
    let text = format!(
        "{count} of {} error lines of {} in 15 min, {before} in the 15 min before{incomplete}, first seen {}: {template}",
        summary.lines,
        aiops_core::text::clip(service.as_str(), 80),
        group.first_seen,
    );
    let share = *count as f64 / summary.lines.max(1) as f64;
    ContextFinding::new(ContextKind::Log, Trust::External, text)
        .service(service.clone())
        .at(group.last_seen)
        .weight(if own { 1.0 + share } else { share })
        .data(data)
}

#[async_trait]
impl ContextSource for ErrorLogContext {
    fn name(&self) -> &str {
        "error-logs"
    }

    async fn gather(&self, query: &ContextQuery) -> Result<Vec<ContextFinding>, ContextError> {
        let mut findings = Vec::new();
        for (place, service) in query.services.iter().enumerate() {
            let Some(summary) = self.logs.summary(service, query.now, self.top) else { continue };
            findings.extend(summary.groups.iter().map(|group| finding(service, &summary, group, place == 0)));
        }
        findings.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.text.cmp(&b.text)));
        if findings.len() > MAX_FINDINGS {
            let cut = findings.len() - MAX_FINDINGS;
            metrics::counter!("aiops_error_log_context_cut_total").increment(cut as u64);
            findings.truncate(MAX_FINDINGS);
        }
        Ok(findings)
    }
}
