//! Networks that a service names become the IDs of the cluster's networks.
//!
//! `bridge`, `host` and `none` exist in the cluster as node-local networks of those names. Mirrors moby's
//! `populateNetworkID`.

use crate::control::Control;
use crate::error::{ApiError, Class};
use crate::state::ApiState;
use crate::wire;

/// Replaces the names, ID prefixes and node-local IDs of a specification by the cluster's IDs.
pub(super) async fn resolve(
    state: &ApiState,
    control: &Control,
    spec: &mut wire::ServiceSpec,
) -> Result<(), ApiError> {
    for network in &mut spec.task_template.networks {
        network.target = resolve_one(state, control, &network.target).await?;
    }
    Ok(())
}

async fn resolve_one(
    state: &ApiState,
    control: &Control,
    target: &str,
) -> Result<String, ApiError> {
    let refusal = match control.find_network(target).await {
        Ok(network) => return Ok(network.id),
        Err(refusal) => refusal,
    };
    let local = state.engine.list_networks().await?.into_iter().find(|network| {
        let id = network.id.as_deref().unwrap_or_default();
        network.name.as_deref() == Some(target) || (target.len() >= 12 && id.starts_with(target))
    });
    let Some(name) = local.and_then(|network| network.name) else {
        return Err(refusal);
    };
    if ["bridge", "host", "none"].contains(&name.as_str()) {
        return match control.find_network(&name).await {
            Ok(network) => Ok(network.id),
            Err(error) => Err(ApiError::new(
                Class::NotFound,
                format!("could not find the corresponding predefined swarm network: {error}"),
            )),
        };
    }
    Err(ApiError::new(
        Class::Forbidden,
        format!(
            "The network {name} cannot be used with services. Only networks scoped to the swarm can be used, such as \
             those created with the overlay driver."
        ),
    ))
}
