//! Network namespaces that outlive processes: a file that the namespace is mounted on.
//!
//! A thread enters a namespace and never comes back: work in one is done on a scratch thread that ends with it,
//! so that no thread of a runtime is ever left in the wrong place.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::netlink::Netlink;
use crate::{Error, Result};

/// The loopback link has this index in every namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Makes a network namespace, its loopback link up, mounted on `path`. Blocks for less than a millisecond.
pub fn create(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    touch(path).map_err(failed("create", path))?;
    let made = on_scratch_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(io::Error::from)
            .map_err(failed("create", path))?;
        Netlink::open()?.link_up(LOOPBACK_INDEX)?;
        mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(io::Error::from)
            .map_err(failed("mount", path))
    });
    let made = made.map_err(failed("create", path)).flatten();
    if made.is_err() {
        // Nothing is mounted there; a file that stays would only be in the way of the next attempt.
        let _ = fs::remove_file(path);
    }
    made
}

/// Removes the namespace mounted on `path`, with all its links once no process is left in it. No error if it is gone.
pub fn remove(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    // EINVAL: not a mount point, because a restart or an earlier attempt took the mount away.
    match umount2(path, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
        Err(error) => return Err(failed("unmount", path)(error.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Runs `work` on a scratch thread inside the namespace mounted on `path`, and returns what it returned.
pub fn run_in<T: Send>(path: impl AsRef<Path>, work: impl FnOnce() -> T + Send) -> Result<T> {
    let path = path.as_ref();
    let namespace = File::open(path).map_err(failed("open", path))?;
    let done = on_scratch_thread(|| {
        setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
        Ok(work())
    });
    done.flatten().map_err(failed("enter", path))
}

/// Runs `work` on a thread of its own; a panic in it goes on in the caller.
fn on_scratch_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn touch(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    File::options().write(true).create_new(true).open(path).map(drop)
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Namespace { operation, path, source }
}
