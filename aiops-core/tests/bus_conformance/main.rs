//! The buses over real servers: the one suite, and what each does about trouble.
//!
//! `.ci/services up nats redis kafka` starts the servers and prints the variables that tell where they are.
#![cfg(any(feature = "nats", feature = "redis", feature = "kafka"))]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test]

mod checks;
mod outage;
mod server;

#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;
