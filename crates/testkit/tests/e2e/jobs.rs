//! Services that run to completion.

use swarm_testkit::{Daemon, Engine};

use crate::support::{IMAGE, await_output, can_run, swarm};

fn create(manager: &Daemon, mode: &str, name: &str, flags: &[&str], script: &str) -> String {
    let start = ["service", "create", "--name", name, "--mode", mode];
    manager.docker(&[&start[..], flags, &[IMAGE, "sh", "-c", script]].concat()).ok()
}

fn replicas(manager: &Daemon, name: &str) -> String {
    let name = format!("name={name}");
    let list = ["service", "ls", "--filter", &name, "--format", "{{.Mode}} {{.Replicas}}"];
    manager.docker(&list).ok()
}

#[test]
fn jobs_complete_and_are_run_again() {
    if !can_run() {
        return;
    }
    let cluster = swarm(2);
    let manager = &cluster[0];
    let flags = ["--replicas", "5", "--max-concurrent", "2"];
    let said = create(manager, "replicated-job", "job", &flags, "sleep 0.3");
    assert!(said.contains("job complete"), "{said}");
    assert_eq!(replicas(manager, "job"), "replicated job 0/2 (5/5 completed)");
    let said = create(manager, "global-job", "each", &[], "true");
    assert!(said.contains("job complete"), "{said}");
    assert_eq!(replicas(manager, "each"), "global job 0/0 (2/2 completed)");

    // Another iteration, and one of another shape.
    let said = manager.docker(&["service", "update", "--force", "job"]).ok();
    assert!(said.contains("job complete"), "{said}");
    assert_eq!(replicas(manager, "job"), "replicated job 0/2 (5/5 completed)");
    manager.docker(&["service", "scale", "job=3"]).ok();
    assert_eq!(replicas(manager, "job"), "replicated job 0/2 (3/3 completed)");
    let iteration = ["service", "inspect", "--format", "{{.JobStatus.JobIteration.Index}}", "job"];
    assert_eq!(manager.docker(&iteration).ok(), "2");
}

#[test]
fn a_job_tries_again_as_its_policy_says() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    for (name, condition, attempts, failures) in
        [("twice", "on-failure", "1", 2), ("once", "none", "0", 1)]
    {
        let policy = ["--restart-condition", condition, "--restart-max-attempts", attempts];
        let flags = ["--detach", "--replicas", "1", "--restart-delay", "100ms"];
        create(manager, "replicated-job", name, &[&flags[..], &policy].concat(), "exit 3");
        let ps = ["service", "ps", "--no-trunc", "--format", "{{.Error}}", name];
        let failed = "\"task: non-zero exit (3)\"";
        await_output(manager, &ps, |errors| {
            errors.lines().filter(|error| *error == failed).count() == failures
        });
        assert_eq!(replicas(manager, name), "replicated job 0/1 (0/1 completed)");
    }
    let refused = manager.docker(&[
        "service",
        "create",
        "--mode",
        "replicated-job",
        "--update-delay",
        "1s",
        IMAGE,
        "true",
    ]);
    let refused = refused.refused();
    assert!(refused.contains("update"), "{refused}");
}
