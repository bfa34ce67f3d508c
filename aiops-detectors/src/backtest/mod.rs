//! How would a scorer have done on yesterday's samples? Plain functions over one pass of alerts, labels and
//! scores, in bounded memory; the program around them is the example `backtest`.
//!
//! # Rules of event scoring
//! Points in a row are one thing to the person who is paged, so points are not counted:
//! - The first 15 % of a series are not scored ([`skipped`]): every scorer warms up there.
//! - A labelled *event* is a run of labelled samples; up to 2 samples without a label inside do not end it.
//! - An alert *episode* is a run of alerting samples; up to 3 quiet samples inside do not end it.
//! - An event reaches from 1 sample before its first to 3 after its last labelled one.
//! - An episode is *true* when at least a third of its samples lie within the reach of events: one that
//!   never ends is false, whatever it touches.
//! - An event is *caught* when an alerting sample of a true episode lies within its reach. Its delay runs
//!   from its first labelled sample to the first such alert, and is not negative.
//!
//! Precision is true episodes ÷ episodes, recall is caught ÷ events, F1 their harmonic mean. Reach, gaps and
//! the third are those of the scorer by which this project's accuracy figures are taken.
//!
//! ```
//! use aiops_detectors::backtest::EventScorer;
//! let mut events = EventScorer::default();
//! for row in 0..100 {
//!     let (labelled, alert) = ((50..60).contains(&row), row == 20 || (52..58).contains(&row));
//!     events.push(labelled, alert, None);
//! }
//! let counts = events.finish();
//! assert_eq!((counts.events, counts.caught, counts.episodes, counts.good), (1, 1, 2, 1));
//! assert_eq!((counts.precision(), counts.recall()), (0.5, 1.0));
//! ```

mod delays;
mod episodes;
mod events;
mod rates;

pub use self::delays::Delays;
pub use self::episodes::Episodes;
pub use self::events::{EventCounts, EventScorer};
pub use self::rates::AlertRates;

/// Quiet samples that do not end an alert episode.
const ALERT_GAP: u64 = 3;
/// Samples without a label that do not end an event.
const LABEL_GAP: u64 = 2;
/// Samples by which an event reaches beyond its first labelled sample.
const REACH_BEFORE: u64 = 1;
/// Samples by which an event reaches beyond its last labelled sample.
const REACH_AFTER: u64 = 3;
/// One in so many samples of a true episode lies within the reach of events.
const TRUE_SHARE: u64 = 3;
/// Share of a series that is not scored: NAB's probation.
const SKIPPED: f64 = 0.15;

/// Rows at the start of a series of `rows` that are not scored.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a count
pub fn skipped(rows: u64) -> u64 {
    (SKIPPED * rows as f64) as u64
}
