//! The weekly review.

use std::time::Duration;

use aiops_core::Verdict;
use aiops_core::calibration::CalibrationSettings;
use aiops_core::time::{minus, plus};
use axum::extract::{Request, State};
use schemars::JsonSchema;
use serde::Deserialize;

use super::authorise::Access;
use super::gate::{Answer, Problem, Segment, ok, segment};
use super::incidents::pairs;
use super::{Inner, Shared};
use crate::review::ReviewReport;

/// Unless asked for another time: a week.
const DAYS: u32 = 7;
/// As far back as is asked for.
const MOST_DAYS: u32 = 366;
const DAY: Duration = Duration::from_secs(86_400);

/// A word on a report.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Judgement {
    /// The word.
    pub(super) verdict: Verdict,
    /// Why, for people; up to 1,000 characters.
    #[serde(default)]
    pub(super) note: String,
}

pub(super) fn days(query: Option<&str>) -> Result<u32, Problem> {
    let asked = pairs(query).into_iter().rev().find(|(name, _)| name == "days");
    let Some((_, days)) = asked else { return Ok(DAYS) };
    let days = days.parse().ok().filter(|days| (1..=MOST_DAYS).contains(days));
    days.ok_or_else(|| Problem::malformed("days is a number from 1 to 366"))
}

impl Inner {
    pub(super) async fn report(&self, days: u32) -> Result<ReviewReport, Problem> {
        let review = self.review().await?;
        let now = self.clock.now();
        let settings = CalibrationSettings::new(review.threshold());
        // What was decided in this very second is in it.
        Ok(review.report(minus(now, DAY * days), plus(now, Duration::from_secs(1)), &settings))
    }
}

pub(super) async fn show(State(inner): State<Shared>, request: Request) -> Answer {
    let (_, parts) = inner.reader(request).await?;
    ok(&inner.report(days(parts.uri.query())?).await?)
}

pub(super) async fn judge(State(inner): State<Shared>, number: Segment, request: Request) -> Answer {
    let (person, parts, body) = inner.enter(request, Access::Judge).await?;
    let judgement: Judgement = inner.json(&parts, body).await?;
    let number = segment(number, "report")?;
    ok(&inner.judge(&number, &person, judgement.verdict, &judgement.note).await?)
}
