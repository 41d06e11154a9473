//! `docker info` and `docker version` of a whole pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Manager;
use crate::engine::{Engine, Health, Picture};
use crate::leadership::Role;
use crate::text::{natural_order, rfc3339, size};

/// What the manager says that it is: the version whose manners it has.
pub(crate) const SERVER_VERSION: &str = "swarm/1.2.9";
/// Docker's API that the manager speaks.
pub(crate) const API_VERSION: &str = "1.40";

pub(super) fn version() -> Value {
    json!({
        "Platform": {"Name": "Docker Swarm - Community"},
        "Version": SERVER_VERSION,
        "ApiVersion": API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": read_line("/proc/sys/kernel/osrelease"),
        "BuildTime": "",
    })
}

/// As engines of Docker's name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read_line(path: &str) -> String {
    let line = std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    line.unwrap_or_else(|_| "<unknown>".to_owned())
}

pub(super) fn info(manager: &Manager) -> Value {
    let mut engines: Vec<Seen> = manager.cluster.engines().into_iter().map(Seen::at_once).collect();
    let counted = |names: &[&str]| engines.iter().map(|seen| seen.count(names)).sum::<usize>();
    let known = || engines.iter().filter(|seen| seen.picture.health != Health::Pending);
    let images: usize = engines.iter().map(|seen| seen.picture.images.len()).sum();
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let mut info = json!({
        "ID": "",
        "Containers": counted(&["created", "running", "paused", "restarting", "exited", "dead"]),
        "ContainersRunning": counted(&["running", "restarting"]),
        "ContainersPaused": counted(&["paused"]),
        "ContainersStopped": counted(&["created", "exited", "dead"]),
        "Images": images,
        "Driver": "",
        "DriverStatus": null,
        "Plugins": {"Volume": null, "Network": null, "Authorization": null, "Log": null},
        "NEventsListener": manager.cluster.events.followers(),
        "KernelVersion": read_line("/proc/sys/kernel/osrelease"),
        "OperatingSystem": "linux",
        "OSType": "linux",
        "Architecture": architecture(),
        "NCPU": known().map(|seen| seen.total.1).fold(0, i64::saturating_add),
        "MemTotal": known().map(|seen| seen.total.0).fold(0, i64::saturating_add),
        "Name": read_line("/proc/sys/kernel/hostname"),
        "ServerVersion": SERVER_VERSION,
        "SystemTime": rfc3339(std::time::SystemTime::now()),
        "HttpProxy": env("http_proxy"),
        "HttpsProxy": env("https_proxy"),
        "NoProxy": env("no_proxy"),
        "Debug": manager.is_debug,
        "ExperimentalBuild": manager.is_experimental,
        "Labels": null,
        "Swarm": {"NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false,
            "Error": "", "RemoteManagers": null},
    });
    info["SystemStatus"] = json!(rows(manager, &mut engines));
    // Where it is up to the engines, clients must not be warned of what the manager lacks.
    for can in [
        "MemoryLimit",
        "SwapLimit",
        "CpuCfsPeriod",
        "CpuCfsQuota",
        "CPUShares",
        "CPUSet",
        "IPv4Forwarding",
        "BridgeNfIptables",
        "BridgeNfIp6tables",
        "OomKillDisable",
        "PidsLimit",
    ] {
        info[can] = true.into();
    }
    info
}

/// An engine, as it is when it is asked for.
struct Seen {
    engine: Arc<Engine>,
    picture: Picture,
    counts: BTreeMap<&'static str, usize>,
    /// Memory in bytes, and processors: what containers reserve, and what is given away.
    used: (i64, i64),
    total: (i64, i64),
}

impl Seen {
    fn at_once(engine: Arc<Engine>) -> Self {
        let picture = engine.picture();
        let (counts, used) = (picture.count(), picture.used());
        let specs = &picture.specs;
        let total = (engine.with_overcommit(specs.memory), engine.with_overcommit(specs.cpus));
        Self { engine, picture, counts, used, total }
    }

    fn count(&self, names: &[&str]) -> usize {
        names.iter().filter_map(|name| self.counts.get(name)).sum()
    }
}

/// What the pool is made of, in rows of two.
fn rows(manager: &Manager, engines: &mut [Seen]) -> Vec<[String; 2]> {
    let row = |name: &str, value: String| [name.to_owned(), value];
    let mut rows = match manager.leadership.role() {
        Role::Primary => vec![row("Role", "primary".to_owned())],
        Role::Replica { primary } => {
            vec![row("Role", "replica".to_owned()), row("Primary", primary.unwrap_or_default())]
        }
    };
    let scheduler = &manager.cluster.scheduler;
    let filters: Vec<_> = scheduler.filters.iter().map(|filter| filter.name()).collect();
    rows.push(row("Strategy", scheduler.strategy.name().to_owned()));
    rows.push(row("Filters", filters.join(", ")));
    rows.push(row("Nodes", engines.len().to_string()));
    engines.sort_by(|one, other| {
        natural_order(&one.picture.specs.name, &other.picture.specs.name)
            .then_with(|| one.engine.addr().cmp(other.engine.addr()))
    });
    rows.extend(engines.iter().flat_map(engine_rows));
    rows
}

fn engine_rows(seen: &Seen) -> Vec<[String; 2]> {
    let Seen { engine, picture, used, total, .. } = seen;
    let row = |name: &str, value: String| [format!("  └ {name}"), value];
    let name = if picture.specs.name.is_empty() { "(unknown)" } else { &picture.specs.name };
    let labels: Vec<String> =
        picture.specs.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut rows = vec![
        [format!(" {name}"), engine.addr().to_owned()],
        row("ID", engine.id()),
        row("Status", picture.health.name().to_owned()),
        row("Containers", containers(seen)),
        row("Reserved CPUs", format!("{} / {}", used.1, total.1)),
        row("Reserved Memory", format!("{} / {}", size(used.0), size(total.0))),
        row("Labels", labels.join(", ")),
    ];
    if !picture.error.is_empty() {
        rows.push(row("Error", picture.error.trim().to_owned()));
    }
    rows.push(row("UpdatedAt", rfc3339(picture.updated_at)));
    rows.push(row("ServerVersion", picture.specs.version.clone()));
    rows
}

fn containers(seen: &Seen) -> String {
    let total = seen.picture.containers.len();
    if seen.picture.health != Health::Healthy {
        return total.to_string();
    }
    let (running, paused) = (seen.count(&["running", "restarting"]), seen.count(&["paused"]));
    let stopped = total.saturating_sub(running + paused);
    format!("{total} ({running} Running, {paused} Paused, {stopped} Stopped)")
}
