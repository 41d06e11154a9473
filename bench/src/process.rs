//! What `/proc` says about processes' memory and processor time.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// What the kernel counts processor time in, on every machine that Linux runs on today (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process(pub(crate) u64);

impl Process {
    /// The one whose ID is in a file.
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self(text.trim().parse()?))
    }

    /// Those that it started and that are still there.
    pub(crate) fn children(self) -> Result<Vec<Self>> {
        let processes = fs::read_dir("/proc")?.flatten().filter_map(|entry| {
            let process = Self(entry.file_name().to_str()?.parse().ok()?);
            (process.parent().ok()?.0 == self.0).then_some(process)
        });
        Ok(processes.collect())
    }

    /// Its name.
    pub(crate) fn name(self) -> String {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.0)).unwrap_or_default();
        name.trim_end().to_owned()
    }

    /// Its parent.
    pub(crate) fn parent(self) -> Result<Self> {
        self.field("status", "PPid:").map(Self)
    }

    /// Its resident memory.
    pub(crate) fn resident_mb(self) -> Result<f64> {
        Ok(megabytes(self.field("status", "VmRSS:")?))
    }

    /// Its resident memory, and what of it no other process shares.
    pub(crate) fn resident_and_private_mb(self) -> Result<(f64, f64)> {
        let of = |name| self.field("smaps_rollup", name);
        let private = of("Private_Clean:")? + of("Private_Dirty:")?;
        Ok((megabytes(of("Rss:")?), megabytes(private)))
    }

    /// The processor time that it took so far, in seconds.
    pub(crate) fn processor_seconds(self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.0);
        let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        // The name in parentheses may have any character; user and system time are the 14th and 15th field.
        let (_, rest) = stat.rsplit_once(") ").context("no name in stat")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = |at: usize| -> Result<f64> {
            Ok(fields.get(at).context("stat is too short")?.parse::<f64>()?)
        };
        Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
    }

    fn field(self, file: &str, name: &str) -> Result<u64> {
        let path = format!("/proc/{}/{file}", self.0);
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let word = line.and_then(|line| line.split_whitespace().next());
        Ok(word.with_context(|| format!("no {name} in {path}"))?.parse()?)
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes of processes are far below 2^52 kB")]
fn megabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}
