//! Marks: cool-down and loop guard, all or none, given back.

use std::time::Duration;

use aiops_core::testing::{Violation, ensure};
use aiops_core::{Disposition, Outcome, Precondition};

use super::sample::{IDENTITY, Sample, at};
use super::{answer, same};
use crate::store::{
    Acquired, EpisodeKey, JournalState, RemediationStore, Reservation, Reserved, Run, SnapshotQuery, StepEnd,
};

const HOUR: Duration = Duration::from_secs(3_600);

const COOLS: &str = "`reserve` refuses what `Reservation::refusal` refuses: the cool-down";
const LOOPS: &str = "`reserve` refuses what `Reservation::refusal` refuses: the loop guard";
const ALL: &str = "`reserve` takes the marks of a plan, all or none";
const AGAIN: &str = "asked again for the same report, `reserve` grants what was granted, and takes nothing twice";
const BACK: &str =
    "`give_back` gives back the mark of this report, action and target, whenever it was taken, and no other";
const LOCK: &str = "`give_back` gives a mark back only under the lock that the report is gone on with";
const SAYS: &str = "`give_back` says whether it gave a mark back";
const CLOSED: &str = "`reserve` gives a report that is closed no mark";
const KEEPS: &str = "`give_back` keeps the mark of a step that may have had an effect, and those of a closed report";
const READ: &str = "a snapshot holds the marks that its query wants, as they were taken, the oldest first";

/// What a snapshot shows to whoever asks for every mark.
pub(super) async fn all_marks(store: &dyn RemediationStore, sample: &Sample) -> Result<Vec<Run>, Violation> {
    let episode = EpisodeKey::of(&sample.record(1).triaged.event);
    let query = SnapshotQuery::new(episode, "nobody", Vec::new(), at(0)).all(true);
    Ok(answer("snapshot", store.snapshot(&query)).await?.runs)
}

pub(super) async fn reserve(
    store: &dyn RemediationStore,
    reservation: &Reservation,
    granted: bool,
    line: &'static str,
    when: &str,
) -> Result<(), Violation> {
    let reserved = answer("reserve", store.reserve(reservation)).await?;
    ensure((reserved == Reserved::Granted) == granted, line, || format!("{when}: {reserved:?}"))
}

/// Under the lock of the run's report.
pub(super) async fn give_back(store: &dyn RemediationStore, run: &Run) -> Result<bool, Violation> {
    let (key, ttl) = (format!("report|{}", run.report), Duration::from_secs(600));
    let Acquired::Granted(lease) = answer("acquire", store.acquire(&key, "one", run.at, ttl)).await? else {
        return Err(Violation::new(BACK, format!("{key} is not free")));
    };
    let returned = answer("give_back", store.give_back(&lease, run)).await?;
    answer("release", store.release(&lease)).await?;
    Ok(returned)
}

pub(super) async fn check(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let cooldown = Some(Duration::from_secs(300));
    let ask = |runs: Vec<Run>| Reservation::new(runs.into_iter().map(|run| (run, cooldown)).collect(), Some((2, HOUR)));
    let first = sample.run(1, "cart-1", 0);
    reserve(store, &ask(vec![first.clone()]), true, COOLS, "the first").await?;
    reserve(store, &ask(vec![first.clone()]), true, AGAIN, "the same report").await?;
    same(&all_marks(store, sample).await?, &vec![first.clone()], AGAIN, "marks")?;
    let both = ask(vec![sample.run(2, "cart-2", 299), sample.run(2, "cart-1", 299)]);
    reserve(store, &both, false, COOLS, "one of two cools down").await?;
    same(&all_marks(store, sample).await?, &vec![first], ALL, "a refused plan left marks")?;
    let second = sample.run(2, "cart-1", 300);
    reserve(store, &ask(vec![second.clone()]), true, COOLS, "the cool-down is exactly over").await?;

    let third = sample.run(3, "cart-3", 1_000);
    reserve(store, &ask(vec![third.clone()]), false, LOOPS, "two reports acted on the identity").await?;
    let returned = give_back(store, &sample.run(2, "cart-9", 300)).await?;
    ensure(!returned, SAYS, || "there was no mark".to_owned())?;
    let ttl = Duration::from_secs(600);
    let lock = answer("acquire", store.acquire("report|2", "one", at(300), ttl)).await?;
    let Acquired::Granted(lost) = lock else { return Err(Violation::new(LOCK, "the lock is not free".to_owned())) };
    answer("force_release", store.force_release("report|2")).await?;
    answer("give_back", store.give_back(&lost, &second)).await?;
    answer("acquire", store.acquire("report|2", "other", at(300), ttl)).await?;
    answer("give_back", store.give_back(&lost, &second)).await?;
    reserve(store, &ask(vec![third.clone()]), false, LOCK, "the lock was nobody's, and then another one's").await?;
    let later = sample.run(2, "cart-1", 900);
    let returned = [give_back(store, &later).await?, give_back(store, &later).await?];
    reserve(store, &ask(vec![third.clone()]), true, BACK, "its mark was given back").await?;
    ensure(returned == [true, false], SAYS, || format!("twice: {returned:?}"))?;
    let grown = ask(vec![third, sample.run(3, "cart-4", 1_000)]);
    reserve(store, &grown, true, AGAIN, "one more mark of the same report").await?;
    let marks = all_marks(store, sample).await?.len();
    ensure(marks == 3, AGAIN, || format!("{marks} marks instead of 3"))
}

/// A step gives its mark back as long as nothing can have changed, and no longer.
pub(super) async fn keep(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let proof = || "two replicas".to_owned();
    let ended = |end| JournalState::Ended(end);
    let observed = Precondition::new([("uid", "u1")]);
    let executing = || JournalState::Executing { precondition: observed.clone() };
    let verifying = || JournalState::Verifying { precondition: observed.clone(), proof: proof(), verify_at: at(60) };
    let cases = [
        ("a step that has started", vec![], false),
        ("a step that executes", vec![executing()], true),
        ("a step that is verified", vec![executing(), verifying()], true),
        ("a step that was done before", vec![ended(StepEnd::AlreadyDone { proof: proof() })], false),
        ("a step that did not run", vec![executing(), ended(StepEnd::NotRun { reason: proof() })], false),
        ("a step of which nobody knows", vec![executing(), ended(StepEnd::Unknown { reason: proof() })], true),
        (
            "a step that was done",
            vec![executing(), ended(StepEnd::Executed { outcome: Outcome::NoEffect, proof: proof() })],
            true,
        ),
    ];
    for (number, (what, states, kept)) in (1_u64..).zip(cases) {
        answer("open_report", store.open_report(&sample.record(number))).await?;
        let pod = format!("pod-{number}");
        let runs = [sample.run(number, &pod, 0), sample.run(number, "cart-2", 0)];
        let both = runs.iter().map(|run| (run.clone(), None)).collect();
        reserve(store, &Reservation::new(both, None), true, ALL, "nothing stands in the way").await?;
        let entry = sample.entry(number, 0, &pod, number);
        answer("begin", store.begin(&entry)).await?;
        for state in states {
            answer("advance", store.advance(&entry.key(), number, &state, at(1))).await?;
        }
        for run in &runs {
            give_back(store, run).await?;
        }
        let marks = all_marks(store, sample).await?;
        let left = marks.iter().filter(|mark| mark.report == sample.report(number)).count();
        ensure(left == usize::from(kept), KEEPS, || format!("{what} and one that never began left {left} marks"))?;
    }
    answer("open_report", store.open_report(&sample.record(9))).await?;
    let run = sample.run(9, "cart-1", 0);
    reserve(store, &Reservation::new(vec![(run.clone(), None)], None), true, ALL, "nothing stands in the way").await?;
    answer("close_report", store.close_report(&sample.report(9), &sample.response(9, Disposition::NoAction))).await?;
    give_back(store, &run).await?;
    let left = all_marks(store, sample).await?.contains(&run);
    ensure(left, KEEPS, || "the mark of a closed report was given back".to_owned())?;
    let late = Reservation::new(vec![(sample.run(9, "cart-9", 1), None)], None);
    reserve(store, &late, false, CLOSED, "its first mark came after its answer").await
}

pub(super) async fn read(store: &dyn RemediationStore, sample: &Sample) -> Result<(), Violation> {
    let runs: Vec<Run> = (0..3).map(|n| sample.run(n, "cart-1", n * 10)).collect();
    let mut scaled = sample.run(3, "cart-1", 30);
    scaled.action = sample.scale.clone();
    "another".clone_into(&mut scaled.identity);
    scaled.blast_radius = None;
    for run in runs.iter().chain([&scaled]) {
        reserve(store, &Reservation::new(vec![(run.clone(), None)], None), true, ALL, "nothing stands in the way")
            .await?;
    }
    let episode = EpisodeKey::of(&sample.record(1).triaged.event);
    let query = |identity: &str, actions: &[&str], since| {
        SnapshotQuery::new(episode.clone(), identity, actions.iter().map(|&a| a.to_owned()).collect(), at(since))
    };
    let every: Vec<Run> = runs.iter().cloned().chain([scaled.clone()]).collect();
    let cases = [
        ("of the identity", query(IDENTITY, &[], 0), runs.clone()),
        ("since a mark's own time", query(IDENTITY, &[], 10), runs.iter().skip(1).cloned().collect()),
        ("of an action", query("nobody", &["scale_deployment"], 0), vec![scaled]),
        ("of identity or action", query(IDENTITY, &["scale_deployment"], 0), every.clone()),
        ("all", query("nobody", &[], 0).all(true), every.clone()),
        ("all since the second", query("nobody", &[], 10).all(true), every.into_iter().skip(1).collect()),
        ("of nobody", query("nobody", &[], 0), Vec::new()),
    ];
    for (what, query, wanted) in cases {
        same(&answer("snapshot", store.snapshot(&query)).await?.runs, &wanted, READ, what)?;
    }
    Ok(())
}
