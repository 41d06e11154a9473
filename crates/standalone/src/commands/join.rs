//! `swarm join`: an agent that keeps an engine registered with a discovery service.

use std::time::Duration;

use rand::Rng as _;

use super::flags::{Flag, Kind};
use super::{Call, Command, DISCOVERY_OPTIONS, Stop};
use crate::discovery::{Source, StoreUrl, is_address, register};
use crate::duration::{Span, shown};
use crate::store::Claim;

/// More often nobody may register.
const HEARTBEAT_MIN: Duration = Duration::from_secs(1);

const FLAGS: [Flag; 6] = [
    Flag {
        names: &["advertise", "addr"],
        kind: Kind::Text(""),
        usage: "Address of the Docker Engine joining the cluster. Swarm manager(s) MUST be able to reach the Docker Engine at this address.",
        env: "SWARM_ADVERTISE",
    },
    Flag {
        names: &["heartbeat"],
        kind: Kind::Text("60s"),
        usage: "period between each heartbeat",
        env: "",
    },
    Flag {
        names: &["ttl"],
        kind: Kind::Text("180s"),
        usage: "set the expiration of an ephemeral node",
        env: "",
    },
    Flag {
        names: &["delay"],
        kind: Kind::Text("0s"),
        usage: "add a random delay in [0s,delay] to avoid synchronized registration",
        env: "",
    },
    Flag {
        names: &["token"],
        kind: Kind::Text(""),
        usage: "belongs to swarm mode: see the message",
        env: "",
    },
    DISCOVERY_OPTIONS,
];

pub(super) const COMMAND: Command = Command {
    names: ["join", "j"],
    usage: "Join a docker cluster",
    flags: &FLAGS,
    has_discovery: true,
    run,
};

/// What the command line asks for, checked.
struct Plan {
    discovery: String,
    url: StoreUrl,
    claim: Claim,
    heartbeat: Duration,
    delay: Duration,
}

fn run(call: &Call) -> Result<(), Stop> {
    let plan = plan(call).map_err(Stop::Fatal)?;
    super::run_async(join(plan)).map_err(Stop::Fatal)
}

async fn join(plan: Plan) -> Result<(), String> {
    let store = super::open_store(&plan.url)?;
    if !plan.delay.is_zero() {
        tracing::info!(
            "Add a random delay {} to avoid synchronized registration",
            shown(plan.delay)
        );
        let share = rand::rng().random_range(0.0..1.0);
        tokio::time::sleep(plan.delay.mul_f64(share)).await;
    }
    register(&*store, &plan.claim, plan.heartbeat, &plan.discovery).await;
    Ok(())
}

fn plan(call: &Call) -> Result<Plan, String> {
    if call.given.has("token") {
        return Err("a node joins a swarm of swarm mode by `docker swarm join --token TOKEN HOST:2377`, sent to its own \
                    `swarm daemon`; an agent of standalone Swarm is `swarm join --advertise HOST:PORT DISCOVERY`"
            .to_owned());
    }
    let discovery = call.discovery();
    if discovery.is_empty() {
        return Err("discovery required to join a cluster. See 'swarm join --help'.".to_owned());
    }
    let advertise = call.text("advertise");
    if advertise.is_empty() {
        return Err("missing mandatory --advertise flag".to_owned());
    }
    if !is_address(&advertise) {
        return Err("--advertise should be of the form ip:port or hostname:port".to_owned());
    }
    let span = |name: &str| {
        Span::parse(&call.text(name)).map_err(|error| format!("invalid --{name}: {error}"))
    };
    let delay = span("delay")?;
    if delay.is_negative {
        return Err("--delay should not be a negative number".to_owned());
    }
    let heartbeat = span("heartbeat")?;
    if heartbeat.is_negative || heartbeat.length < HEARTBEAT_MIN {
        return Err("--heartbeat should be at least one second".to_owned());
    }
    let ttl = span("ttl")?;
    if ttl.is_negative || ttl.length <= heartbeat.length {
        return Err("--ttl must be strictly superior to the heartbeat value".to_owned());
    }
    match call.source(&discovery)? {
        // The original tried for ever.
        Source::Fixed(_) | Source::File(_) => {
            Err("not implemented in this discovery service: engines are named in it by hand"
                .to_owned())
        }
        Source::Store(url) => {
            let key = format!("{}/{advertise}", url.nodes_path);
            let claim = Claim { key, value: advertise, ttl: ttl.length };
            Ok(Plan { discovery, url, claim, heartbeat: heartbeat.length, delay: delay.length })
        }
    }
}
