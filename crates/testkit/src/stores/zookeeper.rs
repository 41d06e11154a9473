//! A real ZooKeeper of one server (Debian's package `zookeeper`).

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{KeyStore, START_TIMEOUT};
use crate::{Host, wait_until};

const PORT: u16 = 2181;
/// Where Debian has it.
const JAR: &str = "/usr/share/java/zookeeper.jar";
/// Shorter than its default of two seconds, so that tests with short locks can be held to them.
const TICK_MILLISECONDS: u32 = 500;

/// A ZooKeeper on a host. Its data stays with the host.
#[derive(Debug)]
pub struct ZooKeeper {
    host: Host,
    child: Option<Child>,
}

impl ZooKeeper {
    /// Whether it is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        Path::new(JAR).is_file()
    }

    /// Starts it, and waits until it answers.
    pub fn start(host: Host) -> Self {
        let mut zookeeper = Self { host, child: None };
        zookeeper.restart();
        zookeeper
    }

    fn is_ready(&self) -> bool {
        let address = (self.host.address(), PORT);
        let answer = self.host.in_network(move || {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(3))).ok()?;
            stream.write_all(b"srvr").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            Some(answer)
        });
        answer.is_some_and(|answer| answer.contains("Mode: standalone"))
    }
}

impl KeyStore for ZooKeeper {
    fn url(&self) -> String {
        format!("zk://{}:{PORT}", self.host.address())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn restart(&mut self) {
        let folder = self.host.folder();
        let settings = folder.join("zoo.cfg");
        let text = format!(
            "tickTime={TICK_MILLISECONDS}\ndataDir={}\nclientPortAddress={}\nclientPort={PORT}\n\
             admin.enableServer=false\n4lw.commands.whitelist=srvr\n",
            folder.join("zookeeper").display(),
            self.host.address()
        );
        fs::write(&settings, text).expect("write ZooKeeper's settings");
        let log = File::options().create(true).append(true).open(folder.join("zookeeper.log"));
        let log = log.expect("a log file");
        let mut command = self.host.command("java");
        command
            .args(["-Xmx96m", "-XX:TieredStopAtLevel=1", "-cp"])
            .arg(format!("/etc/zookeeper/conf:{JAR}"))
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        self.child = Some(command.spawn().expect("start ZooKeeper"));
        wait_until(START_TIMEOUT, "ZooKeeper to answer", || self.is_ready().then_some(()));
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.kill();
    }
}
