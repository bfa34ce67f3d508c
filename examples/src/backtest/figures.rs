//! The figures of one series and scorer, or of all series together.

use std::time::Duration;

use aiops_core::{text, time};
use aiops_detectors::backtest::{AlertRates, EventCounts};

/// Days of a week.
const WEEK: f64 = 7.0;
/// Whole weeks must not be missed by a rounding error.
const NEARLY: f64 = 1e-6;

/// What one scorer did on one series or, merged, on all.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Rows.
    pub rows: u64,
    /// Rows that could not be scored.
    pub bad: u64,
    /// Rows with enough samples before them.
    pub scored: u64,
    /// Alert episodes.
    pub alerts: u64,
    /// Days that the samples cover, summed over series.
    pub days: f64,
    /// Alerts a day with all series side by side.
    pub alerts_a_day: f64,
    /// Against the labels.
    pub events: Option<EventCounts>,
    /// Alerts at other thresholds.
    pub rates: AlertRates,
}

impl Figures {
    /// Adds those of another series.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.bad += other.bad;
        self.scored += other.scored;
        self.alerts += other.alerts;
        self.days += other.days;
        self.alerts_a_day += other.alerts_a_day;
        if let Some(events) = &other.events {
            self.events.get_or_insert_default().merge(events);
        }
        self.rates.merge(&other.rates);
    }

    /// Whether anything scored above 0 over some time: without it there is no threshold to suggest.
    #[must_use]
    pub fn has_scores(&self) -> bool {
        self.days > 0.0 && self.rates.alerts(0.0) > 0
    }

    /// The lowest threshold that gives at most so many alerts a week and series, and how many a week it
    /// gives; none where no threshold does, or nothing scored.
    #[must_use]
    pub fn suggest(&self, alerts_per_week: f64) -> Option<(f64, f64)> {
        let weeks = self.days / WEEK;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a count; a cast saturates
        let wanted = (alerts_per_week * weeks + NEARLY) as u64;
        let (threshold, alerts) = self.rates.suggest(wanted).filter(|_| self.has_scores())?;
        Some((threshold, alerts as f64 / weeks))
    }
}

/// Names of the columns of [`cells`].
#[must_use]
pub fn columns(labels: bool, alerts_per_week: f64) -> Vec<String> {
    let mut names: Vec<String> = ["rows", "bad", "alerts", "alerts/day"].map(str::to_owned).into();
    if labels {
        let more = ["events", "caught", "precision", "recall", "F1", "false/1k", "delay"];
        names.extend(more.map(str::to_owned));
    }
    names.push(format!("{}/week at", text::number(alerts_per_week)));
    names
}

/// The figures as text; `-` for what is not known.
#[must_use]
pub fn cells(figures: &Figures, labels: bool, alerts_per_week: f64) -> Vec<String> {
    let unknown = || "-".to_owned();
    let a_day = if figures.days > 0.0 { format!("{:.2}", figures.alerts as f64 / figures.days) } else { unknown() };
    let mut cells = vec![figures.rows.to_string(), figures.bad.to_string(), figures.alerts.to_string(), a_day];
    match &figures.events {
        _ if !labels => {}
        None => cells.extend(std::iter::repeat_with(unknown).take(7)),
        Some(events) => cells.extend([
            events.events.to_string(),
            events.caught.to_string(),
            format!("{:.3}", events.precision()),
            format!("{:.3}", events.recall()),
            format!("{:.3}", events.f1()),
            format!("{:.2}", events.false_per_thousand()),
            delay(events),
        ]),
    }
    let suggested = figures.suggest(alerts_per_week);
    cells.push(suggested.map_or_else(unknown, |(threshold, _)| text::number(threshold)));
    cells
}

/// Medians in samples and in time.
fn delay(events: &EventCounts) -> String {
    let Some(samples) = events.delays.median_samples() else { return "-".to_owned() };
    match events.delays.median_time() {
        // The two largest units say enough.
        Some(time) if time >= Duration::from_millis(1) => {
            let text = time::human(time);
            format!("{samples} ({})", text.split(' ').take(2).collect::<Vec<_>>().join(" "))
        }
        _ => samples.to_string(),
    }
}
