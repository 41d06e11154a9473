//! How things are written for people: sizes, times, and names in the order that people expect.

use std::cmp::Ordering;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes, as Docker writes them: four digits that count, steps of 1024.
pub(crate) fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut amount, mut unit) = (bytes as f64, 0);
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let whole_digits = (amount.max(1.0).log10().floor() as usize) + 1;
    let text = format!("{amount:.*}", 4_usize.saturating_sub(whole_digits));
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text} {}", UNITS[unit])
}

/// In UTC, to the second.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

/// In UTC, as Go's plain log begins its lines.
pub(crate) fn log_time(at: SystemTime) -> String {
    rfc3339(at).trim_end_matches('Z').replace('-', "/").replace('T', " ")
}

/// A time as engines write it; none where there is none, as for what never began.
pub(crate) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    (at.year() > 1).then(|| at.into())
}

/// Names with numbers in them in the order of the numbers: `node-2` before `node-10`.
pub(crate) fn natural_order(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let ((first, rest), (second, rest_of_other)) = (part(one), part(other));
        let number = |text: &str| text.parse::<u128>().ok();
        let order = match (number(first), number(second)) {
            (Some(one), Some(other)) => one.cmp(&other),
            (Some(_), None) if !second.is_empty() => Ordering::Less,
            (None, Some(_)) if !first.is_empty() => Ordering::Greater,
            _ => first.cmp(second),
        };
        if order != Ordering::Equal || (rest.is_empty() && rest_of_other.is_empty()) {
            return order;
        }
        (one, other) = (rest, rest_of_other);
    }
}

/// The digits, or the others, that a text begins with.
fn part(text: &str) -> (&str, &str) {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_four_digits() {
        for (bytes, expect) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (20 << 20, "20 MiB"),
            (2_204_200_000, "2.053 GiB"),
            (1536, "1.5 KiB"),
            (12 << 30, "12 GiB"),
        ] {
            assert_eq!(size(bytes), expect);
        }
    }

    #[test]
    fn plain_lines_begin_with_the_time() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_763_779_237);
        assert_eq!(log_time(at), "2025/11/22 02:40:37");
    }

    #[test]
    fn names_are_ordered_by_their_numbers() {
        let mut names = vec!["node-10", "node-2", "", "a", "node-2b", "10", "node"];
        names.sort_by(|one, other| natural_order(one, other));
        assert_eq!(names, ["", "10", "a", "node", "node-2", "node-2b", "node-10"]);
    }
}
