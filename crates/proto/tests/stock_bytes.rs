//! Wire types against bytes that a stock engine's swarm sent to a worker (docker.io 20.10, a cluster made for it).
//!
//! Decoding skips what it does not know, so each message must also encode to as many bytes as came: a field that is
//! missing here, or has another number or type, would be lost on the way.

use std::fmt::Debug;

use prost::Message;
use swarm_proto::v1::assignment::Item;
use swarm_proto::v1::mount::Type;
use swarm_proto::v1::placement_preference::Preference;
use swarm_proto::v1::port_config::{Protocol, PublishMode};
use swarm_proto::v1::task_spec::Runtime;
use swarm_proto::v1::{
    AssignmentsMessage, Config, ContainerSpec, NodeRole, Secret, SessionMessage, Task, TaskState,
    restart_policy::RestartCondition,
};

const SESSION: &[u8] = include_bytes!("../testdata/session-message.bin");
const FIRST: &[u8] = include_bytes!("../testdata/assignments.bin");
const UPDATE: &[u8] = include_bytes!("../testdata/assignments-update.bin");

fn whole<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> M {
    let message = M::decode(bytes).expect("what a stock manager sent");
    let again = message.encode_to_vec();
    assert_eq!(again.len(), bytes.len(), "a field got lost: {message:?}");
    assert_eq!(M::decode(&again[..]).expect("our own bytes"), message);
    message
}

fn assigned(bytes: &[u8]) -> (Vec<Task>, Vec<Secret>, Vec<Config>) {
    let message: AssignmentsMessage = whole(bytes);
    let (mut tasks, mut secrets, mut configs) = (Vec::new(), Vec::new(), Vec::new());
    for change in message.changes {
        match change.assignment.and_then(|assignment| assignment.item) {
            Some(Item::Task(task)) => tasks.push(task),
            Some(Item::Secret(secret)) => secrets.push(secret),
            Some(Item::Config(config)) => configs.push(config),
            other => panic!("not sent: {other:?}"),
        }
    }
    (tasks, secrets, configs)
}

fn of_service<'a>(tasks: &'a [Task], name: &str) -> &'a Task {
    let named = |task: &&Task| {
        task.service_annotations.as_ref().is_some_and(|service| service.name == name)
    };
    tasks.iter().find(named).expect("a task of the service")
}

fn container(task: &Task) -> &ContainerSpec {
    match task.spec.as_ref().and_then(|spec| spec.runtime.as_ref()) {
        Some(Runtime::Container(container)) => container,
        other => panic!("not a container: {other:?}"),
    }
}

#[test]
fn a_session_names_node_managers_keys_and_root() {
    let session: SessionMessage = whole(SESSION);
    let node = session.node.expect("the node");
    assert_eq!(node.role(), NodeRole::Worker);
    assert_eq!(node.description.expect("what it told").hostname, "capture");
    let manager = session.managers[0].peer.as_ref().expect("a manager");
    assert_eq!(manager.addr, "10.68.0.1:2377");
    let uses: Vec<&str> =
        session.network_bootstrap_keys.iter().map(|key| key.subsystem.as_str()).collect();
    assert!(uses.contains(&"networking:gossip") && uses.contains(&"networking:ipsec"), "{uses:?}");
    assert!(session.root_ca.starts_with(b"-----BEGIN CERTIFICATE-----"));
}

#[test]
fn a_task_with_nearly_every_option_arrives_whole() {
    let (tasks, secrets, configs) = assigned(FIRST);
    let task = of_service(&tasks, "rich");
    assert_eq!((task.desired_state(), task.slot), (TaskState::Running, 1));
    assert_eq!(secrets[0].spec.as_ref().expect("a secret").data, b"s3cret\n");
    assert_eq!(configs[0].spec.as_ref().expect("a config").data, b"conf\n");
    let spec = container(task);
    assert_eq!(
        (spec.image.as_str(), spec.user.as_str(), spec.dir.as_str()),
        ("alpine:3", "1000:1000", "/w")
    );
    assert_eq!(
        (spec.stop_signal.as_str(), spec.init, spec.read_only),
        ("SIGINT", Some(true), true)
    );
    assert_eq!(spec.env, ["A=1", "B=2"]);
    assert_eq!(spec.stop_grace_period.as_ref().map(|grace| grace.seconds), Some(7));
    assert_eq!(spec.capability_add, ["CAP_NET_ADMIN"]);
    assert_eq!((spec.ulimits[0].soft, spec.ulimits[0].hard), (100, 200));
    assert_eq!(spec.secrets[0].secret_name, "pw");
    let kinds: Vec<Type> = spec.mounts.iter().map(swarm_proto::v1::Mount::r#type).collect();
    assert_eq!(kinds, [Type::Volume, Type::Bind, Type::Tmpfs]);
    let task_spec = task.spec.as_ref().expect("a spec");
    let resources = task_spec.resources.as_ref().expect("resources");
    assert_eq!(resources.limits.as_ref().map(|limits| limits.nano_cpus), Some(500_000_000));
    assert_eq!(resources.reservations.as_ref().map(|held| held.memory_bytes), Some(32 << 20));
    let restart = task_spec.restart.as_ref().expect("a restart policy");
    assert_eq!((restart.condition(), restart.max_attempts), (RestartCondition::OnFailure, 4));
    let placement = task_spec.placement.as_ref().expect("a placement");
    assert_eq!(placement.constraints, ["node.hostname==capture"]);
    let Some(Preference::Spread(spread)) = &placement.preferences[0].preference else {
        panic!("no preference")
    };
    assert_eq!(spread.spread_descriptor, "node.labels.dc");
}

#[test]
fn endpoint_and_networks_arrive_whole() {
    let (tasks, _, _) = assigned(FIRST);
    let rich = of_service(&tasks, "rich");
    let ports = &rich.endpoint.as_ref().expect("an endpoint").ports;
    let seen: Vec<_> = ports
        .iter()
        .map(|port| (port.target_port, port.published_port, port.protocol(), port.publish_mode()))
        .collect();
    assert!(seen.contains(&(53, 5353, Protocol::Udp, PublishMode::Host)), "{seen:?}");
    assert!(seen.contains(&(80, 8080, Protocol::Tcp, PublishMode::Ingress)), "{seen:?}");
    let names: Vec<&str> = rich
        .networks
        .iter()
        .filter_map(|attachment| attachment.network.as_ref()?.spec.as_ref()?.annotations.as_ref())
        .map(|annotations| annotations.name.as_str())
        .collect();
    assert!(names.contains(&"back") && names.contains(&"ingress"), "{names:?}");
    let plain = of_service(&tasks, "plain");
    let host = plain.networks[0].network.as_ref().and_then(|network| network.spec.as_ref());
    let name = host.and_then(|spec| spec.annotations.as_ref()).map(|named| named.name.as_str());
    assert_eq!((plain.slot, name), (0, Some("host")));
}

#[test]
fn an_update_changes_the_desired_state_alone() {
    let (tasks, _, _) = assigned(UPDATE);
    let plain = of_service(&tasks, "plain");
    assert!(plain.desired_state() > TaskState::Running, "{:?}", plain.desired_state());
}
