//! The numbers behind an event, and the sentence that shows them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::text::number;

/// The range in which a value was expected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Band {
    /// The lowest expected value.
    pub low: f64,
    /// The highest expected value.
    pub high: f64,
}

/// A typed core (value, expected, band, score, threshold, window, unit, n), and what the detector
/// adds beside it.
///
/// Every number is finite: the setters drop one that is not, since JSON has no way to say it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Signal {
    /// What was measured, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What was expected, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<f64>,
    /// The range in which it was expected, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<Band>,
    /// How far out it is, in the detector's own measure (`score_unit` says which, where given).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The score from which the rule fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// The time that the value or its baseline covers.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient_duration",
        serialize_with = "crate::time::human_serde::option::serialize"
    )]
    #[schemars(with = "Option<String>")]
    pub window: Option<Duration>,
    /// Unit of value, expected and band.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Samples behind the expectation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// What the detector adds.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The typed core of a [`Signal`] under its name in the contract.
pub type Evidence = Signal;

/// A foreign event may carry seconds or its own text: what we cannot read is absent, not an error.
fn lenient_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        Some(Value::String(text)) => crate::time::parse_human(&text).ok(),
        Some(Value::Number(seconds)) => seconds.as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok()),
        _ => None,
    })
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

impl Signal {
    /// A signal with its value.
    #[must_use]
    pub fn new(value: f64) -> Self {
        Self { value: finite(value), ..Self::default() }
    }

    /// Drops numbers that a caller wrote into the fields past the setters and that are not finite.
    pub(crate) fn drop_non_finite(&mut self) {
        for number in [&mut self.value, &mut self.expected, &mut self.score, &mut self.threshold] {
            *number = number.and_then(finite);
        }
        self.band = self.band.filter(|band| band.low.is_finite() && band.high.is_finite());
    }

    /// What was expected.
    #[must_use]
    pub fn expected(mut self, value: f64) -> Self {
        self.expected = finite(value);
        self
    }

    /// The range in which it was expected.
    #[must_use]
    pub fn band(mut self, low: f64, high: f64) -> Self {
        self.band = (low.is_finite() && high.is_finite()).then_some(Band { low, high });
        self
    }

    /// How far out it is.
    #[must_use]
    pub fn score(mut self, score: f64) -> Self {
        self.score = finite(score);
        self
    }

    /// The score from which the rule fires.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = finite(threshold);
        self
    }

    /// The time that the value or its baseline covers.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Unit of value, expected and band.
    #[must_use]
    pub fn unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// Samples behind the expectation.
    #[must_use]
    pub fn n(mut self, n: u64) -> Self {
        self.n = Some(n);
        self
    }

    /// What the detector adds.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Score ÷ threshold, so that unlike detectors compare: 1 is the edge. None while either is
    /// unknown or the threshold is not positive.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let (score, threshold) = (self.score?, self.threshold?);
        (threshold > 0.0).then(|| score / threshold).and_then(finite)
    }

    /// The numbers as one clause: value, expected, score, threshold, window, samples.
    #[must_use]
    pub fn explain(&self) -> String {
        let unit = self.unit.as_deref().map_or(String::new(), |unit| format!(" {}", crate::text::clip(unit, 20)));
        let show = |value: Option<f64>| value.map_or("unknown".to_owned(), |v| format!("{}{unit}", number(v)));
        let mut text = format!("value {}, expected {}", show(self.value), show(self.expected));
        if let Some(band) = self.band {
            text.push_str(&format!(" ({} to {})", number(band.low), number(band.high)));
        }
        let score = self.score.map_or("unknown".to_owned(), number);
        let threshold = self.threshold.map_or("unknown".to_owned(), number);
        text.push_str(&format!(", score {score} against threshold {threshold}"));
        let window = self.window.map_or("unknown".to_owned(), crate::time::human);
        text.push_str(&format!(", window {window}"));
        if let Some(n) = self.n {
            text.push_str(&format!(", {n} samples"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_that_json_cannot_say() {
        let signal = Signal::new(f64::NAN).expected(f64::INFINITY).band(0.0, f64::NAN).score(-f64::INFINITY);
        assert_eq!(signal, Signal::default());
    }

    #[test]
    fn a_foreign_window_does_not_break_the_event() {
        for (text, seconds) in
            [(r#"{"window":300}"#, Some(300)), (r#"{"window":"5m"}"#, Some(300)), (r#"{"window":[1]}"#, None)]
        {
            let signal: Signal = serde_json::from_str(text).unwrap();
            assert_eq!(signal.window.map(|w| w.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn ratio_is_one_at_the_edge() {
        assert_eq!(Signal::new(1.0).score(3.0).threshold(3.0).ratio(), Some(1.0));
        assert_eq!(Signal::new(1.0).score(3.0).threshold(0.0).ratio(), None);
    }
}
