//! The report's sentences.

use aiops_core::text::{clip, number};
use aiops_core::time::{human, since};
use aiops_core::{TriageRequest, jiff::Timestamp};

use super::DEPLOY_WINDOW;
use super::rank::{Cause, Known};

/// A report's summary is read on a phone.
const MAX_SUMMARY: usize = 400;
/// Names in a sentence.
const MAX_NAMES: usize = 3;

/// When nothing fires any more: the event alone.
pub(super) fn nothing_known(request: &TriageRequest) -> String {
    clip(&format!("nothing fires any more; {}", request.event.explain()), MAX_SUMMARY)
}

/// `PetSearch: Latency, score 31 against 3, since 12:05:00Z; PetSite calls it and fires too`.
pub(super) fn cause(cause: &Cause<'_>, request: &TriageRequest) -> String {
    let mut text = format!("{}: {}", clip(cause.service.as_str(), 80), clip(&cause.alertname, 80));
    if let (Some(score), Some(threshold)) = (cause.score, cause.threshold) {
        text.push_str(&format!(", score {} against {}", number(score), number(threshold)));
    }
    text.push_str(&format!(", since {}", clock_time(cause.started, request.now)));
    if let Some(below) = &cause.explained_by {
        text.push_str(&format!("; it depends on {}, which fires too", clip(below.as_str(), 80)));
    }
    if !cause.callers.is_empty() {
        let names: Vec<String> = cause.callers.iter().take(MAX_NAMES).map(|name| clip(name.as_str(), 80)).collect();
        let more = cause.callers.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text.push_str(&format!("; called by {}{more}, firing too", names.join(", ")));
    }
    text
}

/// What fires, the likeliest cause, the rollout before it, and what is recommended.
pub(super) fn summary(request: &TriageRequest, causes: &[Cause<'_>], known: &Known<'_>, verdict: &str) -> String {
    let Some(first) = causes.first() else { return nothing_known(request) };
    let fires = match causes.len() {
        1 => "one service fires".to_owned(),
        services => format!("{services} services fire"),
    };
    let deploy = match known.deploy {
        Some(item) => format!("before it: {}", clip(&item.text, 120)),
        None => format!("no deploy of it in the {} before", human(DEPLOY_WINDOW)),
    };
    let likeliest = cause(first, request);
    clip(&format!("{fires}; likeliest cause {likeliest}; {deploy}; {verdict}"), MAX_SUMMARY)
}

/// The time alone on the same day, else with the date.
fn clock_time(at: Timestamp, now: Timestamp) -> String {
    let long = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    if since(now, at).as_secs() < 12 * 3600 { long[11..].to_owned() } else { long }
}
