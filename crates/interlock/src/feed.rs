//! Follows the cluster's events, as hints that something may have changed. A stream that ends is opened again, and that is
//! a hint too, since nobody knows what was missed.

use std::time::Duration;

use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::client::{Client, ClientError};

/// How soon a stream is opened again, doubled each time up to the second.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// On a stream that is silent for so long nobody may be left at the other end.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// No event is longer.
const EVENT_BYTES_MAX: usize = 1 << 20;
/// What never changes who runs where.
const IDLE_TYPES: [&str; 6] = ["image", "volume", "plugin", "builder", "secret", "config"];
const IDLE_ACTIONS: [&str; 12] = [
    "top",
    "resize",
    "attach",
    "detach",
    "copy",
    "export",
    "commit",
    "create",
    "archive-path",
    "extract-to-dir",
    "update",
    "oom",
];

/// Follows until it is dropped; `hints` needs room for one.
pub(crate) async fn follow(client: Client, hints: mpsc::Sender<()>) {
    let mut pause = RETRY_FIRST;
    loop {
        match stream(&client, &hints, &mut pause).await {
            Ok(()) => tracing::debug!("the stream of events has ended, opening it again"),
            // An outage is told once.
            Err(error) if pause == RETRY_FIRST => {
                tracing::error!("error on the stream of events, will retry: {}", error.told());
            }
            Err(error) => tracing::debug!("no stream of events yet: {}", error.told()),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

async fn stream(
    client: &Client,
    hints: &mpsc::Sender<()>,
    pause: &mut Duration,
) -> Result<(), ClientError> {
    let mut body = client.stream("/events").await?;
    *pause = RETRY_FIRST;
    tracing::debug!("listening to events");
    // One that is waiting already says as much.
    let _ = hints.try_send(());
    let mut buffer = Vec::new();
    while let Ok(Some(frame)) = tokio::time::timeout(SILENCE_MAX, body.frame()).await {
        let frame = frame.map_err(|error| client.broken(error))?;
        let Some(data) = frame.data_ref() else { continue };
        buffer.extend_from_slice(data);
        if take(&mut buffer) {
            let _ = hints.try_send(());
        }
    }
    Ok(())
}

/// Takes whole events from the buffer; whether any of them matters.
fn take(buffer: &mut Vec<u8>) -> bool {
    let mut events = serde_json::Deserializer::from_slice(buffer).into_iter::<Value>();
    let mut is_news = false;
    let mut used = 0;
    let is_nonsense = loop {
        match events.next() {
            Some(Ok(event)) => is_news |= matters(&event),
            Some(Err(error)) => break !error.is_eof(),
            None => break false,
        }
        used = events.byte_offset();
    };
    buffer.drain(..used);
    if is_nonsense || buffer.len() > EVENT_BYTES_MAX {
        // Whatever it was, it may have been news.
        buffer.clear();
        return true;
    }
    is_news
}

fn matters(event: &Value) -> bool {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    // Engines before 1.10 have `status` only.
    let action = if text("Action").is_empty() { text("status") } else { text("Action") };
    let is_idle = IDLE_TYPES.contains(&text("Type"))
        || action.starts_with("exec_")
        || IDLE_ACTIONS.contains(&action) && ["", "container"].contains(&text("Type"));
    !is_idle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_and_the_rest() {
        for (text, expect, left) in [
            (r#"{"status":"start","Type":"container","Action":"start"}"#, true, ""),
            (r#"{"status":"die"}"#, true, ""),
            (r#"{"Type":"swarm","Action":"engine_disconnect"}"#, true, ""),
            (r#"{"Type":"service","Action":"update"}"#, true, ""),
            (r#"{"Type":"container","Action":"exec_create: sh -c x"}"#, false, ""),
            (r#"{"Type":"container","Action":"create"}"#, false, ""),
            (r#"{"Type":"image","Action":"pull"}"#, false, ""),
            ("{\"status\":\"top\"}\n{\"status\":\"stop\"}\n{\"sta", true, "{\"sta"),
            ("{\"sta", false, "{\"sta"),
            ("not JSON {}", true, ""),
        ] {
            let mut buffer = text.as_bytes().to_vec();
            assert_eq!(take(&mut buffer), expect, "{text}");
            assert_eq!(String::from_utf8_lossy(&buffer).trim(), left, "{text}");
        }
    }
}
