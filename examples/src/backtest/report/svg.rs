//! One series as a picture: the value in its band, labels behind it, a strip of scores for each scorer below.

use std::fmt::Write;

use super::plot::{COLUMNS, Column, Plot};
use crate::page::axis;

/// The picture's coordinates.
const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 992.0;
const TOP: f64 = 6.0;
/// Height of the value and of a strip of scores.
const VALUE: f64 = 170.0;
const STRIP: f64 = 36.0;
/// Above a strip: room for the name of its scorer.
const GAP: f64 = 18.0;
const AXIS: f64 = 22.0;
/// Scores are drawn up to so many thresholds.
const STRIP_SCALE: f64 = 3.0;
/// The band may widen the picture by this share of the value's own range on each side.
const BAND_ROOM: f64 = 0.3;
/// Columns without samples that break the line, in multiples of the usual distance.
const BREAK: u32 = 4;
/// A span must be wide enough to be seen.
const LEAST_WIDTH: f64 = 2.0;

/// Draws it; `lanes` are the scorers' names and thresholds. Nothing for a series without samples.
pub(super) fn draw(plot: &Plot, lanes: &[(&str, f64)]) -> Option<String> {
    let columns = plot.columns();
    let (first, last) = (columns.first()?, columns.last()?);
    let end = (last.index + 1).max(2);
    let x = |index: f64| LEFT + (RIGHT - LEFT) * index / f64::from(end);
    let middle = |column: &Column| x(f64::from(column.index) + 0.5);
    let scale = Scale::of(columns);
    let strips = lanes.len() as f64 * (STRIP + GAP);
    let height = TOP + VALUE + strips + AXIS;
    let bottom = height - AXIS;
    let mut svg =
        format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"values and scores over time\">");
    // Writing to a string does not fail.
    let out = &mut svg;

    for (from, to) in runs(columns, |column| column.labelled) {
        let (left, right) = (x(f64::from(from.index)), x(f64::from(to.index + 1)));
        let _ = write!(
            out,
            "<rect class=\"l\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            (right - left).max(LEAST_WIDTH),
            bottom - TOP
        );
    }
    for (number, text) in axis::numbers(scale.low, scale.high, 4) {
        let y = scale.y(number);
        let _ = write!(out, "<path class=\"g\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
        let _ = write!(out, "<text x=\"{}\" y=\"{:.1}\" class=\"y\">{text}</text>", LEFT - 6.0, y + 4.0);
    }
    if let (Some(from), Some(to)) = (plot.time(first.index), plot.time(end)) {
        let span = to.duration_since(from).as_secs_f64();
        for (at, text) in axis::times(from, to, 7) {
            let x = LEFT + (RIGHT - LEFT) * at.duration_since(from).as_secs_f64() / span;
            let anchor = if x > RIGHT - 40.0 {
                "end"
            } else if x < LEFT + 40.0 {
                "start"
            } else {
                "middle"
            };
            let _ = write!(out, "<path class=\"g\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
            let _ = write!(out, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>", bottom + 15.0);
        }
    }
    let pieces = pieces(columns);
    for piece in &pieces {
        let banded = |column: &&Column| column.band.is_some();
        for part in piece.split(|column| !banded(&column)).filter(|part| !part.is_empty()) {
            area(out, part, middle, &scale);
        }
    }
    let _ = write!(out, "<path class=\"v\" d=\"");
    for piece in &pieces {
        line(out, piece, middle, &scale);
    }
    out.push_str("\"/>");
    for column in columns.iter().filter(|column| column.lanes.first().is_some_and(|mark| mark.alert)) {
        let at = plot.time(column.index).map(|at| at.strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default();
        let value = outermost(column);
        let _ = write!(
            out,
            "<circle class=\"a\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{at}: {}</title></circle>",
            middle(column),
            scale.y(value),
            aiops_core::text::number(value)
        );
    }
    for (lane, (name, threshold)) in lanes.iter().enumerate() {
        let base = TOP + VALUE + (lane + 1) as f64 * (STRIP + GAP);
        strip(out, columns, lane, *threshold, base, x);
        let _ =
            write!(out, "<text x=\"{}\" y=\"{:.1}\" class=\"y\">score</text>", LEFT - 6.0, base - STRIP / 2.0 + 4.0);
        if lanes.len() > 1 {
            let _ = write!(out, "<text x=\"{}\" y=\"{:.1}\" class=\"n\">{name}</text>", LEFT, base - STRIP - 4.0);
        }
    }
    out.push_str("</svg>");
    Some(svg)
}

/// Scores from the base up: the threshold at a third of the height, what alerts in red.
fn strip(out: &mut String, columns: &[Column], lane: usize, threshold: f64, base: f64, x: impl Fn(f64) -> f64) {
    let mark = |column: &Column| column.lanes.get(lane).copied().unwrap_or_default();
    let height = |column: &Column| STRIP * (mark(column).score / threshold / STRIP_SCALE).min(1.0);
    for (class, alert) in [("s", false), ("sa", true)] {
        let _ = write!(out, "<path class=\"{class}\" d=\"");
        for column in columns.iter().filter(|column| mark(column).alert == alert) {
            let height = height(column);
            if height >= 0.1 {
                let _ = write!(out, "M{:.1} {base}v-{height:.1}", x(f64::from(column.index) + 0.5));
            }
        }
        out.push_str("\"/>");
    }
    let line = base - STRIP / STRIP_SCALE;
    let _ =
        write!(out, "<path class=\"g\" d=\"M{LEFT} {base}H{RIGHT}\"/><path class=\"t\" d=\"M{LEFT} {line}H{RIGHT}\"/>");
}

/// The value: from the nearer to the further extreme of each column.
fn line(out: &mut String, piece: &[Column], middle: impl Fn(&Column) -> f64, scale: &Scale) {
    let mut at = None;
    for column in piece {
        let x = middle(column);
        let (low, high) = (scale.y(column.low), scale.y(column.high));
        let (near, far) = match at {
            Some(y) if f64::abs(y - high) < f64::abs(y - low) => (high, low),
            _ => (low, high),
        };
        let _ = write!(out, "{}{x:.1} {near:.1}", if at.is_none() { 'M' } else { 'L' });
        if near != far || piece.len() == 1 {
            // A lone sample is a short stroke, so that it is seen.
            let _ = if near == far { write!(out, "h1.5") } else { write!(out, "V{far:.1}") };
        }
        at = Some(far);
    }
}

/// The band as an area.
fn area(out: &mut String, part: &[Column], middle: impl Fn(&Column) -> f64, scale: &Scale) {
    let _ = write!(out, "<path class=\"b\" d=\"M");
    let edge =
        |low: bool| move |column: &Column| column.band.map_or(0.0, |band| if low { band.low } else { band.high });
    for column in part {
        let _ = write!(out, "{:.1} {:.1}L", middle(column), scale.y(edge(false)(column)));
    }
    for (index, column) in part.iter().rev().enumerate() {
        let _ = write!(
            out,
            "{}{:.1} {:.1}",
            if index == 0 { "" } else { "L" },
            middle(column),
            scale.y(edge(true)(column))
        );
    }
    out.push_str("Z\"/>");
}

/// The extreme that is further out of the band.
fn outermost(column: &Column) -> f64 {
    match column.band {
        Some(band) if band.low - column.low > column.high - band.high => column.low,
        _ => column.high,
    }
}

/// Stretches without a break in time.
fn pieces(columns: &[Column]) -> Vec<&[Column]> {
    let mut steps: Vec<u32> = columns.windows(2).map(|pair| pair[1].index - pair[0].index).collect();
    steps.sort_unstable();
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(COLUMNS);
    columns.chunk_by(|one, next| next.index - one.index <= BREAK * usual).collect()
}

/// First and last column of each stretch where something holds.
fn runs(columns: &[Column], holds: impl Fn(&Column) -> bool) -> Vec<(&Column, &Column)> {
    let stretches = columns.chunk_by(|one, next| holds(one) == holds(next));
    stretches.filter(|run| holds(&run[0])).map(|run| (&run[0], &run[run.len() - 1])).collect()
}

/// The value axis.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(columns: &[Column]) -> Self {
        let least = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(f64::MAX, f64::min);
        let most = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(f64::MIN, f64::max);
        let low = least(&mut columns.iter().map(|column| column.low));
        let high = most(&mut columns.iter().map(|column| column.high));
        // Halved before they are subtracted: the largest values must not overflow.
        let range = high / 2.0 - low / 2.0;
        let range = if range > 0.0 { range } else { low.abs().max(1.0) / 20.0 };
        let room = (2.0 * BAND_ROOM * range).min(f64::MAX / 4.0);
        let bands = || columns.iter().filter_map(|column| column.band);
        let band_low = least(&mut bands().map(|band| band.low)).max(low / 2.0 - room / 2.0 + low / 2.0 - room / 2.0);
        let band_high = most(&mut bands().map(|band| band.high)).min(high / 2.0 + room / 2.0 + high / 2.0 + room / 2.0);
        let margin = range / 10.0;
        let (low, high) = (low.min(band_low) - margin, high.max(band_high) + margin);
        Self { low: low.max(f64::MIN), high: high.min(f64::MAX) }
    }

    /// Height of a value, held within the picture.
    fn y(&self, value: f64) -> f64 {
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        TOP + VALUE * (1.0 - share.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::plot::Mark;
    use super::*;

    fn plot(values: &[f64]) -> Plot {
        let mut plot = Plot::new(1);
        for (at, value) in values.iter().enumerate() {
            let at = Timestamp::from_second(60 * at as i64).unwrap();
            plot.push(at, *value, None, &[Mark { score: 1e6, alert: *value > 5.0 }], *value > 7.0);
        }
        plot
    }

    #[test]
    fn a_picture_has_the_value_the_label_and_the_alerts() {
        let svg = draw(&plot(&[1.0, 2.0, 6.0, 8.0, 1.0]), &[("mad", 6.0)]).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert_eq!(svg.matches("class=\"l\"").count(), 1);
        assert!(svg.contains("00:03:00") || svg.contains("01-01 00:03"), "{svg}");
        assert!(draw(&Plot::new(1), &[]).is_none());
    }

    #[test]
    fn no_value_gives_a_coordinate_that_is_none() {
        for values in [vec![f64::MAX, f64::MIN, 0.0], vec![5.0; 3], vec![0.0], vec![f64::MAX; 2], vec![1e-310, 2e-310]]
        {
            let svg = draw(&plot(&values), &[("mad", 6.0)]).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{values:?}: {svg}");
        }
    }
}
