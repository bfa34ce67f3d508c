//! One message in either encoding, read when it is needed and into nothing that is kept.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::wire::{Fields, Malformed, Value};

/// The bytes of a message that was not read yet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Raw<'a> {
    Protobuf(&'a [u8]),
    Json(&'a RawValue),
}

impl<'a> Raw<'a> {
    /// Reads its fields; unknown ones are passed over. Messages within stay unread.
    pub(super) fn read<M: Message<'a>>(self) -> Result<M, Malformed> {
        match self {
            Self::Protobuf(bytes) => {
                let mut message = M::default();
                for field in Fields::of(bytes) {
                    let (number, value) = field?;
                    message.merge(number, value, bytes)?;
                }
                Ok(message)
            }
            // Serde would take a list for the fields in their order.
            Self::Json(text) if text.get().starts_with('{') => serde_json::from_str(text.get()).map_err(|_| Malformed),
            Self::Json(_) => Err(Malformed),
        }
    }
}

/// A message of the schema; made by [`message!`](super::message).
pub(super) trait Message<'a>: Default + Deserialize<'a> {
    /// Takes a field of `whole`; does nothing with a number that it does not know.
    fn merge(&mut self, number: u32, value: Value<'a>, whole: &'a [u8]) -> Result<(), Malformed>;
}

/// What a field of a message may hold. Its `Deserialize` takes `null` for the default.
pub(super) trait Field<'a>: Default {
    /// Takes the value of field `number` of the message `whole`. The last one counts, except where fields repeat.
    fn merge(&mut self, number: u32, value: Value<'a>, whole: &'a [u8]) -> Result<(), Malformed>;
}

/// A field that may be there or not, where that makes a difference.
impl<'a, F: Field<'a>> Field<'a> for Option<F> {
    fn merge(&mut self, number: u32, value: Value<'a>, whole: &'a [u8]) -> Result<(), Malformed> {
        self.get_or_insert_default().merge(number, value, whole)
    }
}

/// A message within another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Nested<'a>(pub(super) Option<Raw<'a>>);

impl<'a> Field<'a> for Nested<'a> {
    fn merge(&mut self, _: u32, value: Value<'a>, _: &'a [u8]) -> Result<(), Malformed> {
        let Value::Bytes(bytes) = value else { return Err(Malformed) };
        self.0 = Some(Raw::Protobuf(bytes));
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Nested<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?;
        Ok(Self((text.get() != "null").then_some(Raw::Json(text))))
    }
}

/// Messages that repeat within another: where to find them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Repeated<'a> {
    #[default]
    None,
    Protobuf {
        number: u32,
        whole: &'a [u8],
    },
    Json(&'a RawValue),
}

impl<'a> Field<'a> for Repeated<'a> {
    fn merge(&mut self, number: u32, value: Value<'a>, whole: &'a [u8]) -> Result<(), Malformed> {
        let Value::Bytes(_) = value else { return Err(Malformed) };
        *self = Self::Protobuf { number, whole };
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Repeated<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?;
        Ok(if text.get() == "null" { Self::None } else { Self::Json(text) })
    }
}

impl<'a> Repeated<'a> {
    /// Goes over the messages. A fault in what stands around them is found where it stands: what came
    /// before it was handed out.
    pub(super) fn for_each(self, mut each: impl FnMut(Raw<'a>) -> Result<(), Malformed>) -> Result<(), Malformed> {
        match self {
            Self::None => Ok(()),
            Self::Protobuf { number, whole } => {
                for field in Fields::of(whole) {
                    match field? {
                        (found, Value::Bytes(bytes)) if found == number => each(Raw::Protobuf(bytes))?,
                        _ => {}
                    }
                }
                Ok(())
            }
            Self::Json(text) => {
                serde_json::Deserializer::from_str(text.get()).deserialize_seq(Elements(each)).map_err(|_| Malformed)
            }
        }
    }
}

struct Elements<F>(F);

impl<'de, F: FnMut(Raw<'de>) -> Result<(), Malformed>> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&RawValue>()? {
            (self.0)(Raw::Json(element)).map_err(|_| serde::de::Error::custom("malformed"))?;
        }
        Ok(())
    }
}
