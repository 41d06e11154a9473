//! `swarm hello-web`: the small web service that the demonstration's containers run.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::output;

/// The hidden subcommand's name.
pub(super) const COMMAND: &str = "hello-web";
/// The environment variables that the service's definition fills from the task.
pub(super) const TASK: &str = "TASK_NAME";
pub(super) const NODE: &str = "NODE_HOSTNAME";
/// How long a client may take for its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// More than any request line that this service answers.
const REQUEST_BYTES_MAX: usize = 4096;

/// `swarm hello-web`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Flags {
    /// Port to listen on
    #[arg(long, value_name = "port", default_value_t = 8080)]
    port: u16,
}

/// Answers until SIGTERM.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(flags.port))
}

async fn serve(port: u16) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(("0.0.0.0", port))
        .await
        .with_context(|| format!("listening on port {port}"))?;
    output::line(&format!("listening on port {port}"));
    let greeting = greeting()?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            accepted = listener.accept() => {
                // A client that is gone already is no reason to end.
                let Ok((stream, peer)) = accepted else { continue };
                output::line(&format!("request from {}", peer.ip()));
                tokio::spawn(timeout(REQUEST_TIMEOUT, answer(stream, greeting.clone())));
            }
        }
    }
}

async fn answer(mut stream: TcpStream, greeting: String) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX
    {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    stream.write_all(response(&greeting).as_bytes()).await?;
    stream.shutdown().await
}

fn response(greeting: &str) -> String {
    let length = greeting.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{greeting}"
    )
}

fn greeting() -> anyhow::Result<String> {
    let hostname = nix::unistd::gethostname().context("reading the hostname")?;
    let hostname = hostname.to_string_lossy();
    let variable = |name| std::env::var(name).unwrap_or_default();
    Ok(greet(&variable(TASK), &variable(NODE), &hostname))
}

/// A variable that still is a template was filled by nobody.
fn greet(task: &str, node: &str, hostname: &str) -> String {
    let known = |text: &str| !text.is_empty() && !text.contains("{{");
    match known(task) && known(node) {
        true => format!("Hello from task {task} on {node} (container {hostname})\n"),
        false => format!("Hello from container {hostname}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets_with_what_it_knows() {
        for (task, node, expect) in [
            ("web.1.abc", "demo2", "Hello from task web.1.abc on demo2 (container c1)\n"),
            ("{{.Task.Name}}", "{{.Node.Hostname}}", "Hello from container c1\n"),
            ("", "", "Hello from container c1\n"),
        ] {
            assert_eq!(greet(task, node, "c1"), expect);
        }
    }
}
