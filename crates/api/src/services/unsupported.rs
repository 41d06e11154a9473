//! What a service may ask for in Docker and cannot have here yet. It is refused, not run without.

use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::{ContainerSpec, EndpointSpec, ServiceSpec};

use crate::error::{ApiError, Class};

/// Refuses what no node of ours could honour.
pub(super) fn check(spec: &ServiceSpec) -> Result<(), ApiError> {
    if let Some(Runtime::Container(container)) =
        spec.task.as_ref().and_then(|task| task.runtime.as_ref())
    {
        check_container(container)?;
    }
    spec.endpoint.as_ref().map_or(Ok(()), check_endpoint)
}

fn check_container(spec: &ContainerSpec) -> Result<(), ApiError> {
    let asked = [(!spec.secrets.is_empty(), "secrets"), (!spec.configs.is_empty(), "configs")];
    match asked.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => {
            refuse(format!("{what} of services are not supported yet by this daemon"))
        }
        None => Ok(()),
    }
}

fn check_endpoint(spec: &EndpointSpec) -> Result<(), ApiError> {
    let ingress = spec.ports.iter().find(|port| port.publish_mode() == PublishMode::Ingress);
    match ingress {
        Some(port) => refuse(format!(
            "ports published in ingress mode are not supported yet by this daemon: \
             publish port {} with mode=host",
            port.target_port
        )),
        None => Ok(()),
    }
}

fn refuse(message: String) -> Result<(), ApiError> {
    Err(ApiError::new(Class::NotImplemented, message))
}

#[cfg(test)]
mod tests {
    use swarm_proto::v1::{ConfigReference, PortConfig, SecretReference, TaskSpec};

    use super::*;

    #[test]
    fn refuses_what_would_silently_be_missing() {
        let service = |container: ContainerSpec| ServiceSpec {
            task: Some(
                TaskSpec { runtime: Some(Runtime::Container(container)), ..TaskSpec::default() }
                    .into(),
            ),
            ..ServiceSpec::default()
        };
        let published = |mode: PublishMode| ServiceSpec {
            endpoint: Some(EndpointSpec {
                ports: vec![PortConfig {
                    target_port: 80,
                    publish_mode: mode.into(),
                    ..PortConfig::default()
                }],
                ..EndpointSpec::default()
            }),
            ..ServiceSpec::default()
        };
        let secrets = vec![SecretReference::default()];
        let configs = vec![ConfigReference::default()];
        for (spec, expect) in [
            (service(ContainerSpec::default()), None),
            (
                service(ContainerSpec { secrets, ..ContainerSpec::default() }),
                Some("secrets of services are not supported yet by this daemon"),
            ),
            (
                service(ContainerSpec { configs, ..ContainerSpec::default() }),
                Some("configs of services are not supported yet by this daemon"),
            ),
            (published(PublishMode::Host), None),
            (
                published(PublishMode::Ingress),
                Some(
                    "ports published in ingress mode are not supported yet by this daemon: \
                     publish port 80 with mode=host",
                ),
            ),
        ] {
            assert_eq!(check(&spec).err().map(|error| error.message).as_deref(), expect);
        }
    }
}
