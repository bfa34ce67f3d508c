//! Values of fields, from protobuf and from JSON (OTLP 1.10, "JSON Protobuf Encoding"; proto3's JSON mapping).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use super::raw::Field;
use super::wire::{Malformed, Value, fixed, varint};

/// Buckets of one histogram point: SDKs send 160 a side at the most unless told otherwise.
pub(super) const MAX_BUCKETS: usize = 4_096;

/// A JSON value that is no list and no object.
enum Scalar<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a single value")
            }

            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Unsigned(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Signed(value))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Float(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A value that JSON writes as one scalar; `null` is its default.
trait FromScalar<'a>: Default {
    fn from_scalar(scalar: Scalar<'a>) -> Option<Self>;
}

/// Makes a newtype of `$inner` with its `Deserialize`.
macro_rules! scalar_field {
    ($(#[$doc:meta])* $name:ident $(<$life:lifetime>)?, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub(super) struct $name $(<$life>)? (pub(super) $inner);

        impl<'de $(: $life, $life)?> Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match Scalar::deserialize(deserializer)? {
                    Scalar::Null => Ok(Self::default()),
                    scalar => Self::from_scalar(scalar).ok_or_else(|| D::Error::custom(stringify!($name))),
                }
            }
        }
    };
}

scalar_field!(
    /// `fixed64` or `uint64`; in JSON a number or its text.
    Unsigned, u64
);
scalar_field!(
    /// `sfixed64` or `int64`; in JSON a number or its text.
    Signed, i64
);
scalar_field!(
    /// `sint32`; in JSON a number or its text.
    Zigzag, i32
);
scalar_field!(
    /// `double`; in JSON a number, its text, or `NaN`, `Infinity`, `-Infinity` as text.
    Double, f64
);
scalar_field!(
    /// `bool`.
    Flag, bool
);
scalar_field!(
    /// `string`. Bytes that are no UTF-8 are replaced: half a line is worth more than none.
    Text<'a>, Cow<'a, str>
);
scalar_field!(
    /// An attribute's `bytes` as base64 text, which is what JSON holds.
    Base64<'a>, Cow<'a, str>
);
scalar_field!(
    /// `trace_id` or `span_id`; hex in JSON, against proto3's own mapping.
    Id<'a>, Cow<'a, [u8]>
);
scalar_field!(
    /// An enum: its number, or its name in full, which the standard forbids and some senders write.
    Choice<'a>, Chosen<'a>
);

/// The value of a [`Choice`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Chosen<'a> {
    Number(u64),
    Name(Cow<'a, str>),
}

impl Default for Chosen<'_> {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl Choice<'_> {
    /// The number of the value, where `names` has those from 0 on; none where it is not one of them.
    pub(super) fn among(&self, names: &[&str]) -> Option<usize> {
        match &self.0 {
            Chosen::Number(number) => usize::try_from(*number).ok().filter(|number| *number < names.len()),
            Chosen::Name(name) => names.iter().position(|known| known == name),
        }
    }
}

impl FromScalar<'_> for Unsigned {
    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        let number = match scalar {
            Scalar::Unsigned(number) => Some(number),
            // 1.0 and 1e3 are whole numbers in proto3's JSON; a double has 53 bits of them.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Scalar::Float(number) if number.fract() == 0.0 && (0.0..9e15).contains(&number) => Some(number as u64),
            Scalar::Text(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Self)
    }
}

impl FromScalar<'_> for Signed {
    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        let number = match scalar {
            Scalar::Unsigned(number) => i64::try_from(number).ok(),
            Scalar::Signed(number) => Some(number),
            #[allow(clippy::cast_possible_truncation)]
            Scalar::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(number as i64),
            Scalar::Text(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Self)
    }
}

impl FromScalar<'_> for Zigzag {
    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        Signed::from_scalar(scalar).and_then(|number| i32::try_from(number.0).ok()).map(Self)
    }
}

impl FromScalar<'_> for Double {
    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        let number = match scalar {
            Scalar::Unsigned(number) => Some(number as f64),
            Scalar::Signed(number) => Some(number as f64),
            Scalar::Float(number) => Some(number),
            // Rust reads "Infinity" and "NaN" as they are.
            Scalar::Text(text) => text.parse().ok(),
            _ => None,
        };
        number.map(Self)
    }
}

impl FromScalar<'_> for Flag {
    fn from_scalar(scalar: Scalar<'_>) -> Option<Self> {
        if let Scalar::Bool(value) = scalar { Some(Self(value)) } else { None }
    }
}

impl<'a> FromScalar<'a> for Text<'a> {
    fn from_scalar(scalar: Scalar<'a>) -> Option<Self> {
        if let Scalar::Text(text) = scalar { Some(Self(text)) } else { None }
    }
}

impl<'a> FromScalar<'a> for Base64<'a> {
    fn from_scalar(scalar: Scalar<'a>) -> Option<Self> {
        Text::from_scalar(scalar).map(|text| Self(text.0))
    }
}

impl<'a> FromScalar<'a> for Id<'a> {
    fn from_scalar(scalar: Scalar<'a>) -> Option<Self> {
        let Scalar::Text(text) = scalar else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = text.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| match *pair {
                [high, low] => Some(digit(high)? << 4 | digit(low)?),
                _ => None,
            })
            .collect();
        bytes.map(|bytes| Self(bytes.into()))
    }
}

impl<'a> FromScalar<'a> for Choice<'a> {
    fn from_scalar(scalar: Scalar<'a>) -> Option<Self> {
        match scalar {
            Scalar::Text(text) if !text.starts_with(|c: char| c.is_ascii_digit()) => Some(Self(Chosen::Name(text))),
            scalar => Unsigned::from_scalar(scalar).map(|number| Self(Chosen::Number(number.0))),
        }
    }
}

/// `Field` of a type by one pattern of wire values.
macro_rules! wire_field {
    ($name:ident $(<$life:lifetime>)?, $($pattern:pat => $value:expr),+) => {
        impl<'a> Field<'a> for $name $(<$life>)? {
            fn merge(&mut self, _: u32, value: Value<'a>, _: &'a [u8]) -> Result<(), Malformed> {
                self.0 = match value {
                    $($pattern => $value,)+
                    _ => return Err(Malformed),
                };
                Ok(())
            }
        }
    };
}

wire_field!(Unsigned, Value::Fixed64(bits) | Value::Varint(bits) => bits);
wire_field!(Signed, Value::Fixed64(bits) | Value::Varint(bits) => bits.cast_signed());
wire_field!(Double, Value::Fixed64(bits) => f64::from_bits(bits));
wire_field!(Flag, Value::Varint(bits) => bits != 0);
wire_field!(Text<'a>, Value::Bytes(bytes) => String::from_utf8_lossy(bytes));
wire_field!(Base64<'a>, Value::Bytes(bytes) => base64(bytes).into());
wire_field!(Id<'a>, Value::Bytes(bytes) => bytes.into());
wire_field!(Choice<'a>, Value::Varint(number) => Chosen::Number(number));
#[allow(clippy::cast_possible_truncation)] // proto3 takes the low 32 bits
impl<'a> Field<'a> for Zigzag {
    fn merge(&mut self, _: u32, value: Value<'a>, _: &'a [u8]) -> Result<(), Malformed> {
        let Value::Varint(bits) = value else { return Err(Malformed) };
        self.0 = ((bits as u32) >> 1).cast_signed() ^ -((bits as u32) & 1).cast_signed();
        Ok(())
    }
}

/// Numbers that repeat, packed or each with its own tag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers<T>(pub(super) Vec<T>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Numbers<T> {
    fn push(&mut self, number: T) -> Result<(), Malformed> {
        if self.0.len() >= MAX_BUCKETS {
            return Err(Malformed);
        }
        self.0.push(number);
        Ok(())
    }

    /// Takes a value, or each of those that are packed into one.
    fn unpack<'a>(
        &mut self,
        value: Value<'a>,
        next: impl Fn(&mut &'a [u8]) -> Result<Value<'a>, Malformed>,
        number: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<(), Malformed> {
        let Value::Bytes(mut packed) = value else { return self.push(number(value).ok_or(Malformed)?) };
        // Fixed numbers take eight bytes, others one or more.
        self.0.reserve((packed.len() / 8).min(MAX_BUCKETS));
        while !packed.is_empty() {
            let value = next(&mut packed)?;
            self.push(number(value).ok_or(Malformed)?)?;
        }
        Ok(())
    }
}

fn next_fixed<'a>(packed: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    fixed(packed).map(|bytes| Value::Fixed64(u64::from_le_bytes(bytes)))
}

fn next_varint<'a>(packed: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    varint(packed).map(Value::Varint)
}

impl<'a> Field<'a> for Numbers<f64> {
    fn merge(&mut self, _: u32, value: Value<'a>, _: &'a [u8]) -> Result<(), Malformed> {
        self.unpack(value, next_fixed, |value| match value {
            Value::Fixed64(bits) => Some(f64::from_bits(bits)),
            _ => None,
        })
    }
}

/// `repeated fixed64`.
impl<'a> Field<'a> for Numbers<u64> {
    fn merge(&mut self, _: u32, value: Value<'a>, _: &'a [u8]) -> Result<(), Malformed> {
        self.unpack(value, next_fixed, |value| match value {
            Value::Fixed64(bits) => Some(bits),
            _ => None,
        })
    }
}

/// `repeated uint64`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Varints(pub(super) Numbers<u64>);

impl<'a> Field<'a> for Varints {
    fn merge(&mut self, _: u32, value: Value<'a>, _: &'a [u8]) -> Result<(), Malformed> {
        self.0.unpack(value, next_varint, |value| match value {
            Value::Varint(number) => Some(number),
            _ => None,
        })
    }
}

impl<'de> Deserialize<'de> for Varints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Numbers::deserialize(deserializer).map(Self)
    }
}

/// How one number of a list is written in JSON.
trait FromJson: Sized {
    type Written: for<'de> Deserialize<'de>;
    fn from_json(written: Self::Written) -> Self;
}

impl FromJson for f64 {
    type Written = Double;
    fn from_json(written: Double) -> Self {
        written.0
    }
}

impl FromJson for u64 {
    type Written = Unsigned;
    fn from_json(written: Unsigned) -> Self {
        written.0
    }
}

impl<'de, T: FromJson> Deserialize<'de> for Numbers<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(Numbers<T>);
        impl<'de, T: FromJson> Visitor<'de> for List<T> {
            type Value = Numbers<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers")
            }

            fn visit_unit<E: Error>(self) -> Result<Numbers<T>, E> {
                Ok(self.0)
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Numbers<T>, A::Error> {
                while let Some(written) = seq.next_element()? {
                    self.0.push(T::from_json(written)).map_err(|_| A::Error::custom("too many numbers"))?;
                }
                Ok(self.0)
            }
        }
        deserializer.deserialize_any(List(Self::default()))
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}
