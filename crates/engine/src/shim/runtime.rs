//! The two ways to make a container: libcontainer in this process, or an external OCI runtime (runc, crun).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;

use super::bundle::ShimConfig;
use super::executor::{ContainerExecutor, Failure};
use super::launch::{internal, read_failure};
use super::{SECCOMP_FILE, device_filter, sys, trace};

/// A running container: its init's PID and the reading ends of its output.
pub(super) struct Launched {
    /// PID of the container's init.
    pub pid: i32,
    /// Its standard output (or its terminal).
    pub stdout: OwnedFd,
    /// Its standard error; none with a terminal.
    pub stderr: Option<OwnedFd>,
}

/// Socket in the bundle through which a runtime hands over the container's terminal (as `runc --console-socket`).
const CONSOLE_SOCKET: &str = "console.sock";
/// Folder in the bundle where the runtime keeps its own state.
const STATE_DIR: &str = "state";

/// Creates and starts the container of the present directory with libcontainer.
pub(super) fn libcontainer(config: &ShimConfig) -> Result<Launched, Failure> {
    trace::collect().map_err(|e| internal("trace", e))?;
    let streams = Streams::open(config)?;
    let (failure_read, failure_write) = pipe()?;
    let null = File::open("/dev/null").map_err(|e| internal("/dev/null", e))?;
    fs::create_dir_all(STATE_DIR).map_err(|e| internal(STATE_DIR, e))?;
    let executor = ContainerExecutor {
        capabilities: config.capabilities,
        filters: read_filters().map_err(|e| internal(SECCOMP_FILE, e))?,
        init: config.init,
        loopback: config.loopback,
        failure_pipe: failure_write.as_raw_fd(),
    };
    let bundle = std::env::current_dir().map_err(|e| internal("bundle", e))?;
    let builder = ContainerBuilder::new(config.id.clone(), SyscallType::default())
        .with_executor(executor)
        .with_root_path(bundle.join(STATE_DIR))
        .map_err(|e| create_failed(&e))?;
    let (builder, output) = match streams {
        Streams::Pipes { stdout, stderr } => {
            let builder = builder.with_stdin(null).with_stdout(stdout.1).with_stderr(stderr.1);
            (builder, Output::Pipes(stdout.0, stderr.0))
        }
        Streams::Terminal(console) => {
            let path = bundle.join(CONSOLE_SOCKET);
            (builder.with_console_socket(Some(path)), Output::Terminal(console))
        }
    };
    let mut container = builder
        .as_init(&bundle)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|e| create_failed(&e))?;
    drop(failure_write);
    let pid = container.pid().map(|p| p.as_raw()).ok_or_else(|| Failure {
        exit_code: 128,
        message: "the container has no process".to_owned(),
    })?;
    if let Err(failure) = restrict_devices(config) {
        let _ = container.delete(true);
        return Err(failure);
    }
    container.start().map_err(|e| create_failed(&e))?;
    match read_failure(failure_read) {
        None => output.launched(pid),
        Some(failure) => {
            let _ = container.delete(true);
            Err(failure)
        }
    }
}

/// Puts the bundle's device rules into force where libcontainer does not; the container waits to be started.
fn restrict_devices(config: &ShimConfig) -> Result<(), Failure> {
    let Some(cgroup) = &config.device_cgroup else { return Ok(()) };
    let spec = Spec::load("config.json").map_err(|e| create_failed(&e))?;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let rules = resources.and_then(|resources| resources.devices().as_ref());
    device_filter::apply(cgroup, rules.map_or(&[], Vec::as_slice))
        .map_err(|e| internal("restricting devices", e))
}

/// Creates and starts the container of the present directory with an OCI runtime's command line.
pub(super) fn external(runtime: &Path, config: &ShimConfig) -> Result<Launched, Failure> {
    let streams = Streams::open(config)?;
    let invoke = |arguments: &[&str], stdout: Stdio, stderr: Stdio| {
        Command::new(runtime)
            .args(["--root", STATE_DIR, "--log", "runtime.log"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .status()
            .map_err(|e| internal(&runtime.to_string_lossy(), e))
    };
    let mut create = vec!["create", "--bundle", ".", "--pid-file", "init.pid"];
    let (output, stdout, stderr) = match streams {
        Streams::Pipes { stdout, stderr } => {
            (Output::Pipes(stdout.0, stderr.0), stdout.1.into(), stderr.1.into())
        }
        Streams::Terminal(console) => {
            create.extend(["--console-socket", CONSOLE_SOCKET]);
            (Output::Terminal(console), Stdio::null(), Stdio::null())
        }
    };
    create.push(&config.id);
    if !invoke(&create, stdout, stderr)?.success() {
        return Err(external_failure());
    }
    let pid = fs::read_to_string("init.pid").map_err(|e| internal("init.pid", e))?;
    let pid = pid.trim().parse().map_err(|e| internal("init.pid", io::Error::other(e)))?;
    if !invoke(&["start", &config.id], Stdio::null(), Stdio::null())?.success() {
        let _ = invoke(&["delete", "--force", &config.id], Stdio::null(), Stdio::null());
        return Err(external_failure());
    }
    output.launched(pid)
}

/// The command line by which an external runtime executes a command in the container of the present directory, and
/// tells its PID.
pub(super) fn exec_arguments(
    runtime: &Path,
    id: &str,
    pid_file: &str,
    command: Vec<String>,
) -> Vec<String> {
    let fixed = ["--root", STATE_DIR, "exec", "--pid-file", pid_file, id].map(str::to_owned);
    let runtime = runtime.to_string_lossy().into_owned();
    [runtime].into_iter().chain(fixed).chain(command).collect()
}

/// The container's standard streams before it is made.
enum Streams {
    /// Each with its reading end first.
    Pipes { stdout: (OwnedFd, OwnedFd), stderr: (OwnedFd, OwnedFd) },
    /// The socket through which the runtime hands over the terminal.
    Terminal(UnixListener),
}

impl Streams {
    fn open(config: &ShimConfig) -> Result<Self, Failure> {
        if config.tty {
            let console = UnixListener::bind(CONSOLE_SOCKET);
            return console.map(Self::Terminal).map_err(|e| internal(CONSOLE_SOCKET, e));
        }
        Ok(Self::Pipes { stdout: pipe()?, stderr: pipe()? })
    }
}

/// Our ends of the container's streams.
enum Output {
    Pipes(OwnedFd, OwnedFd),
    Terminal(UnixListener),
}

impl Output {
    fn launched(self, pid: i32) -> Result<Launched, Failure> {
        match self {
            Self::Pipes(stdout, stderr) => Ok(Launched { pid, stdout, stderr: Some(stderr) }),
            Self::Terminal(console) => {
                let terminal =
                    sys::receive_fd(&console).map_err(|e| internal(CONSOLE_SOCKET, e))?;
                Ok(Launched { pid, stdout: terminal, stderr: None })
            }
        }
    }
}

/// The last message of the runtime's log, which is where runc and crun say why.
fn external_failure() -> Failure {
    let log = fs::read_to_string("runtime.log").unwrap_or_default();
    let last = log.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("runtime failed");
    let message = match last.split_once("msg=") {
        Some((_, rest)) => rest.trim_matches('"').replace("\\\"", "\""),
        None => last.to_owned(),
    };
    let exit_code = match &message {
        m if m.contains("not found") || m.contains("no such file") => 127,
        m if m.contains("permission denied") || m.contains("exec format") => 126,
        _ => 128,
    };
    Failure { exit_code, message }
}

/// The filters of the bundle: each a little-endian count of bytes, then that many.
pub(super) fn read_filters() -> io::Result<Vec<Vec<u8>>> {
    let bytes = match fs::read(SECCOMP_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut rest = bytes.as_slice();
    let mut filters = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((filter, tail)) = tail.split_at_checked(length) else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "truncated filter"));
        };
        filters.push(filter.to_vec());
        rest = tail;
    }
    Ok(filters)
}

pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    let made = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC);
    made.map_err(|e| internal("pipe", e.into()))
}

/// libcontainer's error with its causes, outermost first.
fn create_failed(error: &dyn std::error::Error) -> Failure {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = inner.source();
    }
    if let Some(detail) = trace::first_error().filter(|detail| !message.contains(detail)) {
        message.push_str(": ");
        message.push_str(&detail);
    }
    Failure { exit_code: 128, message }
}
