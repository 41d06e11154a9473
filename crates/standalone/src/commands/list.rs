//! `swarm list`: the engines that a discovery service knows, a line for each.

use std::path::Path;

use super::flags::{Flag, Kind};
use super::{Call, Command, DISCOVERY_OPTIONS, Stop};
use crate::discovery::{Entry, Source, read_file};
use crate::duration::Span;
use crate::print;

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
    if timeout.positive().is_none() {
        return Err(refused("--timeout should be a positive number".into()));
    }
    let source = call.source(&discovery).map_err(refused)?;
    for entry in engines(&source).map_err(refused)? {
        print(&format!("{entry}\n"));
    }
    Ok(())
}

fn engines(source: &Source) -> Result<Vec<Entry>, String> {
    match source {
        Source::Fixed(entries) => Ok(entries.clone()),
        Source::File(path) => read(path),
        Source::Store(_) => Err(super::NO_STORES.to_owned()),
    }
}

fn read(path: &Path) -> Result<Vec<Entry>, String> {
    read_file(path).map_err(|error| error.to_string())
}
