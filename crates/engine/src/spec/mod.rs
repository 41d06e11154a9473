//! The OCI runtime specification of a container, built from the API's configuration.
//!
//! Pure: what must be looked up on disk (users, mounts, devices) comes in with [`SpecInput`]. Mirrors moby's
//! `daemon/oci_linux.go` and the defaults of its `oci` package.

pub(crate) mod capabilities;
pub(crate) mod devices;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod ulimits;
pub(crate) mod user;

use std::path::{Path, PathBuf};

use bollard_stubs::models::{ContainerConfig, HostConfig, HostConfigCgroupnsModeEnum};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxSeccomp,
    RootBuilder, Spec, SpecBuilder,
};

use crate::error::{Error, Result};
use capabilities::CapabilitySet;
use devices::ResolvedDevice;
use mounts::{DefaultMounts, ResolvedMount};
use user::ProcessUser;

/// Size of /dev/shm unless told otherwise.
const SHM_SIZE_BYTES: i64 = 64 * 1024 * 1024;

/// Paths hidden from an unprivileged container (moby's `oci.DefaultSpec`).
const MASKED_PATHS: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
];
/// Hidden as well: the machine's firmware, and power counters that leak secrets through timing.
const MASKED_SYS_PATHS: [&str; 2] = ["/sys/firmware", "/sys/devices/virtual/powercap"];
/// Paths that an unprivileged container may not write.
const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Everything that a specification is made of.
pub(crate) struct SpecInput<'a> {
    pub(crate) config: &'a ContainerConfig,
    pub(crate) host: &'a HostConfig,
    /// Program and its arguments.
    pub(crate) args: Vec<String>,
    /// The mounted root file system.
    pub(crate) rootfs: &'a Path,
    /// Folder with `hosts`, `hostname` and `resolv.conf`.
    pub(crate) files: &'a Path,
    pub(crate) cgroup: PathBuf,
    /// Whether the container sees its own cgroup as the root (Docker's default where only v2 is mounted).
    pub(crate) private_cgroup: bool,
    /// Whether the kernel can limit swap.
    pub(crate) limits_swap: bool,
    /// How the container gets its network namespace.
    pub(crate) network: NetworkNamespace,
    pub(crate) mounts: &'a [ResolvedMount],
    pub(crate) devices: &'a [ResolvedDevice],
    pub(crate) user: ProcessUser,
    /// `None` leaves dropping them to our own executor.
    pub(crate) capabilities: Option<CapabilitySet>,
    /// For external runtimes; our own executor installs a compiled program.
    pub(crate) seccomp: Option<LinuxSeccomp>,
    pub(crate) no_new_privileges: bool,
}

/// Where a container's network namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkNamespace {
    /// The host's.
    Host,
    /// A fresh one with only a loopback interface.
    Fresh,
    /// An existing one.
    Path(PathBuf),
}

/// Builds the specification.
pub(crate) fn build(input: &SpecInput<'_>) -> Result<Spec> {
    let root = RootBuilder::default()
        .path(input.rootfs)
        .readonly(input.host.readonly_rootfs.unwrap_or(false))
        .build();
    let all_mounts = mounts::mounts(&DefaultMounts {
        shm_size_bytes: input.host.shm_size.filter(|s| *s > 0).unwrap_or(SHM_SIZE_BYTES),
        privileged: is_privileged(input.host),
        files: input.files,
        host_ipc: input.host.ipc_mode.as_deref() == Some("host"),
        user: input.mounts,
    })?;
    let mut builder = SpecBuilder::default()
        .version("1.0.2")
        .root(built(root)?)
        .mounts(all_mounts)
        .process(process::process(input)?)
        .linux(linux(input)?);
    if input.host.uts_mode.as_deref() != Some("host") {
        if let Some(hostname) = &input.config.hostname {
            builder = builder.hostname(hostname.clone());
        }
        if let Some(domain) = input.config.domainname.clone().filter(|d| !d.is_empty()) {
            builder = builder.domainname(domain);
        }
    }
    let mut spec = built(builder.build())?;
    // The builder's defaults must not leak in where Docker has nothing.
    spec.set_hooks(None);
    Ok(spec)
}

fn linux(input: &SpecInput<'_>) -> Result<Linux> {
    let privileged = is_privileged(input.host);
    let mut builder = LinuxBuilder::default()
        .cgroups_path(input.cgroup.clone())
        .namespaces(namespaces(input)?)
        .resources(resources::resources(input.host, devices::rules(input)?, input.limits_swap)?)
        .devices(devices::nodes(input.devices)?);
    if let Some(sysctls) = input.host.sysctls.clone() {
        builder = builder.sysctl(sysctls);
    }
    builder = match (&input.host.masked_paths, privileged) {
        (Some(paths), _) => builder.masked_paths(paths.clone()),
        (None, true) => builder.masked_paths(Vec::new()),
        (None, false) => {
            builder.masked_paths(strings(&[&MASKED_PATHS[..], &MASKED_SYS_PATHS].concat()))
        }
    };
    builder = match (&input.host.readonly_paths, privileged) {
        (Some(paths), _) => builder.readonly_paths(paths.clone()),
        (None, true) => builder.readonly_paths(Vec::new()),
        (None, false) => builder.readonly_paths(strings(&READONLY_PATHS)),
    };
    if let Some(seccomp) = &input.seccomp {
        builder = builder.seccomp(seccomp.clone());
    }
    built(builder.build())
}

fn namespaces(input: &SpecInput<'_>) -> Result<Vec<LinuxNamespace>> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Uts};
    let mut all = vec![namespace(Mount, None)?];
    let host = input.host;
    for (kind, mode) in [(Uts, &host.uts_mode), (Ipc, &host.ipc_mode), (Pid, &host.pid_mode)] {
        if mode.as_deref() != Some("host") {
            all.push(namespace(kind, None)?);
        }
    }
    let cgroup_mode = host.cgroupns_mode.unwrap_or(HostConfigCgroupnsModeEnum::EMPTY);
    match cgroup_mode {
        HostConfigCgroupnsModeEnum::PRIVATE => all.push(namespace(Cgroup, None)?),
        HostConfigCgroupnsModeEnum::HOST => {}
        HostConfigCgroupnsModeEnum::EMPTY => {
            if input.private_cgroup && !is_privileged(host) {
                all.push(namespace(Cgroup, None)?);
            }
        }
    }
    match &input.network {
        NetworkNamespace::Host => {}
        NetworkNamespace::Fresh => all.push(namespace(Network, None)?),
        NetworkNamespace::Path(path) => all.push(namespace(Network, Some(path))?),
    }
    Ok(all)
}

fn namespace(kind: LinuxNamespaceType, path: Option<&Path>) -> Result<LinuxNamespace> {
    let builder = LinuxNamespaceBuilder::default().typ(kind);
    built(match path {
        Some(path) => builder.path(path).build(),
        None => builder.build(),
    })
}

/// Whether the container was asked for with all rights.
pub(crate) fn is_privileged(host: &HostConfig) -> bool {
    host.privileged.unwrap_or(false)
}

/// A builder's result as the engine's.
fn built<T>(result: std::result::Result<T, OciSpecError>) -> Result<T> {
    result.map_err(|error| Error::system("building the runtime specification").with_source(error))
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
