//! A real etcd, of one member or more (Debian's package `etcd-server`).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{KeyStore, START_TIMEOUT};
use crate::{Host, wait_until};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// Where it tells how it is, without TLS.
const METRICS_PORT: u16 = 2381;

/// An etcd whose members are on hosts of their own. Its data stays with the hosts.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
    /// With the files `ca.pem`, `server.pem` and `server-key.pem`, if clients must have certificates.
    certificates: Option<PathBuf>,
}

#[derive(Debug)]
struct Member {
    host: Host,
    child: Option<Child>,
}

impl Etcd {
    /// Starts a member on each host, and waits until all answer.
    pub fn start(hosts: Vec<Host>) -> Self {
        let members = hosts.into_iter().map(|host| Member { host, child: None }).collect();
        let mut etcd = Self { members, certificates: None };
        etcd.restart();
        etcd
    }

    /// Starts one member that asks its clients for certificates, with the files `ca.pem`, `server.pem` and
    /// `server-key.pem` of a folder.
    pub fn start_with_tls(host: Host, certificates: &Path) -> Self {
        let members = vec![Member { host, child: None }];
        let mut etcd = Self { members, certificates: Some(certificates.to_owned()) };
        etcd.restart();
        etcd
    }

    /// Kills the member that leads the others; its number.
    pub fn kill_leader(&mut self) -> usize {
        let leads = |member: &Member| {
            member.child.is_some()
                && member
                    .get("/metrics")
                    .is_some_and(|text| text.contains("\netcd_server_is_leader 1"))
        };
        let leader =
            wait_until(START_TIMEOUT, "a leader of etcd", || self.members.iter().position(leads));
        self.members[leader].kill();
        leader
    }

    /// Starts one member again.
    pub fn restart_member(&mut self, number: usize) {
        let cluster = self.cluster();
        self.members[number].launch(&cluster, self.certificates.as_deref());
    }

    fn cluster(&self) -> String {
        let peer = |member: &Member| {
            format!("{}=http://{}", member.host.name(), member.address(PEER_PORT))
        };
        self.members.iter().map(peer).collect::<Vec<_>>().join(",")
    }
}

impl KeyStore for Etcd {
    fn url(&self) -> String {
        let hosts: Vec<String> = self
            .members
            .iter()
            .map(|member| format!("{}:{CLIENT_PORT}", member.host.address()))
            .collect();
        format!("etcd://{}", hosts.join(","))
    }

    fn kill(&mut self) {
        self.members.iter_mut().for_each(Member::kill);
    }

    fn restart(&mut self) {
        let cluster = self.cluster();
        for member in self.members.iter_mut().filter(|member| member.child.is_none()) {
            member.launch(&cluster, self.certificates.as_deref());
        }
        for member in &self.members {
            wait_until(START_TIMEOUT, "etcd to answer", || {
                member.get("/health").filter(|text| text.contains("\"true\""))
            });
        }
    }
}

impl Member {
    fn address(&self, port: u16) -> String {
        format!("{}:{port}", self.host.address())
    }

    fn launch(&mut self, cluster: &str, certificates: Option<&Path>) {
        let folder = self.host.folder();
        let log = File::options().create(true).append(true).open(folder.join("etcd.log"));
        let log = log.expect("a log file");
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let client = format!("{scheme}://{}", self.address(CLIENT_PORT));
        let peer = format!("http://{}", self.address(PEER_PORT));
        let metrics = format!("http://{}", self.address(METRICS_PORT));
        let mut command = self.host.command("etcd");
        command
            .args(["--name", self.host.name(), "--initial-cluster", cluster])
            .arg("--data-dir")
            .arg(folder.join("etcd"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--listen-metrics-urls", &metrics])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        if let Some(folder) = certificates {
            command.args(["--client-cert-auth", "--trusted-ca-file"]).arg(folder.join("ca.pem"));
            command.arg("--cert-file").arg(folder.join("server.pem"));
            command.arg("--key-file").arg(folder.join("server-key.pem"));
        }
        self.child = Some(command.spawn().expect("start etcd"));
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// An answer of its HTTP server; none where there is none.
    fn get(&self, path: &str) -> Option<String> {
        let address = (self.host.address(), METRICS_PORT);
        self.host.in_network(move || {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
