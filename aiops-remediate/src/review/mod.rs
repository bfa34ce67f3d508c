//! The weekly review: what passed the threshold, what became of it, what people say of it, and whether the model's
//! confidence can be trusted.
//!
//! It is read from the audit log alone. Verdicts are audit entries of their own, in the same chain or in a file beside
//! it: none is ever changed, and of several on one report the last one counts.
//!
//! ```
//! use aiops_core::jiff::Timestamp;
//! use aiops_core::{Plan, Redactor, Verdict, testing::samples};
//! use aiops_remediate::review::Review;
//! use aiops_remediate::{AuditLog, ChainEnd, MemoryAudit, AuditEntry, ReportRecord};
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let audit = MemoryAudit::default();
//! # let now = Timestamp::UNIX_EPOCH;
//! # let triaged = samples::triaged(samples::event("checkout", "1", now), &["restart_pod"]);
//! # let rule = aiops_core::RuleVerdict::new("confidence", true, "").input("confidence", 0.8).input("threshold", 0.7);
//! # let record = ReportRecord::new(triaged, Plan::new(vec![], vec![rule]), now);
//! # audit.append(AuditEntry::decision(&record, &Redactor::default())).await?;
//! let mut review = Review::default();
//! review.read("audit", audit.text().as_bytes(), ChainEnd::start());
//! let item = review.find("1").ok_or("no such report")?;
//! audit.append(item.verdict_entry(Verdict::Right, "jane", "the pod did hang", now, &Redactor::default())).await?;
//! # Ok(()) }
//! ```

mod item;
mod markdown;
mod report;

use std::collections::{BTreeMap, VecDeque};
use std::io::BufRead;

use aiops_core::calibration::CalibrationSettings;
use aiops_core::{Confidence, ReviewedCase, RuleInput, RuleVerdict};
use jiff::Timestamp;
use serde::Serialize;

pub use self::item::{ReviewItem, ReviewStep, ReviewVerdict};
pub use self::report::{ModelReview, ReviewReport, VerdictCounts};
use crate::audit::{AuditKind, AuditReader, AuditRecord, Broken, ChainEnd, ChainFault};
use crate::store::ReportId;

/// Reports that are kept unless told otherwise, the newest; some 30 MB.
const KEPT: usize = 10_000;
/// Lines that could not be read of which so many are named; all are counted.
const NAMED: usize = 100;
/// The threshold where the audit names none: the policy's default.
const THRESHOLD: f64 = 0.7;

/// A line of the audit that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BadLine {
    /// In which file.
    pub file: String,
    /// Which line, counted from 1.
    pub line: u64,
    /// Why.
    pub why: String,
}

/// What was read from audit logs, in memory and bounded.
#[derive(Debug)]
pub struct Review {
    kept: usize,
    /// The oldest first; the number of the first one is `dropped`.
    items: VecDeque<ReviewItem>,
    places: BTreeMap<ReportId, u64>,
    dropped: u64,
    records: u64,
    bad: Vec<BadLine>,
    bad_count: u64,
    threshold: Option<Confidence>,
}

impl Default for Review {
    fn default() -> Self {
        Self::new(KEPT)
    }
}

impl Review {
    /// A review of at most `kept` reports, the newest; older ones are left out and counted.
    #[must_use]
    pub fn new(kept: usize) -> Self {
        Self {
            kept: kept.max(1),
            items: VecDeque::new(),
            places: BTreeMap::new(),
            dropped: 0,
            records: 0,
            bad: Vec::new(),
            bad_count: 0,
            threshold: None,
        }
    }

    /// Reads an audit log, or a file of verdicts; `name` is what faults call it. A file goes on after the `end` of
    /// the one before it where it was rotated; the answer is where this one ends.
    ///
    /// A line that does not hold is named and counted, and reading goes on: what can be read is reviewed. Whether a
    /// broken chain may be believed is the reader's to say.
    pub fn read(&mut self, name: &str, reader: impl BufRead, end: ChainEnd) -> ChainEnd {
        let mut reader = AuditReader::after(reader, end);
        let mut line = 0_u64;
        for read in &mut reader {
            line = line.saturating_add(1);
            match read {
                Ok(record) => self.take(name, line, record),
                Err(Broken { line, fault }) => self.bad(name, line, said(&fault)),
            }
        }
        reader.end().clone()
    }

    fn bad(&mut self, file: &str, line: u64, why: String) {
        self.bad_count = self.bad_count.saturating_add(1);
        if self.bad.len() < NAMED {
            self.bad.push(BadLine { file: file.to_owned(), line, why });
        }
    }

    fn take(&mut self, name: &str, line: u64, record: AuditRecord) {
        self.records = self.records.saturating_add(1);
        let AuditRecord { sequence, entry, .. } = record;
        match entry.kind {
            AuditKind::Decision => {
                let rules = entry.plan.as_ref().map(|plan| plan.rules.as_slice()).unwrap_or_default();
                let Some(rule) = rules.iter().find(|rule| rule.rule == "confidence" && rule.pass) else { return };
                self.threshold = threshold(rule).or(self.threshold);
                let known = entry.report.as_ref().is_some_and(|report| self.places.contains_key(report));
                if known {
                    return;
                }
                match ReviewItem::of(sequence, entry) {
                    Ok(item) => self.keep(item),
                    Err(why) => self.bad(name, line, why),
                }
            }
            AuditKind::Step | AuditKind::Answer | AuditKind::Recovered | AuditKind::Approval | AuditKind::Verdict => {
                let verdict = entry.kind == AuditKind::Verdict;
                let Some(report) = entry.report.clone() else { return };
                let item = self.places.get(&report).and_then(|place| usize::try_from(place - self.dropped).ok());
                let outcome = match item.and_then(|place| self.items.get_mut(place)) {
                    Some(item) => item.went_on(entry),
                    // What did not pass the threshold is not listed, what is too old is counted already.
                    None if verdict && self.dropped == 0 => Err(format!("a verdict on {report}, which is not here")),
                    None => Ok(()),
                };
                if let Err(why) = outcome {
                    self.bad(name, line, why);
                }
            }
            _ => {}
        }
    }

    fn keep(&mut self, item: ReviewItem) {
        self.places.insert(item.report.clone(), self.dropped + self.items.len() as u64);
        self.items.push_back(item);
        if self.items.len() > self.kept
            && let Some(oldest) = self.items.pop_front()
        {
            self.places.remove(&oldest.report);
            self.dropped += 1;
        }
    }

    /// The reports that passed the threshold, the oldest first.
    pub fn items(&self) -> impl Iterator<Item = &ReviewItem> {
        self.items.iter()
    }

    /// A report by the number of its decision in the audit, or by its id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&ReviewItem> {
        let number: Option<u64> = id.parse().ok();
        self.items.iter().find(|item| Some(item.number) == number || item.report.as_str() == id)
    }

    /// When the newest report was decided.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.items.iter().map(|item| item.at).max()
    }

    /// The threshold that the newest decision was made with; 0.7, the policy's own, where none is known.
    #[must_use]
    pub fn threshold(&self) -> Confidence {
        self.threshold.or_else(|| Confidence::new(THRESHOLD).ok()).unwrap_or(Confidence::ZERO)
    }

    /// The reports that have a verdict, as calibration takes them.
    #[must_use]
    pub fn cases(&self) -> Vec<ReviewedCase> {
        self.items.iter().filter_map(ReviewItem::reviewed).collect()
    }

    /// The reports decided in `[from, to)`, and calibration over all verdicts, of each model and prompt for itself.
    #[must_use]
    pub fn report(&self, from: Timestamp, to: Timestamp, settings: &CalibrationSettings) -> ReviewReport {
        let items = self.items.iter().filter(|item| item.at >= from && item.at < to).cloned().collect();
        ReviewReport {
            from,
            to,
            items,
            models: report::models(&self.cases(), settings),
            records: self.records,
            left_out: self.dropped,
            bad_lines: self.bad_count,
            bad: self.bad.clone(),
        }
    }
}

/// The policy's threshold, as the rule compared it.
fn threshold(rule: &RuleVerdict) -> Option<Confidence> {
    rule.inputs.iter().find_map(|(name, input)| match input {
        RuleInput::Number(number) if name == "threshold" => Confidence::new(*number).ok(),
        _ => None,
    })
}

/// A fault with what is below it.
fn said(fault: &ChainFault) -> String {
    aiops_core::error_chain(fault)
}
