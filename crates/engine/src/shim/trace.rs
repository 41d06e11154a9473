//! The runtime's error messages in a file, where the launcher finds the causes that libcontainer's errors lack.
//!
//! libcontainer says through `tracing` what exactly failed, also in the processes that it forks; its own errors often
//! name only the step.

use std::fmt::{Debug, Write as _};
use std::fs::{self, File};
use std::io::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// File in the bundle that takes the messages.
const FILE: &str = "trace.log";

/// Starts collecting error messages of this process and of what it forks.
pub(super) fn collect() -> io::Result<()> {
    let file = File::options().append(true).create(true).open(FILE)?;
    // A second subscriber can only be a test's, which may keep its own.
    let _ = tracing::subscriber::set_global_default(ErrorFile { file });
    Ok(())
}

/// The first message, which is the one closest to the cause.
pub(super) fn first_error() -> Option<String> {
    let text = fs::read_to_string(FILE).ok()?;
    text.lines().next().map(str::to_owned)
}

struct ErrorFile {
    file: File,
}

impl Subscriber for ErrorFile {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        line.0 = line.0.replace('\n', " ");
        line.0.push('\n');
        let _ = (&self.file).write_all(line.0.as_bytes());
    }

    fn new_span(&self, _attributes: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let space = if self.0.is_empty() { "" } else { " " };
        let _ = match field.name() {
            "message" => write!(self.0, "{space}{value:?}"),
            name => write!(self.0, "{space}{name}={value:?}"),
        };
    }
}
