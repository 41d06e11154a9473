//! The one system call of this room: a thread that goes before others.
#![expect(unsafe_code, reason = "setpriority(2) of the calling thread has no safe wrapper")]

/// Well before ordinary processes; not the highest, which kernels' helpers have.
const NICENESS: libc::c_int = -15;

/// Raises the calling thread's priority, where the daemon may: tells whether it did.
pub fn raise_priority() -> bool {
    // SAFETY: takes numbers only; on Linux, process 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) == 0 }
}
