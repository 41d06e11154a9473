//! Finding and killing what runs on a host: the processes in its mount namespace and their descendants.
//!
//! Daemons and shims share the host's mount namespace with its keeper; containers have their own and are children
//! of a shim. Their cgroups are removed after them: a killed daemon can't do it any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEATH_TIMEOUT: Duration = Duration::from_secs(10);
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Kills all that shares the keeper's mount namespace, and its descendants, but the keeper.
pub(crate) fn kill_all_of(keeper: u32) {
    let Some(home) = namespace(keeper, "mnt") else { return };
    let deadline = Instant::now() + DEATH_TIMEOUT;
    let mut cgroups = BTreeSet::new();
    // Whoever is about to fork may escape one round, not all of them.
    loop {
        let victims = residents(keeper, &home);
        if victims.is_empty() || Instant::now() > deadline {
            break;
        }
        cgroups.extend(victims.iter().flat_map(|victim| cgroups_of(*victim)));
        for victim in victims {
            let _ = kill(pid(victim), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let kept: BTreeSet<PathBuf> = cgroups_of(keeper).into_iter().collect();
    for cgroup in cgroups.iter().rev().filter(|cgroup| !kept.contains(*cgroup)) {
        remove_cgroup(cgroup, &kept);
    }
}

/// The processes of the host that are still alive, those on their way to it too.
fn residents(keeper: u32, home: &Path) -> BTreeSet<u32> {
    let parents = parents();
    let mut found: BTreeSet<u32> = parents
        .keys()
        .copied()
        .filter(|process| {
            namespace(*process, "mnt").as_deref() == Some(home) || enters(*process, keeper)
        })
        .collect();
    loop {
        let children: Vec<u32> = parents
            .iter()
            .filter(|(child, parent)| found.contains(parent) && !found.contains(child))
            .map(|(child, _)| *child)
            .collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    found.remove(&keeper);
    found
}

/// Whether a process is an `nsenter` that has not reached the keeper's namespaces yet.
fn enters(process: u32, keeper: u32) -> bool {
    let Ok(line) = fs::read(format!("/proc/{process}/cmdline")) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    words.next() == Some(b"nsenter")
        && words.any(|word| word == b"--target")
        && words.next() == Some(keeper.to_string().as_bytes())
}

/// The parent of each process that is not a zombie.
fn parents() -> BTreeMap<u32, u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name in parentheses may have any character; what follows it has not.
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            (state != "Z").then_some((process, parent))
        })
        .collect()
}

fn namespace(process: u32, kind: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()
}

/// The folders of a process' cgroups, in every hierarchy.
fn cgroups_of(process: u32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            let hierarchy = match controllers.strip_prefix("name=").unwrap_or(controllers) {
                "" if Path::new(CGROUP_ROOT).join("unified").is_dir() => "unified",
                hierarchy => hierarchy,
            };
            (!path.is_empty()).then(|| Path::new(CGROUP_ROOT).join(hierarchy).join(path))
        })
        .collect()
}

/// Removes an empty cgroup, and those above it that are empty then.
fn remove_cgroup(cgroup: &Path, kept: &BTreeSet<PathBuf>) {
    let is_ours = |folder: &&Path| {
        folder.starts_with(CGROUP_ROOT)
            && folder.components().count() > 5
            && !kept.iter().any(|kept| kept.starts_with(folder))
    };
    for folder in cgroup.ancestors().take_while(is_ours) {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).expect("the kernel's process IDs fit"))
}
