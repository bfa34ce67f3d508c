//! The protobuf wire format, as far as OTLP needs it: fields of a message, borrowed from its bytes.
//!
//! Read by hand, since a generated decoder makes up to a hundred bytes of memory out of each two bytes
//! that a sender wrote, fails the whole request for one bad point, and adds six crates.

/// Bytes or text that are not what the schema says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What stands in a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message in the order of its bytes; ends after the first fault.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn read(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let tag = u32::try_from(varint(&mut self.rest)?).map_err(|_| Malformed)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(fixed(&mut self.rest)?)),
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| Malformed)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(fixed(&mut self.rest)?)),
            // Groups (3 and 4) were never part of OTLP.
            _ => return Err(Malformed),
        };
        match tag >> 3 {
            0 => Err(Malformed),
            number => Ok((number, value)),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A number in base 128, least significant first, of at most ten bytes.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            // The tenth byte has room for one bit.
            return if shift == 63 && byte > 1 { Err(Malformed) } else { Ok(value) };
        }
    }
    Err(Malformed)
}

/// A number of fixed size, least significant byte first.
pub(super) fn fixed<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    *bytes = rest;
    Ok(*number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        Fields::of(bytes).collect()
    }

    #[test]
    fn every_type_of_field_is_read() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let expected =
            [(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Fixed32(1)), (4, Value::Fixed64(2))];
        assert_eq!(fields(&bytes).unwrap(), expected);
    }

    #[test]
    fn what_is_cut_too_long_or_of_no_field_is_malformed() {
        let longest = [&[0x08][..], &[0xff; 9], &[1]].concat();
        assert_eq!(fields(&longest).unwrap(), [(1, Value::Varint(u64::MAX))]);
        let over = [&[0x08][..], &[0xff; 9], &[2]].concat();
        let endless = [&[0x08][..], &[0xff; 11]].concat();
        let huge = [&[0x0a][..], &[0xff; 9], &[1]].concat();
        for bytes in [&over[..], &endless, &huge, &[0x12, 3, 1, 2], &[0x1d, 1], &[0x00, 1], &[0x0b, 0x0c], &[0x80]] {
            assert_eq!(fields(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
