//! Answers about the swarm itself.

use axum::Json;
use axum::extract::State;
use swarm_proto::v1;

use crate::cluster::{InitRequest, JoinRequest};
use crate::control;
use crate::convert::{node, swarm};
use crate::error::ApiError;
use crate::http::body::JsonBody;
use crate::http::params::Params;
use crate::http::version::ApiVersion;
use crate::state::ApiState;
use crate::wire;

/// Docker refuses names but the one that it gives.
const CLUSTER_NAME: &str = "default";

pub(super) async fn inspect(State(state): State<ApiState>) -> Result<Json<wire::Swarm>, ApiError> {
    let cluster = state.control()?.cluster().await?;
    Ok(Json(swarm::swarm_json(&cluster)))
}

pub(super) async fn init(
    State(state): State<ApiState>,
    version: ApiVersion,
    JsonBody(mut body): JsonBody<wire::InitBody>,
) -> Result<Json<String>, ApiError> {
    if version < ApiVersion(1, 39) {
        body.default_addr_pool.clear();
        body.subnet_size = 0;
    }
    if version < ApiVersion(1, 40) {
        body.data_path_port = 0;
    }
    check_name(&body.spec)?;
    let mut spec = swarm::merge_spec(&body.spec, swarm::default_spec())?;
    if body.force_new_cluster {
        refuse_settings(&body, &spec)?;
    }
    if body.auto_lock_managers {
        spec.encryption_config.get_or_insert_default().auto_lock_managers = true;
    }
    let auto_lock_managers = spec.encryption_config.is_some_and(|config| config.auto_lock_managers);
    let request = InitRequest {
        listen_addr: body.listen_addr,
        advertise_addr: body.advertise_addr,
        data_path_addr: body.data_path_addr,
        data_path_port: body.data_path_port,
        default_addr_pool: body.default_addr_pool,
        subnet_size: body.subnet_size,
        force_new_cluster: body.force_new_cluster,
        auto_lock_managers,
        availability: availability(&body.availability)?,
        spec,
    };
    state.cluster.init(request).await.map(Json)
}

pub(super) async fn join(
    State(state): State<ApiState>,
    JsonBody(body): JsonBody<wire::JoinBody>,
) -> Result<(), ApiError> {
    if body.remote_addrs.is_empty() {
        return Err(ApiError::invalid("at least 1 RemoteAddr is required to join"));
    }
    let request = JoinRequest {
        listen_addr: body.listen_addr,
        advertise_addr: body.advertise_addr,
        data_path_addr: body.data_path_addr,
        remote_addrs: body.remote_addrs,
        join_token: body.join_token,
        availability: availability(&body.availability)?,
    };
    state.cluster.join(request).await
}

/// A new cluster out of an old one's state goes on with that one's settings.
fn refuse_settings(body: &wire::InitBody, spec: &v1::ClusterSpec) -> Result<(), ApiError> {
    let is_given = *spec != swarm::default_spec()
        || body.auto_lock_managers
        || !body.default_addr_pool.is_empty()
        || body.data_path_port != 0;
    match is_given {
        false => Ok(()),
        true => Err(ApiError::invalid(
            "--force-new-cluster keeps the swarm's settings: leave other settings out, and change them by \"docker \
             swarm update\" afterwards",
        )),
    }
}

/// An empty availability is an active one.
fn availability(name: &str) -> Result<v1::node_spec::Availability, ApiError> {
    match name {
        "" => Ok(v1::node_spec::Availability::Active),
        name => node::availability(name),
    }
}

fn check_name(spec: &wire::SwarmSpec) -> Result<(), ApiError> {
    match spec.name.as_str() {
        "" | CLUSTER_NAME => Ok(()),
        _ => Err(ApiError::invalid("swarm spec must be named \"default\"")),
    }
}

pub(super) async fn leave(State(state): State<ApiState>, params: Params) -> Result<(), ApiError> {
    state.cluster.leave(params.flag("force")).await
}

pub(super) async fn update(
    State(state): State<ApiState>,
    params: Params,
    JsonBody(body): JsonBody<wire::SwarmSpec>,
) -> Result<(), ApiError> {
    let version = params.version("swarm")?;
    let rotation = v1::KeyRotation {
        worker_join_token: params.strict_flag("rotateWorkerToken")?,
        manager_join_token: params.strict_flag("rotateManagerToken")?,
        manager_unlock_key: params.strict_flag("rotateManagerUnlockKey")?,
    };
    check_name(&body)?;
    let control = state.control()?;
    let cluster = control.cluster().await?;
    let spec = swarm::merge_spec(&body, cluster.spec.unwrap_or_default())?;
    let request = v1::UpdateClusterRequest {
        cluster_id: cluster.id,
        cluster_version: control::version(version),
        spec: Some(spec),
        rotation: Some(rotation),
    };
    control.update_cluster(request).await.map(drop)
}

pub(super) async fn unlock_key(
    State(state): State<ApiState>,
) -> Result<Json<wire::UnlockKey>, ApiError> {
    let unlock_key = state.cluster.unlock_key().await?;
    Ok(Json(wire::UnlockKey { unlock_key }))
}

pub(super) async fn unlock(
    State(state): State<ApiState>,
    JsonBody(body): JsonBody<wire::UnlockKey>,
) -> Result<(), ApiError> {
    state.cluster.unlock(body.unlock_key).await
}
