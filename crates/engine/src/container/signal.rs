//! Signals by Docker's names and numbers, and sending them to a container (`docker kill`).

use crate::engine::Engine;
use crate::error::{Error, Result};

/// What `docker stop` sends unless image or container say otherwise.
pub(crate) const STOP_SIGNAL: i32 = libc::SIGTERM;
/// First and last real-time signals as glibc counts them, which Docker's names follow.
const REAL_TIME: (i32, i32) = (34, 64);

const NAMES: [(&str, i32); 34] = [
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("IOT", libc::SIGIOT),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("POLL", libc::SIGPOLL),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];

/// Reads a signal: a number, or a name with or without `SIG`, in any case.
pub(crate) fn parse(text: &str) -> Result<i32> {
    let invalid = || Error::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=REAL_TIME.1).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest).map(|n| REAL_TIME.0 + n),
        (_, Some(rest)) => offset(rest).map(|n| REAL_TIME.1 + n),
        _ => None,
    };
    real_time.filter(|n| (REAL_TIME.0..=REAL_TIME.1).contains(n)).ok_or_else(invalid)
}

impl Engine {
    /// Sends a container's init a signal (`SIGKILL` unless named). The user did it, so `unless-stopped` leaves a killed
    /// container alone.
    pub async fn kill(&self, reference: &str, signal: Option<&str>) -> Result<()> {
        let number = match signal.filter(|s| !s.is_empty()) {
            Some(signal) => parse(signal)?,
            None => libc::SIGKILL,
        };
        let container = self.container(reference)?;
        let not_running = || {
            Error::conflict(format!(
                "cannot kill container: {reference}: container {} is not running",
                container.id
            ))
        };
        let shim = container.shim().filter(|_| container.read(super::Record::is_running));
        let shim = shim.ok_or_else(not_running)?;
        let stop_signal = container.read(super::stop::stop_signal);
        if number == libc::SIGKILL || number == stop_signal {
            container.update(true, |record| record.manually_stopped = true)?;
        }
        match shim.kill(number).await {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(not_running()),
            Err(error) => {
                let message = format!("cannot kill container: {reference}: {error}");
                return Err(Error::system(message).with_source(error));
            }
        }
        container.publish(&self.inner.events, "kill", &[("signal", number.to_string())]);
        if number == libc::SIGKILL {
            self.wait(container.id.as_str(), super::wait::WaitCondition::NotRunning).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_signals() {
        for (text, number) in [
            ("9", Some(9)),
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGNOPE", None),
            ("0", None),
            ("65", None),
        ] {
            assert_eq!(parse(text).ok(), number, "{text}");
        }
        let message = parse("SIGNOPE").map_err(|e| e.to_string());
        assert_eq!(message, Err("invalid signal: SIGNOPE".to_owned()));
    }
}
