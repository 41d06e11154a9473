//! System calls of the shim that have no safe wrapper: capabilities, seccomp, fork and exec, terminals.
#![expect(unsafe_code, reason = "raw system calls; each block states why it is sound")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use libcontainer::oci_spec::runtime::PosixRlimitType;
use nix::sys::signal::SigSet;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Whether the last call failed, as an `io::Result`.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Becomes the parent of orphaned descendants.
pub(super) fn become_subreaper() -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }.into()).map(drop)
}

/// Names the process for `ps`.
pub(super) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the pointer is to a NUL-terminated string that outlives the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Sets or clears close-on-exec.
pub(super) fn set_cloexec(fd: RawFd, on: bool) -> io::Result<()> {
    let flags = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD takes an integer and touches no memory.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }.into()).map(drop)
}

/// Takes ownership of a descriptor that was inherited under a known number.
pub(super) fn adopt_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: the launcher passed this descriptor to us and nothing else in this process knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Gives signals their default action again (Rust ignores SIGPIPE, and ignored signals survive exec).
pub(super) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: installing the default handler; calls for SIGKILL, SIGSTOP and unused numbers fail harmlessly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialised by sigemptyset before it is used.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Limits the calling thread to the capabilities of `keep` (bit n is capability n): bounding, permitted, effective.
/// Inheritable and ambient become empty, as in Docker.
pub(super) fn limit_capabilities(keep: u64) -> io::Result<()> {
    for capability in 0..64u32 {
        if keep & (1 << capability) != 0 {
            continue;
        }
        // SAFETY: prctl with integer arguments only.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if result < 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EINVAL) {
                break; // past the kernel's last capability
            }
            return Err(error);
        }
    }
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut current = [CapData { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: both pointers are to live values of the layout that version 3 asks for (two data words).
    check(unsafe { libc::syscall(libc::SYS_capget, &header, current.as_mut_ptr()) })?;
    let word = |index: usize| {
        let wanted = u32::try_from((keep >> (32 * index)) & 0xffff_ffff).unwrap_or(0);
        let granted = wanted & current[index].permitted;
        CapData { effective: granted, permitted: granted, inheritable: 0 }
    };
    let data = [word(0), word(1)];
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) })?;
    // SAFETY: prctl with integer arguments only.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    Ok(())
}

/// Keeps the capabilities over the coming change of user.
pub(super) fn keep_capabilities() -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }.into()).map(drop)
}

/// Makes all permitted capabilities effective, which a change of user ends.
pub(super) fn raise_capabilities() -> io::Result<()> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [CapData { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: both pointers are to live values of the layout that version 3 asks for (two data words).
    check(unsafe { libc::syscall(libc::SYS_capget, &header, data.as_mut_ptr()) })?;
    for word in &mut data {
        word.effective = word.permitted;
    }
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) }).map(drop)
}

/// Asks the kernel to kill this process when its parent ends. A change of user undoes it.
pub(super) fn die_with_parent() -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }.into()).map(drop)
}

/// Closes this process's memory and files to everybody who may not trace all processes.
pub(super) fn become_undumpable() -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into()).map(drop)
}

/// Limits a resource of this process.
pub(super) fn limit_resource(kind: PosixRlimitType, soft: u64, hard: u64) -> io::Result<()> {
    use PosixRlimitType as Kind;
    let resource = match kind {
        Kind::RlimitCpu => libc::RLIMIT_CPU,
        Kind::RlimitFsize => libc::RLIMIT_FSIZE,
        Kind::RlimitData => libc::RLIMIT_DATA,
        Kind::RlimitStack => libc::RLIMIT_STACK,
        Kind::RlimitCore => libc::RLIMIT_CORE,
        Kind::RlimitRss => libc::RLIMIT_RSS,
        Kind::RlimitNproc => libc::RLIMIT_NPROC,
        Kind::RlimitNofile => libc::RLIMIT_NOFILE,
        Kind::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        Kind::RlimitAs => libc::RLIMIT_AS,
        Kind::RlimitLocks => libc::RLIMIT_LOCKS,
        Kind::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        Kind::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        Kind::RlimitNice => libc::RLIMIT_NICE,
        Kind::RlimitRtprio => libc::RLIMIT_RTPRIO,
        Kind::RlimitRttime => libc::RLIMIT_RTTIME,
    };
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel only reads the limit, which lives until after the call.
    check(unsafe { libc::setrlimit(resource, &limit) }.into()).map(drop)
}

/// Waits for one of the signals, which are blocked, at most so long.
pub(super) fn wait_for_signal(signals: &SigSet, limit: Duration) {
    let limit = nix::sys::time::TimeSpec::from_duration(limit);
    // SAFETY: both pointers are to live values; no information about the signal is asked for.
    unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), limit.as_ref()) };
}

/// Installs one seccomp filter given as the kernel's 8-byte instructions.
pub(super) fn install_seccomp(program: &[u8]) -> io::Result<()> {
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|b| libc::sock_filter {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect();
    let length =
        u16::try_from(instructions.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let filter = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut() };
    // SAFETY: `filter` points to `length` instructions that live until after the call; the kernel only reads them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &filter) })
        .map(drop)
}

/// Replaces the process's image; returns only with the error.
pub(super) fn execve(path: &CString, args: &[CString], env: &[CString]) -> io::Error {
    match nix::unistd::execve(path, args, env) {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}

/// Forks the single-threaded process: `Some(pid)` in the parent, `None` in the child.
pub(super) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the shim and our init are single-threaded, so the child may go on as any process may.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Some(child.as_raw())),
        nix::unistd::ForkResult::Child => Ok(None),
    }
}

/// Brings the loopback interface of the present network namespace up.
pub(super) fn loopback_up() -> io::Result<()> {
    // SAFETY: socket takes integers; the returned descriptor is owned at once.
    let socket = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) }.into())?;
    let socket = RawFd::try_from(socket).map_err(io::Error::other)?;
    let _owner = adopt_fd(socket);
    // SAFETY: ifreq is plain data for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let flags = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or(0);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives until after the call.
    check(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request) }.into()).map(drop)
}

/// Takes the pages of code and read-only data that only start-up needed out of this process. They stay in the page
/// cache, shared by all shims, and come back when they are touched.
pub(super) fn forget_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let ranges: Vec<(usize, usize)> = maps.lines().filter_map(code_range).collect();
    // Nothing else in this loop, since what runs comes back.
    for (start, length) in ranges {
        // SAFETY: the range is a private, never written mapping of a file: its pages are read from there again.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
}

/// Start and length of a mapping of code or constants, from its line in /proc/self/maps.
fn code_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights, offset) = (fields.next()?, fields.next()?, fields.next()?);
    // Relocated data is read-only too, but never at the start of its file; it would not come back.
    let is_code = rights == "r-xp" || (rights == "r--p" && offset.bytes().all(|b| b == b'0'));
    if !is_code || !fields.nth(2)?.starts_with('/') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    end.checked_sub(start).map(|length| (start, length))
}

/// Gives memory that the heap holds but does not use back to the kernel.
pub(super) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Sends a signal by number, for the real-time signals that have no name.
pub(super) fn kill_raw(pid: i32, signal: i32) -> nix::Result<()> {
    // SAFETY: kill takes integers only.
    nix::errno::Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Accepts one connection and takes the descriptor that comes with its first message.
pub(super) fn receive_fd(listener: &UnixListener) -> io::Result<OwnedFd> {
    let (peer, _) = listener.accept()?;
    let mut text = [0u8; 4096];
    let mut parts = [io::IoSliceMut::new(&mut text)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(peer.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part
            && let Some(fd) = fds.first()
        {
            return Ok(adopt_fd(*fd));
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no terminal was handed over"))
}

/// Commands and kinds of bpf(2).
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The beginning of `union bpf_attr` for loading; the kernel takes what follows as zero.
#[repr(C)]
struct LoadProgram {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct AttachProgram {
    target: i32,
    program: i32,
    kind: u32,
    flags: u32,
}

/// Loads a program that decides about devices.
pub(super) fn load_device_program(instructions: &[[u8; 8]]) -> io::Result<OwnedFd> {
    let attributes = LoadProgram {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    let size = size_of::<LoadProgram>();
    // SAFETY: the attributes and what they point to live until after the call; the kernel only reads them.
    let fd = check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &attributes, size) })?;
    Ok(adopt_fd(RawFd::try_from(fd).map_err(io::Error::other)?))
}

/// Puts a loaded device program on a cgroup (an open folder), where it stays as long as the cgroup.
pub(super) fn attach_device_program(program: &OwnedFd, cgroup: &std::fs::File) -> io::Result<()> {
    let attributes = AttachProgram {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    let size = size_of::<AttachProgram>();
    // SAFETY: the attributes live until after the call and the kernel only reads them.
    check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &attributes, size) }).map(drop)
}
