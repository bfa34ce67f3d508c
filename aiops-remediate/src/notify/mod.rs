//! Channels to people over HTTP: any webhook, Slack (its Web API, or what speaks its incoming webhooks), and PagerDuty.
//!
//! The host passes in its own [`reqwest::Client`], so that connections, proxies and TLS are its own: the feature
//! `client` builds reqwest without a TLS backend. An `https` URL needs one, which the host switches on by a feature
//! of its own dependency on reqwest.
//!
//! A pipeline asks its channels in the order given: one that fails is counted, and the notice falls to the next.
//!
//! ```no_run
//! use aiops_core::{Channel, LogNotifier, Pipeline};
//! use aiops_remediate::ActionCatalogue;
//! use aiops_remediate::notify::{PagerDutyNotifier, WebhookNotifier, reqwest};
//! # fn example(detector: impl aiops_core::Detector) -> Result<(), Box<dyn std::error::Error>> {
//! let http = reqwest::Client::new();
//! let catalogue = ActionCatalogue::from_yaml_file("actions.yaml")?;
//! let pager = PagerDutyNotifier::builder("0123456789abcdef0123456789abcdef", http.clone())
//!     .runbooks(catalogue.clone())
//!     .build()?;
//! let slack = WebhookNotifier::slack("https://hooks.slack.com/services/T/B/x", http).runbooks(catalogue).build()?;
//! // PagerDuty first, Slack where PagerDuty fails, the log where both do.
//! let pipeline = Pipeline::builder().detector(detector).notify(pager).notify(slack).notify(LogNotifier).build()?;
//! # let _ = pipeline; Ok(()) }
//! ```

mod message;
mod pagerduty;
mod slack;
mod template;
mod webhook;

pub use reqwest;

pub use self::pagerduty::{PagerDutyBuilder, PagerDutyNotifier, PagerDutySeverity};
pub use self::slack::{
    SlackBuilder, SlackClick, SlackClicks, SlackClicksBuilder, SlackNotifier, SlackRefusal, SlackWord,
};
pub use self::webhook::{WebhookBuilder, WebhookNotifier};
pub use crate::hook::HookError;

/// A notifier that cannot work: every fault, with what to do about it. It shows no key and no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("notifier cannot be built: {}", .0.join("; "))]
pub struct InvalidNotifier(Vec<String>);

impl InvalidNotifier {
    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}
