//! The agent's outer loop: one session after the other, with whichever manager answers.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use swarm_proto::Channel;
use swarm_proto::v1::{NodeTlsInfo, SessionMessage};
use swarm_pulse::Heart;
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::controller::Executor;
use crate::reporter::Reporter;
use crate::session::{End, Session};
use crate::trouble::Trouble;
use crate::worker::Worker;

/// The first pause after a session that broke; it doubles up to [`BACKOFF_MAX`] while sessions fail to begin.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Short, so that a returning manager finds its workers within its grace; pauses vary, so that they come apart.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A way to a manager.
pub struct Connection {
    /// The manager's address, for the log.
    pub address: String,
    /// The connection; it authenticates this node.
    pub channel: Channel,
}

/// Chooses managers.
#[async_trait]
pub trait Connector: Send + Sync {
    /// A way to a manager that is believed to answer.
    async fn connect(&self) -> Result<Connection, String>;

    /// Tells how the manager at `address` behaved, for the next choice.
    fn observe(&self, address: &str, well: bool);

    /// New connections to all managers that may be asked, not yet dialled.
    fn ways(&self) -> Vec<Connection>;

    /// The manager at `address` has just answered: it is the next choice.
    fn prefer(&self, address: &str);
}

/// What an agent needs.
pub struct AgentConfig {
    /// This node.
    pub node_id: String,
    /// Where the tasks are remembered.
    pub folder: PathBuf,
    /// What runs tasks.
    pub executor: Arc<dyn Executor>,
    /// What finds managers.
    pub connector: Arc<dyn Connector>,
    /// What this node's certificate rests on, which managers compare with the cluster's root.
    pub tls_info: watch::Receiver<NodeTlsInfo>,
    /// Where news from the managers go: this node's object, the managers, keys and the root CA.
    pub messages: mpsc::Sender<SessionMessage>,
}

/// A running agent.
pub struct Agent {
    config: AgentConfig,
    worker: Arc<Worker>,
    reporter: Arc<Reporter>,
    trouble: Trouble,
    /// None where the system gives no thread; then there are gRPC heartbeats only.
    heart: Option<Heart>,
}

impl Agent {
    /// Takes up the tasks of before a restart, which go on whether or not a manager can be reached.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn open(config: AgentConfig) -> io::Result<Self> {
        let reporter = Arc::new(Reporter::default());
        let worker =
            Worker::open(&config.folder, config.executor.clone(), reporter.clone()).await?;
        let heart = Heart::start(&config.node_id);
        let heart =
            heart.inspect_err(|error| warn!(%error, "no heartbeats on a path of their own"));
        let trouble = Trouble::default();
        Ok(Self { config, worker: Arc::new(worker), reporter, trouble, heart: heart.ok() })
    }

    /// Why there is no session, for users; empty while there is one.
    pub fn trouble(&self) -> watch::Receiver<String> {
        self.trouble.watch()
    }

    /// Holds sessions for ever; dropping the future ends the session and leaves the containers.
    pub async fn run(&self) {
        let mut backoff = BACKOFF_FIRST;
        let mut session_id = String::new();
        loop {
            let began = self.session(&mut session_id).await;
            if began {
                backoff = BACKOFF_FIRST;
            }
            tokio::time::sleep(backoff.mul_f64(rand::random_range(0.5..=1.0))).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// One session, from its beginning to its end; tells whether it began at all.
    async fn session(&self, session_id: &mut String) -> bool {
        let connection = match self.config.connector.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                warn!(error, "no manager can be reached");
                self.trouble.unreachable(&error);
                return false;
            }
        };
        let address = connection.address;
        let session = Session {
            address: &address,
            heart: self.heart.as_ref(),
            config: &self.config,
            worker: &self.worker,
            reporter: &self.reporter,
            trouble: &self.trouble,
            channel: connection.channel,
        };
        let End { began, status, better } = session.run(session_id).await;
        info!(manager.addr = address, error = %status, began, "session with a manager ended");
        if !began {
            self.trouble.refused(&address, &status);
        }
        let is_worse = better.as_ref().is_some_and(|better| *better != address);
        self.config.connector.observe(&address, began && !is_worse);
        if let Some(better) = better {
            self.config.connector.prefer(&better);
        }
        began
    }
}
