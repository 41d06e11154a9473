//! What the engine and its machine are, for `docker info`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use bollard_stubs::models::{
    ContainerSummaryStateEnum, IndexInfo, PluginsInfo, RegistryServiceConfig, Runtime, SystemInfo,
    SystemInfoCgroupDriverEnum, SystemInfoCgroupVersionEnum,
};
use swarm_engine::registry::RegistryConfig;
use swarm_engine::{Engine, ListOptions, image};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::engine_backend::EngineResult;

const DEFAULT_RUNTIME: &str = "swarm";

/// The engine's ID, made at its first start. One that cannot be stored lasts as long as the daemon.
pub(super) fn engine_id(data_root: &Path) -> String {
    let path = data_root.join("engine-id");
    let known = fs::read_to_string(&path).unwrap_or_default();
    if !known.trim().is_empty() {
        return known.trim().to_owned();
    }
    let id = swarm_proto::id::new_id();
    if let Err(error) = fs::write(&path, &id) {
        tracing::warn!(path = %path.display(), %error, "the engine's ID could not be stored");
    }
    id
}

pub(super) fn info(engine: &Engine, registry: &RegistryConfig) -> EngineResult<SystemInfo> {
    let containers = engine.list(&ListOptions { all: true, ..Default::default() })?;
    let running = count(
        &containers,
        &[ContainerSummaryStateEnum::RUNNING, ContainerSummaryStateEnum::RESTARTING],
    );
    let paused = count(&containers, &[ContainerSummaryStateEnum::PAUSED]);
    let total = containers.len() as i64;
    let images = engine.images().list(&image::ListOptions::default())?.len();
    let config = engine.config();
    Ok(SystemInfo {
        containers: Some(total),
        containers_running: Some(running),
        containers_paused: Some(paused),
        containers_stopped: Some(total - running - paused),
        images: Some(images as i64),
        driver: Some("overlay2".to_owned()),
        driver_status: Some(vec![vec!["Backing Filesystem".to_owned(), "overlayfs".to_owned()]]),
        docker_root_dir: Some(config.data_root.to_string_lossy().into_owned()),
        plugins: Some(plugins()),
        system_time: OffsetDateTime::now_utc().format(&Rfc3339).ok(),
        logging_driver: Some(match config.log_defaults.driver.as_str() {
            "" => "json-file".to_owned(),
            driver => driver.to_owned(),
        }),
        cgroup_driver: Some(SystemInfoCgroupDriverEnum::CGROUPFS),
        cgroup_version: Some(match engine.cgroup_version() {
            "2" => SystemInfoCgroupVersionEnum::_2,
            _ => SystemInfoCgroupVersionEnum::_1,
        }),
        index_server_address: Some("https://index.docker.io/v1/".to_owned()),
        registry_config: Some(registry_config(registry)),
        experimental_build: Some(false),
        runtimes: Some(runtimes(&config.runtimes)),
        default_runtime: Some(
            config.default_runtime.clone().unwrap_or_else(|| DEFAULT_RUNTIME.to_owned()),
        ),
        live_restore_enabled: Some(true),
        security_options: Some(vec!["name=seccomp,profile=builtin".to_owned()]),
        ..machine()
    })
}

fn count(
    containers: &[bollard_stubs::models::ContainerSummary],
    states: &[ContainerSummaryStateEnum],
) -> i64 {
    containers.iter().filter(|c| c.state.is_some_and(|state| states.contains(&state))).count()
        as i64
}

/// What the kernel and the distribution say.
fn machine() -> SystemInfo {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    SystemInfo {
        name: Some(line("/proc/sys/kernel/hostname")),
        kernel_version: Some(line("/proc/sys/kernel/osrelease")),
        operating_system: Some(os_release("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned())),
        os_version: Some(os_release("VERSION_ID").unwrap_or_default()),
        os_type: Some("linux".to_owned()),
        architecture: Some(std::env::consts::ARCH.to_owned()),
        ncpu: Some(processors as i64),
        mem_total: Some(memory_bytes()),
        memory_limit: Some(true),
        swap_limit: Some(true),
        cpu_cfs_period: Some(true),
        cpu_cfs_quota: Some(true),
        cpu_shares: Some(true),
        cpu_set: Some(true),
        pids_limit: Some(true),
        ipv4_forwarding: Some(line("/proc/sys/net/ipv4/ip_forward") == "1"),
        ..Default::default()
    }
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release")
        .or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    parse_os_release(&text.ok()?, key)
}

fn parse_os_release(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

fn memory_bytes() -> i64 {
    parse_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn parse_memory(meminfo: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<i64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or_default() * 1024
}

fn plugins() -> PluginsInfo {
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    PluginsInfo {
        volume: names(&["local"]),
        network: names(&["bridge", "host", "null"]),
        authorization: None,
        log: names(&["json-file", "none"]),
    }
}

fn registry_config(config: &RegistryConfig) -> RegistryServiceConfig {
    let hub = IndexInfo {
        name: Some("docker.io".to_owned()),
        mirrors: Some(config.mirrors.clone()),
        secure: Some(true),
        official: Some(true),
    };
    let cidrs = config.insecure.iter().filter(|host| host.contains('/')).cloned();
    RegistryServiceConfig {
        insecure_registry_cidrs: Some(cidrs.chain(["127.0.0.0/8".to_owned()]).collect()),
        index_configs: Some([("docker.io".to_owned(), hub)].into()),
        mirrors: Some(config.mirrors.clone()),
    }
}

fn runtimes(external: &HashMap<String, std::path::PathBuf>) -> HashMap<String, Runtime> {
    let runtime = |path: String| Runtime { path: Some(path), ..Default::default() };
    let mut runtimes: HashMap<_, _> = external
        .iter()
        .map(|(name, path)| (name.clone(), runtime(path.to_string_lossy().into_owned())))
        .collect();
    runtimes.insert(DEFAULT_RUNTIME.to_owned(), runtime("swarm".to_owned()));
    runtimes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_machine_says() {
        assert_eq!(parse_memory("MemTotal:   1024 kB\n"), 1 << 20);
        assert_eq!(parse_memory(""), 0);
        let text = "ID=x\nPRETTY_NAME=\"Some Linux 1\"\n";
        assert_eq!(parse_os_release(text, "PRETTY_NAME").as_deref(), Some("Some Linux 1"));
        assert_eq!(parse_os_release(text, "NAME"), None);
    }

    #[test]
    fn the_id_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let id = engine_id(folder.path());
        assert_eq!(engine_id(folder.path()), id);
    }
}
