//! `--metrics-addr`: figures for Prometheus at `/metrics`, in its text form, under dockerd's names where dockerd has them.
//!
//! Gauges are set when they are asked for. What is measured and where its histograms are is each room's own.

use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder as _, Gauge, GaugeVec, Opts, Registry, TextEncoder};
use swarm_api::EngineBackend;
use swarm_manager::ManagerMetrics;
use swarm_node::Node;
use tokio::net::TcpListener;
use tracing::{error, info, warn};

/// What dockerd tells of its engine besides counts.
const ENGINE_LABELS: [&str; 7] =
    ["version", "architecture", "graphdriver", "kernel", "os", "os_type", "daemon_id"];

/// The endpoint's socket.
///
/// # Errors
/// Where the address is none, or can't be bound.
pub(super) async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("listening for metrics on {address} (--metrics-addr)"))
}

/// Everything that is told.
pub(super) struct Exporter {
    node: Node,
    engine: Arc<dyn EngineBackend>,
    registry: Registry,
    manager: ManagerMetrics,
    node_info: GaugeVec,
    is_manager: Gauge,
    engine_info: GaugeVec,
    cpus: Gauge,
    memory: Gauge,
    containers: GaugeVec,
}

impl Exporter {
    /// Registers all figures.
    ///
    /// # Errors
    /// Where two figures have one name.
    pub(super) fn new(node: Node, engine: Arc<dyn EngineBackend>) -> anyhow::Result<Self> {
        let exporter = Self {
            node,
            engine,
            registry: Registry::new(),
            manager: ManagerMetrics::new()?,
            node_info: labelled(
                "swarm_node_info",
                "Information related to the swarm",
                &["swarm_id", "node_id"],
            )?,
            is_manager: gauge("swarm_node_manager", "Whether this node is a manager or not")?,
            engine_info: labelled(
                "engine_daemon_engine_info",
                "The information related to the engine and the OS it is running on",
                &ENGINE_LABELS,
            )?,
            cpus: gauge(
                "engine_daemon_engine_cpus_cpus",
                "The number of cpus that the host system of the engine has",
            )?,
            memory: gauge(
                "engine_daemon_engine_memory_bytes",
                "The number of bytes of memory that the host system of the engine has",
            )?,
            containers: labelled(
                "engine_daemon_container_states_containers",
                "The count of containers in various states",
                &["state"],
            )?,
        };
        for collector in exporter.manager.collectors() {
            exporter.registry.register(collector)?;
        }
        for gauge in [&exporter.is_manager, &exporter.cpus, &exporter.memory] {
            exporter.registry.register(Box::new(gauge.clone()))?;
        }
        for gauges in [&exporter.node_info, &exporter.engine_info, &exporter.containers] {
            exporter.registry.register(Box::new(gauges.clone()))?;
        }
        let process = prometheus::process_collector::ProcessCollector::for_self();
        exporter.registry.register(Box::new(process))?;
        Ok(exporter)
    }

    /// Serves until the caller drops it.
    pub(super) async fn serve(self, listener: TcpListener) {
        if let Ok(address) = listener.local_addr() {
            info!(%address, "metrics are served at /metrics");
            if !address.ip().is_loopback() {
                warn!(
                    "whoever reaches {address} reads this daemon's metrics: there is no password"
                );
            }
        }
        let routes = Router::new().route("/metrics", get(scrape)).with_state(Arc::new(self));
        if let Err(error) = axum::serve(listener, routes).await {
            error!(%error, "metrics are no longer served");
        }
    }

    async fn text(&self) -> anyhow::Result<Vec<u8>> {
        self.set_cluster().await;
        self.set_engine().await?;
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    async fn set_cluster(&self) {
        let (cluster_id, view) = self.node.figures().await;
        self.manager.set(view.as_ref());
        self.is_manager.set(f64::from(u8::from(view.is_some())));
        self.node_info.reset();
        if !cluster_id.is_empty() {
            let labels = [cluster_id, self.node.status().node_id];
            self.node_info.with_label_values(&labels).set(1.0);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
    async fn set_engine(&self) -> anyhow::Result<()> {
        let info = self.engine.info().await.map_err(|error| anyhow::anyhow!("{error}"))?;
        let text = |value: Option<String>| value.unwrap_or_default();
        let labels = [
            info.server_version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            text(info.architecture),
            text(info.driver),
            text(info.kernel_version),
            text(info.operating_system),
            text(info.os_type),
            text(info.id),
        ];
        self.engine_info.reset();
        self.engine_info.with_label_values(&labels).set(1.0);
        self.cpus.set(info.ncpu.unwrap_or_default() as f64);
        self.memory.set(info.mem_total.unwrap_or_default() as f64);
        for (state, count) in [
            ("running", info.containers_running),
            ("paused", info.containers_paused),
            ("stopped", info.containers_stopped),
        ] {
            self.containers.with_label_values(&[state]).set(count.unwrap_or_default() as f64);
        }
        Ok(())
    }
}

async fn scrape(State(exporter): State<Arc<Exporter>>) -> Response {
    match exporter.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}

fn gauge(name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
    Gauge::with_opts(Opts::new(name, help))
}

fn labelled(name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
    GaugeVec::new(Opts::new(name, help), labels)
}
