//! Start-first where there is no room for two: a port of the node, so many replicas a node.

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::port_config::PublishMode;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::update_config::UpdateOrder;
use swarm_proto::v1::update_status::UpdateState;
use swarm_proto::v1::{
    EndpointSpec, GlobalService, PortConfig, ReplicatedService, Service, ServiceSpec, Task,
    TaskState, UpdateConfig,
};

use super::world::{World, image, is_running, set_image};

fn with_port(spec: &mut ServiceSpec) {
    let port = PortConfig {
        target_port: 80,
        published_port: 8080,
        publish_mode: PublishMode::Host as i32,
        ..Default::default()
    };
    spec.endpoint = Some(EndpointSpec { ports: vec![port], ..Default::default() });
}

fn one_a_node(spec: &mut ServiceSpec) {
    spec.task.get_or_insert_default().placement.get_or_insert_default().max_replicas = 1;
}

fn apart_from_itself(spec: &mut ServiceSpec) {
    let placement = spec.task.get_or_insert_default().placement.get_or_insert_default();
    placement.constraints = vec!["service.name!=s".to_owned()];
}

fn world(nodes: usize, mode: Mode, limit: fn(&mut ServiceSpec), parallelism: u64) -> World {
    let mut world = World::new(nodes);
    world.service("s", mode);
    world.change::<Service>("s", |service| {
        let spec = service.spec.get_or_insert_default();
        let order = UpdateOrder::StartFirst as i32;
        spec.update = Some(UpdateConfig { parallelism, order, ..Default::default() });
        limit(spec);
    });
    world.pass(60);
    world
}

#[test]
fn the_old_task_stops_first_where_it_holds_what_the_new_one_needs() {
    let port = "host-mode port already in use";
    let limit = "max replicas per node limit exceed";
    let own = "kept apart from its own service";
    for (mode, constrain, reason, parallelism) in [
        (
            Mode::Replicated(ReplicatedService { replicas: 3 }),
            with_port as fn(&mut ServiceSpec),
            port,
            1,
        ),
        (Mode::Replicated(ReplicatedService { replicas: 3 }), with_port, port, 0),
        (Mode::Global(GlobalService {}), with_port, port, 2),
        (Mode::Replicated(ReplicatedService { replicas: 3 }), one_a_node, limit, 1),
        (Mode::Replicated(ReplicatedService { replicas: 3 }), apart_from_itself, own, 1),
        (Mode::Global(GlobalService {}), apart_from_itself, own, 2),
    ] {
        let mut world = world(3, mode, constrain, parallelism);
        world.update("s", |spec| set_image(spec, "new"));
        world.pass(30);
        let new = world.tables.iter::<Task>();
        let new = new.filter(|task| is_running(task) && image(task) == Some("new")).count();
        assert_eq!(new, 3, "{mode:?} {reason}");
        let said = "update completed; stop-first instead of start-first for 3 of 3 slots: ";
        assert_eq!(world.update_status("s"), (UpdateState::Completed, format!("{said}{reason}")));
    }
}

#[test]
fn a_free_node_is_room_enough() {
    // The fourth node takes the first new task, its predecessor's node the next, and so on.
    for parallelism in [1, 2] {
        let mode = Mode::Replicated(ReplicatedService { replicas: 3 });
        let mut world = world(4, mode, with_port, parallelism);
        world.update("s", |spec| set_image(spec, "new"));
        for _ in 0..100 {
            world.plan();
            let up = world.tables.iter::<Task>().filter(|task| is_running(task)).count();
            assert!(up >= 3, "{up} tasks are up");
            if !world.agents() {
                break;
            }
        }
        world.pass(10);
        assert_eq!(
            world.update_status("s"),
            (UpdateState::Completed, "update completed".to_owned())
        );
    }
}

#[test]
fn nothing_stops_for_what_would_not_make_room() {
    // The nodes that have the port are drained or do not suit: stopping the old tasks would help nobody.
    let mode = Mode::Replicated(ReplicatedService { replicas: 1 });
    let mut world = world(2, mode, with_port, 1);
    let node = world.tables.iter::<Task>().find(|task| is_running(task));
    let node = node.map(|task| task.node_id.clone()).expect("one runs");
    let other = if node == "swarm1" { "swarm2" } else { "swarm1" };
    world.availability(other, Availability::Drain);
    world.update("s", |spec| {
        set_image(spec, "new");
        let placement = spec.task.get_or_insert_default().placement.get_or_insert_default();
        placement.constraints = vec![format!("node.id!={node}")];
    });
    world.pass(60);
    let old = world
        .tables
        .iter::<Task>()
        .filter(|task| is_running(task) && image(task) == Some("alpine"));
    assert_eq!(old.count(), 1);
    assert_eq!(world.update_status("s"), (UpdateState::Updating, "update in progress".to_owned()));
    let new = world.tables.iter::<Task>().find(|task| image(task) == Some("new"));
    let status = new.and_then(|task| task.status.clone()).unwrap_or_default();
    assert_eq!(status.state, TaskState::Pending as i32);
    assert!(status.err.starts_with("no suitable node ("), "{}", status.err);
}

#[test]
fn an_update_moves_what_is_in_bad_company_and_nothing_else() {
    let mut world = World::new(3);
    world.service("web", Mode::Replicated(ReplicatedService { replicas: 1 }));
    world.service("s", Mode::Replicated(ReplicatedService { replicas: 3 }));
    world.pass(60);
    let home = world.tables.tasks_by_service("web").next().map(|task| task.node_id.clone());
    let running = |world: &World| -> Vec<(String, String)> {
        let tasks = world.tables.tasks_by_service("s").filter(|task| is_running(task));
        tasks.map(|task| (task.id.clone(), task.node_id.clone())).collect()
    };
    let before = running(&world);
    world.update("s", |spec| {
        let placement = spec.task.get_or_insert_default().placement.get_or_insert_default();
        placement.constraints = vec!["service.name!=web".to_owned()];
    });
    world.pass(60);
    let after = running(&world);
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|(_, node)| Some(node) != home.as_ref()), "{after:?}");
    let kept = after.iter().filter(|task| before.contains(task)).count();
    assert_eq!(kept, 2, "{before:?} {after:?}");
}
