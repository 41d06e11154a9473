//! The shim's first half: create and start the container, tell the daemon, become the monitor.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::bundle::{LaunchReply, ShimConfig};
use super::runtime::{self, Launched};
use super::{CONFIG_FILE, SOCKET_FILE, executor::Failure, sys};

/// Launches the bundle's container; on success the process continues as the monitor and never returns from here.
pub(super) fn run(bundle: &str) -> i32 {
    match launch(Path::new(bundle)) {
        Ok((config, launched, listener)) => {
            reply(&LaunchReply { pid: Some(launched.pid), error: None, exit_code: 0 });
            let error = become_monitor(bundle, &config, &launched, &listener);
            // Without a monitor nobody would look after the container.
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(launched.pid),
                nix::sys::signal::Signal::SIGKILL,
            );
            let _ = writeln!(io::stderr(), "shim: cannot execute itself: {error}");
            1
        }
        Err(failure) => {
            reply(&LaunchReply {
                pid: None,
                error: Some(failure.message),
                exit_code: failure.exit_code,
            });
            1
        }
    }
}

fn launch(bundle: &Path) -> Result<(ShimConfig, Launched, UnixListener), Failure> {
    let _ = nix::unistd::setsid();
    sys::set_name(c"swarm-shim");
    sys::become_subreaper().map_err(|e| internal("subreaper", e))?;
    std::env::set_current_dir(bundle).map_err(|e| internal("bundle", e))?;
    let text = fs::read(CONFIG_FILE).map_err(|e| internal(CONFIG_FILE, e))?;
    let config: ShimConfig =
        serde_json::from_slice(&text).map_err(|e| internal(CONFIG_FILE, e.into()))?;
    // The path of a socket has at most 107 bytes, so it is bound by its name in the present directory.
    let listener = UnixListener::bind(SOCKET_FILE).map_err(|e| internal(SOCKET_FILE, e))?;
    let launched = match &config.runtime {
        None => runtime::libcontainer(&config)?,
        Some(path) => runtime::external(path, &config)?,
    };
    Ok((config, launched, listener))
}

/// Executes the same program again, so that the heap and every touched page of the first half are gone.
fn become_monitor(
    bundle: &str,
    config: &ShimConfig,
    launched: &Launched,
    listener: &UnixListener,
) -> io::Error {
    let fds = [Some(&launched.stdout), launched.stderr.as_ref()];
    let number = |fd: Option<&OwnedFd>| fd.map_or(-1, AsRawFd::as_raw_fd);
    let mut keep: Vec<RawFd> = fds.iter().flatten().map(|fd| fd.as_raw_fd()).collect();
    keep.push(listener.as_raw_fd());
    for fd in keep {
        if let Err(error) = sys::set_cloexec(fd, false) {
            return error;
        }
    }
    if let Err(error) = close_standard_streams() {
        return error;
    }
    let arguments = [
        "swarm".to_owned(),
        "shim".to_owned(),
        "monitor".to_owned(),
        bundle.to_owned(),
        config.id.clone(),
        launched.pid.to_string(),
        listener.as_raw_fd().to_string(),
        number(Some(&launched.stdout)).to_string(),
        number(launched.stderr.as_ref()).to_string(),
    ];
    let arguments: Result<Vec<CString>, _> = arguments.into_iter().map(CString::new).collect();
    match arguments {
        Ok(arguments) => sys::execve(&c"/proc/self/exe".to_owned(), &arguments, &[]),
        Err(error) => error.into(),
    }
}

/// The daemon's pipe must not stay open in the monitor; its standard streams become /dev/null.
fn close_standard_streams() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(())
}

fn reply(reply: &LaunchReply) {
    let Ok(mut line) = serde_json::to_vec(reply) else { return };
    line.push(b'\n');
    // A daemon that died meanwhile finds the container by its socket.
    let _ = io::stdout().write_all(&line);
    let _ = io::stdout().flush();
}

/// Reads what the executor wrote into the failure pipe; nothing means that exec succeeded.
pub(super) fn read_failure(pipe: OwnedFd) -> Option<Failure> {
    let mut text = String::new();
    File::from(pipe).read_to_string(&mut text).ok()?;
    let (code, message) = text.split_once('\n')?;
    Some(Failure { exit_code: code.parse().unwrap_or(128), message: message.to_owned() })
}

/// A failure of the shim's own work.
pub(super) fn internal(what: &str, error: io::Error) -> Failure {
    Failure { exit_code: 128, message: format!("{what}: {error}") }
}
