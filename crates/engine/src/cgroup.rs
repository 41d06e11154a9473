//! Where this host's cgroups are (v1, v2 or both), for what the engine itself does with them: reading OOM counters,
//! killing and removing what an ended container left.
//!
//! Creating cgroups and setting limits is libcontainer's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One mounted cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    unified: bool,
    /// Super options of the mount, which name v1's controllers.
    controllers: Vec<String>,
}

/// The cgroup hierarchies of this host.
#[derive(Debug, Clone, Default)]
pub(crate) struct CgroupLayout {
    hierarchies: Vec<Hierarchy>,
}

impl CgroupLayout {
    /// Looks the hierarchies up.
    pub(crate) fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads mountinfo (proc(5)): after ` - ` come the file system's type, its source and its super options.
    fn parse(mountinfo: &str) -> Self {
        let hierarchies = mountinfo.lines().filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let unified = match after.next()? {
                "cgroup2" => true,
                "cgroup" => false,
                _ => return None,
            };
            let mount = PathBuf::from(before.split(' ').nth(4)?);
            let controllers = after.nth(1)?.split(',').map(str::to_owned).collect();
            Some(Hierarchy { mount, unified, controllers })
        });
        Self { hierarchies: hierarchies.collect() }
    }

    /// Whether only v2 is there.
    pub(crate) fn is_unified(&self) -> bool {
        self.hierarchies.iter().all(|h| h.unified)
    }

    /// Docker's name for the version: "1" unless only v2 is mounted.
    pub(crate) fn version(&self) -> &'static str {
        if self.is_unified() { "2" } else { "1" }
    }

    /// The file that counts OOM kills of `cgroup`.
    pub(crate) fn oom_counter(&self, cgroup: &Path) -> Option<PathBuf> {
        if let Some(memory) = self.v1("memory") {
            return Some(within(memory, cgroup).join("memory.oom_control"));
        }
        let unified = self.hierarchies.iter().find(|h| h.unified)?;
        Some(within(unified, cgroup).join("memory.events"))
    }

    /// The directory of `cgroup` where only v2 can restrict its devices, by a program.
    pub(crate) fn device_program_target(&self, cgroup: &Path) -> Option<PathBuf> {
        if self.v1("devices").is_some() {
            return None;
        }
        self.hierarchies.iter().find(|h| h.unified).map(|unified| within(unified, cgroup))
    }

    /// Whether the kernel can limit swap; a limit that it can't set would fail the container.
    pub(crate) fn limits_swap(&self) -> bool {
        match self.v1("memory") {
            Some(memory) => memory.mount.join("memory.memsw.limit_in_bytes").exists(),
            None => Path::new("/proc/swaps").exists(),
        }
    }

    /// The directories that hold `cgroup` where a service manager tracks processes.
    pub(crate) fn tracking(&self, cgroup: &Path) -> Vec<PathBuf> {
        let named = self.hierarchies.iter().filter(|h| {
            h.unified || h.controllers.iter().any(|controller| controller == "name=systemd")
        });
        named.map(|h| within(h, cgroup)).collect()
    }

    /// Kills every process left in `cgroup`.
    pub(crate) fn kill(&self, cgroup: &Path) {
        for hierarchy in &self.hierarchies {
            let procs = within(hierarchy, cgroup).join("cgroup.procs");
            for line in fs::read_to_string(procs).unwrap_or_default().lines() {
                if let Ok(pid) = line.parse::<i32>()
                    && pid > 1
                {
                    let pid = nix::unistd::Pid::from_raw(pid);
                    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                }
            }
        }
    }

    /// The files that take the processes of `cgroup` in, open; hierarchies that don't have it are left out.
    pub(crate) fn entrances(&self, cgroup: &Path) -> io::Result<Vec<fs::File>> {
        let mut entrances = Vec::new();
        for hierarchy in &self.hierarchies {
            let procs = within(hierarchy, cgroup).join("cgroup.procs");
            match fs::File::options().write(true).open(procs) {
                Ok(file) => entrances.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entrances)
    }

    /// Removes `cgroup` with what is below it, in every hierarchy. What is in use stays.
    pub(crate) fn remove(&self, cgroup: &Path) {
        for hierarchy in &self.hierarchies {
            remove_tree(&within(hierarchy, cgroup));
        }
    }

    fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        let has = |h: &&Hierarchy| !h.unified && h.controllers.iter().any(|c| c == controller);
        self.hierarchies.iter().find(has)
    }
}

fn within(hierarchy: &Hierarchy, cgroup: &Path) -> PathBuf {
    hierarchy.mount.join(cgroup.strip_prefix("/").unwrap_or(cgroup))
}

fn remove_tree(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_hierarchies() {
        let hybrid = "30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      31 25 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let layout = CgroupLayout::parse(hybrid);
        let counter = layout.oom_counter(Path::new("/swarm/c1"));
        let expected = "/sys/fs/cgroup/memory/swarm/c1/memory.oom_control";
        assert_eq!(counter, Some(PathBuf::from(expected)));
        assert_eq!(layout.tracking(Path::new("/swarm/shims")).len(), 2);
        assert_eq!(layout.version(), "1");
        assert!(layout.device_program_target(Path::new("/swarm/c1")).is_some());
        let unified = "32 25 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let layout = CgroupLayout::parse(unified);
        let counter = layout.oom_counter(Path::new("/swarm/c1"));
        assert_eq!(counter, Some(PathBuf::from("/sys/fs/cgroup/swarm/c1/memory.events")));
        assert_eq!(layout.version(), "2");
    }
}
