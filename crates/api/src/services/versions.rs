//! Fields that an API version does not have are dropped from what its clients send.
//!
//! Mirrors moby's `adjustForAPIVersion`: an old client may send fields of a newer one, which then mean nothing.

use crate::http::version::ApiVersion;
use crate::wire::ServiceSpec;

pub(super) fn adjust(spec: &mut ServiceSpec, version: ApiVersion) {
    if version < ApiVersion(1, 52)
        && let Some(resources) = &mut spec.task_template.resources
    {
        resources.swap_bytes = None;
        resources.memory_swappiness = None;
    }
    if version < ApiVersion(1, 46) {
        before_1_46(spec);
    }
    if version < ApiVersion(1, 44) {
        before_1_44(spec);
    }
    if version < ApiVersion(1, 41) {
        before_1_41(spec);
    }
    if version < ApiVersion(1, 40) {
        before_1_40(spec);
    }
}

fn before_1_46(spec: &mut ServiceSpec) {
    let Some(container) = &mut spec.task_template.container_spec else { return };
    container.oom_score_adj = 0;
    for tmpfs in container.mounts.iter_mut().filter_map(|mount| mount.tmpfs_options.as_mut()) {
        tmpfs.options.clear();
    }
}

fn before_1_44(spec: &mut ServiceSpec) {
    if let Some(container) = &mut spec.task_template.container_spec {
        if let Some(privileges) = &mut container.privileges {
            privileges.seccomp = None;
            privileges.app_armor = None;
            privileges.no_new_privileges = false;
        }
        if let Some(health) = &mut container.healthcheck {
            health.start_interval = 0;
        }
    }
    if spec.task_template.networks.is_empty() {
        spec.task_template.networks = std::mem::take(&mut spec.networks);
    }
}

fn before_1_41(spec: &mut ServiceSpec) {
    if let Some(container) = &mut spec.task_template.container_spec {
        container.capability_add.clear();
        container.capability_drop.clear();
        container.ulimits.clear();
    }
    if let Some(limits) = spec.task_template.resources.as_mut().and_then(|r| r.limits.as_mut()) {
        limits.pids = 0;
    }
    spec.mode.replicated_job = None;
    spec.mode.global_job = None;
}

fn before_1_40(spec: &mut ServiceSpec) {
    if let Some(container) = &mut spec.task_template.container_spec {
        container.sysctls.clear();
        for config in &mut container.configs {
            config.runtime = None;
        }
        let credentials = container.privileges.as_mut().and_then(|p| p.credential_spec.as_mut());
        if let Some(credentials) = credentials {
            credentials.config.clear();
        }
    }
    if let Some(placement) = &mut spec.task_template.placement {
        placement.max_replicas = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ContainerSpec, NetworkAttachmentConfig};

    #[test]
    fn newer_fields_are_dropped() {
        let mut spec = ServiceSpec::default();
        spec.task_template.container_spec = Some(ContainerSpec {
            oom_score_adj: 5,
            capability_add: vec!["CAP_NET_ADMIN".to_owned()],
            sysctls: [("a".to_owned(), "b".to_owned())].into(),
            ..Default::default()
        });
        spec.networks =
            vec![NetworkAttachmentConfig { target: "net".to_owned(), ..Default::default() }];
        let container = |version| {
            let mut spec = spec.clone();
            adjust(&mut spec, version);
            let networks = spec.task_template.networks.len();
            let c = spec.task_template.container_spec.unwrap_or_default();
            (c.oom_score_adj, c.capability_add.len(), c.sysctls.len(), networks)
        };
        assert_eq!(container(ApiVersion(1, 51)), (5, 1, 1, 0));
        assert_eq!(container(ApiVersion(1, 43)), (0, 1, 1, 1));
        assert_eq!(container(ApiVersion(1, 40)), (0, 0, 1, 1));
        assert_eq!(container(ApiVersion(1, 39)), (0, 0, 0, 1));
    }
}
