//! Saved state of a scorer inside other saved state.

use serde::{Deserialize, Serialize};

/// As text where it is text, since the bundled scorers save JSON; a third party's may be any bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Nested {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Vec<u8>> for Nested {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Bytes(error.into_bytes()), Self::Text)
    }
}

impl AsRef<[u8]> for Nested {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back() {
        for bytes in [b"{\"v\":1}".to_vec(), vec![0xff, 0x00, 0x80], Vec::new()] {
            let json = serde_json::to_vec(&Nested::from(bytes.clone())).unwrap();
            let back: Nested = serde_json::from_slice(&json).unwrap();
            assert_eq!(back.as_ref(), bytes);
        }
    }
}
