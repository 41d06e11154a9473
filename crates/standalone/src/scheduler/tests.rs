//! Choices, as tables.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::node::PortBinding;
use super::*;
use crate::container_config::Wishes;

const GIB: i64 = 1 << 30;

fn node(name: &str) -> Node {
    Node {
        id: format!("{name}-id|{name}:2375"),
        name: name.into(),
        total_memory: 2 * GIB,
        total_cpus: 4,
        health: 100,
        ..Node::default()
    }
}

fn body(value: Value) -> Map<String, Value> {
    let Value::Object(body) = value else { panic!("an object") };
    body
}

fn request(value: Value) -> Request {
    let mut body = body(value);
    let wishes = Wishes::take(&mut body).expect("fine");
    Request::of(&body, wishes)
}

fn place(node: &mut Node, request: &Request) {
    node.used_memory += request.memory;
    node.used_cpus += request.cpus;
    node.containers.push(Arc::new(Container {
        memory: request.memory,
        cpus: request.cpus,
        is_host_network: request.is_host_network,
        exposed_ports: request.exposed_ports.clone(),
        bindings: request.bindings.clone(),
        ..Container::default()
    }));
}

/// Places as many of these as go, and tells on which engines.
fn run(strategy: Strategy, nodes: &mut [Node], wanted: &Request, count: usize) -> Vec<String> {
    let scheduler = Scheduler { strategy, filters: Filter::ALL.to_vec() };
    let mut placed = Vec::new();
    for _ in 0..count {
        let chosen = match scheduler.select(nodes, wanted) {
            Ok(ranked) => ranked[0].name.clone(),
            Err(error) => {
                placed.push(error.to_string());
                break;
            }
        };
        let node = nodes.iter_mut().find(|node| node.name == chosen).expect("one of them");
        place(node, wanted);
        placed.push(chosen);
    }
    placed
}

#[test]
fn strategies_choose_the_emptiest_or_the_fullest() {
    const FULL: &str = "no resources available to schedule container";
    let gib = |cpus: i64, memory: i64| {
        request(json!({"HostConfig": {"CpuShares": cpus, "Memory": memory * GIB}}))
    };
    for (strategy, wanted, count, expect) in [
        (Strategy::Spread, gib(0, 0), 4, vec!["a", "b", "a", "b"]),
        (Strategy::BinPack, gib(0, 0), 3, vec!["a", "a", "a"]),
        (Strategy::Spread, gib(0, 1), 5, vec!["a", "b", "a", "b", FULL]),
        (Strategy::BinPack, gib(0, 1), 5, vec!["a", "a", "b", "b", FULL]),
        (Strategy::Spread, gib(3, 0), 3, vec!["a", "b", FULL]),
        (Strategy::Spread, gib(5, 0), 1, vec![FULL]),
        (Strategy::BinPack, gib(0, 1000), 1, vec![FULL]),
    ] {
        let mut nodes = [node("a"), node("b")];
        assert_eq!(run(strategy, &mut nodes, &wanted, count), expect, "{strategy:?}");
    }
    // What failed a moment ago comes last, however empty; and the random strategy reaches every engine.
    let mut nodes = [Node { health: 67, ..node("a") }, node("b")];
    assert_eq!(run(Strategy::Spread, &mut nodes, &gib(0, 0), 2), ["b", "b"]);
    let mut nodes = [node("a"), node("b")];
    let reached = run(Strategy::Random, &mut nodes, &gib(0, 0), 100);
    assert!(["a", "b"].iter().all(|name| reached.iter().any(|chosen| chosen == name)));
}

#[test]
fn filters_drop_what_does_not_suit() {
    let mut a = node("a");
    a.labels.insert("region".into(), "us-east".into());
    a.images.push(Arc::new(Image {
        id: "sha256:0123".into(),
        tags: vec!["redis:6".into()],
        ..Image::default()
    }));
    let web = Container {
        id: "0a1b2c3d4e5f6a7b".into(),
        names: vec!["/web".into()],
        labels: [("tier".to_owned(), "front".to_owned())].into(),
        bindings: vec![PortBinding {
            protocol: "tcp".into(),
            host_ip: String::new(),
            host_port: "80".into(),
        }],
        ..Container::default()
    };
    a.containers.push(Arc::new(web));
    let mut b = node("b");
    b.labels.insert("containerslots".into(), "2".into());
    let nodes = [a, b];
    let head = "Unable to find a node that satisfies the following conditions \n";
    let slots = "[available container slots]";
    let port = |port: &str, ip: &str| json!({"HostConfig": {"PortBindings": {port: [{"HostIp": ip, "HostPort": "80"}]}}});
    let env = |text: &str| json!({"Env": [text]});
    for (wanted, expect) in [
        (json!({}), Ok("b a")),
        (port("80/tcp", ""), Ok("b")),
        (port("80/tcp", "10.0.0.1"), Ok("b")),
        (port("80/udp", ""), Ok("b a")),
        (env("constraint:node==a"), Ok("a")),
        (env("constraint:node==a-id|a:2375"), Ok("a")),
        (env("constraint:node!=a"), Ok("b")),
        (env("constraint:node==/[ab]/"), Ok("b a")),
        (env("constraint:region==us*"), Ok("a")),
        (env("constraint:region!=us*"), Ok("b")),
        (env("constraint:region==~eu*"), Ok("b a")),
        (env("constraint:region==eu*"), Err(format!("{slots}\n[region==eu*]"))),
        (env("affinity:container==web"), Ok("a")),
        (env("affinity:container!=web"), Ok("b")),
        (env("affinity:container==0a1b2c3d4e5f6a7b"), Ok("a")),
        (env("affinity:image==redis"), Ok("a")),
        (env("affinity:image==redis:6"), Ok("a")),
        (env("affinity:image==~nginx"), Ok("b a")),
        (env("affinity:tier==front"), Ok("a")),
        (env("affinity:tier!=front"), Ok("b")),
        (env("affinity:tier==back"), Err(format!("{slots}\n[tier==back (soft=false)]"))),
        (env("whitelist:node==b|c"), Ok("b")),
        (env("whitelist:node==c"), Err(format!("{slots}\n[node==c (soft=false)]"))),
        (
            env("constraint:node=a"),
            Err(format!(
                "{slots}\nerror from constraint filter: One of operator ==, != is expected"
            )),
        ),
        (json!({"HostConfig": {"VolumesFrom": ["web:ro"]}}), Ok("a")),
        (json!({"HostConfig": {"Links": ["/web:w"]}}), Ok("a")),
        (json!({"HostConfig": {"NetworkMode": "container:0a1b2c3d4e5f"}}), Ok("a")),
        (json!({"HostConfig": {"PidMode": "container:a/web"}}), Ok("a")),
        (
            json!({"HostConfig": {"VolumesFrom": ["db"], "Links": ["web:w"]}}),
            Err(format!("{slots}\n[--volumes-from=db --link=web:w]")),
        ),
    ] {
        let scheduler = Scheduler { strategy: Strategy::Spread, filters: Filter::ALL.to_vec() };
        let said = scheduler.select(&nodes, &request(wanted.clone()));
        let said = said
            .map(|ranked| {
                ranked.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" ")
            })
            .map_err(|error| error.to_string());
        let expect = expect.map(str::to_owned).map_err(|error| format!("{head}{error}"));
        assert_eq!(said, expect, "{wanted}");
    }
}

#[test]
fn full_and_sick_engines_get_nothing() {
    let scheduler = Scheduler { strategy: Strategy::Spread, filters: Filter::ALL.to_vec() };
    let plain = request(json!({}));
    let mut slots = node("a");
    slots.labels.insert("containerslots".into(), "1".into());
    let mut no_number = slots.clone();
    no_number.labels.insert("containerslots".into(), "foo".into());
    let head = "Unable to find a node that satisfies the following conditions ";
    for (nodes, count, expect) in [
        (vec![], 1, "No nodes available in the cluster".to_owned()),
        (
            vec![Node { health: 0, ..node("a") }],
            1,
            "No healthy node available in the cluster".to_owned(),
        ),
        (vec![slots], 2, format!("{head}\n[available container slots]")),
        (vec![no_number], 2, "a".to_owned()),
    ] {
        let mut nodes = nodes;
        let placed = run(scheduler.strategy, &mut nodes, &plain, count);
        assert_eq!(placed.last(), Some(&expect));
    }
    let host =
        request(json!({"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": "host"}}));
    let mut nodes = [node("a"), node("b")];
    let placed = run(Strategy::Spread, &mut nodes, &host, 3);
    let refused = format!("{head}\n[port 80/tcp (Host mode)]");
    assert_eq!(placed, ["a", "b", refused.as_str()]);
}
