//! Our tiny init (`docker run --init`): PID 1 that forwards signals to its one child, reaps, and ends as the child ends.
//!
//! It runs inside the process that libcontainer made, never from a file in the image, and stays non-dumpable, so that
//! the container can't reach the host's executable through /proc/1/exe.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::executor::Failure;
use super::sys;

/// Forks; the child enters the program with `enter`, which returns only the failure. PID 1 never returns from here,
/// unless the fork fails.
pub(super) fn run(enter: impl FnOnce() -> Failure) -> Failure {
    let blocked = SigSet::all();
    if let Err(error) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None) {
        return Failure { exit_code: 128, message: format!("blocking signals: {error}") };
    }
    match sys::fork() {
        Ok(None) => enter(),
        Ok(Some(child)) => {
            // The failure pipe must stay open only in the child: closing every descriptor above the standard ones.
            let _ = nix::unistd::setsid();
            close_inherited();
            supervise(Pid::from_raw(child), &blocked)
        }
        Err(error) => Failure { exit_code: 128, message: format!("fork: {error}") },
    }
}

fn close_inherited() {
    for fd in 3..1024 {
        let _ = nix::unistd::close(fd);
    }
}

fn supervise(child: Pid, signals: &SigSet) -> ! {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => reap(child),
            Ok(Signal::SIGTTIN | Signal::SIGTTOU) | Err(_) => {}
            Ok(signal) => {
                let _ = kill(child, signal);
            }
        }
    }
}

/// Collects every dead child; ends with the main child's status.
fn reap(child: Pid) {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => std::process::exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                std::process::exit(128 + signal as i32)
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
