//! Parameters of a request, read as the original does: never refused for what they are not.

use std::collections::BTreeMap;

use serde_json::Value;

use super::reply::Failure;
use crate::engine::url_encoded;

/// A query's parameters, each with all its values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(BTreeMap<String, Vec<String>>);

/// `filters={"label":["a"]}` or the older `{"label":{"a":true}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Query {
    /// Reads what follows the question mark.
    pub(crate) fn read(query: &str) -> Self {
        let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in pairs(query) {
            read.entry(decoded(key)).or_default().push(decoded(value));
        }
        Self(read)
    }

    /// The first value; empty where there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.all(name).first().map_or("", String::as_str)
    }

    /// All values.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        let value = self.text(name).trim().to_ascii_lowercase();
        !["", "0", "no", "false", "none"].contains(&value.as_str())
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    /// The filters.
    ///
    /// # Errors
    /// [`Failure`], where they are no JSON.
    pub(crate) fn filters(&self) -> Result<Filters, Failure> {
        let text = self.text("filters");
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let read: BTreeMap<String, Value> = serde_json::from_str(text)
            .map_err(|error| Failure::internal(format!("invalid filters: {error}")))?;
        let values = |value: Value| match value {
            Value::Array(list) => {
                list.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
            Value::Object(set) => set.into_iter().map(|(key, _)| key).collect(),
            _ => Vec::new(),
        };
        Ok(Filters(read.into_iter().map(|(name, value)| (name, values(value))).collect()))
    }
}

impl Filters {
    /// The values of a filter; none where it isn't asked for.
    pub(crate) fn get(&self, name: &str) -> Option<&[String]> {
        self.0.get(name).map(Vec::as_slice).filter(|values| !values.is_empty())
    }

    /// Whether a filter is not asked for, or one of its values is to somebody's liking.
    pub(crate) fn admits(&self, name: &str, likes: impl Fn(&str) -> bool) -> bool {
        self.get(name).is_none_or(|values| values.iter().any(|value| likes(value)))
    }

    /// As [`admits`](Self::admits) for a text that is equal, or matches as a regular expression.
    pub(crate) fn matches(&self, name: &str, text: &str) -> bool {
        self.admits(name, |value| {
            value == text || regex::Regex::new(value).is_ok_and(|regex| regex.is_match(text))
        })
    }

    /// Whether all of the labels asked for, with or without a value, are there.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.get("label").is_none_or(|wanted| {
            wanted.iter().all(|wanted| match wanted.split_once('=') {
                Some((key, value)) => labels.get(key).is_some_and(|own| own == value),
                None => labels.contains_key(wanted),
            })
        })
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// A query with another value for one of its parameters; all others stay as they are written.
pub(crate) fn with_value(query: &str, name: &str, value: &str) -> String {
    let others = pairs(query).filter(|(key, _)| decoded(key) != name);
    let mut text: Vec<String> = others.map(|(key, value)| format!("{key}={value}")).collect();
    text.push(format!("{name}={}", url_encoded(value)));
    text.join("&")
}

/// A part of a query with its `%41` and plus signs undone.
pub(crate) fn decoded(text: &str) -> String {
    decoded_path(&text.replace('+', " "))
}

/// A path with its `%41` undone.
pub(crate) fn decoded_path(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                &after[2..]
            }
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        let query = Query::read(
            "all=1&size=False&limit=x&filters=%7B%22label%22%3A%5B%22a%3D1%22%5D%7D&all=0",
        );
        assert!(query.flag("all") && !query.flag("size") && !query.flag("none"));
        assert_eq!(query.number("limit"), 0);
        let filters = query.filters().expect("filters");
        assert!(filters.labels(&[("a".to_owned(), "1".to_owned())].into()));
        assert!(!filters.labels(&[("a".to_owned(), "2".to_owned())].into()));
        assert!(Query::read("filters=x").filters().is_err());
        let old = Query::read("filters={\"name\":{\"we\":true}}").filters().expect("filters");
        assert!(old.matches("name", "web") && !old.matches("name", "db") && old.matches("id", "x"));
        assert_eq!(decoded("a%2Fb+c%zz%%2B"), "a/b c%zz%+");
        assert_eq!(decoded_path("c%2B+/x%20y"), "c++/x y");
        let twice = Query::read("names=a&names=b%3A1&x");
        assert_eq!(twice.all("names"), ["a", "b:1"]);
        assert_eq!(with_value("a=1&c=x+y&b", "c", "0/1"), "a=1&b=&c=0%2F1");
    }
}
