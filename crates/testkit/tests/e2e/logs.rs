//! `docker service logs` over several nodes, with one of them gone.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use swarm_testkit::{Engine, wait_until};

use crate::support::{IMAGE, PATIENCE, await_output, await_running, can_run, swarm};

/// Two lines on each stream, and one later for each file that comes.
const TALKER: &str = "trap exit TERM; echo one; echo two; echo three >&2; \
                      while :; do sleep 0.2; echo tick; done";
/// The bound for the first lines.
const FIRST_LINES: Duration = Duration::from_secs(1);

#[test]
fn logs_come_from_all_nodes_and_name_what_is_missing() {
    if !can_run() {
        return;
    }
    let mut cluster = swarm(3);
    let manager = &cluster[0];
    let create = ["service", "create", "--detach", "--name", "talk", "--replicas", "3"];
    let label = [
        "--container-label",
        "tier=front",
        "--log-driver",
        "json-file",
        "--log-opt",
        "labels=tier",
    ];
    manager.docker(&[&create[..], &label, &[IMAGE, "sh", "-c", TALKER]].concat()).ok();
    await_running(manager, "talk", 3);
    let lines = |flags: &[&str]| {
        let logs = ["service", "logs"];
        manager.docker(&[&logs[..], flags, &["talk"]].concat())
    };
    // From the first tick on, the last line of each task is one, on standard output.
    await_output(manager, &["service", "logs", "talk"], |text| {
        let ticks = |node: &str| text.lines().any(|l| l.contains(node) && l.ends_with("| tick"));
        ["@node1 ", "@node2 ", "@node3 "].into_iter().all(ticks)
    });
    let said = lines(&[]).ok();
    for node in ["@node1 ", "@node2 ", "@node3 "] {
        assert!(said.contains(node), "{said}");
    }
    assert_eq!(lines(&["--tail", "1"]).ok().lines().count(), 3);
    assert_eq!(lines(&["--tail", "0"]).ok(), "");
    let stamped = lines(&["--timestamps", "--tail", "1"]).ok();
    assert!(stamped.lines().all(|line| line.starts_with("20") && line.contains("Z talk.")));
    let nothing = lines(&["--since", "2100-01-01T00:00:00Z"]).ok();
    assert_eq!(nothing, "");
    let detailed = lines(&["--details", "--tail", "1"]).ok();
    assert!(detailed.lines().all(|line| line.contains("tier=front")), "{detailed}");
    let long = lines(&["--no-trunc", "--tail", "1"]).ok();
    let task = manager.docker(&["service", "ps", "--quiet", "--no-trunc", "talk"]).ok();
    assert!(task.lines().all(|id| long.contains(id)), "{long}");
    let of_task = ["service", "logs", "--tail", "1", task.lines().next().expect("a task")];
    assert_eq!(manager.docker(&of_task).ok().lines().count(), 1);

    let socket = manager.socket();
    let mut follower = Command::new("docker")
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .args(["service", "logs", "--follow", "--tail", "0", "talk"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("follow the logs");
    let mut ticks = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let mut warnings = BufReader::new(follower.stderr.take().expect("piped")).lines();
    assert!(ticks.next().expect("a line").expect("text").contains("| tick"));
    cluster[2].kill_machine();
    let warning = warnings.next().expect("a warning").expect("text");
    assert!(warning.contains("warning: incomplete log stream: node "), "{warning}");
    assert!(warning.contains("@node3 ") && warning.contains(" disconnected"), "{warning}");
    assert!(ticks.next().expect("the others go on").expect("text").contains("| tick"));
    follower.kill().expect("stop following");
    follower.wait().expect("wait for the follower");

    let manager = &cluster[0];
    let began = Instant::now();
    let partial = manager.docker(&["service", "logs", "--tail", "1", "talk"]);
    assert!(began.elapsed() < FIRST_LINES, "took {:?}", began.elapsed());
    assert!(partial.stdout.contains("@node1 ") && partial.stdout.contains("@node2 "), "{partial}");
    assert!(partial.stderr.contains("warning: incomplete log stream"), "{partial}");
    assert!(partial.stderr.contains("is not available"), "{partial}");
    wait_until(PATIENCE, "the service to be whole again", || {
        let running = ["service", "ls", "--format", "{{.Replicas}}"];
        (manager.docker(&running).ok() == "3/3").then_some(())
    });
}
