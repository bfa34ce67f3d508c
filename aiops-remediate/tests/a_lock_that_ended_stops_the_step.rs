//! A step whose lock ended while it was written down does not run: somebody else may have its target by now.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aiops_core::{Applied, Inspection, Precondition, Responder, VirtualClock, handler_fn};
use aiops_remediate::{
    AuditEntry, AuditError, AuditKind, AuditLog, Dispatcher, MemoryStore, Mode, Policy, RemediationStore,
};
use common::careless::{ACTIONS, Careless, catalogue};
use common::{at, event, triaged};

/// An audit log that takes its time over a step's entry.
#[derive(Debug)]
struct Slow {
    clock: VirtualClock,
    takes: Duration,
}

#[async_trait::async_trait]
impl AuditLog for Slow {
    async fn append(&self, entry: AuditEntry) -> Result<(), AuditError> {
        if entry.kind == AuditKind::Step {
            self.clock.advance(self.takes);
        }
        Ok(())
    }
}

/// How often the action ran, and what people were told, where the audit log takes so long.
async fn ran(takes: u64) -> (usize, String) {
    let (clock, store) = (VirtualClock::new(at(0)), Arc::new(MemoryStore::default()));
    let times = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&times);
    let act = move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let dispatcher = Dispatcher::builder(catalogue(), Policy::threshold_only().mode(Mode::Active))
        .handler(Careless { name: ACTIONS[0], act })
        .store(Arc::<MemoryStore>::clone(&store))
        .audit(Slow { clock: clock.clone(), takes: Duration::from_secs(takes) })
        .with_clock(clock)
        .verify_after(Duration::ZERO)
        .build()
        .unwrap();
    let report = triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0)), &["first"]);
    let response = dispatcher.respond(&report, at(0)).await.unwrap();
    assert!(store.open_reports().await.unwrap().is_empty() && store.unfinished().await.unwrap().is_empty());
    (times.load(Ordering::Relaxed), response.disposition.reason().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn while_the_audit_log_was_slow() {
    assert_eq!(ran(60).await, (1, String::new()));
    let reason = "first: interrupted: its lock ended while the step was written down";
    assert_eq!(ran(700).await, (0, reason.to_owned()));
}

/// A person, or a clock that runs ahead, gave the target to somebody else.
#[tokio::test]
async fn while_the_handler_looked() {
    let (clock, store) = (VirtualClock::new(at(0)), Arc::new(MemoryStore::default()));
    let locks = Arc::<MemoryStore>::clone(&store);
    let handler = handler_fn(
        ACTIONS[0],
        move |request| {
            let (locks, place) = (Arc::clone(&locks), format!("target|{}", request.target));
            async move {
                locks.force_release(&place).await.unwrap().unwrap();
                locks.acquire(&place, "another", at(0), Duration::from_secs(600)).await.unwrap();
                Ok(Inspection::Ready { precondition: Precondition::default() })
            }
        },
        |_, _| async { Ok(Applied::new("two at once")) },
    );
    let dispatcher = Dispatcher::builder(catalogue(), Policy::threshold_only().mode(Mode::Active))
        .handler(handler)
        .store(Arc::<MemoryStore>::clone(&store))
        .with_clock(clock)
        .verify_after(Duration::ZERO)
        .build()
        .unwrap();
    let report = triaged(event(1, "cart", &[("namespace", "shop"), ("pod", "cart-1")], at(0)), &["first"]);
    let response = dispatcher.respond(&report, at(0)).await.unwrap();
    assert_eq!(response.disposition.reason(), Some("first: interrupted: its lock was lost"));
}
