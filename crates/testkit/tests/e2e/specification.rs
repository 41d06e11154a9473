//! What a service's flags make of its containers: each is seen from inside, or refused by name.

use swarm_testkit::{Daemon, Engine};

use crate::support::{IMAGE, await_output, can_run, file, request, swarm};

/// What the container says of itself, a line for each thing that a flag decides.
const REPORT: &str = "
    echo user=$(id -u):$(id -G); echo dir=$PWD; echo host=$(hostname); echo env=$A/$E/$T/$DOCKER
    echo dns=$(grep -v ^# /etc/resolv.conf | tr '\\n' ' '); echo hosts=$(grep -c 10.0.0.9 /etc/hosts)
    echo init=$(ls -d /proc/[0-9]* | wc -l | awk '{print ($1>=3)}'); echo tty=$(tty)
    echo oom=$(cat /proc/self/oom_score_adj); echo sysctl=$(cat /proc/sys/net/ipv4/ip_forward)
    echo files=$(ulimit -n); echo caps=$(grep CapBnd /proc/1/status | cut -f2)
    echo root=$(touch /x 2>&1 | grep -c Read-only)
    echo tmpfs=$(grep ' /t ' /proc/mounts | cut -d' ' -f3,4)
    echo bind=$(grep ' /b ' /proc/mounts | cut -d' ' -f4 | cut -d, -f1) volume=$(cat /v/kept 2>&1)
    echo done; while :; do sleep 0.1; done";

const EXPECT: [&str; 16] = [
    "user=65534:65534 0",
    "dir=/tmp",
    "host=h-1-node1",
    "env=1/file/flags of b/",
    "dns=nameserver 1.2.3.4 search x.y options ndots:3",
    "hosts=1",
    "init=1",
    "tty=/dev/pts/0",
    "oom=7",
    "sysctl=0",
    "files=100",
    "caps=00000000a80435fa",
    "root=1",
    "tmpfs=tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=700",
    "bind=ro volume=",
    "done",
];

#[test]
fn flags_are_seen_from_inside() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    let variables = file(&cluster, "variables", b"E=file\n");
    let source = file(&cluster, "shown", b"");
    let (variables, source) = (variables.display(), source.display());
    let flags = format!(
        "--cap-add NET_ADMIN --cap-drop CHOWN --container-label inside=1 --label a=b --dns 1.2.3.4 \
         --dns-option ndots:3 --dns-search x.y --env A=1 --env-file {variables} --group 0 \
         --host db:10.0.0.9 --hostname h-{{{{.Task.Slot}}}}-{{{{.Node.Hostname}}}} --init \
         --limit-cpu 0.5 --limit-memory 64m --limit-pids 50 --reserve-cpu 0.1 \
         --log-driver json-file --log-opt max-size=1m --mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700 \
         --mount type=bind,source={source},target=/b,readonly \
         --mount type=volume,source=v-{{{{.Service.Name}}}},target=/v,volume-label=x=y \
         --oom-score-adj 7 --read-only --stop-grace-period 500ms --stop-signal INT \
         --sysctl net.ipv4.ip_forward=0 --tty --ulimit nofile=100:200 --user nobody --workdir /tmp \
         --publish mode=host,target=80,published=8088"
    );
    let mut create = vec!["service", "create", "--detach", "--name", "flags"];
    create.extend(flags.split_whitespace());
    create.extend(["--env", "T={{.Service.Name}} of {{index .Service.Labels \"a\"}}"]);
    create.extend(["--entrypoint", "sh -c", IMAGE, REPORT]);
    manager.docker(&create).ok();
    let logs = ["service", "logs", "--raw", "flags"];
    let said = await_output(manager, &logs, |text| text.contains("done"));
    let said: Vec<&str> = said.lines().map(str::trim).collect();
    let missing: Vec<_> = EXPECT
        .iter()
        .filter(|line| !said.iter().any(|said| said.trim_end() == line.trim_end()))
        .collect();
    // The volume is empty: reading from it says that there is no such file.
    let missing: Vec<_> = missing.into_iter().filter(|line| !line.starts_with("bind=")).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {said:#?}");
    assert!(said.iter().any(|line| line.starts_with("bind=ro ")), "{said:#?}");
    inspect(manager);
}

/// What is not seen from inside is in the container's configuration.
fn inspect(manager: &Daemon) {
    let id = manager.docker(&["ps", "--quiet"]).ok();
    let fields = "{{.Config.StopSignal}} {{.Config.StopTimeout}} {{.HostConfig.NanoCpus}} \
                  {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.LogConfig.Config}} \
                  {{index .Config.Labels \"inside\"}} {{index .NetworkSettings.Ports \"80/tcp\"}}";
    let said = manager.docker(&["inspect", "--format", fields, &id]).ok();
    let expect = "INT 1 500000000 67108864 50 map[max-size:1m] 1 ";
    assert!(said.starts_with(expect) && said.contains("8088"), "{said}");
    let volume = ["volume", "inspect", "--format", "{{.Labels}}", "v-flags"];
    assert_eq!(manager.docker(&volume).ok(), "map[x:y]");
}

/// A task that asks for what no node of ours can do is rejected with the reason.
#[test]
fn what_a_node_lacks_rejects_the_task() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    let mount = "type=volume,source=a,target=/x,volume-subpath=s";
    for (name, flag, value, reason) in [
        ("isolation", "--isolation", "hyperv", "invalid isolation 'hyperv' on linux"),
        ("credential", "--credential-spec", "file://x", "credential specs are for Windows"),
        ("subpath", "--mount", mount, "the option volume-subpath is not supported by this engine"),
        ("capability", "--cap-add", "NOPE", "unknown capability: \"CAP_NOPE\""),
        ("signal", "--stop-signal", "NOPE", "invalid signal: NOPE"),
        ("score", "--oom-score-adj", "5000", "range for oom score adj is [-1000, 1000]"),
        ("cpus", "--limit-cpu", "900", "range of CPUs is from 0.01 to"),
        ("folder", "--workdir", "x", "the working directory 'x' is invalid"),
        ("sysctl", "--sysctl", "vm.swappiness=1", "sysctl vm.swappiness is not in a separate"),
        ("log", "--log-opt", "nope=1", "unknown log opt 'nope' for json-file log driver"),
    ] {
        // The client sends the options of a log only together with its driver.
        let driver = ["--log-driver", "json-file"];
        let create = ["service", "create", "--detach", "--restart-condition", "none"];
        let rest = ["--name", name, flag, value, IMAGE, "true"];
        manager.docker(&[&create[..], &driver, &rest].concat()).ok();
        let ps = ["service", "ps", "--no-trunc", "--format", "{{.CurrentState}} {{.Error}}", name];
        await_output(manager, &ps, |task| task.contains(reason));
    }
}

/// What can never be is refused before anything is created.
#[test]
fn contradictions_are_refused() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    for (flags, reason) in [
        (&["--hostname", "{{.Nope}}"][..], "can't evaluate field Nope in type *template.Context"),
        (&["--env", "A={{nope}}"], "function \"nope\" not defined"),
        (&["--isolation", "nope"], "invalid Isolation: \"nope\""),
        (
            &["--network", "host", "--publish", "mode=host,target=80,published=80"],
            "ports can't be published for the host network",
        ),
        (&["--publish", "80:80"], "ports published in ingress mode are not supported yet"),
        (&["--network", "nope"], "network nope not found"),
        (&["--mount", "type=image,source=a,target=/x"], "invalid MountType: \"image\""),
        (&["--mode", "global", "--replicas", "2"], "replicas can only be used with replicated"),
        (
            &["--mode", "global-job", "--update-delay", "1s"],
            "update and rollback configuration is not supported for jobs",
        ),
        (&["--constraint", "nope"], "constraint expected one operator from ==, !="),
        (&["--health-interval", "1us"], "Interval in HealthConfig cannot be less than 1ms"),
        (&["--health-cmd", "x", "--no-healthcheck"], "conflicts with --health-* options"),
        (&["--update-max-failure-ratio", "2"], "cannot be less than 0 or bigger than 1"),
        (&["--update-order", "nope"], "unrecognized update order nope"),
        (&["--endpoint-mode", "nope"], "invalid resolution mode: \"nope\""),
        (&["--limit-memory", "1k"], "Must be at least 4MiB"),
        (&["--restart-condition", "nope"], "invalid RestartCondition: \"nope\""),
    ] {
        let create = ["service", "create", "--detach", "--name", "never"];
        let refused = manager.docker(&[&create[..], flags, &[IMAGE, "true"]].concat()).refused();
        assert!(refused.contains(reason), "{flags:?}: {refused}");
    }
    assert_eq!(manager.docker(&["service", "ls", "--quiet"]).ok(), "");
    let port = |number: u32| {
        format!(
            "{{\"Name\":\"never\",\"TaskTemplate\":{{\"ContainerSpec\":{{\"Image\":\"a\"}}}},\
             \"EndpointSpec\":{{\"Ports\":[{{\"TargetPort\":{number},\"PublishMode\":\"host\"}}]}}}}"
        )
    };
    for number in [0, 70_000] {
        let create = "/v1.51/services/create";
        let (status, body) = request(manager, "POST", create, port(number).as_bytes());
        let message = body["message"].as_str().unwrap_or_default();
        let expect = format!("EndpointSpec: invalid target port {number}: must be from 1 to 65535");
        assert_eq!((status, message.ends_with(&expect)), (400, true), "{body}");
    }
}

#[test]
fn a_task_without_a_network_has_only_itself() {
    if !can_run() {
        return;
    }
    let cluster = swarm(1);
    let manager = &cluster[0];
    let create = ["service", "create", "--detach", "--name", "alone", "--network", "none"];
    let script = "echo links=$(ls /sys/class/net); while :; do sleep 0.1; done";
    manager.docker(&[&create[..], &[IMAGE, "sh", "-c", script]].concat()).ok();
    let logs = ["service", "logs", "--raw", "alone"];
    await_output(manager, &logs, |text| text.contains("links=lo"));
}
