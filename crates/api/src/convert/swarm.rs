//! The swarm: its specification both ways, and what `docker swarm inspect` and `docker info` show of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use swarm_proto::v1;
use swarm_proto::v1::external_ca::CaProtocol;

use super::common::{driver, driver_json, duration, meta, nanos};
use crate::error::ApiError;
use crate::wire;

const SECOND: i64 = 1_000_000_000;
/// Nodes renew their certificates within 90 days.
const NODE_CERT_EXPIRY: i64 = 90 * 24 * 3600 * SECOND;
/// Agents report within 5 seconds, times the dispatcher's grace.
const HEARTBEAT_PERIOD: i64 = 5 * SECOND;

/// Docker's defaults for a new swarm.
pub(crate) fn default_spec() -> v1::ClusterSpec {
    v1::ClusterSpec {
        annotations: Some(v1::Annotations { name: "default".to_owned(), ..Default::default() }),
        orchestration: Some(v1::OrchestrationConfig { task_history_retention_limit: 5 }),
        raft: Some(v1::RaftConfig {
            snapshot_interval: 10_000,
            keep_old_snapshots: 0,
            log_entries_for_slow_followers: 500,
            heartbeat_tick: 1,
            election_tick: 10,
        }),
        dispatcher: Some(v1::DispatcherConfig {
            heartbeat_period: Some(duration(HEARTBEAT_PERIOD)),
        }),
        ca_config: Some(v1::CaConfig {
            node_cert_expiry: Some(duration(NODE_CERT_EXPIRY)),
            ..Default::default()
        }),
        task_defaults: Some(v1::TaskDefaults::default()),
        encryption_config: Some(v1::EncryptionConfig::default()),
        ..Default::default()
    }
}

/// Lays a client's JSON over a specification: what it leaves out or sets to zero stays as it was.
pub(crate) fn merge_spec(
    json: &wire::SwarmSpec,
    mut spec: v1::ClusterSpec,
) -> Result<v1::ClusterSpec, ApiError> {
    let annotations = spec.annotations.get_or_insert_default();
    if !json.name.is_empty() {
        annotations.name = json.name.clone();
    }
    if !json.labels.is_empty() {
        annotations.labels = json.labels.clone();
    }
    if let Some(limit) = json.orchestration.task_history_retention_limit {
        spec.orchestration.get_or_insert_default().task_history_retention_limit = limit;
    }
    merge_raft(&json.raft, spec.raft.get_or_insert_default());
    if json.dispatcher.heartbeat_period != 0 {
        spec.dispatcher.get_or_insert_default().heartbeat_period =
            Some(duration(json.dispatcher.heartbeat_period));
    }
    merge_ca(&json.ca_config, spec.ca_config.get_or_insert_default())?;
    if let Some(log_driver) = &json.task_defaults.log_driver {
        spec.task_defaults.get_or_insert_default().log_driver = Some(driver(log_driver));
    }
    spec.encryption_config.get_or_insert_default().auto_lock_managers =
        json.encryption_config.auto_lock_managers;
    Ok(spec)
}

fn merge_raft(json: &wire::Raft, raft: &mut v1::RaftConfig) {
    if json.snapshot_interval != 0 {
        raft.snapshot_interval = json.snapshot_interval;
    }
    if let Some(keep) = json.keep_old_snapshots {
        raft.keep_old_snapshots = keep;
    }
    if json.log_entries_for_slow_followers != 0 {
        raft.log_entries_for_slow_followers = json.log_entries_for_slow_followers;
    }
    if json.heartbeat_tick != 0 {
        raft.heartbeat_tick = json.heartbeat_tick;
    }
    if json.election_tick != 0 {
        raft.election_tick = json.election_tick;
    }
}

fn merge_ca(json: &wire::CaConfig, ca: &mut v1::CaConfig) -> Result<(), ApiError> {
    if json.node_cert_expiry != 0 {
        ca.node_cert_expiry = Some(duration(json.node_cert_expiry));
    }
    if !json.signing_ca_cert.is_empty() {
        ca.signing_ca_cert = json.signing_ca_cert.clone().into_bytes();
    }
    if !json.signing_ca_key.is_empty() {
        ca.signing_ca_key = json.signing_ca_key.clone().into_bytes();
    }
    ca.force_rotate = json.force_rotate;
    ca.external_cas.clear();
    for external in &json.external_cas {
        let protocol =
            CaProtocol::from_str_name(&external.protocol.to_uppercase()).ok_or_else(|| {
                ApiError::invalid(format!("invalid protocol: {:?}", external.protocol))
            })?;
        ca.external_cas.push(v1::ExternalCa {
            protocol: protocol.into(),
            url: external.url.clone(),
            options: external.options.clone(),
            ca_cert: external.ca_cert.clone().into_bytes(),
        });
    }
    Ok(())
}

/// The swarm with its join tokens, for managers' eyes.
pub(crate) fn swarm_json(cluster: &v1::Cluster) -> wire::Swarm {
    let info = cluster_info_json(cluster);
    let tokens = cluster.root_ca.as_ref().and_then(|ca| ca.join_tokens.clone()).unwrap_or_default();
    wire::Swarm {
        id: info.id,
        version: info.version,
        created_at: info.created_at,
        updated_at: info.updated_at,
        spec: info.spec,
        tls_info: info.tls_info,
        root_rotation_in_progress: info.root_rotation_in_progress,
        default_addr_pool: info.default_addr_pool,
        subnet_size: info.subnet_size,
        data_path_port: info.data_path_port,
        join_tokens: wire::JoinTokens { worker: tokens.worker, manager: tokens.manager },
    }
}

/// The swarm without its secrets.
pub(crate) fn cluster_info_json(cluster: &v1::Cluster) -> wire::ClusterInfo {
    let meta = meta(cluster.meta.as_ref());
    wire::ClusterInfo {
        id: cluster.id.clone(),
        version: meta.version,
        created_at: meta.created_at,
        updated_at: meta.updated_at,
        spec: cluster.spec.as_ref().map(spec_json).unwrap_or_default(),
        tls_info: cluster.root_ca.as_ref().map(tls_info_json).unwrap_or_default(),
        root_rotation_in_progress: cluster
            .root_ca
            .as_ref()
            .is_some_and(|ca| ca.root_rotation.is_some()),
        default_addr_pool: cluster.default_address_pool.clone(),
        subnet_size: cluster.subnet_size,
        data_path_port: cluster.vxlanudp_port,
    }
}

/// The subject and public key of the certificate that nodes trust, as DER, if it can be read.
fn tls_info_json(root: &v1::RootCa) -> wire::TlsInfo {
    let issuer = super::issuer::issuer(root);
    let encode = |bytes: &Vec<u8>| STANDARD.encode(bytes);
    wire::TlsInfo {
        trust_root: String::from_utf8_lossy(&root.ca_cert).into_owned(),
        cert_issuer_subject: issuer.as_ref().map(|i| encode(&i.subject)).unwrap_or_default(),
        cert_issuer_public_key: issuer.as_ref().map(|i| encode(&i.public_key)).unwrap_or_default(),
    }
}

/// The specification as clients see it; the CA's signing certificate and key stay inside.
pub(crate) fn spec_json(spec: &v1::ClusterSpec) -> wire::SwarmSpec {
    let annotations = spec.annotations.clone().unwrap_or_default();
    let raft = spec.raft.unwrap_or_default();
    let ca = spec.ca_config.clone().unwrap_or_default();
    let external = |ca: &v1::ExternalCa| wire::ExternalCa {
        protocol: ca.protocol().as_str_name().to_lowercase(),
        url: ca.url.clone(),
        options: ca.options.clone(),
        ca_cert: String::from_utf8_lossy(&ca.ca_cert).into_owned(),
    };
    let limit = spec.orchestration.map_or(0, |o| o.task_history_retention_limit);
    let heartbeat = spec.dispatcher.as_ref().and_then(|d| d.heartbeat_period.as_ref());
    wire::SwarmSpec {
        name: annotations.name,
        labels: annotations.labels,
        orchestration: wire::Orchestration { task_history_retention_limit: Some(limit) },
        raft: wire::Raft {
            snapshot_interval: raft.snapshot_interval,
            keep_old_snapshots: Some(raft.keep_old_snapshots),
            log_entries_for_slow_followers: raft.log_entries_for_slow_followers,
            election_tick: raft.election_tick,
            heartbeat_tick: raft.heartbeat_tick,
        },
        dispatcher: wire::Dispatcher { heartbeat_period: nanos(heartbeat) },
        ca_config: wire::CaConfig {
            node_cert_expiry: nanos(ca.node_cert_expiry.as_ref()),
            external_cas: ca.external_cas.iter().map(external).collect(),
            force_rotate: ca.force_rotate,
            ..Default::default()
        },
        task_defaults: wire::TaskDefaults {
            log_driver: spec
                .task_defaults
                .as_ref()
                .and_then(|t| t.log_driver.as_ref())
                .map(driver_json),
        },
        encryption_config: wire::EncryptionConfig {
            auto_lock_managers: spec.encryption_config.is_some_and(|e| e.auto_lock_managers),
        },
    }
}
