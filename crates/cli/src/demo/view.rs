//! What the table shows: nodes and tasks out of the API's JSON, and the lines that they make. Pure.

use std::collections::HashMap;

use serde_json::Value;

/// The cluster at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    nodes: Vec<NodeRow>,
    tasks: Vec<TaskRow>,
    wanted: u64,
}

/// One node.
#[derive(Debug, Default, PartialEq, Eq)]
struct NodeRow {
    name: String,
    state: String,
    availability: String,
    manager: String,
    address: String,
}

/// One task that is to run, or did not make it.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct TaskRow {
    name: String,
    id: String,
    node: String,
    state: String,
    note: String,
    service: String,
    slot: u64,
}

impl View {
    /// Reads the answers of `/nodes`, `/services` and `/tasks`.
    pub(super) fn read(nodes: &Value, services: &Value, tasks: &Value) -> Self {
        let by_id = |list: &Value, name: fn(&Value) -> &Value| -> HashMap<String, Value> {
            items(list).map(|item| (text(&item["ID"]), name(item).clone())).collect()
        };
        let hosts = by_id(nodes, |node| node);
        let names = by_id(services, |service| &service["Spec"]["Name"]);
        let mut tasks: Vec<TaskRow> = items(tasks)
            .filter(|task| matches!(task["DesiredState"].as_str(), Some("running" | "ready")))
            .filter_map(|task| {
                let service = text(names.get(task["ServiceID"].as_str()?)?);
                Some(task_row(task, service, hosts.get(task["NodeID"].as_str().unwrap_or(""))))
            })
            .collect();
        tasks.sort_by(|a, b| (&a.service, a.slot, &a.id).cmp(&(&b.service, b.slot, &b.id)));
        let mut nodes: Vec<NodeRow> = items(nodes).map(node_row).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let wanted = items(services)
            .filter_map(|service| service["Spec"]["Mode"]["Replicated"]["Replicas"].as_u64())
            .sum();
        Self { nodes, tasks, wanted }
    }

    /// What may change, one line for each node and task, by what tells it from the others.
    pub(super) fn changing(&self) -> impl Iterator<Item = (String, String)> {
        let nodes = self.nodes.iter().map(|node| {
            let state = format!("node {}: {}, {}", node.name, node.state, node.availability);
            (format!("node {}", node.name), state)
        });
        let tasks = self.tasks.iter().map(|task| {
            let node = if task.node.is_empty() { "no node yet" } else { &task.node };
            let line = format!("task {} on {node}: {} {}", task.name, task.state, task.note);
            (format!("task {} {} {}", task.service, task.slot, task.id), line.trim_end().to_owned())
        });
        nodes.chain(tasks)
    }

    fn running(&self) -> usize {
        self.tasks.iter().filter(|task| task.state == "running").count()
    }

    /// Whether so many nodes are ready and every wanted task runs.
    pub(super) fn is_complete(&self, nodes: usize) -> bool {
        let ready = self.nodes.iter().filter(|node| node.state == "Ready").count();
        ready >= nodes
            && self.wanted > 0
            && u64::try_from(self.running()).is_ok_and(|running| running >= self.wanted)
    }

    /// The table, in at most `rows` lines.
    pub(super) fn lines(&self, rows: usize) -> Vec<String> {
        let mut lines = columns(
            ["NODE", "STATUS", "AVAILABILITY", "MANAGER STATUS", "ADDRESS"],
            self.nodes.iter().map(|node| {
                [&node.name, &node.state, &node.availability, &node.manager, &node.address]
            }),
        );
        lines.push(String::new());
        let tasks = columns(
            ["TASK", "NODE", "STATE", ""],
            self.tasks.iter().map(|task| [&task.name, &task.node, &task.state, &task.note]),
        );
        let room = rows.saturating_sub(lines.len() + 2).max(2);
        let hidden = tasks.len().saturating_sub(room);
        lines.extend(tasks.into_iter().take(room));
        let more = if hidden > 0 { format!(" ({hidden} not shown)") } else { String::new() };
        lines.push(format!("{}/{} tasks running{more}", self.running(), self.wanted));
        lines
    }
}

fn node_row(node: &Value) -> NodeRow {
    let manager = &node["ManagerStatus"];
    NodeRow {
        name: text(&node["Description"]["Hostname"]),
        state: capitalized(&node["Status"]["State"]),
        availability: capitalized(&node["Spec"]["Availability"]),
        manager: match manager["Leader"].as_bool() {
            Some(true) => "Leader".to_owned(),
            _ => capitalized(&manager["Reachability"]),
        },
        address: node_address(node),
    }
}

fn task_row(task: &Value, service: String, node: Option<&Value>) -> TaskRow {
    let slot = task["Slot"].as_u64().unwrap_or(0);
    let null = Value::Null;
    let node = node.unwrap_or(&null);
    let status = &task["Status"];
    let address = node_address(node);
    let port = status["PortStatus"]["Ports"][0]["PublishedPort"].as_u64();
    let error = text(&status["Err"]);
    let note = match (port, error.is_empty()) {
        (_, false) => error,
        (Some(port), _) if !address.is_empty() => format!("http://{address}:{port}"),
        _ => String::new(),
    };
    let name = match slot {
        0 => service.clone(),
        slot => format!("{service}.{slot}"),
    };
    let node = text(&node["Description"]["Hostname"]);
    TaskRow {
        name,
        id: text(&task["ID"]),
        node,
        state: text(&status["State"]),
        note,
        service,
        slot,
    }
}

/// Where a node is reached; a manager tells of itself only where other managers find it.
fn node_address(node: &Value) -> String {
    let manager = text(&node["ManagerStatus"]["Addr"]);
    let host = manager.rsplit_once(':').map_or(manager.as_str(), |(host, _port)| host);
    match text(&node["Status"]["Addr"]) {
        address if address.is_empty() => host.to_owned(),
        address => address,
    }
}

/// Aligned columns under their titles.
fn columns<'a, const N: usize>(
    titles: [&'a str; N],
    rows: impl Iterator<Item = [&'a String; N]>,
) -> Vec<String> {
    let rows: Vec<[&str; N]> =
        std::iter::once(titles).chain(rows.map(|row| row.map(String::as_str))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[&str; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The text without what a terminal would act on.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

fn capitalized(value: &Value) -> String {
    let text = text(value);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn node(id: &str, number: u8, leader: Option<bool>) -> Value {
        json!({
            "ID": id,
            "Description": { "Hostname": format!("demo{number}") },
            "Spec": { "Availability": "active" },
            "Status": { "State": "ready", "Addr": format!("10.99.0.{number}") },
            "ManagerStatus": leader.map(|leader| json!({ "Leader": leader, "Reachability": "reachable" })),
        })
    }

    fn task(slot: u64, node: &str, desired: &str, state: &str) -> Value {
        json!({
            "ID": format!("t{slot}"), "ServiceID": "s", "Slot": slot, "NodeID": node, "DesiredState": desired,
            "Status": { "State": state, "PortStatus": { "Ports": [{ "PublishedPort": 30000 + slot }] } },
        })
    }

    fn view(tasks: &[Value]) -> View {
        let nodes = json!([node("b", 2, None), node("a", 1, Some(true))]);
        let services = json!([{ "ID": "s", "Spec": {
            "Name": "web", "Mode": { "Replicated": { "Replicas": 2 } } } }]);
        View::read(&nodes, &services, &json!(tasks))
    }

    #[test]
    fn shows_nodes_and_tasks() {
        let view = view(&[
            task(2, "b", "running", "starting"),
            task(1, "a", "running", "running"),
            task(3, "a", "shutdown", "shutdown"),
        ]);
        expect![[r"
            NODE    STATUS   AVAILABILITY   MANAGER STATUS   ADDRESS
            demo1   Ready    Active         Leader           10.99.0.1
            demo2   Ready    Active                          10.99.0.2

            TASK    NODE    STATE
            web.1   demo1   running    http://10.99.0.1:30001
            web.2   demo2   starting   http://10.99.0.2:30002
            1/2 tasks running"]]
        .assert_eq(&view.lines(24).join("\n"));
        assert!(!view.is_complete(2));
        let news: Vec<String> = view.changing().map(|(_, line)| line).collect();
        assert_eq!(news[0], "node demo1: Ready, Active");
        assert_eq!(news[2], "task web.1 on demo1: running http://10.99.0.1:30001");
        let short = view.lines(8);
        assert_eq!(short.last().map(String::as_str), Some("1/2 tasks running (1 not shown)"));
    }

    #[test]
    fn is_complete_when_all_run() {
        let tasks = [task(1, "a", "running", "running"), task(2, "b", "running", "running")];
        assert!(view(&tasks).is_complete(2));
        assert!(!view(&tasks).is_complete(3));
        assert!(!View::default().is_complete(0));
    }
}
