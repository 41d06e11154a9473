//! RFC 3339 times with nanoseconds, as Docker writes and reads them.
//!
//! The shim shares this room, so it formats into a caller's buffer and needs neither a heap nor a time library.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Go's zero time, which Docker shows for "never".
pub const ZERO: &str = "0001-01-01T00:00:00Z";

const SECONDS_PER_DAY: u64 = 86_400;

/// The present, in nanoseconds since the epoch.
pub fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The present as Docker writes it.
pub fn now() -> String {
    format(now_nanos())
}

/// Writes a time as `time.RFC3339Nano` does: trailing zeros of the fraction are left out.
pub fn format(nanos: u64) -> String {
    let mut buffer = [0u8; 30];
    let length = format_into(nanos, &mut buffer);
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// As [`format`], into a buffer; returns the length used.
pub fn format_into(nanos: u64, out: &mut [u8; 30]) -> usize {
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (year, month, day) = civil(seconds / SECONDS_PER_DAY);
    let in_day = seconds % SECONDS_PER_DAY;
    put(&mut out[0..4], year);
    out[4] = b'-';
    put(&mut out[5..7], month);
    out[7] = b'-';
    put(&mut out[8..10], day);
    out[10] = b'T';
    put(&mut out[11..13], in_day / 3600);
    out[13] = b':';
    put(&mut out[14..16], in_day / 60 % 60);
    out[16] = b':';
    put(&mut out[17..19], in_day % 60);
    let mut end = 19;
    if fraction != 0 {
        out[19] = b'.';
        put(&mut out[20..29], fraction);
        end = 29;
        while out[end - 1] == b'0' {
            end -= 1;
        }
    }
    out[end] = b'Z';
    end + 1
}

/// Reads an RFC 3339 time; `None` if it is malformed or before the epoch.
pub fn parse(text: &str) -> Option<u64> {
    let parsed =
        time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(parsed.unix_timestamp_nanos()).ok()
}

fn put(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// The civil date of a day since the epoch, in the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59.5Z",
            "2026-11-21T11:13:45.000000001Z",
            "2100-03-01T00:00:00.12Z",
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
        assert_eq!(parse("0001-01-01T00:00:00Z"), None);
    }
}
