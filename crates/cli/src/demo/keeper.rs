//! The process that the whole demonstration lives under: the first of a PID namespace.
//!
//! When it ends, the kernel kills every daemon, shim and container below it, and their mounts and networks go with
//! them. It ends when its standard input does, that is with the demonstration, however that one ends.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context as _, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use super::sys;
use crate::output;

/// The hidden subcommand that [`Keeper::start`] runs.
pub(crate) const COMMAND: &str = "demo-keeper";
const READY: &str = "ready";

/// What `swarm demo-keeper` does: make the mounts private, show this namespace's processes in /proc, wait.
pub(crate) fn run() -> anyhow::Result<()> {
    sys::ignore_children()?;
    unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("making mounts private")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).context("mounting /proc")?;
    output::line(READY);
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The running keeper. Dropping it ends all that runs below it.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
}

impl Keeper {
    /// Starts the keeper and waits until its namespaces are made.
    pub(super) fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = on_scratch_thread(|| {
            unshare(CloneFlags::CLONE_NEWPID).context("making a PID namespace")?;
            command.spawn().context("starting the keeper")
        })?;
        let output = child.stdout.take();
        let keeper = Self { child };
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line)?;
        }
        if line.trim() != READY {
            bail!("the demonstration's namespaces could not be made");
        }
        Ok(keeper)
    }

    /// Its mount namespace, which those of the hosts are copies of.
    pub(super) fn mounts(&self) -> anyhow::Result<File> {
        self.namespace("mnt")
    }

    /// Starts a command in the PID namespace.
    pub(super) fn spawn(&self, command: &mut Command) -> anyhow::Result<Child> {
        let processes = self.namespace("pid")?;
        // The thread can start no threads any more, so it isn't one of the runtime's.
        on_scratch_thread(|| {
            setns(&processes, CloneFlags::CLONE_NEWPID).context("entering the PID namespace")?;
            Ok(command.spawn()?)
        })
    }

    fn namespace(&self, kind: &str) -> anyhow::Result<File> {
        let path = format!("/proc/{}/ns/{kind}", self.child.id());
        File::open(&path).with_context(|| format!("opening {path}"))
    }

    /// Kills everything below it. Those that this process started must be waited for before [`Keeper`] is dropped:
    /// the kernel lets the first process of a namespace go last.
    pub(super) fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Does something on a thread of its own, which ends with what it did to itself.
pub(super) fn on_scratch_thread<T: Send>(
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
