//! What HAProxy says, in our log.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Child;

/// Follows what it prints until it ends.
pub(super) fn follow(child: &mut Child) {
    if let Some(output) = child.stdout.take() {
        tokio::spawn(tell(output));
    }
    if let Some(output) = child.stderr.take() {
        tokio::spawn(tell(output));
    }
}

async fn tell(output: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.split_once(" : ") {
            Some((head, rest)) if head.starts_with("[ALERT]") => {
                tracing::error!("haproxy: {rest}");
            }
            Some((head, rest)) if head.starts_with("[WARNING]") => {
                tracing::warn!("haproxy: {rest}");
            }
            _ => tracing::debug!("haproxy: {line}"),
        }
    }
}
