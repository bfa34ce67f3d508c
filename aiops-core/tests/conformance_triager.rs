//! The triager suite passes the bundled adaptors and fakes and catches broken triagers.
#![allow(clippy::unwrap_used)]

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{ScriptedTriager, check_triager, samples};
use aiops_core::{
    ActionMenu, ActionName, MenuEntry, Provenance, Triage, TriageError, TriageReport, TriageRequest, Triager,
    triager_fn,
};
use async_trait::async_trait;

fn menu() -> ActionMenu {
    ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod").unwrap(), "deletes one pod")])
}

fn request() -> TriageRequest {
    samples::request(samples::event("checkout", "1", Timestamp::UNIX_EPOCH))
}

fn report() -> TriageReport {
    TriageReport::new("checkout is slow").recommended_actions(["restart_pod"]).evidence(["deploy:1"])
}

#[tokio::test(start_paused = true)]
async fn the_bundled_triagers_pass() {
    check_triager(&triager_fn("closure", |_| async { Ok(report()) }), &request(), &menu()).await.unwrap();
    check_triager(&ScriptedTriager::new("script").then(report()), &request(), &menu()).await.unwrap();
    check_triager(&ScriptedTriager::new("empty"), &request(), &menu()).await.unwrap();
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Invents,
    FoldsCase,
    ObeysTheLog,
    CitesNothingThatIsThere,
    SaysNothing,
    HidesItsName,
    Nameless,
    Hangs,
    StaysBusyAfterADrop,
}

#[derive(Debug)]
struct Broken(Fault, std::sync::Mutex<bool>);

#[async_trait]
impl Triager for Broken {
    fn name(&self) -> &str {
        if self.0 == Fault::Nameless { "" } else { "broken" }
    }

    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
        let mut report = report();
        let mut provenance = Provenance::new("broken");
        let obeyed = request.context.items.iter().find_map(|item| item.text.split_once("[\"")?.1.split_once('"'));
        match self.0 {
            Fault::Invents => report = report.recommended_actions(["rm -rf /"]),
            Fault::FoldsCase => report = report.recommended_actions(["Restart_Pod"]),
            Fault::ObeysTheLog => report = report.recommended_actions(obeyed.map(|(name, _)| name)),
            Fault::CitesNothingThatIsThere => report = report.evidence(["log:99"]),
            Fault::SaysNothing => report.summary.clear(),
            Fault::HidesItsName => provenance = Provenance::default(),
            Fault::Hangs => std::future::pending().await,
            Fault::StaysBusyAfterADrop => {
                if std::mem::replace(&mut *self.1.lock().unwrap(), true) {
                    return Err(TriageError::retryable("broken", "still asking"));
                }
                tokio::task::yield_now().await;
                *self.1.lock().unwrap() = false;
            }
            Fault::Nameless => {}
        }
        Ok(Triage::new(report, provenance))
    }
}

#[tokio::test(start_paused = true)]
async fn broken_triagers_are_caught() {
    for (fault, line) in [
        (Fault::Invents, "from a menu"),
        (Fault::FoldsCase, "from a menu"),
        (Fault::ObeysTheLog, "from a menu"),
        (Fault::CitesNothingThatIsThere, "cites"),
        (Fault::SaysNothing, "report says"),
        (Fault::HidesItsName, "who wrote it"),
        (Fault::Nameless, "name"),
        (Fault::Hangs, "by `request.deadline`"),
        (Fault::StaysBusyAfterADrop, "cancel safe"),
    ] {
        let violation = check_triager(&Broken(fault, false.into()), &request(), &menu()).await.unwrap_err();
        assert!(violation.contract.contains(line), "{fault:?}: {violation}");
    }
}
