//! `swarm list`: the engines that a discovery service knows, a line for each.

use std::path::Path;
use std::time::Duration;

use super::flags::{Flag, Kind};
use super::{Call, Command, DISCOVERY_OPTIONS, Stop};
use crate::discovery::{Entry, Source, StoreUrl, entries, read_file};
use crate::duration::Span;
use crate::{print, store};

const FLAGS: [Flag; 2] = [
    Flag { names: &["timeout"], kind: Kind::Text("10s"), usage: "timeout period", env: "" },
    DISCOVERY_OPTIONS,
];

pub(super) const COMMAND: Command = Command {
    names: ["list", "l"],
    usage: "List nodes in a cluster",
    flags: &FLAGS,
    has_discovery: true,
    run,
};

fn run(call: &Call) -> Result<(), Stop> {
    let refused = |message: String| Stop::Plain(message);
    let discovery = call.discovery();
    if discovery.is_empty() {
        return Err(refused(
            "discovery required to list a cluster. See 'swarm list --help'.".into(),
        ));
    }
    let timeout = Span::parse(&call.text("timeout"));
    let timeout = timeout.map_err(|error| refused(format!("invalid --timeout: {error}")))?;
    let timeout = timeout.positive();
    let timeout = timeout.ok_or_else(|| refused("--timeout should be a positive number".into()))?;
    let source = call.source(&discovery).map_err(refused)?;
    for entry in engines(&source, timeout).map_err(refused)? {
        print(&format!("{entry}\n"));
    }
    Ok(())
}

fn engines(source: &Source, timeout: Duration) -> Result<Vec<Entry>, String> {
    match source {
        Source::Fixed(entries) => Ok(entries.clone()),
        Source::File(path) => read(path),
        Source::Store(url) => super::run_async(stored(url, timeout)),
    }
}

async fn stored(url: &StoreUrl, timeout: Duration) -> Result<Vec<Entry>, String> {
    let store = store::open(url).map_err(|error| error.to_string())?;
    let values = tokio::time::timeout(timeout, store.values(&url.nodes_path)).await;
    let values = values.map_err(|_| "Timed out".to_owned())?;
    Ok(entries(&values.map_err(|error| error.to_string())?))
}

fn read(path: &Path) -> Result<Vec<Entry>, String> {
    read_file(path).map_err(|error| error.to_string())
}
