//! `swarm manage`: a manager in front of engines.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::flags::{Flag, Given, Kind};
use super::serve::{Listen, serve};
use super::{Call, Command, DISCOVERY_OPTIONS, Stop};
use crate::api::{Manager, RefreshOn};
use crate::cluster::Cluster;
use crate::cluster::reschedule::watch;
use crate::discovery::{Entry, Source, follow, is_address, read_file};
use crate::duration::Span;
use crate::election::campaign;
use crate::engine::EngineOptions;
use crate::leadership::Leadership;
use crate::scheduler::{Filter, Scheduler, Strategy};
use crate::store::{Claim, Store};

/// How often a file of engines is looked at: sooner than at each heartbeat, since looking costs next to nothing.
const FILE_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_HOST: &str = "tcp://127.0.0.1:2375";

const FLAGS: [Flag; 22] = [
    text(&["strategy"], "spread", "placement strategy to use [spread, binpack, random]"),
    Flag {
        names: &["filter", "f"],
        kind: Kind::List,
        usage: "filter to use [health, port, containerslots, dependency, affinity, constraint, whitelist]",
        env: "",
    },
    Flag {
        names: &["host", "H"],
        kind: Kind::List,
        usage: "ip/socket to listen on",
        env: "SWARM_HOST",
    },
    switch(&["replication"], "Enable Swarm manager replication"),
    text(&["replication-ttl"], "20s", "Leader lock release time on failure"),
    Flag {
        names: &["advertise", "addr"],
        kind: Kind::Text(""),
        usage: "Address of the swarm manager joining the cluster. Other swarm manager(s) MUST be able to reach the swarm manager at this address.",
        env: "SWARM_ADVERTISE",
    },
    switch(&["tls"], "use TLS; implied by --tlsverify=true"),
    text(
        &["tlscacert"],
        "",
        "trust only remotes providing a certificate signed by the CA given here",
    ),
    text(&["tlscert"], "", "path to TLS certificate file"),
    text(&["tlskey"], "", "path to TLS key file"),
    switch(&["tlsverify"], "use TLS and verify the remote"),
    text(&["engine-refresh-min-interval"], "30s", "set engine refresh minimum interval"),
    text(&["engine-refresh-max-interval"], "60s", "set engine refresh maximum interval"),
    text(&["engine-failure-retry"], "3", "set engine failure retry count"),
    text(&["engine-refresh-retry"], "3", "deprecated; replaced by --engine-failure-retry"),
    text(&["heartbeat"], "60s", "period between each heartbeat"),
    Flag {
        names: &["api-enable-cors", "cors"],
        kind: Kind::Switch,
        usage: "enable CORS headers in the remote API",
        env: "",
    },
    Flag {
        names: &["cluster-driver", "c"],
        kind: Kind::Text("swarm"),
        usage: "cluster driver to use [swarm]",
        env: "",
    },
    DISCOVERY_OPTIONS,
    Flag {
        names: &["cluster-opt"],
        kind: Kind::List,
        usage: "cluster driver options: swarm.overcommit=0.05 (overcommit to apply on resources), swarm.createretry=0 (container create retry count after initial failure)",
        env: "",
    },
    switch(
        &["refresh-on-node-filter"],
        "If true, refresh the cache when a ContainerList call comes in with a node filter",
    ),
    text(
        &["container-name-refresh-filter"],
        "",
        "If set, refresh the cache when a ContainerList call comes in with a name filter set to this value",
    ),
];

const fn text(names: &'static [&'static str], default: &'static str, usage: &'static str) -> Flag {
    Flag { names, kind: Kind::Text(default), usage, env: "" }
}

const fn switch(names: &'static [&'static str], usage: &'static str) -> Flag {
    Flag { names, kind: Kind::Switch, usage, env: "" }
}

pub(super) const COMMAND: Command = Command {
    names: ["manage", "m"],
    usage: "Manage a docker cluster",
    flags: &FLAGS,
    has_discovery: true,
    run,
};

/// What the command line asks for, checked.
struct Plan {
    source: Source,
    manager: Manager,
    hosts: Vec<Listen>,
    /// What the manager claims the role of the primary with.
    claim: Option<Claim>,
}

fn run(call: &Call) -> Result<(), Stop> {
    let plan = plan(call).map_err(Stop::Fatal)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Stop::Fatal(error.to_string()))?;
    runtime.block_on(manage(plan)).map_err(Stop::Fatal)
}

async fn manage(plan: Plan) -> Result<(), String> {
    crate::open_files::raise_limit();
    let manager = Arc::new(plan.manager);
    let store = match &plan.source {
        Source::Store(url) => Some(super::open_store(url)?),
        Source::Fixed(_) | Source::File(_) => None,
    };
    let leadership = manager.leadership.clone();
    let discovering = tokio::spawn(discover(manager.clone(), plan.source, store.clone()));
    let watching = tokio::spawn(watch(manager.cluster.clone(), leadership.clone()));
    let stop = CancellationToken::new();
    let mut campaigning = None;
    // Whoever can't be asked must not be elected.
    let on_listening = || {
        let campaign = |(store, claim)| campaign(store, claim, leadership, stop.clone());
        campaigning = store.zip(plan.claim).map(campaign).map(tokio::spawn);
    };
    let served = serve(plan.hosts, manager, on_listening).await;
    discovering.abort();
    watching.abort();
    stop.cancel();
    if let Some(campaigning) = campaigning {
        // It tells by itself what went wrong.
        let _ = campaigning.await;
    }
    served
}

/// Keeps the manager's engines those that the source names.
async fn discover(manager: Arc<Manager>, source: Source, store: Option<Arc<dyn Store>>) {
    match source {
        Source::Fixed(entries) => manager.cluster.set_engines(&entries),
        Source::File(path) => loop {
            match read_file(&path) {
                Ok(entries) => manager.cluster.set_engines(&entries),
                Err(error) => tracing::error!("Discovery error: {error}"),
            }
            tokio::time::sleep(FILE_INTERVAL).await;
        },
        Source::Store(url) => {
            let tell = |entries: &[Entry]| manager.cluster.set_engines(entries);
            if let Some(store) = store {
                follow(&*store, &url.nodes_path, tell).await;
            }
        }
    }
}

/// Checks all that the command line says, in the original's order and words.
fn plan(call: &Call) -> Result<Plan, String> {
    let given = &call.given;
    let tls = super::tls::load(given)?;
    let span = |name: &str| Span::parse(&call.text(name));
    let shortest = span("engine-refresh-min-interval").ok().and_then(Span::positive);
    let shortest = shortest.ok_or("min refresh interval should be a positive number")?;
    let longest = span("engine-refresh-max-interval").ok().and_then(Span::positive);
    if longest.unwrap_or_default() < shortest {
        return Err("max refresh interval cannot be less than min refresh interval".to_owned());
    }
    if call.text("engine-refresh-retry") != "3" {
        return Err("--engine-refresh-retry is deprecated. Use --engine-failure-retry".to_owned());
    }
    let retry = call.text("engine-failure-retry");
    let retry: i64 = retry.parse().map_err(|_| {
        format!("invalid value {retry:?} for flag -engine-failure-retry: parse error")
    })?;
    let failure_retry = u32::try_from(retry).ok().filter(|retry| *retry > 0);
    let failure_retry = failure_retry.ok_or("invalid failure retry count")?;
    let discovery = call.discovery();
    if discovery.is_empty() {
        return Err("discovery required to manage a cluster. See 'swarm manage --help'.".to_owned());
    }
    let heartbeat = span("heartbeat").map_err(|error| format!("invalid --heartbeat: {error}"))?;
    if heartbeat.is_negative || heartbeat.length < Duration::from_secs(1) {
        return Err("--heartbeat should be at least one second".to_owned());
    }
    let source = call.source(&discovery)?;
    let strategy = Strategy::named(&call.text("strategy")).ok_or("strategy not supported")?;
    let filters = match given.list("filter") {
        [] => Filter::ALL.to_vec(),
        names => {
            let filters: Option<Vec<Filter>> =
                names.iter().map(|name| Filter::named(name)).collect();
            filters.ok_or("filter not supported")?
        }
    };
    let driver = call.text("cluster-driver");
    if driver != "swarm" {
        return Err(format!("unsupported cluster {driver:?}"));
    }
    let (overcommit, create_retry) = cluster_options(given)?;
    let claim = claim(call, &source)?;
    let leadership = match &claim {
        Some(_) => Leadership::candidate(),
        None => Leadership::default(),
    };
    let scheduler = Scheduler { strategy, filters };
    let mut manager = Manager::new(Cluster::new(
        scheduler,
        EngineOptions {
            failure_retry,
            overcommit,
            refresh: (shortest, longest.unwrap_or(shortest)),
            tls: tls.as_ref().map(|tls| tls.client.clone()),
            leadership: leadership.clone(),
        },
        create_retry,
    ));
    manager.leadership = leadership;
    manager.refresh = RefreshOn {
        node: given.is_on("refresh-on-node-filter"),
        name: call.text("container-name-refresh-filter"),
    };
    manager.dial = tls.as_ref().map(|tls| tls.client.clone());
    manager.tls = tls.map(|tls| tls.server);
    manager.is_debug = call.is_debug;
    manager.is_experimental = call.is_experimental;
    manager.has_cors = given.is_on("api-enable-cors");
    let hosts = match given.list("host") {
        [] => vec![Listen::parse(DEFAULT_HOST)?],
        hosts => hosts.iter().map(|host| Listen::parse(host)).collect::<Result<_, _>>()?,
    };
    Ok(Plan { source, manager, hosts, claim })
}

/// What the manager takes part in the election with; none where it stands alone.
fn claim(call: &Call, source: &Source) -> Result<Option<Claim>, String> {
    if !call.given.is_on("replication") {
        return Ok(None);
    }
    let advertise = call.text("advertise");
    if advertise.is_empty() {
        return Err("--advertise address must be provided when using --leader-election".to_owned());
    }
    if !is_address(&advertise) {
        return Err("--advertise should be of the form ip:port or hostname:port".to_owned());
    }
    let ttl = Span::parse(&call.text("replication-ttl"))
        .map_err(|error| format!("invalid --replication-ttl: {error}"))?;
    let ttl = ttl.positive().ok_or("--replication-ttl should be a positive number")?;
    match source {
        Source::Store(url) => {
            Ok(Some(Claim { key: url.leader_key.clone(), value: advertise, ttl }))
        }
        _ => Err("Leader election is only supported with consul, etcd and zookeeper discovery."
            .to_owned()),
    }
}

/// By how many hundredths more is given away than there is, and how often a creation is tried again.
fn cluster_options(given: &Given) -> Result<(i64, u32), String> {
    let option = |name: &str| {
        let options = given.list("cluster-opt").iter();
        let mut values = options.filter_map(|option| option.split_once('='));
        values.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let overcommit: f64 = match option("swarm.overcommit") {
        None => 0.05,
        Some(text) => {
            text.parse().map_err(|_| format!("swarm.overcommit is no number: {text:?}"))?
        }
    };
    if !(overcommit > -1.0 && overcommit.is_finite()) {
        return Err(format!(
            "swarm.overcommit should be larger than -1, {overcommit:.6} is invalid"
        ));
    }
    if overcommit < 0.0 {
        tracing::warn!(
            "-1 < swarm.overcommit < 0 will make swarm take less resource than docker engine offers"
        );
    }
    let retry: i64 = match option("swarm.createretry") {
        None => 0,
        Some(text) => {
            text.parse().map_err(|_| format!("swarm.createretry is no number: {text:?}"))?
        }
    };
    let retry = u32::try_from(retry)
        .map_err(|_| format!("swarm.createretry can not be negative, {retry} is invalid"))?;
    Ok(((overcommit * 100.0).trunc() as i64, retry))
}
