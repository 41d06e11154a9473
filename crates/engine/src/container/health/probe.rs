//! One run of a health check's command, by the applet `shim probe` inside the container's namespaces.
//!
//! The applet's standard output is its report, its standard error what the command writes. It keeps the time itself, so
//! that no probe outlives its limit where the daemon dies meanwhile.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{HealthCheck, ProbeResult};
use crate::config::EngineConfig;
use crate::container::Container;
use crate::timestamp;

/// Bytes of output that a result keeps.
const OUTPUT_BYTES_MAX: usize = 4096;
/// How long output may go on after the command ended.
const DRAIN: Duration = Duration::from_millis(100);
/// How long the applet may take beyond the check's own time: to enter the container, to kill.
const APPLET_PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command once. Dropping the future kills it.
pub(super) async fn probe(
    config: &EngineConfig,
    container: &Container,
    pid: i32,
    check: &HealthCheck,
) -> ProbeResult {
    let start = timestamp::now_nanos();
    let run = run(config, container, pid, check);
    let outcome = match tokio::time::timeout(check.timeout + APPLET_PATIENCE, run).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("timed out starting health check for container {}", container.id)),
    };
    let (exit_code, output) = outcome.unwrap_or_else(|error| (-1, error));
    ProbeResult { start, end: timestamp::now_nanos(), exit_code, output }
}

async fn run(
    config: &EngineConfig,
    container: &Container,
    pid: i32,
    check: &HealthCheck,
) -> Result<(i64, String), String> {
    if check.command.is_empty() {
        return Err(format!("healthcheck for container {} has no command", container.id));
    }
    let mut child = Command::new(&config.shim_exe)
        .args(&config.shim_args)
        .arg("probe")
        .arg(&container.bundle)
        .arg(pid.to_string())
        .arg(check.timeout.as_millis().to_string())
        .args(&check.command)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", config.shim_exe.display()))?;
    let mut output = Output::default();
    let report = follow(&mut child, &mut output).await;
    match report.split_once(' ').unwrap_or((&report, "")) {
        ("exit", code) => Ok((code.parse().unwrap_or(-1), output.text())),
        ("failed", why) => Err(why.to_owned()),
        ("timeout", _) => {
            let limit = go_duration(check.timeout);
            let text = output.text();
            let tail = if text.is_empty() { text } else { format!(": {text}") };
            Err(format!("Health check exceeded timeout ({limit}){tail}"))
        }
        _ => Err(format!("the probe of container {} was lost: {}", container.id, output.text())),
    }
}

/// Reads the report's last line, and the output that came until then.
async fn follow(child: &mut Child, output: &mut Output) -> String {
    let (Some(report), Some(mut errors)) = (child.stdout.take(), child.stderr.take()) else {
        return String::new();
    };
    let mut lines = BufReader::new(report).lines();
    let mut last = String::new();
    {
        let reading = output.read(&mut errors);
        let mut reading = std::pin::pin!(reading);
        let mut is_read = false;
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => last = line,
                    _ => break,
                },
                () = &mut reading, if !is_read => is_read = true,
            }
        }
        if !is_read {
            // A descendant that holds the pipe must not hold the result up.
            let _ = tokio::time::timeout(DRAIN, reading).await;
        }
    }
    let _ = child.wait().await;
    last
}

/// The first bytes of the output, and whether there were more.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Output {
    async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) {
        let mut buffer = [0u8; OUTPUT_BYTES_MAX];
        while let Ok(count) = from.read(&mut buffer).await {
            if count == 0 {
                return;
            }
            let kept = count.min(OUTPUT_BYTES_MAX - self.bytes.len());
            self.bytes.extend_from_slice(&buffer[..kept]);
            self.truncated |= kept < count;
        }
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.truncated {
            text.push_str("...");
        }
        text
    }
}

/// A duration as Go prints it, for the seconds and fractions that checks have.
fn go_duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 {
        return format!("{millis}ms");
    }
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match millis {
        0 => String::new(),
        millis => format!(".{millis:03}").trim_end_matches('0').to_owned(),
    };
    match (hours, minutes) {
        (0, 0) => format!("{rest}{fraction}s"),
        (0, _) => format!("{minutes}m{rest}{fraction}s"),
        _ => format!("{hours}h{minutes}m{rest}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (millis, text) in [
            (5, "5ms"),
            (1000, "1s"),
            (1500, "1.5s"),
            (30_000, "30s"),
            (60_000, "1m0s"),
            (3_661_000, "1h1m1s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
    }

    #[tokio::test]
    async fn output_is_cut() {
        let mut output = Output::default();
        output.read(&mut &[b'x'; OUTPUT_BYTES_MAX + 1][..]).await;
        let text = output.text();
        assert_eq!((text.len(), text.ends_with("x...")), (OUTPUT_BYTES_MAX + 3, true));
    }
}
