//! The tasks of services, in swarm mode: each is served where its ports are published, by its service's labels.
//!
//! A port that is published on the task's own node (`mode=host`) leads there; one that is published on all nodes
//! (`mode=ingress`) leads to the nodes that have a task, so that no request makes a detour.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::client::{Client, ClientError};
use crate::plan::{Candidate, Published};

/// Of tasks, those that should run.
const TASKS: &str = "/tasks?filters=%7B%22desired-state%22%3A%5B%22running%22%5D%7D";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Info {
    swarm: Swarm,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Swarm {
    control_available: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Spec")]
    spec: Spec,
    #[serde(rename = "Endpoint")]
    endpoint: Ports,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Spec {
    name: String,
    labels: Option<BTreeMap<String, String>>,
    task_template: Template,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Template {
    container_spec: Option<ContainerSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpec {
    hostname: String,
    labels: Option<BTreeMap<String, String>>,
    env: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ports {
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    protocol: String,
    target_port: u16,
    published_port: u16,
    publish_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Task {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID")]
    service: String,
    #[serde(rename = "NodeID")]
    node: String,
    #[serde(rename = "Slot")]
    slot: u64,
    #[serde(rename = "Status")]
    status: TaskStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskStatus {
    state: String,
    port_status: Ports,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Status")]
    status: NodeStatus,
    #[serde(rename = "ManagerStatus")]
    manager: Option<NodeStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NodeStatus {
    addr: String,
    state: String,
}

/// Reads the tasks that run; none where the cluster is no manager in swarm mode.
pub(super) async fn read(client: &Client) -> Result<Option<Vec<Candidate>>, ClientError> {
    let info: Info = client.get("/info").await?;
    if !info.swarm.control_available {
        return Ok(None);
    }
    let (services, tasks, nodes) = tokio::try_join!(
        client.get::<Vec<Service>>("/services"),
        client.get::<Vec<Task>>(TASKS),
        client.get::<Vec<Node>>("/nodes"),
    )?;
    Ok(Some(candidates(&services, &tasks, &nodes)))
}

fn candidates(services: &[Service], tasks: &[Task], nodes: &[Node]) -> Vec<Candidate> {
    let services: BTreeMap<&str, &Service> =
        services.iter().map(|service| (service.id.as_str(), service)).collect();
    let nodes: BTreeMap<&str, &Node> = nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut seen = BTreeSet::new();
    let running = tasks.iter().filter(|task| task.status.state == "running");
    let found = running.filter_map(|task| {
        let service = services.get(task.service.as_str())?;
        let node = nodes.get(task.node.as_str())?;
        // A node that is down may have its tasks in whatever state they were.
        let (ports, address) = (ports(service, task), address(node));
        if node.status.state != "ready" && !node.status.state.is_empty() {
            return None;
        }
        let ports: BTreeSet<Published> = ports
            .filter(|port| port.published_port > 0 && ["", "tcp"].contains(&&*port.protocol))
            .map(|port| Published {
                private: port.target_port,
                address: address.clone(),
                public: port.published_port,
            })
            .collect();
        // Of the tasks of one node behind one port, one stands for all.
        (ports.is_empty() || seen.insert((task.service.clone(), ports.clone())))
            .then(|| candidate(service, task, ports))
    });
    found.collect()
}

fn ports<'a>(service: &'a Service, task: &'a Task) -> impl Iterator<Item = &'a Port> {
    let ingress = service.endpoint.ports.iter().flatten();
    let ingress = ingress.filter(|port| port.publish_mode != "host");
    ingress.chain(task.status.port_status.ports.iter().flatten())
}

fn candidate(service: &Service, task: &Task, ports: BTreeSet<Published>) -> Candidate {
    let container = service.spec.task_template.container_spec.clone().unwrap_or_default();
    let mut labels = container.labels.unwrap_or_default();
    labels.extend(service.spec.labels.clone().unwrap_or_default());
    let slot = if task.slot == 0 { task.node.clone() } else { task.slot.to_string() };
    Candidate {
        id: task.id.clone(),
        name: format!("{}.{slot}", service.spec.name),
        hostname: container.hostname,
        domainname: String::new(),
        labels,
        env: container.env.unwrap_or_default(),
        ports,
    }
}

/// Where a node is; empty for wherever the cluster is.
fn address(node: &Node) -> String {
    let manager = node.manager.as_ref().and_then(|manager| manager.addr.rsplit_once(':'));
    let is_known = |address: &&str| !["", "0.0.0.0", "127.0.0.1"].contains(address);
    let known = [node.status.addr.as_str(), manager.map_or("", |(host, _)| host)];
    known.into_iter().find(is_known).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tasks_are_where_their_ports_are() {
        let services = json!([
            {"ID": "s1", "Spec": {"Name": "web", "Labels": {"interlock.hostname": "web.local"},
                "TaskTemplate": {"ContainerSpec": {"Labels": {"a": "b"}}}},
             "Endpoint": {"Ports": [
                {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "ingress"},
                {"Protocol": "udp", "TargetPort": 53, "PublishedPort": 53, "PublishMode": "ingress"}]}},
            {"ID": "s2", "Spec": {"Name": "own", "Labels": {"interlock.hostname": "own.local"}},
             "Endpoint": {"Ports": [
                {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 0, "PublishMode": "host"}]}}
        ]);
        let running = |id: &str, service: &str, node: &str, slot: u64, ports: serde_json::Value| {
            json!({"ID": id, "ServiceID": service, "NodeID": node, "Slot": slot,
                "Status": {"State": "running", "PortStatus": ports}})
        };
        let own = json!({"Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 30001}]});
        let mut starting = running("t9", "s1", "n1", 9, json!({}));
        starting["Status"]["State"] = "starting".into();
        let tasks = json!([
            running("t1", "s1", "n1", 1, json!({})),
            running("t2", "s1", "n1", 2, json!({})),
            running("t3", "s1", "n2", 3, json!({})),
            running("t4", "s2", "n2", 1, own.clone()),
            running("t5", "s2", "down", 2, own),
            running("t6", "gone", "n1", 1, json!({})),
            starting,
        ]);
        let nodes = json!([
            {"ID": "n1", "Status": {"Addr": "0.0.0.0", "State": "ready"},
             "ManagerStatus": {"Addr": "10.0.0.1:2377"}},
            {"ID": "n2", "Status": {"Addr": "10.0.0.2", "State": "ready"}},
            {"ID": "down", "Status": {"Addr": "10.0.0.3", "State": "down"}}
        ]);
        let services: Vec<Service> = serde_json::from_value(services).expect("services");
        let tasks: Vec<Task> = serde_json::from_value(tasks).expect("tasks");
        let nodes: Vec<Node> = serde_json::from_value(nodes).expect("nodes");
        let told: Vec<String> = candidates(&services, &tasks, &nodes)
            .iter()
            .map(|one| {
                let port =
                    one.ports.iter().map(|p| format!("{}:{}/{}", p.address, p.public, p.private));
                format!("{} {}", one.name, port.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(
            told,
            ["web.1 10.0.0.1:8080/80", "web.3 10.0.0.2:8080/80", "own.1 10.0.0.2:30001/80"]
        );
    }
}
