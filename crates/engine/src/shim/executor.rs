//! The last steps inside the container before its own program runs: capabilities, seccomp, exec.
//!
//! libcontainer hands over with all capabilities still held (its spec names none), because a seccomp filter without
//! `no_new_privileges` needs CAP_SYS_ADMIN to install. So the filter goes in first, then the capabilities go, then exec.
//! A failure travels through a pipe that a successful exec closes, so the launcher learns execve's own verdict.

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};

use super::{init, sys};

/// What the launcher wants done before exec.
#[derive(Clone)]
pub(super) struct ContainerExecutor {
    /// Capabilities to keep, as bits.
    pub capabilities: u64,
    /// Seccomp filters, each a program for the kernel, installed in order.
    pub filters: Vec<Vec<u8>>,
    /// Whether to stay as PID 1 and run the program as a child.
    pub init: bool,
    /// Whether to bring the loopback interface up.
    pub loopback: bool,
    /// Descriptor of the pipe that takes the failure.
    pub failure_pipe: i32,
}

impl Executor for ContainerExecutor {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let failure = match self.prepare(spec) {
            Ok(command) if self.init => init::run(|| self.enter(&command)),
            Ok(command) => self.enter(&command),
            Err(failure) => failure,
        };
        let mut pipe = std::fs::File::from(sys::adopt_fd(self.failure_pipe));
        let text = format!("{}\n{}", failure.exit_code, failure.message);
        if pipe.write_all(text.as_bytes()).is_err() {
            return Err(ExecutorError::Other(failure.message));
        }
        drop(pipe);
        std::process::exit(failure.exit_code)
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        if self.loopback {
            sys::loopback_up().map_err(|error| {
                ExecutorValidationError::ArgValidationError(format!("loopback interface: {error}"))
            })?;
        }
        Ok(())
    }

    /// The environment is given to execve directly, in the order and with the duplicates of the spec.
    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// Why the container's program could not be executed, with the exit code that Docker gives it.
pub(super) struct Failure {
    /// 126 for not executable, 127 for not found, 128 for what is not about the program.
    pub exit_code: i32,
    /// In the words of Docker's runtime.
    pub message: String,
}

struct Command {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    name: String,
}

impl ContainerExecutor {
    /// Executes the program of a specification whose other settings are in force already; returns the failure.
    pub(super) fn execute(&self, spec: &Spec) -> Failure {
        self.prepare(spec).map_or_else(|failure| failure, |command| self.enter(&command))
    }

    fn prepare(&self, spec: &Spec) -> Result<Command, Failure> {
        let process = spec.process().as_ref();
        let args = process.and_then(|p| p.args().clone()).unwrap_or_default();
        let env = process.and_then(|p| p.env().clone()).unwrap_or_default();
        let name = args.first().cloned().unwrap_or_default();
        for filter in &self.filters {
            sys::install_seccomp(filter)
                .map_err(|e| system("installing the seccomp filter", &e))?;
        }
        sys::limit_capabilities(self.capabilities)
            .map_err(|e| system("dropping capabilities", &e))?;
        let path = find_executable(&name, &env)?;
        Ok(Command {
            path: c_string(path.to_string_lossy().as_ref())?,
            args: args.iter().map(|a| c_string(a)).collect::<Result<_, _>>()?,
            env: env.iter().map(|e| c_string(e)).collect::<Result<_, _>>()?,
            name,
        })
    }

    fn enter(&self, command: &Command) -> Failure {
        sys::reset_signals();
        let error = sys::execve(&command.path, &command.args, &command.env);
        let shown = command.path.to_string_lossy();
        match error.raw_os_error() {
            Some(libc::ENOEXEC) => not_executable(&shown, "exec format error"),
            Some(libc::ENOENT) => not_found(&shown, "no such file or directory"),
            Some(libc::EACCES) => not_executable(&shown, "permission denied"),
            _ => not_executable(&command.name, &lower(&error)),
        }
    }
}

/// Looks the program up as `exec.LookPath` does, with the container's PATH and the container user's rights.
fn find_executable(name: &str, env: &[String]) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(stat_not_found(name)),
            Err(e) => Err(not_executable(name, &lower(&e))),
        };
    }
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    let mut denied = false;
    for folder in path.split(':') {
        let folder = if folder.is_empty() { "." } else { folder };
        let candidate = Path::new(folder).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(e) => denied |= e.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    if denied && !name.is_empty() {
        return Err(not_executable(name, "permission denied"));
    }
    Err(not_found(name, "executable file not found in $PATH"))
}

fn executable(path: &Path) -> io::Result<()> {
    if path.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "is a directory"));
    }
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK)?;
    Ok(())
}

fn not_found(name: &str, why: &str) -> Failure {
    Failure { exit_code: 127, message: format!("exec: \"{name}\": {why}") }
}

fn stat_not_found(name: &str) -> Failure {
    let message = format!("exec: \"{name}\": stat {name}: no such file or directory");
    Failure { exit_code: 127, message }
}

fn not_executable(name: &str, why: &str) -> Failure {
    Failure { exit_code: 126, message: format!("exec: \"{name}\": {why}") }
}

fn system(what: &str, error: &io::Error) -> Failure {
    Failure { exit_code: 128, message: format!("{what}: {}", lower(error)) }
}

/// An OS error in the style of Go's messages: lower case, without the number.
fn lower(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_lowercase(),
        None => error.to_string(),
    }
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure {
        exit_code: 126,
        message: format!("exec: {text:?}: invalid argument"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_programs_up_as_docker_does() {
        let env = ["PATH=/nowhere:/bin:/usr/bin".to_owned()];
        for (name, code, message) in [
            (
                "no-such-program",
                127,
                "exec: \"no-such-program\": executable file not found in $PATH",
            ),
            ("/no/such", 127, "exec: \"/no/such\": stat /no/such: no such file or directory"),
            ("/etc/passwd", 126, "exec: \"/etc/passwd\": permission denied"),
            ("/etc", 126, "exec: \"/etc\": is a directory"),
        ] {
            let failure = find_executable(name, &env).err();
            let failure = failure.map(|f| (f.exit_code, f.message));
            assert_eq!(failure, Some((code, message.to_owned())));
        }
        assert!(find_executable("sh", &env).is_ok());
    }
}
