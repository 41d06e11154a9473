//! The manager's log, in the form of the original: `time="…" level=info msg="…" key=value`, or coloured on a terminal.

use std::fmt::{self, Write as _};
use std::io::IsTerminal as _;
use std::time::{Instant, SystemTime};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::text::rfc3339;

/// The levels that can be asked for, the least talkative first; the first two are as quiet as the third.
const LEVELS: [(&str, &str); 7] = [
    ("panic", "error"),
    ("fatal", "error"),
    ("error", "error"),
    ("warn", "warn"),
    ("warning", "warn"),
    ("info", "info"),
    ("debug", "debug"),
];
/// Columns that a message fills on a terminal.
const MESSAGE_COLUMNS: usize = 44;

/// Begins to log to standard output.
///
/// # Errors
/// The words for a level that does not exist.
pub fn begin(level: &str) -> Result<(), String> {
    let wanted = level.to_ascii_lowercase();
    let known = LEVELS.iter().find(|(name, _)| *name == wanted);
    let (_, level) = known.ok_or_else(|| format!("not a valid logrus Level: {level:?}"))?;
    let form =
        if std::io::stdout().is_terminal() { Form::Terminal(Instant::now()) } else { Form::Plain };
    // A second beginning in one process changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!(
            "off,swarm_standalone={level},swarm_interlock={level}"
        )))
        .with_writer(std::io::stdout)
        .event_format(form)
        .try_init();
    Ok(())
}

/// The last line of a program that can't go on.
pub fn fatal(message: &str) {
    let form =
        if std::io::stdout().is_terminal() { Form::Terminal(Instant::now()) } else { Form::Plain };
    let mut line = String::new();
    // Writing to a string does not fail.
    let _ = form.line(&mut line, Grade::Fatal, message, &[]);
    crate::print(&line);
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Plain,
    /// With the seconds since then.
    Terminal(Instant),
}

#[derive(Debug, Clone, Copy)]
enum Grade {
    Debug,
    Info,
    Warning,
    Error,
    Fatal,
}

impl Grade {
    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Info,
            _ => Self::Debug,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    fn colour(self) -> u8 {
        match self {
            Self::Debug => 37,
            Self::Info => 36,
            Self::Warning => 33,
            Self::Error | Self::Fatal => 31,
        }
    }
}

impl Form {
    fn line(
        self,
        out: &mut impl fmt::Write,
        grade: Grade,
        message: &str,
        fields: &[(String, String)],
    ) -> fmt::Result {
        match self {
            Self::Plain => {
                write!(
                    out,
                    "time={} level={} msg={}",
                    quoted(&rfc3339(SystemTime::now())),
                    grade.name(),
                    quoted(message)
                )?;
                for (key, value) in fields {
                    write!(out, " {key}={}", quoted(value))?;
                }
            }
            Self::Terminal(begun) => {
                let colour = grade.colour();
                let name: String = grade.name().to_uppercase().chars().take(4).collect();
                let seconds = begun.elapsed().as_secs();
                write!(
                    out,
                    "\x1b[{colour}m{name}\x1b[0m[{seconds:04}] {message:<MESSAGE_COLUMNS$} "
                )?;
                for (key, value) in fields {
                    write!(out, " \x1b[{colour}m{key}\x1b[0m={}", quoted(value))?;
                }
            }
        }
        writeln!(out)
    }
}

/// As it is, where that is plain; quoted else.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("{text:?}") }
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut told = Told::default();
        event.record(&mut told);
        told.fields.sort();
        self.line(&mut writer, Grade::of(*event.metadata().level()), &told.message, &told.fields)
    }
}

#[derive(Default)]
struct Told {
    message: String,
    fields: Vec<(String, String)>,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name().to_owned(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string does not fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.fields.push((field.name().to_owned(), format!("{value:?}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_originals() {
        let fields =
            [("addr".to_owned(), ":4000".to_owned()), ("proto".to_owned(), "tcp".to_owned())];
        let mut line = String::new();
        Form::Plain.line(&mut line, Grade::Info, "Listening for HTTP", &fields).expect("written");
        let (time, rest) = line.split_once(" level").expect("a time");
        assert!(time.starts_with("time=\"20"), "{time}");
        assert_eq!(rest, "=info msg=\"Listening for HTTP\" addr=\":4000\" proto=tcp\n");
        let mut line = String::new();
        let form = Form::Terminal(Instant::now());
        form.line(&mut line, Grade::Warning, "x", &fields[1..]).expect("written");
        assert_eq!(
            line,
            format!("\x1b[33mWARN\x1b[0m[0000] {:<44}  \x1b[33mproto\x1b[0m=tcp\n", "x")
        );
    }
}
