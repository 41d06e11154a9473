//! The API over TCP: certificates on both sides, and nobody without one.

use std::path::Path;
use std::process::Command;

use swarm_testkit::{Daemon, Host, Lab, Output, require_command};

use crate::support::can_run;

#[test]
fn the_api_over_tcp_asks_for_a_client_certificate() {
    if !(can_run() && require_command("openssl")) {
        return;
    }
    let lab = Lab::new();
    make_certificates(lab.folder());
    let flags: Vec<String> = ["tlscacert=ca.pem", "tlscert=server.pem", "tlskey=server-key.pem"]
        .iter()
        .map(|flag| flag.split_once('=').expect("a flag and its file"))
        .map(|(flag, file)| format!("--{flag}={}", lab.folder().join(file).display()))
        .chain(["--tlsverify".into(), "--host=tcp://0.0.0.0:2376".into()])
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let daemon = Daemon::start(lab.host("server"), &flags);
    let user = lab.host("user");

    let version = ["version", "--format", "{{.Server.Os}}"];
    assert_eq!(docker(&user, lab.folder(), "client", &version).ok(), "linux");
    let information = ["info", "--format", "{{.Name}}"];
    assert_eq!(docker(&user, lab.folder(), "client", &information).ok(), "server");
    for (certificate, why) in [("stranger", "signed by another CA"), ("", "none at all")] {
        let said = docker(&user, lab.folder(), certificate, &version).refused();
        assert!(said.contains("tls: ") || said.contains("x509: "), "{why}: {said}");
    }
    let mut plain = user.command("docker");
    let said = Output::of(plain.args(["-H", "tcp://10.77.0.1:2376"]).args(version)).refused();
    assert!(
        said.contains("HTTP request to an HTTPS server") || said.contains("malformed HTTP"),
        "{said}"
    );
    drop(daemon);
}

fn docker(user: &Host, folder: &Path, certificate: &str, arguments: &[&str]) -> Output {
    let mut command = user.command("docker");
    command.env("DOCKER_CONFIG", folder.join("docker-config"));
    command.args(["-H", "tcp://10.77.0.1:2376"]);
    command.arg("--tlsverify").arg("--tlscacert").arg(folder.join("ca.pem"));
    if certificate.is_empty() {
        command.args(["--tlscert", "", "--tlskey", ""]);
    } else {
        command.arg("--tlscert").arg(folder.join(format!("{certificate}.pem")));
        command.arg("--tlskey").arg(folder.join(format!("{certificate}-key.pem")));
    }
    Output::of(command.args(arguments))
}

/// Two CAs; the first one signs the server's (of a lab's first three hosts) and the client's certificate, the second one
/// a stranger's.
pub(crate) fn make_certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        Output::of(command.current_dir(folder).args(arguments.split(' '))).ok();
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for ca in ["ca", "other"] {
        openssl(&format!(
            "req -x509 {key} -keyout {ca}-key.pem -out {ca}.pem -days 2 -subj /CN={ca}"
        ));
    }
    let hosts = "IP:10.77.0.1,IP:10.77.0.2,IP:10.77.0.3";
    let extensions = format!("subjectAltName={hosts}\nextendedKeyUsage=serverAuth,clientAuth\n");
    std::fs::write(folder.join("extensions"), extensions).expect("write the extensions");
    for (name, ca) in [("server", "ca"), ("client", "ca"), ("stranger", "other")] {
        openssl(&format!("req -new {key} -keyout {name}-key.pem -out {name}.csr -subj /CN={name}"));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}-key.pem -CAcreateserial -days 2 \
             -extfile extensions -out {name}.pem"
        ));
    }
}
