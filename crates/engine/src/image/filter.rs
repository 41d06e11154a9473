//! Filters of the API's list and prune calls, as far as images and volumes share them.
//!
//! Mirrors moby's `filters.Args` and Go's `path.Match`.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::timestamp;

/// Filters as the API has them: values by key.
pub type Filters = HashMap<String, Vec<String>>;

/// Refuses filters that the call does not know, in Docker's words.
pub(crate) fn check_keys(filters: &Filters, known: &[&str]) -> Result<()> {
    match filters.keys().filter(|key| !known.contains(&key.as_str())).min() {
        Some(key) => Err(Error::invalid(format!("invalid filter '{key}'"))),
        None => Ok(()),
    }
}

pub(crate) fn values<'a>(filters: &'a Filters, key: &str) -> &'a [String] {
    filters.get(key).map_or(&[], Vec::as_slice)
}

pub(crate) fn boolean(filters: &Filters, key: &str) -> Result<Option<bool>> {
    let parsed = values(filters, key).iter().map(|value| match value.as_str() {
        "1" | "t" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "false" | "False" | "FALSE" => Ok(false),
        other => Err(Error::invalid(format!("invalid filter '{key}={other}'"))),
    });
    let parsed = parsed.collect::<Result<Vec<bool>>>()?;
    match (parsed.contains(&true), parsed.contains(&false)) {
        (true, true) => Err(Error::invalid(format!("invalid filter '{key}'"))),
        (false, false) => Ok(None),
        (only_true, _) => Ok(Some(only_true)),
    }
}

/// `key` or `key=value`.
pub(crate) fn has_label(labels: &HashMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|got| got == value),
        None => labels.contains_key(wanted),
    }
}

/// A moment: RFC 3339, seconds since the epoch, or how long ago as a Go duration (`10m`, `1h30m`).
pub(crate) fn until(text: &str) -> Result<u64> {
    const SECOND: u64 = 1_000_000_000;
    let parsed = timestamp::parse(text)
        .or_else(|| text.parse::<u64>().ok()?.checked_mul(SECOND))
        .or_else(|| timestamp::now_nanos().checked_sub(ago(text)?));
    parsed.ok_or_else(|| {
        Error::invalid(format!("invalid value for 'until' filter: \"{text}\" is not a time"))
    })
}

fn ago(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let unit = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Go's `path.Match`: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]` are classes, a backslash quotes.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'*', rest)), _) => {
            let reach = text.iter().position(|b| *b == b'/').unwrap_or(text.len());
            (0..=reach).any(|skip| glob(rest, &text[skip..]))
        }
        (Some(_), None) => false,
        (Some((b'?', rest)), Some((c, after))) => *c != b'/' && glob(rest, after),
        (Some((b'[', rest)), Some((c, after))) => {
            class(rest, *c).is_some_and(|(hit, rest)| hit && glob(rest, after))
        }
        (Some((b'\\', rest)), Some((c, after))) => {
            rest.first() == Some(c) && glob(&rest[1..], after)
        }
        (Some((p, rest)), Some((c, after))) => p == c && glob(rest, after),
    }
}

/// Whether the class at the start of `pattern` has `c`, and what follows it; `None` if it never ends.
fn class(pattern: &[u8], c: u8) -> Option<(bool, &[u8])> {
    let negated = pattern.first() == Some(&b'^');
    let mut rest = if negated { &pattern[1..] } else { pattern };
    let mut hit = false;
    loop {
        match rest {
            [b']', after @ ..] => return Some((hit != negated, after)),
            [low, b'-', high, after @ ..] if *high != b']' => {
                hit |= (*low..=*high).contains(&c);
                rest = after;
            }
            [one, after @ ..] => {
                hit |= *one == c;
                rest = after;
            }
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expect) in [
            ("alpine", "alpine", true),
            ("alp*", "alpine:3", true),
            ("*", "user/app", false),
            ("*/*", "user/app", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[a", "a", false),
            (r"a\*", "a*", true),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} {text}");
        }
    }

    #[test]
    fn durations_are_gos() {
        assert_eq!(ago("1h30m"), Some(5_400_000_000_000));
        assert_eq!(ago("10"), None);
        assert_eq!(ago(""), None);
        assert!(until("yesterday").is_err());
    }
}
