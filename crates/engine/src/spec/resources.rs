//! cgroup limits and device rules of a container, from the API's `HostConfig`.
//!
//! Mirrors moby's `daemon/oci_linux.go` and the default device rules of its `oci` package.

use bollard_stubs::models::HostConfig;
use oci_spec::runtime::{
    LinuxCpu, LinuxCpuBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
    LinuxMemory, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
};

use super::built;
use crate::error::Result;

/// CPU scheduling period in microseconds when only a quota is known (moby uses the same).
const CPU_PERIOD_MICROSECONDS: u64 = 100_000;
const NANO_CPUS_PER_CPU: i64 = 1_000_000_000;

/// All resources of the container's cgroup.
pub(super) fn resources(
    host: &HostConfig,
    devices: Vec<LinuxDeviceCgroup>,
    limits_swap: bool,
) -> Result<LinuxResources> {
    let mut builder = LinuxResourcesBuilder::default()
        .devices(devices)
        .memory(memory(host, limits_swap)?)
        .cpu(cpu(host)?);
    if let Some(limit) = host.pids_limit.filter(|limit| *limit > 0) {
        builder = builder.pids(built(LinuxPidsBuilder::default().limit(limit).build())?);
    }
    built(builder.build())
}

fn memory(host: &HostConfig, limits_swap: bool) -> Result<LinuxMemory> {
    let mut builder = LinuxMemoryBuilder::default();
    let limit = positive(host.memory);
    if let Some(limit) = limit {
        builder = builder.limit(limit);
    }
    if let Some(reservation) = positive(host.memory_reservation) {
        builder = builder.reservation(reservation);
    }
    // Docker gives a limited container as much swap again, unless told otherwise.
    match (host.memory_swap, limit) {
        _ if !limits_swap => {}
        (Some(swap), _) if swap != 0 => builder = builder.swap(swap),
        (_, Some(limit)) => builder = builder.swap(limit.saturating_mul(2)),
        _ => {}
    }
    if let Some(swappiness) = host.memory_swappiness.and_then(|s| u64::try_from(s).ok()) {
        builder = builder.swappiness(swappiness);
    }
    if host.oom_kill_disable == Some(true) {
        builder = builder.disable_oom_killer(true);
    }
    built(builder.build())
}

fn cpu(host: &HostConfig) -> Result<LinuxCpu> {
    let mut builder = LinuxCpuBuilder::default();
    if let Some(shares) = positive(host.cpu_shares).and_then(|s| u64::try_from(s).ok()) {
        builder = builder.shares(shares);
    }
    if let Some(nano) = positive(host.nano_cpus) {
        let period = i64::try_from(CPU_PERIOD_MICROSECONDS).unwrap_or(i64::MAX);
        builder = builder.period(CPU_PERIOD_MICROSECONDS);
        builder = builder.quota(nano.saturating_mul(period) / NANO_CPUS_PER_CPU);
    } else {
        if let Some(period) = positive(host.cpu_period).and_then(|p| u64::try_from(p).ok()) {
            builder = builder.period(period);
        }
        if let Some(quota) = host.cpu_quota.filter(|quota| *quota != 0) {
            builder = builder.quota(quota);
        }
    }
    if let Some(cpus) = host.cpuset_cpus.as_deref().filter(|text| !text.is_empty()) {
        builder = builder.cpus(cpus);
    }
    if let Some(mems) = host.cpuset_mems.as_deref().filter(|text| !text.is_empty()) {
        builder = builder.mems(mems);
    }
    built(builder.build())
}

/// The device rules of an unprivileged container: nothing but making nodes and the harmless devices.
pub(super) fn default_device_rules() -> Result<Vec<LinuxDeviceCgroup>> {
    use LinuxDeviceType::{B, C};
    let mut rules = vec![rule(false, None, None, None, "rwm")?];
    rules.push(rule(true, Some(C), None, None, "m")?);
    rules.push(rule(true, Some(B), None, None, "m")?);
    let devices = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(1)),
        (5, Some(2)),
        (136, None),
    ];
    for (major, minor) in devices {
        rules.push(rule(true, Some(C), Some(major), minor, "rwm")?);
    }
    Ok(rules)
}

/// One rule of the device cgroup.
pub(super) fn rule(
    allow: bool,
    kind: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup> {
    let mut builder = LinuxDeviceCgroupBuilder::default().allow(allow).access(access);
    if let Some(kind) = kind {
        builder = builder.typ(kind);
    }
    if let Some(major) = major {
        builder = builder.major(major);
    }
    if let Some(minor) = minor {
        builder = builder.minor(minor);
    }
    built(builder.build())
}

fn positive(value: Option<i64>) -> Option<i64> {
    value.filter(|value| *value > 0)
}
