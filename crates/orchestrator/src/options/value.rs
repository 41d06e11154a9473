//! Values of labels: switches, counts and lengths of time, read alike for all features.

use std::time::Duration;

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
    value(labels, name, "it is a length of time, such as 90s, 1m30s or 250ms", parse_duration)
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

fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at(number_end);
        let unit_end = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(60 * 60),
            _ => return None,
        };
        total = total.checked_add(unit.checked_mul(number.parse().ok()?)?)?;
        rest = behind;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_gos() {
        for (text, millis) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("250ms", Some(250)),
            ("10s", Some(10_000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1 s", None),
            ("1d", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse_duration(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }
}
