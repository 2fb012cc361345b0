//! The fields of one JSON object, taken one by one by name. A field that remains at the end is unknown.
//! An unknown or repeated field, a wrong type or an oversized value is refused, and the field is named.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::api::error::ApiError;
use crate::types::secret::SecretText;

/// The expected form of a body, for messages. No call has nested objects or lists.
const EXPECTED_BODY: &str = "one flat JSON object";

/// The most fields of one object.
const MAX_FIELDS: usize = 32;

/// The fields of a request body.
#[derive(Default)]
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Parses one JSON object; repeated names are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let fields = deserializer
            .deserialize_map(Object)
            .map_err(|error| ApiError::MalformedBody(plain(&error)))?;
        deserializer
            .end()
            .map_err(|error| ApiError::MalformedBody(plain(&error)))?;
        Ok(fields)
    }

    /// A text that must be there, at most `max` bytes.
    pub fn text(&mut self, name: &'static str, max: usize) -> Result<String, ApiError> {
        self.optional_text(name, max)?
            .ok_or(ApiError::MissingField(name))
    }

    /// A text that may be missing or `null`, at most `max` bytes.
    pub fn optional_text(
        &mut self,
        name: &'static str,
        max: usize,
    ) -> Result<Option<String>, ApiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.len() <= max => Ok(Some(text)),
            Some(Value::String(_)) => Err(ApiError::InvalidField {
                field: name,
                detail: format!("at most {max} bytes"),
            }),
            Some(_) => Err(ApiError::InvalidField {
                field: name,
                detail: "must be text".to_owned(),
            }),
        }
    }

    /// A secret text that must be there.
    pub fn secret(&mut self, name: &'static str, max: usize) -> Result<SecretText, ApiError> {
        self.text(name, max).map(SecretText::new)
    }

    /// `true` or `false`; `false` when missing.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, ApiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(ApiError::InvalidField {
                field: name,
                detail: "must be true or false".to_owned(),
            }),
        }
    }

    /// Refuses fields that were not taken.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::UnknownField(name.chars().take(64).collect())),
        }
    }
}

impl fmt::Debug for Fields {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The parser's message without the position, which is of no use to a person.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or_default();
    // The parser's message quotes the invalid value, which may be a password.
    match error.classify() {
        serde_json::error::Category::Data => EXPECTED_BODY.to_owned() + " is expected",
        _ => words.to_owned(),
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.len() >= MAX_FIELDS {
                return Err(A::Error::custom("too many fields"));
            }
            let value = map.next_value_seed(Flat)?;
            if fields.insert(name, value).is_some() {
                return Err(A::Error::custom("repeated field"));
            }
        }
        Ok(Fields(fields))
    }
}

/// A value that is neither a list nor an object.
struct Flat;

impl<'de> DeserializeSeed<'de> for Flat {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Flat {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false or null")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(body: &str) -> String {
        match Fields::parse(body.as_bytes()) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn only_one_flat_object_without_repeats_is_read() {
        assert_eq!(refusal(r#"{"a":"b","c":null,"d":1,"e":true}"#), "accepted");
        for bad in [
            "",
            "[]",
            "null",
            "\"a\"",
            "{",
            "{}{}",
            "{} x",
            r#"{"a":{}}"#,
            r#"{"a":[]}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":"\ud800"}"#,
            "\u{feff}{}",
            "{'a':1}",
            "{\"a\":1,}",
        ] {
            assert!(
                refusal(bad).starts_with("malformed body: "),
                "{bad:?}: {}",
                refusal(bad)
            );
        }
    }

    #[test]
    fn a_refused_body_is_not_quoted_back() {
        let said = refusal(r#"{"password":["hunter2"]}"#);
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_field_is_named_when_it_is_wrong() {
        let mut fields = Fields::parse(br#"{"name":5,"long":"xxxx","extra":1}"#).unwrap();
        let said = |error: ApiError| error.to_string();
        assert_eq!(
            said(fields.text("gone", 9).unwrap_err()),
            "missing field gone"
        );
        assert_eq!(
            said(fields.text("name", 9).unwrap_err()),
            "field name: must be text"
        );
        assert_eq!(
            said(fields.text("long", 3).unwrap_err()),
            "field long: at most 3 bytes"
        );
        assert_eq!(said(fields.finish().unwrap_err()), "unknown field extra");
    }

    proptest! {
        #[test]
        fn any_body_parses_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(Fields::parse(&bytes));
        }
    }
}
