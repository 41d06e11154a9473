//! The HAProxy process: checked configurations only, reloads that lose no connection, and a soft end.
//!
//! It runs as a master with a worker (`-W`). On SIGUSR2 the master starts itself anew and hands the listening sockets of
//! the old worker to the new one (`expose-fd listeners`), so no connection is refused or lost in between. The old worker
//! ends when its last connection does.

mod check;
mod log;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::settings::Settings;
pub(crate) use check::Refusal;

const PROGRAM: &str = "haproxy";
/// By then a worker answers that has all its servers, or there is none.
const START_TIMEOUT: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(10);
/// Connections may take so long to end when all is to end: Docker gives ten seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// HAProxy did not do what it should.
#[derive(Debug, Error)]
pub(crate) enum HaproxyError {
    #[error("{PROGRAM} was not found: install the package haproxy")]
    NotFound,
    #[error("can't write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("can't run {PROGRAM}")]
    Run(#[source] io::Error),
    #[error("haproxy refuses the configuration: {0}")]
    Refused(Refusal),
    #[error("haproxy ended at once ({0}): are its ports free, and may it take them?")]
    Ended(ExitStatus),
    #[error("haproxy did not take the configuration up within {START_TIMEOUT:?}")]
    Late,
}

/// The process, its files, and what it runs with.
#[derive(Debug)]
pub(crate) struct Haproxy {
    program: PathBuf,
    config: PathBuf,
    pid_file: PathBuf,
    /// For its socket, which nobody else may reach.
    folder: TempDir,
    child: Option<Child>,
    /// The process that answered last.
    worker: Option<u32>,
    /// What it runs with.
    text: String,
}

impl Haproxy {
    /// # Errors
    /// [`HaproxyError`] if there is no HAProxy, or no place for its files.
    pub(crate) fn new(settings: &Settings) -> Result<Self, HaproxyError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A user's PATH may lack where packages put daemons.
        let folders =
            std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
        let mut programs = folders.map(|folder: PathBuf| folder.join(PROGRAM));
        let program = programs.find(|program| program.is_file()).ok_or(HaproxyError::NotFound)?;
        let folder = tempfile::Builder::new().prefix("interlock-").tempdir();
        let folder =
            folder.map_err(|source| HaproxyError::Write { path: std::env::temp_dir(), source })?;
        Ok(Self {
            program,
            config: settings.config_path.clone(),
            pid_file: settings.pid_path.clone(),
            folder,
            child: None,
            worker: None,
            text: String::new(),
        })
    }

    /// The socket that its configuration must have.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("haproxy.sock")
    }

    /// Whether it runs.
    pub(crate) fn runs_any(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it runs with this configuration.
    pub(crate) fn runs(&self, text: &str) -> bool {
        self.child.is_some() && self.text == text
    }

    /// Lets it run with this configuration.
    ///
    /// # Errors
    /// [`HaproxyError`]; if the configuration is refused, it goes on with the one before.
    pub(crate) async fn apply(&mut self, text: &str) -> Result<(), HaproxyError> {
        let new = suffixed(&self.config, ".new");
        write(&new, text).await?;
        if let Err(refusal) = check::check(&self.program, &new).await.map_err(HaproxyError::Run)? {
            return Err(HaproxyError::Refused(refusal));
        }
        let failed = |source| HaproxyError::Write { path: self.config.clone(), source };
        tokio::fs::rename(&new, &self.config).await.map_err(failed)?;
        text.clone_into(&mut self.text);
        match self.child.as_ref().and_then(Child::id) {
            Some(pid) => {
                signal(pid, Signal::SIGUSR2);
                self.await_worker().await
            }
            None => self.start().await,
        }
    }

    /// Starts it with the configuration that it had, or was given last.
    pub(crate) async fn start(&mut self) -> Result<(), HaproxyError> {
        let mut command = Command::new(&self.program);
        command.arg("-W").arg("-f").arg(&self.config).arg("-p").arg(&self.pid_file);
        // One that a former Interlock left behind serves until this one does.
        if let Some(pid) = self.left_behind().await {
            tracing::info!(pid, "taking over from the haproxy that is there");
            command.arg("-sf").arg(pid.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(HaproxyError::Run)?;
        log::follow(&mut child);
        self.child = Some(child);
        self.worker = None;
        self.await_worker().await
    }

    /// Waits until it ends by itself; for ever while there is none.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let Some(child) = &mut self.child else { return std::future::pending().await };
        let status = child.wait().await;
        self.child = None;
        status
    }

    /// Lets it end: softly, as long as that takes no longer than somebody waits.
    pub(crate) async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        for wish in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGKILL] {
            if let Some(pid) = child.id() {
                signal(pid, wish);
            }
            if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_ok() {
                break;
            }
        }
        // Nobody needs it any more.
        let _ = tokio::fs::remove_file(&self.pid_file).await;
    }

    /// Waits for another worker than the one that answered last.
    async fn await_worker(&mut self) -> Result<(), HaproxyError> {
        let deadline = Instant::now() + START_TIMEOUT;
        let socket = self.socket();
        loop {
            let answer = tokio::time::timeout(START_TIMEOUT, worker(&socket)).await;
            if let Ok(Ok(Some(worker))) = answer
                && self.worker != Some(worker)
            {
                self.worker = Some(worker);
                return Ok(());
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                self.child = None;
                return Err(HaproxyError::Ended(status));
            }
            if Instant::now() > deadline {
                return Err(HaproxyError::Late);
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    /// The master that the file names, if it is a HAProxy with our configuration.
    async fn left_behind(&self) -> Option<u32> {
        let text = tokio::fs::read_to_string(&self.pid_file).await.ok()?;
        let pid = text.split_whitespace().next()?.parse().ok()?;
        let line = tokio::fs::read(format!("/proc/{pid}/cmdline")).await.ok()?;
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_it = words.first().is_some_and(|word| word.ends_with(PROGRAM.as_bytes()));
        let config = self.config.as_os_str().as_encoded_bytes();
        (is_it && words.contains(&config)).then_some(pid)
    }
}

/// The process behind a socket, as it says itself.
async fn worker(socket: &Path) -> io::Result<Option<u32>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(b"show info\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let pid = answer.lines().find_map(|line| line.strip_prefix("Pid: "));
    Ok(pid.and_then(|pid| pid.trim().parse().ok()))
}

async fn write(path: &Path, text: &str) -> Result<(), HaproxyError> {
    let failed = |source| HaproxyError::Write { path: path.to_owned(), source };
    // It has the statistics' password in it.
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).await.map_err(failed)?;
    file.write_all(text.as_bytes()).await.map_err(failed)?;
    file.flush().await.map_err(failed)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn signal(pid: u32, signal: Signal) {
    let Ok(pid) = i32::try_from(pid) else { return };
    // One that is gone needs none.
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        tracing::debug!(%error, %signal, "haproxy was not signalled");
    }
}

#[cfg(test)]
mod tests;
