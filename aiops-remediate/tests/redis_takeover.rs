//! Two processes over one Redis: one is stopped, killed, or robbed of its locks inside an action, and the other one
//! takes over. Whatever happens, an action is done at most once, and what the old holder writes is not taken.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // helpers outside #[test]

mod common;
mod redis_server;
mod takeover;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_core::{Clock, Disposition, EventId, Responder, SystemClock};
use aiops_remediate::{
    Begun, Dispatcher, JournalEntry, JournalState, Opened, RedisStore, RemediationStore, ReportRecord, StepEnd,
};
use async_trait::async_trait;
use common::stores::scratch_folder;
use jiff::{SignedDuration, Timestamp};
use redis::Client;
use redis_server::{KEPT, Server, fresh, shared_url};
use takeover::holder::{Holder, Setup, Times, old_writes, recovered, until};
use takeover::thing::{Stay, Thing};

const HOLDERS: u32 = 50;
/// So many are stopped at the same time.
const AT_ONCE: u32 = 10;

fn setup(test: &str, url: String, times: Times, actions: &[&str], stay: Stay) -> Setup {
    let prefix = fresh(test);
    let folder = scratch_folder(&prefix);
    Thing::new(folder.clone());
    let actions = actions.iter().map(|action| (*action).to_owned()).collect();
    Setup { url, prefix, folder, times, actions, stay, timer: false, detected_at: Timestamp::now() }
}

/// A wall clock that is wrong.
#[derive(Debug)]
struct Shifted(SignedDuration);

#[async_trait]
impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemClock.now() + self.0
    }

    async fn sleep_until(&self, at: Timestamp) {
        SystemClock.sleep_until(at - self.0).await;
    }
}

/// The locks of a deployment, as the server has them.
struct Locks {
    connection: redis::aio::MultiplexedConnection,
    prefix: String,
}

impl Locks {
    async fn of(setup: &Setup) -> Self {
        let client = Client::open(setup.url.as_str()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Self { connection, prefix: format!("{{{}}}:lock:", setup.prefix) }
    }

    async fn keys(&mut self) -> Vec<String> {
        redis::cmd("KEYS").arg(format!("{}*", self.prefix)).query_async(&mut self.connection).await.unwrap()
    }

    /// How long the server keeps each of them from now on.
    async fn left(&mut self) -> BTreeMap<String, Duration> {
        let mut left = BTreeMap::new();
        for key in self.keys().await {
            let time: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut self.connection).await.unwrap();
            left.insert(key[self.prefix.len()..].to_owned(), Duration::from_millis(time.try_into().unwrap_or(0)));
        }
        left
    }

    /// The server's time, by which its locks end.
    async fn time(&mut self) -> Duration {
        let (seconds, microseconds) = redis::cmd("TIME").query_async(&mut self.connection).await.unwrap();
        Duration::from_secs(seconds) + Duration::from_micros(microseconds)
    }

    async fn each(&mut self, command: &str, argument: Option<u64>) {
        let keys = self.keys().await;
        assert_eq!(keys.len(), 3, "report, step and target are locked: {keys:?}");
        for key in keys {
            let mut command = redis::cmd(command);
            command.arg(key).arg(argument);
            command.exec_async(&mut self.connection).await.unwrap();
        }
    }
}

/// The one step that a process is inside of.
async fn executing(store: &RedisStore) -> JournalEntry {
    let mut steps = store.unfinished().await.unwrap();
    assert_eq!(steps.len(), 1, "{steps:?}");
    let step = steps.remove(0);
    assert!(matches!(step.state, JournalState::Executing { .. }), "{step:?}");
    step
}

/// How a step ended, as the journal will say from now on.
async fn end_of(store: &RedisStore, step: &JournalEntry) -> Option<StepEnd> {
    match store.begin(step).await.unwrap() {
        Begun::Exists { end, .. } => end,
        other => panic!("{} could begin again: {other:?}", step.key()),
    }
}

async fn became(store: &RedisStore, setup: &Setup) -> Option<Disposition> {
    let record = ReportRecord::new(setup.report(), aiops_core::Plan::default(), Timestamp::now());
    match store.open_report(&record).await.unwrap() {
        Opened::Known(became) => became,
        other => panic!("the report is {other:?}"),
    }
}

/// The looks that recovery had: with what was observed before.
fn looks_again(thing: &Thing) -> usize {
    thing.lines("looks").iter().filter(|line| line.starts_with("other\t") && line.ends_with("\ttrue")).count()
}

/// Not a test by itself: the process that is stopped or killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis: .ci/services up redis"]
async fn child() {
    takeover::holder::child().await;
}

/// What was seen of the holders that were stopped.
#[derive(Debug, Default)]
struct Seen {
    stopped: usize,
    fenced: usize,
    refused: usize,
    accepted: usize,
    calls_refused: usize,
    on_a_replaced_object: usize,
    twice: usize,
    told_by_the_stopped: usize,
}

/// Stops one holder inside its action until its locks are over and another process has gone on. That one has
/// answered by the time the holder wakes; or has acted on the same object as well; or is inside of that action.
async fn stopped(number: u32) -> Seen {
    let (acts, stays) = [(false, false), (true, false), (true, true)][usize::try_from(number % 3).unwrap()];
    let actions: &[&str] = if acts { &["first", "second"] } else { &["first"] };
    let setup = setup("stopped", shared_url(), Times::SHORT, actions, Stay::Before);
    let (thing, store, mut locks) = (setup.thing(), setup.store().await, Locks::of(&setup).await);
    let mut holder = Holder::start(&setup);
    let asked = until("the holder is inside its action", || thing.inside("first")).await;
    holder.stop().await;
    let old = executing(&store).await;
    assert_eq!(store.open_reports().await.unwrap().len(), 1, "the machine is too slow: the step was over before");
    assert_eq!(old.token, asked.fencing_token);
    // Nobody who asks the dispatcher: a rollout, or a person.
    thing.replace();
    let (began, left) = (locks.time().await, locks.left().await);

    let other = Arc::new(setup.dispatcher(&store, "other", if stays { "second" } else { "" }, SystemClock));
    let takes_over = {
        let (other, store) = (Arc::<Dispatcher>::clone(&other), Arc::<RedisStore>::clone(&store));
        tokio::spawn(async move { recovered(&other, &store, Timestamp::now).await })
    };
    let ended = || takes_over.is_finished().then_some(());
    until("the other goes on", || if stays { thing.inside("second").map(drop) } else { ended() }).await;
    let took = locks.time().await - began;
    let of_report = left.iter().find(|(key, _)| key.starts_with("report|")).unwrap().1;
    assert!(took >= *of_report.max(&left[old.key().as_str()]), "taken over after {took:?} of {left:?}");
    assert_eq!(looks_again(&thing), 1, "it looks before it records");
    let end = end_of(&store, &old).await;
    assert!(matches!(end, Some(StepEnd::Executed { .. })), "{end:?}");

    thing.go("first");
    holder.signal("-CONT");
    holder.ended().await;
    assert_eq!(end_of(&store, &old).await, end, "the end is the other's");
    thing.go("second");
    let told = takes_over.await.unwrap();
    assert!(store.unfinished().await.unwrap().is_empty());

    let changes: Vec<Vec<String>> =
        thing.lines("changes").iter().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
    let mut keys: Vec<&String> = changes.iter().map(|change| &change[1]).collect();
    keys.sort();
    keys.dedup();
    let own = old.token.to_string();
    let said = thing.lines("old_writes");
    let count = |what: &str| said.iter().filter(|line| *line == what).count();
    let answers = thing.lines("answers");
    let by_holder = answers.iter().filter(|answer| *answer != "duplicate").count();
    assert_eq!(told.len() + by_holder, 1, "{told:?}, and the holder said {answers:?}");
    assert!(became(&store, &setup).await.is_some());
    Seen {
        stopped: 1,
        fenced: count("fenced"),
        refused: count("refused"),
        accepted: count("accepted"),
        calls_refused: thing.lines("refused").iter().filter(|line| line.starts_with(&own)).count(),
        on_a_replaced_object: changes.iter().filter(|change| change[2] != change[3] || change[0] == own).count(),
        twice: changes.len() - keys.len(),
        told_by_the_stopped: by_holder,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis: .ci/services up redis"]
async fn a_holder_stopped_beyond_its_time_writes_nothing_any_more() {
    let mut all = Seen::default();
    for first in (0..HOLDERS).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let mut round = tokio::task::JoinSet::new();
        for number in first..first + AT_ONCE {
            round.spawn(stopped(number));
        }
        while let Some(seen) = round.join_next().await {
            let seen = seen.unwrap();
            all.stopped += seen.stopped;
            all.fenced += seen.fenced;
            all.refused += seen.refused;
            all.accepted += seen.accepted;
            all.calls_refused += seen.calls_refused;
            all.on_a_replaced_object += seen.on_a_replaced_object;
            all.twice += seen.twice;
            all.told_by_the_stopped += seen.told_by_the_stopped;
        }
    }
    println!(
        "redis takeover: stopped {} old writes accepted {} effects on a replaced object {}",
        all.stopped, all.accepted, all.on_a_replaced_object
    );
    println!(
        "redis takeover: old writes fenced {} refused {} late calls refused {} done twice {} told by the stopped {}",
        all.fenced, all.refused, all.calls_refused, all.twice, all.told_by_the_stopped
    );
    assert_eq!((all.accepted, all.on_a_replaced_object, all.twice), (0, 0, 0));
    assert_eq!((all.fenced + all.refused, all.calls_refused), (2 * all.stopped, all.stopped), "each tried in vain");
    assert!(all.fenced > 0 && all.refused > 0, "a step that is not forgotten yet is fenced, one that is has ended");
    assert_eq!(all.told_by_the_stopped, 0, "who was away too long leaves the answer to who took over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis: .ci/services up redis"]
async fn a_shifted_wall_clock_and_a_lost_lock_key_do_not_let_two_in() {
    for hours in [1, -1] {
        let setup = setup("shifted", shared_url(), Times::WIDE, &["first"], Stay::Before);
        let (thing, store, mut locks) = (setup.thing(), setup.store().await, Locks::of(&setup).await);
        let mut holder = Holder::start(&setup);
        until("the holder is inside its action", || thing.inside("first")).await;
        let old = executing(&store).await;

        let now = move || Timestamp::now() + SignedDuration::from_hours(hours);
        let other = setup.dispatcher(&store, "other", "", Shifted(SignedDuration::from_hours(hours)));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            assert_eq!(other.recover(now()).await.unwrap(), [], "{hours} h: the lock is held by the server's clock");
            assert_eq!(executing(&store).await, old);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(looks_again(&thing), 0);

        locks.each("DEL", None).await;
        let told = recovered(&other, &store, now).await;
        assert!(matches!(told.as_slice(), [one] if one.disposition.as_str() == "escalated"), "{told:?}");
        let end = end_of(&store, &old).await;
        assert!(matches!(end, Some(StepEnd::Unknown { .. })), "{end:?}");
        // Another report of the same episode, while the old holder's call is still on its way.
        let mut again = setup.report();
        again.event.event_id = EventId::v7(setup.detected_at, [7; 10]);
        let response = other.respond(&again, now()).await.unwrap();
        assert_eq!(response.disposition.as_str(), "escalated", "{response:?}");
        assert!(response.disposition.reason().unwrap().contains("it began before"), "{response:?}");
        assert_eq!(thing.lines("changes").len(), 0, "the journal's key lets nobody begin again");

        thing.go("first");
        holder.ended().await;
        assert_eq!(thing.lines("changes").len(), 1, "the one call that was on its way");
        assert_eq!(thing.lines("answers"), ["duplicate"]);
        assert!(thing.lines("old_writes").iter().all(|said| said != "accepted"));
        assert_eq!(old_writes(&store, &old.request).await, ["refused"; 2]);
        assert_eq!(end_of(&store, &old).await, end, "the end is the other's");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis: .ci/services up redis"]
async fn one_of_two_processes_is_killed_inside_an_action() {
    for stay in [Stay::Before, Stay::After] {
        let setup = setup("killed-holder", shared_url(), Times::WIDE, &["first"], stay);
        let (thing, store, mut locks) = (setup.thing(), setup.store().await, Locks::of(&setup).await);
        let other = setup.dispatcher(&store, "other", "", SystemClock);
        let mut holder = Holder::start(&setup);
        until("the holder is inside its action", || thing.inside("first")).await;
        holder.kill();
        let old = executing(&store).await;
        let (began, left) = (locks.time().await, locks.left().await);
        // It was renewed at a third of its time, if at all.
        assert!(left.len() == 3 && left.values().all(|left| *left >= setup.times.lock / 3), "{left:?}");

        let told = recovered(&other, &store, Timestamp::now).await;
        let (took, of_report) =
            (locks.time().await - began, left.iter().find(|(key, _)| key.starts_with("report|")).unwrap().1);
        let of_step = left[old.key().as_str()];
        assert!(took >= *of_report.max(&of_step), "taken over after {took:?} of {left:?}");
        assert_eq!(looks_again(&thing), 1, "it looks before it records");
        assert_eq!(thing.lines("changes").len(), usize::from(stay == Stay::After), "nothing runs again");
        let (wanted, end) = if stay == Stay::After { ("executed", "helped") } else { ("escalated", "unknown") };
        assert!(matches!(told.as_slice(), [one] if one.disposition.as_str() == wanted), "{told:?}");
        let outcome = end_of(&store, &old).await.unwrap().outcome();
        assert_eq!(format!("{outcome:?}").to_lowercase(), end);
        assert_eq!(became(&store, &setup).await.unwrap().as_str(), wanted);

        // Nothing is left to say of it, and a second delivery changes nothing.
        assert_eq!(other.recover(Timestamp::now()).await.unwrap(), []);
        let again = other.respond(&setup.report(), Timestamp::now()).await.unwrap();
        assert_eq!(again.disposition, Disposition::Duplicate);
        assert_eq!(thing.lines("changes").len(), usize::from(stay == Stay::After));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis: .ci/services up redis"]
async fn redis_stops_in_mid_action() {
    let mut server = Server::start("mid-action", &KEPT);
    let setup = setup("mid-action", server.url(), Times::WIDE, &["first", "second"], Stay::Before);
    let (thing, store) = (setup.thing(), setup.store().await);
    let one = Arc::new(setup.dispatcher(&store, "one", "first", SystemClock));
    let answer = {
        let (one, report) = (Arc::<Dispatcher>::clone(&one), setup.report());
        tokio::spawn(async move { one.respond(&report, Timestamp::now()).await })
    };
    until("it is inside its action", || thing.inside("first")).await;
    let step = executing(&store).await;
    server.kill();
    thing.go("first");
    let response = answer.await.unwrap().unwrap();
    let reason = response.disposition.reason().unwrap_or_default();
    assert_eq!(response.disposition.as_str(), "escalated", "{response:?}");
    assert!(reason.contains("the remediation store could not"), "{reason}");
    for _ in 0..3 {
        assert!(one.recover(Timestamp::now()).await.unwrap_err().is_retryable());
    }
    let done = |action: &str| {
        let own = format!("\t{action}|");
        thing.lines("changes").iter().filter(|line| line.contains(&own)).count()
    };
    assert_eq!((done("first"), done("second")), (1, 0), "nothing further runs without a lock");

    server.start_again();
    let told = recovered(&one, &store, Timestamp::now).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let end = end_of(&store, &step).await;
    assert!(matches!(end, Some(StepEnd::Executed { .. })), "{end:?}");
    assert_eq!(became(&store, &setup).await.as_ref(), Some(&told[0].disposition));
    assert_eq!(done("first"), 1, "it is not done again");
    assert_eq!(told[0].disposition, response.disposition, "what people were told stands");
    assert_eq!(done("second"), 0, "nothing begins any more once people were told");
}

/// A step never lasts as long as its lock by itself (the builder refuses such times): the server is told to end the
/// locks earlier, so that only the holder's renewal keeps them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis: .ci/services up redis"]
async fn a_second_replicas_recovery_leaves_a_living_step_alone() {
    const LEFT: Duration = Duration::from_millis(5_000);
    let mut setup = setup("alive", shared_url(), Times::WIDE, &["first"], Stay::Before);
    setup.timer = true;
    let (thing, store, mut locks) = (setup.thing(), setup.store().await, Locks::of(&setup).await);
    let mut holder = Holder::start(&setup);
    until("the holder is inside its action", || thing.inside("first")).await;
    locks.each("PEXPIRE", Some(u64::try_from(LEFT.as_millis()).unwrap())).await;
    let old = executing(&store).await;
    let other = setup.dispatcher(&store, "other", "", SystemClock);
    let (began, mut beyond) = (Instant::now(), false);
    while began.elapsed() < 2 * setup.times.lock {
        assert_eq!(other.recover(Timestamp::now()).await.unwrap(), [], "it is the holder's");
        if !beyond && began.elapsed() > LEFT + Duration::from_millis(100) {
            assert_eq!(executing(&store).await, old, "it is alive beyond the time that its locks had");
            assert_eq!(locks.left().await.len(), 3);
            beyond = true;
            thing.go("first");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    holder.ended().await;
    assert_eq!(thing.lines("answers").last().map(String::as_str), Some("executed"));
    assert_eq!((thing.lines("changes").len(), looks_again(&thing)), (1, 0));
    assert_eq!(thing.lines("verified"), ["holder"]);
    assert!(matches!(end_of(&store, &old).await, Some(StepEnd::Executed { .. })));
    assert_eq!(became(&store, &setup).await, Some(Disposition::Executed));
}
