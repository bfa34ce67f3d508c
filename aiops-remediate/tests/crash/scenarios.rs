//! What happens to the process that dies: together the scenarios come to every boundary.

use std::pin::Pin;
use std::time::Duration;

use aiops_core::Triaged;
use aiops_remediate::{HealthGuard, KillSwitch, Limit, Mode, Policy};

use super::world::Process;
use crate::common::{at, event, triaged};

pub(crate) type Script = for<'a> fn(&'a Process<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// A process that died before, after this boundary, in this script.
    pub(crate) before: Option<(&'static str, Script)>,
    pub(crate) script: Script,
    pub(crate) policy: Policy,
}

/// A report of its own identity on `pod`.
fn report(number: u64, pod: &str, actions: &[&str]) -> Triaged {
    triaged(event(number, "cart", &[("namespace", "shop"), ("pod", pod)], at(0)), actions)
}

/// The anomaly of one identity, again in a later episode.
fn again(minute: i64, actions: &[&str]) -> Triaged {
    triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(minute * 60)), actions)
}

fn active() -> Policy {
    Policy::threshold_only().mode(Mode::Active)
}

macro_rules! script {
    (|$process:ident| $body:block) => {{
        fn script<'a>($process: &'a Process<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
            Box::pin(async move { $body })
        }
        script as Script
    }};
}

/// One report whose only action is this one, up to its end.
macro_rules! one {
    ($($action:literal),+) => {
        script!(|process| {
            process.respond(&report(1, "cart-1", &[$($action),+])).await;
            for _ in 0..3 {
                process.later(60);
                process.recover().await;
            }
        })
    };
}

/// One report that waits for a person, and what follows.
macro_rules! asked {
    (|$process:ident, $id:ident| $body:block) => {
        script!(|$process| {
            $process.respond(&report(1, "cart-1", &["asks"])).await;
            let Some($id) = $process.asked().await else { return };
            $body
            $process.recover().await;
            $process.later(60);
            $process.recover().await;
        })
    };
}

fn scenario(name: &'static str, script: Script) -> Scenario {
    Scenario { name, before: None, script, policy: active() }
}

fn after(name: &'static str, point: &'static str, first: Script) -> Scenario {
    let script = script!(|process| {
        process.recover().await;
        process.later(60);
        process.recover().await;
    });
    Scenario { before: Some((point, first)), ..scenario(name, script) }
}

pub(crate) fn all() -> Vec<Scenario> {
    let health = HealthGuard::new("share", Limit::Below(1.0)).resume(1.0, Duration::from_secs(60));
    vec![
        scenario("one step", one!("first")),
        scenario("two steps", one!("first", "second")),
        scenario("next action", one!("weak")),
        scenario("worse, taken back", one!("harms", "first")),
        scenario("blocked", one!("first", "blocked", "second")),
        scenario("done already", one!("done", "first")),
        scenario("fails before its effect", one!("refuses")),
        scenario("fails after its effect", one!("loses", "first")),
        scenario("hangs", one!("hangs")),
        scenario("slow", one!("slow")),
        scenario("looks", one!("looks")),
        scenario("numbers", one!("probed")),
        scenario("unknown action", one!("first", "rm_rf")),
        Scenario { policy: active().mode(Mode::Shadow), ..scenario("shadow", one!("first", "second")) },
        scenario(
            "approved",
            asked!(|process, id| {
                process.later(901);
                process.recover().await;
                let _ = process.dispatcher.approve(&id, "ada", process.now()).await;
            }),
        ),
        scenario(
            "rejected",
            asked!(|process, id| {
                let _ = process.dispatcher.reject(&id, "ada", "not tonight", process.now()).await;
            }),
        ),
        scenario("expired", asked!(|process, _id| { process.later(1_801) })),
        scenario(
            "resolved while it waits",
            asked!(|process, _id| {
                process.resolved(&report(1, "cart-1", &["asks"]).event).await;
            }),
        ),
        scenario(
            "a newer plan",
            asked!(|process, _id| {
                process.respond(&report(2, "cart-1", &["asks"])).await;
                let Some(newer) = process.asked().await else { return };
                let _ = process.dispatcher.approve(&newer, "ada", process.now()).await;
            }),
        ),
        Scenario {
            policy: active().loop_guard(1, Duration::from_secs(3_600)),
            ..scenario(
                "loop",
                script!(|process| {
                    for minute in [0, 6, 12] {
                        process.respond(&again(minute, &["first"])).await;
                        process.later(360);
                        process.recover().await;
                    }
                }),
            )
        },
        Scenario {
            policy: active().health(vec![health]),
            ..scenario(
                "unhealthy group",
                script!(|process| {
                    process.set_probe("share", 0.0);
                    process.respond(&report(1, "cart-1", &["first"])).await;
                    process.set_probe("share", 1.0);
                    process.later(120);
                    process.respond(&report(2, "cart-1", &["first"])).await;
                    process.later(60);
                    process.recover().await;
                }),
            )
        },
        scenario(
            "kill switch and a lock taken away",
            script!(|process| {
                process.respond(&report(1, "cart-1", &["first"])).await;
                let stop = KillSwitch::on("ops", "failing over by hand", process.now());
                let _ = process.dispatcher.set_kill_switch(stop).await;
                process.respond(&report(2, "cart-2", &["first"])).await;
                if let Some(held) = process.dispatcher.locks(process.now()).await.unwrap_or_default().first() {
                    let why = "its process is gone";
                    let _ = process.dispatcher.force_release(&held.key, "ada", why, process.now()).await;
                }
                let go = KillSwitch::off("ops", "over", process.now());
                let _ = process.dispatcher.set_kill_switch(go).await;
                process.later(60);
                process.recover().await;
            }),
        ),
        scenario(
            "two at once on one target",
            script!(|process| {
                let (one, other) = (report(1, "cart-1", &["first"]), report(2, "cart-1", &["second"]));
                tokio::join!(process.respond(&one), process.respond(&other));
                process.later(60);
                process.recover().await;
            }),
        ),
        after("died when it had begun", "store.begin", one!("first")),
        after("died when it executed", "handler.execute", one!("first", "second")),
        after("died when it executed, and it can be seen", "handler.execute", one!("looks", "second")),
        after("died while it waited to be verified", "store.advance.verifying", one!("harms")),
        after("died when it was asked for", "store.open_approval", one!("asks")),
    ]
}
