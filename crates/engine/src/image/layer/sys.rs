//! Extended attributes, which nix does not have.
#![expect(
    unsafe_code,
    reason = "lsetxattr, lgetxattr and llistxattr have no safe wrapper among our dependencies"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The kernel's own limit for one value and for a list of names (XATTR_SIZE_MAX, XATTR_LIST_MAX).
const XATTR_BYTES_MAX: usize = 64 * 1024;

/// Sets an attribute on `path` itself, never on what a symlink points to.
pub(crate) fn set_xattr(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: both strings end with NUL and live across the call; `value` is valid for its length.
    let outcome = unsafe {
        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Copies all attributes of one file to another; those that the target cannot have are left out.
pub(crate) fn copy_xattrs(from: &Path, to: &Path) -> io::Result<()> {
    let from = CString::new(from.as_os_str().as_bytes())?;
    let mut names = vec![0u8; XATTR_BYTES_MAX];
    // SAFETY: the path ends with NUL; the buffer is writable for the length given.
    let length = unsafe { libc::llistxattr(from.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    let Ok(length) = usize::try_from(length) else {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EOPNOTSUPP) { Ok(()) } else { Err(error) };
    };
    names.truncate(length);
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if name.to_bytes().starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0u8; XATTR_BYTES_MAX];
        // SAFETY: both strings end with NUL; the buffer is writable for the length given.
        let length = unsafe {
            libc::lgetxattr(from.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
        };
        if let Ok(length) = usize::try_from(length)
            && let Err(error) = set_xattr(to, name, &value[..length])
        {
            tracing::debug!(path = %to.display(), ?name, %error, "extended attribute not copied");
        }
    }
    Ok(())
}
