//! The whole application on this machine: two front ends with a Redis each, a worker, Postgres and the results page.
//!
//! Each part has a loopback address of its own, so nothing collides.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, geteuid};
use swarm_testkit::{require, require_command, wait_until};
use tempfile::TempDir;

/// Long enough for a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Nobody: Postgres refuses to run as root.
const NOBODY: u32 = 65534;
/// As in the walk-through.
const PASSWORD: &str = "pg8675309";

/// Whether Redis and Postgres are installed.
#[must_use]
pub(crate) fn can_run() -> bool {
    require_command("redis-server")
        && require(postgres_folder().is_some(), "needs Postgres: install the package postgresql")
}

/// Stacks of this process so far.
static STACKS: AtomicU8 = AtomicU8::new(0);

/// One process of the application.
pub(crate) struct Part {
    name: &'static str,
    command: Command,
    child: Child,
    listens: Option<SocketAddr>,
}

/// The application. Dropping it ends all its processes.
pub(crate) struct Stack {
    folder: TempDir,
    network: [u8; 3],
    parts: Vec<Part>,
}

impl Stack {
    /// Starts all of it, and waits until it serves.
    pub(crate) fn start() -> Self {
        let process = std::process::id().to_be_bytes();
        let number = STACKS.fetch_add(1, Ordering::Relaxed);
        let network = [process[2] | 1, process[3], number * 16];
        let folder = tempfile::tempdir().expect("make a folder");
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("open the folder");
        let mut stack = Self { folder, network, parts: Vec::new() };
        stack.add_postgres();
        for number in 1..=2 {
            stack.add_redis(number);
            stack.add_front_end(number);
        }
        stack.add_worker();
        stack.add_results();
        stack
    }

    /// The URL of Postgres.
    pub(crate) fn postgres(&self) -> String {
        format!("postgres://postgres:{PASSWORD}@{}/postgres", self.address(9, 5432))
    }

    /// The URL of a Redis.
    pub(crate) fn redis(&self, number: u8) -> String {
        format!("redis://{}", self.redis_address(number))
    }

    /// Where a front end serves.
    pub(crate) fn front_end(&self, number: u8) -> SocketAddr {
        self.address(2 + number, 8080)
    }

    /// Where the results page serves.
    pub(crate) fn results(&self) -> SocketAddr {
        self.address(8, 8080)
    }

    /// Kills a part, as if its plug were pulled.
    pub(crate) fn kill(&mut self, name: &str) {
        self.part(name).kill();
    }

    /// Starts a part that was killed, as a restart policy does, until it listens.
    pub(crate) fn restart(&mut self, name: &str) {
        self.part(name).run();
    }

    fn part(&mut self, name: &str) -> &mut Part {
        let part = self.parts.iter_mut().find(|part| part.name == name);
        part.unwrap_or_else(|| panic!("no part {name}"))
    }

    fn address(&self, part: u8, port: u16) -> SocketAddr {
        let [second, third, offset] = self.network;
        (Ipv4Addr::new(127, second, third, offset + part), port).into()
    }

    fn redis_address(&self, number: u8) -> SocketAddr {
        self.address(number, 6379)
    }

    fn own_folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).expect("make a folder");
        folder
    }

    fn add(&mut self, name: &'static str, mut command: Command, listens: Option<SocketAddr>) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        let log = self.folder.path().join(format!("{name}.log"));
        command.stderr(fs::File::create(log).expect("make a log"));
        let child = command.spawn().unwrap_or_else(|error| panic!("start {name}: {error}"));
        let mut part = Part { name, command, child, listens };
        part.await_listening();
        self.parts.push(part);
    }

    fn add_redis(&mut self, number: u8) {
        let name = ["redis01", "redis02"][usize::from(number) - 1];
        let address = self.redis_address(number);
        let folder = self.own_folder(name);
        let mut command = Command::new("redis-server");
        command.args(["--bind", &address.ip().to_string(), "--dir"]).arg(folder);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        self.add(name, command, Some(address));
    }

    fn add_front_end(&mut self, number: u8) {
        let name = ["frontend01", "frontend02"][usize::from(number) - 1];
        let address = self.front_end(number);
        let mut command = Command::new(env!("CARGO_BIN_EXE_vote"));
        command.env("WEB_VOTE_NUMBER", format!("{number:02}"));
        command.env("REDIS_URL", self.redis(number)).env("LISTEN", address.to_string());
        self.add(name, command, Some(address));
    }

    fn add_worker(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        let queues = [self.redis(1), self.redis(2)].join(",");
        command.env("REDIS_URLS", queues).env("POSTGRES_URL", self.postgres());
        self.add("worker01", command, None);
    }

    fn add_results(&mut self) {
        let address = self.results();
        let mut command = Command::new(env!("CARGO_BIN_EXE_result"));
        command.env("POSTGRES_URL", self.postgres()).env("LISTEN", address.to_string());
        self.add("results-app", command, Some(address));
    }

    fn add_postgres(&mut self) {
        let folder = self.own_folder("pg");
        let data = folder.join("data");
        let password = folder.join("password");
        fs::write(&password, PASSWORD).expect("write the password");
        let programs = postgres_folder().expect("Postgres is there");
        for path in [&folder, &password] {
            if geteuid().is_root() {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("hand the folder over");
            }
        }
        let mut make = unprivileged(&programs.join("initdb"));
        make.args([
            "--username",
            "postgres",
            "--auth",
            "scram-sha-256",
            "--no-locale",
            "--no-sync",
        ]);
        make.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data);
        let made = make.output().expect("run initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let address = self.address(9, 5432);
        let mut command = unprivileged(&programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-h", &address.ip().to_string()]).arg("-k").arg(&folder);
        self.add("pg", command, Some(address));
    }
}

impl Part {
    fn run(&mut self) {
        self.child = self.command.spawn().expect("start it again");
        self.await_listening();
    }

    /// Waits until it listens. Postgres may have to wait for what a killed one left, and ends so long.
    fn await_listening(&mut self) {
        let Some(address) = self.listens else { return };
        wait_until(PATIENCE, &format!("{} to listen", self.name), || {
            if self.child.try_wait().expect("look after a child").is_some() {
                self.child = self.command.spawn().expect("start it again");
            }
            TcpStream::connect(address).ok().map(drop)
        });
    }

    /// With all processes that it started.
    fn kill(&mut self) {
        let group = i32::try_from(self.child.id()).expect("the kernel's process IDs fit");
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// One request on a connection of its own; the head ends without its last line break.
pub(crate) fn ask(address: SocketAddr, head: &str, body: &str) -> Answer {
    let mut stream = open(address, head, body);
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer with a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("a status"), head: head.into(), body: body.into() }
}

/// A request whose answer is read by the caller.
pub(crate) fn open(address: SocketAddr, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    let length = body.len();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut request = format!("{line} HTTP/1.0\r\nHost: votingapp.local\r\n");
    request.extend(headers.lines().map(|header| format!("{header}\r\n")));
    request.push_str(&format!("Content-Length: {length}\r\n\r\n{body}"));
    stream.write_all(request.as_bytes()).expect("send a request");
    stream
}

/// A command that is not root's.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Where Postgres' programs are: Debian keeps them out of the path, a folder per version.
fn postgres_folder() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual: Vec<PathBuf> = std::env::split_paths(&path).collect();
    debian.chain(usual).find(|folder| folder.join("initdb").is_file())
}
