//! The shim's second half: copy the output into the log, serve the socket, reap, leave the exit record.
//!
//! Protocol of the socket, one line each way. Asked `status`: `running <pid>`. Asked `kill <signal>`: `ok` or
//! `err <errno>`. When the container ends, every client is told `exit <json>` and the shim is gone after that.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::bundle::{ExitRecord, ShimConfig, write_atomic};
use super::json_log::{JsonLog, LineCutter, Stream};
use super::{CONFIG_FILE, SOCKET_FILE, sys};
use crate::timestamp;

/// Clients served at a time; the daemon needs one, a second may be its successor.
const CLIENTS_MAX: usize = 8;
/// How long output may go on after the container's init ended, for descendants that outlive it.
const DRAIN_MILLISECONDS_MAX: u16 = 1000;
/// The shim itself is spared by the OOM killer; libcontainer left the container's own score on it.
const OOM_SCORE: &str = "-998";
/// Bytes read from a pipe at a time: what a pipe holds at most would be 64 KiB; a quarter keeps the shim small.
const READ_BYTES: usize = 16 * 1024;

/// Runs the monitor with the arguments that the launcher gives it.
pub(super) fn run(args: &[String]) -> i32 {
    match Monitor::open(args) {
        Some(mut monitor) => {
            sys::trim_heap();
            sys::forget_code();
            monitor.serve();
            0
        }
        None => 2,
    }
}

struct Output {
    stream: Stream,
    pipe: Option<File>,
    cutter: LineCutter,
}

struct Monitor {
    pid: Pid,
    config: ShimConfig,
    listener: UnixListener,
    signals: SignalFd,
    outputs: [Output; 2],
    log: Option<JsonLog>,
    clients: Vec<UnixStream>,
}

impl Monitor {
    fn open(args: &[String]) -> Option<Self> {
        let [bundle, _id, pid, listener, stdout, stderr] = args else { return None };
        sys::set_name(c"swarm-shim");
        std::env::set_current_dir(bundle).ok()?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block().ok()?;
        let signals =
            SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).ok()?;
        let config: ShimConfig = serde_json::from_slice(&fs::read(CONFIG_FILE).ok()?).ok()?;
        leave_daemon_cgroups(&config);
        let _ = fs::write("/proc/self/oom_score_adj", OOM_SCORE);
        let log = config.log_path.as_deref().and_then(|path| open_log(path, &config));
        let listener = UnixListener::from(inherited(listener)?);
        listener.set_nonblocking(true).ok()?;
        let output = |stream, fd: &str| {
            let pipe = inherited(fd).map(File::from);
            Output { stream, pipe, cutter: LineCutter::new() }
        };
        let outputs = [output(Stream::Stdout, stdout), output(Stream::Stderr, stderr)];
        let pid = Pid::from_raw(pid.parse().ok()?);
        Some(Self { pid, config, listener, signals, outputs, log, clients: Vec::new() })
    }

    fn serve(&mut self) {
        let status = loop {
            if let Some(code) = self.reap() {
                break code;
            }
            self.wait_and_handle(PollTimeout::NONE);
        };
        self.drain();
        self.finish(status);
    }

    /// Waits for something to happen and handles it; false if the time ran out.
    fn wait_and_handle(&mut self, timeout: PollTimeout) -> bool {
        let ready = self.poll(timeout);
        if ready.is_empty() {
            return false;
        }
        for source in ready {
            match source {
                Source::Signal => while let Ok(Some(_)) = self.signals.read_signal() {},
                Source::Listener => {
                    self.accept();
                    sys::forget_code();
                }
                Source::Output(index) => self.copy(index),
                Source::Client(fd) => {
                    self.answer(fd);
                    sys::forget_code();
                }
            }
        }
        true
    }

    fn poll(&self, timeout: PollTimeout) -> Vec<Source> {
        let mut sources = vec![Source::Signal, Source::Listener];
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        for (index, output) in self.outputs.iter().enumerate() {
            if let Some(pipe) = &output.pipe {
                sources.push(Source::Output(index));
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
        }
        for client in &self.clients {
            sources.push(Source::Client(client.as_raw_fd()));
            fds.push(PollFd::new(client.as_fd(), PollFlags::POLLIN));
        }
        if poll(&mut fds, timeout).is_err() {
            return vec![Source::Signal]; // interrupted: look at the children
        }
        let ready = fds.iter().map(|fd| fd.any().unwrap_or(false));
        sources.into_iter().zip(ready).filter_map(|(s, ready)| ready.then_some(s)).collect()
    }

    fn copy(&mut self, index: usize) {
        let output = &mut self.outputs[index];
        let mut buffer = [0u8; READ_BYTES];
        let count = output.pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(&mut buffer));
        let log = &mut self.log;
        let stream = output.stream;
        let mut write = |line: &[u8]| {
            if let Some(log) = log {
                // A full disk loses log lines but must not stop the container, as in Docker.
                let _ = log.write(stream, line, timestamp::now_nanos());
            }
        };
        match count {
            Ok(count) if count > 0 => output.cutter.feed(&buffer[..count], write),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => {
                output.cutter.finish(&mut write);
                output.pipe = None;
            }
        }
    }

    fn accept(&mut self) {
        let Ok((client, _)) = self.listener.accept() else { return };
        if self.clients.len() < CLIENTS_MAX && client.set_nonblocking(true).is_ok() {
            self.clients.push(client);
        }
    }

    fn answer(&mut self, fd: i32) {
        let Some(at) = self.clients.iter().position(|c| c.as_raw_fd() == fd) else { return };
        let mut buffer = [0u8; 256];
        let count = match self.clients[at].read(&mut buffer) {
            Ok(count) if count > 0 => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            _ => {
                self.clients.swap_remove(at);
                return;
            }
        };
        for line in String::from_utf8_lossy(&buffer[..count]).lines() {
            let answer = self.command(line);
            if self.clients[at].write_all(answer.as_bytes()).is_err() {
                self.clients.swap_remove(at);
                return;
            }
        }
    }

    fn command(&self, line: &str) -> String {
        match line.split_once(' ') {
            None if line == "status" => format!("running {}\n", self.pid),
            Some(("kill", number)) => {
                let signal = number.parse().unwrap_or(-1);
                match send_signal(self.pid, signal) {
                    Ok(()) => "ok\n".to_owned(),
                    Err(errno) => format!("err {}\n", errno as i32),
                }
            }
            _ => format!("err {}\n", nix::errno::Errno::EINVAL as i32),
        }
    }

    /// Collects dead children; the exit code once the container's init is among them.
    fn reap(&self) -> Option<i32> {
        let mut ended = None;
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(WaitStatus::StillAlive) => return ended,
                // Without children the init can only have been lost.
                Err(nix::errno::Errno::ECHILD) => return ended.or(Some(255)),
                Ok(_) | Err(_) => continue,
            };
            if pid == self.pid {
                ended = Some(code);
            }
        }
    }

    fn drain(&mut self) {
        let deadline = timestamp::now_nanos() + u64::from(DRAIN_MILLISECONDS_MAX) * 1_000_000;
        while self.outputs.iter().any(|o| o.pipe.is_some()) && timestamp::now_nanos() < deadline {
            self.wait_and_handle(PollTimeout::from(DRAIN_MILLISECONDS_MAX));
        }
        let Self { outputs, log, .. } = self;
        for output in outputs {
            let stream = output.stream;
            output.cutter.finish(|line| {
                if let Some(log) = log {
                    let _ = log.write(stream, line, timestamp::now_nanos());
                }
            });
        }
    }

    fn finish(&mut self, exit_code: i32) {
        let oom_killed = self.config.oom_path.as_deref().is_some_and(|path| oom_kills(path) > 0);
        let record = ExitRecord {
            version: 1,
            pid: self.pid.as_raw(),
            exit_code,
            finished_at_nanos: timestamp::now_nanos(),
            oom_killed,
        };
        let Ok(text) = serde_json::to_string(&record) else { return };
        let _ = write_atomic(&self.config.exit_path, text.as_bytes(), true);
        let _ = fs::remove_file(SOCKET_FILE);
        self.accept(); // a client that connected this moment hears it too
        let line = format!("exit {text}\n");
        for client in &mut self.clients {
            let _ = client.write_all(line.as_bytes());
        }
    }
}

#[derive(Clone, Copy)]
enum Source {
    Signal,
    Listener,
    Output(usize),
    Client(i32),
}

fn inherited(number: &str) -> Option<OwnedFd> {
    let fd: i32 = number.parse().ok()?;
    if fd < 0 {
        return None;
    }
    let owned = sys::adopt_fd(fd);
    sys::set_cloexec(fd, true).ok()?;
    Some(owned)
}

fn open_log(path: &Path, config: &ShimConfig) -> Option<JsonLog> {
    JsonLog::open(path, config.log_size_bytes_max, config.log_files_max).ok()
}

/// A service manager that stops the daemon kills its cgroup; the shim must not be in there.
fn leave_daemon_cgroups(config: &ShimConfig) {
    for cgroup in &config.shim_cgroups {
        let _ = fs::create_dir_all(cgroup);
        let _ = fs::write(cgroup.join("cgroup.procs"), "0");
    }
}

fn send_signal(pid: Pid, signal: i32) -> nix::Result<()> {
    match Signal::try_from(signal) {
        Ok(signal) => kill(pid, signal),
        Err(_) => super::sys::kill_raw(pid.as_raw(), signal),
    }
}

/// Reads `oom_kill <n>` from cgroup v1's memory.oom_control or v2's memory.events.
fn oom_kills(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
}
