//! The suite of [`Notifier`].

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{NAMED, answered, ensure_named, poll_once};
use crate::notify::{Notice, Notifier, Receipt};
use crate::testing::{Violation, ensure, samples};

const SENDS: &str = "a notice of every kind gets out, or is an error";
const KEY: &str = "the channel must use `notice.incident_id` as its own dedup key";
const ENCODES: &str = "it must encode every text of the notice for its channel";
const DROPPED: &str = "a notice whose deadline was missed may be sent again";

/// What an attacker may write into a label or a log line: terminal escapes, HTML, chat links, images
/// and mentions, and a character that turns the text around.
const HOSTILE: &str = "\u{1b}]8;;http://x.test\u{7}<script>alert(1)</script>\n<!channel> <http://x.test|see> \
                       [see](http://x.test) ![i](http://x.test/i.png) \u{202e}\"}],\"severity\":\"info";

/// Checks a channel with a notice of every kind, twice each, on two incidents, with text that an
/// attacker may have written.
///
/// `sent` gives what the channel has sent so far, one text for each message, as the other side reads
/// it (the decoded JSON field, the page's source, the log line with its fields); it must name the
/// incident. `active` are the pieces that the channel would render if they stood there unencoded:
/// `<script`, `<http`, `](http`, `<!channel>`; control and invisible characters are never let through.
///
/// # Errors
/// The first line of the contract of [`Notifier`] that does not hold.
///
/// ```
/// use aiops_core::testing::{self, RecordingNotifier};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), testing::Violation> {
/// let pager = RecordingNotifier::new("pager");
/// let sent = || pager.notices().iter().map(|n| format!("{} {}", n.incident_id, n.line())).collect();
/// testing::check_notifier(&pager, sent, &[]).await
/// # }
/// ```
pub async fn check_notifier(
    notifier: &dyn Notifier,
    sent: impl Fn() -> Vec<String>,
    active: &[&str],
) -> Result<(), Violation> {
    let channel = notifier.channel().to_owned();
    ensure_named(&channel)?;
    let _ = poll_once(notifier.notify(&notices("dropped")[0], None)).await;
    check_incident(notifier, &notices("dropped")[..1], &sent, active, DROPPED).await?;
    for incident in ["one", "two"] {
        check_incident(notifier, &notices(incident), &sent, active, SENDS).await?;
    }
    ensure(notifier.channel() == channel, NAMED, || format!("{channel:?} became {:?}", notifier.channel()))
}

async fn check_incident(
    notifier: &dyn Notifier,
    notices: &[Notice],
    sent: &impl Fn() -> Vec<String>,
    active: &[&str],
    line: &'static str,
) -> Result<(), Violation> {
    let mut receipt: Option<Receipt> = None;
    for notice in notices {
        // A notice comes at least once.
        for _ in 0..2 {
            let before = sent();
            let what = format!("{:?}", notice.kind);
            receipt = Some(answered(line, line, &what, notifier.notify(notice, receipt.as_ref())).await?);
            check_text(notice, &before, &sent(), active)?;
        }
    }
    Ok(())
}

/// What is new among the texts names the incident and holds nothing that acts.
fn check_text(notice: &Notice, before: &[String], after: &[String], active: &[&str]) -> Result<(), Violation> {
    // A channel that edits its message changes an old text instead of adding one.
    let known: BTreeSet<&String> = before.iter().collect();
    let incident = notice.incident_id.as_str();
    let current = after.iter().rev().find(|text| text.contains(incident));
    let text = current.ok_or_else(|| Violation::new(KEY, format!("no message names {incident}: {after:?}")))?;
    for text in after.iter().filter(|text| !known.contains(text)).chain([text]) {
        let hidden = text.chars().find(|c| crate::text::is_hidden(*c) && *c != '\n');
        ensure(hidden.is_none(), ENCODES, || format!("{hidden:?} stands in {text:?}"))?;
        let found = active.iter().find(|piece| text.contains(**piece));
        ensure(found.is_none(), ENCODES, || format!("{found:?} stands in {text:?}"))?;
        let named = text.contains(incident);
        ensure(named, KEY, || format!("the notice of {incident} was sent without it: {text:?}"))?;
    }
    Ok(())
}

/// One notice of every kind on one incident, with hostile text wherever text may stand.
fn notices(name: &str) -> Vec<Notice> {
    let at = crate::time::plus(Timestamp::UNIX_EPOCH, Duration::from_secs(300));
    let mut event = samples::event(HOSTILE, &format!("conformance-{name}"), at);
    event.labels.insert("alertname".to_owned(), HOSTILE.to_owned());
    let incident = event.incident_id.clone().unwrap_or_default();
    samples::notice_kinds(&event, HOSTILE)
        .into_iter()
        .map(|kind| Notice::new(incident.clone(), event.clone(), kind, at))
        .collect()
}
