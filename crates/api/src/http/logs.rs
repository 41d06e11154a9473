//! Streams of output: Docker's multiplexed framing, timestamps and details.
//!
//! Without a terminal each line is framed by 8 bytes: stream number, three zeros, length in big endian. Mirrors moby's
//! `httputils/logstream` and `stdcopy`.

use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use time::OffsetDateTime;

use super::params::Params;
use super::stream::streaming;
use super::version::ApiVersion;
use crate::engine_backend::{LogLine, LogSource, ReadLogs};
use crate::error::ApiError;

/// How lines are shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layout {
    pub(crate) tty: bool,
    pub(crate) timestamps: bool,
    pub(crate) details: bool,
}

impl Layout {
    pub(crate) fn of(params: &Params, tty: bool) -> Self {
        Self { tty, timestamps: params.flag("timestamps"), details: params.flag("details") }
    }
}

/// Which lines a client asks for.
pub(crate) fn read_logs(params: &Params) -> Result<ReadLogs, ApiError> {
    let (stdout, stderr) = (params.flag("stdout"), params.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::invalid("Bad parameters: you must choose at least one stream"));
    }
    Ok(ReadLogs {
        stdout,
        stderr,
        follow: params.flag("follow"),
        await_run: false,
        tail: params.get("tail").parse().ok(),
        since: time_param(params, "since")?,
        until: time_param(params, "until")?,
    })
}

/// A time as `seconds[.nanoseconds]` since 1970, in nanoseconds; absent or zero is none.
pub(crate) fn time_param(params: &Params, key: &str) -> Result<Option<u64>, ApiError> {
    let raw = params.get(key);
    if raw.is_empty() {
        return Ok(None);
    }
    let parsed = || {
        let (seconds, fraction) = raw.split_once('.').unwrap_or((raw, ""));
        let seconds: u64 = seconds.parse().ok()?;
        let digits: String = format!("{fraction:0<9}").chars().take(9).collect();
        let nanos: u64 = digits.parse().ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
    };
    let nanos =
        parsed().ok_or_else(|| ApiError::invalid(format!("invalid value for {key:?}: {raw:?}")))?;
    Ok(Some(nanos).filter(|nanos| *nanos != 0))
}

/// The answer that streams lines until they end or the client goes away. An error becomes the last line.
pub(crate) fn respond(
    lines: impl Stream<Item = Result<LogLine, ApiError>> + Send + 'static,
    layout: Layout,
    version: ApiVersion,
) -> Response {
    streaming(content_type(layout, version), lines.map(move |line| Ok(encode_item(line, layout))))
}

/// How the stream is announced.
pub(crate) fn content_type(layout: Layout, version: ApiVersion) -> &'static str {
    match !layout.tty && version >= ApiVersion(1, 42) {
        true => "application/vnd.docker.multiplexed-stream",
        false => "application/vnd.docker.raw-stream",
    }
}

/// A line, or the error that ended the lines, as clients read it.
pub(crate) fn encode_item(line: Result<LogLine, ApiError>, layout: Layout) -> Bytes {
    match line {
        Ok(line) => encode(&line, layout),
        Err(error) => encode_error(&error, layout),
    }
}

fn encode(line: &LogLine, layout: Layout) -> Bytes {
    let mut text = BytesMut::with_capacity(line.data.len() + 48);
    if layout.timestamps {
        text.put_slice(timestamp(line.time_nanos).as_bytes());
        text.put_u8(b' ');
    }
    if layout.details {
        text.put_slice(details(&line.attributes).as_bytes());
        text.put_u8(b' ');
    }
    text.put_slice(&line.data);
    match layout.tty {
        true => text.freeze(),
        false => frame(if line.source == LogSource::Stdout { 1 } else { 2 }, &text),
    }
}

fn encode_error(error: &ApiError, layout: Layout) -> Bytes {
    let text = format!("Error grabbing logs: {error}\n");
    match layout.tty {
        true => text.into(),
        // Stream 3 is moby's for errors of the daemon: clients print it and fail.
        false => frame(3, text.as_bytes()),
    }
}

fn frame(stream: u8, data: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(data.len() + 8);
    framed.put_slice(&[stream, 0, 0, 0]);
    framed.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
    framed.put_slice(data);
    framed.freeze()
}

/// RFC 3339 with always nine digits, so that columns align.
fn timestamp(nanos: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second, nano) = time.to_hms_nano();
    format!(
        "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nano:09}Z",
        u8::from(month)
    )
}

/// `key=value` pairs by key, escaped as in a query.
fn details(attributes: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = attributes.iter().collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{}={}", escape(k), escape(v))).collect();
    pairs.join(",")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> LogLine {
        LogLine {
            source: LogSource::Stderr,
            time_nanos: 1_700_000_000_000_000_005,
            data: Bytes::from_static(b"hi\n"),
            attributes: vec![("b".into(), "x y".into()), ("a".into(), "1,2".into())],
        }
    }

    #[test]
    fn layouts() {
        let check = |tty, timestamps, details, expected: &[u8]| {
            assert_eq!(&encode(&line(), Layout { tty, timestamps, details })[..], expected);
        };
        check(true, false, false, b"hi\n");
        check(false, false, false, b"\x02\0\0\0\0\0\0\x03hi\n");
        check(true, true, false, b"2023-11-14T22:13:20.000000005Z hi\n");
        check(true, true, true, b"2023-11-14T22:13:20.000000005Z a=1%2C2,b=x+y hi\n");
    }

    #[test]
    fn times() {
        let check = |text: &str, expected: Option<Option<u64>>| {
            let got = time_param(&Params::of(&[("since", text)]), "since").ok();
            assert_eq!(got, expected, "{text}");
        };
        check("", Some(None));
        check("0", Some(None));
        check("5", Some(Some(5_000_000_000)));
        check("5.000000001", Some(Some(5_000_000_001)));
        check("5.5", Some(Some(5_500_000_000)));
        check("x", None);
        check("-5", None);
    }

    #[test]
    fn a_stream_must_be_chosen() {
        let error = read_logs(&Params::default()).expect_err("refused");
        assert_eq!(error.message, "Bad parameters: you must choose at least one stream");
    }
}
