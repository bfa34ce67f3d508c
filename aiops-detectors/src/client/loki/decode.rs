//! Entries of Loki's log streams.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};

use crate::source::Labels;

/// `data` of a log query.
#[derive(Debug, Deserialize)]
pub(super) struct StreamData {
    #[serde(rename = "resultType")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "nothing_is_empty")]
    pub(super) result: Vec<LogStream>,
}

/// Entries with the same labels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct LogStream {
    /// Labels of the stream.
    #[serde(rename = "stream", default)]
    pub labels: Labels,
    /// Time and text of each entry, in the order that was asked for.
    #[serde(rename = "values", default, deserialize_with = "entries")]
    pub entries: Vec<(Timestamp, String)>,
}

fn nothing_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LogStream>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Timestamp, String)>, D::Error> {
    let entries: Option<Vec<Entry>> = Option::deserialize(deserializer)?;
    Ok(entries.unwrap_or_default().into_iter().map(|entry| (entry.0, entry.1)).collect())
}

/// `["1569266497240578000", "foo"]`: nanoseconds as text, the line, and with some servers more.
struct Entry(Timestamp, String);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in nanoseconds and a line")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entry, A::Error> {
                let short = |length| A::Error::invalid_length(length, &"a time and a line");
                let text: String = seq.next_element()?.ok_or_else(|| short(0))?;
                let at = text.parse().ok().and_then(|nanos: i128| Timestamp::from_nanosecond(nanos).ok());
                let at = at.ok_or_else(|| A::Error::custom("a time is none in nanoseconds"))?;
                let line = seq.next_element()?.ok_or_else(|| short(1))?;
                // Structured metadata, where labels are categorised.
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entry(at, line))
            }
        }
        deserializer.deserialize_seq(Parts)
    }
}
