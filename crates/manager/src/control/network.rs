//! Networks: read. Creating them comes with overlay networks.

use swarm_proto::v1::{
    CreateNetworkRequest, CreateNetworkResponse, GetNetworkRequest, GetNetworkResponse,
    ListNetworksRequest, ListNetworksResponse, Network, RemoveNetworkRequest,
    RemoveNetworkResponse,
};
use swarm_store::Object as _;
use tonic::Status;

use super::names::check_dns_name;
use super::selection::selection;
use super::{Control, invalid_argument, not_found, required};
use crate::failure::Failure;

pub(super) fn get(
    control: &Control,
    request: GetNetworkRequest,
) -> Result<GetNetworkResponse, Failure> {
    let id = required(&request.network_id)?;
    let tables = control.store.view();
    let network = tables.get::<Network>(id).ok_or_else(|| not_found("network", id))?;
    Ok(GetNetworkResponse { network: Some(Network::clone(network)) })
}

pub(super) fn list(
    control: &Control,
    request: ListNetworksRequest,
) -> Result<ListNetworksResponse, Failure> {
    let filters = request.filters.unwrap_or_default();
    let selection = selection!(filters);
    let tables = control.store.view();
    let admitted = tables.iter::<Network>().filter(|network| selection.admits(&***network));
    Ok(ListNetworksResponse { networks: admitted.map(|network| Network::clone(network)).collect() })
}

pub(super) fn create(
    _control: &Control,
    request: CreateNetworkRequest,
) -> Result<CreateNetworkResponse, Failure> {
    let spec = request.spec.ok_or_else(invalid_argument)?;
    check_dns_name(spec.annotations.as_ref())?;
    Err(unsupported())
}

pub(super) fn remove(
    control: &Control,
    request: RemoveNetworkRequest,
) -> Result<RemoveNetworkResponse, Failure> {
    let id = required(&request.network_id)?;
    let tables = control.store.view();
    let network = tables.get::<Network>(id).ok_or_else(|| not_found("network", id))?;
    let annotations = network.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
    let predefined = annotations.and_then(|a| a.labels.get("com.docker.swarm.predefined"));
    if predefined.is_some_and(|value| value == "true") {
        return Err(Status::failed_precondition(format!(
            "network {id} ({}) is a swarm predefined network and cannot be removed",
            network.name()
        ))
        .into());
    }
    Err(unsupported())
}

fn unsupported() -> Failure {
    Status::unimplemented("networks of the swarm (overlay, ingress) are not supported yet").into()
}
