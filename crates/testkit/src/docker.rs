//! The stock `docker` command line against an engine of a lab.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Host;

/// A daemon that a Docker client can talk to.
pub trait Engine {
    /// The host that it runs on.
    fn host(&self) -> &Host;

    /// Its socket.
    fn socket(&self) -> PathBuf {
        self.host().folder().join("docker.sock")
    }

    /// Runs `docker` against it.
    fn docker(&self, arguments: &[&str]) -> Output {
        docker(self.host(), arguments)
    }

    /// Runs `docker` against it with this text on its standard input.
    fn docker_given(&self, arguments: &[&str], input: &str) -> Output {
        let path = self.host().folder().join("stdin");
        std::fs::write(&path, input).expect("write the input");
        let mut command = docker_command(self.host(), &self.socket());
        command.args(arguments).stdin(File::open(&path).expect("open the input"));
        Output::of(&mut command)
    }
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The command, for messages.
    pub command: String,
    /// The exit status; -1 if it was killed.
    pub status: i32,
    /// Standard output, without the last line end.
    pub stdout: String,
    /// Standard error, without the last line end.
    pub stderr: String,
}

impl Output {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let text = format!("{command:?}");
        let output = command.output().unwrap_or_else(|error| panic!("run {text}: {error}"));
        let trimmed = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Self {
            command: text,
            status: output.status.code().unwrap_or(-1),
            stdout: trimmed(&output.stdout),
            stderr: trimmed(&output.stderr),
        }
    }

    /// Whether it succeeded.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Its standard output; panics with all it printed if it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success(), "{self}");
        self.stdout
    }

    /// Its standard error; panics with all it printed if it succeeded.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.success(), "must fail: {self}");
        self.stderr
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, status, stdout, stderr } = self;
        write!(f, "{command}: exit status {status}\n{stdout}\n{stderr}")
    }
}

/// Runs the stock docker CLI (`DOCKER_BIN`, or `docker`) against the engine on a host.
pub fn docker(host: &Host, arguments: &[&str]) -> Output {
    Output::of(docker_command(host, &host.folder().join("docker.sock")).args(arguments))
}

/// The docker CLI with nothing of the user's own settings.
pub(crate) fn docker_command(host: &Host, socket: &Path) -> Command {
    let program = std::env::var_os("DOCKER_BIN").unwrap_or_else(|| "docker".into());
    let mut command = Command::new(program);
    command
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env("DOCKER_CONFIG", host.folder().join("docker-config"))
        .env_remove("DOCKER_CONTEXT")
        .env_remove("DOCKER_TLS_VERIFY")
        .env_remove("DOCKER_CERT_PATH")
        .env_remove("DOCKER_API_VERSION");
    command
}
