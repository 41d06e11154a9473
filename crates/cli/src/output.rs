//! What the executable prints besides its log: the one place that writes to the terminal.

#![expect(clippy::print_stderr, reason = "this is the output layer")]

use std::io::Write as _;

/// Prints an error with its causes on one line.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("swarm: {error:#}");
}

/// Prints a line to standard output. Nobody may be reading any more: that is no reason to fail.
pub(crate) fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// Prints text as it is to standard output.
pub(crate) fn text(text: &str) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}
