//! The notifier suite passes the bundled channels and catches broken ones.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aiops_core::testing::{LogRecorder, RecordingNotifier, check_notifier};
use aiops_core::{IncidentId, LogNotifier, Notice, NoticeKind, Notifier, NotifyError, Receipt};
use async_trait::async_trait;

#[tokio::test(start_paused = true)]
async fn the_bundled_channels_pass() {
    let pager = RecordingNotifier::new("pager");
    let sent = || pager.notices().iter().map(|n| format!("{} {}", n.incident_id, n.line())).collect();
    check_notifier(&pager, sent, &[]).await.unwrap();

    let log = LogRecorder::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    check_notifier(&LogNotifier, || log.lines().into_iter().map(|line| line.text).collect(), &[]).await.unwrap();
    check_notifier(&Page::default(), Vec::new, &[]).await.unwrap_err();
    let page = Page::default();
    check_notifier(&page, || page.texts(), &["<script", "<http", "](http", "<!channel>"]).await.unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Fault {
    #[default]
    None,
    Nameless,
    RefusesApprovals,
    OneKeyForAll,
    ForgetsTheIncident,
    ShowsRawLabels,
    RendersMarkup,
    NeedsAFreshReceipt,
    Hangs,
    StaysBusyAfterADrop,
}

/// A page with one message an incident, which a later notice edits.
#[derive(Debug, Default, Clone)]
struct Page {
    fault: Fault,
    messages: Arc<Mutex<BTreeMap<IncidentId, String>>>,
    busy: Arc<Mutex<bool>>,
}

impl Page {
    fn texts(&self) -> Vec<String> {
        self.messages.lock().unwrap().values().cloned().collect()
    }
}

#[async_trait]
impl Notifier for Page {
    fn channel(&self) -> &str {
        if self.fault == Fault::Nameless { "" } else { "page" }
    }

    async fn notify(&self, notice: &Notice, previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let incident = &notice.incident_id;
        let line = notice.line().replace('<', "&lt;").replace("](", "]\\(");
        let mut text = format!("{incident} {line}");
        let mut key = incident.clone();
        match self.fault {
            Fault::RefusesApprovals if matches!(notice.kind, NoticeKind::AwaitingApproval { .. }) => {
                return Err(NotifyError::permanent("page", "no buttons here"));
            }
            Fault::OneKeyForAll => key = "page".into(),
            Fault::ForgetsTheIncident => text = line,
            Fault::ShowsRawLabels => text = format!("{incident} {}", notice.event.alertname().replace('<', "")),
            Fault::RendersMarkup => text = format!("{incident} {}", notice.line()),
            Fault::NeedsAFreshReceipt if previous.is_some() => {
                return Err(NotifyError::retryable("page", "the message was edited before"));
            }
            Fault::Hangs => std::future::pending().await,
            Fault::StaysBusyAfterADrop => {
                if std::mem::replace(&mut *self.busy.lock().unwrap(), true) {
                    return Err(NotifyError::retryable("page", "still sending"));
                }
                tokio::task::yield_now().await;
                *self.busy.lock().unwrap() = false;
            }
            _ => {}
        }
        let mut messages = self.messages.lock().unwrap();
        if self.fault == Fault::OneKeyForAll && messages.contains_key(&key) {
            return Ok(Receipt::new("kept"));
        }
        messages.insert(key, text);
        Ok(Receipt::new("edited"))
    }
}

#[tokio::test(start_paused = true)]
async fn broken_channels_are_caught() {
    for (fault, line) in [
        (Fault::Nameless, "name"),
        (Fault::RefusesApprovals, "every kind"),
        (Fault::OneKeyForAll, "dedup key"),
        (Fault::ForgetsTheIncident, "dedup key"),
        (Fault::ShowsRawLabels, "encode every text"),
        (Fault::RendersMarkup, "encode every text"),
        (Fault::NeedsAFreshReceipt, "sent again"),
        (Fault::Hangs, "sent again"),
        (Fault::StaysBusyAfterADrop, "sent again"),
    ] {
        let page = Page { fault, ..Page::default() };
        let active = ["<script", "<http", "](http", "<!channel>"];
        let violation = check_notifier(&page, || page.texts(), &active).await.unwrap_err();
        assert!(violation.contract.contains(line), "{fault:?}: {violation}");
    }
}
