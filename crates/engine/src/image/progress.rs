//! Docker's progress stream: JSON lines that `docker load` and `docker pull` draw as bars.
//!
//! Mirrors moby's `jsonmessage.JSONMessage`.

use std::io::{self, Read};

use bollard_stubs::models::ProgressDetail;
use serde::Serialize;
use tokio::sync::mpsc;

/// Enough for a burst of lines of a many-layered image; a reader that is slower than that slows the work down.
const QUEUE_LINES_MAX: usize = 256;

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Message {
    /// Text to be printed as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How far it is.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// What it is done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it failed.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// The same as text, for old clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The reason of a failure that happens when the answer's status is sent already.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ErrorDetail {
    /// The text.
    pub message: String,
}

impl Message {
    /// Text to be printed as it is.
    pub fn stream(text: impl Into<String>) -> Self {
        Self { stream: Some(text.into()), ..Self::default() }
    }

    /// A status line.
    pub fn status(text: impl Into<String>) -> Self {
        Self { status: Some(text.into()), ..Self::default() }
    }

    /// A status line about one thing.
    pub fn of(id: impl Into<String>, status: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::status(status) }
    }

    /// The same with an empty progress, as Docker sends where no bar is due.
    pub fn with_progress(self, current: Option<u64>, total: Option<u64>) -> Self {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let detail = ProgressDetail { current: current.map(number), total: total.map(number) };
        Self { progress_detail: Some(detail), ..self }
    }

    /// The last line of work that failed.
    pub fn error(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error: Some(message.clone()),
            error_detail: Some(ErrorDetail { message }),
            ..Self::default()
        }
    }
}

/// Where lines go. Clones write to the same reader.
#[derive(Debug, Clone)]
pub struct Progress {
    sender: Option<mpsc::Sender<Message>>,
}

impl Progress {
    /// A writer and its reader. When the reader is dropped, the work that writes stops, as with a client that left.
    pub fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(QUEUE_LINES_MAX);
        (Self { sender: Some(sender) }, receiver)
    }

    /// A writer whose lines nobody wants.
    pub fn discard() -> Self {
        Self { sender: None }
    }

    /// Sends a line, waiting for room. A reader that left is noticed through [`closed`](Self::closed).
    pub async fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(message).await;
        }
    }

    /// Sends a line from a thread that may block.
    pub fn send_blocking(&self, message: Message) {
        if let Some(sender) = &self.sender {
            let _ = sender.blocking_send(message);
        }
    }

    /// Sends a line that may as well be skipped, such as a bar's next step.
    pub fn hint(&self, message: Message) {
        if let Some(sender) = &self.sender {
            let _ = sender.try_send(message);
        }
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        match &self.sender {
            Some(sender) => sender.closed().await,
            None => std::future::pending().await,
        }
    }
}

/// A bar for work that reads a file: it moves as the file is read.
pub(crate) struct Bar {
    id: String,
    status: &'static str,
    total: u64,
    progress: Progress,
}

/// A reader that moves a bar.
pub(crate) struct Watched<R> {
    source: R,
    bar: Bar,
    done: u64,
    shown: u64,
}

/// A bar that moves in smaller steps only costs.
const BAR_STEP_BYTES: u64 = 512 * 1024;

impl Bar {
    pub(crate) fn new(id: &str, status: &'static str, total: u64, progress: &Progress) -> Self {
        Self { id: id.to_owned(), status, total, progress: progress.clone() }
    }

    pub(crate) fn watch<R: Read>(self, source: R) -> Watched<R> {
        Watched { source, bar: self, done: 0, shown: 0 }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.done += count as u64;
        if self.done >= self.shown + BAR_STEP_BYTES || (count == 0 && self.done > self.shown) {
            self.shown = self.done;
            let line = Message::of(&self.bar.id, self.bar.status);
            self.bar.progress.hint(line.with_progress(Some(self.done), Some(self.bar.total)));
        }
        Ok(count)
    }
}
