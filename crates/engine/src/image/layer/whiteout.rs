//! Deletions: from the image format's marker files to overlayfs' own.
//!
//! Mirrors the OCI image spec, "Whiteouts", and the kernel's overlayfs document, "whiteouts and opaque directories".
//! A marker hides only what lies in the layers below: what the same layer brings stays, whatever the order of entries.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use nix::sys::stat::{Mode, SFlag, mknodat};

use super::beneath::{Place, is_folder};
use super::sys::set_xattr;

const PREFIX: &[u8] = b".wh.";
const META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a file name of the archive says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// An ordinary entry.
    None,
    /// The folder hides all that the layers below have in it.
    Opaque,
    /// The named entry is deleted.
    Deleted(&'a OsStr),
    /// AUFS' own bookkeeping, which means nothing here.
    Ignored,
}

/// Reads the marker from a file name.
pub(super) fn marker(name: &OsStr) -> Marker<'_> {
    let bytes = name.as_bytes();
    if bytes == OPAQUE {
        return Marker::Opaque;
    }
    if bytes.starts_with(META_PREFIX) {
        return Marker::Ignored;
    }
    match bytes.strip_prefix(PREFIX) {
        Some(deleted) if !deleted.is_empty() && deleted != b"." && deleted != b".." => {
            Marker::Deleted(OsStr::from_bytes(deleted))
        }
        Some(_) => Marker::Ignored,
        None => Marker::None,
    }
}

/// Hides what the layers below have at `place`.
pub(super) fn delete(place: &Place) -> io::Result<()> {
    match place.status()? {
        None => Ok(mknodat(place.folder(), place.name(), SFlag::S_IFCHR, Mode::empty(), 0)?),
        Some(status) if is_folder(&status) => make_opaque(place),
        Some(_) => Ok(()),
    }
}

/// Marks the folder at `place` as hiding the content of its namesakes below.
pub(super) fn make_opaque(place: &Place) -> io::Result<()> {
    set_xattr(&place.through_proc(), c"trusted.overlay.opaque", b"y")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_told_from_names() {
        for (name, expect) in [
            ("file", Marker::None),
            (".wh", Marker::None),
            (".wh.gone", Marker::Deleted(OsStr::new("gone"))),
            (".wh..hidden", Marker::Deleted(OsStr::new(".hidden"))),
            (".wh..wh..opq", Marker::Opaque),
            (".wh..wh.plnk", Marker::Ignored),
            (".wh.", Marker::Ignored),
            (".wh..", Marker::Ignored),
            (".wh...", Marker::Ignored),
        ] {
            assert_eq!(marker(OsStr::new(name)), expect, "{name}");
        }
    }
}
