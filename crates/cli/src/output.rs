//! What the executable prints besides its log: the one place that writes to the terminal.

#![expect(clippy::print_stderr, reason = "this is the output layer")]

/// Prints an error with its causes on one line.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("swarm: {error:#}");
}
