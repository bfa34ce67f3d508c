//! The pictures of an evaluation.

use std::fmt::Write;

use aiops_core::calibration::Calibration;
use aiops_llm::evaluate::Escalation;

use crate::page::axis;

/// A picture's coordinates.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 992.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 270.0;

fn x(share: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
}

/// Height of a share, where `most` is at the top.
fn y(share: f64, most: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * (share / most).clamp(0.0, 1.0)
}

/// Axes from 0 to 1 and from 0 to `most`, with what they measure.
fn frame(label: &str, below: &str, most: f64) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">");
    for (number, text) in axis::numbers(0.0, most, 5) {
        let at = y(number, most);
        let _ = write!(svg, "<path class=\"g\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>");
        let _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\" class=\"y\">{text}</text>", LEFT - 6.0, at + 4.0);
    }
    for (number, text) in axis::numbers(0.0, 1.0, 10) {
        let at = x(number);
        let _ = write!(svg, "<path class=\"g\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>");
        let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", BOTTOM + 16.0);
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let _ = write!(svg, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{below}</text>", BOTTOM + 36.0);
    svg
}

/// Each bin with its interval; on the diagonal confidence is what it says.
pub(super) fn reliability(calibration: &Calibration) -> String {
    let mut svg = frame("share of right causes against confidence", "mean confidence of a bin", 1.0);
    let _ = write!(svg, "<path class=\"t\" d=\"M{LEFT} {BOTTOM}L{RIGHT} {TOP}\"/>");
    for bin in &calibration.reliability {
        let (at, low, high) = (x(bin.mean_confidence), y(bin.interval.low, 1.0), y(bin.interval.high, 1.0));
        let _ = write!(svg, "<path class=\"s\" d=\"M{at:.1} {low:.1}V{high:.1}\"/>");
        let _ = write!(
            svg,
            "<circle class=\"p\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"5\"><title>confidence {:.2} to {:.2}: {} of {} right</title></circle>",
            y(bin.accuracy, 1.0),
            bin.low,
            bin.high,
            bin.correct,
            bin.cases
        );
    }
    svg + "</svg>"
}

/// The curve, with the threshold in use.
pub(super) fn risk_coverage(calibration: &Calibration) -> String {
    let points = &calibration.risk_coverage;
    let highest = points.iter().map(|point| point.risk).fold(0.0, f64::max);
    // All right: a flat line at the bottom of a scale of its own.
    let most = if highest > 0.0 { (highest * 1.1).min(1.0) } else { 0.1 };
    let mut svg = frame("share of wrong causes against share of answers that pass", "share of answers that pass", most);
    svg.push_str("<path class=\"v\" d=\"");
    for (place, point) in points.iter().enumerate() {
        let step = if place == 0 { 'M' } else { 'L' };
        let _ = write!(svg, "{step}{:.1} {:.1}", x(point.coverage), y(point.risk, most));
    }
    svg.push_str("\"/>");
    for point in points {
        let (at, height) = (x(point.coverage), y(point.risk, most));
        let _ = write!(
            svg,
            "<circle class=\"p\" cx=\"{at:.1}\" cy=\"{height:.1}\" r=\"3\"><title>from {:.3}: {} of {} wrong</title></circle>",
            point.threshold, point.errors, point.accepted
        );
    }
    let at = &calibration.at_threshold;
    let place = x(at.coverage);
    let (anchor, beside) = if place > (LEFT + RIGHT) / 2.0 { ("end", place - 5.0) } else { ("start", place + 5.0) };
    let _ = write!(svg, "<path class=\"t\" d=\"M{place:.1} {TOP}V{BOTTOM}\"/>");
    let _ = write!(
        svg,
        "<text x=\"{beside:.1}\" y=\"{}\" text-anchor=\"{anchor}\">threshold {}</text>",
        TOP + 12.0,
        aiops_core::text::number(at.threshold.value())
    );
    svg + "</svg>"
}

/// Asked against should have been asked, darker where there are more.
pub(super) fn escalation(counts: &Escalation) -> String {
    const SIZE: f64 = 150.0;
    let cells = [
        (0, 0, counts.right, "asked, rightly", true),
        (1, 0, counts.needless, "asked for nothing", false),
        (0, 1, counts.missed, "not asked, should be", false),
        (1, 1, counts.left_alone, "not asked, rightly", true),
    ];
    let most = cells.iter().map(|cell| cell.2).max().unwrap_or(0).max(1);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} 240\" role=\"img\" aria-label=\"escalation matrix\">");
    for (column, row, count, words, good) in cells {
        let (left, top) = (LEFT + f64::from(column) * (2.0 * SIZE + 4.0), 4.0 + f64::from(row) * 114.0);
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let shade = 0.08 + 0.5 * count as f64 / most as f64;
        let class = if good { "good" } else { "bad" };
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"110\" fill-opacity=\"{shade:.2}\"/>",
            2.0 * SIZE
        );
        let (x, y) = (left + SIZE, top + 52.0);
        let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" class=\"big\">{count}</text>");
        let _ = write!(svg, "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{words}</text>", y + 24.0);
    }
    svg + "</svg>"
}
