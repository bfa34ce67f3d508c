//! What happens in a world: episodes, the reports on them, and the people.

use std::time::Duration;

use aiops_core::{
    Confidence, DetectionEvent, EpisodeId, EventId, EventKind, Provenance, Severity, Signal, Status, Target, Triage,
    TriageContext, TriageReport, TriageRequest, Triaged,
};
use aiops_remediate::{
    ActionCatalogue, ApprovalError, BlastRadius, Budget, BudgetScope, EpisodeKey, HealthGuard, KillSwitch, Limit, Mode,
    Policy, ReportId,
};
use jiff::Timestamp;

use super::faults::Fault;
use super::process::{self, Message};
use super::random::Random;
use super::world::{Inner, MINUTE, QUIET_FROM, SECOND, World, at};

pub(crate) const ACTIONS: [&str; 7] = ["restart", "poke", "flush", "scale", "evict", "reboot", "failover"];
/// Below it a scaled deployment keeps up.
pub(crate) const LAG: f64 = 10.0;
/// Above it a flush makes sense.
pub(crate) const ERRORS: f64 = 5.0;
/// Above it nothing runs.
pub(crate) const UNHEALTHY: f64 = 0.3;

const CATALOGUE: &str = "
actions:
  - {name: restart, owner: shop, blast_radius: pod, requires_approval: false, next: scale}
  - {name: poke, owner: shop, blast_radius: pod, requires_approval: false, cooldown: 5m}
  - {name: flush, owner: shop, blast_radius: pod, requires_approval: false, precondition: {probe: errors, above: 5}}
  - {name: scale, owner: shop, blast_radius: pod, requires_approval: false, verify: {probe: lag, below: 10}}
  - {name: evict, owner: shop, blast_radius: pod, requires_approval: true}
  - {name: reboot, owner: infra, blast_radius: node, requires_approval: true}
  - {name: failover, owner: infra, blast_radius: region, requires_approval: false}
";

pub(crate) fn catalogue() -> ActionCatalogue {
    static READ: std::sync::LazyLock<ActionCatalogue> =
        std::sync::LazyLock::new(|| ActionCatalogue::from_yaml(CATALOGUE, "actions.yaml").unwrap());
    READ.clone()
}

pub(crate) fn needs_approval(action: &str) -> bool {
    ["evict", "reboot"].contains(&action)
}

pub(crate) fn cooldown(action: &str) -> Option<Duration> {
    (action == "poke").then(|| Duration::from_secs(300))
}

pub(crate) fn may_approve(who: &str) -> bool {
    ["ada", "bob"].contains(&who)
}

/// The one target that an action may have for an event; written here a second time, apart from the catalogue.
pub(crate) fn target_of(action: &str, event: &DetectionEvent) -> Option<Target> {
    let labels: &[&str] = match action {
        "reboot" => &["node"],
        "failover" => &["region"],
        _ => &["namespace", "pod"],
    };
    let parts: Option<Vec<_>> = labels.iter().map(|label| Some((*label, event.labels.get(*label)?.clone()))).collect();
    parts.map(Target::new)
}

pub(crate) fn any_event() -> DetectionEvent {
    DetectionEvent::builder(EventKind::MetricAnomaly, "cart", Severity::Warning, at(0), "test")
        .event_id(EventId::v7(at(0), [0; 10]))
        .build()
}

pub(crate) fn policy(random: &mut Random, active: bool) -> Policy {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let mut policy = Policy::default()
        .mode(if active { Mode::Active } else { Mode::Shadow })
        .max_blast_radius(BlastRadius::Node)
        .approval_time(minutes(*random.pick(&[6, 12, 30])));
    if random.in_1000(500) {
        policy = policy.budgets(vec![
            Budget::new(BudgetScope::Overall, 4, minutes(60)),
            Budget::new(BudgetScope::Target, 2, minutes(20)),
            Budget::new(BudgetScope::Action(None), 2, minutes(30)),
        ]);
    }
    if random.in_1000(300) {
        policy = policy.max_open(2);
    }
    if random.in_1000(300) {
        policy = policy.target_wait(Duration::from_secs(20));
    }
    if random.in_1000(200) {
        policy = policy.health(vec![HealthGuard::new("unhealthy", Limit::Above(UNHEALTHY))]);
    }
    policy
}

/// Sets the story going.
pub(crate) fn begin(world: &World) {
    let (episodes, processes) = world.with(|inner| (inner.random.between(2, 7), inner.processes.len()));
    (0..processes).for_each(|process| process::start(world, process));
    for number in 1..=episodes {
        let task = episode(world.clone(), u64::try_from(number).unwrap());
        world.with(|inner| inner.spawn(None, task));
    }
    let (people, operators) = (people(world.clone()), operators(world.clone()));
    world.with(|inner| {
        inner.spawn(None, people);
        inner.spawn(None, operators);
    });
}

fn event(number: u64, detected: Timestamp) -> DetectionEvent {
    let alert = number % 3;
    let pod = if alert == 2 { "cart-2" } else { "cart-1" };
    let mut event = DetectionEvent::builder(EventKind::MetricAnomaly, "cart", Severity::Warning, detected, "test")
        .alertname(format!("Alert{alert}"))
        .label("namespace", "shop")
        .label("pod", pod)
        .label("node", "n1")
        .label("region", "eu")
        .signal(Signal::new(9.0).expected(1.0).score(8.0).threshold(3.0))
        .event_id(EventId::v7(detected, [0; 10]))
        .build();
    event.episode_id = Some(EpisodeId::new(format!("ep-{number}")));
    event
}

fn report(inner: &mut Inner) -> TriageReport {
    let plans: &[&[&str]] = &[
        &["restart"],
        &["restart"],
        &["poke"],
        &["poke"],
        &["flush"],
        &["scale"],
        &["evict"],
        &["evict"],
        &["reboot"],
        &["evict", "reboot"],
        &["restart", "evict"],
        &["poke", "scale", "flush"],
        &["flush", "poke"],
        &[],
        &["failover"],
    ];
    let hostile: &[&[&str]] =
        &[&["rm -rf /"], &["restart", "drop_database"], &["Restart"], &["poke", "poke ", "flush", "scale", "evict"]];
    let actions = if inner.fires(Fault::ModelHostile, 350) { hostile } else { plans };
    let actions = *inner.random.pick(actions);
    let confidence = if inner.random.in_1000(80) { 0.5 } else { 0.9 };
    let needs_human = inner.random.in_1000(40);
    TriageReport::new("the pod hangs")
        .recommended_actions(actions.iter().copied())
        .confidence(Confidence::new(confidence).unwrap())
        .needs_human(needs_human)
}

/// An anomaly, the reports on it, and its end.
async fn episode(world: World, number: u64) {
    // Some begin together, so that their actions meet.
    let begins = world.with(|inner| {
        let together = inner.random.in_1000(500);
        if together { inner.random.between(120, 150) } else { inner.random.between(0, 25 * 60) }
    });
    world.sleep(begins * SECOND).await;
    let first = event(number, at(world.with(|inner| inner.now)));
    world.with(|inner| drop(inner.events.insert(first.fingerprint.as_str().to_owned(), first.clone())));
    if world.with(|inner| inner.fires(Fault::ResolvedBetween, 700) || inner.random.in_1000(200)) {
        let (end, mut event) = (world.clone(), first.clone());
        event.status = Status::Resolved;
        let end = async move {
            let soon = end.with(|inner| inner.random.in_1000(600));
            let after = end.with(|inner| inner.random.between(0, if soon { 90 } else { 40 * 60 }));
            process::publish(&end, Message::Resolved(Box::new(event)), after * SECOND);
        };
        world.with(|inner| inner.spawn(None, end));
    }
    let sightings = world.with(|inner| inner.random.between(1, 3));
    for _ in 0..sightings {
        sighting(&world, number, &first);
        let pause = world.with(|inner| {
            let soon = inner.random.in_1000(400);
            inner.random.between(0, if soon { 5 } else { 12 * 60 })
        });
        world.sleep(pause * SECOND).await;
    }
}

/// The model's report on what is seen now.
fn sighting(world: &World, number: u64, first: &DetectionEvent) {
    let (triaged, after) = world.with(|inner| {
        let now = at(inner.now);
        let mut event = first.clone();
        let mut random = [0; 10];
        random[..8].copy_from_slice(&inner.random.next().to_be_bytes());
        (event.event_id, event.observed_at) = (EventId::v7(now, random), Some(now));
        let request = TriageRequest::new(format!("inc-{number}").into(), event, TriageContext::default(), now, now);
        let triaged = Triaged::new(&request, Triage::new(report(inner), Provenance::new("test")), now);
        let id = ReportId::of(&triaged).as_str().to_owned();
        inner.note(format_args!("inc-{number}: {:?}", triaged.report.recommended_actions));
        if inner.fires(Fault::ModelHangs, 250) {
            return (None, 0);
        }
        inner.reports.insert(id, triaged.clone());
        let late = inner.fires(Fault::ModelLate, 250);
        let after = if late { inner.random.between(12 * 60, 20 * 60) } else { inner.random.between(1, 20) };
        (Some(triaged), after * SECOND)
    });
    if let Some(triaged) = triaged {
        process::publish(world, Message::Report(Box::new(triaged)), after);
    }
}

/// What a person says to an approval.
#[derive(Debug, Clone, Copy)]
enum Word {
    Approve,
    Reject,
}

/// People look at what waits, and decide.
async fn people(world: World) {
    loop {
        let pause = world.with(|inner| inner.random.between(20, 200));
        world.sleep(pause * SECOND).await;
        if world.with(|inner| inner.now > QUIET_FROM) {
            return;
        }
        let waiting: Vec<_> = world.with(|inner| {
            let pending = super::store::at_once(aiops_remediate::RemediationStore::pending_approvals(&*inner.store));
            pending.unwrap_or_default()
        });
        for approval in waiting {
            let (looks, race) = world.with(|inner| (inner.random.in_1000(600), inner.fires(Fault::ApprovalRace, 600)));
            if !looks {
                continue;
            }
            let ends = (race && world.with(|inner| inner.random.in_1000(300))).then(|| {
                world.with(|inner| {
                    inner.events.values().find(|event| EpisodeKey::of(event) == approval.episode).cloned()
                })
            });
            if let Some(Some(mut event)) = ends {
                event.status = Status::Resolved;
                process::publish(&world, Message::Resolved(Box::new(event)), 0);
            }
            for who in if race { &["ada", "bob"][..] } else { &["ada"][..] } {
                let word = world.with(|inner| if inner.random.in_1000(750) { Word::Approve } else { Word::Reject });
                says(&world, &approval.id, who, word, 0);
            }
            if world.with(|inner| inner.fires(Fault::ApprovalAbuse, 500)) {
                let wait = aiops_core::time::since(approval.expires_at, at(world.with(|inner| inner.now)));
                let late = i64::try_from(wait.as_millis()).unwrap_or(0);
                says(&world, &approval.id, "mallory", Word::Approve, 0);
                says(&world, &approval.id, "ada", Word::Approve, late);
            }
        }
    }
}

/// A person says a word to some process, in a while.
fn says(world: &World, id: &aiops_remediate::ApprovalId, who: &'static str, word: Word, after: i64) {
    let (world, id) = (world.clone(), id.clone());
    let later = {
        let world = world.clone();
        async move {
            world.sleep(after).await;
            world.with(|inner| {
                let running = inner.running();
                if running.is_empty() {
                    return;
                }
                let process = *inner.random.pick(&running);
                let Some(dispatcher) = inner.processes[process].dispatcher.clone() else { return };
                let now = inner.clock(process);
                let (world, id) = (world.clone(), id.clone());
                inner.spawn(Some(process), async move {
                    let said = match word {
                        Word::Approve => dispatcher.approve(&id, who, now).await,
                        Word::Reject => dispatcher.reject(&id, who, "not now", now).await,
                    };
                    let said = match said {
                        Ok(_) => "taken",
                        Err(ApprovalError::Expired(_)) => "late",
                        Err(ApprovalError::Settled(_)) => "settled before",
                        Err(ApprovalError::NotAllowed { .. }) => "not allowed",
                        Err(_) => "failed",
                    };
                    world.with(|inner| inner.note(format_args!("{who} says {word:?}: {said}")));
                });
            });
        }
    };
    world.with(|inner| inner.spawn(None, later));
}

/// Everything that comes from outside: clocks, networks, people with rights, power.
async fn operators(world: World) {
    let mut killed = false;
    loop {
        let pause = world.with(|inner| inner.random.between(5, 150));
        world.sleep(pause * SECOND).await;
        if world.with(|inner| inner.now >= QUIET_FROM) {
            break;
        }
        world.with(|inner| {
            let process = inner.random.index(inner.processes.len());
            if inner.fires(Fault::ClockForward, 60) {
                let by = inner.random.between(10 * SECOND, 25 * MINUTE);
                set_clock(inner, process, by);
            }
            if inner.fires(Fault::ClockBack, 60) {
                let by = inner.random.between(10 * SECOND, 25 * MINUTE);
                set_clock(inner, process, -by);
            }
            let until = inner.now + inner.random.between(10 * SECOND, 15 * MINUTE);
            if inner.may(Fault::RequestsLost) && inner.random.in_1000(50) {
                inner.processes[process].requests_lost_until = until.min(QUIET_FROM);
            }
            if inner.may(Fault::AnswersLost) && inner.random.in_1000(50) {
                inner.processes[process].answers_lost_until = until.min(QUIET_FROM);
            }
            if inner.has(Fault::LostWrites) {
                if inner.random.in_1000(500) {
                    inner.synced = inner.writes.len();
                }
                inner.seen.power_cut = inner.may(Fault::LostWrites) && inner.random.in_1000(60);
            }
            for target in ["namespace=shop,pod=cart-1", "namespace=shop,pod=cart-2", "node=n1"] {
                if inner.fires(Fault::ObjectReplaced, 30) {
                    inner.replaced(target);
                }
            }
        });
        if world.with(|inner| inner.may(Fault::KillSwitch) && inner.random.in_1000(if killed { 500 } else { 80 })) {
            killed = !killed;
            switch(&world, killed).await;
        }
        if world.with(|inner| inner.may(Fault::ForcedRelease) && inner.random.in_1000(300)) {
            force(&world);
        }
    }
    world.with(|inner| {
        // Clocks are set right, and everybody goes on.
        for process in 0..inner.processes.len() {
            let offset = inner.processes[process].offset;
            set_clock(inner, process, -offset);
        }
    });
    while killed {
        killed = !switch(&world, false).await;
        world.sleep(MINUTE).await;
    }
}

fn set_clock(inner: &mut Inner, process: usize, by: i64) {
    inner.processes[process].offset += by;
    // Whoever sleeps looks at the new time.
    let (woken, kept) =
        std::mem::take(&mut inner.timers).into_iter().partition(|(_, (owner, _))| *owner == Some(process));
    inner.timers = kept;
    let woken: std::collections::BTreeMap<_, (Option<usize>, std::task::Waker)> = woken;
    woken.into_values().for_each(|(_, waker)| waker.wake());
}

/// The kill switch, through some process; whether it is known to be set.
async fn switch(world: &World, on: bool) -> bool {
    let dispatcher = world.with(|inner| {
        let running = inner.running();
        let process = running.first().copied()?;
        inner.processes[process].dispatcher.clone()
    });
    let Some(dispatcher) = dispatcher else { return false };
    let now = at(world.with(|inner| inner.now));
    let to = if on { KillSwitch::on("ops", "by hand", now) } else { KillSwitch::off("ops", "over", now) };
    let set = dispatcher.set_kill_switch(to).await.is_ok();
    if set && on {
        world.with(|inner| inner.fired(Fault::KillSwitch));
    }
    set
}

/// A person takes some lock away.
fn force(world: &World) {
    let task = {
        let world = world.clone();
        async move {
            let dispatcher = world.with(|inner| {
                let process = *inner.running().first()?;
                inner.processes[process].dispatcher.clone()
            });
            let Some(dispatcher) = dispatcher else { return };
            let now = at(world.with(|inner| inner.now));
            let Ok(held) = dispatcher.locks(now).await else { return };
            if held.is_empty() {
                return;
            }
            let lease = world.with(|inner| inner.random.pick(&held).clone());
            if let Ok(Some(_)) = dispatcher.force_release(&lease.key, "ops", "its holder is gone", now).await {
                world.with(|inner| inner.fired(Fault::ForcedRelease));
            }
        }
    };
    world.with(|inner| inner.spawn(None, task));
}
