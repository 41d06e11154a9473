//! Downloading layers: a few at a time, into scratch files, retried when the line breaks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use oci_client::errors::DigestError;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::manifest::Descriptor;
use super::session::Session;
use crate::error::{Error, Result, io};
use crate::image::{Message, Progress};

/// How many layers come at once (dockerd's `--max-concurrent-downloads`).
pub(super) const CONCURRENCY: usize = 3;
/// dockerd's `--max-download-attempts`.
const ATTEMPTS_MAX: u32 = 5;
/// A bar that moves more often only costs.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

/// A download under way; dropping it stops it.
pub(super) struct Download {
    task: JoinHandle<Result<PathBuf>>,
}

impl Download {
    /// Starts bringing a layer to `target`; it waits for its turn at `turns`.
    pub(super) fn start(
        session: Session,
        layer: Descriptor,
        target: PathBuf,
        turns: Arc<Semaphore>,
        progress: Progress,
    ) -> Self {
        let task = tokio::spawn(async move {
            let id = layer.digest.short().to_owned();
            if turns.available_permits() == 0 {
                progress.send(Message::of(&id, "Waiting").with_progress(None, None)).await;
            }
            let _turn = turns
                .acquire()
                .await
                .map_err(|e| Error::system("download stopped").with_source(e))?;
            let mut attempt = 1;
            loop {
                match fetch(&session, &layer, &target, &progress).await {
                    Ok(()) => break,
                    Err(Broken::ForGood(error)) => return Err(error),
                    Err(Broken::Line(error)) if attempt == ATTEMPTS_MAX => return Err(error),
                    Err(Broken::Line(error)) => {
                        tracing::info!(layer = %layer.digest, %error, attempt, "layer download is tried again");
                        wait(&id, attempt, &progress).await;
                        attempt += 1;
                    }
                }
            }
            progress.send(Message::of(&id, "Verifying Checksum").with_progress(None, None)).await;
            progress.send(Message::of(&id, "Download complete").with_progress(None, None)).await;
            Ok(target)
        });
        Self { task }
    }

    /// Waits for the file.
    pub(super) async fn finish(mut self) -> Result<PathBuf> {
        (&mut self.task)
            .await
            .map_err(|e| Error::system("download was interrupted").with_source(e))?
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Broken {
    /// Another try may go better.
    Line(Error),
    /// It will not.
    ForGood(Error),
}

async fn fetch(
    session: &Session,
    layer: &Descriptor,
    target: &PathBuf,
    progress: &Progress,
) -> std::result::Result<(), Broken> {
    let mut stream =
        session.blob(&layer.digest).await.map_err(|failure| match failure.unreachable {
            true => Broken::Line(failure.error),
            false => Broken::ForGood(failure.error),
        })?;
    let local = |error| Broken::ForGood(io("store layer")(error));
    let mut file = tokio::fs::File::create(target).await.map_err(local)?;
    let (mut received, mut shown) = (0u64, Instant::now());
    while let Some(chunk) = stream.try_next().await.map_err(|e| broken(e, layer))? {
        received += chunk.len() as u64;
        if layer.size > 0 && received > layer.size {
            let message = format!("layer {} is longer than its manifest says", layer.digest);
            return Err(Broken::ForGood(Error::system(message)));
        }
        file.write_all(&chunk).await.map_err(local)?;
        if shown.elapsed() >= BAR_INTERVAL {
            shown = Instant::now();
            progress.hint(
                Message::of(layer.digest.short(), "Downloading")
                    .with_progress(Some(received), Some(layer.size)),
            );
        }
    }
    file.flush().await.map_err(local)
}

/// A stream that ends with the wrong digest would do so again; all else may be the line.
fn broken(error: std::io::Error, layer: &Descriptor) -> Broken {
    if error.get_ref().is_some_and(|inner| inner.is::<DigestError>()) {
        let message = format!("filesystem layer verification failed for digest {}", layer.digest);
        return Broken::ForGood(Error::system(message).with_source(error));
    }
    Broken::Line(io("download layer")(error))
}

/// Counts down as dockerd does: five seconds more each time.
async fn wait(id: &str, attempt: u32, progress: &Progress) {
    for left in (1..=attempt * 5).rev() {
        let plural = if left == 1 { "" } else { "s" };
        let status = format!("Retrying in {left} second{plural}");
        progress.send(Message::of(id, status).with_progress(None, None)).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
