//! Times as CSV files have them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Plain numbers by magnitude: from, up to, and how many are a second. The ranges hold 1973 (seconds: all
/// before, too) to 2255, and what lies between them could be two things.
const UNITS: [(f64, f64, i64); 4] =
    [(0.0, 9e9, 1), (1e11, 9e12, 1_000), (1e14, 9e15, 1_000_000), (1e17, 9e18, 1_000_000_000)];

/// RFC 3339, a naive date and time (UTC), or unix seconds, milli-, micro- or nanoseconds.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    if let Some(at) = plain(text.as_bytes()) {
        return Some(at);
    }
    // As some databases export them.
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(number) = text.parse::<f64>() {
        return unix(text, number);
    }
    let civil: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

fn unix(text: &str, number: f64) -> Option<Timestamp> {
    let (.., per_second) = UNITS.iter().find(|(from, to, _)| (*from..*to).contains(&number.abs()))?;
    let nanos_each = 1_000_000_000 / per_second;
    let nanos = match text.parse::<i64>() {
        Ok(whole) => i128::from(whole) * i128::from(nanos_each),
        // Microseconds: finer than any float of this size.
        #[allow(clippy::cast_possible_truncation)]
        Err(_) => (number / *per_second as f64 * 1e6).round() as i128 * 1_000,
    };
    Timestamp::from_nanosecond(nanos).ok()
}

/// `YYYY-MM-DD HH:MM:SS[.fraction][Z]`, also with a `T`: what nearly every file has, and all that a fast
/// reader may spend its time on. None for anything else, also for times that do not exist.
fn plain(text: &[u8]) -> Option<Timestamp> {
    let (head, tail) = text.split_at_checked(19)?;
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| head[*at] != *mark) || !matches!(head[10], b' ' | b'T') {
        return None;
    }
    let pair = |at: usize| number(&head[at..at + 2]);
    let (year, month, day) = (number(&head[..4])?, pair(5)?, pair(8)?);
    let (hour, minute, second) = (pair(11)?, pair(14)?, pair(17)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let nanos = match tail {
        [] | [b'Z'] => 0,
        [b'.', fraction @ .., b'Z'] | [b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => {
            let scale = 10_i64.pow(9 - u32::try_from(fraction.len()).ok()?);
            i32::try_from(number(fraction)? * scale).ok()?
        }
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Timestamp::new(seconds, nanos).ok()
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
}

/// Days of the proleptic Gregorian calendar, years that begin in March so that the leap day comes last
/// (Howard Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`). Years from 0 on.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_in_all_their_forms() {
        // Row 23 of the user reports: midnight and naive times are fine.
        for text in [
            "2026-01-01T00:00:00Z",
            "2026-01-01 00:00",
            "2026-01-01 00:00:00",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00.000000",
            "2026-01-01",
            "2026-01-01T01:00:00+01:00",
            "2026-01-01 01:00:00+01:00",
            "2026-01-01 01:00:00+01",
            "2026-01-01 00:00:00 UTC",
            "2026-01-01T00:00:00.000+0000",
            "20260101T000000Z",
            "1767225600",
            "1767225600.0",
            "1.7672256e9",
            "1767225600000",
            "1767225600000000",
            "1767225600000000000",
        ] {
            assert_eq!(parse(text).map(Timestamp::as_nanosecond), Some(1_767_225_600_000_000_000), "{text}");
        }
        assert_eq!(parse("2026-01-01 00:00:00.25").map(Timestamp::as_millisecond), Some(1_767_225_600_250));
        assert_eq!(parse("0.5").map(Timestamp::as_millisecond), Some(500));
    }

    #[test]
    fn what_is_no_time_or_could_be_two_is_none() {
        for text in
            ["", "soon", "2026-02-29 00:00:00", "2026-13-01 00:00:00", "2026-01-01 24:00:00", "2e10", "NaN", "1e30"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_gives_what_jiff_gives(second in -62_100_000_000_i64..250_000_000_000, nanos in 0..1_000_000_000_i32) {
            let at = Timestamp::new(second, nanos).unwrap();
            let text = at.to_string();
            let (date, rest) = text.split_once('T').unwrap();
            prop_assert_eq!(plain(text.as_bytes()), Some(at));
            prop_assert_eq!(parse(&format!("{date} {}", rest.trim_end_matches('Z'))), Some(at));
        }
    }
}
