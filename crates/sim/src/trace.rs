//! What happened, line by line: the end of it for whoever reads a failure, a digest of all of it for comparing runs.

use std::collections::VecDeque;
use std::fmt::Arguments;
use std::time::Duration;

/// Enough to see what led to a failure, and not too much to read.
const LINES_KEPT: usize = 120;

/// A running record.
#[derive(Debug)]
pub(crate) struct Trace {
    lines: VecDeque<String>,
    digest: u64,
    /// Whether lines also go to the standard error, for replays.
    pub(crate) is_loud: bool,
}

impl Trace {
    pub(crate) fn new(is_loud: bool) -> Self {
        // FNV-1a: a digest that is the same on every machine.
        Self { lines: VecDeque::new(), digest: 0xcbf2_9ce4_8422_2325, is_loud }
    }

    #[expect(clippy::print_stderr, reason = "replays are read by people")]
    pub(crate) fn note(&mut self, now: Duration, what: Arguments<'_>) {
        let line = format!("{:>10.4} {what}", now.as_secs_f64());
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.is_loud {
            eprintln!("{line}");
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn tail(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
