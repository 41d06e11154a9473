//! Removing a tree of cgroups in every hierarchy that is mounted here, once nothing runs in it any more.

use std::fs;
use std::path::{Path, PathBuf};

/// Removes the cgroup `path` with all below it; whether it is gone everywhere.
pub(super) fn remove(path: &Path) -> bool {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let inside = path.strip_prefix("/").unwrap_or(path);
    let mut gone = true;
    for mount in hierarchies(&mountinfo) {
        let folder = mount.join(inside);
        remove_tree(&folder);
        gone &= !folder.exists();
    }
    gone
}

/// Whether a hierarchy is mounted at all.
pub(super) fn available() -> bool {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    !hierarchies(&mountinfo).is_empty()
}

/// Mount points of cgroup file systems (proc(5): the type follows ` - `).
fn hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let is_cgroup = matches!(after.split(' ').next()?, "cgroup" | "cgroup2");
        is_cgroup.then(|| before.split(' ').nth(4).map(PathBuf::from)).flatten()
    });
    mounts.collect()
}

/// A cgroup's files can't be removed and needn't be: its folder counts as empty without children.
fn remove_tree(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // What is in use stays; the caller looks.
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_hierarchies() {
        let mountinfo = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                         31 25 0:27 / /proc rw - proc proc rw\n\
                         32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let expect = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        assert_eq!(hierarchies(mountinfo), expect);
    }
}
