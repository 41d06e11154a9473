//! Durations in labels, as Go writes them (`1h30m`, `90s`, `1.5s`): users know them from Docker's flags.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Labels, OptionError};

/// The duration that a label gives; none where the label is absent.
///
/// # Errors
/// The label's value is no duration, or not within `bounds`.
pub(super) fn duration(
    labels: &Labels,
    name: &str,
    bounds: RangeInclusive<Duration>,
) -> Result<Option<Duration>, OptionError> {
    let Some(value) = labels.get(name) else { return Ok(None) };
    let duration = parse(value).filter(|duration| bounds.contains(duration));
    let expected = || {
        format!(
            "expected a duration from {}s to {}h, such as 30s or 5m",
            bounds.start().as_secs(),
            bounds.end().as_secs() / 3600
        )
    };
    duration.map(Some).ok_or_else(|| OptionError::new(name, value, expected()))
}

/// Reads one; zero included.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut sum, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, after) =
            after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, expect) in [
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1500)),
            ("250ms", Some(250)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("", None),
            ("30", None),
            ("s", None),
            ("-5s", None),
            ("1d", None),
            ("1s2", None),
            ("1..5s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(parse(text), expect.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn tells_what_it_may_be() {
        let labels: Labels = [("swarm.x".to_owned(), "3h".to_owned())].into();
        let bounds = Duration::from_secs(1)..=Duration::from_secs(7200);
        let refused = duration(&labels, "swarm.x", bounds).expect_err("too long");
        assert_eq!(
            refused.to_string(),
            "label swarm.x=\"3h\": expected a duration from 1s to 2h, such as 30s or 5m"
        );
    }
}
