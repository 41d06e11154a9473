//! Schedules: each tick starts a job once, whoever leads and whatever clocks do.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use swarm_proto::timestamp::{from_system_time, to_system_time};
use swarm_proto::v1::restart_policy::RestartCondition;
use swarm_proto::v1::service_spec::Mode;
use swarm_proto::v1::{
    CronStatus, GlobalJob, JobStatus, ReplicatedJob, RestartPolicy, Service, ServiceSpec, Task,
    TaskState, Version,
};

use super::world::{World, state};
use crate::cron::{begin_run, of_new_job, runs_job};

const ONE: Mode = Mode::ReplicatedJob(ReplicatedJob { max_concurrent: 1, total_completions: 1 });

/// A job that runs every minute, created ten seconds into one.
fn scheduled(mode: Mode, labels: &[(&str, &str)]) -> World {
    let mut world = World::new(3);
    world.now = at(10);
    world.service("job", mode);
    world.change::<Service>("job", |service| {
        let spec = service.spec.as_mut().expect("has one");
        set(spec, "swarm.cron", "* * * * *");
        labels.iter().for_each(|(name, value)| set(spec, name, value));
        let job_iteration = Some(Version::default());
        let cron = of_new_job(spec);
        service.job_status = Some(JobStatus { job_iteration, cron, ..Default::default() });
    });
    world.settle();
    world
}

/// So many seconds into the test.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_020 + seconds)
}

fn set(spec: &mut ServiceSpec, name: &str, value: &str) {
    let labels = &mut spec.annotations.get_or_insert_default().labels;
    labels.insert(name.to_owned(), value.to_owned());
}

/// Updates as the control service does.
fn update(world: &mut World, change: impl FnOnce(&mut ServiceSpec)) {
    let now = world.now;
    world.change::<Service>("job", |service| {
        let old = service.spec.clone();
        let spec = service.spec.as_mut().expect("has one");
        change(spec);
        if runs_job(old.as_ref(), spec, false) {
            begin_run(service.job_status.as_mut().expect("a job"), now);
        }
    });
    world.settle();
}

fn to(world: &mut World, seconds: u64) {
    let left = at(seconds).duration_since(world.now).expect("later");
    world.pass(left.as_secs());
}

fn complete(world: &mut World) {
    let running =
        world.tables.iter::<Task>().filter(|task| state(task) == TaskState::Running as i32);
    let running: Vec<String> = running.map(|task| task.id.clone()).collect();
    running.iter().for_each(|id| world.report(id, TaskState::Complete));
    world.settle();
}

fn status(world: &World) -> CronStatus {
    let service = world.tables.get::<Service>("job").expect("exists");
    service.job_status.clone().and_then(|status| status.cron).expect("has a schedule")
}

/// Last, skipped and next tick, in seconds from the test's beginning.
fn ticks(world: &World) -> (Option<u64>, Option<u64>, Option<u64>) {
    let seconds = |tick: Option<_>| {
        let tick = to_system_time(&tick?);
        Some(tick.duration_since(at(0)).expect("later than the beginning").as_secs())
    };
    let status = status(world);
    (seconds(status.last_tick), seconds(status.last_skipped), seconds(status.next_tick))
}

/// Iterations with tasks, and how many of these run.
fn runs(world: &World) -> (Vec<u64>, usize) {
    let iteration = |task: &Task| task.job_iteration.map_or(0, |version| version.index);
    let mut iterations: Vec<u64> =
        world.tables.iter::<Task>().map(|task| iteration(task)).collect();
    iterations.sort_unstable();
    iterations.dedup();
    let runs = world.tables.iter::<Task>().filter(|task| state(task) == TaskState::Running as i32);
    (iterations, runs.count())
}

#[test]
fn starts_at_its_first_tick_and_at_each_that_follows() {
    for mode in [ONE, Mode::GlobalJob(GlobalJob {})] {
        let mut world = scheduled(mode, &[]);
        assert_eq!((runs(&world).1, ticks(&world)), (0, (None, None, Some(60))));
        to(&mut world, 59);
        assert_eq!(runs(&world), (vec![], 0));
        for minute in 1..=3 {
            to(&mut world, minute * 60);
            assert_ne!(runs(&world).1, 0);
            assert_eq!(ticks(&world), (Some(minute * 60), None, Some(minute * 60 + 60)));
            complete(&mut world);
        }
        assert_eq!(runs(&world), (vec![0, 1, 2], 0));
    }
}

#[test]
fn a_tick_during_a_run_does_what_the_policy_says() {
    for (policy, iterations, running, (last, skipped, next)) in [
        ("forbid", vec![0], 1, (60, Some(120), 180)),
        ("allow", vec![0, 1], 2, (120, None, 180)),
        // What was replaced is not kept.
        ("replace", vec![1], 1, (120, None, 180)),
    ] {
        let mut world = scheduled(ONE, &[("swarm.cron.concurrency", policy)]);
        to(&mut world, 130);
        assert_eq!(runs(&world), (iterations, running), "{policy}");
        assert_eq!(ticks(&world), (Some(last), skipped, Some(next)), "{policy}");
        // What was skipped is not made up for.
        complete(&mut world);
        world.new_leader();
        to(&mut world, 170);
        assert_eq!((runs(&world).1, ticks(&world)), (0, (Some(last), skipped, Some(next))));
    }
}

#[test]
fn a_run_is_over_when_all_of_it_is_complete() {
    let job = ReplicatedJob { max_concurrent: 2, total_completions: 6 };
    let mut world = scheduled(Mode::ReplicatedJob(job), &[]);
    for (until, last) in [(110, 60), (170, 60), (230, 60), (290, 240)] {
        to(&mut world, until);
        assert_eq!(ticks(&world).0, Some(last), "at {until}");
        complete(&mut world);
    }
}

#[test]
fn no_tick_is_repeated_or_lost_by_a_change_of_leader() {
    let mut world = scheduled(ONE, &[]);
    for minute in 1..=3 {
        to(&mut world, minute * 60);
        complete(&mut world);
        world.new_leader();
        world.settle();
        assert_eq!(ticks(&world).0, Some(minute * 60));
        // Another clock may be behind.
        world.now -= Duration::from_secs(5);
        world.new_leader();
        world.pass(5);
        assert_eq!(ticks(&world), (Some(minute * 60), None, Some(minute * 60 + 60)));
    }
    assert_eq!(runs(&world), (vec![0, 1, 2], 0));
}

#[test]
fn of_ticks_that_were_missed_the_last_is_made_up_for_within_its_deadline() {
    for (deadline, late, expect) in [
        ("30s", 20, (Some(300), None)),
        ("30s", 40, (None, Some(300))),
        // One hour, where nothing is said.
        ("", 40, (Some(300), None)),
    ] {
        let label = [("swarm.cron.deadline", deadline)];
        let mut world = scheduled(ONE, if deadline.is_empty() { &[] } else { &label });
        world.now = at(300 + late);
        world.new_leader();
        world.settle();
        let (last, skipped, next) = ticks(&world);
        assert_eq!((last, skipped, next), (expect.0, expect.1, Some(360)), "{deadline} {late}");
        assert_eq!(runs(&world).0.len(), usize::from(last.is_some()));
    }
}

#[test]
fn clocks_that_are_set_repeat_no_tick() {
    // Back by two and a half minutes: what was is waited for.
    let mut world = scheduled(ONE, &[]);
    for minute in 1..=3 {
        to(&mut world, minute * 60);
        complete(&mut world);
    }
    let before = runs(&world);
    world.now = at(30);
    world.new_leader();
    to(&mut world, 239);
    assert_eq!(runs(&world), before);
    to(&mut world, 240);
    assert_eq!(ticks(&world), (Some(240), None, Some(300)));
    complete(&mut world);
    // Forward: noticed soon, though the loop sleeps by another clock.
    world.skip(Duration::from_secs(3600));
    world.settle();
    assert_eq!(ticks(&world).0, Some(3840));
    complete(&mut world);
    // A clock that was a year ahead does not silence the job for a year.
    world.skip(Duration::from_secs(365 * 24 * 3600));
    world.settle();
    complete(&mut world);
    world.now = at(4000);
    world.new_leader();
    to(&mut world, 4020);
    assert_eq!(ticks(&world), (Some(4020), None, Some(4080)));
}

#[test]
fn an_update_runs_the_job_only_by_force() {
    let mut world = scheduled(ONE, &[]);
    update(&mut world, |spec| set(spec, "other", "label"));
    assert_eq!(runs(&world), (vec![], 0));
    update(&mut world, |spec| spec.task.get_or_insert_default().force_update += 1);
    assert_eq!((runs(&world), ticks(&world)), ((vec![0], 1), (None, None, Some(60))));
    complete(&mut world);
    // Another schedule counts from when it came.
    to(&mut world, 65);
    complete(&mut world);
    update(&mut world, |spec| set(spec, "swarm.cron", "*/2 * * * *"));
    assert_eq!(ticks(&world), (Some(60), None, Some(180)));
    // Without one the job rests, and runs with the next update as Docker's do.
    update(&mut world, |spec| spec.annotations.get_or_insert_default().labels.clear());
    to(&mut world, 200);
    assert_eq!((runs(&world), ticks(&world)), ((vec![0, 1], 0), (Some(60), None, None)));
    update(&mut world, |spec| set(spec, "other", "label"));
    assert_eq!(runs(&world), (vec![0, 1, 2], 1));
}

#[test]
fn history_is_capped_and_a_run_has_all_its_attempts() {
    let mut world = scheduled(ONE, &[]);
    for minute in 1..=10 {
        to(&mut world, minute * 60);
        complete(&mut world);
    }
    assert_eq!(world.tables.len::<Task>(), 5);
    let mut world = scheduled(ONE, &[]);
    update(&mut world, |spec| {
        let restart = RestartPolicy { max_attempts: 1, ..RestartPolicy::default() };
        let restart = RestartPolicy { condition: RestartCondition::Any.into(), ..restart };
        spec.task.get_or_insert_default().restart = Some(restart);
    });
    for minute in 1..=4 {
        to(&mut world, minute * 60);
        for leader in [false, true] {
            assert_eq!(runs(&world).1, 1, "minute {minute}");
            let failed = world.tables.iter::<Task>();
            let failed = failed.filter(|task| state(task) == TaskState::Running as i32);
            let failed: Vec<String> = failed.map(|task| task.id.clone()).collect();
            failed.iter().for_each(|id| world.report(id, TaskState::Failed));
            if leader {
                world.new_leader();
            }
            world.pass(10);
        }
        assert_eq!(runs(&world).1, 0, "the attempts are used up");
    }
    assert_eq!(ticks(&world).0, Some(240));
}

#[test]
fn what_cannot_be_followed_is_as_if_it_were_not_there() {
    // A stock manager takes any label, and runs the job at once.
    let mut world = World::new(1);
    world.service("job", ONE);
    world.change::<Service>("job", |service| {
        set(service.spec.as_mut().expect("has one"), "swarm.cron", "now and then");
        service.job_status = Some(JobStatus::default());
    });
    world.pass(600);
    assert_eq!(runs(&world).1, 1);
    assert_eq!(status(&world).next_tick, None);
}

#[test]
fn many_schedules_cost_what_is_due() {
    let mut world = World::new(1);
    for number in 0..1000 {
        let id = format!("job{number}");
        world.service(&id, Mode::ReplicatedJob(ReplicatedJob::default()));
        world.change::<Service>(&id, |service| {
            let spec = service.spec.as_mut().expect("has one");
            set(spec, "swarm.cron", if number == 0 { "* * * * *" } else { "@monthly" });
            let cron = of_new_job(spec);
            service.job_status = Some(JobStatus { cron, ..Default::default() });
        });
    }
    world.settle();
    let noted = world
        .tables
        .iter::<Service>()
        .filter_map(|service| service.job_status.as_ref()?.cron.as_ref()?.next_tick.as_ref());
    assert_eq!(noted.count(), 1000);
    world.skip(Duration::from_secs(60));
    assert_eq!(world.plan_counting(), 1, "the job that is due");
    let last = world
        .tables
        .get::<Service>("job0")
        .and_then(|service| service.job_status.as_ref()?.cron.as_ref()?.last_tick);
    let now = world.now.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs();
    let minute = SystemTime::UNIX_EPOCH + Duration::from_secs(now / 60 * 60);
    assert_eq!(last, Some(from_system_time(minute)));
}

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    /// The next leader's clock is ahead by so many seconds, or behind.
    Lead(i64),
    Complete,
    Force,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1_u64..30).prop_map(Step::Pass),
        2 => (-200_i64..200).prop_map(Step::Lead),
        2 => Just(Step::Complete),
        1 => Just(Step::Force),
    ]
}

fn take(world: &mut World, step: &Step) {
    match step {
        Step::Pass(seconds) => world.pass(*seconds),
        Step::Lead(ahead) => {
            let by = Duration::from_secs(ahead.unsigned_abs());
            world.now = if *ahead < 0 { world.now - by } else { world.now + by };
            world.new_leader();
            world.settle();
        }
        Step::Complete => complete(world),
        Step::Force => {
            update(world, |spec| spec.task.get_or_insert_default().force_update += 1);
        }
    }
}

/// The runs that were begun, and the last tick.
fn begun(world: &World) -> (u64, Option<SystemTime>) {
    let service = world.tables.get::<Service>("job").expect("exists");
    let job = service.job_status.clone().unwrap_or_default();
    let iteration = job.job_iteration.unwrap_or_default().index;
    let cron = job.cron.unwrap_or_default();
    (iteration + u64::from(!cron.awaits_first), cron.last_tick.as_ref().map(to_system_time))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever leaders and clocks do, a run is of a later tick than all before it, or was asked for; and no tick that
    /// has passed is left to be looked at.
    #[test]
    fn each_run_has_a_tick_of_its_own(
        policy in prop_oneof![Just("forbid"), Just("allow"), Just("replace")],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = scheduled(ONE, &[("swarm.cron.concurrency", policy)]);
        for step in &steps {
            let (runs, last) = begun(&world);
            take(&mut world, step);
            let (runs_now, last_now) = begun(&world);
            let forced = u64::from(matches!(step, Step::Force));
            prop_assert_eq!(runs_now - runs - forced, u64::from(last_now > last), "{:?}", step);
            prop_assert!(last_now >= last);
            prop_assert!(last_now.is_none_or(|tick| tick <= world.now.max(last.unwrap_or(tick))));
            let next = status(&world).next_tick.as_ref().map(to_system_time);
            prop_assert!(next.is_some_and(|next| next > world.now));
        }
    }
}

#[test]
fn a_run_that_has_no_place_yet_is_no_history() {
    // Found by the property above: beside five others, and made by a leader whose clock is behind.
    let mut world = scheduled(ONE, &[("swarm.cron.concurrency", "allow")]);
    for _ in 0..5 {
        update(&mut world, |spec| spec.task.get_or_insert_default().force_update += 1);
        world.pass(1);
    }
    world.now -= Duration::from_secs(10);
    world.new_leader();
    update(&mut world, |spec| spec.task.get_or_insert_default().force_update += 1);
    assert_eq!(runs(&world), ((0..6).collect(), 6));
}
