//! What an engine says of itself.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;

use crate::text::parse_rfc3339;

/// An engine's specifications, from its answers to `/info` and `/version`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Specs {
    /// The engine's own identifier.
    pub(crate) id: String,
    /// Its host's name.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) cpus: i64,
    /// In bytes.
    pub(crate) memory: i64,
    pub(crate) version: String,
    /// Its clock, when it was asked.
    pub(crate) system_time: Option<SystemTime>,
}

/// No engine has more memory, in bytes, or more processors: what is summed up stays a number.
const AMOUNT_MAX: i64 = 1 << 46;

/// Labels that say what an engine is, with their fields of `/info`.
const OWN_LABELS: [(&str, &str); 4] = [
    ("storagedriver", "Driver"),
    ("kernelversion", "KernelVersion"),
    ("operatingsystem", "OperatingSystem"),
    ("ostype", "OSType"),
];

impl Specs {
    /// Reads what the engine at `addr` answered.
    ///
    /// # Errors
    /// Why it can't be used, in words.
    pub(crate) fn read(addr: &str, info: &Value) -> Result<Self, String> {
        let text = |name: &str| info.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| info.get(name).and_then(Value::as_i64).unwrap_or_default();
        let (cpus, memory) = (number("NCPU").min(AMOUNT_MAX), number("MemTotal").min(AMOUNT_MAX));
        if cpus <= 0 || memory <= 0 {
            return Err(format!(
                "cannot get resources for this engine, make sure {addr} is a Docker Engine, not a Swarm manager"
            ));
        }
        let id = text("ID").to_owned();
        let own = OWN_LABELS.map(|(label, field)| (label.to_owned(), text(field).to_owned()));
        let mut labels: BTreeMap<String, String> =
            own.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        for label in info.get("Labels").and_then(Value::as_array).into_iter().flatten() {
            let label = label.as_str().unwrap_or_default();
            let Some((key, value)) = label.split_once('=') else {
                return Err(format!(
                    "Engine (ID: {id}, Addr: {addr}) contains an invalid label ({label}) not formatted as \"key=value\"."
                ));
            };
            if key == "node" {
                tracing::warn!(
                    "Engine (ID: {id}, Addr: {addr}) contains a label ({label}) with key of \"node\" which cannot be used in Swarm."
                );
                continue;
            }
            if let Some(own) = labels.get(key) {
                tracing::warn!(
                    "Node (ID: {id}, Addr: {addr}) already contains a label ({own}) with key ({key}), and Engine's label ({value}) cannot override it."
                );
                continue;
            }
            labels.insert(key.to_owned(), value.to_owned());
        }
        let name = text("Name").to_owned();
        let version = text("ServerVersion").to_owned();
        let system_time = parse_rfc3339(text("SystemTime"));
        Ok(Self { id, name, labels, cpus, memory, version, system_time })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_the_engines_and_its_own() {
        let info = json!({
            "ID": "X", "Name": "a", "NCPU": 2, "MemTotal": 1024, "Driver": "overlay2", "OSType": "linux",
            "KernelVersion": "", "ServerVersion": "20.10.24",
            "Labels": ["region=us=1", "node=x", "ostype=other"],
        });
        let specs = Specs::read("a:1", &info).expect("an engine");
        let labels: Vec<_> =
            specs.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["ostype=linux", "region=us=1", "storagedriver=overlay2"]);
        for (info, expect) in [
            (
                json!({"Name": "m"}),
                "cannot get resources for this engine, make sure a:1 is a Docker",
            ),
            (json!([]), "cannot get resources"),
            (
                json!({"ID": "X", "NCPU": 1, "MemTotal": 1, "Labels": ["foo"]}),
                "Engine (ID: X, Addr: a:1) contains an invalid label (foo) not formatted",
            ),
        ] {
            let refused = Specs::read("a:1", &info).expect_err("refused");
            assert!(refused.starts_with(expect), "{refused}");
        }
    }
}
