//! Where an axis has its marks.

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

/// Steps of a time axis below a month, in seconds.
const STEPS: [i64; 17] =
    [1, 5, 15, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 345_600, 604_800, 1_209_600];
/// Steps from a month on, in months.
const MONTHS: [i32; 11] = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1_200, 2_400];
/// Average length of a month in seconds.
const MONTH: i64 = 2_629_746;
const DAY: i64 = 86_400;

/// Round numbers from `low` to `high`, about `count` of them, as text with the fewest decimals.
pub(crate) fn numbers(low: f64, high: f64, count: u32) -> Vec<(f64, String)> {
    let raw = (high / 2.0 - low / 2.0) / f64::from(count) * 2.0;
    if !(raw.is_finite() && raw > 0.0) {
        return Vec::new();
    }
    let magnitude = 10_f64.powf(raw.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|digit| digit * magnitude).into_iter().find(|step| *step >= raw).unwrap_or(raw);
    let first = (low / step).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // held in range
    let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    let largest = low.abs().max(high.abs());
    let text = |number: f64| {
        if (1e-4..1e7).contains(&largest) { format!("{number:.decimals$}") } else { format!("{number:.2e}") }
    };
    // A mark of exactly 0, and no -0.
    let at = |index: u32| (first + f64::from(index)) * step + 0.0;
    (0..=2 * count).map(at).take_while(|number| *number <= high).map(|number| (number, text(number))).collect()
}

/// Round times between two, at most about `count` of them, as text.
pub(crate) fn times(from: Timestamp, to: Timestamp, count: i64) -> Vec<(Timestamp, String)> {
    let (first, last) = (from.as_second(), to.as_second());
    let raw = (last.saturating_sub(first) / count).max(1);
    match STEPS.iter().find(|step| **step >= raw) {
        Some(step) => {
            let shape = if *step < DAY { "%m-%d %H:%M" } else { "%Y-%m-%d" };
            let shape = if *step < 60 { "%H:%M:%S" } else { shape };
            let begin = first.div_euclid(*step) * step + if first.rem_euclid(*step) == 0 { 0 } else { *step };
            let marks = (0..=2 * count).map(|index| begin + index * step).take_while(|second| *second <= last);
            marks
                .filter_map(|second| Timestamp::from_second(second).ok())
                .map(|at| (at, at.strftime(shape).to_string()))
                .collect()
        }
        None => {
            let months = i32::try_from(raw / MONTH + 1).unwrap_or(i32::MAX);
            let step = MONTHS.into_iter().find(|step| *step >= months).unwrap_or(months);
            let shape = if step < 12 { "%Y-%m" } else { "%Y" };
            let start = TimeZone::UTC.to_datetime(from);
            let month = i32::from(start.year()) * 12 + i32::from(start.month()) - 1;
            let begin = month.div_euclid(step) * step;
            let marks =
                (0..=i32::try_from(2 * count).unwrap_or(0)).filter_map(|index| month_start(begin + index * step));
            let marks = marks.filter_map(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
            marks.filter(|at| (from..=to).contains(at)).map(|at| (at, at.strftime(shape).to_string())).collect()
        }
    }
}

/// The first day of a month counted from year 0.
fn month_start(month: i32) -> Option<Date> {
    let year = i16::try_from(month.div_euclid(12)).ok().filter(|year| (-9_999..=9_999).contains(year))?;
    Some(date(year, i8::try_from(month.rem_euclid(12) + 1).ok()?, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<T>(marks: Vec<(T, String)>) -> Vec<String> {
        marks.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn numbers_are_round_and_have_no_more_decimals_than_they_need() {
        assert_eq!(texts(numbers(-3.2, 11.0, 4)), ["0", "5", "10"]);
        assert_eq!(texts(numbers(0.001, 0.0049, 4)), ["0.001", "0.002", "0.003", "0.004"]);
        assert_eq!(texts(numbers(1.1e9, 1.9e9, 2)), ["1.50e9"]);
        assert_eq!(numbers(1.0, 1.0, 4), []);
        assert!(numbers(f64::MIN, f64::MAX, 4).len() <= 9);
    }

    #[test]
    fn times_are_round_at_every_length() {
        let between = |from: &str, to: &str| texts(times(from.parse().unwrap(), to.parse().unwrap(), 4));
        assert_eq!(between("2026-01-01T00:00:07Z", "2026-01-01T00:00:41Z"), ["00:00:15", "00:00:30"]);
        assert_eq!(
            between("2026-01-01T00:00:00Z", "2026-01-01T14:00:00Z"),
            ["01-01 00:00", "01-01 06:00", "01-01 12:00"]
        );
        assert_eq!(between("2026-01-01T03:00:00Z", "2026-01-04T14:00:00Z"), ["2026-01-02", "2026-01-03", "2026-01-04"]);
        assert_eq!(
            between("2026-01-05T03:00:00Z", "2026-05-04T14:00:00Z"),
            ["2026-02", "2026-03", "2026-04", "2026-05"]
        );
        assert_eq!(between("1970-01-01T00:00:00Z", "2026-05-04T14:00:00Z"), ["1980", "2000", "2020"]);
        assert!(!times(Timestamp::MIN, Timestamp::MAX, 4).is_empty());
        assert_eq!(times(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, 4).len(), 1);
    }
}
