//! An entry's attributes: owner, mode, times and extended attributes, from the archive's headers to the file.

use std::ffi::CString;
use std::io::{self, Read};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use tar::{Entry, EntryType};

use super::beneath::Place;
use super::sys::set_xattr;

const XATTR_PREFIX: &str = "SCHILY.xattr.";
/// Attributes that steer overlayfs: an archive that could set them could graft any folder into an image.
const FOREIGN_XATTRS: [&str; 2] = ["trusted.overlay.", "user.overlay."];
const PAX_SPARSE: &str = "GNU.sparse.";

/// What an entry's headers say besides its type and name.
pub(super) struct Attributes {
    uid: Uid,
    gid: Gid,
    mode: Mode,
    pub(super) modified: TimeSpec,
    xattrs: Vec<(CString, Vec<u8>)>,
}

impl Attributes {
    pub(super) fn read<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Self> {
        let mut xattrs = Vec::new();
        let mut fraction = None;
        if let Some(extensions) = entry.pax_extensions()? {
            for extension in extensions {
                let extension = extension?;
                let Ok(key) = extension.key() else { continue };
                if key.starts_with(PAX_SPARSE) {
                    return Err(io::Error::new(
                        io::ErrorKind::Unsupported,
                        "PAX sparse files are not supported",
                    ));
                }
                if let Some(name) = key.strip_prefix(XATTR_PREFIX)
                    && !FOREIGN_XATTRS.iter().any(|prefix| name.starts_with(prefix))
                {
                    xattrs.push((CString::new(name)?, extension.value_bytes().to_vec()));
                }
                if key == "mtime" {
                    fraction = extension.value().ok().and_then(pax_time);
                }
            }
        }
        let header = entry.header();
        let seconds = i64::try_from(header.mtime()?).map_err(io::Error::other)?;
        Ok(Self {
            uid: Uid::from_raw(u32::try_from(header.uid()?).map_err(io::Error::other)?),
            gid: Gid::from_raw(u32::try_from(header.gid()?).map_err(io::Error::other)?),
            mode: Mode::from_bits_truncate(header.mode()? & 0o7777),
            modified: fraction.unwrap_or(TimeSpec::new(seconds, 0)),
            xattrs,
        })
    }

    /// Gives them to what was created at `place`. Owner first, then mode (chown clears set-user-ID), then attributes (chown clears capabilities), times last.
    pub(super) fn apply(&self, place: &Place, kind: EntryType) -> io::Result<()> {
        let name = place.name();
        fchownat(
            place.folder(),
            name,
            Some(self.uid),
            Some(self.gid),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?;
        if !kind.is_symlink() {
            // What is here was just created by us and is no symlink, so following is the same as not.
            fchmodat(place.folder(), name, self.mode, FchmodatFlags::FollowSymlink)?;
        }
        for (name, value) in &self.xattrs {
            match set_xattr(&place.through_proc(), name, value) {
                Ok(()) => {}
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EPERM)) =>
                {
                    tracing::debug!(?name, %error, "extended attribute of a layer not kept");
                }
                Err(error) => return Err(error),
            }
        }
        if kind.is_dir() { Ok(()) } else { set_times(place, self.modified) }
    }
}

/// Sets the modification time, and the access time with it.
pub(super) fn set_times(place: &Place, modified: TimeSpec) -> io::Result<()> {
    let path = place.through_proc();
    Ok(utimensat(AT_FDCWD, &path, &modified, &modified, UtimensatFlags::NoFollowSymlink)?)
}

/// PAX times are decimal seconds with a fraction.
fn pax_time(text: &str) -> Option<TimeSpec> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds = format!("{fraction:0<9}");
    Some(TimeSpec::new(seconds.parse().ok()?, nanoseconds.get(..9)?.parse().ok()?))
}
