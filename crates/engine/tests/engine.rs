//! The engine with a real kernel: containers of a busybox image, their limits, logs and ends, and their survival of a
//! killed daemon.
//!
//! Needs root, overlayfs and busybox; elsewhere each test says why it is skipped, except in CI, where it fails.

#![expect(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bollard_stubs::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};
use futures::StreamExt;
use swarm_engine::image::{ImportOptions, Reference};
use swarm_engine::{Engine, EngineConfig, ErrorClass, LogOptions, LogSource, WaitCondition};

const HELPER: &str = env!("CARGO_BIN_EXE_engine-test-helper");
const BUSYBOX: &str = "/bin/busybox";
/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// An engine of its own for one test; everything goes with it.
struct Bench {
    engine: Engine,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn open() -> Option<Self> {
        Self::open_with(false).await
    }

    async fn open_with(bridge: bool) -> Option<Self> {
        let reason = if !nix::unistd::geteuid().is_root() {
            "needs root"
        } else if !Path::new(BUSYBOX).exists() {
            "needs a static busybox at /bin/busybox"
        } else {
            let folder = tempfile::tempdir().expect("temporary folder");
            let bridge = if bridge { Some(open_bridge(folder.path()).await) } else { None };
            let engine = open_with(folder.path(), bridge).await;
            import_busybox(&engine).await;
            return Some(Self { engine, folder });
        };
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
        None
    }

    /// Creates a container that runs a shell script.
    async fn create(&self, name: &str, script: &str, host: HostConfig) -> String {
        self.create_with(name, ContainerCreateBody { cmd: sh(script), ..body(host) }).await
    }

    async fn create_with(&self, name: &str, body: ContainerCreateBody) -> String {
        self.engine.create(Some(name.to_owned()), body).await.expect("create").id
    }

    /// Runs a script to its end: exit code and standard output.
    async fn run(&self, name: &str, script: &str, host: HostConfig) -> (i64, String) {
        self.create(name, script, host).await;
        self.finish(name).await
    }

    async fn finish(&self, name: &str) -> (i64, String) {
        self.engine.start(name).await.expect("start");
        let ended = wait(&self.engine, name).await;
        (ended, logs(&self.engine, name, LogSource::Stdout).await)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let engine = self.engine.clone();
        let clean = async move {
            let all = swarm_engine::ListOptions { all: true, ..Default::default() };
            for container in engine.list(&all).unwrap_or_default() {
                let _ =
                    engine.remove(container.id.as_deref().unwrap_or_default(), true, true).await;
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(clean));
    }
}

async fn open(folder: &Path) -> Engine {
    open_with(folder, None).await
}

async fn open_with(folder: &Path, bridge: Option<swarm_network::Bridge>) -> Engine {
    let config = EngineConfig::new(folder.join("data"), folder.join("exec"), HELPER.into());
    let config = EngineConfig {
        cgroup_parent: PathBuf::from("/swarm-engine-test"),
        runtimes: HashMap::from([("runc".to_owned(), PathBuf::from("/usr/sbin/runc"))]),
        ..config
    };
    Engine::open(config, bridge).await.expect("open")
}

async fn open_bridge(folder: &Path) -> swarm_network::Bridge {
    let config = swarm_network::BridgeConfig::new(folder.join("network"));
    swarm_network::Bridge::open(config).await.expect("bridge")
}

async fn import_busybox(engine: &Engine) {
    let mut tar = tar::Builder::new(Vec::new());
    for folder in ["bin", "etc", "tmp", "data"] {
        let mut header = header();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        tar.append_data(&mut header, folder, std::io::empty()).expect("tar");
    }
    let mut file = |path: &str, mode: u32, content: &[u8]| {
        let mut header = header();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        tar.append_data(&mut header, path, content).expect("tar");
    };
    file("bin/busybox", 0o755, &std::fs::read(BUSYBOX).expect("busybox"));
    file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n");
    file("etc/group", 0o644, b"root:x:0:\nweb:x:34:\nextra:x:77:web\n");
    file("data/from-image", 0o644, b"image");
    for name in [
        "sh", "cat", "id", "sleep", "mount", "touch", "test", "dd", "ls", "hostname", "grep", "ps",
        "kill", "mkdir", "nc",
    ] {
        let mut header = header();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{name}"), "busybox").expect("tar");
    }
    let bytes = tar.into_inner().expect("tar");
    let name = Some(Reference::parse("busybox:test").expect("reference"));
    let options = ImportOptions { name, ..Default::default() };
    engine.images().import(std::io::Cursor::new(bytes), options).await.expect("import");
}

fn header() -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_mode(0o755);
    header
}

fn body(host: HostConfig) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some("busybox:test".to_owned()),
        host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..host }),
        ..Default::default()
    }
}

fn sh(script: &str) -> Option<Vec<String>> {
    Some(["sh", "-c", script].map(str::to_owned).to_vec())
}

fn strings(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|item| (*item).to_owned()).collect())
}

async fn wait(engine: &Engine, name: &str) -> i64 {
    let ended = tokio::time::timeout(PATIENCE, engine.wait(name, WaitCondition::NotRunning)).await;
    ended.expect("the container ends in time").expect("wait").status_code
}

async fn logs(engine: &Engine, name: &str, source: LogSource) -> String {
    let entries = engine.logs(name, LogOptions::default()).expect("logs");
    let mut entries = std::pin::pin!(entries);
    let mut text = String::new();
    while let Some(entry) = entries.next().await {
        let entry = entry.expect("entry");
        if entry.source == source {
            text.push_str(&String::from_utf8_lossy(&entry.line));
        }
    }
    text
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn pid(engine: &Engine, name: &str) -> i64 {
    engine.inspect(name).expect("inspect").state.and_then(|s| s.pid).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_to_the_end() {
    let Some(bench) = Bench::open().await else { return };
    let script = "echo out; echo err >&2; exit 3";
    let (code, out) = bench.run("c1", script, HostConfig::default()).await;
    assert_eq!((code, out.as_str()), (3, "out\n"));
    assert_eq!(logs(&bench.engine, "c1", LogSource::Stderr).await, "err\n");
    let state = bench.engine.inspect("c1").expect("inspect").state.expect("state");
    assert_eq!(state.exit_code, Some(3));
    assert_eq!(state.status.map(|s| s.to_string()).as_deref(), Some("exited"));
    // It starts again, and its log goes on.
    assert_eq!(bench.finish("c1").await, (3, "out\nout\n".to_owned()));
    bench.engine.remove("c1", false, false).await.expect("remove");
    let missing = bench.engine.inspect("c1").expect_err("it is gone");
    assert_eq!(missing.to_string(), "No such container: c1");
    assert_eq!(missing.class(), ErrorClass::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn container_sees_what_docker_shows() {
    let Some(bench) = Bench::open().await else { return };
    let look = "id; hostname; echo $HOME $PATH; pwd; grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status; \
                touch /x && echo rw || echo ro; cat /proc/kcore | head -c1 | wc -c; cat /etc/hostname; ls /dev | grep -c ^null$; \
                cat /proc/1/cmdline | head -c 2; echo; ulimit -n";
    let config = ContainerCreateBody {
        cmd: sh(look),
        hostname: Some("web1".to_owned()),
        working_dir: Some("/work/dir".to_owned()),
        env: strings(&["A=1"]),
        ..body(HostConfig {
            ulimits: Some(vec![ResourcesUlimits {
                name: Some("nofile".to_owned()),
                soft: Some(123),
                hard: Some(456),
            }]),
            ..HostConfig::default()
        })
    };
    bench.create_with("plain", config.clone()).await;
    let (code, out) = bench.finish("plain").await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "uid=0(root) gid=0(root) groups=0(root)",
            "web1",
            "/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "/work/dir",
            "CapEff:\t00000000a80425fb",
            "CapBnd:\t00000000a80425fb",
            "NoNewPrivs:\t0",
            "Seccomp:\t2",
            "rw",
            "0",
            "web1",
            "1",
            "sh",
            "123",
        ],
        "exit code {code}"
    );
    let as_user = ContainerCreateBody {
        cmd: sh(
            "id; echo $HOME; grep -E '^(CapEff|CapBnd):' /proc/self/status; touch /tmp/x || echo denied",
        ),
        user: Some("web".to_owned()),
        ..body(HostConfig { group_add: strings(&["88"]), ..HostConfig::default() })
    };
    bench.create_with("user", as_user).await;
    let (_, out) = bench.finish("user").await;
    let expect = "uid=33(web) gid=34(web) groups=34(web),77(extra),88\n/srv\n\
                  CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\ndenied\n";
    assert_eq!(out, expect);
    let strict = HostConfig {
        readonly_rootfs: Some(true),
        cap_drop: strings(&["ALL"]),
        cap_add: strings(&["NET_ADMIN"]),
        security_opt: strings(&["seccomp=unconfined", "no-new-privileges"]),
        ..HostConfig::default()
    };
    let script = "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status; touch /x || echo ro";
    let (_, out) = bench.run("strict", script, strict).await;
    assert_eq!(out, "CapEff:\t0000000000001000\nNoNewPrivs:\t1\nSeccomp:\t0\nro\n");
    let privileged = HostConfig { privileged: Some(true), ..HostConfig::default() };
    let script =
        "mkdir /m && mount -t tmpfs none /m && echo mounted; grep Seccomp: /proc/self/status";
    let (_, out) = bench.run("privileged", script, privileged).await;
    assert_eq!(out, "mounted\nSeccomp:\t0\n");
    let script = "mkdir /m; mount -t tmpfs none /m 2>/dev/null || echo refused";
    let (_, out) = bench.run("unprivileged", script, HostConfig::default()).await;
    assert_eq!(out, "refused\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_says_so() {
    let Some(bench) = Bench::open().await else { return };
    for (name, command, code, message) in [
        ("missing", "nope", 127, "exec: \"nope\": executable file not found in $PATH"),
        ("absent", "/nope", 127, "exec: \"/nope\": stat /nope: no such file or directory"),
        ("denied", "/etc/passwd", 126, "exec: \"/etc/passwd\": permission denied"),
    ] {
        let config =
            ContainerCreateBody { cmd: strings(&[command]), ..body(HostConfig::default()) };
        bench.create_with(name, config).await;
        let error = bench.engine.start(name).await.expect_err("must not start");
        assert_eq!(error.class(), ErrorClass::InvalidParameter);
        let text = error.to_string();
        assert!(text.contains("OCI runtime create failed") && text.contains(message), "{text}");
        let state = bench.engine.inspect(name).expect("inspect").state.expect("state");
        assert_eq!(state.exit_code, Some(code));
        assert_eq!(state.status.map(|s| s.to_string()).as_deref(), Some("created"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let Some(bench) = Bench::open().await else { return };
    let small = HostConfig {
        memory: Some(16 << 20),
        memory_swap: Some(16 << 20),
        pids_limit: Some(20),
        ..HostConfig::default()
    };
    let hungry = "a=x; while true; do a=$a$a; done";
    let (code, _) = bench.run("hungry", hungry, small.clone()).await;
    let state = bench.engine.inspect("hungry").expect("inspect").state.expect("state");
    assert_eq!((code, state.oom_killed), (137, Some(true)));
    let many = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 5 & done; echo done";
    let (_, out) = bench.run("many", many, small).await;
    assert_eq!(out, "", "the limit on processes must have ended the script");
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_show() {
    let Some(bench) = Bench::open().await else { return };
    let shared = bench.folder.path().join("shared");
    std::fs::create_dir(&shared).expect("folder");
    std::fs::write(shared.join("file"), "host").expect("file");
    let host = HostConfig {
        binds: Some(vec![format!("{}:/shared:ro", shared.display()), "named:/data".to_owned()]),
        tmpfs: Some(HashMap::from([("/scratch".to_owned(), "size=1m,mode=1777".to_owned())])),
        mounts: Some(vec![Mount {
            typ: Some(MountType::VOLUME),
            target: Some("/anonymous".to_owned()),
            ..Mount::default()
        }]),
        ..HostConfig::default()
    };
    let script = "cat /shared/file; touch /shared/x 2>/dev/null || echo ' ro'; cat /data/from-image; \
                  echo more > /data/more; grep -c ' /scratch tmpfs' /proc/mounts; touch /anonymous/x && echo ok";
    let (code, out) = bench.run("mounts", script, host).await;
    assert_eq!((code, out.as_str()), (0, "host ro\nimage1\nok\n"));
    let again = HostConfig { binds: strings(&["named:/other"]), ..HostConfig::default() };
    let (_, out) = bench.run("again", "cat /other/more", again).await;
    assert_eq!(out, "more\n");
    let mounts = bench.engine.inspect("mounts").expect("inspect").mounts.expect("mounts");
    assert_eq!(mounts.len(), 4);
    let anonymous = mounts.iter().find(|m| m.destination.as_deref() == Some("/anonymous"));
    let anonymous = anonymous.and_then(|m| m.name.clone()).expect("a name");
    bench.engine.remove("mounts", false, true).await.expect("remove");
    assert!(bench.engine.volumes().inspect(&anonymous).is_err());
    assert!(bench.engine.volumes().inspect("named").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_and_restarts() {
    let Some(bench) = Bench::open().await else { return };
    let polite = "trap 'exit 7' TERM; echo ready; while true; do sleep 0.05; done";
    bench.create("polite", polite, HostConfig::default()).await;
    bench.engine.start("polite").await.expect("start");
    let followed = LogOptions { follow: true, ..LogOptions::default() };
    let mut entries = Box::pin(bench.engine.logs("polite", followed).expect("logs"));
    let first = tokio::time::timeout(PATIENCE, entries.next()).await.expect("in time");
    assert_eq!(first.expect("an entry").expect("entry").line.as_ref(), b"ready\n");
    let again = bench.engine.start("polite").await.expect_err("it runs");
    assert_eq!(again.class(), ErrorClass::NotModified);
    bench.engine.stop("polite", None).await.expect("stop");
    assert_eq!(wait(&bench.engine, "polite").await, 7);
    assert!(entries.next().await.is_none(), "following ends with the container");
    // PID 1 without a handler ignores SIGTERM; our init forwards it to a child that does not.
    let host = HostConfig { init: Some(true), ..HostConfig::default() };
    bench.create("init", "sleep 1000", host).await;
    bench.engine.start("init").await.expect("start");
    let started = Instant::now();
    bench.engine.stop("init", Some(15)).await.expect("stop");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(wait(&bench.engine, "init").await, 143);
    bench.create("stubborn", "sleep 1000", HostConfig::default()).await;
    bench.engine.start("stubborn").await.expect("start");
    bench.engine.stop("stubborn", Some(0)).await.expect("stop");
    assert_eq!(wait(&bench.engine, "stubborn").await, 137);
    let policy = RestartPolicy {
        name: Some(RestartPolicyNameEnum::ON_FAILURE),
        maximum_retry_count: Some(2),
    };
    let host = HostConfig { restart_policy: Some(policy), ..HostConfig::default() };
    let (code, out) = bench.run("failing", "echo try; exit 1", host).await;
    assert_eq!((code, out.as_str()), (1, "try\ntry\ntry\n"));
    let restarts = bench.engine.inspect("failing").expect("inspect").restart_count;
    assert_eq!(restarts, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_a_terminal() {
    let Some(bench) = Bench::open().await else { return };
    for runtime in ["", "runc"] {
        if !runtime.is_empty() && !Path::new("/usr/sbin/runc").exists() {
            continue;
        }
        let name = format!("tty{runtime}");
        let config = ContainerCreateBody {
            cmd: sh("test -t 0 && test -t 1 && echo terminal $TERM; exit 6"),
            tty: Some(true),
            ..body(HostConfig { runtime: Some(runtime.to_owned()), ..HostConfig::default() })
        };
        bench.create_with(&name, config).await;
        assert_eq!(bench.finish(&name).await, (6, "terminal xterm\r\n".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotates_logs() {
    let Some(bench) = Bench::open().await else { return };
    let options = [("max-size", "10k"), ("max-file", "2")];
    let options = options.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let host = HostConfig {
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(options.into_iter().collect()),
        }),
        ..HostConfig::default()
    };
    let script = "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done";
    let (_, out) = bench.run("chatty", script, host).await;
    assert!(out.ends_with("line 499\n") && !out.contains("line 1\n"), "{out}");
    let path = bench.engine.inspect("chatty").expect("inspect").log_path.expect("path");
    assert!(std::fs::metadata(format!("{path}.1")).is_ok_and(|m| m.len() <= 10_240));
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_survive_the_daemon() {
    let Some(bench) = Bench::open().await else { return };
    let script = "echo started; while [ ! -e /tmp/end ]; do sleep 0.05; done; echo ending; exit 5";
    bench.create("survivor", script, HostConfig::default()).await;
    let folder = bench.folder.path();
    let mut daemon = std::process::Command::new(HELPER)
        .arg("daemon")
        .args([folder.as_os_str(), "survivor".as_ref()])
        .spawn()
        .expect("spawn");
    until("the daemon", || {
        assert!(!folder.join("failed").exists(), "the daemon failed");
        folder.join("started").exists().then_some(())
    })
    .await;
    daemon.kill().expect("kill -9");
    daemon.wait().expect("wait");
    let successor = open(folder).await;
    let first = pid(&successor, "survivor");
    assert!(first > 0 && Path::new(&format!("/proc/{first}")).exists());
    drop(successor);
    let third = open(folder).await;
    assert_eq!(pid(&third, "survivor"), first);
    measure_shim(first);
    let merged = third.inspect("survivor").expect("inspect").graph_driver.expect("driver");
    std::fs::write(Path::new(&merged.data["MergedDir"]).join("tmp/end"), "").expect("write");
    assert_eq!(wait(&third, "survivor").await, 5);
    assert_eq!(logs(&third, "survivor", LogSource::Stdout).await, "started\nending\n");
    ends_without_a_daemon(folder).await;
    third.remove("survivor", true, true).await.expect("remove");
    bench.engine.remove("survivor", true, true).await.ok();
}

/// The engines above still know the container, but none of them watches its second run.
async fn ends_without_a_daemon(folder: &Path) {
    std::fs::remove_file(folder.join("started")).expect("remove");
    let mut daemon = std::process::Command::new(HELPER)
        .arg("daemon")
        .args([folder.as_os_str(), "survivor".as_ref()])
        .spawn()
        .expect("spawn");
    until("the daemon", || folder.join("started").exists().then_some(())).await;
    daemon.kill().expect("kill -9");
    daemon.wait().expect("wait");
    let engine = open(folder).await;
    let state = engine.inspect("survivor").expect("inspect").state.expect("state");
    // /tmp/end is still there, so it ended by itself, whether before or after the adoption.
    let code = if state.running == Some(true) {
        wait(&engine, "survivor").await
    } else {
        state.exit_code.unwrap_or(0)
    };
    assert_eq!(code, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_shim_takes_its_container_along() {
    let Some(bench) = Bench::open().await else { return };
    bench.create("orphan", "sleep 1000", HostConfig::default()).await;
    bench.engine.start("orphan").await.expect("start");
    let init = pid(&bench.engine, "orphan");
    let shim = parent(init).parse().expect("the shim's PID");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL)
        .expect("kill");
    assert_eq!(wait(&bench.engine, "orphan").await, 255);
    until("the end of the container", || parent(init).is_empty().then_some(())).await;
}

/// The parent's PID; empty if there is no such process.
fn parent(pid: i64) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let zombie = status.lines().any(|l| l.starts_with("State:\tZ"));
    let parent =
        status.lines().find_map(|l| l.strip_prefix("PPid:")).unwrap_or("").trim().to_owned();
    if zombie { String::new() } else { parent }
}

/// Prints what the container's shim takes of memory.
fn measure_shim(container: i64) {
    let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
    let parent = parent(container);
    let memory = read(format!("/proc/{parent}/smaps_rollup"));
    for line in memory.lines().filter(|l| l.starts_with("Rss") || l.starts_with("Private")) {
        eprintln!("shim {line}");
    }
}

/// In a network namespace of its own: the runtime's threads are born in the namespace of the thread that makes them.
#[test]
fn bridge_connects_containers() {
    if nix::unistd::geteuid().is_root() {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("unshare");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("runtime").block_on(async {
        let Some(bench) = Bench::open_with(true).await else { return };
        let port = bollard_stubs::models::PortBinding {
            host_ip: None,
            host_port: Some("8080".to_owned()),
        };
        let host = HostConfig {
            network_mode: Some("bridge".to_owned()),
            port_bindings: Some(HashMap::from([("80/tcp".to_owned(), Some(vec![port]))])),
            ..HostConfig::default()
        };
        let script = "cat /etc/hosts; while true; do nc -l -p 80 -e /bin/busybox hostname; done";
        let config = ContainerCreateBody {
            cmd: sh(script),
            hostname: Some("server".to_owned()),
            host_config: Some(host),
            ..body(HostConfig::default())
        };
        bench.create_with("server", config).await;
        bench.engine.start("server").await.expect("start");
        let settings =
            bench.engine.inspect("server").expect("inspect").network_settings.expect("settings");
        let ip =
            settings.networks.expect("networks")["bridge"].ip_address.clone().expect("address");
        assert_eq!(ask(&format!("{ip}:80")).await, "server\n");
        let gateway = bench.engine.bridge().expect("bridge").gateway();
        assert_eq!(ask(&format!("{gateway}:8080")).await, "server\n");
        assert!(
            logs(&bench.engine, "server", LogSource::Stdout)
                .await
                .contains(&format!("{ip}\tserver"))
        );
        let listed = bench.engine.list(&swarm_engine::ListOptions::default()).expect("list");
        assert_eq!(listed[0].ports.as_ref().and_then(|p| p[0].public_port), Some(8080));
        bench.engine.stop("server", Some(0)).await.expect("stop");
        assert!(bench.engine.bridge().expect("bridge").attachments().is_empty());
    });
}

async fn ask(address: &str) -> String {
    use tokio::io::AsyncReadExt;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut text = String::new();
        if let Ok(mut stream) = tokio::net::TcpStream::connect(address).await
            && stream.read_to_string(&mut text).await.is_ok()
            && !text.is_empty()
        {
            return text;
        }
        assert!(Instant::now() < deadline, "no answer from {address}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_runtime_works_too() {
    let Some(bench) = Bench::open().await else { return };
    if !Path::new("/usr/sbin/runc").exists() {
        eprintln!("skipped: needs runc");
        return;
    }
    let host = || HostConfig { runtime: Some("runc".to_owned()), ..HostConfig::default() };
    let script = "echo out; grep -E '^(CapEff|Seccomp):' /proc/self/status; exit 4";
    let (code, out) = bench.run("runc", script, host()).await;
    assert_eq!((code, out.as_str()), (4, "out\nCapEff:\t00000000a80425fb\nSeccomp:\t2\n"));
    let config = ContainerCreateBody { cmd: strings(&["nope"]), ..body(host()) };
    bench.create_with("runc-missing", config).await;
    let error = bench.engine.start("runc-missing").await.expect_err("must not start");
    assert!(error.to_string().contains("executable file not found in $PATH"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_prefixes_resolve() {
    let Some(bench) = Bench::open().await else { return };
    let id = bench.create("one", "true", HostConfig::default()).await;
    let other = bench.create("two", "true", HostConfig::default()).await;
    for reference in ["one", "/one", &id, &id[..12]] {
        assert_eq!(bench.engine.resolve(reference).expect("resolve").as_str(), id);
    }
    let taken = bench.engine.create(Some("one".to_owned()), body_true()).await;
    let message = taken.expect_err("the name is taken").to_string();
    assert!(
        message.starts_with("Conflict. The container name \"/one\" is already in use by"),
        "{message}"
    );
    bench.engine.rename("two", "three").await.expect("rename");
    assert_eq!(bench.engine.resolve("three").expect("resolve").as_str(), other);
    let unknown = ContainerCreateBody { image: Some("nope".to_owned()), ..body_true() };
    let error = bench.engine.create(None, unknown).await.expect_err("no such image");
    assert_eq!(error.class(), ErrorClass::NotFound);
    let all = swarm_engine::ListOptions { all: true, ..Default::default() };
    let names: Vec<_> = bench
        .engine
        .list(&all)
        .expect("list")
        .into_iter()
        .flat_map(|c| c.names)
        .flatten()
        .collect();
    assert_eq!(names, ["/three", "/one"]);
    let pruned = bench.engine.prune(&swarm_engine::ListOptions::default()).await.expect("prune");
    assert_eq!(pruned.deleted.len(), 2);
}

fn body_true() -> ContainerCreateBody {
    ContainerCreateBody { cmd: sh("true"), ..body(HostConfig::default()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_is_quick() {
    let Some(bench) = Bench::open().await else { return };
    bench.run("warm", "true", HostConfig::default()).await;
    let mut times = Vec::new();
    for n in 0..10 {
        let name = format!("quick{n}");
        let begun = Instant::now();
        bench.create(&name, "sleep 100", HostConfig::default()).await;
        bench.engine.start(&name).await.expect("start");
        times.push(begun.elapsed());
    }
    times.sort();
    eprintln!("create and start: median {:?}, worst {:?}", times[5], times[9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_start_and_end_at_once() {
    let Some(bench) = Bench::open().await else { return };
    let begun = Instant::now();
    let starts = (0..30).map(|n| {
        let bench = &bench;
        async move {
            let name = format!("many{n}");
            bench.create(&name, "sleep 1000", HostConfig::default()).await;
            bench.engine.start(&name).await.expect("start");
        }
    });
    futures::future::join_all(starts).await;
    eprintln!("30 containers started in {:?}", begun.elapsed());
    let running = bench.engine.list(&swarm_engine::ListOptions::default()).expect("list");
    assert_eq!(running.len(), 30);
    let ends = (0..30).map(|n| {
        let bench = &bench;
        async move { bench.engine.remove(&format!("many{n}"), true, true).await.expect("remove") }
    });
    futures::future::join_all(ends).await;
    let all = swarm_engine::ListOptions { all: true, ..Default::default() };
    assert!(bench.engine.list(&all).expect("list").is_empty());
    let overlays = std::fs::read_dir(bench.folder.path().join("data/overlay")).expect("overlays");
    assert_eq!(overlays.count(), 0);
}
