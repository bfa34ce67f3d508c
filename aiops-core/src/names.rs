//! Newtypes for the names and numbers that cross a layer.

use std::borrow::Borrow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    };
}

text_newtype! {
    /// The service that an event is about. Empty means that the event names none: such an event
    /// matches no deploy, no maintenance window and no graph edge.
    ServiceName
}

text_newtype! {
    /// One event, unique. Ours are UUIDv7 text; a foreign one is kept as it came.
    EventId
}

text_newtype! {
    /// One continuous anomaly of one identity: `ep-` and 16 hex digits, equal on every replica that
    /// saw the same data.
    EpisodeId
}

text_newtype! {
    /// One outage, which may hold several episodes: `inc-` and 16 hex digits. Every channel uses it
    /// as its own dedup key.
    IncidentId
}

impl ServiceName {
    /// Whether the event names no service.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl EventId {
    /// A UUIDv7 from a time and 10 random bytes: both are arguments, so a run can be repeated.
    ///
    /// ```
    /// let id = aiops_core::EventId::v7(jiff::Timestamp::UNIX_EPOCH, [7; 10]);
    /// assert_eq!(id.as_str().len(), 36);
    /// assert_eq!(&id.as_str()[14..15], "7");
    /// ```
    #[must_use]
    pub fn v7(at: jiff::Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string())
    }

    /// A UUIDv7 whose random part is the SHA-1 of a text: equal on every replica that derives it.
    #[must_use]
    pub fn derived(at: jiff::Timestamp, from: &str) -> Self {
        let mut random = [0; 10];
        random.copy_from_slice(&<sha1::Sha1 as sha1::Digest>::digest(from.as_bytes())[..10]);
        Self::v7(at, random)
    }

    /// A UUIDv7 whose random part comes from the operating system.
    #[must_use]
    pub fn random(at: jiff::Timestamp) -> Self {
        let seed = uuid::Uuid::now_v7();
        let mut random = [0; 10];
        random.copy_from_slice(&seed.as_bytes()[6..]);
        Self::v7(at, random)
    }
}

/// The name of a catalogue entry: `^[a-z][a-z0-9_]{0,63}$`.
///
/// A report carries plain strings, since a model wrote them; only a catalogue makes an
/// `ActionName`. The comparison is byte for byte: no trimming, no case folding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct ActionName(String);

impl ActionName {
    /// Checks the name.
    ///
    /// # Errors
    /// A name that is empty, longer than 64 bytes, or holds anything but `a-z`, `0-9` and `_`.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidActionName> {
        let name = name.into();
        let bytes = name.as_bytes();
        let ok = bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.len() <= 64
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
        if ok { Ok(Self(name)) } else { Err(InvalidActionName(crate::text::clip(&name, 80))) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for ActionName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ActionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ActionName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A name that no catalogue entry may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid action name {0:?}: a lower-case letter, then up to 63 of a-z, 0-9 and _")]
pub struct InvalidActionName(String);

/// A routing signal in `0..=1`, never a truth signal (field report, pitfall 4).
///
/// Values outside the range, NaN, text and null are refused, never clamped.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Confidence(#[schemars(range(min = 0.0, max = 1.0))] f64);

impl Confidence {
    /// No confidence at all: what a fallback reports.
    pub const ZERO: Self = Self(0.0);

    /// Checks the range.
    ///
    /// # Errors
    /// NaN, an infinity, or a value outside `0..=1`.
    pub fn new(value: f64) -> Result<Self, InvalidConfidence> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(InvalidConfidence(value)) }
    }

    /// The value.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Confidence {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A number that is not a confidence.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("confidence {0} is not between 0 and 1")]
pub struct InvalidConfidence(f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidence_is_refused_not_clamped() {
        for text in ["1.5", "-0.1", "\"0.9\"", "true", "null", "NaN", "1e400"] {
            assert!(serde_json::from_str::<Confidence>(text).is_err(), "{text}");
        }
        for text in ["0", "1", "0.7", "1.0"] {
            assert!(serde_json::from_str::<Confidence>(text).is_ok(), "{text}");
        }
        assert!(Confidence::new(f64::NAN).is_err());
    }

    #[test]
    fn action_names_are_strict() {
        assert!(ActionName::new("restart_pod").is_ok());
        for name in ["", "Restart_pod", "restart-pod", " restart_pod", "_x", "1x", "restart\u{200b}_pod", "rеstart"] {
            assert!(ActionName::new(name).is_err(), "{name:?}");
        }
        assert!(ActionName::new("a".repeat(64)).is_ok());
        assert!(ActionName::new("a".repeat(65)).is_err());
    }
}
