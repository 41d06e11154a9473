//! What a container to be made needs of its engine.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::node::PortBinding;
use crate::container_config::{Wishes, labels};

/// A container to be made, as far as the choice of its engine goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) wishes: Wishes,
    pub(crate) labels: BTreeMap<String, String>,
    /// In bytes.
    pub(crate) memory: i64,
    /// In processors: what Docker calls shares of them.
    pub(crate) cpus: i64,
    pub(crate) is_host_network: bool,
    /// `80/tcp`
    pub(crate) exposed_ports: Vec<String>,
    pub(crate) bindings: Vec<PortBinding>,
    /// `--volumes-from`, each with its mode.
    pub(crate) volumes_from: Vec<String>,
    /// `--link`, each with its alias.
    pub(crate) links: Vec<String>,
    /// The containers whose namespaces it shares, by the flag that says so.
    pub(crate) shared: Vec<(&'static str, String)>,
}

/// Flags that share a namespace, with their fields of the creation's body.
const SHARING: [(&str, &str); 3] = [("net", "NetworkMode"), ("ipc", "IpcMode"), ("pid", "PidMode")];

impl Request {
    /// Reads the body of a creation.
    pub(crate) fn of(body: &Map<String, Value>, wishes: Wishes) -> Self {
        let none = Map::new();
        let host = body.get("HostConfig").and_then(Value::as_object).unwrap_or(&none);
        // Clients of old sent these beside the host's configuration.
        let number = |name: &str| {
            let given = |object: &Map<String, Value>| {
                object.get(name).and_then(Value::as_i64).filter(|number| *number != 0)
            };
            given(body).or_else(|| given(host)).unwrap_or_default()
        };
        let shared = |(flag, field): (&'static str, &str)| {
            let container = host.get(field)?.as_str()?.strip_prefix("container:")?;
            Some((flag, container.to_owned()))
        };
        Self {
            wishes,
            labels: label_map(body),
            memory: number("Memory"),
            cpus: number("CpuShares"),
            is_host_network: host.get("NetworkMode").and_then(Value::as_str) == Some("host"),
            exposed_ports: keys(body.get("ExposedPorts")),
            bindings: bindings(host.get("PortBindings")),
            volumes_from: texts(host.get("VolumesFrom")),
            links: texts(host.get("Links")),
            shared: SHARING.into_iter().filter_map(shared).collect(),
        }
    }
}

fn label_map(body: &Map<String, Value>) -> BTreeMap<String, String> {
    let labels = labels(body).into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn keys(object: Option<&Value>) -> Vec<String> {
    let object = object.and_then(Value::as_object);
    object.map(|object| object.keys().cloned().collect()).unwrap_or_default()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Bindings as engines write them: `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`.
pub(crate) fn bindings(ports: Option<&Value>) -> Vec<PortBinding> {
    let ports = ports.and_then(Value::as_object).into_iter().flatten();
    let of_port = |(port, list): (&String, &Value)| {
        let protocol = port.split_once('/').map_or("tcp", |(_, protocol)| protocol).to_owned();
        let list = list.as_array().cloned().unwrap_or_default();
        let field = |binding: &Value, name: &str| {
            binding.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        list.into_iter().map(move |binding| PortBinding {
            protocol: protocol.clone(),
            host_ip: field(&binding, "HostIp"),
            host_port: field(&binding, "HostPort"),
        })
    };
    ports.flat_map(of_port).collect()
}
