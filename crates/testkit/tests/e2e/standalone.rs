//! Standalone Swarm in front of stock Docker Engines: its commands, its scheduling, and what happens when an engine is
//! lost.

use std::process::{Child, Command, Stdio};

use swarm_testkit::{
    Engine, Host, Lab, Output, StockEngine, busybox_image_tar, require_command, swarm_binary,
    wait_until,
};

use crate::support::{IMAGE, PATIENCE, await_output, can_run};

/// A `swarm manage` on a host of its own.
pub(crate) struct Manager {
    host: Host,
    child: Child,
}

impl Engine for Manager {
    fn host(&self) -> &Host {
        &self.host
    }
}

impl Manager {
    pub(crate) fn start(host: Host, flags: &[&str], discovery: &str) -> Self {
        let socket = format!("unix://{}", host.folder().join("docker.sock").display());
        let mut command = host.command(swarm_binary());
        command.args(["manage", "-H", &socket]).args(flags).arg(discovery).stdout(Stdio::null());
        let child = command.spawn().expect("start the manager");
        let manager = Self { host, child };
        wait_until(PATIENCE, "the manager to answer", || {
            manager.docker(&["version"]).success().then_some(())
        });
        manager
    }

    /// The engines by how they are, as `docker info` tells.
    fn status(&self) -> Vec<String> {
        let info = self.docker(&["info"]).ok();
        let status = info.lines().filter_map(|line| line.trim().strip_prefix("└ Status: "));
        status.map(str::to_owned).collect()
    }

    pub(crate) fn await_status(&self, expect: &[&str]) {
        wait_until(PATIENCE, &format!("engines to be {expect:?}"), || {
            (self.status() == expect).then_some(())
        });
    }

    pub(crate) fn run(&self, flags: &[&str]) -> Output {
        self.docker(&[&["run", "--detach"], flags, &[IMAGE, "sleep", "1000"]].concat())
    }

    /// The node of a container.
    pub(crate) fn node_of(&self, name: &str) -> String {
        self.docker(&["inspect", "--format", "{{.Node.Name}}", name]).ok()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Engines that listen for a manager, and the list of their addresses.
pub(crate) fn engines(lab: &Lab, count: usize) -> (Vec<StockEngine>, String) {
    let tar = lab.folder().join("image.tar");
    std::fs::write(&tar, busybox_image_tar(IMAGE)).expect("write the image");
    let (engines, addresses) = empty_engines(lab, count, &[]);
    for engine in &engines {
        engine.docker(&["load", "--input", &tar.display().to_string()]).ok();
    }
    (engines, addresses)
}

/// As [`engines`], without images.
pub(crate) fn empty_engines(lab: &Lab, count: usize, flags: &[&str]) -> (Vec<StockEngine>, String) {
    let engines: Vec<StockEngine> = (1..=count)
        .map(|number| {
            let host = lab.host(&format!("node{number}"));
            let listen = format!("tcp://{}:2375", host.address());
            let flags = [&["--tls=false", "--host", &listen], flags].concat();
            StockEngine::start(host, &flags)
        })
        .collect();
    let addresses: Vec<String> =
        engines.iter().map(|engine| format!("{}:2375", engine.host().address())).collect();
    (engines, addresses.join(","))
}

#[test]
fn a_pool_of_engines_looks_like_one() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let lab = Lab::new();
    let (engines, list) = engines(&lab, 3);
    let manager = Manager::start(lab.host("manager"), &[], &list);
    manager.await_status(&["Healthy"; 3]);
    let info = manager.docker(&["info"]).ok();
    for line in
        ["Role: primary", "Strategy: spread", "Nodes: 3", "Reserved CPUs: 0 / ", "Images: 3"]
    {
        assert!(info.contains(line), "{line} is missing: {info}");
    }

    for name in ["one", "two", "three"] {
        manager.run(&["--name", name]).ok();
    }
    let mut nodes = ["one", "two", "three"].map(|name| manager.node_of(name));
    let on_one = nodes[0].clone();
    nodes.sort();
    assert_eq!(nodes, ["node1", "node2", "node3"]);
    let names = manager.docker(&["ps", "--format", "{{.Names}}", "--filter", "name=one"]).ok();
    assert_eq!(names, format!("{on_one}/one"));
    assert_eq!(manager.docker(&["exec", &format!("{on_one}/one"), "hostname"]).ok().len(), 12);

    // What was asked for decides, and what can't be had is said.
    let placed = |flags: &[&str]| manager.run(&[&["--name", "extra"], flags].concat());
    for (flags, node) in [
        (&["--env", "constraint:node==node2"][..], "node2"),
        (&["--env", "affinity:container==one"], &on_one),
        (&["--label", "com.docker.swarm.constraints=[\"node==/3$/\"]"], "node3"),
    ] {
        placed(flags).ok();
        assert_eq!(manager.node_of("extra"), node, "{flags:?}");
        manager.docker(&["rm", "--force", "extra"]).ok();
    }
    let head = "Unable to find a node that satisfies the following conditions";
    for (flags, expect) in [
        (&["--env", "constraint:node==node9"][..], "[node==node9]"),
        (&["--env", "constraint:node=node9"], "One of operator ==, != is expected"),
        (&["--env", "constraint:node==/"], "[node==/]"),
    ] {
        let refused = placed(flags);
        assert!(!refused.success());
        assert!(refused.stderr.contains(head) && refused.stderr.contains(expect), "{refused:?}");
    }
    let taken = manager.run(&["--name", "one"]);
    assert!(taken.stderr.contains("The name one is already assigned"), "{taken:?}");
    let full = placed(&["--memory", "1000g"]);
    assert!(full.stderr.contains("no resources available to schedule container"), "{full:?}");

    // Streams go through, both ways.
    let echoed =
        manager.docker_given(&["run", "--rm", "--interactive", IMAGE, "cat"], "to and fro");
    assert_eq!(echoed.stdout, "to and fro");
    manager.docker(&["volume", "create", "node1/own"]).ok();
    let volumes = manager.docker(&["volume", "ls", "--quiet"]).ok();
    assert_eq!(volumes, "node1/own");
    assert_eq!(manager.docker(&["network", "ls", "--quiet"]).ok().lines().count(), 9);
    drop(engines);
}

#[test]
fn a_lost_engine_s_containers_run_elsewhere_if_they_asked_for_it() {
    if !(can_run() && require_command("dockerd")) {
        return;
    }
    let lab = Lab::new();
    let (engines, list) = engines(&lab, 2);
    let manager = Manager::start(lab.host("manager"), &[], &list);
    manager.await_status(&["Healthy"; 2]);
    let on_second = ["--env", "constraint:node==~node2"];
    manager.run(&[&on_second[..], &["--name", "stays"]].concat()).ok();
    let moves = ["--name", "moves", "--env", "reschedule:on-node-failure"];
    manager.run(&[&on_second[..], &moves].concat()).ok();
    let id_format = "{{index .Config.Labels \"com.docker.swarm.id\"}}";
    let id = manager.docker(&["inspect", "--format", id_format, "moves"]).ok();
    assert_eq!(id.len(), 64);

    engines[1].host().cut_off();
    // A create that comes before anybody noticed goes where somebody is.
    manager.run(&["--name", "new"]).ok();
    assert_eq!(manager.node_of("new"), "node1");
    manager.await_status(&["Healthy", "Unhealthy"]);
    await_output(&manager, &["ps", "--format", "{{.Names}}", "--filter", "name=moves"], |names| {
        names == "node1/moves"
    });
    assert_eq!(manager.docker(&["inspect", "--format", id_format, "moves"]).ok(), id);
    let lost = manager.docker(&["inspect", "stays"]);
    assert!(lost.stderr.contains("Container stays running on unhealthy node node2"), "{lost:?}");

    engines[1].host().reconnect();
    manager.await_status(&["Healthy"; 2]);
    await_output(&engines[1], &["ps", "--all", "--format", "{{.Names}}"], |names| names == "stays");
    assert_eq!(manager.node_of("stays"), "node2");
    assert_eq!(manager.node_of("moves"), "node1");
}

#[test]
fn command_lines_are_the_originals() {
    let swarm = |line: &str| {
        let mut command = Command::new(swarm_binary());
        command.args(line.split_whitespace()).env_remove("SWARM_DISCOVERY");
        Output::of(&mut command)
    };
    let listed = swarm("list nodes://10.0.0.[1:3]:2375");
    assert_eq!(listed.ok(), "10.0.0.1:2375\n10.0.0.2:2375\n10.0.0.3:2375");
    let join = "join --advertise 1.1.1.1:1 --heartbeat";
    for (line, expect) in [
        ("list", "discovery required to list a cluster. See 'swarm list --help'."),
        ("list --timeout -10s a:1", "--timeout should be a positive number"),
        ("list 1.1.1.1", "address 1.1.1.1: missing port in address, please check"),
        ("list token://x", "token:// is served no more"),
        ("create x", "the `create` command takes no arguments. See 'swarm create --help'."),
        ("join", "discovery required to join a cluster. See 'swarm join --help'."),
        ("join consul://a:1", "missing mandatory --advertise flag"),
        ("join --addr 1.1.1.1 consul://a:1", "--advertise should be of the form ip:port"),
        ("join --token SWMTKN-1-x 10.0.0.1:2377", "docker swarm join --token"),
        (&format!("{join} 100ms a:1"), "--heartbeat should be at least one second"),
        (&format!("{join} 10s --ttl 10s a:1"), "--ttl must be strictly superior"),
        (&format!("{join} 10s --delay -1s a:1"), "--delay should not be a negative number"),
        ("manage", "discovery required to manage a cluster. See 'swarm manage --help'."),
        ("manage --strategy x a:1", "strategy not supported"),
        ("manage -f x a:1", "filter not supported"),
        ("manage --x a:1", "flag provided but not defined: -x"),
        ("manage --tls a:1", "--tlscert and --tlskey must be provided when using --tls"),
        (
            "manage --tls --tlscert /x --tlskey /y a:1",
            "Couldn't load X509 key pair (/x, /y): /x: No such file",
        ),
        (
            "manage --tlsverify --tlscert /x --tlskey /y a:1",
            "--tlscacert must be provided when using --tlsverify",
        ),
        ("manage --tlscert x a:1", "require the use of either --tls or --tlsverify"),
        ("manage --engine-failure-retry 0 a:1", "invalid failure retry count"),
        ("manage --engine-refresh-retry 5 a:1", "--engine-refresh-retry is deprecated."),
        ("manage --cluster-driver mesos a:1", "unsupported cluster"),
        ("manage --cluster-opt swarm.overcommit=-2 a:1", "-2.000000 is invalid"),
        ("manage --cluster-opt swarm.createretry=-1 a:1", "can not be negative, -1 is invalid"),
        ("manage --replication a:1", "--advertise address must be provided"),
        ("manage --replication --advertise b:1 a:1", "Leader election is only supported with"),
        ("manage -H udp://:1 a:1", "unsupported protocol:"),
        ("-l x manage a:1", "not a valid logrus Level:"),
    ] {
        let refused = swarm(line);
        assert_eq!(refused.status, 1, "{line}: {refused:?}");
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains(expect), "{line}: {said}");
    }
    let help = swarm("manage -H :4000 --help").ok();
    assert!(help.starts_with("Usage: swarm manage [OPTIONS] <discovery>"), "{help}");
}
