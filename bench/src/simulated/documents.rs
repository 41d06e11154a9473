//! What simulated engines answer, in the shape and size of Docker 20.10's answers.

use serde_json::{Value, json};

use super::Container;

const CREATED: &str = "2026-01-01T00:00:00.123456789Z";

/// An identifier that follows from a text.
pub(super) fn id(text: &str) -> String {
    // FNV-1a: different for different texts here, and nothing more is asked of it.
    let hash = |seed: u64| {
        let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        text.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, step)
    };
    (0..4).map(|seed| format!("{:016x}", hash(seed * 0x9e37_79b9))).collect()
}

pub(super) fn version() -> Value {
    json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12", "Os": "linux",
        "Arch": "amd64", "KernelVersion": "6.1.0", "GoVersion": "go1.19", "GitCommit": "5d6db84"})
}

pub(super) fn info(number: usize, containers: usize) -> Value {
    json!({
        "ID": id(&format!("engine/{number}")), "Name": format!("engine{number}"),
        "Containers": containers, "ContainersRunning": containers, "Images": 3,
        "Driver": "overlay2", "KernelVersion": "6.1.0", "OperatingSystem": "Debian GNU/Linux 12",
        "OSType": "linux", "Architecture": "x86_64", "NCPU": 16, "MemTotal": 68_719_476_736_u64,
        "ServerVersion": "20.10.24", "Labels": [format!("rack=r{}", number % 40), "storage=ssd"],
        "Swarm": {"LocalNodeState": "inactive"},
    })
}

pub(super) fn images() -> Value {
    let image = |name: &str| {
        json!({"Id": format!("sha256:{}", id(name)), "RepoTags": [format!("{name}:latest")],
            "RepoDigests": [], "ParentId": "", "Created": 1_700_000_000, "Size": 7_000_000,
            "VirtualSize": 7_000_000, "SharedSize": -1, "Containers": -1, "Labels": null})
    };
    json!([image("alpine"), image("redis"), image("nginx")])
}

pub(super) fn networks(number: usize) -> Value {
    let network = |name: &str| {
        json!({"Name": name, "Id": id(&format!("{number}/{name}")), "Created": CREATED,
            "Scope": "local", "Driver": name, "EnableIPv6": false,
            "IPAM": {"Driver": "default", "Options": null, "Config": []}, "Internal": false,
            "Containers": {}, "Options": {}, "Labels": {}})
    };
    json!([network("bridge"), network("host"), network("none")])
}

fn endpoint(number: usize) -> Value {
    json!({"IPAMConfig": null, "Links": null, "Aliases": null,
        "NetworkID": id(&format!("{number}/bridge")), "EndpointID": id("endpoint"),
        "Gateway": "172.17.0.1", "IPAddress": "172.17.0.2", "IPPrefixLen": 16, "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "MacAddress": "02:42:ac:11:00:02",
        "DriverOpts": null})
}

/// An entry of the list.
pub(super) fn summary(number: usize, container: &Container) -> Value {
    let Container { id: own, name, labels, runs } = container;
    json!({
        "Id": own, "Names": [format!("/{name}")], "Image": "alpine",
        "ImageID": format!("sha256:{}", id("alpine")), "Command": "sleep 1000",
        "Created": 1_767_225_600, "Ports": [], "Labels": labels,
        "State": if *runs { "running" } else { "created" },
        "Status": if *runs { "Up 2 hours" } else { "Created" },
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": {"bridge": endpoint(number)}}, "Mounts": [],
    })
}

/// What inspection answers.
pub(super) fn details(number: usize, container: &Container) -> Value {
    let Container { id: own, name, labels, runs } = container;
    let folder = format!("/var/lib/docker/containers/{own}");
    let layers = format!("/var/lib/docker/overlay2/{own}");
    json!({
        "Id": own, "Created": CREATED, "Path": "sleep", "Args": ["1000"],
        "State": state(*runs),
        "Image": format!("sha256:{}", id("alpine")),
        "ResolvConfPath": format!("{folder}/resolv.conf"),
        "HostnamePath": format!("{folder}/hostname"), "HostsPath": format!("{folder}/hosts"),
        "LogPath": format!("{folder}/{own}-json.log"), "Name": format!("/{name}"),
        "RestartCount": 0, "Driver": "overlay2", "Platform": "linux", "MountLabel": "",
        "ProcessLabel": "", "AppArmorProfile": "docker-default", "ExecIDs": null,
        "HostConfig": host_config(),
        "GraphDriver": {"Name": "overlay2", "Data": {
            "LowerDir": format!("{layers}-init/diff:{layers}/diff"),
            "MergedDir": format!("{layers}/merged"), "UpperDir": format!("{layers}/diff"),
            "WorkDir": format!("{layers}/work")}},
        "Mounts": [],
        "Config": {"Hostname": &own[..12], "Domainname": "", "User": "", "AttachStdin": false,
            "AttachStdout": false, "AttachStderr": false, "Tty": false, "OpenStdin": false,
            "StdinOnce": false, "Cmd": ["sleep", "1000"], "Image": "alpine", "Volumes": null,
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "WorkingDir": "", "Entrypoint": null, "OnBuild": null, "Labels": labels},
        "NetworkSettings": network_settings(number),
    })
}

fn state(runs: bool) -> Value {
    json!({"Status": if runs { "running" } else { "created" }, "Running": runs,
            "Paused": false, "Restarting": false, "OOMKilled": false, "Dead": false,
            "Pid": 4321, "ExitCode": 0, "Error": "",
            "StartedAt": if runs { CREATED } else { "0001-01-01T00:00:00Z" },
            "FinishedAt": "0001-01-01T00:00:00Z"})
}

fn network_settings(number: usize) -> Value {
    json!({"Bridge": "", "SandboxID": id("sandbox"), "HairpinMode": false,
            "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "Ports": {},
            "SandboxKey": "/var/run/docker/netns/0123456789ab", "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null, "EndpointID": id("endpoint"),
            "Gateway": "172.17.0.1", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
            "IPAddress": "172.17.0.2", "IPPrefixLen": 16, "IPv6Gateway": "",
            "MacAddress": "02:42:ac:11:00:02", "Networks": {"bridge": endpoint(number)}})
}

/// A container's `HostConfig`, as an engine fills it in.
const HOST_CONFIG: &str = r#"{"Binds": null, "ContainerIDFile": "", "LogConfig": {"Type": "json-file", "Config": {}},
"NetworkMode": "default", "PortBindings": {}, "RestartPolicy": {"Name": "no",
"MaximumRetryCount": 0}, "AutoRemove": false, "VolumeDriver": "", "VolumesFrom": null,
"CapAdd": null, "CapDrop": null, "CgroupnsMode": "private", "Dns": [], "DnsOptions": [],
"DnsSearch": [], "ExtraHosts": null, "GroupAdd": null, "IpcMode": "private", "Cgroup": "",
"Links": null, "OomScoreAdj": 0, "PidMode": "", "Privileged": false, "PublishAllPorts": false,
"ReadonlyRootfs": false, "SecurityOpt": null, "UTSMode": "", "UsernsMode": "",
"ShmSize": 67108864, "Runtime": "runc", "ConsoleSize": [0, 0], "Isolation": "", "CpuShares": 0,
"Memory": 134217728, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
"BlkioWeightDevice": [], "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0,
"CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [],
"DeviceCgroupRules": null, "DeviceRequests": null, "KernelMemory": 0, "MemoryReservation": 0,
"MemorySwap": 268435456, "MemorySwappiness": null, "OomKillDisable": false, "PidsLimit": null,
"Ulimits": null, "CpuCount": 0, "MaskedPaths": ["/proc/asound", "/proc/acpi", "/proc/kcore",
"/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
"/proc/sched_debug", "/proc/scsi", "/sys/firmware"], "ReadonlyPaths": ["/proc/bus", "/proc/fs",
"/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]}"#;

fn host_config() -> Value {
    serde_json::from_str(HOST_CONFIG).expect("it is JSON")
}

/// What is told of a container.
pub(super) fn event(action: &str, container: &Container) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    json!({
        "status": action, "id": container.id, "from": "alpine", "Type": "container",
        "Action": action,
        "Actor": {"ID": container.id, "Attributes": {"image": "alpine", "name": container.name}},
        "scope": "local", "time": now.as_secs(),
        "timeNano": u64::try_from(now.as_nanos()).unwrap_or_default(),
    })
}
