//! The channel that needs nothing: the host's log.

use async_trait::async_trait;

use super::{Notice, NoticeKind, Notifier, NotifyError, Receipt};
use crate::channel::Channel;

/// Writes notices to the host's tracing subscriber: a person's turn at warn, the rest at info.
///
/// A host that installs no subscriber sees nothing; a pipeline that should page needs a channel that
/// pages.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    fn channel(&self) -> &str {
        "log"
    }

    async fn notify(&self, notice: &Notice, _previous: Option<&Receipt>) -> Result<Receipt, NotifyError> {
        let (incident, line) = (notice.incident_id.as_str(), Channel::Terminal.encode(&notice.line()));
        match &notice.kind {
            NoticeKind::Announced { .. } | NoticeKind::Escalated { .. } | NoticeKind::AwaitingApproval { .. } => {
                tracing::warn!(incident, "{line}");
            }
            _ => tracing::info!(incident, "{line}"),
        }
        Ok(Receipt::default())
    }
}
