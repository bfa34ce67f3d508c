//! Kills and stops at random, by a seed.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use super::child::{ENVIRONMENT, Order, SERVICES};
use super::ledger::{Account, Ledger};
use super::server::{Server, ServerProgram};

/// Between two events.
const EVERY: Duration = Duration::from_millis(40);
/// Events of one round.
const OF_ONE_ROUND: u64 = 500;
/// For what is under way to come to its end, once nothing is killed any more.
const SETTLES_WITHIN: Duration = Duration::from_secs(300);

/// How rough it is.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// Between two faults, in milliseconds.
    pub(crate) pause: Range<u64>,
    /// How long a process is gone, or stands still.
    pub(crate) away: Range<u64>,
    /// Whether it keeps what it took.
    pub(crate) kills_the_server: bool,
}

impl Default for Weather {
    fn default() -> Self {
        Self { pause: 150..500, away: 50..1_500, kills_the_server: true }
    }
}

/// The generator of Vigna's "xorshift64*": enough to choose victims.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn within(&mut self, range: &Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.below(range.end - range.start))
    }
}

/// A replica of a service. It ends with the test, whose end of its input is gone then.
struct Replica {
    order: Order,
    child: Child,
}

impl Replica {
    fn start(order: Order) -> Self {
        Self { child: spawn(&order), order }
    }
}

fn spawn(order: &Order) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::child", "--nocapture"])
        .env(ENVIRONMENT, order.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(order.log())
        .spawn()
        .unwrap()
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What goes wrong with one process until it is right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
}

struct Storm<'a> {
    dice: Dice,
    weather: &'a Weather,
    server: Server,
    replicas: Vec<Replica>,
    /// Of each replica, then of the server: what is wrong, and until when.
    faults: Vec<Option<(Fault, Instant)>>,
    seen: Seen,
}

impl Storm<'_> {
    fn strike(&mut self) {
        // The server is struck as often as two replicas.
        let victim = usize::try_from(self.dice.below(self.replicas.len() as u64 + 2)).unwrap().min(self.replicas.len());
        let killed = self.dice.below(2) == 0 && (victim < self.replicas.len() || self.weather.kills_the_server);
        let until = Instant::now() + self.dice.within(&self.weather.away);
        if self.faults[victim].is_some() {
            return;
        }
        let fault = if killed { Fault::Killed } else { Fault::Stopped };
        match (fault, self.replicas.get_mut(victim)) {
            (Fault::Killed, Some(replica)) => {
                replica.child.kill().unwrap();
                replica.child.wait().unwrap();
            }
            (Fault::Stopped, Some(replica)) => {
                kill_process(Pid::from_child(&replica.child), Signal::STOP).unwrap();
            }
            (Fault::Killed, None) => self.server.kill(),
            (Fault::Stopped, None) => self.server.signal(Signal::STOP),
        }
        match (fault, victim < self.replicas.len()) {
            (Fault::Stopped, _) => self.seen.stops += 1,
            (Fault::Killed, of_a_replica) => {
                self.seen.kills += 1;
                self.seen.server_kills += u64::from(!of_a_replica);
            }
        }
        self.faults[victim] = Some((fault, until));
    }

    /// Mends what has been wrong for long enough.
    fn mend(&mut self, all: bool) {
        let now = Instant::now();
        for victim in 0..self.faults.len() {
            let Some((fault, until)) = self.faults[victim] else { continue };
            if now < until && !all {
                continue;
            }
            self.faults[victim] = None;
            match (fault, self.replicas.get_mut(victim)) {
                (Fault::Killed, Some(replica)) => replica.child = spawn(&replica.order),
                (Fault::Stopped, Some(replica)) => {
                    kill_process(Pid::from_child(&replica.child), Signal::CONT).unwrap();
                }
                (Fault::Killed, None) => self.server.start_again(),
                (Fault::Stopped, None) => self.server.signal(Signal::CONT),
            }
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// All rounds over one kind of bus; one bus at a time.
pub(crate) fn storms(bus: &str, server: ServerProgram, state: ServerProgram, weather: &Weather) {
    static ONE: Mutex<()> = Mutex::new(());
    // One that is red says so by itself.
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (events, seed) = (number("CHAOS_EVENTS", 300), number("CHAOS_SEED", 0x0b5e_55ed));
    let mut sum = Seen::default();
    let (mut left, mut round) = (events, 0);
    while left > 0 {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{bus}"));
        let _ = std::fs::remove_dir_all(&folder);
        let server = Server::start(&folder.join("bus"), server);
        let state = Server::start(&folder.join("state"), state);
        let in_round = left.min(OF_ONE_ROUND);
        let seen = storm(bus, &folder, server, &state, (in_round, seed + round), weather);
        // Each round shows what is wrong in it, at once.
        println!("chaos {bus}: round {round}: {seen}");
        seen.check();
        sum.add(&seen);
        (left, round) = (left - in_round, round + 1);
    }
    println!("chaos {bus}: {sum}");
}

/// One round: its events, and the seed of its dice.
fn storm(
    bus: &str,
    folder: &Path,
    server: Server,
    state: &Server,
    (events, seed): (u64, u64),
    weather: &Weather,
) -> Seen {
    let origin = SystemTime::now() + Duration::from_secs(2);
    let orders = SERVICES.iter().flat_map(|service| {
        ["one", "two"].map(|replica| Order {
            service: (*service).to_owned(),
            replica: format!("{service}-{replica}"),
            bus: format!("{bus}://127.0.0.1:{}", server.port),
            state: format!("redis://127.0.0.1:{}", state.port),
            folder: folder.to_owned(),
            origin: origin.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis(),
            every: EVERY.as_millis(),
            events,
        })
    });
    let replicas: Vec<Replica> = orders.map(Replica::start).collect();
    let faults = vec![None; replicas.len() + 1];
    let mut storm =
        Storm { dice: Dice(seed), weather, server, replicas, faults, seen: Seen { events, ..Seen::default() } };
    let began = Instant::now();
    let fed = Duration::from_secs(3) + EVERY * u32::try_from(events).unwrap();
    let mut next = began + Duration::from_secs(1);
    while began.elapsed() < fed {
        if Instant::now() >= next {
            storm.strike();
            next = Instant::now() + storm.dice.within(&weather.pause);
        }
        storm.mend(false);
        std::thread::sleep(Duration::from_millis(5));
    }
    storm.mend(true);
    let ledger = Ledger::of(folder);
    let calm = Instant::now();
    loop {
        let account = ledger.read();
        let told = account.services.len() as u64 == events && account.open(&account.announced).is_empty();
        if (told && account.open(&account.taken).is_empty()) || calm.elapsed() > SETTLES_WITHIN {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    storm.seen.settled = calm.elapsed().as_secs();
    // A second disposition would come now.
    std::thread::sleep(Duration::from_secs(2));
    let mut seen = std::mem::take(&mut storm.seen);
    seen.read(&ledger.read());
    seen
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    events: u64,
    kills: u64,
    server_kills: u64,
    stops: u64,
    announced: usize,
    pages: usize,
    taken: usize,
    acted: usize,
    /// The longest, in seconds.
    settled: u64,
    /// Announced, without a disposition.
    open: Vec<String>,
    /// Taken by the bus, without a disposition.
    lost: Vec<String>,
    several: Vec<String>,
    twice: Vec<String>,
}

impl Seen {
    fn read(&mut self, account: &Account) {
        (self.announced, self.pages) = (account.services.len(), account.pages);
        (self.taken, self.acted) = (account.taken.len(), account.acted.len());
        (self.open, self.lost) = (account.open(&account.announced), account.open(&account.taken));
        (self.several, self.twice) = (account.with_several(), account.twice());
    }

    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.kills += other.kills;
        self.server_kills += other.server_kills;
        self.stops += other.stops;
        self.announced += other.announced;
        self.pages += other.pages;
        self.taken += other.taken;
        self.acted += other.acted;
        self.settled = self.settled.max(other.settled);
    }

    fn check(&self) {
        let Self { open, lost, several, twice, .. } = self;
        assert_eq!(self.announced as u64, self.events, "not each event was announced");
        assert!(open.is_empty(), "without a disposition: {open:?}");
        assert!(lost.is_empty(), "the bus took them, and nobody answered: {lost:?}");
        assert!(several.is_empty(), "several dispositions: {several:?}");
        assert!(twice.is_empty(), "acted twice: {twice:?}");
        assert!(self.acted > 0, "nothing acted");
        assert!(self.kills > 0 && self.stops > 0, "it was calm");
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, kills, server_kills, stops, announced, pages, taken, acted, settled, .. } = self;
        let (open, lost) = (self.open.len(), self.lost.len());
        let (several, twice) = (self.several.len(), self.twice.len());
        write!(f, "events {events} kills {kills} of which of the server {server_kills} stops {stops} ")?;
        write!(f, "announced {announced} pages {pages} taken {taken} actions {acted} ")?;
        write!(f, "without disposition {open} with several {several} twice {twice} acknowledged lost {lost} ")?;
        write!(f, "settled within {settled} s")
    }
}
