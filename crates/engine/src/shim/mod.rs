//! The shim: one small process per container, its parent for life.
//!
//! `swarm shim run <bundle>` creates and starts the container, answers one line on its standard output, and then
//! executes itself again as `swarm shim monitor`, which drops every page that building the container touched. The
//! monitor copies the container's output into its json-file log, serves a unix socket (kill, status, exit), reaps, and
//! leaves an exit record on disk. It belongs to no daemon: sessions, cgroups and sockets are its own, so a daemon may
//! die at any time and the next one finds the same container under the same PID.
//!
//! `swarm shim probe` is another process, which lives as long as one run of a health check.
//!
//! Everything here is single-threaded, since libcontainer forks. Nothing here knows tokio.

mod bundle;
mod device_filter;
mod executor;
mod init;
mod json_log;
mod launch;
mod monitor;
mod probe;
mod runtime;
mod sys;
mod trace;

pub(crate) use bundle::write_atomic;
pub use bundle::{ExitRecord, LaunchReply, ShimConfig};

/// File in the bundle that holds the [`ShimConfig`].
pub const CONFIG_FILE: &str = "shim.json";
/// The shim's socket in the bundle.
pub const SOCKET_FILE: &str = "shim.sock";
/// The seccomp program in the bundle, as the kernel takes it: filters one after another, each with its length.
pub const SECCOMP_FILE: &str = "seccomp.bpf";

/// Runs the shim applet: `run <bundle>`, `monitor …` or `probe …`. Returns the process's exit code.
///
/// Call it before any thread exists.
pub fn main(args: &[String]) -> i32 {
    match args.first().map(String::as_str) {
        Some("run") if args.len() == 2 => launch::run(&args[1]),
        Some("monitor") => monitor::run(&args[1..]),
        Some("probe") => probe::run(&args[1..]),
        _ => 2,
    }
}
