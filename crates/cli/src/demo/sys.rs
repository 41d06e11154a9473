//! The demonstration's system calls that Rust has no safe names for.

#![expect(
    unsafe_code,
    reason = "pre_exec, a signal disposition and a terminal's size need system calls"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::sethostname;

/// Makes a command start on a host: in its network, with mounts of its own below the stage's, under its host name.
pub(super) fn start_on_host(command: &mut Command, network: File, mounts: File, hostname: String) {
    let enter = move || {
        setns(&network, CloneFlags::CLONE_NEWNET)?;
        setns(&mounts, CloneFlags::CLONE_NEWNS)?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
        sethostname(&hostname)?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only; it neither allocates nor takes locks.
    unsafe { command.pre_exec(enter) };
}

/// Lets the kernel reap the orphans that this process inherits.
pub(super) fn ignore_children() -> io::Result<()> {
    // SAFETY: ignoring installs no handler, so no code runs in a signal's context.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    Ok(())
}

/// The terminal's rows behind standard output; none if it is no terminal.
pub(super) fn terminal_rows() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, to which the pointer is valid for the call.
    let answer = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_row > 0).then(|| usize::from(size.ws_row))
}
