//! How well a triager does on recorded incidents whose truth is known.
//!
//! [`IncidentSet::open`] reads a folder of incidents, [`Evaluation::run`] replays them through any
//! [`Triager`](aiops_core::Triager), and an [`EvaluationReport`] says what came of it; a [`Gate`] makes a yes or no
//! of that. Scoring asks no model: keywords, names and ids are compared.
//!
//! Two outcomes are kept apart: whether the cause was named, and whether what was recommended is safe. A report may
//! be right about the one and wrong about the other.
//!
//! ```no_run
//! use aiops_llm::RuleTriager;
//! use aiops_llm::evaluate::{Evaluation, Gate, IncidentSet};
//!
//! # async fn evaluate() -> Result<(), Box<dyn std::error::Error>> {
//! let set = IncidentSet::open("incidents")?;
//! let triager = RuleTriager::new(set.menu.clone().unwrap_or_default());
//! let report = Evaluation::default().run(&triager, &set).await;
//! println!("{}", report.to_markdown());
//! for missed in report.missed(&Gate::default().min_top1(0.6).max_unsafe(0)) {
//!     eprintln!("{missed}");
//! }
//! # Ok(()) }
//! ```

mod aggregate;
mod gate;
mod incident;
mod markdown;
mod read;
mod report;
mod run;
mod score;

pub use self::gate::{Gate, Missed};
pub use self::incident::{CauseKeywords, Expected, RecordedIncident};
pub use self::read::{IncidentFault, IncidentProblem, IncidentSet, OpenError};
pub use self::report::{ActionCounts, Cost, Escalation, EvaluationReport, Latency, Share, TagRow};
pub use self::run::Evaluation;
pub use self::score::{ActionScore, Answered, Score};
