//! The stateless fingerprint of a log line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::mask;
use super::record::masked;
use super::tokens::{Token, tokens, without_repeats};

/// What a line is, whatever its variable parts: the first 16 hex digits of SHA-1 over the masked line.
///
/// No state is behind it: it is the same on every machine, after every restart, in any order of lines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineFingerprint(pub(crate) u64);

/// A text that is no 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line fingerprint is 16 lower-case hex digits")]
pub struct InvalidLineFingerprint;

impl LineFingerprint {
    pub(crate) const MIN: Self = Self(0);
    pub(crate) const MAX: Self = Self(u64::MAX);

    /// The fingerprint of a text that is masked already.
    pub(super) fn of_masked(masked: &str) -> Self {
        let text = aiops_core::Fingerprint::of_raw(masked);
        // 16 hex digits always read.
        Self(u64::from_str_radix(text.as_str(), 16).unwrap_or_default())
    }
}

impl fmt::Display for LineFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for LineFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LineFingerprint({self})")
    }
}

impl FromStr for LineFingerprint {
    type Err = InvalidLineFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hex {
            return Err(InvalidLineFingerprint);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidLineFingerprint)
    }
}

impl Serialize for LineFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LineFingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The masked form of a log record: variable parts are `*`, repetitions are left out (`…`).
///
/// Of several lines the first counts, and of a stack trace its first frame in the application's own code.
/// Masking what is masked changes nothing.
///
/// ```
/// let line = b"took 12.5 ms for user 42 at 10.0.0.7:8080";
/// assert_eq!(aiops_detectors::mask_line(line), "took * for user * at *");
/// ```
#[must_use]
pub fn mask_line(record: &[u8]) -> String {
    let mut out = Vec::new();
    masked(record, &mut out);
    let mut settled = Settled::default();
    settled.settle(&out);
    settled.text
}

/// A masked text in which masking changes nothing any more, and its tokens; reused from line to line.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
    again: Vec<u8>,
}

impl Settled {
    /// Takes a text that is settled already.
    pub(super) fn take(&mut self, settled: &str) {
        self.text.clear();
        self.text.push_str(settled);
        tokens(&self.text, &mut self.tokens);
    }

    /// Masks until nothing changes. Each round that changes anything takes bytes away or makes a star of
    /// one, so it ends.
    pub(super) fn settle(&mut self, masked: &[u8]) {
        set_text(&mut self.text, masked);
        loop {
            tokens(&self.text, &mut self.tokens);
            let next = without_repeats(&self.text, &self.tokens);
            mask::mask(next.as_deref().unwrap_or(&self.text).as_bytes(), &mut self.again);
            if self.again == self.text.as_bytes() {
                return;
            }
            set_text(&mut self.text, &self.again);
        }
    }
}

/// What is no UTF-8 becomes `?`, so that the text grows no longer by it.
fn set_text(text: &mut String, bytes: &[u8]) {
    text.clear();
    if let Ok(valid) = std::str::from_utf8(bytes) {
        return text.push_str(valid);
    }
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
}

/// The fingerprint of a log record, see [`mask_line`].
///
/// ```
/// let one = aiops_detectors::fingerprint_line(b"retry 3 of order 8812");
/// assert_eq!(one, aiops_detectors::fingerprint_line(b"retry 4 of order 90120"));
/// assert_eq!(one.to_string().len(), 16);
/// ```
#[must_use]
pub fn fingerprint_line(record: &[u8]) -> LineFingerprint {
    LineFingerprint::of_masked(&mask_line(record))
}
