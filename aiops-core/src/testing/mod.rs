//! For the tests of hosts and of third parties' plugins: a clock in the test's hand, fakes, and one
//! conformance suite for each trait.
//!
//! A suite is an async function that returns the first [`Violation`] of the trait's contract:
//!
//! ```
//! use aiops_core::{MemoryProbe, ProbeQuery, jiff::Timestamp, testing};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), testing::Violation> {
//! let probe = MemoryProbe::default();
//! probe.set("nodes_ready", 3.0);
//! let now = Timestamp::UNIX_EPOCH;
//! testing::check_probe(&probe, ProbeQuery::new("nodes_ready", now, now), ProbeQuery::new("no_such", now, now)).await
//! # }
//! ```

mod clock;
mod conformance;
mod fakes;
mod handler;
mod host;
pub mod samples;
mod violation;

pub use self::clock::ManualClock;
pub use self::conformance::*;
pub use self::fakes::{RecordingNotifier, RecordingResponder, ScriptedDetector, ScriptedTriager};
pub use self::handler::{Effect, ExecuteScript, FakeWorld, ScriptedHandler};
pub use self::host::{LogLine, LogRecorder, MetricRecorder, SpanLine};
pub use self::violation::{Violation, ensure};
