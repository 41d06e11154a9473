//! Nodes: what an operator sets, and what the cluster knows of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use swarm_proto::v1;
use swarm_proto::v1::NodeRole;
use swarm_proto::v1::node_spec::Availability;

use super::common::meta;
use super::{resources, update};
use crate::error::ApiError;
use crate::wire;

/// The node specification that a client's JSON asks for; role and availability must be named.
pub(crate) fn node_spec(json: &wire::NodeSpec) -> Result<v1::NodeSpec, ApiError> {
    let role = NodeRole::from_str_name(&json.role.to_uppercase())
        .ok_or_else(|| ApiError::invalid(format!("invalid Role: {:?}", json.role)))?;
    Ok(v1::NodeSpec {
        annotations: Some(v1::Annotations {
            name: json.name.clone(),
            labels: json.labels.clone(),
            indices: Vec::new(),
        }),
        desired_role: role.into(),
        availability: availability(&json.availability)?.into(),
        ..Default::default()
    })
}

/// An availability by its name, in any case.
pub(crate) fn availability(name: &str) -> Result<Availability, ApiError> {
    Availability::from_str_name(&name.to_uppercase())
        .ok_or_else(|| ApiError::invalid(format!("invalid Availability: {name:?}")))
}

/// A node as clients see it. Lists are long: what is text moves over.
pub(crate) fn node_json(node: v1::Node) -> wire::Node {
    let meta = meta(node.meta.as_ref());
    let spec = node.spec.unwrap_or_default();
    let (role, availability) = (spec.desired_role(), spec.availability());
    let annotations = spec.annotations.unwrap_or_default();
    wire::Node {
        id: node.id,
        version: meta.version,
        created_at: meta.created_at,
        updated_at: meta.updated_at,
        spec: wire::NodeSpec {
            name: annotations.name,
            labels: annotations.labels,
            role: role.as_str_name().to_lowercase(),
            availability: availability.as_str_name().to_lowercase(),
        },
        description: node.description.map(description_json).unwrap_or_default(),
        status: node.status.map(status_json).unwrap_or_default(),
        manager_status: node.manager_status.map(|manager| wire::ManagerStatus {
            leader: manager.leader,
            reachability: manager.reachability().as_str_name().to_lowercase(),
            addr: manager.addr,
        }),
    }
}

fn status_json(status: v1::NodeStatus) -> wire::NodeStatus {
    wire::NodeStatus {
        state: status.state().as_str_name().to_lowercase(),
        message: status.message,
        addr: status.addr,
    }
}

fn description_json(description: v1::NodeDescription) -> wire::NodeDescription {
    wire::NodeDescription {
        hostname: description.hostname,
        platform: description.platform.as_ref().map(update::platform_json).unwrap_or_default(),
        resources: description
            .resources
            .as_ref()
            .map(resources::resources_json)
            .unwrap_or_default(),
        engine: description.engine.map(engine_json).unwrap_or_default(),
        tls_info: description.tls_info.map(tls_info_json).unwrap_or_default(),
    }
}

fn engine_json(engine: v1::EngineDescription) -> wire::EngineDescription {
    let plugin = |p: v1::PluginDescription| wire::Plugin { kind: p.r#type, name: p.name };
    wire::EngineDescription {
        engine_version: engine.engine_version,
        labels: engine.labels,
        plugins: engine.plugins.into_iter().map(plugin).collect(),
    }
}

fn tls_info_json(info: v1::NodeTlsInfo) -> wire::TlsInfo {
    let lossy =
        |bytes: std::string::FromUtf8Error| String::from_utf8_lossy(bytes.as_bytes()).into();
    wire::TlsInfo {
        trust_root: String::from_utf8(info.trust_root).unwrap_or_else(lossy),
        cert_issuer_subject: STANDARD.encode(&info.cert_issuer_subject),
        cert_issuer_public_key: STANDARD.encode(&info.cert_issuer_public_key),
    }
}
