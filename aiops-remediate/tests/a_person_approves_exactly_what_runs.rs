//! Approvals: what is asked for is what runs, once, in the state that was seen, while it is still wanted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use aiops_core::{Disposition, Responder, Response, Status};
use aiops_remediate::{Approval, ApprovalError, ApprovalId, Dispatcher, Policy};
use common::acts::{Site, on_pod, reason, report};
use common::at;

async fn pending(dispatcher: &Dispatcher) -> Approval {
    let mut waiting = dispatcher.approvals().await.unwrap();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    waiting.remove(0)
}

async fn parked(site: &Site, dispatcher: &Dispatcher, number: u64, actions: &[&str]) -> (Response, Approval) {
    let report = report(number, actions);
    let response = dispatcher.respond(&report, at(0)).await.unwrap();
    dispatcher.told(&report, &response, at(0)).await.unwrap();
    assert_eq!(response.disposition, Disposition::AwaitingApproval, "{}", reason(&response));
    assert!(!site.effects().contains(&"asked".to_owned()));
    let approval = pending(dispatcher).await;
    assert!(response.plan.steps[approval.index].reason.contains(approval.id.as_str()));
    (response, approval)
}

#[tokio::test]
async fn what_ada_grants_runs_once_and_the_audit_log_says_so_first() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let (_, approval) = parked(&site, &dispatcher, 1, &["asked"]).await;
    let refused = dispatcher.approve(&approval.id, "eve", at(1)).await.unwrap_err();
    assert!(matches!(refused, ApprovalError::NotAllowed { .. }), "{refused}");
    dispatcher.approve(&approval.id, "ada", at(1)).await.unwrap();
    let answers = site.tick(&dispatcher, 2).await;
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].disposition, Disposition::Executed, "{}", reason(&answers[0]));
    assert!(site.tick(&dispatcher, 3).await.is_empty());
    assert_eq!(site.effects(), ["asked"]);
    let log = site.audit.text();
    let place = |what: &str| log.find(what).unwrap_or_else(|| panic!("no {what} in {log}"));
    assert!(place("\"kind\":\"decision\"") < place("\"word\":\"approved\""));
    assert!(place("\"word\":\"approved\"") < place("executing"));
}

#[tokio::test]
async fn without_an_authoriser_nobody_can_approve() {
    let site = Site::new();
    let catalogue = aiops_remediate::ActionCatalogue::from_yaml(common::acts::CATALOGUE, "actions.yaml").unwrap();
    let (_, approval) = parked(&site, &site.dispatcher(), 1, &["asked"]).await;
    let other = Dispatcher::builder(catalogue, Policy::default())
        .store(std::sync::Arc::<aiops_remediate::MemoryStore>::clone(&site.store))
        .build()
        .unwrap();
    let error = other.approve(&approval.id, "ada", at(1)).await.unwrap_err();
    assert!(matches!(error, ApprovalError::NotAllowed { .. }), "{error}");
    let unknown = other.approve(&ApprovalId::new("guess"), "ada", at(1)).await.unwrap_err();
    assert!(matches!(unknown, ApprovalError::Unknown), "{unknown}");
}

#[tokio::test]
async fn a_changed_state_makes_it_void() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let (_, approval) = parked(&site, &dispatcher, 1, &["asked"]).await;
    site.stage.observed.lock().unwrap().insert("asked", "v2".to_owned());
    dispatcher.approve(&approval.id, "ada", at(1)).await.unwrap();
    let answers = site.tick(&dispatcher, 2).await;
    let told = reason(&answers[0]);
    assert_eq!(told, "asked: changed: the state is not the one that was approved; the approval is void");
    assert!(site.effects().is_empty());
}

#[tokio::test]
async fn people_are_reminded_at_half_time_and_told_when_it_expires() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let (_, approval) = parked(&site, &dispatcher, 1, &["asked"]).await;
    assert!(site.tick(&dispatcher, 899).await.is_empty());
    let reminder = site.tick(&dispatcher, 900).await;
    assert_eq!(reminder[0].disposition, Disposition::AwaitingApproval);
    assert!(reminder[0].plan.steps[0].reason.ends_with("nobody has decided"), "{:?}", reminder[0].plan.steps[0]);
    assert!(site.tick(&dispatcher, 901).await.is_empty(), "once");
    assert!(site.tick(&dispatcher, 1_799).await.is_empty());
    let late = dispatcher.approve(&approval.id, "ada", at(1_800)).await.unwrap_err();
    assert!(matches!(late, ApprovalError::Expired(until) if until == at(1_800)), "{late}");
    let expired = site.tick(&dispatcher, 1_800).await;
    assert_eq!(reason(&expired[0]), "asked: the approval expired: nobody decided within 30m");
    assert!(site.effects().is_empty());
}

#[tokio::test]
async fn the_end_of_the_episode_makes_it_void() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let (_, approval) = parked(&site, &dispatcher, 1, &["asked"]).await;
    let mut ended = on_pod(1, "cart-1", 0);
    ended.status = Status::Resolved;
    dispatcher.resolved(&ended, at(5)).await.unwrap();
    let late = dispatcher.approve(&approval.id, "ada", at(6)).await.unwrap_err();
    assert!(matches!(late, ApprovalError::Settled(_)), "{late}");
    let answers = site.tick(&dispatcher, 7).await;
    assert_eq!(answers[0].disposition, Disposition::NoAction);
    assert_eq!(answers[0].plan.steps[0].reason, "the approval is void: the episode has ended");
}

/// Granted, and then the episode ends before it runs.
#[tokio::test]
async fn what_is_over_does_not_run_though_it_was_granted() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let (_, approval) = parked(&site, &dispatcher, 1, &["asked"]).await;
    dispatcher.approve(&approval.id, "ada", at(1)).await.unwrap();
    dispatcher.resolved(&on_pod(1, "cart-1", 0), at(2)).await.unwrap();
    let answers = site.tick(&dispatcher, 3).await;
    assert_eq!(answers[0].disposition, Disposition::NoAction);
    assert!(site.effects().is_empty());
}

#[tokio::test]
async fn what_was_granted_long_ago_does_not_run() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let (_, approval) = parked(&site, &dispatcher, 1, &["asked"]).await;
    dispatcher.approve(&approval.id, "ada", at(10)).await.unwrap();
    // The process was down for the time between.
    let answers = site.tick(&dispatcher, 10 + 15 * 60 + 1).await;
    assert_eq!(reason(&answers[0]), "asked: stale: approved 15m 1s ago, at most 15m");
    assert!(site.effects().is_empty());
}

#[tokio::test]
async fn a_newer_plan_takes_the_place_of_the_one_that_waits() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let (_, old) = parked(&site, &dispatcher, 1, &["asked"]).await;
    let (_, new) = parked(&site, &dispatcher, 2, &["asked"]).await;
    assert_ne!(old.id, new.id);
    let error = dispatcher.approve(&old.id, "ada", at(1)).await.unwrap_err();
    assert!(matches!(error, ApprovalError::Settled(_)), "{error}");
    dispatcher.approve(&new.id, "ada", at(1)).await.unwrap();
    let mut became: Vec<Disposition> =
        site.tick(&dispatcher, 2).await.into_iter().map(|answer| answer.disposition).collect();
    became.sort_by_key(Disposition::as_str);
    assert_eq!(became, [Disposition::Executed, Disposition::NoAction]);
    assert_eq!(site.effects(), ["asked"]);
}

/// A restart in between changes nothing: the approval lives in the store.
#[tokio::test]
async fn another_process_runs_what_was_granted() {
    let site = Site::new();
    let (_, approval) = parked(&site, &site.dispatcher(), 1, &["first", "asked"]).await;
    let other = site.builder(Policy::default()).holder("other").build().unwrap();
    other.approve(&approval.id, "ada", at(1)).await.unwrap();
    let answers = site.tick(&other, 2).await;
    assert_eq!(answers[0].disposition, Disposition::Executed, "{}", reason(&answers[0]));
    assert_eq!(site.effects(), ["first", "asked"]);
}

#[tokio::test]
async fn a_step_without_effect_is_followed_by_its_next_and_no_other_is() {
    use aiops_core::Outcome;
    for (outcome, ran, disposition) in [
        (Outcome::NoEffect, vec!["followed", "second"], Disposition::Executed),
        (Outcome::Helped, vec!["followed"], Disposition::Executed),
        (
            Outcome::Worse,
            vec!["followed"],
            Disposition::Escalated {
                reason: "followed: done (done), and it is worse than before; taken back: uncordoned it".to_owned(),
            },
        ),
    ] {
        let site = Site::new();
        site.stage.outcomes.lock().unwrap().insert("followed", outcome);
        let response = site.dispatcher().respond(&report(1, &["followed"]), at(0)).await.unwrap();
        assert_eq!(
            (site.effects(), &response.disposition),
            (ran.iter().map(ToString::to_string).collect(), &disposition)
        );
        assert_eq!(response.plan.steps[1].after, Some(0));
    }
}

#[tokio::test]
async fn a_number_of_its_own_says_whether_an_action_helped() {
    for (errors, told) in [
        (Some(4.0), ""),
        (Some(5.0), "measured: done (done), without effect"),
        (None, "measured: done (done); whether it helped is unknown"),
    ] {
        let site = Site::new();
        if let Some(errors) = errors {
            site.probe.set("errors", errors);
        }
        let response = site.dispatcher().respond(&report(1, &["measured"]), at(0)).await.unwrap();
        assert_eq!(reason(&response), told);
    }
}

#[tokio::test]
async fn an_audit_log_that_cannot_be_written_stops_everything() {
    let site = Site::new();
    #[derive(Debug)]
    struct Full;
    #[async_trait::async_trait]
    impl aiops_remediate::AuditLog for Full {
        async fn append(&self, _: aiops_remediate::AuditEntry) -> Result<(), aiops_remediate::AuditError> {
            let (file, source) = ("audit.jsonl".to_owned(), "no space left".into());
            Err(aiops_remediate::AuditError::Unavailable { doing: "append to", file, source })
        }
    }
    let dispatcher = site.builder(Policy::default()).audit(Full).build().unwrap();
    let response = dispatcher.respond(&report(1, &["first"]), at(0)).await.unwrap();
    assert_eq!(reason(&response), "the audit log could not be written");
    assert!(site.effects().is_empty());
    let known = dispatcher.respond(&report(1, &["first"]), at(0)).await.unwrap();
    assert_eq!(known.disposition, Disposition::Duplicate);
}
