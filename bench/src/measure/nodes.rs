//! What a manager keeps in memory for many nodes and their tasks.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Goal, Samples};
use crate::crowd::Crowd;
use crate::interrupt::{check, wait};
use crate::service::{Service, spec};
use crate::side::Side;

const NODES: usize = 1_000;
const TASKS: u64 = 30_000;
const TIMEOUT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_secs(1);
/// What was needed on the way has gone after it.
const REST: Duration = Duration::from_secs(15);

/// One manager, to which real agents of one process are connected; each runs its part of one service.
pub(super) fn memory(side: &mut Side) -> Result<Vec<Samples>> {
    let crowd = Crowd::start(side.machine(0), NODES);
    let mut manager = side.manager()?;
    wait("the nodes to be ready", TIMEOUT, POLL, || {
        let nodes = manager.get("/nodes")?;
        let nodes = nodes.as_array().context("no list of nodes")?;
        let ready = nodes.iter().filter(|node| node["Status"]["State"] == "ready").count();
        crate::table::progress(&format!(
            "{} of {NODES} nodes joined, {ready} ready",
            crowd.joined()
        ));
        Ok((ready > NODES).then_some(()))
    })?;
    // What runs on the machines of the bench itself is no part of the figure.
    let mut many = spec("many", &side.image, TASKS);
    many["TaskTemplate"]["Placement"] =
        serde_json::json!({ "Constraints": ["node.role == worker"] });
    let service = Service::create(&mut manager, &many)?;
    wait("the tasks to run", TIMEOUT, POLL, || {
        let running = service.count_running(&mut manager)?;
        crate::table::progress(&format!("{running} of {TASKS} tasks run"));
        Ok((running == TASKS).then_some(()))
    })?;
    std::thread::sleep(REST);
    check()?;
    let mut total = 0.0;
    for process in side.processes(0)? {
        total += process.resident_mb()?;
    }
    let figure = "manager with 1,000 nodes and 30,000 tasks, resident";
    Ok(vec![Samples::new(figure, Goal::Megabytes(300.0), vec![total])])
}
