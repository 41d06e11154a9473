//! Durations as Go reads them: `1m30s`, `500ms`.

use std::time::Duration;

use thiserror::Error;

/// Not a duration, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum DurationError {
    #[error("time: invalid duration {0}")]
    Invalid(String),
    #[error("time: missing unit in duration {0}")]
    NoUnit(String),
    #[error("time: unknown unit {0} in duration {1}")]
    Unit(String, String),
}

/// Units, in nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];
/// What Go's 64 bits of nanoseconds hold.
const NANOSECONDS_MAX: f64 = 9_223_372_036_854_775_807.0;

/// A span that may be negative, for whoever refuses those in words of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) is_negative: bool,
    pub(crate) length: Duration,
}

impl Span {
    /// As Go's `time.ParseDuration`.
    pub(crate) fn parse(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (is_negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Ok(Self { is_negative: false, length: Duration::ZERO });
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total = 0.0;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(end);
            let number: f64 = number.parse().map_err(|_| invalid())?;
            let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            if unit.is_empty() {
                return Err(DurationError::NoUnit(text.to_owned()));
            }
            let known = UNITS.iter().find(|(name, _)| *name == unit);
            let (_, nanoseconds) =
                known.ok_or_else(|| DurationError::Unit(unit.to_owned(), text.to_owned()))?;
            total += number * nanoseconds;
            rest = after;
        }
        if total > NANOSECONDS_MAX {
            return Err(invalid());
        }
        let length = Duration::from_nanos(total as u64);
        Ok(Self { is_negative: is_negative && !length.is_zero(), length })
    }

    /// The length, where it is more than nothing.
    pub(crate) fn positive(self) -> Option<Duration> {
        (!self.is_negative && !self.length.is_zero()).then_some(self.length)
    }
}

/// As Go prints it.
pub(crate) fn shown(length: Duration) -> String {
    let seconds = length.as_secs();
    if seconds == 0 {
        return format!("{length:?}");
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = Duration::new(seconds % 60, length.subsec_nanos()).as_secs_f64();
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_by_go() {
        for (text, expect) in [
            ("60s", "1m0s"),
            ("90m", "1h30m0s"),
            ("2500ms", "2.5s"),
            ("500ms", "500ms"),
            ("10s", "10s"),
        ] {
            assert_eq!(shown(Span::parse(text).expect("a span").length), expect);
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [
            ("60s", 60_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("2500us", 2),
            ("0", 0),
            ("0s", 0),
        ] {
            let length = Span::parse(text).expect("a span").length;
            assert_eq!(length.as_millis(), millis, "{text}");
        }
        for (text, expect) in [
            ("", "time: invalid duration "),
            ("asdf", "time: invalid duration asdf"),
            ("10", "time: missing unit in duration 10"),
            ("10x", "time: unknown unit x in duration 10x"),
            ("1..2s", "time: invalid duration 1..2s"),
            ("9999999999h", "time: invalid duration 9999999999h"),
        ] {
            assert_eq!(Span::parse(text).expect_err("refused").to_string(), expect);
        }
        let negative = Span::parse("-10s").expect("a span");
        assert!(negative.is_negative && negative.positive().is_none());
    }
}
