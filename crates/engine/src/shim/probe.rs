//! `swarm shim probe <bundle> <pid> <milliseconds> <command…>`: runs a command inside a container and reports its end.
//!
//! The command gets what the container's own process got: namespaces, cgroups, user, environment, limits, seccomp and
//! capabilities. The report goes to standard output, a line each: `started`, then `exit <code>` or `timeout`, or
//! `failed <why>` instead of both. What the command writes goes to standard error. When the time is up the command is
//! killed; when this process is killed, so is the command. A container of an external runtime is entered by that
//! runtime.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use libcontainer::oci_spec::runtime::Spec;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::bundle::ShimConfig;
use super::executor::{ContainerExecutor, Failure};
use super::launch::{internal, read_failure};
use super::{CONFIG_FILE, runtime, sys};
use crate::cgroup::CgroupLayout;

/// The namespaces of a container, the one with its files last: what is opened by path is opened before.
const NAMESPACES: [(&str, CloneFlags); 6] = [
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Runs the applet; the exit code is of no interest, the report is.
pub(super) fn run(args: &[String]) -> i32 {
    let [bundle, pid, milliseconds, command @ ..] = args else { return 2 };
    let (Ok(pid), Ok(milliseconds)) = (pid.parse(), milliseconds.parse()) else { return 2 };
    sys::set_name(c"swarm-probe");
    let outcome = prepare(Path::new(bundle), pid, command.to_vec()).and_then(|entry| {
        // Within the container's namespaces the file's name would be the container's.
        let pid_file = matches!(entry, Entry::Foreign(_)).then(pid_file);
        spawn(entry).map(|child| (Pid::from_raw(child), pid_file))
    });
    match outcome {
        Ok((child, pid_file)) => {
            report("started");
            let pid_file = pid_file.as_deref();
            report(&watch(child, pid_file, Duration::from_millis(milliseconds)));
            let _ = pid_file.map(fs::remove_file);
            0
        }
        Err(failure) => {
            let why = failure.message.replace('\n', " ");
            report(&format!(
                "failed OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown"
            ));
            1
        }
    }
}

fn report(line: &str) {
    // A daemon that is gone has no use for it.
    let _ = writeln!(io::stdout(), "{line}");
    let _ = io::stdout().flush();
}

/// Where an external runtime leaves the PID of what it executes for this process, in the bundle.
fn pid_file() -> String {
    format!("probe-{}.pid", std::process::id())
}

/// What is to be executed, and how.
enum Entry {
    /// By ourselves, inside the namespaces that this process has joined.
    Own { spec: Box<Spec>, executor: ContainerExecutor, cgroups: Vec<File> },
    /// By the container's runtime, from the present directory.
    Foreign(Vec<String>),
}

fn prepare(bundle: &Path, pid: i32, command: Vec<String>) -> Result<Entry, Failure> {
    std::env::set_current_dir(bundle).map_err(|e| internal("bundle", e))?;
    let text = fs::read(CONFIG_FILE).map_err(|e| internal(CONFIG_FILE, e))?;
    let config: ShimConfig =
        serde_json::from_slice(&text).map_err(|e| internal(CONFIG_FILE, e.into()))?;
    if let Some(runtime) = &config.runtime {
        let arguments = runtime::exec_arguments(runtime, &config.id, &pid_file(), command);
        return Ok(Entry::Foreign(arguments));
    }
    let mut spec =
        Spec::load("config.json").map_err(|e| internal("config.json", io::Error::other(e)))?;
    if let Some(process) = spec.process_mut() {
        process.set_args(Some(command));
    }
    let executor = ContainerExecutor {
        capabilities: config.capabilities,
        filters: runtime::read_filters().map_err(|e| internal(super::SECCOMP_FILE, e))?,
        init: false,
        loopback: false,
        failure_pipe: -1,
    };
    check_is_ours(pid, &config.id).map_err(|e| internal("container", e))?;
    let cgroup = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
    let layout = CgroupLayout::detect().map_err(|e| internal("cgroups", e))?;
    let cgroups = layout.entrances(&cgroup.unwrap_or_default());
    let cgroups = cgroups.map_err(|e| internal("cgroups", e))?;
    join(pid)?;
    Ok(Entry::Own { spec: Box::new(spec), executor, cgroups })
}

/// The number of a process that ended may be another's by now.
fn check_is_ours(pid: i32, id: &str) -> io::Result<()> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    match cgroups.contains(id) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::NotFound, "the container is not running")),
    }
}

/// Moves this process into the container's namespaces, of which its children see all.
fn join(pid: i32) -> Result<(), Failure> {
    let mut open = Vec::new();
    for (name, kind) in NAMESPACES {
        let path = format!("/proc/{pid}/ns/{name}");
        open.push((name, kind, File::open(&path).map_err(|e| internal(&path, e))?));
    }
    // From here on nobody inside may look at this process, or reach the executable through it.
    sys::become_undumpable().map_err(|e| internal("dumpable", e))?;
    for (name, kind, namespace) in open {
        setns(&namespace, kind).map_err(|e| internal(name, e.into()))?;
    }
    Ok(())
}

/// Forks the command's process and waits until its program runs, or did not come to.
fn spawn(entry: Entry) -> Result<i32, Failure> {
    let (read, write) = runtime::pipe()?;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().map_err(|e| internal("signals", e.into()))?;
    match sys::fork().map_err(|e| internal("fork", e))? {
        None => {
            drop(read);
            let failure = become_command(entry);
            let text = format!("{}\n{}", failure.exit_code, failure.message);
            let _ = File::from(write).write_all(text.as_bytes());
            std::process::exit(1)
        }
        Some(child) => {
            drop(write);
            match read_failure(read) {
                None => Ok(child),
                Some(failure) => Err(failure),
            }
        }
    }
}

/// Only the command's own process counts against the container's limits.
fn enter_cgroups(cgroups: Vec<File>) -> Result<(), Failure> {
    for mut procs in cgroups {
        procs.write_all(b"0").map_err(|e| internal("cgroups", e))?;
    }
    Ok(())
}

/// The child's half; returns only with the reason why the program does not run.
fn become_command(entry: Entry) -> Failure {
    let streams = nix::unistd::dup2_stdout(io::stderr());
    if let Err(error) = streams.and_then(|()| nix::unistd::setsid().map(drop)) {
        return internal("streams", error.into());
    }
    let entered = sys::die_with_parent().map_err(|e| internal("parent", e));
    match (entered, entry) {
        (Err(failure), _) => failure,
        (Ok(()), Entry::Foreign(arguments)) => execute(&arguments),
        (Ok(()), Entry::Own { spec, executor, cgroups }) => {
            match enter_cgroups(cgroups).and_then(|()| assume(&spec)) {
                Ok(()) => executor.execute(&spec),
                Err(failure) => failure,
            }
        }
    }
}

fn execute(arguments: &[String]) -> Failure {
    use std::os::unix::process::CommandExt as _;
    sys::reset_signals();
    let Some((program, rest)) = arguments.split_first() else {
        return internal("runtime", io::Error::from(io::ErrorKind::InvalidInput));
    };
    let error = std::process::Command::new(program).args(rest).exec();
    internal(program, error)
}

/// Takes on the directory, limits and user of the container's own process. Capabilities stay until the executor has
/// installed its filters.
fn assume(spec: &Spec) -> Result<(), Failure> {
    let Some(process) = spec.process() else { return Ok(()) };
    let failed = |what: &'static str| move |e: io::Error| internal(what, e);
    let of_nix = |what: &'static str| move |e: nix::Error| internal(what, e.into());
    for limit in process.rlimits().iter().flatten() {
        sys::limit_resource(limit.typ(), limit.soft(), limit.hard()).map_err(failed("limits"))?;
    }
    if process.no_new_privileges() == Some(true) {
        nix::sys::prctl::set_no_new_privs().map_err(of_nix("no_new_privs"))?;
    }
    let user = process.user();
    let group = |gid: u32| nix::unistd::Gid::from_raw(gid);
    let groups: Vec<_> = user.additional_gids().iter().flatten().copied().map(group).collect();
    nix::unistd::setgroups(&groups).map_err(of_nix("groups"))?;
    nix::unistd::setgid(group(user.gid())).map_err(of_nix("group"))?;
    sys::keep_capabilities().map_err(failed("capabilities"))?;
    nix::unistd::setuid(nix::unistd::Uid::from_raw(user.uid())).map_err(of_nix("user"))?;
    sys::raise_capabilities().map_err(failed("capabilities"))?;
    std::env::set_current_dir(process.cwd()).map_err(failed("working directory"))?;
    // The change of user has undone it.
    sys::die_with_parent().map_err(failed("parent"))
}

/// Kills the command with its descendants, since it leads a session; what a runtime executes leads one of its own.
fn kill_command(child: Pid, pid_file: Option<&str>) {
    let executed = pid_file.and_then(|file| fs::read_to_string(file).ok());
    let executed = executed.and_then(|pid| pid.trim().parse().ok()).filter(|pid| *pid > 1);
    for leader in executed.map(Pid::from_raw).into_iter().chain([child]) {
        let _ = killpg(leader, Signal::SIGKILL);
    }
}

/// Waits for the command's end; kills it when the time is up. The last line of the report.
fn watch(child: Pid, pid_file: Option<&str>, limit: Duration) -> String {
    let deadline = Instant::now() + limit;
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return format!("exit {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return format!("exit {}", 128 + signal as i32);
            }
            Err(_) => return "exit 255".to_owned(),
            Ok(_) => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            kill_command(child, pid_file);
            let _ = waitpid(child, None);
            return "timeout".to_owned();
        }
        sys::wait_for_signal(&mask, left);
    }
}
