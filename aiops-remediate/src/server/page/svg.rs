//! Pictures: a series with the times at which it was announced, and how far confidence can be trusted.

use aiops_core::calibration::ReliabilityBin;
use aiops_core::text;
use jiff::Timestamp;

use super::html::Html;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 120.0;
const EDGE: f64 = 8.0;
/// Points of a line; more than there are pixels show nothing.
const POINTS: usize = 600;
const SQUARE: f64 = 240.0;

/// A line of values over time, with the expected value and marks.
pub(super) fn sparkline(
    name: &str,
    points: &[(Timestamp, f64)],
    expected: Option<f64>,
    marks: &[Timestamp],
) -> Option<Html> {
    let points: Vec<(f64, f64)> =
        points.iter().filter(|(_, value)| value.is_finite()).map(|(at, value)| (seconds(*at), *value)).collect();
    let (first, last) = (points.first()?.0, points.last()?.0);
    let expected = expected.filter(|value| value.is_finite());
    let values = || points.iter().map(|(_, value)| *value).chain(expected);
    let (low, high) = values().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    let x = |at: f64| EDGE + (WIDTH - 2.0 * EDGE) * share(at, first, last);
    let y = |value: f64| HEIGHT - EDGE - (HEIGHT - 2.0 * EDGE) * share(value, low, high);
    let mut svg = Html::default();
    svg.raw("<svg class=\"spark\" role=\"img\" viewBox=\"0 0 640 120\" width=\"640\" height=\"120\"><title>")
        .text(name)
        .raw(": from ")
        .text(&text::number(low))
        .raw(" to ")
        .text(&text::number(high))
        .raw("</title>");
    if let Some(expected) = expected {
        line(&mut svg, "expected", (EDGE, y(expected)), (WIDTH - EDGE, y(expected)));
    }
    for mark in marks.iter().map(|mark| seconds(*mark)).filter(|mark| (first..=last).contains(mark)) {
        line(&mut svg, "mark", (x(mark), EDGE), (x(mark), HEIGHT - EDGE));
    }
    svg.raw("<polyline class=\"line\" points=\"");
    for (at, value) in points.iter().step_by(points.len().div_ceil(POINTS).max(1)) {
        svg.number(x(*at)).raw(",").number(y(*value)).raw(" ");
    }
    svg.raw("\"/>");
    if let Some((at, value)) = points.last() {
        svg.raw("<circle class=\"dot\" r=\"3\" cx=\"").number(x(*at)).raw("\" cy=\"").number(y(*value)).raw("\"/>");
    }
    svg.raw("</svg>");
    Some(svg)
}

/// Confidence against how often it was right, with the interval of each bin and the diagonal where both are one.
pub(super) fn reliability(bins: &[ReliabilityBin]) -> Html {
    let place = |share: f64| EDGE + (SQUARE - 2.0 * EDGE) * share.clamp(0.0, 1.0);
    let (x, y) = (place, |share: f64| SQUARE - place(share));
    let mut svg = Html::default();
    svg.raw("<svg class=\"plot\" role=\"img\" viewBox=\"0 0 240 240\" width=\"240\" height=\"240\"><title>")
        .raw("Share of right reports by confidence; on the diagonal both are one</title>");
    line(&mut svg, "frame", (x(0.0), y(0.0)), (x(1.0), y(0.0)));
    line(&mut svg, "frame", (x(0.0), y(0.0)), (x(0.0), y(1.0)));
    line(&mut svg, "expected", (x(0.0), y(0.0)), (x(1.0), y(1.0)));
    for bin in bins.iter().filter(|bin| bin.cases > 0) {
        let at = x(bin.mean_confidence);
        line(&mut svg, "mark", (at, y(bin.interval.low)), (at, y(bin.interval.high)));
        svg.raw("<circle class=\"dot\" r=\"4\" cx=\"").number(at).raw("\" cy=\"").number(y(bin.accuracy)).raw("\"/>");
    }
    svg.raw("</svg>");
    svg
}

fn line(svg: &mut Html, class: &'static str, from: (f64, f64), to: (f64, f64)) {
    svg.raw("<line class=\"").raw(class).raw("\" x1=\"").number(from.0).raw("\" y1=\"").number(from.1);
    svg.raw("\" x2=\"").number(to.0).raw("\" y2=\"").number(to.1).raw("\"/>");
}

/// Unix seconds; a picture needs no more than milliseconds.
#[allow(clippy::cast_precision_loss)] // exact up to the year 287,000
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1_000.0
}

/// Where a value stands between two; in the middle where they are one.
fn share(value: f64, low: f64, high: f64) -> f64 {
    // Halves, so that the widest span is still a number.
    let (span, above) = (high / 2.0 - low / 2.0, value / 2.0 - low / 2.0);
    if span > 0.0 { (above / span).clamp(0.0, 1.0) } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_of_any_values_is_a_picture_or_none() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(sparkline("x", &[], None, &[]).is_none());
        assert!(sparkline("x", &[(at(0), f64::NAN)], Some(1.0), &[]).is_none());
        for points in [
            vec![(at(0), 1.0)],
            vec![(at(0), f64::MIN), (at(1), f64::MAX)],
            (0..5_000).map(|second| (at(second), 3.0)).collect(),
        ] {
            let svg = sparkline("<p99>", &points, Some(2.0), &[at(0), at(9_999_999)]).unwrap().into_text();
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("<p99>"), "{svg}");
            assert!(svg.matches(',').count() <= POINTS, "{svg}");
            assert_eq!(svg.matches("class=\"mark\"").count(), 1);
        }
    }
}
