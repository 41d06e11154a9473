//! Published ports: what an endpoint spec must look like, and whom it must not collide with.

use std::collections::HashSet;

use swarm_proto::v1::endpoint_spec::ResolutionMode;
use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::{EndpointSpec, Network, PortConfig, Service, ServiceSpec};
use swarm_store::{Object as _, Tables};
use tonic::Status;

/// Protocol and number of a port.
type Port = (i32, u32);

pub(super) fn check_endpoint_spec(spec: Option<&EndpointSpec>) -> Result<(), Status> {
    let Some(spec) = spec else { return Ok(()) };
    let mut seen = HashSet::new();
    for port in &spec.ports {
        check_numbers(port)?;
        if spec.mode() == ResolutionMode::Dnsrr && port.publish_mode() == PublishMode::Ingress {
            return Err(Status::invalid_argument(
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
            ));
        }
        // A port that will be chosen collides with nothing.
        if port.published_port != 0 && !seen.insert((port.published_port, port.protocol)) {
            return Err(Status::invalid_argument(
                "EndpointSpec: duplicate published ports provided",
            ));
        }
    }
    Ok(())
}

/// Docker drops such a port without a word.
fn check_numbers(port: &PortConfig) -> Result<(), Status> {
    for (what, number, least) in
        [("target", port.target_port, 1), ("published", port.published_port, 0)]
    {
        if !(least..=u32::from(u16::MAX)).contains(&number) {
            return Err(Status::invalid_argument(format!(
                "EndpointSpec: invalid {what} port {number}: must be from {least} to 65535"
            )));
        }
    }
    Ok(())
}

/// Refuses ports that another service than `except` has published in a way that excludes this one. Two services may
/// publish one port in host mode: the scheduler keeps them on different nodes.
pub(super) fn check_port_conflicts(
    tables: &Tables,
    spec: &ServiceSpec,
    except: Option<&str>,
) -> Result<(), Status> {
    let wanted = |mode: PublishMode| -> HashSet<Port> {
        let ports = spec.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
        ports.filter(|port| port.publish_mode() == mode).filter_map(published).collect()
    };
    let (ingress, host) = (wanted(PublishMode::Ingress), wanted(PublishMode::Host));
    if ingress.is_empty() && host.is_empty() {
        return Ok(());
    }
    for service in tables.iter::<Service>().filter(|service| except != Some(service.id())) {
        for port in ports_of(service) {
            let Some(key) = published(port) else { continue };
            let kind = match port.publish_mode() {
                PublishMode::Host if ingress.contains(&key) => "a host-published",
                PublishMode::Ingress if ingress.contains(&key) || host.contains(&key) => {
                    "an ingress"
                }
                _ => continue,
            };
            return Err(Status::invalid_argument(format!(
                "port '{}' is already in use by service '{}' ({}) as {kind} port",
                port.published_port,
                service.name(),
                service.id
            )));
        }
    }
    Ok(())
}

/// What is published in ingress mode needs the network that carries it.
pub(super) fn check_ingress(tables: &Tables, service: &Service) -> Result<(), Status> {
    let endpoint = service.spec.as_ref().and_then(|spec| spec.endpoint.as_ref());
    let needed = endpoint.is_some_and(|endpoint| {
        endpoint.ports.iter().any(|port| port.publish_mode() == PublishMode::Ingress)
    });
    let is_ingress = |network: &Network| network.spec.as_ref().is_some_and(|spec| spec.ingress);
    if needed && !tables.iter::<Network>().any(|network| is_ingress(network)) {
        return Err(Status::failed_precondition(
            "service needs ingress network, but no ingress network is present",
        ));
    }
    Ok(())
}

/// The ports that a service asks for, and those that it was given.
fn ports_of(service: &Service) -> impl Iterator<Item = &PortConfig> {
    let asked = service.spec.as_ref().and_then(|spec| spec.endpoint.as_ref());
    let given = service.endpoint.as_ref();
    let asked = asked.into_iter().flat_map(|endpoint| &endpoint.ports);
    asked.chain(given.into_iter().flat_map(|endpoint| &endpoint.ports))
}

fn published(port: &PortConfig) -> Option<Port> {
    (port.published_port != 0).then_some((port.protocol, port.published_port))
}
