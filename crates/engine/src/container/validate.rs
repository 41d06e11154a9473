//! What a container may ask for: everything that can be refused before anything is made.
//!
//! Mirrors moby's `verifyContainerSettings` and its messages. What the engine lacks is refused by name, never ignored.

use bollard_stubs::models::{
    ContainerConfig, HostConfig, HostConfigIsolationEnum, RestartPolicyNameEnum,
};

use super::{cpuset, create::no_command, health, signal};
use crate::config::EngineConfig;
use crate::error::{Error, ErrorClass, Result};
use crate::spec::{capabilities, ulimits};

/// The least memory that a container can be limited to.
const MEMORY_BYTES_MIN: i64 = 6 * 1024 * 1024;
/// Name of the built-in runtime.
pub(crate) const BUILT_IN_RUNTIME: &str = "swarm";

/// Checks a request; the answer is Docker's warnings.
pub(crate) fn check(
    config: &ContainerConfig,
    host: &HostConfig,
    engine: &EngineConfig,
) -> Result<Vec<String>> {
    let words = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().len();
    if words(&config.cmd) + words(&config.entrypoint) == 0 {
        return Err(no_command());
    }
    check_text(config)?;
    health::check(config)?;
    check_memory(host)?;
    check_cpu(host)?;
    cpuset::check(host)?;
    check_oom_score(host)?;
    check_isolation(host)?;
    check_restart(host)?;
    check_log(host)?;
    check_security(host)?;
    check_lacking(host)?;
    capabilities::effective(
        host.privileged.unwrap_or(false),
        host.cap_add.as_deref().unwrap_or_default(),
        host.cap_drop.as_deref().unwrap_or_default(),
    )?;
    ulimits::rlimits(host)?;
    if let Some(runtime) = host.runtime.as_deref().filter(|name| !name.is_empty())
        && runtime != BUILT_IN_RUNTIME
        && !engine.runtimes.contains_key(runtime)
        && engine.default_runtime.as_deref() != Some(runtime)
    {
        return Err(Error::invalid(format!("unknown or invalid runtime name: {runtime}")));
    }
    Ok(Vec::new())
}

fn check_text(config: &ContainerConfig) -> Result<()> {
    for variable in config.env.iter().flatten() {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(Error::invalid(format!("invalid environment variable: {variable}")));
        }
    }
    if let Some(signal) = config.stop_signal.as_deref().filter(|s| !s.is_empty()) {
        signal::parse(signal)?;
    }
    if let Some(dir) = config.working_dir.as_deref().filter(|d| !d.is_empty())
        && !dir.starts_with('/')
    {
        let message =
            format!("the working directory '{dir}' is invalid, it needs to be an absolute path");
        return Err(Error::invalid(message));
    }
    Ok(())
}

fn check_memory(host: &HostConfig) -> Result<()> {
    let memory = host.memory.unwrap_or(0);
    let reservation = host.memory_reservation.unwrap_or(0);
    let swap = host.memory_swap.unwrap_or(0);
    let message = match () {
        () if memory < 0 || reservation < 0 => "Memory limits can't be negative",
        () if memory != 0 && memory < MEMORY_BYTES_MIN => "Minimum memory limit allowed is 6MB",
        () if swap > 0 && memory == 0 => {
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        }
        () if swap > 0 && swap < memory => {
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        }
        () if reservation > 0 && reservation < MEMORY_BYTES_MIN => {
            "Minimum memory reservation allowed is 6MB"
        }
        () if memory > 0 && memory < reservation => {
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        }
        () if host.memory_swappiness.is_some_and(|s| !(-1..=100).contains(&s)) => {
            "invalid value: memory swappiness, valid memory swappiness range is 0-100"
        }
        () => return Ok(()),
    };
    Err(Error::invalid(message))
}

fn check_cpu(host: &HostConfig) -> Result<()> {
    let nano = host.nano_cpus.unwrap_or(0);
    if nano != 0 {
        if host.cpu_period.unwrap_or(0) > 0 {
            let message = "Conflicting options: Nano CPUs and CPU Period cannot both be set";
            return Err(Error::invalid(message));
        }
        if host.cpu_quota.unwrap_or(0) > 0 {
            let message = "Conflicting options: Nano CPUs and CPU Quota cannot both be set";
            return Err(Error::invalid(message));
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let most = i64::try_from(cpus).unwrap_or(1) * 1_000_000_000;
        if nano < 0 || nano > most {
            return Err(Error::invalid(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            )));
        }
    }
    let period = host.cpu_period.unwrap_or(0);
    if period != 0 && !(1000..=1_000_000).contains(&period) {
        let message =
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)";
        return Err(Error::invalid(message));
    }
    let quota = host.cpu_quota.unwrap_or(0);
    if quota > 0 && quota < 1000 {
        return Err(Error::invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    Ok(())
}

fn check_oom_score(host: &HostConfig) -> Result<()> {
    match host.oom_score_adj {
        Some(score) if !(-1000..=1000).contains(&score) => Err(Error::invalid(format!(
            "Invalid value {score}, range for oom score adj is [-1000, 1000]"
        ))),
        _ => Ok(()),
    }
}

fn check_isolation(host: &HostConfig) -> Result<()> {
    use HostConfigIsolationEnum::{DEFAULT, EMPTY};
    match host.isolation {
        None | Some(DEFAULT | EMPTY) => Ok(()),
        Some(other) => Err(Error::invalid(format!("invalid isolation '{other}' on linux"))),
    }
}

fn check_restart(host: &HostConfig) -> Result<()> {
    let Some(policy) = &host.restart_policy else { return Ok(()) };
    let retries = policy.maximum_retry_count.unwrap_or(0);
    let restarts = !matches!(
        policy.name,
        None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO)
    );
    if retries < 0 {
        let message = "invalid restart policy: maximum retry count cannot be negative";
        return Err(Error::invalid(message));
    }
    if retries > 0 && policy.name != Some(RestartPolicyNameEnum::ON_FAILURE) {
        let message =
            "invalid restart policy: maximum retry count can only be used with 'on-failure'";
        return Err(Error::invalid(message));
    }
    if restarts && host.auto_remove == Some(true) {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(())
}

fn check_log(host: &HostConfig) -> Result<()> {
    let Some(log) = &host.log_config else { return Ok(()) };
    match log.typ.as_deref().unwrap_or_default() {
        "json-file" => {
            super::log_attributes::check(log)?;
            super::logs::LogRotation::of(log).map(drop)
        }
        "none" => Ok(()),
        other => {
            Err(Error::invalid(format!("logger: no log driver named '{other}' is registered")))
        }
    }
}

fn check_security(host: &HostConfig) -> Result<()> {
    super::start::Security::of(host).map(drop)
}

fn has_blkio_limits(host: &HostConfig) -> bool {
    let limits = [
        &host.blkio_device_read_bps,
        &host.blkio_device_write_bps,
        &host.blkio_device_read_iops,
        &host.blkio_device_write_iops,
    ];
    host.blkio_weight_device.as_deref().is_some_and(|weights| !weights.is_empty())
        || limits.iter().any(|limit| limit.as_deref().is_some_and(|limit| !limit.is_empty()))
}

/// Refuses what the engine can't do, by the name of the field.
fn check_lacking(host: &HostConfig) -> Result<()> {
    let set = |list: &Option<Vec<String>>| list.as_deref().is_some_and(|list| !list.is_empty());
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_default();
    let lacking = match () {
        () if set(&host.volumes_from) => "VolumesFrom",
        () if set(&host.links) => "Links",
        () if mode(&host.ipc_mode).starts_with("container:") => "IpcMode container",
        () if mode(&host.pid_mode).starts_with("container:") => "PidMode container",
        () if mode(&host.network_mode).starts_with("container:") => "NetworkMode container",
        () if host.device_requests.as_deref().is_some_and(|d| !d.is_empty()) => "DeviceRequests",
        () if !matches!(mode(&host.cgroup_parent).as_str(), "") => "CgroupParent",
        () if set(&host.device_cgroup_rules) => "DeviceCgroupRules",
        () if host.blkio_weight.unwrap_or(0) != 0 || has_blkio_limits(host) => "Blkio",
        () if host.cpu_realtime_period.unwrap_or(0) != 0
            || host.cpu_realtime_runtime.unwrap_or(0) != 0 =>
        {
            "CpuRealtimePeriod and CpuRealtimeRuntime"
        }
        () if host.storage_opt.as_ref().is_some_and(|o| !o.is_empty()) => "StorageOpt",
        () if !matches!(mode(&host.userns_mode).as_str(), "" | "host") => "UsernsMode",
        () => return Ok(()),
    };
    let message = format!("{lacking} is not supported by this engine");
    Err(Error::new(ErrorClass::NotImplemented, message))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::{Value, json};

    use super::*;

    fn refusal(config: Value, host: Value) -> Option<String> {
        let mut config: ContainerConfig = serde_json::from_value(config).expect("a configuration");
        config.cmd.get_or_insert_with(|| vec!["true".into()]);
        let host: HostConfig = serde_json::from_value(host).expect("a host configuration");
        let folder = PathBuf::from("/nowhere");
        let engine = EngineConfig::new(folder.clone(), folder.clone(), folder);
        check(&config, &host, &engine).err().map(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let lacking = |name: &str| format!("{name} is not supported by this engine");
        let device = json!([{ "Path": "/dev/sda", "Rate": 1 }]);
        for (host, expect) in [
            (json!({}), None),
            (json!({ "Memory": 6291456, "NanoCpus": 500_000_000 }), None),
            (json!({ "CgroupParent": "/../../x" }), Some(lacking("CgroupParent"))),
            (json!({ "DeviceCgroupRules": ["c 1:3 mr"] }), Some(lacking("DeviceCgroupRules"))),
            (json!({ "BlkioWeight": 300 }), Some(lacking("Blkio"))),
            (json!({ "BlkioDeviceReadBps": device }), Some(lacking("Blkio"))),
            (
                json!({ "CpuRealtimePeriod": 1000 }),
                Some(lacking("CpuRealtimePeriod and CpuRealtimeRuntime")),
            ),
            (json!({ "Links": ["a:b"] }), Some(lacking("Links"))),
            (json!({ "VolumesFrom": ["a"] }), Some(lacking("VolumesFrom"))),
            (json!({ "NetworkMode": "container:a" }), Some(lacking("NetworkMode container"))),
            (
                json!({ "OomScoreAdj": 5000 }),
                Some("Invalid value 5000, range for oom score adj is [-1000, 1000]".into()),
            ),
            (json!({ "Isolation": "hyperv" }), Some("invalid isolation 'hyperv' on linux".into())),
            (json!({ "Memory": 1 }), Some("Minimum memory limit allowed is 6MB".into())),
            (
                json!({ "AutoRemove": true, "RestartPolicy": { "Name": "always" } }),
                Some("can't create 'AutoRemove' container with restart policy".into()),
            ),
            (json!({ "Runtime": "other" }), Some("unknown or invalid runtime name: other".into())),
            (
                json!({ "LogConfig": { "Type": "syslog" } }),
                Some("logger: no log driver named 'syslog' is registered".into()),
            ),
        ] {
            assert_eq!(refusal(json!({}), host.clone()), expect, "{host}");
        }
        for (config, expect) in [
            (json!({ "Env": ["=x"] }), "invalid environment variable: =x"),
            (
                json!({ "WorkingDir": "tmp" }),
                "the working directory 'tmp' is invalid, it needs to be an absolute path",
            ),
        ] {
            assert_eq!(refusal(config.clone(), json!({})).as_deref(), Some(expect), "{config}");
        }
    }
}
