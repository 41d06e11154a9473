//! Many nodes in few processes: real agents with certificates of their own over real connections, whose tasks run at once
//! and do nothing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use swarm_agent::{
    Agent, AgentConfig, Connection, Connector, Controller, ControllerError, Dependencies, Executor,
    LogSink,
};
use swarm_ca::{
    CertificateRequest, Credentials, JoinToken, RootCa, TlsMaterials, download_root_ca,
    request_certificate,
};
use swarm_network::netns;
use swarm_proto::Channel;
use swarm_proto::id::new_id;
use swarm_proto::v1::{
    ContainerStatus, EngineDescription, LogSubscriptionOptions, Node, NodeDescription, Platform,
    PortStatus, Resources, Task,
};
use swarm_testkit::Engine;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::machine::Machine;

/// Nodes that join at the same time.
const JOINING_MAX: usize = 16;

/// Nodes that one process makes up: each has some open files, and a thread.
const NODES_PER_PROCESS: usize = 2_500;

/// Agents in processes of their own, in the network of the machine whose manager they belong to.
pub(crate) struct Crowd {
    processes: Vec<Child>,
}

impl Crowd {
    /// Lets so many nodes join a swarm as workers: the machines are its managers, the first leads.
    pub(crate) fn start(managers: &[Machine], count: usize) -> Result<Self> {
        let machine = managers.first().context("no managers")?;
        let token = machine.docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
        let address = |manager: &Machine| format!("{}:2377", manager.host().address());
        let managers: Vec<String> = managers.iter().map(address).collect();
        let mut crowd = Self { processes: Vec::new() };
        for first in (0..count).step_by(NODES_PER_PROCESS) {
            let part = Part {
                first,
                count: NODES_PER_PROCESS.min(count - first),
                network: machine.host().netns(),
                managers: managers.clone(),
                token: token.clone(),
            };
            let process = Command::new(std::env::current_exe()?)
                .arg("--crowd")
                .arg(serde_json::to_string(&part)?)
                .stdin(Stdio::piped())
                .spawn();
            crowd.processes.push(process.context("start a process for a crowd")?);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It ends when nobody holds its input any more.
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

/// What one of the processes makes up.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    first: usize,
    count: usize,
    network: PathBuf,
    managers: Vec<String>,
    token: String,
}

/// The life of such a process: until its input ends.
pub(crate) fn run(part: &str) -> Result<()> {
    let part: Part = serde_json::from_str(part)?;
    // In memory: a thousand machines have a disk each.
    let folder = tempfile::tempdir_in("/dev/shm")?;
    netns::run_in(part.network.clone(), || {
        let runtime = tokio::runtime::Runtime::new()?;
        let end = CancellationToken::new();
        let ended = end.clone();
        std::thread::spawn(move || {
            // Whatever ends the reading ends the crowd.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            ended.cancel();
        });
        runtime.block_on(crowd(part, folder.path(), end))
    })?
}

async fn crowd(part: Part, folder: &Path, until: CancellationToken) -> Result<()> {
    let root = download_root_ca(&part.managers[0], JoinToken::parse(&part.token)?.digest()).await?;
    let turns = Arc::new(Semaphore::new(JOINING_MAX));
    for number in part.first..part.first + part.count {
        let member = Member {
            number,
            managers: part.managers.clone(),
            folder: folder.join(number.to_string()),
            root: root.clone(),
            token: part.token.clone(),
            turns: turns.clone(),
        };
        let until = until.clone();
        tokio::spawn(until.run_until_cancelled_owned(async move {
            if let Err(error) = member.run().await {
                crate::table::progress(&format!("node {number} failed: {error:#}"));
            }
        }));
    }
    until.cancelled().await;
    Ok(())
}

/// One node to be.
struct Member {
    number: usize,
    managers: Vec<String>,
    folder: PathBuf,
    root: RootCa,
    token: String,
    turns: Arc<Semaphore>,
}

impl Member {
    async fn run(self) -> Result<()> {
        let materials = {
            let _turn = self.turns.acquire().await?;
            let channel =
                swarm_ca::connect(&self.managers[0], Credentials::Joining(self.root.clone()))?;
            let request = CertificateRequest { token: self.token, availability: 0 };
            let issued = request_certificate(channel, &self.root, &request).await?;
            TlsMaterials::new(self.root, issued.certificate)?
        };
        std::fs::create_dir_all(&self.folder)?;
        let (messages, mut news) = mpsc::channel(1);
        tokio::spawn(async move { while news.recv().await.is_some() {} });
        let agent = Agent::open(AgentConfig {
            node_id: materials.identity().node_id,
            folder: self.folder,
            executor: Arc::new(Idle { hostname: format!("crowd{}", self.number) }),
            connector: Arc::new(Way {
                managers: self.managers,
                chosen: AtomicUsize::new(0),
                materials: materials.clone(),
            }),
            // Its certificate stays the same.
            tls_info: watch::channel(materials.info()).1,
            messages,
        });
        agent.await.context("open an agent")?.run().await;
        Ok(())
    }
}

/// The managers, of which one is believed to lead.
struct Way {
    managers: Vec<String>,
    chosen: AtomicUsize,
    materials: TlsMaterials,
}

impl Way {
    fn to(&self, address: &str) -> std::result::Result<Connection, String> {
        let channel: Channel =
            swarm_ca::connect(address, Credentials::Member(self.materials.clone()))
                .map_err(|error| error.to_string())?;
        Ok(Connection { address: address.to_owned(), channel })
    }

    fn chosen(&self) -> &str {
        &self.managers[self.chosen.load(Ordering::Relaxed) % self.managers.len()]
    }
}

#[async_trait]
impl Connector for Way {
    async fn connect(&self) -> std::result::Result<Connection, String> {
        self.to(self.chosen())
    }

    fn observe(&self, address: &str, well: bool) {
        if !well && address == self.chosen() {
            self.chosen.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ways(&self) -> Vec<Connection> {
        self.managers.iter().flat_map(|address| self.to(address)).collect()
    }

    fn prefer(&self, address: &str) {
        if let Some(place) = self.managers.iter().position(|manager| manager == address) {
            self.chosen.store(place, Ordering::Relaxed);
        }
    }
}

/// A machine whose tasks run without doing anything.
struct Idle {
    hostname: String,
}

#[async_trait]
impl Executor for Idle {
    async fn describe(&self) -> NodeDescription {
        NodeDescription {
            hostname: self.hostname.clone(),
            platform: Some(Platform { architecture: "x86_64".into(), os: "linux".into() }),
            resources: Some(Resources {
                nano_cpus: 8_000_000_000,
                memory_bytes: 16 << 30,
                ..Resources::default()
            }),
            engine: Some(EngineDescription {
                engine_version: "20.10.24".into(),
                ..EngineDescription::default()
            }),
            ..NodeDescription::default()
        }
    }

    async fn configure(&self, _node: &Node) {}

    async fn leave(&self) {}

    fn controller(&self, _task: &Task, _dependencies: Arc<Dependencies>) -> Arc<dyn Controller> {
        // As long as a container's ID.
        let id = format!("{0}{0}{0}", new_id())[..64].to_owned();
        Arc::new(IdleTask { id, stopped: CancellationToken::new() })
    }
}

struct IdleTask {
    id: String,
    stopped: CancellationToken,
}

#[async_trait]
impl Controller for IdleTask {
    async fn prepare(&self) -> std::result::Result<(), ControllerError> {
        Ok(())
    }

    async fn start(&self) -> std::result::Result<(), ControllerError> {
        Ok(())
    }

    async fn wait(&self) -> std::result::Result<(), ControllerError> {
        self.stopped.cancelled().await;
        Ok(())
    }

    async fn shutdown(&self) -> std::result::Result<(), ControllerError> {
        self.stopped.cancel();
        Ok(())
    }

    async fn remove(&self) -> std::result::Result<(), ControllerError> {
        Ok(())
    }

    async fn container_status(&self) -> Option<ContainerStatus> {
        Some(ContainerStatus { container_id: self.id.clone(), pid: 1000, exit_code: 0 })
    }

    async fn port_status(&self) -> Option<PortStatus> {
        None
    }

    async fn logs(
        &self,
        _options: LogSubscriptionOptions,
        _sink: LogSink,
    ) -> std::result::Result<(), ControllerError> {
        Ok(())
    }
}
