//! A container of an engine, as the manager remembers it between events.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::container_config::Wishes;
use crate::scheduler::{Container, Image, bindings};

/// How a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
    Dead,
}

impl Run {
    /// As `docker ps --filter status=` names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether it has a process.
    pub(crate) fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    fn read(state: &Value) -> Self {
        let is = |name: &str| state.get(name).and_then(Value::as_bool).unwrap_or_default();
        let started = state.get("StartedAt").and_then(Value::as_str).unwrap_or_default();
        match () {
            () if is("Paused") => Self::Paused,
            () if is("Restarting") => Self::Restarting,
            () if is("Running") => Self::Running,
            () if is("Dead") => Self::Dead,
            () if started.is_empty() || started.starts_with("0001-") => Self::Created,
            () => Self::Exited,
        }
    }
}

/// What an engine said, as text: taken apart, it would take several times the memory.
#[derive(Debug, Clone)]
pub(crate) struct Document(Box<str>);

impl Document {
    fn of(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// Takes it apart.
    pub(crate) fn read(&self) -> Value {
        // It was written by ourselves.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

/// Since when a container is how it is, as the engine says.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) exit_code: i64,
    pub(crate) started_at: String,
    pub(crate) finished_at: String,
    /// Empty where nobody checks.
    pub(crate) health: String,
}

impl State {
    fn read(state: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            exit_code: state["ExitCode"].as_i64().unwrap_or_default(),
            started_at: text(&state["StartedAt"]),
            finished_at: text(&state["FinishedAt"]),
            health: text(&state["Health"]["Status"]),
        }
    }
}

/// A container, with what the engine says of it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// For the scheduler.
    pub(crate) container: Arc<Container>,
    pub(crate) run: Run,
    pub(crate) state: State,
    /// When it was made, as the engine writes it: sorts by time.
    pub(crate) created: String,
    /// What it was made of.
    pub(crate) image: String,
    /// What its creator asked of Swarm.
    pub(crate) wishes: Wishes,
    /// The engine's entry in its list of containers.
    pub(crate) summary: Document,
    /// What the engine says when it is asked for this one, if it is to be made anew where the engine is lost.
    pub(crate) details: Option<Document>,
    /// How much that was, as the engine wrote it.
    pub(crate) bytes: usize,
}

/// More memory, in bytes, or more processors nobody reserves: what is summed up stays a number.
const AMOUNT_MAX: i64 = 1 << 46;

impl Record {
    /// A container of which the engine says nothing but that it has it.
    pub(crate) fn unread(summary: Value) -> Self {
        let is = |state: &str| summary["State"] == state;
        let details = serde_json::json!({
            "Id": summary["Id"],
            "Config": {"Labels": summary["Labels"]},
            "State": {"Running": is("running"), "Paused": is("paused"), "Dead": is("dead")},
        });
        Self::read(summary, details, 1, 0)
    }

    /// Reads an engine's two answers about a container; `cpus` is how many processors the engine has, `bytes` how long
    /// the second answer was.
    pub(crate) fn read(summary: Value, details: Value, cpus: i64, bytes: usize) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let config = &details["Config"];
        let labels = text_map(config["Labels"].as_object());
        let host = &details["HostConfig"];
        let names = summary["Names"].as_array().into_iter().flatten().map(text).collect();
        // A port that the engine chose is known only from what is published now.
        let mut ports = bindings(host.get("PortBindings"));
        ports.extend(bindings(details["NetworkSettings"].get("Ports")));
        ports.retain(|port| !port.host_port.is_empty());
        let exposed = config["ExposedPorts"].as_object();
        let container = Container {
            id: text(&details["Id"]),
            names,
            memory: amount(&host["Memory"]),
            cpus: shares_to_cpus(amount(&host["CpuShares"]), cpus).clamp(0, AMOUNT_MAX),
            is_host_network: host["NetworkMode"] == "host",
            exposed_ports: exposed.into_iter().flat_map(Map::keys).cloned().collect(),
            bindings: ports,
            labels,
        };
        // What can't be read was not asked of this Swarm.
        let wishes = Wishes::from_labels(config["Labels"].as_object()).unwrap_or_default();
        Self {
            container: Arc::new(container),
            run: Run::read(&details["State"]),
            state: State::read(&details["State"]),
            created: text(&details["Created"]),
            image: text(&summary["Image"]),
            details: wishes.is_rescheduled().then(|| Document::of(&details)),
            wishes,
            summary: Document::of(&summary),
            // Lists hold less than half of what is said of one container.
            bytes: bytes + bytes / 2,
        }
    }
}

fn amount(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default().clamp(0, AMOUNT_MAX)
}

/// In Swarm's API shares are whole processors; engines take 1024 of them for all that they have.
pub(crate) fn cpus_to_shares(cpus: i64, engine_cpus: i64) -> i64 {
    let engine_cpus = engine_cpus.max(1);
    (cpus.saturating_mul(1024) + engine_cpus - 1) / engine_cpus
}

fn shares_to_cpus(shares: i64, engine_cpus: i64) -> i64 {
    shares.saturating_mul(engine_cpus) / 1024
}

fn text_map(object: Option<&Map<String, Value>>) -> BTreeMap<String, String> {
    let object = object.into_iter().flatten();
    object.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// An image, with the engine's entry in its list.
#[derive(Debug, Clone)]
pub(crate) struct ImageRecord {
    /// For the scheduler.
    pub(crate) image: Arc<Image>,
    /// The engine's entry.
    pub(crate) summary: Arc<Value>,
}

impl ImageRecord {
    /// Reads an entry of an engine's list.
    pub(crate) fn read(summary: Value) -> Self {
        let texts = |name: &str| -> Vec<String> {
            let list = summary[name].as_array().into_iter().flatten();
            let list = list.filter_map(|text| text.as_str().map(str::to_owned));
            list.filter(|text| !text.starts_with("<none>")).collect()
        };
        let image = Image {
            id: summary["Id"].as_str().unwrap_or_default().to_owned(),
            tags: texts("RepoTags"),
            digests: texts("RepoDigests"),
        };
        Self { image: Arc::new(image), summary: Arc::new(summary) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn states_are_what_ps_filters_by() {
        let at = "2026-01-01T00:00:00Z";
        for (state, expect) in [
            (json!({"Running": true, "StartedAt": at}), "running"),
            (json!({"Running": true, "Paused": true, "StartedAt": at}), "paused"),
            (json!({"Running": true, "Restarting": true, "StartedAt": at}), "restarting"),
            (json!({"Dead": true, "StartedAt": at}), "dead"),
            (json!({"StartedAt": "0001-01-01T00:00:00Z"}), "created"),
            (json!({"StartedAt": at}), "exited"),
            (json!(null), "created"),
        ] {
            assert_eq!(Run::read(&state).name(), expect, "{state}");
        }
    }

    #[test]
    fn shares_are_processors() {
        for (cpus, engine, shares) in [(1, 4, 256), (4, 4, 1024), (1, 3, 342), (0, 4, 0)] {
            assert_eq!(cpus_to_shares(cpus, engine), shares);
            assert_eq!(shares_to_cpus(shares, engine), cpus);
        }
    }

    #[test]
    fn records_hold_what_the_scheduler_needs() {
        let details = json!({
            "Id": "0a", "Created": "2026",
            "Config": {"Labels": {"com.docker.swarm.constraints": "[\"node==a\"]"}, "ExposedPorts": {"80/tcp": {}}},
            "HostConfig": {"Memory": 5, "CpuShares": 512, "NetworkMode": "host",
                "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": ""}]}},
            "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "32768"}]}},
            "State": {"Running": true},
        });
        let record = Record::read(json!({"Names": ["/web"]}), details, 4, 100);
        let container = &record.container;
        assert_eq!((container.memory, container.cpus, container.is_host_network), (5, 2, true));
        assert_eq!(container.bindings.len(), 1);
        assert_eq!(container.bindings[0].host_port, "32768");
        assert_eq!(record.wishes.constraints, ["node==a"]);
    }
}
