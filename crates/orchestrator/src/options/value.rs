//! Values of labels: switches, counts and lengths of time, read alike for all features.

use std::time::Duration;

use super::duration::parse;
use super::{Labels, OptionError};

/// A label that switches something on or off; off where it is not given.
pub(crate) fn switch(labels: &Labels, name: &str) -> Result<bool, OptionError> {
    let problem = "it is either \"true\" or \"false\"";
    let read = |text: &str| match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    };
    Ok(value(labels, name, problem, read)?.unwrap_or_default())
}

/// A number of 1 or more.
pub(crate) fn count(labels: &Labels, name: &str) -> Result<Option<usize>, OptionError> {
    let read = |text: &str| text.parse().ok().filter(|count| *count > 0);
    value(labels, name, "it is a number of 1 or more", read)
}

/// A length of time as Go writes it: `90s`, `1m30s`, `250ms`; zero included.
pub(crate) fn duration(labels: &Labels, name: &str) -> Result<Option<Duration>, OptionError> {
    value(labels, name, "it is a length of time, such as 90s, 1m30s or 250ms", parse)
}

/// A label's value as `read` takes it, or the problem with it.
pub(crate) fn value<T>(
    labels: &Labels,
    name: &str,
    problem: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, OptionError> {
    let Some(text) = labels.get(name) else { return Ok(None) };
    read(text).map(Some).ok_or_else(|| refused(name, text, problem))
}

/// The error for a label.
pub(crate) fn refused(name: &str, value: &str, problem: &str) -> OptionError {
    OptionError { name: name.to_owned(), value: value.to_owned(), problem: problem.to_owned() }
}
