//! Three services of two replicas each, over a real bus whose server and whose clients are killed and stopped at random:
//! every announced incident ends in exactly one disposition, no action runs twice, nothing that the bus took is lost.
//!
//! `CHAOS_EVENTS` says how many events (default 300), in rounds of at most 500 over new servers, since replicas share
//! one value with all open episodes; `CHAOS_SEED` says what happens when. The server keeps what it took
//! only if it is told to: NATS with `sync_interval: always`, Redis with `appendonly yes` and `appendfsync always`;
//! without them a machine that loses power loses its last seconds (2 min on NATS, 1 s on Redis). `kill -9` leaves
//! what the kernel has, so here the settings decide nothing. The Kafka server of this test keeps its log in memory:
//! it is stopped and goes on, and is not killed. What the replicas share is in a Redis of its own, which stays up.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // helpers outside #[test]

mod child;
mod ledger;
mod server;
mod storm;

use std::path::Path;
use std::process::Command;

use storm::{Weather, storms};

fn program(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: export $(.ci/services up nats redis kafka)"))
}

fn redis(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(program("REDIS_SERVER"));
    command.env("LD_LIBRARY_PATH", program("REDIS_LIBRARIES")).current_dir(folder);
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.args(["--port", &port.to_string()]);
    command
}

/// Debian's 2.9 knows no `sync_interval: always`; `kill -9` does not need it.
fn nats(folder: &Path, port: u16) -> Command {
    let store = folder.join("data");
    let file = folder.join("nats.conf");
    let lines = format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?} }}\n");
    std::fs::write(&file, lines).unwrap();
    let mut command = Command::new(program("NATS_SERVER"));
    command.arg("-c").arg(file);
    command
}

fn kafka(_: &Path, port: u16) -> Command {
    let url = format!("tcp://127.0.0.1:{port}");
    let mut command = Command::new(program("KAFKA_SERVER"));
    command.args(["broker", "--listener-url", &url, "--advertised-listener-url", &url]);
    command.args(["--storage-engine", "memory://tansu/"]);
    command
}

#[test]
#[ignore = "needs nats and redis: .ci/services up nats redis"]
fn nothing_is_lost_or_done_twice_over_nats() {
    storms("nats", nats, redis, &Weather::default());
}

#[test]
#[ignore = "needs redis: .ci/services up redis"]
fn nothing_is_lost_or_done_twice_over_redis() {
    storms("redis", redis, redis, &Weather::default());
}

#[test]
#[ignore = "needs kafka and redis: .ci/services up kafka redis"]
fn nothing_is_lost_or_done_twice_over_kafka() {
    // Joining a group takes seconds.
    let weather = Weather { pause: 500..1_200, kills_the_server: false, ..Weather::default() };
    storms("kafka", kafka, redis, &weather);
}
