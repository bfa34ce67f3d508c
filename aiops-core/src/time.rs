//! Small, total helpers over [`jiff::Timestamp`]: nothing here reads a clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// `at` plus `by`, held at the ends of the representable range.
///
/// ```
/// use std::time::Duration;
/// let at = jiff::Timestamp::UNIX_EPOCH;
/// assert_eq!(aiops_core::time::plus(at, Duration::from_secs(5)).as_second(), 5);
/// ```
#[must_use]
pub fn plus(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// `at` minus `by`, held at the ends of the representable range.
#[must_use]
pub fn minus(at: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| at.checked_sub(by).ok()).unwrap_or(Timestamp::MIN)
}

/// Time from `earlier` to `later`; zero when `later` is not later.
#[must_use]
pub fn since(later: Timestamp, earlier: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// A duration as a person writes it: `90s`, `10m`, `1h 30m`.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(aiops_core::time::human(Duration::from_secs(5400)), "1h 30m");
/// assert_eq!(aiops_core::time::human(Duration::ZERO), "0s");
/// ```
#[must_use]
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let millis = duration.subsec_millis();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(millis), "ms"),
    ];
    let text: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text.join(" ") }
}

/// Reads a duration that a person wrote: `30s`, `10m`, `1h 30m`, `2d`.
///
/// # Errors
/// Text without a unit, a negative value, or anything that is not a duration.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(aiops_core::time::parse_human("10m"), Ok(Duration::from_secs(600)));
/// assert!(aiops_core::time::parse_human("600").is_err());
/// assert!(aiops_core::time::parse_human("-5m").is_err());
/// ```
pub fn parse_human(text: &str) -> Result<Duration, InvalidDuration> {
    let refuse = || InvalidDuration(crate::text::clip(text, 40));
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(refuse());
    }
    let mut total = Duration::ZERO;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let count: u64 = rest[..digits].parse().map_err(|_| refuse())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            "d" => Duration::from_secs(86_400),
            _ => return Err(refuse()),
        };
        let count = u32::try_from(count).map_err(|_| refuse())?;
        let part = unit.checked_mul(count).ok_or_else(refuse)?;
        total = total.checked_add(part).ok_or_else(refuse)?;
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

/// Text that is not a duration with a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: {0:?}; write a number with a unit, such as \"10m\" (ms, s, m, h, d)")]
pub struct InvalidDuration(String);

/// Serde for [`Duration`] as human text: `#[serde(with = "aiops_core::time::human_serde")]`.
pub mod human_serde {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes `10m`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::human(*value))
    }

    /// Reads `10m`; a bare number is refused, since its unit would be a guess.
    ///
    /// # Errors
    /// Text that is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_human(&text).map_err(serde::de::Error::custom)
    }

    /// The same for an optional duration.
    pub mod option {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serializer};

        /// Writes `10m` or null.
        ///
        /// # Errors
        /// Those of the serializer.
        pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads `10m`, null or nothing.
        ///
        /// # Errors
        /// Text that is not a duration.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            Option::<String>::deserialize(deserializer)?
                .map(|text| crate::time::parse_human(&text).map_err(serde::de::Error::custom))
                .transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn human_text_reads_back() {
        for seconds in [1, 59, 60, 61, 3_599, 3_600, 86_399, 86_400, 90_061] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse_human(&human(duration)), Ok(duration), "{seconds}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_duration() {
        for text in ["", " ", "m", "10", "10 m 5", "1x", "-1s", "99999999999999999999s", "5M", "1e3s"] {
            assert!(parse_human(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(plus(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(minus(Timestamp::MIN, Duration::MAX), Timestamp::MIN);
        assert_eq!(since(Timestamp::MIN, Timestamp::MAX), Duration::ZERO);
    }
}
