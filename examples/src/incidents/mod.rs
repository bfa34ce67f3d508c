//! Recorded incidents of a made-up shop, generated from a seed, with the truth known by construction.
//!
//! A quarter has nothing wrong, a quarter lacks the item that decides, ten have red herrings, and eighteen carry the
//! text of an attack. Items have the shapes of the library's own sources. Equal seeds give equal bytes.

mod attacks;
mod faults;
mod quiet;
mod world;

use std::io::{self, Write};

use aiops_core::{ActionMenu, ActionName, InvalidActionName, MenuEntry};
use aiops_llm::evaluate::RecordedIncident;

use self::world::World;

/// The seed of the incidents in `examples/data/incidents`.
pub const SEED: u64 = 20_261_127;
/// Of all incidents, those with nothing wrong, and as many without the item that decides: a quarter each.
const QUARTER: usize = 22;
/// Incidents of each of the four faults with everything there.
const PLAIN: usize = 4;
const RED_HERRINGS: usize = 10;

/// The menu of the shop: the field report's five actions.
///
/// # Errors
/// None in practice: the names are constants.
pub fn menu() -> Result<ActionMenu, InvalidActionName> {
    let entry = |name: &str, line: &str| Ok(MenuEntry::new(ActionName::new(name)?, line));
    Ok(ActionMenu::new(vec![
        entry("restart_pod", "deletes one pod of the service; its deployment starts another")?,
        entry("scale_deployment", "adds replicas to the service, for load that it cannot carry")?,
        entry("rollback_deployment", "takes the service back to its version before the last deploy")?
            .evidence("deploy"),
        entry("drain_node", "moves everything off one machine")?,
        entry("failover_region", "moves all traffic to the other region")?,
    ]))
}

/// All incidents of a seed.
#[must_use]
pub fn incidents(seed: u64) -> Vec<RecordedIncident> {
    let mut all = Vec::new();
    let mut add = |group: &str, count: usize, make: &dyn Fn(World, usize) -> RecordedIncident| {
        for number in 0..count {
            let name = format!("{group}-{:02}", number + 1);
            let mut incident = make(World::new(seed, &name), number);
            incident.tags.insert(0, group.to_owned());
            all.push(incident);
        }
    };
    add("fault", 4 * PLAIN, &faults::plain);
    add("red-herring", RED_HERRINGS, &faults::red_herring);
    add("missing", QUARTER, &faults::missing);
    add("nothing-wrong", QUARTER, &quiet::nothing_wrong);
    add("attack", attacks::COUNT, &attacks::attacked);
    all
}

/// Writes them, one line each.
///
/// # Errors
/// Those of the writer.
pub fn write(incidents: &[RecordedIncident], mut out: impl Write) -> io::Result<()> {
    for incident in incidents {
        serde_json::to_writer(&mut out, incident)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
