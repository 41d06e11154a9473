//! Interlock: a real HAProxy that follows a cluster's containers, in front of stock engines and of swarm mode.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use swarm_testkit::{Engine as _, Host, Lab, Output, require_command, swarm_binary, wait_until};

use crate::standalone::{Manager, engines};
use crate::support::{IMAGE, PATIENCE, can_run, file, swarm};

/// A `swarm interlock` with its HAProxy, on a host of its own.
struct Interlock {
    host: Host,
    child: Child,
}

impl Interlock {
    fn start(host: Host, url: &str, env: &[(&str, &str)]) -> Self {
        let child = Self::launch(&host, url, env);
        Self { host, child }
    }

    fn launch(host: &Host, url: &str, env: &[(&str, &str)]) -> Child {
        let mut command = host.command(swarm_binary());
        command.args(["interlock", "--swarm-url", url, "--plugin", "haproxy", "start"]);
        let file = |name: &str| host.folder().join(name);
        command.env("HAPROXY_PROXY_CONFIG_PATH", file("proxy.conf"));
        command.env("HAPROXY_PID_PATH", file("proxy.pid")).envs(env.iter().copied());
        command.stdout(File::create(file("interlock.log")).expect("a log file"));
        command.spawn().expect("start interlock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.host.folder().join("interlock.log")).unwrap_or_default()
    }

    fn await_log(&self, text: &str) {
        wait_until(PATIENCE, &format!("{text} in the log, after:\n{}", self.log()), || {
            self.log().contains(text).then_some(())
        });
    }

    fn config(&self) -> PathBuf {
        self.host.folder().join("proxy.conf")
    }

    /// What HAProxy answers to `path` of a host: the status, and the body.
    fn get(&self, host: &str, path: &str) -> Option<(u16, String)> {
        self.get_with(host, path, "")
    }

    fn get_with(&self, host: &str, path: &str, headers: &str) -> Option<(u16, String)> {
        let answer = self.host.in_network(|| {
            let mut stream = TcpStream::connect("127.0.0.1:80").ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.trim().to_owned()))
    }

    /// Waits until a host's requests are answered by these, and by nobody else for a while.
    fn await_answers(&self, host: &str, names: &[&str]) {
        let what = format!("{host} to be answered by {names:?}:\n{}", self.log());
        wait_until(PATIENCE, &what, || {
            let answers = (0..8).map(|_| self.get(host, "/"));
            let mut seen: Vec<String> = answers
                .map(|answer| match answer {
                    Some((200, body)) => body,
                    other => format!("{other:?}"),
                })
                .collect();
            seen.sort();
            seen.dedup();
            (seen == names).then_some(())
        });
    }

    /// The master among HAProxy's processes.
    fn haproxy(&self) -> String {
        fs::read_to_string(self.host.folder().join("proxy.pid")).unwrap_or_default().trim().into()
    }

    /// Ends it as a user does; its exit status.
    fn stop(&mut self) -> i32 {
        Output::of(Command::new("kill").arg(self.child.id().to_string())).ok();
        self.child.wait().expect("wait for interlock").code().unwrap_or(-1)
    }
}

impl Drop for Interlock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a container runs that says its name to whoever asks.
fn web(name: &str) -> [String; 3] {
    let script = format!("mkdir -p /www; echo {name} >/www/index.html; exec httpd -f -h /www");
    ["sh".to_owned(), "-c".to_owned(), script]
}

#[test]
fn a_load_balancer_follows_the_containers() {
    if !(can_run() && require_command("dockerd") && require_command("haproxy")) {
        return;
    }
    let lab = Lab::new();
    let (engines, list) = engines(&lab, 2);
    let manager = Manager::start(lab.host("manager"), &["-H", "tcp://:3375"], &list);
    manager.await_status(&["Healthy"; 2]);
    let run = |name: &str, flags: &[&str]| {
        let web = web(name);
        let web: Vec<&str> = web.iter().map(String::as_str).collect();
        let run = ["run", "--detach", "--name", name];
        manager.docker(&[&run[..], flags, &[IMAGE], &web].concat()).ok()
    };
    let voting = |node: &'static str| {
        ["--env", node, "--publish", "5000:80", "--hostname", "votingapp.local"]
    };
    run("frontend01", &voting("constraint:node==node1"));

    let url = format!("tcp://{}:3375", manager.host().address());
    let mut balancer = Interlock::start(lab.host("interlock"), &url, &[]);
    balancer.await_answers("votingapp.local", &["frontend01"]);
    run("frontend02", &voting("constraint:node==node2"));
    balancer.await_answers("VotingApp.local:80", &["frontend01", "frontend02"]);

    // By label, beside what would break the configuration if it got there.
    let shop = ["--publish", "80", "--label", "interlock.alias_domain.0=store.local"];
    run("shop", &[&shop[..], &["--label", "interlock.hostname=shop.local"]].concat());
    let evil = "interlock.hostname=evil.local\nbackend evil";
    run("evil", &["--publish", "80", "--label", evil]);
    let odd = ["--label", "interlock.backend_option=nonsense"];
    run("odd", &[&["--publish", "80", "--hostname", "odd.local"], &odd[..]].concat());
    for (host, name) in [("shop.local", "shop"), ("store.local", "shop"), ("odd.local", "odd")] {
        balancer.await_answers(host, &[name]);
    }
    balancer.await_log("haproxy refuses options of odd_local, left out");
    balancer.await_log("is refused: it is no host name");
    assert_eq!(balancer.get("evil.local", "/").map(|(status, _)| status), Some(503));

    // The statistics, with their login; and whether HAProxy itself is well.
    let page = "/haproxy?stats";
    assert_eq!(balancer.get("votingapp.local", page).map(|(status, _)| status), Some(401));
    let login = "Authorization: Basic c3RhdHM6aW50ZXJsb2Nr\r\n";
    let (status, page) = balancer.get_with("votingapp.local", page, login).expect("statistics");
    assert!(status == 200 && page.contains("votingapp_local"), "{page}");
    let monitor = balancer.get("x", "/haproxy?monitor");
    assert_eq!(monitor.map(|(status, _)| status), Some(200));

    manager.docker(&["stop", "--time", "0", "frontend01"]).ok();
    balancer.await_answers("votingapp.local", &["frontend02"]);
    manager.docker(&["start", "frontend01"]).ok();
    balancer.await_answers("votingapp.local", &["frontend01", "frontend02"]);

    // HAProxy dies: it is started again. Interlock dies: HAProxy goes on, and the next Interlock takes it over.
    Output::of(Command::new("kill").args(["-9", &balancer.haproxy()])).ok();
    balancer.await_log("proxy started again and ready");
    balancer.await_answers("votingapp.local", &["frontend01", "frontend02"]);
    balancer.child.kill().expect("kill interlock");
    balancer.child.wait().expect("wait for interlock");
    balancer.await_answers("votingapp.local", &["frontend01", "frontend02"]);
    let left = balancer.haproxy();
    balancer.child = Interlock::launch(&balancer.host, &url, &[]);
    balancer.await_log("proxy reloaded and ready");
    wait_until(PATIENCE, "the former HAProxy to end", || {
        (!fs::exists(format!("/proc/{left}")).expect("look")).then_some(())
    });
    balancer.await_answers("votingapp.local", &["frontend01", "frontend02"]);

    assert_eq!(balancer.stop(), 0);
    assert!(balancer.get("votingapp.local", "/").is_none(), "nobody answers any more");
    drop(engines);
}

#[test]
fn services_are_served_and_a_wrong_template_changes_nothing() {
    if !(can_run() && require_command("haproxy")) {
        return;
    }
    let cluster = swarm(2);
    let manager = &cluster.daemons()[0];
    let web = web("$HOSTNAME");
    let publish = ["--publish", "mode=host,target=80,published=5000"];
    let create = ["service", "create", "--detach", "--name", "web", "--mode", "global"];
    let labels = ["--label", "interlock.hostname=web.local", "--hostname", "{{.Node.Hostname}}"];
    let web: Vec<&str> = web.iter().map(String::as_str).collect();
    manager.docker(&[&create[..], &publish, &labels, &[IMAGE], &web].concat()).ok();

    let template =
        file(&cluster, "proxy.j2", include_bytes!("../../../interlock/src/haproxy.cfg.j2"));
    let host = cluster.lab().host("interlock");
    let url = format!("unix://{}", manager.socket().display());
    let env = [("HAPROXY_TEMPLATE_PATH", template.to_str().expect("a path"))];
    let balancer = Interlock::start(host, &url, &env);
    let names: Vec<&str> = cluster.daemons().iter().map(|daemon| daemon.host().name()).collect();
    balancer.await_answers("web.local", &names);

    let before = fs::read_to_string(balancer.config()).expect("the configuration");
    for (text, expect) in [
        ("{% for host in hosts %}", "wrong template: syntax error"),
        ("{{ config.prot }}", "wrong template: undefined value"),
        ("global\n    nonsense\n", "haproxy refuses the configuration"),
    ] {
        fs::write(&template, text).expect("write the template");
        balancer.await_log(expect);
        assert_eq!(fs::read_to_string(balancer.config()).expect("the configuration"), before);
        balancer.await_answers("web.local", &names);
    }
    manager.docker(&["service", "rm", "web"]).ok();
    fs::write(&template, include_str!("../../../interlock/src/haproxy.cfg.j2")).expect("write");
    wait_until(PATIENCE, "the service to be gone", || {
        balancer.get("web.local", "/").filter(|(status, _)| *status == 503)
    });
}

#[test]
fn command_lines_without_sense_are_refused() {
    let interlock = |line: &str, env: &[(&str, &str)]| {
        let mut command = Command::new(swarm_binary());
        command.arg("interlock").args(line.split_whitespace()).stdin(Stdio::null());
        for name in ["DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"] {
            command.env_remove(name);
        }
        Output::of(command.envs(env.iter().copied()))
    };
    for (line, env, expect) in [
        ("start", &[][..], "add --plugin haproxy"),
        ("-p nginx start", &[], "there is no plugin"),
        ("-p haproxy -s tcp://a:b start", &[], "is no address of a cluster"),
        ("-p haproxy -s tcp://a --swarm-tls-ca-cert /none start", &[], "error loading tls ca cert"),
        ("-p haproxy start", &[("HAPROXY_PORT", "http")], "HAPROXY_PORT="),
        ("-p haproxy", &[], "Usage: swarm interlock [OPTIONS] <COMMAND>"),
    ] {
        let refused = interlock(line, env);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(refused.status != 0 && said.contains(expect), "{line}: {said}");
    }
    let listed = interlock("list-plugins", &[]).ok();
    assert!(listed.lines().any(|line| line.starts_with("haproxy ")), "{listed}");
    assert!(interlock("--help", &[]).ok().contains("--swarm-tls-ca-cert"));
}
