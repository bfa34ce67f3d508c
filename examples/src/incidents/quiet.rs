//! Nothing is wrong: a detector fired on what is planned, harmless or over.

use std::time::Duration;

use aiops_core::Severity;
use aiops_llm::evaluate::RecordedIncident;

use super::world::{Right, World};

/// There is nothing to mend.
const ALL: [&str; 5] = ["restart_pod", "scale_deployment", "rollback_deployment", "drain_node", "failover_region"];

pub(super) fn nothing_wrong(mut world: World, number: usize) -> RecordedIncident {
    let (service, _) = world.service();
    let blip = world.signal("s", 0.2, 2.0);
    world.fires(service, "P99LatencyAnomaly", blip, Severity::Warning, Duration::ZERO);
    let burn = world.between(0, 8) / 10.0;
    world.burn(service, burn);
    let (what, cause): (_, &[&str]) = match number % 6 {
        0 => {
            world.note(format!("planned load test of {service} by the performance team until the full hour; slower answers are expected"));
            ("load-test", &["load test|loadtest|performance test"])
        }
        1 => {
            world.note(format!("the nightly export of {service} runs now and reads every row; latency rises by half for ten minutes every night"));
            ("batch", &["nightly|export|batch|backup"])
        }
        2 => {
            world.note(format!(
                "{service} is being moved to new machines one replica at a time, caches are cold; agreed maintenance"
            ));
            ("maintenance", &["maintenance|moved|cold|migration"])
        }
        3 => {
            world.note(format!(
                "newsletter went out: more visitors of {service} than usual, within what was planned for"
            ));
            ("campaign", &["newsletter|campaign|visitors|traffic"])
        }
        4 => {
            world.note(format!(
                "metrics of {service} come from a new exporter since today; its first hour reads too high"
            ));
            ("exporter", &["exporter|metrics|measurement|monitoring"])
        }
        // Nothing explains it, and nothing else is strange: chance.
        _ => ("chance", &[]),
    };
    if number % 4 == 1 {
        world.log(service, "client closed the connection before the answer was sent", 14, 15);
    }
    let escalate = (!cause.is_empty()).then_some(false);
    let cause = cause.iter().map(|word| (*word).to_owned()).collect();
    let right = Right { what, cause, not: Vec::new(), helps: Vec::new(), harms: ALL.to_vec(), escalate };
    world.incident(right)
}
