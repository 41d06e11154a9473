//! Many nodes in one process: real agents with certificates of their own over real connections, whose tasks run at once
//! and do nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use async_trait::async_trait;
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

/// Agents on a thread of their own, in the network of the machine whose manager they belong to.
pub(crate) struct Crowd {
    end: CancellationToken,
    thread: Option<JoinHandle<Result<()>>>,
    joined: Arc<AtomicUsize>,
}

impl Crowd {
    /// Lets so many nodes join the manager of a machine, as workers.
    pub(crate) fn start(machine: &Machine, count: usize) -> Self {
        let token = machine.docker(&["swarm", "join-token", "--quiet", "worker"]).ok();
        let address = format!("{}:2377", machine.host().address());
        let network = machine.host().netns();
        let (end, joined) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (until, counter) = (end.clone(), joined.clone());
        // In memory: a thousand machines have a disk each.
        let folder = tempfile::tempdir_in("/dev/shm");
        let thread = std::thread::spawn(move || {
            let folder = folder?;
            let path = folder.path().to_owned();
            netns::run_in(network, move || {
                let runtime = tokio::runtime::Runtime::new()?;
                runtime.block_on(crowd(address, token, path, count, counter, until))
            })?
        });
        Self { end, thread: Some(thread), joined }
    }

    /// How many have their certificates.
    pub(crate) fn joined(&self) -> usize {
        self.joined.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.end.cancel();
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            crate::table::progress(&format!("the crowd failed: {error:#}"));
        }
    }
}

async fn crowd(
    address: String,
    token: String,
    folder: PathBuf,
    count: usize,
    joined: Arc<AtomicUsize>,
    until: CancellationToken,
) -> Result<()> {
    let root = download_root_ca(&address, JoinToken::parse(&token)?.digest()).await?;
    let turns = Arc::new(Semaphore::new(JOINING_MAX));
    for number in 0..count {
        let member = Member {
            number,
            address: address.clone(),
            folder: folder.join(number.to_string()),
            root: root.clone(),
            token: token.clone(),
            turns: turns.clone(),
            joined: joined.clone(),
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
    address: String,
    folder: PathBuf,
    root: RootCa,
    token: String,
    turns: Arc<Semaphore>,
    joined: Arc<AtomicUsize>,
}

impl Member {
    async fn run(self) -> Result<()> {
        let materials = {
            let _turn = self.turns.acquire().await?;
            let channel =
                swarm_ca::connect(&self.address, Credentials::Joining(self.root.clone()))?;
            let request = CertificateRequest { token: self.token, availability: 0 };
            let issued = request_certificate(channel, &self.root, &request).await?;
            TlsMaterials::new(self.root, issued.certificate)?
        };
        self.joined.fetch_add(1, Ordering::Relaxed);
        std::fs::create_dir_all(&self.folder)?;
        let (messages, mut news) = mpsc::channel(1);
        tokio::spawn(async move { while news.recv().await.is_some() {} });
        let agent = Agent::open(AgentConfig {
            node_id: materials.identity().node_id,
            folder: self.folder,
            executor: Arc::new(Idle { hostname: format!("crowd{}", self.number) }),
            connector: Arc::new(Way { address: self.address, materials: materials.clone() }),
            // Its certificate stays the same.
            tls_info: watch::channel(materials.info()).1,
            messages,
        });
        agent.await.context("open an agent")?.run().await;
        Ok(())
    }
}

/// The one manager.
struct Way {
    address: String,
    materials: TlsMaterials,
}

#[async_trait]
impl Connector for Way {
    async fn connect(&self) -> std::result::Result<Connection, String> {
        let channel: Channel =
            swarm_ca::connect(&self.address, Credentials::Member(self.materials.clone()))
                .map_err(|error| error.to_string())?;
        Ok(Connection { address: self.address.clone(), channel })
    }

    fn observe(&self, _address: &str, _well: bool) {}

    fn ways(&self) -> Vec<Connection> {
        let channel = swarm_ca::connect(&self.address, Credentials::Member(self.materials.clone()));
        channel
            .into_iter()
            .map(|channel| Connection { address: self.address.clone(), channel })
            .collect()
    }

    fn prefer(&self, _address: &str) {}
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
