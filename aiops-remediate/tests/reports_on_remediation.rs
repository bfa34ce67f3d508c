//! What users of other systems reported about their remediation, one test each: it cannot happen here. The
//! numbers are those of the project's list of such reports.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aiops_core::testing::ManualClock;
use aiops_core::{
    Applied, BoxError, Disposition, Inspection, Outcome, Precondition, Responder, Response, Triaged, handler_fn,
};
use aiops_remediate::sim::{Cluster, Deployment};
use aiops_remediate::{
    ActionCatalogue, ApprovalError, Dispatcher, HealthGuard, JsonlStore, Limit, MemoryStore, Mode, Policy,
};
use common::acts::{Site, on_pod, reason, report};
use common::{at, event, scratch, triaged};

/// The same action ran twice in a chain.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn row_43_of_a_hundred_dispatches_one_executes() {
    let site = Site::new();
    let dispatcher = Arc::new(site.dispatcher());
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let dispatcher = Arc::clone(&dispatcher);
            tokio::spawn(async move { dispatcher.respond(&report(1, &["first"]), at(0)).await.unwrap().disposition })
        })
        .collect();
    let mut became = Vec::new();
    for task in tasks {
        became.push(task.await.unwrap());
    }
    let count = |wanted: &Disposition| became.iter().filter(|disposition| *disposition == wanted).count();
    assert_eq!((count(&Disposition::Executed), count(&Disposition::Duplicate)), (1, 99), "{became:?}");
    assert_eq!(site.effects(), ["first"]);
}

/// Runs `first` and, while it is in the middle of its action, whatever else.
async fn beside<T>(site: &Site, dispatcher: &Dispatcher, else_do: impl Future<Output = T>) -> (Response, T) {
    *site.stage.held.lock().unwrap() = Some("first");
    let held = async { dispatcher.respond(&report(1, &["first"]), at(0)).await.unwrap() };
    let other = async {
        site.stage.begun.notified().await;
        let answer = else_do.await;
        site.stage.go.notify_one();
        answer
    };
    tokio::join!(held, other)
}

/// Two different actions on one resource at once.
#[tokio::test]
async fn row_44_two_actions_are_not_on_one_target_at_once() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let other = async {
        let same = dispatcher.respond(&report(2, &["second"]), at(0)).await.unwrap();
        let elsewhere = triaged(on_pod(3, "cart-2", 0), &["second"]);
        (same, dispatcher.respond(&elsewhere, at(0)).await.unwrap())
    };
    let (first, (same, elsewhere)) = beside(&site, &dispatcher, other).await;
    assert_eq!(first.disposition, Disposition::Executed);
    let told = "second: another action runs on namespace=shop,pod=cart-1: locked by pid-";
    assert!(reason(&same).starts_with(told), "{}", reason(&same));
    assert_eq!(elsewhere.disposition, Disposition::Executed);
    assert_eq!(site.effects(), ["second", "first"]);
}

/// A duplicate should be refused or wait for a bounded time, as the policy says.
#[tokio::test]
async fn row_45_a_busy_target_is_waited_for_as_long_as_the_policy_says() {
    for (released_after, runs) in [(10, true), (31, false)] {
        let site = Site::new();
        let dispatcher = site.builder(Policy::default().target_wait(Duration::from_secs(30))).build().unwrap();
        *site.stage.held.lock().unwrap() = Some("first");
        let first = async { dispatcher.respond(&report(1, &["first"]), at(0)).await.unwrap() };
        let second = async {
            site.stage.begun.notified().await;
            dispatcher.respond(&report(2, &["second"]), at(0)).await.unwrap()
        };
        let time = async {
            for second in 1..=40 {
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                if second == released_after {
                    site.stage.go.notify_one();
                }
                site.clock.set(at(second));
            }
        };
        let (first, second, ()) = tokio::join!(first, second, time);
        assert_eq!(first.disposition, Disposition::Executed, "{}", reason(&first));
        let ran = second.disposition == Disposition::Executed;
        assert_eq!(ran, runs, "{}", reason(&second));
    }
}

/// Policies deadlock when parent and child need the same slot.
#[tokio::test]
async fn row_46_an_action_within_an_action_on_the_same_target_fails_at_once() {
    let nested: Arc<OnceLock<(Arc<Dispatcher>, Triaged)>> = Arc::default();
    let told: Arc<OnceLock<Response>> = Arc::default();
    let (inner, answer) = (Arc::clone(&nested), Arc::clone(&told));
    let outer = handler_fn(
        "first",
        |_| async { Ok(Inspection::Ready { precondition: Precondition::default() }) },
        move |_, _| {
            let (inner, answer) = (Arc::clone(&inner), Arc::clone(&answer));
            async move {
                let (dispatcher, report) = inner.get().ok_or("not set")?;
                answer.set(dispatcher.respond(report, at(0)).await?).map_err(|_| "set before")?;
                Ok::<_, BoxError>(Applied::new("done"))
            }
        },
    );
    let catalogue = ActionCatalogue::from_yaml(common::acts::CATALOGUE, "actions.yaml").unwrap();
    let policy = Policy::default().mode(Mode::Active).target_wait(Duration::from_secs(30));
    let dispatcher = Dispatcher::builder(catalogue, policy)
        .handler(outer)
        .handler(handler_fn(
            "second",
            |_| async { Ok(Inspection::Ready { precondition: Precondition::default() }) },
            |_, _| async { Ok(Applied::new("done")) },
        ))
        .with_clock(ManualClock::new(at(0)))
        .verify_after(Duration::ZERO)
        .build()
        .unwrap();
    let dispatcher = Arc::new(dispatcher);
    let mut child = report(2, &["second"]);
    child.incident_id = report(1, &["first"]).incident_id;
    assert!(nested.set((Arc::clone(&dispatcher), child)).is_ok());
    // No time passes: whoever waited would wait for ever.
    dispatcher.respond(&report(1, &["first"]), at(0)).await.unwrap();
    assert!(reason(told.get().unwrap()).starts_with("second: another action runs on "), "{:?}", told.get());
}

/// A lock held by a dead holder; nobody can see or free it.
#[tokio::test]
async fn row_47_locks_are_listed_with_holder_and_age_and_a_person_can_free_them() {
    let site = Site::new();
    let dispatcher = site.builder(Policy::default()).holder("replica-a").build().unwrap();
    let other = async {
        let locks = dispatcher.locks(at(60)).await.unwrap();
        let target = locks.iter().find(|lease| lease.key.starts_with("target|")).unwrap().clone();
        assert!(target.holder.starts_with("replica-a/inc-"), "{target:?}");
        assert_eq!((target.since, target.until), (at(0), at(600)));
        let freed = dispatcher.force_release(&target.key, "ada", "replica-a is gone", at(61)).await.unwrap();
        assert_eq!(freed.unwrap().token, target.token);
        assert!(dispatcher.force_release(&target.key, "ada", "again", at(62)).await.unwrap().is_none());
    };
    beside(&site, &dispatcher, other).await;
    let log = site.audit.text();
    assert!(log.contains("forced_release") && log.contains("ada") && log.contains("replica-a is gone"), "{log}");
    assert!(dispatcher.locks(at(601)).await.unwrap().is_empty(), "what nobody frees ends by its time");
}

/// Paused executions are not counted.
#[tokio::test]
async fn row_48_what_waits_for_approval_counts_against_concurrency() {
    let site = Site::new();
    let dispatcher = site.builder(Policy::default().max_open(1)).build().unwrap();
    let waits = dispatcher.respond(&report(1, &["asked"]), at(0)).await.unwrap();
    assert_eq!(waits.disposition, Disposition::AwaitingApproval);
    let second = dispatcher.respond(&triaged(on_pod(2, "cart-2", 0), &["first"]), at(0)).await.unwrap();
    let told = "1 plans are running or waiting for approval, at most 1; settle one of them first";
    assert_eq!(reason(&second), told);
    let approval = dispatcher.approvals().await.unwrap().remove(0);
    dispatcher.reject(&approval.id, "ada", "not now", at(1)).await.unwrap();
    assert_eq!(reason(&site.tick(&dispatcher, 2).await[0]), "asked: ada rejected it: not now");
    let third = dispatcher.respond(&triaged(on_pod(3, "cart-2", 0), &["first"]), at(2)).await.unwrap();
    assert_eq!(third.disposition, Disposition::Executed);
}

/// A release timer in memory: a restart strands the lock.
#[tokio::test]
async fn row_49_cool_downs_and_what_waits_outlive_a_restart_and_every_lock_ends() {
    let file = scratch("row_49.jsonl");
    let site = Site::new();
    {
        let dispatcher = site.builder(Policy::default()).store(JsonlStore::open(&file).unwrap()).build().unwrap();
        let ran = dispatcher.respond(&report(1, &["cooled"]), at(0)).await.unwrap();
        assert_eq!(ran.disposition, Disposition::Executed);
        let waits = dispatcher.respond(&report(2, &["asked"]), at(0)).await.unwrap();
        assert_eq!(waits.disposition, Disposition::AwaitingApproval);
    }
    let again = site.builder(Policy::default()).store(JsonlStore::open(&file).unwrap()).build().unwrap();
    let cooling = again.respond(&report(3, &["cooled"]), at(1)).await.unwrap();
    assert!(reason(&cooling).contains("cool-down"), "{}", reason(&cooling));
    let approval = again.approvals().await.unwrap().remove(0);
    again.approve(&approval.id, "ada", at(2)).await.unwrap();
    assert_eq!(site.tick(&again, 3).await[0].disposition, Disposition::Executed);
    assert_eq!(site.effects(), ["cooled", "asked"]);
    let endless = site.builder(Policy::default()).lock_for(Duration::ZERO).build().unwrap_err();
    assert!(endless.to_string().contains("a lock of 0s ends before a step"), "{endless}");
}

/// A node stays cordoned after a failed drain.
#[tokio::test]
async fn row_50_a_failure_is_taken_back_and_told_and_each_is_tried_though_the_other_fails() {
    for (cannot_be_taken_back, told) in [
        (false, "it is unknown whether it is done; taken back: uncordoned it"),
        (true, "it is unknown whether it is done; taking it back failed too: second on namespace=shop,pod=cart-1"),
    ] {
        let site = Site::new();
        site.stage.fails.lock().unwrap().insert("second", cannot_be_taken_back);
        let response = site.dispatcher().respond(&report(1, &["second", "first"]), at(0)).await.unwrap();
        assert!(reason(&response).contains(told), "{}", reason(&response));
        assert_eq!(response.plan.steps[0].outcome, Some(Outcome::Unknown));
        assert!(site.effects().is_empty(), "the plan stopped");
    }
}

/// A mass failure triggers mass fencing.
#[tokio::test]
async fn row_51_actions_stop_while_much_is_unhealthy_and_resume_after_a_quiet_time() {
    let site = Site::new();
    let guard = HealthGuard::new("unhealthy_share", Limit::Above(0.3)).resume(0.1, Duration::from_secs(600));
    let dispatcher = site.builder(Policy::default().health(vec![guard])).build().unwrap();
    let mut number = 0;
    for (second, share, told) in [
        (0, 0.3, ""),
        (60, 0.4, "health: unhealthy_share is 0.4, actions stop above 0.3"),
        (120, 0.2, "health: unhealthy_share was bad until"),
        (600, 0.05, "health: unhealthy_share was bad until"),
        (721, 0.05, ""),
    ] {
        number += 1;
        site.clock.set(at(second));
        site.probe.set("unhealthy_share", share);
        let pod = format!("cart-{number}");
        let response =
            dispatcher.respond(&triaged(on_pod(number, &pod, second), &["first"]), at(second)).await.unwrap();
        assert!(
            reason(&response).starts_with(told) && told.is_empty() == reason(&response).is_empty(),
            "{second}: {}",
            reason(&response)
        );
    }
    assert_eq!(site.effects().len(), 2);
}

/// Workers are remediated while the control plane is unhealthy.
#[tokio::test]
async fn row_52_a_dependency_that_is_unhealthy_or_unknown_blocks_the_actions_that_need_it() {
    let site = Site::new();
    let guard = HealthGuard::new("control_plane_ready", Limit::Below(1.0)).actions(vec![common::name("first")]);
    let dispatcher = site.builder(Policy::default().health(vec![guard])).build().unwrap();
    let unknown = dispatcher.respond(&report(1, &["first"]), at(0)).await.unwrap();
    assert_eq!(reason(&unknown), "health: control_plane_ready cannot be read: no data");
    site.probe.set("control_plane_ready", 0.0);
    let down = dispatcher.respond(&report(2, &["first"]), at(0)).await.unwrap();
    assert_eq!(reason(&down), "health: control_plane_ready is 0, actions stop below 1");
    let other = dispatcher.respond(&report(3, &["second"]), at(0)).await.unwrap();
    assert_eq!(other.disposition, Disposition::Executed, "an action that the guard does not name");
}

/// A simulated cluster and a dispatcher over it.
async fn on_cluster(
    cluster: impl FnOnce(Cluster) -> Cluster,
    labels: &[(&str, &str)],
    action: &str,
) -> (Response, Vec<String>) {
    let clock = ManualClock::new(at(0));
    let cluster = cluster(Cluster::new(clock.clone()).node("n1"));
    clock.advance(Duration::from_secs(600));
    let catalogue = "
actions:
  - {name: drain_node, owner: infra, blast_radius: node, requires_approval: false}
  - {name: scale_deployment, owner: shop, blast_radius: deployment, requires_approval: false, max_replicas: 5}
  - {name: rollback_deployment, owner: shop, blast_radius: deployment, requires_approval: false}
";
    let catalogue = ActionCatalogue::from_yaml(catalogue, "actions.yaml").unwrap();
    let mut builder = Dispatcher::builder(catalogue, Policy::default().mode(Mode::Active)).with_clock(clock.clone());
    for handler in cluster.handlers() {
        builder = builder.handler(handler);
    }
    let dispatcher = builder.store(MemoryStore::default()).verify_after(Duration::ZERO).build().unwrap();
    let report = triaged(event(1, "cart", labels, at(590)), &[action]);
    let response = dispatcher.respond(&report, at(600)).await.unwrap();
    let ours = cluster.effects().into_iter().filter(|effect| effect.by.contains('|'));
    (response, ours.map(|effect| effect.what).collect())
}

/// A drain hangs on a disruption budget for ever; the last node is drained.
#[tokio::test]
async fn row_53_a_drain_names_the_budget_that_blocks_it_and_never_takes_the_last_node() {
    let cart = |pods| move |cluster: Cluster| cluster.deployment(Deployment::new("shop", "cart", pods), "v1");
    let (last, effects) = on_cluster(cart(1), &[("node", "n1")], "drain_node").await;
    assert!(reason(&last).starts_with("drain_node: blocked: ") && reason(&last).contains("last"), "{}", reason(&last));
    assert!(effects.is_empty());
    let guarded =
        |cluster: Cluster| cluster.node("n2").deployment(Deployment::new("shop", "cart", 1).min_available(1), "v1");
    let (blocked, effects) = on_cluster(guarded, &[("node", "n1")], "drain_node").await;
    assert!(reason(&blocked).contains("shop/cart"), "{}", reason(&blocked));
    assert!(effects.is_empty() || effects.iter().any(|what| what.starts_with("uncordon")), "{effects:?}");
}

/// Scaling fights the autoscaler, revives what was switched off, or says "done" at the ceiling.
#[tokio::test]
async fn row_54_a_scale_at_its_ceiling_or_at_zero_goes_to_a_person() {
    let labels = [("namespace", "shop"), ("deployment", "cart")];
    for (replicas, hpa, told) in [
        (5, None, "has 5 replicas and its ceiling is 5"),
        (0, None, "is scaled to 0"),
        (3, Some((1, 3)), "has 3 replicas and its ceiling is 3"),
    ] {
        let cluster = move |cluster: Cluster| {
            let cart = Deployment::new("shop", "cart", replicas);
            let cart = match hpa {
                Some((min, max)) => cart.hpa(min, max),
                None => cart,
            };
            cluster.deployment(cart, "v1")
        };
        let (response, effects) = on_cluster(cluster, &labels, "scale_deployment").await;
        assert!(reason(&response).contains(told), "{}", reason(&response));
        assert!(effects.is_empty());
    }
}

/// A rollback is undone by a controller that keeps the repository's state.
#[tokio::test]
async fn row_55_what_a_controller_would_undo_is_refused() {
    let labels = [("namespace", "shop"), ("deployment", "cart")];
    let cluster = |cluster: Cluster| cluster.deployment(Deployment::new("shop", "cart", 2).managed_by("Argo CD"), "v1");
    let (response, effects) = on_cluster(cluster, &labels, "rollback_deployment").await;
    let told = "rollback_deployment: blocked: deployment shop/cart is kept by Argo CD, which would undo it: change its repository instead";
    assert_eq!(reason(&response), told);
    assert!(effects.is_empty());
}

/// "OK" is printed, and nothing happens.
#[tokio::test]
async fn row_56_done_is_what_is_observed_not_what_execute_says() {
    let site = Site::new();
    site.stage.outcomes.lock().unwrap().insert("first", Outcome::NoEffect);
    let response = site.dispatcher().respond(&report(1, &["first"]), at(0)).await.unwrap();
    assert_eq!(reason(&response), "first: done (done), without effect");
}

/// Approving runs earlier steps again.
#[tokio::test]
async fn row_57_an_approved_plan_goes_on_at_its_step() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    let plan = ["first", "asked", "asked_too"];
    let response = dispatcher.respond(&report(1, &plan), at(0)).await.unwrap();
    assert_eq!(response.disposition, Disposition::AwaitingApproval);
    assert_eq!(site.effects(), ["first"]);
    let mut ends = Vec::new();
    for second in [1, 2] {
        let approval = dispatcher.approvals().await.unwrap().remove(0);
        dispatcher.approve(&approval.id, "ada", at(second)).await.unwrap();
        ends.extend(site.tick(&dispatcher, second).await);
        ends.extend(site.tick(&dispatcher, second).await);
    }
    let became: Vec<_> = ends.iter().map(|response| response.disposition.as_str()).collect();
    assert_eq!(became, ["awaiting_approval", "executed"]);
    assert_eq!(site.effects(), plan);
}

/// Reset and approve race.
#[tokio::test]
async fn row_58_two_decisions_make_one_and_it_stays() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    dispatcher.respond(&report(1, &["asked"]), at(0)).await.unwrap();
    let id = dispatcher.approvals().await.unwrap().remove(0).id;
    let (one, two, no) = tokio::join!(
        dispatcher.approve(&id, "ada", at(1)),
        dispatcher.approve(&id, "ada's phone", at(1)),
        dispatcher.reject(&id, "ada", "changed my mind", at(1)),
    );
    let decided = [one.is_ok(), two.is_ok(), no.is_ok()];
    assert_eq!(decided.iter().filter(|ok| **ok).count(), 1, "{decided:?}");
    for error in [one.err(), two.err(), no.err()].into_iter().flatten() {
        assert!(matches!(error, ApprovalError::Settled(_)), "{error}");
    }
    let answers = site.tick(&dispatcher, 2).await;
    assert_eq!(answers.len(), 1);
    assert!(dispatcher.reject(&id, "ada", "too late", at(3)).await.is_err());
    assert!(site.tick(&dispatcher, 4).await.is_empty());
    assert_eq!(site.effects().len(), usize::from(decided[0] || decided[1]));
}

/// Duplicates inherit the outcome.
#[tokio::test]
async fn row_59_a_duplicate_says_which_report_stands_for_it_and_claims_nothing() {
    let site = Site::new();
    let dispatcher = site.dispatcher();
    dispatcher.respond(&report(1, &["first"]), at(0)).await.unwrap();
    let again = dispatcher.respond(&report(1, &["first"]), at(1)).await.unwrap();
    assert_eq!(again.disposition, Disposition::Duplicate);
    assert!(again.plan.steps.is_empty());
    let rule = &again.plan.rules[0];
    assert_eq!(rule.rule, "known_report");
    assert!(rule.detail.starts_with("report inc-") && rule.detail.ends_with(" is known: executed"), "{}", rule.detail);
}

/// Merge keys against duplicate and unknown keys.
#[test]
fn row_70_an_explicit_key_wins_over_a_merged_one_and_scratch_sections_are_allowed() {
    let text = "
x-defaults: &defaults {owner: shop, blast_radius: pod, requires_approval: true}
actions:
  - {<<: *defaults, name: restart_pod, requires_approval: false}
";
    let catalogue = ActionCatalogue::from_yaml(text, "actions.yaml").unwrap();
    let spec = catalogue.get("restart_pod").unwrap();
    assert!(!spec.requires_approval && spec.owner == "shop");
}

/// A time to live written as a raw number of nanoseconds: held for ever.
#[test]
fn row_71_durations_are_written_for_people_and_bounded() {
    for (text, wrong) in [
        ("approval_time: 1800", "unit"),
        ("approval_time: 30", "unit"),
        ("target_wait: -5s", "target_wait"),
        ("health: [{probe: x, above: 1, quiet: 600000000000}]", "unit"),
    ] {
        let error = Policy::from_yaml(text, "policy.yaml").unwrap_err().to_string();
        assert!(error.contains(wrong), "{text}: {error}");
    }
    let policy = Policy::from_yaml("approval_time: 90m\ntarget_wait: 15s\n", "policy.yaml").unwrap();
    assert_eq!(policy.approval_time, Duration::from_secs(5_400));
    assert_eq!(aiops_core::time::human(policy.approval_time), "1h 30m");
}
