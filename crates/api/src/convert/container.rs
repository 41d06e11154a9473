//! The container that a service's tasks run.

use swarm_proto::v1;
use swarm_proto::v1::container_spec::{DnsConfig, Isolation, Ulimit};

use super::common::{duration, nanos};
use super::{mounts, privileges, references};
use crate::error::ApiError;
use crate::wire;

pub(crate) fn container(json: &wire::ContainerSpec) -> Result<v1::ContainerSpec, ApiError> {
    Ok(v1::ContainerSpec {
        image: json.image.clone(),
        labels: json.labels.clone(),
        command: json.command.clone(),
        args: json.args.clone(),
        hostname: json.hostname.clone(),
        env: json.env.clone(),
        dir: json.dir.clone(),
        user: json.user.clone(),
        groups: json.groups.clone(),
        privileges: json.privileges.as_ref().map(privileges::privileges).transpose()?,
        init: json.init,
        tty: json.tty,
        open_stdin: json.open_stdin,
        read_only: json.read_only,
        stop_signal: json.stop_signal.clone(),
        mounts: json.mounts.iter().map(mounts::mount).collect::<Result<_, _>>()?,
        stop_grace_period: json.stop_grace_period.map(duration),
        pull_options: None,
        secrets: json.secrets.iter().map(references::secret).collect(),
        configs: json.configs.iter().map(references::config).collect::<Result<_, _>>()?,
        hosts: json.hosts.clone(),
        dns_config: json.dns_config.as_ref().map(dns_config).transpose()?,
        healthcheck: json.healthcheck.as_ref().map(health),
        isolation: isolation(&json.isolation)?.into(),
        pids_limit: 0,
        sysctls: json.sysctls.clone(),
        capability_add: json.capability_add.clone(),
        capability_drop: json.capability_drop.clone(),
        ulimits: json.ulimits.iter().map(ulimit).collect(),
        oom_score_adj: json.oom_score_adj,
    })
}

fn dns_config(json: &wire::DnsConfig) -> Result<DnsConfig, ApiError> {
    let is_address = |server: &&String| server.parse::<std::net::IpAddr>().is_err();
    if let Some(server) = json.nameservers.iter().find(is_address) {
        // As Go's decoder says of such a field.
        return Err(ApiError::invalid(format!(
            "invalid JSON: ParseAddr({server:?}): unable to parse IP"
        )));
    }
    Ok(DnsConfig {
        nameservers: json.nameservers.clone(),
        search: json.search.clone(),
        options: json.options.clone(),
    })
}

fn isolation(name: &str) -> Result<Isolation, ApiError> {
    match name.to_lowercase().as_str() {
        "" | "default" => Ok(Isolation::Default),
        "process" => Ok(Isolation::Process),
        "hyperv" => Ok(Isolation::Hyperv),
        _ => Err(ApiError::invalid(format!("invalid Isolation: {name:?}"))),
    }
}

fn ulimit(json: &wire::Ulimit) -> Ulimit {
    Ulimit { name: json.name.clone(), soft: json.soft, hard: json.hard }
}

fn health(json: &wire::HealthConfig) -> v1::HealthConfig {
    v1::HealthConfig {
        test: json.test.clone(),
        interval: Some(duration(json.interval)),
        timeout: Some(duration(json.timeout)),
        retries: json.retries,
        start_period: Some(duration(json.start_period)),
        start_interval: Some(duration(json.start_interval)),
    }
}

pub(crate) fn container_json(spec: &v1::ContainerSpec) -> wire::ContainerSpec {
    wire::ContainerSpec {
        image: spec.image.clone(),
        labels: spec.labels.clone(),
        command: spec.command.clone(),
        args: spec.args.clone(),
        hostname: spec.hostname.clone(),
        env: spec.env.clone(),
        dir: spec.dir.clone(),
        user: spec.user.clone(),
        groups: spec.groups.clone(),
        privileges: spec.privileges.as_ref().map(privileges::privileges_json),
        init: spec.init,
        stop_signal: spec.stop_signal.clone(),
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        read_only: spec.read_only,
        mounts: spec.mounts.iter().map(mounts::mount_json).collect(),
        stop_grace_period: spec.stop_grace_period.as_ref().map(|d| nanos(Some(d))),
        healthcheck: spec.healthcheck.as_ref().map(health_json),
        hosts: spec.hosts.clone(),
        dns_config: spec.dns_config.as_ref().map(|dns| wire::DnsConfig {
            nameservers: dns.nameservers.clone(),
            search: dns.search.clone(),
            options: dns.options.clone(),
        }),
        secrets: spec.secrets.iter().filter_map(references::secret_json).collect(),
        configs: spec.configs.iter().filter_map(references::config_json).collect(),
        isolation: isolation_json(spec.isolation),
        sysctls: spec.sysctls.clone(),
        capability_add: spec.capability_add.clone(),
        capability_drop: spec.capability_drop.clone(),
        ulimits: spec.ulimits.iter().map(ulimit_json).collect(),
        oom_score_adj: spec.oom_score_adj,
    }
}

fn isolation_json(isolation: i32) -> String {
    match Isolation::try_from(isolation) {
        Ok(Isolation::Default) => "default",
        Ok(Isolation::Process) => "process",
        Ok(Isolation::Hyperv) => "hyperv",
        Err(_) => "",
    }
    .to_owned()
}

fn ulimit_json(ulimit: &Ulimit) -> wire::Ulimit {
    wire::Ulimit { name: ulimit.name.clone(), hard: ulimit.hard, soft: ulimit.soft }
}

fn health_json(health: &v1::HealthConfig) -> wire::HealthConfig {
    wire::HealthConfig {
        test: health.test.clone(),
        interval: nanos(health.interval.as_ref()),
        timeout: nanos(health.timeout.as_ref()),
        start_period: nanos(health.start_period.as_ref()),
        start_interval: nanos(health.start_interval.as_ref()),
        retries: health.retries,
    }
}
