//! `swarm join`: an agent that keeps an engine registered with a discovery service.

use std::time::Duration;

use super::flags::{Flag, Kind};
use super::{Call, Command, DISCOVERY_OPTIONS, Stop};
use crate::discovery::{Source, is_address};
use crate::duration::Span;

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

fn run(call: &Call) -> Result<(), Stop> {
    check(call).map_err(Stop::Fatal)
}

fn check(call: &Call) -> Result<(), String> {
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
    if span("delay")?.is_negative {
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
        Source::Store(_) => Err(super::NO_STORES.to_owned()),
    }
}
