//! `docker inspect`: a container's record in the API's words.

use std::collections::HashMap;
use std::path::Path;

use bollard_stubs::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, DriverData,
    EndpointSettings, NetworkSettings, PortBinding,
};
use swarm_network::Attachment;

use super::{Container, Record, Status};
use crate::engine::Engine;
use crate::error::Result;
use crate::timestamp;

impl Engine {
    /// Everything about a container.
    pub fn inspect(&self, reference: &str) -> Result<ContainerInspectResponse> {
        self.container(reference).map(|container| describe(&container))
    }
}

fn describe(container: &Container) -> ContainerInspectResponse {
    let record = container.record();
    let args = record.args();
    let file = |name: &str| Some(container.folder.join(name).to_string_lossy().into_owned());
    let network_settings = Some(network_settings(&record));
    ContainerInspectResponse {
        id: Some(record.id.to_string()),
        created: Some(record.created.clone()),
        path: args.first().cloned(),
        args: Some(args.into_iter().skip(1).collect()),
        state: Some(state(&record)),
        image: Some(record.image_id.clone()),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: Some(container.log_path().to_string_lossy().into_owned()),
        name: Some(format!("/{}", record.name)),
        restart_count: Some(record.restart_count),
        driver: Some("overlay2".to_owned()),
        platform: Some("linux".to_owned()),
        mount_label: Some(String::new()),
        process_label: Some(String::new()),
        app_armor_profile: Some(String::new()),
        graph_driver: Some(graph_driver(container)),
        mounts: Some(record.mounts),
        config: Some(record.config),
        host_config: Some(record.host),
        network_settings,
        ..ContainerInspectResponse::default()
    }
}

fn state(record: &Record) -> ContainerState {
    let state = &record.state;
    let time = |nanos: u64| {
        if nanos == 0 { timestamp::ZERO.to_owned() } else { timestamp::format(nanos) }
    };
    ContainerState {
        status: Some(match state.status {
            Status::Created => ContainerStateStatusEnum::CREATED,
            Status::Running => ContainerStateStatusEnum::RUNNING,
            Status::Restarting => ContainerStateStatusEnum::RESTARTING,
            Status::Exited => ContainerStateStatusEnum::EXITED,
            Status::Removing => ContainerStateStatusEnum::REMOVING,
        }),
        // In Docker a container between two runs counts as running.
        running: Some(matches!(state.status, Status::Running | Status::Restarting)),
        paused: Some(false),
        restarting: Some(state.status == Status::Restarting),
        oom_killed: Some(state.oom_killed),
        dead: Some(false),
        pid: Some(i64::from(state.pid)),
        exit_code: Some(i64::from(state.exit_code)),
        error: Some(state.error.clone()),
        started_at: Some(time(state.started_at)),
        finished_at: Some(time(state.finished_at)),
        health: state.health.as_ref().map(super::health::Health::json),
    }
}

fn graph_driver(container: &Container) -> DriverData {
    let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let data = [
        ("MergedDir", path(container.overlay.merged())),
        ("UpperDir", path(container.overlay.upper())),
    ];
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    DriverData { name: "overlay2".to_owned(), data }
}

fn network_settings(record: &Record) -> NetworkSettings {
    let mode = record.host.network_mode.clone().unwrap_or_default();
    let endpoint = endpoint(record.attachment.as_ref());
    NetworkSettings {
        ports: Some(ports(record)),
        networks: Some(HashMap::from([(mode, endpoint)])),
        ..NetworkSettings::default()
    }
}

/// A container's place on its network.
pub(crate) fn endpoint(attachment: Option<&Attachment>) -> EndpointSettings {
    let Some(attachment) = attachment else { return EndpointSettings::default() };
    EndpointSettings {
        endpoint_id: Some(attachment.endpoint_id.clone()),
        gateway: Some(attachment.gateway.to_string()),
        ip_address: Some(attachment.ipv4.to_string()),
        ip_prefix_len: Some(i64::from(attachment.prefix_len)),
        mac_address: Some(attachment.mac.to_string()),
        ..EndpointSettings::default()
    }
}

/// Exposed ports with their bindings, `null` for those without.
fn ports(record: &Record) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut ports: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in record.config.exposed_ports.iter().flatten() {
        ports.insert(port.clone(), None);
    }
    for mapping in record.attachment.iter().flat_map(|attachment| &attachment.ports) {
        let key = format!("{}/{}", mapping.container_port, mapping.protocol);
        ports.entry(key).or_default().get_or_insert_default().push(PortBinding {
            host_ip: Some(mapping.host_ip.to_string()),
            host_port: Some(mapping.host_port.to_string()),
        });
    }
    ports
}

/// The bytes of the files below a folder.
pub(crate) fn folder_size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
