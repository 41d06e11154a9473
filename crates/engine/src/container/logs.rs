//! Reading a container's json-file log (`docker logs`): tail, since, until, follow, across rotated files.
//!
//! The shim writes it; this room only reads. Following looks at the file again every so often, since the writer is
//! another process, and ends with the container.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard_stubs::models::HostConfigLogConfig;
use futures::Stream;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::Container;
use crate::engine::Engine;
use crate::error::{Error, ErrorClass, Result, io as io_error};
use crate::timestamp;

/// How often a followed log is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
/// Entries read ahead of a slow reader.
const ENTRIES_AHEAD_MAX: usize = 256;

/// Which of its streams a container wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a log, or a piece of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where the container wrote it.
    pub source: LogSource,
    /// When, in nanoseconds since the epoch.
    pub time_nanos: u64,
    /// The text with its newline.
    pub line: bytes::Bytes,
}

/// What to read of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Lines of standard output.
    pub stdout: bool,
    /// Lines of standard error.
    pub stderr: bool,
    /// Go on until the container ends.
    pub follow: bool,
    /// With `follow`: a container that has not started is waited for, and however soon it ends and is removed, all that
    /// it wrote is read.
    pub await_run: bool,
    /// Only the last so many lines of what is there.
    pub tail: Option<usize>,
    /// Only lines from this time on, in nanoseconds.
    pub since_nanos: Option<u64>,
    /// Only lines up to this time, in nanoseconds.
    pub until_nanos: Option<u64>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            stdout: true,
            stderr: true,
            follow: false,
            await_run: false,
            tail: None,
            since_nanos: None,
            until_nanos: None,
        }
    }
}

/// How the shim rotates a log, from the json-file driver's options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogRotation {
    pub(crate) size_bytes_max: u64,
    pub(crate) files_max: u32,
}

impl Default for LogRotation {
    fn default() -> Self {
        Self { size_bytes_max: 0, files_max: 1 }
    }
}

impl LogRotation {
    /// Reads `max-size` and `max-file`; options of the driver that this engine lacks are refused.
    pub(crate) fn of(log: &HostConfigLogConfig) -> Result<Self> {
        let mut rotation = Self::default();
        let is_json_file = log.typ.as_deref().is_none_or(|typ| typ == "json-file");
        for (key, value) in log.config.iter().flatten().filter(|_| is_json_file) {
            match key.as_str() {
                "max-size" => {
                    rotation.size_bytes_max = parse_size(value).ok_or_else(|| {
                        Error::invalid(format!("invalid value for max-size: {value}"))
                    })?;
                }
                "max-file" => {
                    let files = value.parse().ok().filter(|files| *files > 0);
                    rotation.files_max =
                        files.ok_or_else(|| Error::invalid("max-file cannot be less than 1"))?;
                }
                // They only say what to add to each entry's attributes.
                "labels" | "env" | "tag" => {}
                // Writing into a file never blocks for long.
                "mode" | "max-buffer-size" => {}
                "compress" if value == "false" => {}
                "compress" | "labels-regex" | "env-regex" => {
                    let why = format!("the log opt '{key}' is not supported by this engine");
                    return Err(Error::new(ErrorClass::NotImplemented, why));
                }
                other => {
                    return Err(Error::invalid(format!(
                        "unknown log opt '{other}' for json-file log driver"
                    )));
                }
            }
        }
        if rotation.files_max > 1 && rotation.size_bytes_max == 0 {
            return Err(Error::invalid("invalid max-file option: max-size must be set"));
        }
        Ok(rotation)
    }
}

/// Reads `10m` and the like as Docker's units do: powers of 1024.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let (number, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1u64 << 10),
        b'm' => (&text[..text.len() - 1], 1 << 20),
        b'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|size| *size > 0)
}

impl Engine {
    /// Reads a container's log as a stream, oldest line first.
    pub fn logs(
        &self,
        reference: &str,
        options: LogOptions,
    ) -> Result<impl Stream<Item = Result<LogEntry>> + Send + 'static + use<>> {
        let container = self.container(reference)?;
        let driver = container.read(|r| r.host.log_config.as_ref().and_then(|l| l.typ.clone()));
        if driver.as_deref() == Some("none") {
            let message = "configured logging driver does not support reading";
            return Err(Error::new(ErrorClass::NotImplemented, message));
        }
        let run = match options.follow && options.await_run {
            true => {
                Some(NextRun::of(&container).map_err(io_error(container.log_path().display()))?)
            }
            false => None,
        };
        let (sender, receiver) = mpsc::channel(ENTRIES_AHEAD_MAX);
        tokio::spawn(async move {
            if let Err(error) = read_all(container, options, run, &sender).await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Ok(futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|entry| (entry, receiver))
        }))
    }
}

type Entries = mpsc::Sender<Result<LogEntry>>;

/// The run that a container has, or that is its next.
struct NextRun {
    /// The log, made where the container has none yet: it can be read after it was removed.
    log: File,
    /// How many exits there are until then.
    exits: u64,
}

impl NextRun {
    fn of(container: &Container) -> io::Result<Self> {
        let exits = container.progress.borrow().exits;
        let mut open = File::options();
        let log = open.read(true).append(true).create(true).mode(0o640).open(container.log_path());
        Ok(Self { log: log?, exits })
    }
}

async fn read_all(
    container: Arc<Container>,
    options: LogOptions,
    run: Option<NextRun>,
    out: &Entries,
) -> Result<()> {
    let exits = run.as_ref().map(|run| run.exits);
    let log = run.map(|run| run.log);
    let path = container.log_path();
    let failed = io_error(path.display());
    let wanted = options.clone();
    let first = path.clone();
    let read = tokio::task::spawn_blocking(move || read_present(first, log, &wanted)).await;
    let (entries, mut follower) = match read {
        Ok(result) => result.map_err(failed)?,
        Err(error) => return Err(Error::system("reading the log").with_source(error)),
    };
    for entry in entries {
        if out.send(Ok(entry)).await.is_err() {
            return Ok(());
        }
    }
    if !options.follow {
        return Ok(());
    }
    loop {
        // Looked at before reading, so that the last lines are read after the end was seen.
        let ended = {
            let progress = container.progress.borrow();
            let has_run = exits.is_none_or(|exits| progress.exits > exits);
            progress.has_ended() && (has_run || progress.removed)
        };
        for entry in follower.poll().map_err(io_error(path.display()))? {
            if options.until_nanos.is_some_and(|until| entry.time_nanos > until) {
                return Ok(());
            }
            if options.passes(&entry) && out.send(Ok(entry)).await.is_err() {
                return Ok(());
            }
        }
        if ended || options.until_nanos.is_some_and(|until| timestamp::now_nanos() > until) {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
            () = out.closed() => return Ok(()),
        }
    }
}

impl LogOptions {
    fn passes(&self, entry: &LogEntry) -> bool {
        let source = match entry.source {
            LogSource::Stdout => self.stdout,
            LogSource::Stderr => self.stderr,
        };
        source
            && self.since_nanos.is_none_or(|since| entry.time_nanos >= since)
            && self.until_nanos.is_none_or(|until| entry.time_nanos <= until)
    }
}

/// What is in the log now, oldest file first, and where to go on reading.
fn read_present(
    path: PathBuf,
    log: Option<File>,
    options: &LogOptions,
) -> io::Result<(VecDeque<LogEntry>, Follower)> {
    let mut entries = VecDeque::new();
    let mut keep = |entry: LogEntry| {
        if options.passes(&entry) {
            entries.push_back(entry);
        }
        if options.tail.is_some_and(|tail| entries.len() > tail) {
            entries.pop_front();
        }
    };
    let mut rotated = Vec::new();
    for number in 1.. {
        let mut name = path.clone().into_os_string();
        name.push(format!(".{number}"));
        match File::open(name) {
            Ok(file) => rotated.push(file),
            Err(_) => break,
        }
    }
    for file in rotated.into_iter().rev() {
        for line in BufReader::new(file).split(b'\n') {
            parse_line(&line?).into_iter().for_each(&mut keep);
        }
    }
    let mut follower = Follower { path, file: log, partial: Vec::new() };
    follower.poll()?.into_iter().for_each(&mut keep);
    Ok((entries, follower))
}

/// The live log file, read as it grows; a rotated file is read to its end before the next is opened.
struct Follower {
    path: PathBuf,
    file: Option<File>,
    partial: Vec<u8>,
}

impl Follower {
    fn poll(&mut self) -> io::Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        if self.file.is_none() {
            self.file = open_if_there(&self.path)?;
        }
        self.read(&mut entries)?;
        let Some(file) = &mut self.file else { return Ok(entries) };
        let live = std::fs::metadata(&self.path).map(|m| m.ino()).ok();
        if live.is_some() && live != Some(file.metadata()?.ino()) {
            self.file = open_if_there(&self.path)?;
            self.partial.clear();
            self.read(&mut entries)?;
        }
        Ok(entries)
    }

    fn read(&mut self, entries: &mut Vec<LogEntry>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.metadata()?.len() < file.stream_position()? {
            file.seek(SeekFrom::Start(0))?;
        }
        file.read_to_end(&mut self.partial)?;
        let complete = self.partial.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let rest = self.partial.split_off(complete);
        let lines = std::mem::replace(&mut self.partial, rest);
        entries.extend(lines.split(|b| *b == b'\n').filter_map(parse_line));
        Ok(())
    }
}

fn open_if_there(path: &PathBuf) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads one JSON object; a line that a full disk cut short is skipped.
fn parse_line(line: &[u8]) -> Option<LogEntry> {
    #[derive(Deserialize)]
    struct Line {
        log: String,
        stream: String,
        time: String,
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    Some(LogEntry {
        source: if line.stream == "stderr" { LogSource::Stderr } else { LogSource::Stdout },
        time_nanos: timestamp::parse(&line.time)?,
        line: line.log.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(nanos: u64, text: &str) -> String {
        let time = timestamp::format(nanos);
        format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n")
    }

    #[test]
    fn reads_rotated_files_in_order() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        std::fs::write(folder.path().join("log.2"), line(1, "a")).expect("write");
        std::fs::write(folder.path().join("log.1"), line(2, "b") + "{\"log\":\"cut")
            .expect("write");
        std::fs::write(&path, line(3, "c") + &line(4, "d")).expect("write");
        let read = |options: &LogOptions| {
            let (entries, _) = read_present(path.clone(), None, options).expect("read");
            let texts = entries.iter().map(|e| String::from_utf8_lossy(&e.line).trim().to_owned());
            texts.collect::<Vec<_>>().join("")
        };
        assert_eq!(read(&LogOptions::default()), "abcd");
        assert_eq!(read(&LogOptions { tail: Some(2), ..Default::default() }), "cd");
        assert_eq!(read(&LogOptions { tail: Some(0), ..Default::default() }), "");
        assert_eq!(read(&LogOptions { since_nanos: Some(2), ..Default::default() }), "bcd");
        assert_eq!(read(&LogOptions { until_nanos: Some(2), ..Default::default() }), "ab");
        assert_eq!(read(&LogOptions { stdout: false, ..Default::default() }), "");
    }

    #[test]
    fn follows_through_rotation() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("log");
        let (first, second) = line(1, "a").split_at(10).to_owned_pair();
        std::fs::write(&path, &first).expect("write");
        let mut follower = Follower { path: path.clone(), file: None, partial: Vec::new() };
        assert_eq!(follower.poll().expect("poll").len(), 0);
        std::fs::write(&path, first + &second).expect("write");
        assert_eq!(follower.poll().expect("poll").len(), 1);
        std::fs::rename(&path, folder.path().join("log.1")).expect("rename");
        std::fs::write(&path, line(2, "b")).expect("write");
        assert_eq!(follower.poll().expect("poll").len(), 1);
    }

    trait OwnedPair {
        fn to_owned_pair(self) -> (String, String);
    }

    impl OwnedPair for (&str, &str) {
        fn to_owned_pair(self) -> (String, String) {
            (self.0.to_owned(), self.1.to_owned())
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, size) in [
            ("10m", Some(10 << 20)),
            ("1k", Some(1024)),
            ("5gb", Some(5 << 30)),
            ("x", None),
            ("0", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }
}
