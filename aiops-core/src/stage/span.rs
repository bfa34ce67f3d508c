//! The span of one stage's work on one incident, with its place in the incident's trace.

/// A debug span of a stage: the host's subscriber joins it to the trace by its ids.
macro_rules! span_of {
    ($stage:literal, $incident:expr, $trace:expr) => {{
        let trace: Option<&crate::bus::TraceContext> = $trace;
        tracing::debug_span!(
            $stage,
            incident = $incident.as_str(),
            trace_id = trace.map(crate::bus::TraceContext::trace_id),
            span_id = trace.map(crate::bus::TraceContext::span_id),
        )
    }};
}
pub(super) use span_of;
