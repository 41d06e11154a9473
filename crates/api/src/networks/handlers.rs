//! Answers about networks: those of this node, and on a manager those of the swarm.

use axum::Json;
use axum::extract::{Path, State};
use bollard_stubs::models::{NetworkCreateRequest, NetworkInspect};
use http::{StatusCode, Uri};
use serde_json::{Value, json};
use swarm_proto::v1;

use super::filter::{ACCEPTED, wants};
use crate::convert::network_resource::network_json;
use crate::error::{ApiError, Class};
use crate::http::body::JsonBody;
use crate::http::params::Params;
use crate::state::ApiState;

/// Networks that exist on every node and that nobody can remove or create.
pub(super) const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// The node's networks, then the swarm's.
async fn all(state: &ApiState) -> Result<Vec<NetworkInspect>, ApiError> {
    let mut networks = state.engine.list_networks().await?;
    if state.cluster.status().control_available {
        let swarm =
            state.control()?.list_networks(v1::ListNetworksRequest::default()).await?.networks;
        networks.extend(swarm.iter().map(network_json));
    }
    Ok(networks)
}

/// The swarm keeps node-local networks of the predefined names; clients see the node's own unless they ask for the
/// scope, as `docker service create --network host` does.
fn is_shown(network: &NetworkInspect, scope: &str) -> bool {
    let predefined = PREDEFINED.contains(&network.name.as_deref().unwrap_or_default());
    match scope {
        "" => !predefined || network.scope.as_deref() == Some("local"),
        scope => network.scope.as_deref() == Some(scope),
    }
}

pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Vec<NetworkInspect>>, ApiError> {
    let filters = params.filters(&ACCEPTED)?;
    let mut networks = all(&state).await?;
    networks.retain(|network| is_shown(network, "") && wants(&filters, network));
    Ok(Json(networks))
}

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<NetworkInspect>, ApiError> {
    let scope = params.get("scope");
    let mut networks = all(&state).await?;
    networks.retain(|network| is_shown(network, scope));
    find(networks, &id).map(Json)
}

/// An exact ID wins over a name, a name over an ID's prefix.
fn find(networks: Vec<NetworkInspect>, input: &str) -> Result<NetworkInspect, ApiError> {
    let id = |n: &NetworkInspect| n.id.clone().unwrap_or_default();
    type Test<'a> = &'a dyn Fn(&NetworkInspect) -> bool;
    let tiers: [(&str, Test<'_>); 3] = [
        ("ID", &|n| id(n) == input),
        ("name", &|n| n.name.as_deref() == Some(input)),
        ("ID prefix", &|n| id(n).starts_with(input)),
    ];
    for (what, matches) in tiers {
        let found: Vec<_> = networks.iter().filter(|network| matches(network)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok((*one).clone()),
            many => {
                let message = format!(
                    "network {input} is ambiguous ({} matches found on {what})",
                    many.len()
                );
                return Err(ApiError::invalid(message));
            }
        }
    }
    Err(ApiError::not_found(format!("network {input} not found")))
}

pub(super) async fn create(JsonBody(body): JsonBody<NetworkCreateRequest>) -> ApiError {
    if PREDEFINED.contains(&body.name.as_str()) {
        let message = format!("operation is not permitted on predefined {} network ", body.name);
        return ApiError::new(Class::Forbidden, message);
    }
    let driver =
        body.driver.filter(|driver| !driver.is_empty()).unwrap_or_else(|| "bridge".to_owned());
    ApiError::not_implemented(format!(
        "creating networks of the driver {driver:?} is not supported by this daemon"
    ))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let mut networks = all(&state).await?;
    networks.retain(|network| is_shown(network, ""));
    let network = find(networks, &id)?;
    let name = network.name.unwrap_or_default();
    if PREDEFINED.contains(&name.as_str()) {
        let message = format!("{name} is a pre-defined network and cannot be removed");
        return Err(ApiError::new(Class::Forbidden, message));
    }
    let request = v1::RemoveNetworkRequest {
        network_id: network.id.unwrap_or_default(),
        ..Default::default()
    };
    state.control()?.remove_network(request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// There is nothing to prune: networks of this node are predefined, and those of the swarm are not pruned in Docker.
pub(super) async fn prune(params: Params) -> Result<Json<Value>, ApiError> {
    params.filters(&["label", "label!", "until"])?;
    Ok(Json(json!({ "NetworksDeleted": null })))
}

pub(super) async fn unsupported(uri: Uri) -> ApiError {
    let verb = uri.path().rsplit('/').next().unwrap_or_default();
    ApiError::not_implemented(format!("{verb} of networks is not supported by this daemon"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        let network = |id: &str, name: &str| NetworkInspect {
            id: Some(id.to_owned()),
            name: Some(name.to_owned()),
            ..Default::default()
        };
        let networks = vec![
            network("abc1", "bridge"),
            network("abc2", "host"),
            network("d", "abc"),
            network("e", "host"),
        ];
        let check = |input: &str, expected: Result<&str, &str>| {
            let got = find(networks.clone(), input)
                .map(|n| n.id.unwrap_or_default())
                .map_err(|e| e.message);
            assert_eq!(got, expected.map(str::to_owned).map_err(str::to_owned), "{input}");
        };
        check("abc1", Ok("abc1"));
        check("bridge", Ok("abc1"));
        check("abc", Ok("d"));
        check("ab", Err("network ab is ambiguous (2 matches found on ID prefix)"));
        check("host", Err("network host is ambiguous (2 matches found on name)"));
        check("x", Err("network x not found"));
    }
}
