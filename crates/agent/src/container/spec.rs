//! What container a task is: a pure conversion of its specification into the engine's vocabulary.

use std::collections::HashMap;

use bollard_stubs::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigIsolationEnum, HostConfigLogConfig,
    PortBinding, PortMap, ResourcesUlimits,
};
use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::container_spec::Isolation;
use swarm_proto::v1::port_config::{Protocol, PublishMode};
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::{self, ContainerSpec, PortConfig, Task};

use super::{generic, mounts, privileges};

/// The prefix of the labels by which the containers of tasks are known.
pub(crate) const LABEL_PREFIX: &str = "com.docker.swarm";

/// The specification of a task that is a container.
pub(crate) fn container_spec(task: &Task) -> Option<&ContainerSpec> {
    match task.spec.as_ref()?.runtime.as_ref()? {
        Runtime::Container(container) => Some(container),
        Runtime::Attachment(_) | Runtime::Generic(_) => None,
    }
}

/// The name of a task's container: that of its service, its slot (its node where it has none) and its identifier.
pub(crate) fn container_name(task: &Task) -> String {
    if let Some(annotations) = &task.annotations
        && !annotations.name.is_empty()
    {
        return annotations.name.clone();
    }
    let service = task.service_annotations.as_ref().map_or("", |service| &service.name);
    match task.slot {
        0 => format!("{service}.{}.{}", task.node_id, task.id),
        slot => format!("{service}.{slot}.{}", task.id),
    }
}

/// The container that a task asks for.
///
/// # Errors
/// A text for the task's status where the task cannot be a container here.
pub(crate) fn create_body(task: &Task) -> Result<ContainerCreateBody, String> {
    let spec = container_spec(task).ok_or("the task is not a container")?;
    if spec.image.is_empty() {
        return Err("dockerexec: image required".to_owned());
    }
    if !spec.secrets.is_empty() || !spec.configs.is_empty() {
        return Err("secrets and configs are not supported by this node yet".to_owned());
    }
    let (entrypoint, cmd) = command(spec);
    Ok(ContainerCreateBody {
        hostname: text(&spec.hostname),
        user: text(&spec.user),
        env: list(&environment(task, spec)),
        cmd,
        entrypoint,
        image: Some(spec.image.clone()),
        working_dir: text(&spec.dir),
        tty: Some(spec.tty),
        open_stdin: Some(spec.open_stdin),
        labels: Some(labels(task, spec)),
        stop_signal: text(&spec.stop_signal),
        stop_timeout: spec.stop_grace_period.as_ref().map(whole_seconds),
        exposed_ports: exposed_ports(task),
        healthcheck: spec.healthcheck.as_ref().map(health),
        host_config: Some(host_config(task, spec)?),
        ..ContainerCreateBody::default()
    })
}

/// The engine counts whole seconds; a part of one is better waited for than cut off.
fn whole_seconds(grace: &prost_types::Duration) -> i64 {
    let grace = to_duration(grace);
    let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// The service's environment, and what the task was given of the node's generic resources.
fn environment(task: &Task, spec: &ContainerSpec) -> Vec<String> {
    [spec.env.clone(), generic::environment(&task.assigned_generic_resources)].concat()
}

/// A command replaces the image's entrypoint; arguments alone only its command.
fn command(spec: &ContainerSpec) -> (Option<Vec<String>>, Option<Vec<String>>) {
    match (spec.command.is_empty(), spec.args.is_empty()) {
        (false, _) => (Some(spec.command.clone()), Some(spec.args.clone())),
        (true, false) => (None, Some(spec.args.clone())),
        (true, true) => (None, None),
    }
}

fn labels(task: &Task, spec: &ContainerSpec) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    if let Some(annotations) = &task.annotations {
        labels.extend(annotations.labels.clone());
    }
    let service = task.service_annotations.as_ref().map_or("", |service| &service.name);
    for (key, value) in [
        ("task", ""),
        ("task.id", &task.id),
        ("task.name", &container_name(task)),
        ("node.id", &task.node_id),
        ("service.id", &task.service_id),
        ("service.name", service),
    ] {
        labels.insert(format!("{LABEL_PREFIX}.{key}"), value.to_owned());
    }
    labels
}

fn host_config(task: &Task, spec: &ContainerSpec) -> Result<HostConfig, String> {
    let requirements = task.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let limits = requirements.and_then(|resources| resources.limits.as_ref());
    let reserved = requirements.and_then(|resources| resources.reservations.as_ref());
    let dns = spec.dns_config.as_ref();
    Ok(HostConfig {
        network_mode: Some(network_mode(task)?),
        port_bindings: port_bindings(task),
        mounts: Some(spec.mounts.iter().map(mounts::mount).collect::<Result<_, _>>()?),
        group_add: list(&spec.groups),
        init: spec.init,
        isolation: isolation(spec),
        readonly_rootfs: Some(spec.read_only),
        cap_add: list(&spec.capability_add),
        cap_drop: list(&spec.capability_drop),
        sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
        ulimits: Some(spec.ulimits.iter().map(ulimit).collect()),
        pids_limit: number(spec.pids_limit),
        oom_score_adj: number(spec.oom_score_adj),
        extra_hosts: list(&extra_hosts(&spec.hosts)),
        dns: dns.and_then(|dns| list(&dns.nameservers)),
        dns_search: dns.and_then(|dns| list(&dns.search)),
        dns_options: dns.and_then(|dns| list(&dns.options)),
        security_opt: list(&privileges::security_options(spec)?),
        nano_cpus: limits.and_then(|limits| number(limits.nano_cpus)),
        memory: limits.and_then(|limits| number(limits.memory_bytes)),
        memory_reservation: reserved.and_then(|reserved| number(reserved.memory_bytes)),
        memory_swap: memory_swap(requirements),
        memory_swappiness: requirements.and_then(|resources| resources.memory_swappiness),
        log_config: log_config(task),
        ..HostConfig::default()
    })
}

/// Docker counts swap on top of memory; the service API counts it alone.
fn memory_swap(requirements: Option<&v1::ResourceRequirements>) -> Option<i64> {
    let requirements = requirements?;
    let memory = requirements.limits.as_ref().map_or(0, |limits| limits.memory_bytes);
    match requirements.swap_bytes? {
        -1 => Some(-1),
        swap => Some(memory + swap),
    }
}

/// The node-local network that a task names, or the default bridge.
fn network_mode(task: &Task) -> Result<String, String> {
    let attached = task.networks.iter().filter_map(|attachment| {
        let network = attachment.network.as_ref()?;
        Some(network.spec.as_ref()?.annotations.as_ref()?.name.as_str())
    });
    let named = task.spec.iter().flat_map(|spec| &spec.networks).map(|network| &*network.target);
    let names: Vec<&str> = match task.networks.is_empty() {
        true => named.collect(),
        false => attached.collect(),
    };
    match names[..] {
        [] => Ok("bridge".to_owned()),
        [name @ ("bridge" | "host" | "none")] => Ok(name.to_owned()),
        [..] if names.iter().all(|name| ["bridge", "host", "none"].contains(name)) => {
            Err("a task can be on only one of the networks bridge, host and none".to_owned())
        }
        [name, ..] => Err(format!(
            "network {name} is not available on this node: overlay networks are not supported yet"
        )),
    }
}

fn host_ports(task: &Task) -> impl Iterator<Item = &PortConfig> {
    let ports = task.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    ports.filter(|port| port.publish_mode() == PublishMode::Host)
}

fn port_key(port: &PortConfig) -> String {
    format!("{}/{}", port.target_port, port.protocol().as_str_name().to_lowercase())
}

fn exposed_ports(task: &Task) -> Option<Vec<String>> {
    let ports: Vec<String> = host_ports(task).map(port_key).collect();
    list(&ports)
}

fn port_bindings(task: &Task) -> Option<PortMap> {
    let mut map = PortMap::new();
    for port in host_ports(task) {
        let host_port = (port.published_port != 0).then(|| port.published_port.to_string());
        let bindings = map.entry(port_key(port)).or_default().get_or_insert_default();
        bindings.push(PortBinding { host_ip: None, host_port });
    }
    (!map.is_empty()).then_some(map)
}

/// The ports that the engine published for a container, as the status of its task names them.
pub(crate) fn published_ports(ports: &PortMap) -> Vec<PortConfig> {
    let mut published = Vec::new();
    for (key, bindings) in ports {
        let Some((target, protocol)) = key.split_once('/') else { continue };
        let protocol = Protocol::from_str_name(&protocol.to_uppercase()).unwrap_or_default();
        for binding in bindings.iter().flatten() {
            let host_port = binding.host_port.as_deref().and_then(|port| port.parse().ok());
            let (Ok(target_port), Some(published_port)) = (target.parse(), host_port) else {
                continue;
            };
            published.push(PortConfig {
                protocol: protocol.into(),
                target_port,
                published_port,
                publish_mode: PublishMode::Host.into(),
                ..PortConfig::default()
            });
        }
    }
    published.sort_by_key(|port| (port.target_port, port.protocol, port.published_port));
    // One port on IPv4 and IPv6 is one to the cluster.
    published.dedup();
    published
}

/// From the form of `/etc/hosts` ("IP name alias…") to the engine's ("name:IP").
fn extra_hosts(hosts: &[String]) -> Vec<String> {
    let mut extra = Vec::new();
    for line in hosts {
        let mut words = line.split_whitespace();
        if let Some(address) = words.next() {
            extra.extend(words.map(|name| format!("{name}:{address}")));
        }
    }
    extra
}

/// The engine refuses what only Windows has, in Docker's words.
fn isolation(spec: &ContainerSpec) -> Option<HostConfigIsolationEnum> {
    match spec.isolation() {
        Isolation::Default => None,
        Isolation::Process => Some(HostConfigIsolationEnum::PROCESS),
        Isolation::Hyperv => Some(HostConfigIsolationEnum::HYPERV),
    }
}

fn ulimit(ulimit: &v1::container_spec::Ulimit) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(ulimit.name.clone()),
        soft: Some(ulimit.soft),
        hard: Some(ulimit.hard),
    }
}

/// The task's log driver is the service's, or else the cluster's default.
fn log_config(task: &Task) -> Option<HostConfigLogConfig> {
    let driver = task.spec.as_ref().and_then(|spec| spec.log_driver.as_ref());
    let driver = driver.or(task.log_driver.as_deref())?;
    Some(HostConfigLogConfig {
        typ: text(&driver.name),
        config: Some(driver.options.clone().into_iter().collect()),
    })
}

fn health(health: &v1::HealthConfig) -> HealthConfig {
    let nanos = |duration: &Option<prost_types::Duration>| {
        let duration = to_duration(duration.as_ref()?);
        Some(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    };
    HealthConfig {
        test: list(&health.test),
        interval: nanos(&health.interval),
        timeout: nanos(&health.timeout),
        retries: number(health.retries.into()),
        start_period: nanos(&health.start_period),
        start_interval: nanos(&health.start_interval),
    }
}

pub(super) fn text(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn list(values: &[String]) -> Option<Vec<String>> {
    (!values.is_empty()).then(|| values.to_vec())
}

pub(super) fn number(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_proto::v1::{Annotations, TaskSpec};

    fn task(spec: ContainerSpec) -> Task {
        let spec = TaskSpec { runtime: Some(Runtime::Container(spec)), ..TaskSpec::default() };
        Task {
            id: "t1".into(),
            service_id: "s1".into(),
            node_id: "n1".into(),
            slot: 2,
            service_annotations: Some(Annotations { name: "web".into(), ..Annotations::default() }),
            spec: Some(spec.into()),
            ..Task::default()
        }
    }

    #[test]
    fn names_and_labels_are_dockers() {
        let mut task = task(ContainerSpec { image: "busybox".into(), ..ContainerSpec::default() });
        let body = create_body(&task).expect("a container");
        let labels = body.labels.expect("labels");
        assert_eq!(labels["com.docker.swarm.task.name"], "web.2.t1");
        assert_eq!(labels["com.docker.swarm.service.name"], "web");
        assert_eq!(labels["com.docker.swarm.task"], "");
        task.slot = 0;
        assert_eq!(container_name(&task), "web.n1.t1");
    }

    #[test]
    fn command_replaces_entrypoint_and_arguments_do_not() {
        let strings =
            |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        for (command_words, args, entrypoint, cmd) in [
            (&[][..], &[][..], None, None),
            (&[], &["ping", "x"], None, Some(strings(&["ping", "x"]))),
            (&["sh"], &["-c"], Some(strings(&["sh"])), Some(strings(&["-c"]))),
        ] {
            let spec = ContainerSpec {
                command: strings(command_words),
                args: strings(args),
                ..ContainerSpec::default()
            };
            assert_eq!(command(&spec), (entrypoint, cmd));
        }
    }

    #[test]
    fn hosts_turn_round() {
        let hosts = ["10.0.0.1 db db.local".to_owned(), "::1 six".to_owned()];
        assert_eq!(extra_hosts(&hosts), ["db:10.0.0.1", "db.local:10.0.0.1", "six:::1"]);
    }

    #[test]
    fn refuses_what_it_cannot_run() {
        let no_image = task(ContainerSpec::default());
        assert_eq!(create_body(&no_image).unwrap_err(), "dockerexec: image required");
        let mut overlay = task(ContainerSpec { image: "x".into(), ..ContainerSpec::default() });
        overlay.spec.get_or_insert_default().networks.push(v1::NetworkAttachmentConfig {
            target: "backend".into(),
            ..v1::NetworkAttachmentConfig::default()
        });
        assert!(create_body(&overlay).unwrap_err().contains("backend"));
    }
}
