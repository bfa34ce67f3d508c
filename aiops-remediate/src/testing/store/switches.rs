//! The kill switch, ends of episodes and health guards.

use aiops_core::testing::Violation;

use super::sample::{Sample, at};
use super::{answer, same};
use crate::store::{EpisodeKey, GuardState, KillSwitch, RemediationStore, Snapshot, SnapshotQuery};

const SWITCH: &str = "the kill switch is what was last set, in the snapshot as well";
const RESOLVED: &str = "the end of an episode is the newest that was noted";
const GUARDS: &str = "the snapshot holds the guards that stand tripped, as they were last recorded";

pub(super) async fn check(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let episode = EpisodeKey::of(&sample.record(1).triaged.event);
    let query = SnapshotQuery::new(episode.clone(), "nobody", Vec::new(), at(0));
    let snapshot = async || answer("snapshot", store.snapshot(&query)).await;
    same(&snapshot().await?, &Snapshot::default(), SWITCH, "nothing was set")?;

    let on = KillSwitch::on("ops", "failing over by hand", at(5));
    answer("set_kill_switch", store.set_kill_switch(on.clone())).await?;
    same(&answer("kill_switch", store.kill_switch()).await?, &on, SWITCH, "on")?;
    same(&snapshot().await?.kill_switch, &on, SWITCH, "on")?;
    let off = KillSwitch::off("ops", "done", at(6));
    answer("set_kill_switch", store.set_kill_switch(off.clone())).await?;
    same(&snapshot().await?.kill_switch, &off, SWITCH, "off again")?;

    for (noted, wanted) in [(9, 9), (3, 9), (9, 9), (12, 12)] {
        answer("resolve", store.resolve(&episode, at(noted))).await?;
        same(&snapshot().await?.resolved_at, &Some(at(wanted)), RESOLVED, &format!("after an end at {}", at(noted)))?;
    }
    let other = EpisodeKey::of(&sample.record(2).triaged.event);
    let found = answer("snapshot", store.snapshot(&SnapshotQuery::new(other, "nobody", Vec::new(), at(0)))).await?;
    same(&found.resolved_at, &None, RESOLVED, "another episode")?;

    let (tripped, passed) = (GuardState::tripped(at(1), at(2)), GuardState::passed(at(3)));
    for (name, state) in [("nodes", &tripped), ("pods", &tripped), ("nodes", &passed), ("never", &passed)] {
        answer("set_guard", store.set_guard(name, state)).await?;
    }
    let stands = async || {
        let mut guards = snapshot().await?.guards;
        // One that is not tripped may be forgotten.
        guards.retain(|_, guard| guard.tripped_at.is_some());
        Ok(guards)
    };
    same(&stands().await?, &[("pods".to_owned(), tripped)].into(), GUARDS, "of three one stands tripped")?;
    let again = GuardState::tripped(at(4), at(4));
    answer("set_guard", store.set_guard("pods", &again)).await?;
    same(&stands().await?, &[("pods".to_owned(), again)].into(), GUARDS, "it was tripped again")
}
