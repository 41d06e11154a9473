//! The `filters` query parameter, in both of its JSON forms.
//!
//! `{"name":["a","b"]}` is what the API documents; `{"name":{"a":true}}` is what old and many present clients send.
//! Mirrors moby's `filters.Args`.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::error::ApiError;

/// Filter values by key, each in order and once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads the parameter; an absent one filters nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let invalid = || ApiError::invalid("invalid filter");
        let Ok(Value::Object(object)) = serde_json::from_str(text) else {
            return Err(invalid());
        };
        let mut map = BTreeMap::new();
        for (key, value) in object {
            map.insert(key, values_of(value).ok_or_else(invalid)?);
        }
        Ok(Self(map))
    }

    /// Refuses keys that the endpoint does not know.
    pub(crate) fn validate(&self, accepted: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|key| !accepted.contains(&key.as_str())) {
            Some(key) => Err(ApiError::invalid(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// The values of a key, none if it is absent.
    pub fn get(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// The values of a key, owned.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.get(key).to_vec()
    }

    /// The `key=value` pairs of a key such as `label`; a pair without `=` has an empty value.
    pub(crate) fn pairs(&self, key: &str) -> HashMap<String, String> {
        let split = |text: &String| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (text.clone(), String::new()),
        };
        self.get(key).iter().map(split).collect()
    }

    /// Whether a key is absent, or one of its values equals the given one.
    pub(crate) fn allows(&self, key: &str, value: &str) -> bool {
        let values = self.get(key);
        values.is_empty() || values.iter().any(|v| v == value)
    }

    /// All keys with their values, as clients and the engine's own filters take them.
    pub fn to_map(&self) -> HashMap<String, Vec<String>> {
        self.0.iter().map(|(key, values)| (key.clone(), values.clone())).collect()
    }
}

fn values_of(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, on)| *on != Value::Bool(false))
            .map(|(key, on)| on.is_boolean().then_some(key))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_and_bad_input() {
        let check = |text: &str, expected: Result<&[&str], &str>| {
            let got = Filters::parse(text)
                .and_then(|f| f.validate(&["name", "label"]).map(|()| f.list("name")));
            let expected = expected
                .map(|v| v.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
                .map_err(ApiError::invalid);
            assert_eq!(got, expected, "{text}");
        };
        check("", Ok(&[]));
        check("{}", Ok(&[]));
        check(r#"{"name":["a","b"]}"#, Ok(&["a", "b"]));
        check(r#"{"name":{"a":true,"b":false}}"#, Ok(&["a"]));
        check(r#"{"foo":["a"]}"#, Err("invalid filter 'foo'"));
        check("[]", Err("invalid filter"));
        check("{", Err("invalid filter"));
        check(r#"{"name":"a"}"#, Err("invalid filter"));
        check(r#"{"name":[1]}"#, Err("invalid filter"));
        check(r#"{"name":{"a":"x"}}"#, Err("invalid filter"));
    }
}
