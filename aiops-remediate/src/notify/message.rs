//! What a notice says, in pieces that channels put together.

use aiops_core::{Channel, Decision, Live, Notice, NoticeKind, Outcome, Response, Step, Triaged, text};

use crate::catalogue::ActionCatalogue;

/// One piece of a message is cut here: a sentence or two.
const PIECE: usize = 600;
/// Of steps, causes and runbooks, so many are shown.
const LISTED: usize = 5;

/// A notice with the runbooks of the actions that it names.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) notice: &'a Notice,
    /// Action and address, from the catalogue alone: no link comes from an event or a report.
    pub(super) runbooks: Vec<(String, String)>,
}

impl<'a> Message<'a> {
    pub(super) fn new(notice: &'a Notice, catalogue: Option<&Live<ActionCatalogue>>) -> Self {
        let mut message = Self { notice, runbooks: Vec::new() };
        let Some(catalogue) = catalogue.map(Live::load) else { return message };
        let planned = message.response().into_iter().flat_map(|response| &response.plan.steps);
        let planned = planned.map(|step| step.action.as_str());
        let recommended = message.triaged().into_iter().flat_map(|triaged| triaged.report.distinct_actions());
        let mut runbooks: Vec<(String, String)> = Vec::new();
        for spec in planned.chain(recommended).filter_map(|action| catalogue.get(action)) {
            let known = runbooks.iter().any(|(action, _)| action == spec.name.as_str());
            if let Some(address) = spec.runbook.as_deref().filter(|address| !known && is_link(address)) {
                runbooks.push((spec.name.to_string(), address.to_owned()));
            }
        }
        runbooks.truncate(LISTED);
        message.runbooks = runbooks;
        message
    }

    /// The answer that it tells of.
    pub(super) fn response(&self) -> Option<&'a Response> {
        match &self.notice.kind {
            NoticeKind::Updated { response, .. } | NoticeKind::Escalated { response, .. } => response.as_deref(),
            NoticeKind::AwaitingApproval { response } => Some(response),
            _ => None,
        }
    }

    /// The report that it tells of.
    pub(super) fn triaged(&self) -> Option<&'a Triaged> {
        match &self.notice.kind {
            NoticeKind::Updated { triaged, .. } => triaged.as_deref(),
            _ => None,
        }
    }

    /// Why it comes, where that is not plain.
    pub(super) fn reason(&self) -> String {
        let reason = match &self.notice.kind {
            NoticeKind::Announced { reason, .. } => reason.as_deref().unwrap_or_default(),
            NoticeKind::Suppressed { summary } => summary,
            NoticeKind::Escalated { reason, .. } => reason,
            _ => "",
        };
        text::clip(reason, PIECE)
    }

    /// The steps that were refused, each with the reason.
    pub(super) fn refused(&self) -> Vec<String> {
        self.steps_where(|step| step.decision == Decision::Deny)
    }

    /// All steps, each with what became of it.
    pub(super) fn steps(&self) -> Vec<String> {
        self.steps_where(|_| true)
    }

    fn steps_where(&self, wanted: impl Fn(&Step) -> bool) -> Vec<String> {
        let steps = self.response().into_iter().flat_map(|response| &response.plan.steps);
        steps.filter(|step| wanted(step)).take(LISTED).map(line).collect()
    }

    pub(super) fn causes(&self) -> Vec<String> {
        let causes = self.triaged().into_iter().flat_map(|triaged| &triaged.report.likely_causes);
        causes.take(LISTED).map(|cause| text::clip(cause, PIECE)).collect()
    }

    /// All of it, a line each, for a chat.
    pub(super) fn lines(&self, channel: Channel) -> String {
        let listed =
            |name: &'static str, lines: Vec<String>| lines.into_iter().map(move |line| format!("{name}: {line}"));
        let mut lines = vec![self.notice.line(), format!("incident {}", self.notice.incident_id)];
        lines.extend(listed("cause", self.causes()).chain(listed("step", self.steps())));
        let mut lines: Vec<String> = lines.iter().map(|line| channel.encode(line)).collect();
        // From the catalogue, so that it may be a link.
        lines.extend(self.runbooks.iter().map(|(action, address)| format!("runbook of {action}: {address}")));
        lines.join("\n")
    }
}

/// One step, as a person would say it.
fn line(step: &Step) -> String {
    let on = step.target.as_ref().map(|target| format!(" on {target}")).unwrap_or_default();
    let what = match (step.decision, step.outcome) {
        (Decision::Deny, _) => "refused",
        (_, Some(Outcome::Helped)) => "helped",
        (_, Some(Outcome::NoEffect)) => "no effect",
        (_, Some(Outcome::Worse)) => "worse than before",
        (_, Some(Outcome::Unknown)) => "unknown, look",
        (Decision::RequireApproval, None) => "needs approval",
        (Decision::Allow, None) => "allowed",
    };
    text::clip(&format!("{}{on}: {what}: {}", step.action, step.reason), PIECE)
}

/// An address that can stand in a message as it is: nothing in it ends a link or begins another one.
fn is_link(address: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '|' | '"' | '\'' | '`' | '\\');
    let scheme = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    scheme.is_some_and(|rest| !rest.is_empty()) && address.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_are_links() {
        for good in ["https://runbooks.internal/restart-pod#2", "http://wiki/x?y=1&z=(2)"] {
            assert!(is_link(good), "{good}");
        }
        for bad in ["javascript:alert(1)", "https://", "https://a b", "https://a|b", "https://a>b", "file:///x", ""] {
            assert!(!is_link(bad), "{bad}");
        }
    }
}
