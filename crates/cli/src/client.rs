//! A client for one daemon's Docker HTTP API, just as any other program would use it.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// The API version that the requests below are written in.
const VERSION: &str = "v1.40";

/// A daemon's API behind its unix socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Whether the daemon answers.
    pub(crate) async fn answers(&self) -> bool {
        self.get("/_ping").await.is_ok()
    }

    /// Asks for something; null if the answer has no JSON.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.send(Method::GET, path, "application/json", Bytes::new()).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// Sends a JSON request.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = Bytes::from(body.to_string());
        let answer = self.send(Method::POST, path, "application/json", body).await?;
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
    }

    /// Sends an archive.
    pub(crate) async fn post_archive(&self, path: &str, archive: Bytes) -> anyhow::Result<()> {
        let answer = self.send(Method::POST, path, "application/x-tar", archive).await?;
        // A stream of messages was begun with 200 before it was known how it ends.
        let messages = String::from_utf8_lossy(&answer);
        let failed = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| message["error"].as_str().map(str::to_owned));
        match failed {
            Some(error) => bail!("POST {path}: {error}"),
            None => Ok(()),
        }
    }

    /// Sends bytes with this header, if there is one, and takes bytes.
    pub(crate) async fn exchange(
        &self,
        path: &str,
        header: Option<(&str, String)>,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let content = "application/octet-stream";
        self.send_with(Method::POST, path, content, header, body).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let sent = self.send_with(method.clone(), path, content, None, body).await;
        sent.with_context(|| format!("{method} {path}"))
    }

    async fn send_with(
        &self,
        method: Method,
        path: &str,
        content: &str,
        header: Option<(&str, String)>,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .with_context(|| format!("connecting to {}", self.socket.display()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/{VERSION}{path}"))
            .header("Host", "localhost")
            .header("Content-Type", content);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        if !status.is_success() {
            bail!("{}", message(&bytes));
        }
        Ok(bytes)
    }
}

/// Docker's error text, or whatever came instead of it.
fn message(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    match json["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn finds_the_message() {
        for (body, expect) in [
            (&br#"{"message":"page not found"}"#[..], "page not found"),
            (b"oops\n", "oops"),
            (b"", ""),
        ] {
            assert_eq!(message(body), expect);
        }
    }
}
