//! A standalone manager that shows certificates, and asks for them, on both of its sides.

use std::path::Path;
use std::process::{Child, Stdio};

use swarm_testkit::{
    Engine, Host, Lab, Output, StockEngine, busybox_image_tar, require_command, swarm_binary,
    wait_until,
};

use crate::support::{IMAGE, PATIENCE, can_run};
use crate::tls::make_certificates;

const MANAGER: &str = "tcp://10.77.0.2:3376";

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn files(folder: &Path, name: &str) -> Vec<String> {
    let flag = |flag: &str, file: &str| format!("--{flag}={}", folder.join(file).display());
    vec![
        flag("tlscacert", "ca.pem"),
        flag("tlscert", &format!("{name}.pem")),
        flag("tlskey", &format!("{name}-key.pem")),
    ]
}

fn manage(host: &Host, flags: &[String], listen: &str) -> Process {
    let mut command = host.command(swarm_binary());
    command.arg("manage").args(flags).args(["-H", listen, "10.77.0.1:2376"]);
    Process(command.stdout(Stdio::null()).spawn().expect("start the manager"))
}

fn docker(host: &Host, flags: &[String], manager: &str, arguments: &[&str]) -> Output {
    let mut command = host.command("docker");
    command.env("DOCKER_CONFIG", host.folder().join("docker-config"));
    Output::of(command.args(["--host", manager]).args(flags).args(arguments))
}

#[test]
fn certificates_are_shown_and_asked_for_on_both_sides() {
    if !(can_run() && require_command("dockerd") && require_command("openssl")) {
        return;
    }
    let lab = Lab::new();
    make_certificates(lab.folder());
    let with = |name: &str, flag: &str| [files(lab.folder(), name), vec![flag.to_owned()]].concat();
    let engine_flags = [with("server", "--tlsverify"), vec!["--host=tcp://0.0.0.0:2376".into()]];
    let engine_flags = engine_flags.concat();
    let engine_flags: Vec<&str> = engine_flags.iter().map(String::as_str).collect();
    let engine = StockEngine::start(lab.host("node1"), &engine_flags);
    let tar = lab.folder().join("image.tar");
    std::fs::write(&tar, busybox_image_tar(IMAGE)).expect("write the image");
    engine.docker(&["load", "--input", &tar.display().to_string()]).ok();

    let host = lab.host("manager");
    let user = lab.host("user");
    let _manager = manage(&host, &with("server", "--tlsverify"), ":3376");
    let asked = |name: &str, arguments: &[&str]| {
        docker(&user, &with(name, "--tlsverify"), MANAGER, arguments)
    };
    wait_until(PATIENCE, "the engine to be healthy", || {
        asked("client", &["info"]).stdout.contains("Status: Healthy").then_some(())
    });
    // Plain requests, and connections that are taken over, the one within the other.
    asked("client", &["run", "--detach", "--name", "one", IMAGE, "sleep", "1000"]).ok();
    assert_eq!(asked("client", &["exec", "one", "echo", "through"]).ok(), "through");
    assert_eq!(asked("client", &["run", "--rm", IMAGE, "echo", "and through"]).ok(), "and through");

    let version = ["version", "--format", "{{.Server.Version}}"];
    assert_eq!(asked("client", &version).ok(), "swarm/1.2.9");
    let stranger = asked("stranger", &version).refused();
    assert!(stranger.contains("tls: ") || stranger.contains("x509: "), "{stranger}");
    let plain = docker(&user, &[], MANAGER, &version);
    assert!(!plain.success(), "{plain}");

    // Without --tlsverify nobody is asked; but the engine asks, and does not know this one.
    let _open = manage(&host, &with("stranger", "--tls"), ":3377");
    let _blank = manage(&host, &[], ":3378");
    for (flags, port) in [(with("stranger", "--tls"), 3377), (Vec::new(), 3378)] {
        let manager = format!("tcp://10.77.0.2:{port}");
        wait_until(PATIENCE, "the engine to be out of reach", || {
            let info = docker(&user, &flags, &manager, &["info"]);
            let is_told = info.stdout.contains("└ Error: ");
            (info.stdout.contains("Status: Pending") && is_told).then_some(())
        });
    }
}
