//! The dispatcher over the simulated cluster: what it does, what it leaves alone, what it says.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use aiops_core::testing::{ManualClock, check_responder};
use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, Clock, DetectionEvent, Disposition, Inspection, Outcome,
    Precondition, Responder, Response, Triaged, handler_fn,
};
use aiops_remediate::sim::{Change, Cluster, Deployment, Fault};
use aiops_remediate::{
    ActionCatalogue, Dispatcher, DispatcherBuilder, JournalEntry, JournalState, KillSwitch, MemoryStore, Mode, Policy,
    RemediationStore, ReportId, StepEnd,
};
use common::{at, event, triaged};

const CATALOGUE: &str = "
actions:
  - {name: restart_pod, owner: shop, blast_radius: pod, requires_approval: false, cooldown: 10m}
  - {name: scale_deployment, owner: shop, blast_radius: deployment, requires_approval: false, max_replicas: 5}
  - {name: rollback_deployment, owner: shop, blast_radius: deployment, requires_approval: true}
  - {name: drain_node, owner: infra, blast_radius: node, requires_approval: false}
";

struct Site {
    clock: ManualClock,
    cluster: Cluster,
    store: Arc<MemoryStore>,
}

impl Site {
    fn new() -> Self {
        let clock = ManualClock::new(at(0));
        let cluster = Cluster::new(clock.clone())
            .node("n1")
            .node("n2")
            .deployment(Deployment::new("shop", "cart", 3), "v1")
            .deployment(Deployment::new("shop", "billing", 2), "v1");
        clock.advance(Duration::from_secs(600));
        Self { clock, cluster, store: Arc::default() }
    }

    fn builder(&self, mode: Mode) -> DispatcherBuilder {
        let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
        let mut builder = Dispatcher::builder(catalogue, Policy::default().mode(mode));
        for handler in self.cluster.handlers() {
            builder = builder.handler(handler);
        }
        builder.store(Arc::<MemoryStore>::clone(&self.store)).with_clock(self.clock.clone())
    }

    fn active(&self) -> Dispatcher {
        self.builder(Mode::Active).build().unwrap()
    }

    /// Lets time jump to whatever is waited for, until the future is done.
    async fn in_time<T>(&self, future: impl Future<Output = T>) -> T {
        let time = async {
            loop {
                self.clock.wait_for_sleepers(1).await;
                if let Some(wake) = self.clock.next_wake() {
                    self.clock.set(wake);
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            done = future => done,
            () = time => unreachable!(),
        }
    }

    async fn respond(&self, dispatcher: &Dispatcher, triaged: &Triaged) -> Response {
        self.in_time(dispatcher.respond(triaged, at(600))).await.unwrap()
    }

    fn changes(&self) -> Vec<String> {
        self.cluster.effects().into_iter().filter(|effect| effect.by.contains('|')).map(|effect| effect.what).collect()
    }
}

fn on_pod(number: u64, pod: &str) -> DetectionEvent {
    event(number, "cart", &[("namespace", "shop"), ("pod", pod), ("deployment", "cart"), ("node", "n1")], at(590))
}

fn reason(response: &Response) -> &str {
    response.disposition.reason().unwrap_or_default()
}

#[tokio::test]
async fn active_mode_restarts_the_pod_and_sees_that_it_helped() {
    let site = Site::new();
    let response = site.respond(&site.active(), &triaged(on_pod(1, "cart-1"), &["restart_pod"])).await;
    assert_eq!(response.disposition, Disposition::Executed);
    assert_eq!(response.plan.steps[0].outcome, Some(Outcome::Helped));
    assert!(response.plan.steps[0].reason.starts_with("done and it helped: deleted "), "{:?}", response.plan.steps[0]);
    assert_eq!(site.changes(), ["delete pod shop/cart-1 uid-1"]);
}

#[tokio::test]
async fn shadow_mode_looks_and_changes_nothing() {
    let site = Site::new();
    let dispatcher = site.builder(Mode::Shadow).build().unwrap();
    let response = site.respond(&dispatcher, &triaged(on_pod(1, "cart-1"), &["restart_pod"])).await;
    assert_eq!(response.disposition, Disposition::WouldExecute);
    assert!(
        response.plan.steps[0].reason.starts_with("would run while owner is "),
        "{}",
        response.plan.steps[0].reason
    );
    assert!(site.changes().is_empty());
    // The mark was taken all the same: what active mode would have held back is held back here.
    let again = site.respond(&dispatcher, &triaged(on_pod(2, "cart-1"), &["restart_pod"])).await;
    assert!(reason(&again).contains("cool-down"), "{:?}", again.disposition);
}

#[tokio::test]
async fn an_unknown_action_stops_the_valid_ones_too() {
    let site = Site::new();
    let response = site.respond(&site.active(), &triaged(on_pod(1, "cart-1"), &["restart_pod", "rm_rf"])).await;
    assert_eq!(response.disposition, Disposition::Rejected { reason: "unknown action: rm_rf".to_owned() });
    assert!(site.changes().is_empty());
}

#[tokio::test]
async fn a_target_of_another_service_is_blocked_and_its_mark_comes_back() {
    let site = Site::new();
    let foreign = triaged(on_pod(1, "billing-1"), &["restart_pod"]);
    let response = site.respond(&site.active(), &foreign).await;
    assert!(reason(&response).starts_with("restart_pod: blocked: "), "{:?}", response.disposition);
    assert!(site.changes().is_empty());
    // Another report on the same target is not held back by a cool-down of what never ran.
    let again = site.respond(&site.active(), &triaged(on_pod(2, "billing-1"), &["restart_pod"])).await;
    assert!(reason(&again).starts_with("restart_pod: blocked: "), "{:?}", again.disposition);
}

#[tokio::test]
async fn what_waits_for_approval_does_not_run() {
    let site = Site::new();
    let (namespace, deployment) = ("shop".to_owned(), "cart".to_owned());
    site.cluster.change_at(at(600), Change::Deploy { namespace, deployment, version: "v2".to_owned() });
    site.clock.advance(Duration::from_secs(20));
    let labels = [("namespace", "shop"), ("deployment", "cart")];
    let response =
        site.respond(&site.active(), &triaged(event(1, "cart", &labels, at(610)), &["rollback_deployment"])).await;
    assert_eq!(response.disposition, Disposition::AwaitingApproval, "{:?}", response.disposition);
    assert!(site.changes().is_empty());
}

#[tokio::test]
async fn a_step_that_fails_stops_the_plan() {
    let site = Site::new();
    site.cluster.fail_next(Fault::Unavailable);
    let response =
        site.respond(&site.active(), &triaged(on_pod(1, "cart-1"), &["restart_pod", "scale_deployment"])).await;
    assert!(reason(&response).contains("nothing was changed"), "{:?}", response.disposition);
    assert_eq!(response.plan.steps[1].reason, "not started: the plan was stopped before");
    assert!(site.changes().is_empty());
}

#[tokio::test]
async fn a_hang_a_lost_answer_and_a_panic_are_unknown_until_recovery_looks() {
    for (fault, done) in
        [(Fault::HangAfter, true), (Fault::Hang, false), (Fault::AnswerLost, true), (Fault::Panic, false)]
    {
        let site = Site::new();
        let dispatcher = site.active();
        let report = triaged(on_pod(1, "cart-1"), &["restart_pod"]);
        site.cluster.fail_next(fault);
        let response = site.respond(&dispatcher, &report).await;
        assert_eq!(response.plan.steps[0].outcome, Some(Outcome::Unknown), "{fault:?}");
        assert!(reason(&response).contains("unknown whether it is done"), "{fault:?}: {:?}", response.disposition);

        // While the lock lasts, the step is left alone; then recovery finds out, and runs nothing.
        let before = site.changes();
        dispatcher.recover(site.clock.now()).await.unwrap();
        assert_eq!(site.store.unfinished().await.unwrap().len(), 1, "{fault:?}");
        site.clock.advance(Duration::from_secs(600));
        site.in_time(dispatcher.recover(site.clock.now())).await.unwrap();
        assert!(site.store.unfinished().await.unwrap().is_empty(), "{fault:?}");
        assert_eq!(site.changes(), before, "{fault:?}");
        assert_eq!(before.len(), usize::from(done), "{fault:?}");
        assert_eq!(site.respond(&dispatcher, &report).await.disposition, Disposition::Duplicate);
    }
}

#[tokio::test]
async fn the_kill_switch_stops_what_a_plan_would_allow() {
    let site = Site::new();
    site.store.set_kill_switch(KillSwitch::on("ops", "failing over by hand", at(599))).await.unwrap();
    let response = site.respond(&site.active(), &triaged(on_pod(1, "cart-1"), &["restart_pod"])).await;
    assert!(reason(&response).contains("failing over by hand"), "{:?}", response.disposition);
    assert!(site.changes().is_empty());
}

#[tokio::test]
async fn a_hundred_deliveries_of_one_report_execute_once() {
    let site = Site::new();
    let (dispatcher, report) = (site.active(), triaged(on_pod(1, "cart-1"), &["restart_pod"]));
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(dispatcher.respond(&report, at(600)));
    }
    let answers = site.in_time(aiops_join(all)).await;
    let executed = answers.iter().filter(|answer| answer.disposition == Disposition::Executed).count();
    let duplicate = answers.iter().filter(|answer| answer.disposition == Disposition::Duplicate).count();
    assert_eq!((executed, duplicate), (1, 99));
    assert_eq!(site.changes().len(), 1);
}

/// Runs all at once, in one task.
async fn aiops_join<F: Future<Output = Result<Response, aiops_core::RespondError>>>(futures: Vec<F>) -> Vec<Response> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |context| {
        for (future, answer) in futures.iter_mut().filter(|(_, answer)| answer.is_none()) {
            if let std::task::Poll::Ready(done) = future.as_mut().poll(context) {
                *answer = Some(done.unwrap());
            }
        }
        if futures.iter().all(|(_, answer)| answer.is_some()) {
            return std::task::Poll::Ready(futures.iter_mut().filter_map(|(_, answer)| answer.take()).collect());
        }
        std::task::Poll::Pending
    })
    .await
}

#[tokio::test]
async fn an_episode_that_ended_needs_nothing() {
    let site = Site::new();
    let (dispatcher, event) = (site.active(), on_pod(1, "cart-1"));
    dispatcher.resolved(&event, at(599)).await.unwrap();
    let response = site.respond(&dispatcher, &triaged(event, &["restart_pod"])).await;
    assert_eq!(response.disposition, Disposition::NoAction);
    assert!(site.changes().is_empty());
}

#[tokio::test]
async fn an_action_without_a_handler_goes_to_a_person() {
    let site = Site::new();
    let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
    let dispatcher = Dispatcher::builder(catalogue, Policy::default()).with_clock(site.clock.clone()).build().unwrap();
    let response = site.respond(&dispatcher, &triaged(on_pod(1, "cart-1"), &["restart_pod"])).await;
    assert_eq!(reason(&response), "no handler for action restart_pod");
}

#[test]
fn a_dispatcher_that_cannot_work_says_every_fault() {
    let handler = || {
        handler_fn(
            "restart_pod",
            |_| async { Ok(Inspection::Ready { precondition: Precondition::default() }) },
            |_, _| async { Ok(Applied::new("done")) },
        )
    };
    let error = Dispatcher::builder(ActionCatalogue::from_yaml(CATALOGUE, "a.yaml").unwrap(), Policy::default())
        .handler(handler())
        .handler(handler())
        .lock_for(Duration::from_secs(60))
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "dispatcher cannot be built: handler \"restart_pod\" is there twice; leave one out; a lock of 1m ends before \
         a step of up to 5m 30s; raise lock_for"
    );
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_responder() {
    let site = Site::new();
    let dispatcher = site.builder(Mode::Active).verify_after(Duration::ZERO).build().unwrap();
    let make = |name: &str| {
        let number = name.bytes().fold(7, |sum: u64, byte| sum * 31 % 1_000_003 + u64::from(byte));
        triaged(on_pod(number, "cart-2"), &["restart_pod"])
    };
    site.in_time(check_responder(&dispatcher, make, at(600), || site.changes())).await.unwrap();
}

#[tokio::test]
async fn the_kill_switch_stops_a_plan_between_its_steps() {
    let site = Site::new();
    let (dispatcher, report) = (site.active(), triaged(on_pod(1, "cart-1"), &["restart_pod", "scale_deployment"]));
    let mut answer = std::pin::pin!(dispatcher.respond(&report, at(600)));
    tokio::select! {
        biased;
        _ = &mut answer => unreachable!("the first step waits for its verification"),
        () = std::future::ready(()) => {}
    }
    site.store.set_kill_switch(KillSwitch::on("ops", "stop", at(601))).await.unwrap();
    let response = site.in_time(answer).await.unwrap();
    assert_eq!(reason(&response), "scale_deployment: the kill switch is on: stop (ops)");
    assert_eq!(response.plan.steps[0].outcome, Some(Outcome::Helped));
    assert_eq!(site.changes(), ["delete pod shop/cart-1 uid-1"]);
}

#[tokio::test]
async fn what_failed_half_way_is_taken_back_and_told() {
    let site = Site::new();
    // The cordon is done and its answer lost.
    site.cluster.fail_next(Fault::AnswerLost);
    let response = site.respond(&site.active(), &triaged(on_pod(1, "cart-1"), &["drain_node"])).await;
    assert!(reason(&response).ends_with("; taken back: uncordoned n1"), "{:?}", response.disposition);
    assert_eq!(response.plan.steps[0].outcome, Some(Outcome::Unknown));
    assert!(site.cluster.nodes().iter().all(|node| node.cordoned_by.is_none()));
}

/// Two recoveries at once, and the one that listed a step first comes to it last.
#[tokio::test]
async fn a_recovery_leaves_alone_what_another_one_ended() {
    let site = Site::new();
    for (index, pod) in ["slow", "quick"].into_iter().enumerate() {
        let request = common::request("restart_pod", pod, 1).fencing_token(1);
        let entry = JournalEntry::new(ReportId::of(&triaged(on_pod(1, pod), &["restart_pod"])), index, request, at(0));
        site.store.begin(&entry).await.unwrap();
        let executing = JournalState::Executing { precondition: Precondition::default() };
        site.store.advance(&entry.key(), 1, &executing, at(0)).await.unwrap();
    }
    let looks = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&looks);
    let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
    let dispatcher = Dispatcher::builder(catalogue, Policy::default())
        .handler(handler_fn(
            "restart_pod",
            move |request| {
                let pod = request.target.get("pod").unwrap_or_default().to_owned();
                seen.lock().unwrap().push(pod.clone());
                async move {
                    for _ in 0..if pod == "slow" { 5 } else { 1 } {
                        tokio::task::yield_now().await;
                    }
                    Ok(Inspection::AlreadyDone { proof: pod })
                }
            },
            |_, _| async { Ok(Applied::new("never")) },
        ))
        .store(Arc::<MemoryStore>::clone(&site.store))
        .with_clock(site.clock.clone())
        .build()
        .unwrap();
    let (one, other) = tokio::join!(dispatcher.recover(at(700)), dispatcher.recover(at(700)));
    one.unwrap();
    other.unwrap();
    assert!(site.store.unfinished().await.unwrap().is_empty());
    assert_eq!(*looks.lock().unwrap(), ["slow", "quick"]);
}

/// An inspection that fails is tried again for an hour; then a person has to look.
#[tokio::test]
async fn a_step_that_nobody_can_look_at_goes_to_a_person() {
    let site = Site::new();
    let request = common::request("restart_pod", "cart-1", 1).fencing_token(1);
    let report = triaged(on_pod(1, "cart-1"), &["restart_pod"]);
    let entry = JournalEntry::new(ReportId::of(&report), 0, request.clone(), at(0));
    site.store.begin(&entry).await.unwrap();
    let executing = JournalState::Executing { precondition: Precondition::default() };
    site.store.advance(&entry.key(), 1, &executing, at(0)).await.unwrap();
    let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
    let dispatcher = Dispatcher::builder(catalogue, Policy::default())
        .handler(handler_fn(
            "restart_pod",
            |_| async { Err("no route to the cluster".into()) },
            |_, _| async { Ok(Applied::new("never")) },
        ))
        .store(Arc::<MemoryStore>::clone(&site.store))
        .with_clock(site.clock.clone())
        .build()
        .unwrap();
    for (now, open) in [(3_599, 1), (3_600, 0)] {
        dispatcher.recover(at(now)).await.unwrap();
        assert_eq!(site.store.unfinished().await.unwrap().len(), open, "at {now}");
    }
    let end = site.store.steps_of(&entry.report).await.unwrap().remove(0).state;
    let JournalState::Ended(StepEnd::Unknown { reason }) = end else { panic!("{end:?}") };
    assert!(reason.contains("no route to the cluster"), "{reason}");
}

/// Someone else deletes the pod between the look and the action.
#[derive(Debug)]
struct Overtaken {
    inner: Arc<dyn ActionHandler>,
    site: (Cluster, ManualClock),
}

#[async_trait::async_trait]
impl ActionHandler for Overtaken {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        let inspection = self.inner.inspect(request).await;
        let (cluster, clock) = &self.site;
        cluster.change_at(clock.now(), Change::DeletePod { namespace: "shop".into(), pod: "cart-1".into() });
        inspection
    }

    async fn execute(&self, request: &ActionRequest, seen: &Precondition) -> Result<Applied, ActionError> {
        self.inner.execute(request, seen).await
    }
}

#[tokio::test]
async fn what_changed_since_it_was_looked_at_is_left_alone() {
    let site = Site::new();
    let inner = site.cluster.handlers().into_iter().find(|handler| handler.name() == "restart_pod").unwrap();
    let catalogue = ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap();
    let dispatcher = Dispatcher::builder(catalogue, Policy::default().mode(Mode::Active))
        .handler(Overtaken { inner, site: (site.cluster.clone(), site.clock.clone()) })
        .store(Arc::<MemoryStore>::clone(&site.store))
        .with_clock(site.clock.clone())
        .build()
        .unwrap();
    let response = site.respond(&dispatcher, &triaged(on_pod(1, "cart-1"), &["restart_pod"])).await;
    assert!(reason(&response).ends_with("; nothing was changed"), "{:?}", response.disposition);
    assert!(site.changes().is_empty());
    assert_eq!(site.cluster.effects().len(), 1, "the other one's deletion");
}

#[tokio::test]
async fn an_answer_that_nobody_waited_for_is_found_by_recovery() {
    let site = Site::new();
    let dispatcher = site.active();
    let report = triaged(on_pod(1, "cart-1"), &["restart_pod"]);
    site.cluster.fail_next(Fault::HangAfter);
    {
        // The stage's own deadline comes first: the future is dropped in the middle of `execute`.
        let mut answer = std::pin::pin!(dispatcher.respond(&report, at(600)));
        for _ in 0..20 {
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(answer.as_mut().poll(context)));
            assert!(polled.await.is_pending());
        }
    }
    assert_eq!(site.respond(&dispatcher, &report).await.disposition, Disposition::Duplicate);
    assert!(site.in_time(dispatcher.recover(site.clock.now())).await.unwrap().is_empty());

    site.clock.advance(Duration::from_secs(600));
    let found = site.in_time(dispatcher.recover(site.clock.now())).await.unwrap();
    assert_eq!(found.len(), 1);
    // The pod is gone, which is what the action was for.
    assert_eq!(found[0].response.disposition, Disposition::Executed);
    assert_eq!(found[0].triaged.incident_id, report.incident_id);
    assert_eq!(site.changes().len(), 1);
    assert!(site.in_time(dispatcher.recover(site.clock.now())).await.unwrap().is_empty());
}

/// The holder was away, and its note that the action is done arrives while another one looks at the step.
#[tokio::test]
async fn who_was_overtaken_writes_no_more_to_the_journal() {
    let site = Site::new();
    let request = common::request("restart_pod", "cart-1", 1).fencing_token(1);
    let report = ReportId::of(&triaged(on_pod(1, "cart-1"), &["restart_pod"]));
    let entry = JournalEntry::new(report.clone(), 0, request, at(0));
    site.store.begin(&entry).await.unwrap();
    let executing = JournalState::Executing { precondition: Precondition::default() };
    site.store.advance(&entry.key(), 1, &executing, at(0)).await.unwrap();
    let (late, store) = (Arc::new(std::sync::Mutex::new(Vec::new())), Arc::clone(&site.store));
    let (said, key) = (Arc::clone(&late), entry.key());
    let dispatcher =
        Dispatcher::builder(ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap(), Policy::default())
            .handler(handler_fn(
                "restart_pod",
                move |_| {
                    let (said, store, key) = (Arc::clone(&said), Arc::clone(&store), key.clone());
                    async move {
                        let (precondition, proof) = (Precondition::default(), "deleted".to_owned());
                        let verifying =
                            JournalState::Verifying { precondition, proof: proof.clone(), verify_at: at(900) };
                        let answer = store.advance(&key, 1, &verifying, at(700)).await;
                        said.lock().unwrap().push(answer.unwrap_err().to_string());
                        Ok(Inspection::AlreadyDone { proof })
                    }
                },
                |_, _| async { Ok(Applied::new("never")) },
            ))
            .store(Arc::<MemoryStore>::clone(&site.store))
            .with_clock(site.clock.clone())
            .build()
            .unwrap();
    dispatcher.recover(at(700)).await.unwrap();
    let late = late.lock().unwrap().clone();
    assert_eq!(late.len(), 1);
    assert!(late[0].contains("token 1"), "{late:?}");
    let state = site.store.steps_of(&report).await.unwrap().remove(0).state;
    assert!(matches!(state, JournalState::Ended(StepEnd::Executed { outcome: Outcome::Helped, .. })), "{state:?}");
}

/// A process left the second step out, gave its mark back, and died before it could answer.
#[tokio::test]
async fn a_step_that_was_left_out_once_runs_with_a_mark_of_its_own() {
    let site = common::acts::Site::new();
    let dispatcher = site.builder(Policy::threshold_only()).verify_after(Duration::from_secs(60)).build().unwrap();
    let report = common::acts::report(1, &["first", "second"]);
    assert_eq!(dispatcher.accept(&report, at(0)).await.unwrap(), None);
    assert!(dispatcher.recover(at(0)).await.unwrap().is_empty());
    assert_eq!(site.effects(), ["first"]);
    let all = aiops_remediate::SnapshotQuery::new(
        aiops_remediate::EpisodeKey::of(&report.event),
        "",
        Vec::new(),
        jiff::Timestamp::MIN,
    )
    .all(true);
    let marks = site.store.snapshot(&all).await.unwrap().runs;
    let second = marks.iter().find(|run| run.action.as_str() == "second").unwrap();
    let (key, ttl) = (format!("report|{}", ReportId::of(&report)), Duration::from_secs(600));
    let lock = site.store.acquire(&key, "another", at(0), ttl).await.unwrap();
    let aiops_remediate::Acquired::Granted(lease) = lock else { panic!("{lock:?}") };
    assert!(site.store.give_back(&lease, second).await.unwrap());
    site.store.release(&lease).await.unwrap();
    assert_eq!(site.store.snapshot(&all).await.unwrap().runs.len(), 1);
    assert!(site.tick(&dispatcher, 60).await.is_empty());
    assert_eq!(site.tick(&dispatcher, 120).await[0].disposition, Disposition::Executed);
    assert_eq!(site.effects(), ["first", "second"]);
    assert_eq!(site.store.snapshot(&all).await.unwrap().runs.len(), 2);
}
