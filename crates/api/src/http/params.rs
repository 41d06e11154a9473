//! Query parameters, read as leniently as Docker reads them.
//!
//! Mirrors moby's `httputils` form helpers.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use super::filters::Filters;
use crate::error::ApiError;

/// The query parameters of one request, in their order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| ApiError::invalid(format!("invalid query: {error}")))
    }
}

impl Params {
    /// The first value of a key, empty if it is absent.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str())
    }

    /// The first value of a key, if it is present and not empty.
    pub(crate) fn optional(&self, key: &str) -> Option<String> {
        Some(self.get(key).to_owned()).filter(|value| !value.is_empty())
    }

    /// Every value of a key.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect()
    }

    /// Docker's lenient boolean: everything but nothing, 0, no, false and none is true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        !matches!(self.get(key).trim().to_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// The lenient boolean with a default for an absent key.
    pub(crate) fn flag_or(&self, key: &str, default: bool) -> bool {
        if self.0.iter().any(|(k, _)| k == key) { self.flag(key) } else { default }
    }

    /// Docker's strict boolean, used where a wrong guess would hurt.
    pub(crate) fn strict_flag(&self, key: &str) -> Result<bool, ApiError> {
        match self.get(key) {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            other => Err(ApiError::invalid(format!("invalid value for {key}: {other}"))),
        }
    }

    /// The object version that an update is based on.
    pub(crate) fn version(&self, object: &str) -> Result<u64, ApiError> {
        let raw = self.get("version");
        raw.parse().map_err(|_| {
            ApiError::invalid(format!(
                "invalid {object} version '{raw}': strconv.ParseUint: parsing {raw:?}: invalid syntax"
            ))
        })
    }

    /// A number, if the key is present; what is no number is refused.
    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, ApiError> {
        match self.get(key) {
            "" => Ok(None),
            raw => raw.parse().map(Some).map_err(|_| {
                ApiError::invalid(format!("invalid value for {key}: {raw:?} is not a number"))
            }),
        }
    }

    /// The `filters` parameter; keys that are not accepted are refused.
    pub(crate) fn filters(&self, accepted: &[&str]) -> Result<Filters, ApiError> {
        let filters = Filters::parse(self.get("filters"))?;
        filters.validate(accepted)?;
        Ok(filters)
    }
}

#[cfg(test)]
impl Params {
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans() {
        for (text, lenient, strict) in [
            ("", false, Some(false)),
            ("0", false, Some(false)),
            ("1", true, Some(true)),
            ("true", true, Some(true)),
            ("False", false, Some(false)),
            ("none", false, None),
            ("yes", true, None),
        ] {
            let params = Params::of(&[("x", text)]);
            assert_eq!(params.flag("x"), lenient, "{text:?}");
            assert_eq!(params.strict_flag("x").ok(), strict, "{text:?}");
        }
        assert!(Params::default().flag_or("x", true));
    }

    #[test]
    fn versions() {
        assert_eq!(Params::of(&[("version", "17")]).version("node"), Ok(17));
        for bad in ["", "-1", "x", "1.5"] {
            let error = Params::of(&[("version", bad)]).version("node").expect_err(bad);
            assert!(
                error.message.starts_with(&format!("invalid node version '{bad}'")),
                "{}",
                error.message
            );
        }
    }
}
