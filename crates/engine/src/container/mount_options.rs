//! Options of `--mount`: which belong to which type, and what they ask of a bind or a tmpfs.
//!
//! Mirrors moby's `daemon/volume/mounts` (validate.go, linux_parser.go) and its messages.

use std::path::Path;

use bollard_stubs::models::{Mount, MountBindOptions, MountTmpfsOptions, MountType};

use super::Record;
use crate::error::{Error, Result};

/// Options of a tmpfs beside its size and mode; Docker knows no others.
const TMPFS_OPTIONS: [&str; 2] = ["exec", "noexec"];

/// Refuses options that don't belong to the mount's type, contradict each other, or that this engine lacks.
pub(super) fn check(mount: &Mount) -> Result<()> {
    let Some(kind) = mount.typ else { return Ok(()) };
    let invalid =
        |why: &str| Err(Error::invalid(format!("invalid mount config for type \"{kind}\": {why}")));
    for (given, owner, field) in [
        (mount.bind_options.is_some(), MountType::BIND, "BindOptions"),
        (mount.volume_options.is_some(), MountType::VOLUME, "VolumeOptions"),
        (mount.image_options.is_some(), MountType::IMAGE, "ImageOptions"),
        (mount.tmpfs_options.is_some(), MountType::TMPFS, "TmpfsOptions"),
    ] {
        if given && kind != owner {
            return invalid(&format!("field {field} must not be specified"));
        }
    }
    let subpath = mount.volume_options.as_ref().and_then(|options| options.subpath.as_deref());
    if subpath.is_some_and(|subpath| !subpath.is_empty()) {
        return invalid("the option volume-subpath is not supported by this engine");
    }
    if let Some(options) = &mount.bind_options {
        let set = |flag: Option<bool>| flag == Some(true);
        if set(options.read_only_non_recursive) && set(options.read_only_force_recursive) {
            let why = "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive";
            return Err(Error::invalid(why));
        }
    }
    let options = mount.tmpfs_options.iter().flat_map(|options| options.options.iter().flatten());
    for option in options {
        match option.as_slice() {
            [name] | [name, _] if TMPFS_OPTIONS.contains(&name.as_str()) => {}
            [name] | [name, _] => return invalid(&format!("invalid option: {name}")),
            _ => return invalid("invalid option array length"),
        }
    }
    Ok(())
}

/// How a bind treats the mounts below its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Below {
    /// They are shown.
    pub(super) shown: bool,
    /// They are read-only where the bind is.
    pub(super) read_only: bool,
}

/// What a bind's options say of what is below it.
///
/// # Errors
/// The kernel can't make mounts below a bind read-only, and the options insist on it.
pub(super) fn below(record: &Record, target: &Path) -> Result<Below> {
    let options = of(record, target).and_then(|mount| mount.bind_options.clone());
    let options: MountBindOptions = options.unwrap_or_default();
    let supported = has_recursive_attributes();
    if options.read_only_force_recursive == Some(true) && !supported {
        let why = "recursively read-only mounts are not supported: they need kernel 5.12 or newer";
        return Err(Error::invalid(why));
    }
    Ok(Below {
        shown: options.non_recursive != Some(true),
        read_only: options.read_only_non_recursive != Some(true) && supported,
    })
}

/// The options of a tmpfs as mount(8) writes them.
pub(super) fn tmpfs(record: &Record, target: &Path) -> Vec<String> {
    let options = of(record, target).and_then(|mount| mount.tmpfs_options.clone());
    let options: MountTmpfsOptions = options.unwrap_or_default();
    let mut all = Vec::new();
    if let Some(size) = options.size_bytes.filter(|size| *size > 0) {
        all.push(format!("size={size}"));
    }
    if let Some(mode) = options.mode.filter(|mode| *mode > 0) {
        all.push(format!("mode={mode:o}"));
    }
    all.extend(options.options.iter().flatten().map(|option| option.join("=")));
    all
}

fn of<'a>(record: &'a Record, target: &Path) -> Option<&'a Mount> {
    let mut mounts = record.host.mounts.iter().flatten();
    mounts.find(|mount| mount.target.as_deref().map(Path::new) == Some(target))
}

/// mount_setattr(2) came with Linux 5.12.
fn has_recursive_attributes() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|text| is_at_least_5_12(&text))
}

fn is_at_least_5_12(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next(), numbers.next());
    matches!(version, (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (5, 12))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_belong_to_types() {
        let refusal = |text: serde_json::Value| {
            let mount: Mount = serde_json::from_value(text).expect("a mount");
            check(&mount).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let of = |kind: &str, why: &str| format!("invalid mount config for type \"{kind}\": {why}");
        for (mount, expect) in [
            (json!({ "Type": "bind", "BindOptions": { "NonRecursive": true } }), String::new()),
            (
                json!({ "Type": "volume", "BindOptions": {} }),
                of("volume", "field BindOptions must not be specified"),
            ),
            (
                json!({ "Type": "tmpfs", "VolumeOptions": {} }),
                of("tmpfs", "field VolumeOptions must not be specified"),
            ),
            (
                json!({ "Type": "bind", "TmpfsOptions": {} }),
                of("bind", "field TmpfsOptions must not be specified"),
            ),
            (
                json!({ "Type": "volume", "VolumeOptions": { "Subpath": "a" } }),
                of("volume", "the option volume-subpath is not supported by this engine"),
            ),
            (
                json!({ "Type": "bind", "BindOptions":
                    { "ReadOnlyNonRecursive": true, "ReadOnlyForceRecursive": true } }),
                "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive".into(),
            ),
            (json!({ "Type": "tmpfs", "TmpfsOptions": { "Options": [["exec"]] } }), String::new()),
            (
                json!({ "Type": "tmpfs", "TmpfsOptions": { "Options": [["uid", "1"]] } }),
                of("tmpfs", "invalid option: uid"),
            ),
            (
                json!({ "Type": "tmpfs", "TmpfsOptions": { "Options": [[]] } }),
                of("tmpfs", "invalid option array length"),
            ),
        ] {
            assert_eq!(refusal(mount.clone()), expect, "{mount}");
        }
    }

    #[test]
    fn compares_kernels() {
        for (release, expect) in
            [("5.12.0", true), ("6.1-x", true), ("5.4.0-1", false), ("4.19", false), ("x", false)]
        {
            assert_eq!(is_at_least_5_12(release), expect, "{release}");
        }
    }
}
