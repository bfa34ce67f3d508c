//! The score of the Numenta Anomaly Benchmark, standard profile, at one fixed threshold.
//!
//! As in A. Lavin, S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms" (2015) and the benchmark's
//! `sweeper.py` (version 1.1): a window counts its earliest alert, an alert outside counts against the score
//! the more the later it comes after the last window; 0 is a detector that says nothing, 100 a perfect one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Costs of the standard profile: of a false alert; a missed window costs 1, a perfect one gives 1.
const FALSE_ALERT: f64 = 0.11;
/// Share of a series that is not scored, and the length beyond which it grows no more.
const PROBATION: (f64, f64) = (0.15, 5_000.0);

/// The windows of anomalies by series, as pairs of times.
pub(crate) type Windows = BTreeMap<String, Vec<[String; 2]>>;

/// Reads `labels/combined_windows.json`.
pub(crate) fn windows(nab: &Path) -> Windows {
    let text = fs::read_to_string(nab.join("labels/combined_windows.json")).unwrap();
    let mut windows: Windows = serde_json::from_str(&text).unwrap();
    for end in windows.values_mut().flatten().flatten() {
        // The file writes fractions, the series do not.
        end.truncate(end.find('.').unwrap_or(end.len()));
    }
    windows
}

/// What a series adds, and its windows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gain {
    gain: f64,
    windows: usize,
}

impl Gain {
    pub(crate) fn add(&mut self, other: Self) {
        self.gain += other.gain;
        self.windows += other.windows;
    }

    /// At most 100; without any window false alerts still cost as if there were one.
    pub(crate) fn score(self) -> f64 {
        100.0 * self.gain / (2.0 * self.windows.max(1) as f64)
    }
}

fn sigmoid(x: f64) -> f64 {
    if x > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * x).exp()) - 1.0 }
}

/// The score of one series: the times as they stand in the file, and whether each sample is in alert.
pub(crate) fn gain(times: &[String], alerts: &[bool], windows: &[[String; 2]]) -> Gain {
    let place = |end: &String| times.iter().position(|time| time == end).unwrap();
    let ends: Vec<(usize, usize)> = windows.iter().map(|[first, last]| (place(first), place(last))).collect();
    let n = times.len() as f64;
    let first_scored = (PROBATION.0 * n).floor().min(PROBATION.0 * PROBATION.1);
    let mut best: Vec<Option<f64>> = vec![None; ends.len()];
    let mut false_alerts = 0.0;
    for (index, _) in alerts.iter().enumerate().filter(|(index, alert)| **alert && *index as f64 >= first_scored) {
        if let Some(window) = ends.iter().position(|(first, last)| (*first..=*last).contains(&index)) {
            let (first, last) = ends[window];
            let early = sigmoid(-((last - index + 1) as f64) / (last - first + 1) as f64) / sigmoid(-1.0);
            best[window] = Some(best[window].map_or(early, |known: f64| known.max(early)));
        } else {
            // How far behind the last window, in windows; before the first one it counts in full.
            let behind = ends.iter().rev().find(|(_, last)| *last < index);
            let cost = behind.map_or(-1.0, |(first, last)| sigmoid((index - last) as f64 / (last - first) as f64));
            false_alerts += FALSE_ALERT * cost;
        }
    }
    // A window that is found gives back what missing it costs.
    let found: f64 = best.iter().flatten().map(|early| early + 1.0).sum();
    Gain { gain: found + false_alerts, windows: ends.len() }
}

#[test]
fn a_perfect_detector_gets_100_a_silent_one_0_and_a_late_false_alert_costs_more() {
    let times: Vec<String> = (0..1_000).map(|index| index.to_string()).collect();
    let windows = [["400".to_owned(), "450".to_owned()]];
    let score = |at: &[usize]| {
        let alerts: Vec<bool> = (0..1_000).map(|index| at.contains(&index)).collect();
        gain(&times, &alerts, &windows).score()
    };
    assert!((score(&[400]) - 100.0).abs() < 1e-9 && score(&[]) == 0.0 && score(&[100]) == 0.0);
    assert!(score(&[440]) < 90.0 && score(&[400, 455]) > score(&[400, 800]));
    assert!((score(&[300]) + 100.0 * 0.11 / 2.0).abs() < 1e-9);
}
