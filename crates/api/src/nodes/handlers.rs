//! Answers about nodes.

use axum::Json;
use axum::extract::{Path, State};
use swarm_proto::v1;
use swarm_proto::v1::NodeRole;
use swarm_proto::v1::list_nodes_request::Filters as ListFilters;
use swarm_proto::v1::node_spec::Membership;

use crate::control;
use crate::convert::node;
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::filters::Filters;
use crate::http::params::Params;
use crate::state::ApiState;
use crate::wire;

const FILTERS: [&str; 6] = ["name", "id", "label", "role", "membership", "node.label"];

pub(super) async fn list(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Vec<wire::Node>>, ApiError> {
    let filters = Some(list_filters(&params.filters(&FILTERS)?)?);
    let request = v1::ListNodesRequest { filters, without_certificates: true };
    let answer = state.control()?.list_nodes(request).await?;
    Ok(Json(answer.nodes.into_iter().map(node::node_json).collect()))
}

fn list_filters(filters: &Filters) -> Result<ListFilters, ApiError> {
    let mut request = ListFilters {
        name_prefixes: filters.list("name"),
        id_prefixes: filters.list("id"),
        labels: filters.pairs("label"),
        node_labels: filters.pairs("node.label"),
        ..Default::default()
    };
    for name in filters.get("role").iter().filter(|name| !name.is_empty()) {
        let role = NodeRole::from_str_name(&name.to_uppercase());
        let role =
            role.ok_or_else(|| ApiError::invalid(format!("Invalid role filter: '{name}'")))?;
        request.roles.push(role.into());
    }
    for name in filters.get("membership").iter().filter(|name| !name.is_empty()) {
        let membership = Membership::from_str_name(&name.to_uppercase());
        let membership = membership
            .ok_or_else(|| ApiError::invalid(format!("Invalid membership filter: '{name}'")))?;
        request.memberships.push(membership.into());
    }
    Ok(request)
}

pub(super) async fn inspect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<wire::Node>, ApiError> {
    Ok(Json(node::node_json(state.control()?.find_node(&id).await?)))
}

pub(super) async fn update(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    JsonBody(body): JsonBody<wire::NodeSpec>,
) -> Result<(), ApiError> {
    let version = params.version("node")?;
    let spec = node::node_spec(&body)?;
    let control = state.control()?;
    let request = v1::UpdateNodeRequest {
        node_id: control.find_node(&id).await?.id,
        node_version: control::version(version),
        spec: Some(spec),
    };
    control.update_node(request).await.map(drop)
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<(), ApiError> {
    let control = state.control()?;
    let node_id = control.find_node(&id).await?.id;
    control
        .remove_node(v1::RemoveNodeRequest { node_id, force: params.flag("force") })
        .await
        .map(drop)
}
