//! The daemon's side of a shim: spawning it, its socket, and hearing of the exit.
//!
//! The connection is the sign of life: when it ends, the exit record on disk says how the container ended, and a
//! missing record says that the shim itself was lost.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;
use tokio::sync::{Mutex, mpsc};

use crate::config::EngineConfig;
use crate::error::{Error, Result, io as io_error};
use crate::shim::{ExitRecord, LaunchReply, SOCKET_FILE};

/// Answers waiting to be taken; requests are made one at a time.
const ANSWERS_MAX: usize = 4;

/// A connection to a running shim.
#[derive(Debug, Clone)]
pub(crate) struct ShimClient {
    exchange: Arc<Mutex<Exchange>>,
}

#[derive(Debug)]
struct Exchange {
    requests: OwnedWriteHalf,
    answers: mpsc::Receiver<String>,
}

/// Resolves when the shim closes its socket.
pub(crate) struct ShimEnd {
    lines: BufReader<OwnedReadHalf>,
    answers: mpsc::Sender<String>,
}

impl ShimClient {
    /// Connects to the shim of a bundle.
    pub(crate) async fn connect(bundle: &Path) -> io::Result<(Self, ShimEnd)> {
        // A socket's path has at most 107 bytes; through the folder's descriptor it is always short enough.
        let folder = std::fs::File::open(bundle)?;
        let path = format!("/proc/self/fd/{}/{SOCKET_FILE}", folder.as_raw_fd());
        let (read, requests) = UnixStream::connect(path).await?.into_split();
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let exchange = Arc::new(Mutex::new(Exchange { requests, answers }));
        Ok((Self { exchange }, ShimEnd { lines: BufReader::new(read), answers: sender }))
    }

    /// Sends the container's init a signal.
    pub(crate) async fn kill(&self, signal: i32) -> io::Result<()> {
        let answer = self.ask(&format!("kill {signal}\n")).await?;
        match answer.strip_prefix("err ").and_then(|errno| errno.parse().ok()) {
            None => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Asks for the PID of the container's init.
    pub(crate) async fn status(&self) -> io::Result<i32> {
        let answer = self.ask("status\n").await?;
        let pid = answer.strip_prefix("running ").and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, answer))
    }

    async fn ask(&self, request: &str) -> io::Result<String> {
        let mut exchange = self.exchange.lock().await;
        exchange.requests.write_all(request.as_bytes()).await?;
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the container ended");
        exchange.answers.recv().await.ok_or_else(gone)
    }
}

impl ShimEnd {
    /// Passes answers on until the shim is gone; what it said of the container's end, if it did.
    pub(crate) async fn wait(mut self) -> Option<ExitRecord> {
        let mut line = String::new();
        loop {
            line.clear();
            match self.lines.read_line(&mut line).await {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
            if let Some(record) = line.strip_prefix("exit ") {
                return serde_json::from_str(record).ok();
            }
            // Nobody listens if the asker gave up.
            let _ = self.answers.try_send(line.trim_end().to_owned());
        }
    }
}

/// Spawns the shim for a bundle and waits for its reply.
pub(crate) async fn launch(config: &EngineConfig, bundle: &Path) -> Result<LaunchReply> {
    let messages = bundle.join("shim.log");
    let messages = std::fs::File::create(&messages).map_err(io_error(messages.display()))?;
    let mut child = Command::new(&config.shim_exe)
        .args(&config.shim_args)
        .arg("run")
        .arg(bundle)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(messages)
        .spawn()
        .map_err(io_error(config.shim_exe.display()))?;
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        let read = BufReader::new(&mut stdout).read_line(&mut text).await;
        read.map_err(io_error("reading the shim's reply"))?;
        if text.is_empty() {
            let _ = stdout.read_to_string(&mut text).await;
        }
    }
    // Reaps it when it ends, which may be long after.
    tokio::spawn(async move { child.wait().await });
    serde_json::from_str(&text).map_err(|e| {
        let said = std::fs::read_to_string(bundle.join("shim.log")).unwrap_or_default();
        Error::system(format!("the shim gave no answer: {}", said.trim())).with_source(e)
    })
}
