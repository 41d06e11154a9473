//! Times, durations, versions and drivers: the vocabulary of all the other conversions.

use prost_types::{Duration, Timestamp};
use swarm_proto::v1;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::wire;

/// What Go prints for a time that was never set.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";
const NANOS: i64 = 1_000_000_000;

/// The fields that every object of the store shares, as JSON has them.
pub(crate) struct MetaJson {
    pub(crate) version: wire::Version,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
}

pub(crate) fn meta(meta: Option<&v1::Meta>) -> MetaJson {
    let version = meta.and_then(|m| m.version.as_ref());
    MetaJson {
        version: version_json(version),
        created_at: time_json(meta.and_then(|m| m.created_at.as_ref())),
        updated_at: time_json(meta.and_then(|m| m.updated_at.as_ref())),
    }
}

pub(crate) fn version_json(version: Option<&v1::Version>) -> wire::Version {
    wire::Version { index: version.map_or(0, |v| v.index) }
}

/// RFC 3339 with as many digits as there are, as Go prints times.
pub(crate) fn time_json(timestamp: Option<&Timestamp>) -> String {
    timestamp.and_then(format_time).unwrap_or_else(|| ZERO_TIME.to_owned())
}

/// The time if there is one and it is not 1970 either.
pub(crate) fn set_time_json(timestamp: Option<&Timestamp>) -> Option<String> {
    timestamp.filter(|t| t.seconds != 0).and_then(format_time)
}

fn format_time(timestamp: &Timestamp) -> Option<String> {
    let nanos = i128::from(timestamp.seconds) * i128::from(NANOS) + i128::from(timestamp.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
}

/// Nanoseconds, as JSON has durations, to the message.
pub(crate) fn duration(nanos: i64) -> Duration {
    Duration { seconds: nanos / NANOS, nanos: (nanos % NANOS) as i32 }
}

/// The message to nanoseconds; zero if it is absent.
pub(crate) fn nanos(duration: Option<&Duration>) -> i64 {
    duration.map_or(0, |d| d.seconds.saturating_mul(NANOS).saturating_add(i64::from(d.nanos)))
}

pub(crate) fn driver(driver: &wire::Driver) -> v1::Driver {
    v1::Driver { name: driver.name.clone(), options: driver.options.clone() }
}

pub(crate) fn driver_json(driver: &v1::Driver) -> wire::Driver {
    wire::Driver { name: driver.name.clone(), options: driver.options.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_go_prints_them() {
        let check = |seconds, nanos, expected| {
            assert_eq!(time_json(Some(&Timestamp { seconds, nanos })), expected);
        };
        check(1_700_000_000, 0, "2023-11-14T22:13:20Z");
        check(1_700_000_000, 120_000_000, "2023-11-14T22:13:20.12Z");
        check(1_700_000_000, 1, "2023-11-14T22:13:20.000000001Z");
        assert_eq!(time_json(None), ZERO_TIME);
        assert_eq!(set_time_json(Some(&Timestamp::default())), None);
    }

    #[test]
    fn durations_are_nanoseconds() {
        for value in [0, 1, 5_000_000_000, 1_500_000_000, -1_500_000_000] {
            assert_eq!(nanos(Some(&duration(value))), value);
        }
    }
}
