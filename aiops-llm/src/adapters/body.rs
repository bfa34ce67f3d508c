//! The body of a request, its keys in the order in which they were set.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// Keys and their JSON. A schema's text goes out byte for byte, which a `Value` would sort.
#[derive(Default)]
pub(super) struct Body(Vec<(String, Box<RawValue>)>);

impl Body {
    /// Sets a key, in place of an earlier value.
    pub(super) fn set(&mut self, key: &str, value: impl Serialize) -> Result<(), serde_json::Error> {
        let value = to_raw_value(&value)?;
        match self.0.iter_mut().find(|(there, _)| there == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text, with `extra` keys after ours or in their place.
    pub(super) fn text(mut self, extra: &Map<String, Value>) -> Result<String, serde_json::Error> {
        for (key, value) in extra {
            self.set(key, value)?;
        }
        serde_json::to_string(&self)
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_keep_their_order_and_extra_ones_win() {
        let mut body = Body::default();
        let schema: &RawValue = serde_json::from_str(r#"{"z":1,  "a":2}"#).unwrap();
        body.set("model", "m").unwrap();
        body.set("format", schema).unwrap();
        body.set("max", 1).unwrap();
        let Value::Object(extra) = json!({"max": 2, "seed": 7}) else { unreachable!() };
        assert_eq!(body.text(&extra).unwrap(), r#"{"model":"m","format":{"z":1,  "a":2},"max":2,"seed":7}"#);
    }
}
