//! `haproxy -c`: whether a configuration is one, and where it is not.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Thousands of servers are checked in less than a second.
const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
/// So much of what HAProxy says is worth telling.
const WORDS_MAX: usize = 2000;

/// What HAProxy says against a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Lines that are at fault, from 1.
    pub(crate) lines: BTreeSet<usize>,
    /// HAProxy's words.
    words: String,
}

impl Refusal {
    /// Whether its words name something, in quotes.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.words.contains(&format!("'{name}'"))
    }

    /// Reads what `haproxy -c` printed.
    fn read(printed: &str, path: &str) -> Self {
        let alerts: Vec<&str> = printed.lines().filter(|line| line.contains("[ALERT]")).collect();
        let place = format!("[{path}:");
        let lines = alerts.iter().filter_map(|line| {
            let (_, rest) = line.split_once(&place)?;
            rest.split_once(']')?.0.parse().ok()
        });
        let told = |line: &&str| {
            // `[ALERT]    (123) : config : ` says nothing to anybody.
            let rest = line.split_once(") : ").map_or(*line, |(_, rest)| rest);
            rest.strip_prefix("config : ").unwrap_or(rest).trim().to_owned()
        };
        let words = match alerts.is_empty() {
            true => printed.trim().to_owned(),
            false => alerts.iter().map(told).collect::<Vec<_>>().join("; "),
        };
        Self { lines: lines.collect(), words: words.chars().take(WORDS_MAX).collect() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Checks a file.
pub(super) async fn check(program: &Path, path: &Path) -> io::Result<Result<(), Refusal>> {
    let mut command = Command::new(program);
    command.arg("-c").arg("-f").arg(path).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(CHECK_TIMEOUT, command.output()).await;
    let output = output.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    Ok(Err(Refusal::read(&printed, &path.display().to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_lines() {
        let printed = "[NOTICE]   (7) : haproxy version is 2.6.12\n\
            [ALERT]    (7) : config : parsing [proxy.conf.new:33] : unknown option 'nonsense'.\n\
            [WARNING]  (7) : config : parsing [proxy.conf.new:40] : odd.\n\
            [ALERT]    (7) : config : Fatal errors found in configuration.\n";
        let refusal = Refusal::read(printed, "proxy.conf.new");
        assert_eq!(refusal.lines, BTreeSet::from([33]));
        assert_eq!(
            refusal.to_string(),
            "parsing [proxy.conf.new:33] : unknown option 'nonsense'.; \
             Fatal errors found in configuration."
        );
        assert!(refusal.names("nonsense") && !refusal.names("non"));
        assert_eq!(Refusal::read("killed", "x").to_string(), "killed");
    }
}
