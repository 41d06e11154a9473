//! `swarm daemon`: wires engine, node and API together and runs until a signal.

mod cluster;
mod config_file;
mod flags;
mod listen;
mod metrics;
mod pidfile;
mod root_lock;

use std::fs;
use std::io::IsTerminal as _;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use swarm_agent::{ContainerExecutor, ExecutorConfig, parse_generic_resources};
use swarm_api::{ApiState, DaemonInfo, EmbeddedEngine, Server};
use swarm_engine::registry::RegistryConfig;
use swarm_engine::{Engine, EngineConfig, LogDefaults};
use swarm_network::{Bridge, BridgeConfig};
use swarm_node::{Node, NodeConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

pub(crate) use flags::Flags;
use root_lock::RootLock;

/// The log drivers that there are.
const LOG_DRIVERS: [&str; 2] = ["json-file", "none"];
/// The bridge's name unless told otherwise.
const BRIDGE: &str = "swarm0";

/// Runs the daemon to its end.
pub(crate) fn run(flags: Flags, arguments: &[String]) -> anyhow::Result<()> {
    let flags = flags.with_config_file(arguments)?;
    start_log(&flags)?;
    if !nix::unistd::geteuid().is_root() {
        bail!("swarm daemon needs to be started with root privileges");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(flags))
}

/// The log goes to standard error, as dockerd's; it is coloured for people only.
fn start_log(flags: &Flags) -> anyhow::Result<()> {
    let level = match (flags.debug, flags.log_level.as_str()) {
        (true, _) => "debug",
        (false, level @ ("debug" | "info" | "warn" | "error")) => level,
        (false, "fatal") => "error",
        (false, level) => bail!("invalid logging level: {level}"),
    };
    let filter = EnvFilter::try_new(format!("warn,swarm={level},{}", rooms(level)))?;
    let output = std::io::stderr;
    let ansi = output().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(output).init();
    Ok(())
}

fn rooms(level: &str) -> String {
    let rooms = [
        "agent",
        "allocator",
        "api",
        "ca",
        "dispatcher",
        "engine",
        "manager",
        "network",
        "node",
        "orchestrator",
        "raft",
        "scheduler",
        "store",
    ];
    rooms.map(|room| format!("swarm_{room}={level}")).join(",")
}

async fn serve(flags: Flags) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // What the flags say is judged before anything is made.
    let engine_config = engine_config(&flags)?;
    let executor_config = executor_config(&flags)?;
    let backups = flags.backups()?;
    let _pidfile = pidfile::PidFile::create(&flags.pidfile)?;
    for folder in [&flags.data_root, &flags.exec_root] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let _data_root = RootLock::take(&flags.data_root, "--data-root")?;
    let _exec_root = (flags.exec_root != flags.data_root)
        .then(|| RootLock::take(&flags.exec_root, "--exec-root"))
        .transpose()?;
    let listeners = listen::bind(&flags).await?;
    let metrics_listener = match &flags.metrics_addr {
        Some(address) => Some(metrics::bind(address).await?),
        None => None,
    };
    let bridge = open_bridge(&flags).await?;
    let managed_subnets = bridge.iter().map(Bridge::subnet).collect();
    let engine = Engine::open(engine_config, bridge).await.context("opening the engine")?;
    let registries = RegistryConfig {
        insecure: flags.insecure_registries.clone(),
        mirrors: flags.registry_mirrors.clone(),
    };
    let executor = ContainerExecutor::new(engine.clone(), registries.clone(), executor_config);
    let node = Node::open(NodeConfig {
        folder: flags.data_root.join("swarm"),
        executor: Arc::new(executor),
        default_advertise: flags.swarm_default_advertise_addr.clone(),
        managed_subnets,
        backups,
    })
    .await;
    let engine = Arc::new(EmbeddedEngine::new(engine, registries, flags.labels.clone()));
    let mut tasks = JoinSet::new();
    if let Some(listener) = metrics_listener {
        tasks.spawn(metrics::Exporter::new(node.clone(), engine.clone())?.serve(listener));
    }
    let cluster = Arc::new(cluster::NodeCluster(node.clone()));
    let state = ApiState::new(cluster, engine, DaemonInfo::default());
    crate::memory::keep_trimmed();
    info!(version = env!("CARGO_PKG_VERSION"), "daemon has completed initialization");
    Server::serve(listeners, state, async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("daemon is shutting down; containers keep running");
    })
    .await;
    node.shutdown().await;
    tasks.shutdown().await;
    Ok(())
}

async fn open_bridge(flags: &Flags) -> anyhow::Result<Option<Bridge>> {
    let name = flags.bridge.clone().unwrap_or_else(|| BRIDGE.to_owned());
    if name == "none" {
        return Ok(None);
    }
    let config = BridgeConfig {
        name,
        bip: flags.bip,
        mtu: flags.mtu,
        icc: flags.icc,
        ip_masq: flags.ip_masq,
        state_dir: flags.data_root.join("network"),
    };
    match Bridge::open(config).await {
        Ok(bridge) => Ok(Some(bridge)),
        Err(error) => {
            warn!(%error, "the default bridge is not available: containers can only use the networks host and none");
            Ok(None)
        }
    }
}

fn engine_config(flags: &Flags) -> anyhow::Result<EngineConfig> {
    let shim = std::env::current_exe().context("finding this executable")?;
    let mut config = EngineConfig::new(flags.data_root.clone(), flags.exec_root.clone(), shim);
    config.cgroup_parent.clone_from(&flags.cgroup_parent);
    config.default_runtime.clone_from(&flags.default_runtime);
    config.runtimes = flags.runtimes()?;
    if !LOG_DRIVERS.contains(&flags.log_driver.as_str()) {
        let known = LOG_DRIVERS.join(" and ");
        bail!("no log driver named '{}': there are {known}", flags.log_driver);
    }
    config.log_defaults =
        LogDefaults { driver: flags.log_driver.clone(), options: flags.log_options()? };
    config.dns.clone_from(&flags.dns);
    Ok(config)
}

fn executor_config(flags: &Flags) -> anyhow::Result<ExecutorConfig> {
    let hostname = nix::unistd::gethostname().context("reading the hostname")?;
    Ok(ExecutorConfig {
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: flags.labels()?,
        hostname: hostname.to_string_lossy().into_owned(),
        generic_resources: parse_generic_resources(&flags.generic_resources)?,
    })
}
