//! The cluster object: read, change its spec, rotate join tokens. Keys never leave by this way.

use swarm_ca::{
    JoinToken, MIN_NODE_CERTIFICATE_EXPIRY, Role, RootDigest, UnlockKey, is_external_url,
};
use swarm_proto::timestamp::to_duration;
use swarm_proto::v1::{
    Cluster, ClusterSpec, EncryptionKey, GetClusterRequest, GetClusterResponse, KeyRotation,
    ListClustersRequest, ListClustersResponse, RootCa, UpdateClusterRequest, UpdateClusterResponse,
};
use swarm_store::{DEFAULT_CLUSTER_NAME, Object as _, Transaction};
use tonic::Status;

use super::ca_config::wanted_root;
use super::node::forget_expired;
use super::selection::selection;
use super::{Control, at_version, invalid_argument, not_found, required};
use crate::failure::Failure;

/// What stands for address pools that were never set, so that clients have something to show.
const ADDRESS_POOL: &str = "10.0.0.0/8";
const SUBNET_SIZE: u32 = 24;
const VXLAN_PORT: u32 = 4789;

pub(super) fn get(
    control: &Control,
    request: GetClusterRequest,
) -> Result<GetClusterResponse, Failure> {
    let id = required(&request.cluster_id)?;
    let tables = control.store.view();
    let cluster = tables.get::<Cluster>(id).ok_or_else(|| not_found("cluster", id))?;
    Ok(GetClusterResponse { cluster: Some(public(cluster)) })
}

pub(super) fn list(
    control: &Control,
    request: ListClustersRequest,
) -> Result<ListClustersResponse, Failure> {
    let filters = request.filters.unwrap_or_default();
    let selection = selection!(filters);
    let tables = control.store.view();
    let admitted = tables.iter::<Cluster>().filter(|cluster| selection.admits(&***cluster));
    Ok(ListClustersResponse { clusters: admitted.map(|cluster| public(cluster)).collect() })
}

pub(super) async fn update(
    control: &Control,
    request: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Failure> {
    let id = required(&request.cluster_id)?;
    let version = request.cluster_version.ok_or_else(invalid_argument)?.index;
    let spec = request.spec.clone().ok_or_else(invalid_argument)?;
    check_spec(&spec)?;
    let rotation = request.rotation.unwrap_or_default();
    let view = control.store.view();
    let present = view.get::<Cluster>(id).ok_or_else(|| not_found("cluster", id))?;
    let root = match &spec.ca_config {
        // Whatever is asked for of another version is refused below.
        Some(config) if present.version() == version => {
            let materials = control.materials.as_ref();
            Some(wanted_root(present, config, materials).await?)
        }
        _ => None,
    };
    let cluster = control
        .store
        .update(|transaction| {
            let stored = transaction.get::<Cluster>(id).ok_or_else(|| not_found("cluster", id))?;
            let mut cluster = at_version(&**stored, version);
            cluster.spec = Some(spec);
            forget_expired(&mut cluster, transaction.now());
            set_unlock_key(&mut cluster, rotation.manager_unlock_key);
            // Whatever has changed it since has changed the version too.
            cluster.root_ca = root.or(cluster.root_ca);
            if let Some(root) = cluster.root_ca.as_mut() {
                rotate_tokens(root, &rotation);
            }
            transaction.update(cluster)?;
            Ok::<_, Failure>(written(transaction, id))
        })
        .await?;
    Ok(UpdateClusterResponse { cluster })
}

fn written(transaction: &Transaction<'_>, id: &str) -> Option<Cluster> {
    transaction.get::<Cluster>(id).map(|cluster| public(cluster))
}

/// Refuses settings that no cluster can have, a new one or an old one.
pub(crate) fn check_spec(spec: &ClusterSpec) -> Result<(), Status> {
    let expiry = spec.ca_config.as_ref().and_then(|config| config.node_cert_expiry.as_ref());
    if expiry.is_some_and(|expiry| to_duration(expiry) < MIN_NODE_CERTIFICATE_EXPIRY) {
        return Err(Status::invalid_argument("minimum certificate expiry time is: 1h0m0s"));
    }
    let authorities = spec.ca_config.iter().flat_map(|config| &config.external_cas);
    for authority in authorities {
        if !is_external_url(&authority.url) {
            return Err(Status::invalid_argument(format!(
                "invalid external CA URL {:?}: it must begin with https:// and name a host",
                authority.url
            )));
        }
    }
    let heartbeat = spec.dispatcher.as_ref().and_then(|config| config.heartbeat_period.as_ref());
    if heartbeat.is_some_and(|period| period.seconds < 0 || period.nanos < 0) {
        return Err(Status::invalid_argument(
            "heartbeat time period cannot be a negative duration",
        ));
    }
    if spec.annotations.as_ref().is_none_or(|a| a.name != DEFAULT_CLUSTER_NAME) {
        return Err(Status::invalid_argument("modification of cluster name is not allowed"));
    }
    Ok(())
}

fn rotate_tokens(root: &mut RootCa, rotation: &KeyRotation) {
    let digest = RootDigest::of(&root.ca_cert);
    let tokens = root.join_tokens.get_or_insert_default();
    if rotation.worker_join_token {
        tokens.worker = JoinToken::generate(digest).to_string();
    }
    if rotation.manager_join_token {
        tokens.manager = JoinToken::generate(digest).to_string();
    }
}

/// Managers have an unlock key as long as they are to be locked, and another one when it is rotated.
fn set_unlock_key(cluster: &mut Cluster, rotate: bool) {
    let config = cluster.spec.as_ref().and_then(|spec| spec.encryption_config.as_ref());
    let is_locking = config.is_some_and(|config| config.auto_lock_managers);
    let is_managers = |key: &EncryptionKey| key.subsystem == Role::Manager.as_str();
    if is_locking && !rotate && cluster.unlock_keys.iter().any(is_managers) {
        return;
    }
    cluster.unlock_keys.retain(|key| !is_managers(key));
    if is_locking {
        cluster.unlock_keys.push(manager_key(&UnlockKey::generate()));
    }
}

/// The unlock key of managers as the cluster object keeps it.
pub(crate) fn manager_key(key: &UnlockKey) -> EncryptionKey {
    EncryptionKey {
        subsystem: Role::Manager.as_str().to_owned(),
        key: key.0.as_bytes().to_vec(),
        ..EncryptionKey::default()
    }
}

/// The cluster as clients may see it: named fields only, so that no new secret slips through.
fn public(cluster: &Cluster) -> Cluster {
    let mut spec = cluster.spec.clone().unwrap_or_default();
    if let Some(config) = spec.ca_config.as_mut() {
        // Were only the certificate sent back by an update, it would ask to forget the key.
        config.signing_ca_key.clear();
        config.signing_ca_cert.clear();
    }
    let mut root = cluster.root_ca.clone().unwrap_or_default();
    root.ca_key.clear();
    if let Some(rotation) = root.root_rotation.as_mut() {
        rotation.ca_key.clear();
    }
    let (pool, subnet_size) = match cluster.default_address_pool.as_slice() {
        [] => (vec![ADDRESS_POOL.to_owned()], SUBNET_SIZE),
        pool => (pool.to_vec(), cluster.subnet_size),
    };
    Cluster {
        id: cluster.id.clone(),
        meta: cluster.meta,
        spec: Some(spec),
        root_ca: Some(root),
        blacklisted_certificates: cluster.blacklisted_certificates.clone(),
        default_address_pool: pool,
        subnet_size,
        vxlanudp_port: if cluster.vxlanudp_port == 0 { VXLAN_PORT } else { cluster.vxlanudp_port },
        ..Cluster::default()
    }
}
