//! Things that are wrong: four faults, with everything there, with a red herring, and without what decides.

use std::time::Duration;

use aiops_core::Severity;
use aiops_llm::evaluate::RecordedIncident;

use super::world::{Right, World};

/// Too much for any fault here.
const NEVER: [&str; 2] = ["drain_node", "failover_region"];

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A deploy of the service.
    Deploy,
    /// Its memory.
    Memory,
    /// Its load.
    Load,
    /// What it depends on.
    Dependency,
}

const FAULTS: [Fault; 4] = [Fault::Deploy, Fault::Memory, Fault::Load, Fault::Dependency];

/// A fault in the making, and its truth.
pub(super) struct Told {
    pub(super) service: &'static str,
    pub(super) right: Right<'static>,
}

/// Makes a fault fire; without what `decides`, it fires all the same and nobody can tell why.
pub(super) fn happen(world: &mut World, fault: Fault, decides: bool) -> Told {
    let (service, below) = world.service();
    let (what, cause, helps): (_, Vec<String>, _) = match fault {
        Fault::Deploy => {
            ("deploy", vec![service.to_owned(), "deploy|release|rollout|version".to_owned()], "rollback_deployment")
        }
        Fault::Memory => (
            "memory",
            vec![service.to_owned(), "memory|heap|oom|OutOfMemoryError|MemoryHigh".to_owned()],
            "restart_pod",
        ),
        Fault::Load => {
            let words = "load|traffic|capacity|cpu|saturation|CpuSaturation|requests";
            ("load", vec![service.to_owned(), words.to_owned()], "scale_deployment")
        }
        Fault::Dependency => ("dependency", vec![below.to_owned()], ""),
    };
    let slow = world.signal("s", 0.2, 6.0);
    match fault {
        Fault::Deploy => {
            world.fires(service, "P99LatencyAnomaly", slow, Severity::Critical, Duration::ZERO);
            let (before, version) = (world.minutes(4, 18), world.version());
            if decides {
                world.deploy(service, &version, before, "full");
                world.log(service, "NullPointerException at PriceRules.apply(PriceRules.java:<*>)", 240, 0);
            }
        }
        Fault::Memory => {
            world.fires(service, "P99LatencyAnomaly", slow, Severity::Warning, Duration::ZERO);
            if decides {
                let full = world.signal("%", 55.0, 1.7);
                world.fires(service, "MemoryHigh", full, Severity::Warning, Duration::ZERO);
                world.log(service, "OutOfMemoryError: Java heap space in worker <*>", 35, 0);
            }
        }
        Fault::Load => {
            world.fires(service, "P99LatencyAnomaly", slow, Severity::Warning, Duration::ZERO);
            if decides {
                let busy = world.signal("%", 45.0, 2.1);
                world.fires(service, "CpuSaturation", busy, Severity::Critical, Duration::ZERO);
                let rate = world.between(3, 6);
                world.note(format!("traffic of {service} is {rate} times the usual since the sale began, all replicas are at their limit"));
            }
        }
        Fault::Dependency => {
            world.fires(service, "ErrorRateHigh", slow, Severity::Critical, Duration::from_secs(40));
            if decides {
                let down = world.signal("%", 0.5, 90.0).score(41.0);
                world.fires(below, "ConnectionsExhausted", down, Severity::Critical, Duration::ZERO);
            }
            let caller = if decides {
                "cannot get a connection to <*>: pool exhausted"
            } else {
                "request failed with status <*>"
            };
            world.log(service, caller, 310, 2);
        }
    }
    let burning = 15.0 + world.between(0, 20);
    world.burn(service, burning);
    let mut harms = NEVER.to_vec();
    if fault != Fault::Deploy {
        harms.push("rollback_deployment");
    }
    let helps = if helps.is_empty() { Vec::new() } else { vec![helps] };
    let escalate = Some(fault == Fault::Dependency);
    Told { service, right: Right { what, cause, not: Vec::new(), helps, harms, escalate } }
}

pub(super) fn plain(mut world: World, number: usize) -> RecordedIncident {
    let told = happen(&mut world, FAULTS[number % FAULTS.len()], true);
    world.incident(told.right)
}

/// Everything is there, and something beside it that looks like a cause and is none.
pub(super) fn red_herring(mut world: World, number: usize) -> RecordedIncident {
    let fault = FAULTS[number % FAULTS.len()];
    let Told { service, mut right } = happen(&mut world, fault, true);
    let version = world.version();
    match number % 5 {
        // Another service, which is on no path, was deployed a moment before.
        0 => {
            world.deploy("mail", &version, Duration::from_secs(180), "full");
            right.not.push("mail".to_owned());
        }
        // The service was deployed, but hours before.
        1 => world.deploy(service, &version, Duration::from_secs(3 * 3_600 + 600), "full"),
        // Only the number of replicas was changed.
        2 => world.deploy(service, &version, Duration::from_secs(240), "scale"),
        // A loud line that is there every day.
        3 => world.log(service, "FATAL: checksum mismatch in block <*>, data corruption suspected", 900, 905),
        // A caller fires too, and louder in words.
        _ => {
            let loud = world.signal("%", 0.4, 20.0).score(6.5);
            world.fires("web", "EverythingIsBroken", loud, Severity::Critical, Duration::from_secs(90));
            right.not.push("web".to_owned());
        }
    }
    if fault != Fault::Deploy && number % 5 < 3 {
        right.not.push(version);
    }
    world.incident(right)
}

/// The item that decides is missing: only a person can find out.
pub(super) fn missing(mut world: World, number: usize) -> RecordedIncident {
    let fault = FAULTS[number % FAULTS.len()];
    let mut told = happen(&mut world, fault, false);
    let source = match fault {
        Fault::Deploy => "deploys",
        Fault::Memory | Fault::Load | Fault::Dependency => "related-alerts",
    };
    let reason = if number.is_multiple_of(2) { "gave no answer within 5s" } else { "failed" };
    world.lacks(source, reason);
    // What would help cannot be known from what is there.
    told.right.harms.extend(std::mem::take(&mut told.right.helps));
    told.right.harms.sort_unstable();
    told.right.harms.dedup();
    told.right.escalate = Some(true);
    world.incident(told.right)
}
