//! Jobs: so many completions, so many at a time, each node once.

use swarm_proto::v1::node_spec::Availability;
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{
    GlobalJob, JobStatus, ReplicatedJob, RestartPolicy, Service, Task, TaskState, Version,
};

use super::world::{World, state};

fn up(world: &World) -> Vec<String> {
    let tasks = world.tables.iter::<Task>().filter(|task| state(task) == TaskState::Running as i32);
    tasks
        .filter(|task| task.desired_state == TaskState::Complete as i32)
        .map(|task| task.id.clone())
        .collect()
}

fn count(world: &World, wanted: TaskState) -> usize {
    world.tables.iter::<Task>().filter(|task| state(task) == wanted as i32).count()
}

fn finish(world: &mut World, end: TaskState) {
    for id in up(world) {
        world.report(&id, end);
    }
    world.settle();
}

#[test]
fn runs_so_many_at_a_time_until_all_are_complete() {
    let mut world = World::new(3);
    world.service(
        "job",
        Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 2, total_completions: 5 }),
    );
    world.settle();
    for (running, complete) in [(2, 0), (2, 2), (1, 4), (0, 5)] {
        assert_eq!((up(&world).len(), count(&world, TaskState::Complete)), (running, complete));
        finish(&mut world, TaskState::Complete);
    }
    world.new_leader();
    world.pass(60);
    assert_eq!((up(&world).len(), world.tables.len::<Task>()), (0, 5));
}

#[test]
fn tries_again_what_failed_unless_the_policy_forbids() {
    for (condition, expect) in
        [(RestartCondition::Any, 2), (RestartCondition::OnFailure, 2), (RestartCondition::None, 0)]
    {
        let mut world = World::new(2);
        world.service(
            "job",
            Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 2, total_completions: 2 }),
        );
        world.update("job", |spec| {
            let restart = RestartPolicy { condition: condition as i32, ..Default::default() };
            spec.task.get_or_insert_default().restart = Some(restart);
        });
        world.settle();
        finish(&mut world, TaskState::Failed);
        world.pass(10);
        assert_eq!(up(&world).len(), expect, "{condition:?}");
        finish(&mut world, TaskState::Complete);
        world.pass(60);
        assert_eq!(
            (up(&world).len(), count(&world, TaskState::Complete)),
            (0, expect),
            "{condition:?}"
        );
    }
}

#[test]
fn a_global_job_completes_once_on_each_node() {
    let mut world = World::new(3);
    world.availability("swarm3", Availability::Drain);
    world.service("job", Mode::GlobalJob(GlobalJob {}));
    world.settle();
    assert_eq!(up(&world).len(), 2);
    finish(&mut world, TaskState::Complete);
    world.availability("swarm3", Availability::Active);
    world.settle();
    assert_eq!((up(&world).len(), count(&world, TaskState::Complete)), (1, 2));
}

#[test]
fn another_iteration_runs_everything_again() {
    let mut world = World::new(1);
    world.service(
        "job",
        Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 1, total_completions: 1 }),
    );
    world.settle();
    finish(&mut world, TaskState::Complete);
    world.change::<Service>("job", |service| {
        let job_iteration = Some(Version { index: 7 });
        service.job_status = Some(JobStatus { job_iteration, ..Default::default() });
    });
    world.settle();
    assert_eq!((up(&world).len(), count(&world, TaskState::Complete)), (1, 1));
}

#[test]
fn a_completion_that_its_node_forgot_is_made_up_for() {
    let mut world = World::new(2);
    world.service("job", Mode::GlobalJob(GlobalJob {}));
    world.settle();
    let task = world.tables.iter::<Task>().find(|task| task.node_id == "swarm1");
    let task = task.map(|task| task.id.clone()).expect("was made");
    world.down("swarm1");
    world.settle();
    world.report(&task, TaskState::Complete);
    world.up("swarm1");
    world.settle();
    finish(&mut world, TaskState::Complete);
    assert_eq!((up(&world).len(), count(&world, TaskState::Complete)), (0, 2));
    // It lost its power, and with it the record of the end.
    world.report(&task, TaskState::Failed);
    world.pass(10);
    finish(&mut world, TaskState::Complete);
    assert_eq!((up(&world).len(), count(&world, TaskState::Complete)), (0, 2));
}
